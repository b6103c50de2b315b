//! A folder taken into a real buffer, whatever its writers do.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shared::receipt::Receipt;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use shared::time::Clock;

use crate::aggregate::Oldest;
use crate::buffer::{Key, Settings as BufferSettings, Writer};
use crate::config::{BundleConfig, Names};
use crate::format::Context;
use crate::source::directory::{Directory, Disk, Marks, Settings, Watch};

#[tokio::test]
async fn a_file_cut_off_anywhere_and_read_on_after_a_restart_counts_once() {
    let bench = Bench::new();
    let (mut cut, mut receipts) = (0, 0);
    loop {
        let text = lines(&format!("{}", 1000 + cut), &[1, 2]);
        if cut > text.len() {
            break;
        }
        let source = format!("cut-{cut}");
        let settings = bench.folder(&source);
        let path = settings.path.join("till.jsonl");
        std::fs::write(&path, &text.as_bytes()[..cut]).unwrap();
        bench.read(&source, settings.clone()).await.unwrap();
        let mut file = std::fs::File::options().append(true).open(&path).unwrap();
        file.write_all(&text.as_bytes()[cut..]).unwrap();
        bench.read(&source, settings).await.unwrap();
        (cut, receipts) = (cut + 1, receipts + 2);
    }
    assert!(cut > 300, "only {cut} places were tried");
    assert_eq!(bench.figures().await, (receipts, 0, 0));
}

#[tokio::test]
async fn whatever_a_writer_does_nothing_is_lost_and_nothing_counts_twice() {
    let bench = Bench::new();
    let (one, two, both) = (lines("3", &[1]), lines("3", &[2]), lines("3", &[1, 2]));
    assert_eq!(one.len(), two.len(), "files of one size");
    let packed = pack(both.as_bytes());
    let half = packed.len() / 2;
    type Step<'a> = (&'a str, &'a [u8]);
    let cases: [(&str, &str, Vec<Step<'_>>, u64); 7] = [
        ("grows", "a", vec![("write", one.as_bytes()), ("append", two.as_bytes())], 0),
        ("same size in place", "a", vec![("write", one.as_bytes()), ("write", two.as_bytes())], 0),
        ("same size moved", "a", vec![("write", one.as_bytes()), ("move", two.as_bytes())], 0),
        (
            "cut and written anew",
            "a",
            vec![("write", both.as_bytes()), ("write", two.as_bytes())],
            1,
        ),
        ("longer and other", "a", vec![("write", two.as_bytes()), ("write", both.as_bytes())], 1),
        ("packed, half of it", "a.gz", vec![("write", &packed[..half]), ("write", &packed)], 0),
        ("packed, whole", "a.GZ", vec![("move", &packed), ("move", &packed)], 0),
    ];
    for (till, (what, name, steps, duplicates)) in cases.into_iter().enumerate() {
        let bench = if till == 0 { &bench } else { &Bench::new() };
        let settings = bench.folder("tills");
        let path = settings.path.join(name);
        for (how, bytes) in steps {
            match how {
                "write" => std::fs::write(&path, bytes).unwrap(),
                "move" => {
                    std::fs::write(settings.path.join("new.tmp"), bytes).unwrap();
                    std::fs::rename(settings.path.join("new.tmp"), &path).unwrap();
                }
                _ => {
                    let mut file = std::fs::File::options().append(true).open(&path).unwrap();
                    file.write_all(bytes).unwrap();
                }
            }
            bench.read("tills", settings.clone()).await.unwrap();
        }
        assert_eq!(bench.figures().await, (2, duplicates, 0), "{what}");
    }
}

#[tokio::test]
async fn a_packed_file_that_stays_cut_off_is_set_aside_when_it_is_old() {
    let bench = Bench::new();
    let settings = Settings { tail: Duration::from_secs(1), ..bench.folder("tills") };
    let packed = pack(lines("3", &[1, 2]).as_bytes());
    let path = settings.path.join("a.gz");
    std::fs::write(&path, &packed[..packed.len() - 4]).unwrap();
    bench
        .read("tills", Settings { tail: Duration::from_secs(900), ..settings.clone() })
        .await
        .unwrap();
    assert_eq!(bench.figures().await, (2, 0, 0));
    age(&path, 60);
    bench.read("tills", settings).await.unwrap();
    assert_eq!(bench.figures().await, (2, 0, 1));
}

#[tokio::test]
async fn folders_below_are_read_and_links_and_unfinished_names_are_not() {
    let bench = Bench::new();
    let names = Names::new(&["*.jsonl".to_owned()], &["test-*".to_owned()]).unwrap();
    let settings = Settings { depth: 2, names, ..bench.folder("tills") };
    let write = |name: &str, number| {
        let path = settings.path.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, lines("3", &[number])).unwrap();
    };
    for (number, name) in (1..).zip([
        "a.jsonl",
        "till-3/a.jsonl",
        "till-3/deep/a.jsonl",
        "till-3/.a.jsonl",
        "till-3/a.jsonl.tmp",
        "a.jsonl~",
        ".hidden/a.jsonl",
        "a.txt",
        "test-a.jsonl",
    ]) {
        write(name, number);
    }
    std::os::unix::fs::symlink("a.jsonl", settings.path.join("link.jsonl")).unwrap();
    std::os::unix::fs::symlink("till-3", settings.path.join("link")).unwrap();
    bench.read("tills", settings).await.unwrap();
    assert_eq!(bench.feeds("tills").await, ["a.jsonl", "till-3/a.jsonl"]);
    assert_eq!(bench.figures().await, (2, 0, 0));
}

#[tokio::test]
async fn what_is_read_is_left_as_it_was() {
    let bench = Bench::new();
    let settings = Settings { depth: 2, ..bench.folder("tills") };
    std::fs::create_dir(settings.path.join("below")).unwrap();
    for name in ["a.jsonl", "below/b.jsonl"] {
        std::fs::write(settings.path.join(name), lines("3", &[1])).unwrap();
    }
    let all = ["", "a.jsonl", "below", "below/b.jsonl"];
    let mode = |mode| {
        use std::os::unix::fs::PermissionsExt;
        for name in ["", "below"] {
            let rights = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(settings.path.join(name), rights).unwrap();
        }
    };
    mode(0o555);
    let state = || {
        use std::os::unix::fs::MetadataExt;
        let of = |name| std::fs::metadata(settings.path.join(name)).unwrap();
        all.map(of).map(|it| (it.ino(), it.mtime_nsec(), it.ctime(), it.ctime_nsec(), it.size()))
    };
    let before = state();
    bench.read("tills", settings.clone()).await.unwrap();
    bench.read("tills", settings.clone()).await.unwrap();
    assert_eq!(state(), before);
    assert_eq!(bench.figures().await, (1, 1, 0));
    mode(0o755);
}

#[tokio::test]
async fn a_share_whose_times_move_is_not_read_again_and_a_change_still_counts() {
    let bench = Bench::new();
    let settings = Settings { disk: Some(Disk::Share("test")), ..bench.folder("tills") };
    let path = settings.path.join("a.jsonl");
    std::fs::write(&path, lines("3", &[1])).unwrap();
    age(&path, 60);
    // A file that has just changed is looked at once more.
    bench.read("tills", settings.clone()).await.unwrap();
    let mut live = bench.live("tills", settings).await;
    live.listings(2).await.unwrap();
    let before = bench.marks("tills").await;
    for seconds in [57, 63, 58] {
        age(&path, seconds);
        live.listings(3).await.unwrap();
        assert_eq!(bench.marks("tills").await, before);
    }
    let mut file = std::fs::File::options().write(true).open(&path).unwrap();
    file.write_all(lines("3", &[2]).as_bytes()).unwrap();
    live.until(async || bench.figures().await == (2, 0, 0)).await;
    live.stop().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_holds_up_no_other_and_is_tried_again() {
    let bench = Bench::new();
    // The kernel gives a fault of the disk for the first byte of its `mem`, and no writer for `comm`.
    let names = Names::new(&["mem".to_owned(), "comm".to_owned()], &[]).unwrap();
    let path = PathBuf::from("/proc/self");
    let settings = Settings { path, names, ..bench.folder("tills") };
    let mut live = bench.live("tills", settings).await;
    let error = live.listings(1).await.unwrap_err();
    assert!(error.starts_with("the file mem cannot be read"), "{error}");
    live.until(async || bench.feeds("tills").await == ["comm"]).await;
    let again = live.listings(1).await.unwrap_err();
    assert!(again.starts_with("the file mem cannot be read"), "{again}");
    live.stop().await;
}

#[tokio::test]
async fn a_folder_without_its_files_is_down_unless_it_may_be_empty() {
    let bench = Bench::new();
    let settings = bench.folder("tills");
    bench.read("tills", settings.clone()).await.unwrap();
    let path = settings.path.join("a.jsonl");
    std::fs::write(&path, lines("3", &[1])).unwrap();
    bench.read("tills", settings.clone()).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let error = bench.read("tills", settings.clone()).await.unwrap_err();
    assert!(error.contains("is empty, though 1 files of it are known"), "{error}");
    bench.read("tills", Settings { may_empty: true, ..settings.clone() }).await.unwrap();
    std::fs::write(settings.path.join("b.jsonl"), lines("3", &[2])).unwrap();
    bench.read("tills", settings).await.unwrap();
    assert_eq!(bench.figures().await, (2, 0, 0));
}

#[tokio::test]
async fn another_disk_in_the_folders_place_is_down_until_a_known_file_is_there() {
    use std::os::unix::fs::MetadataExt;
    let bench = Bench::new();
    let Ok(memory) = TempDir::new_in("/dev/shm") else {
        eprintln!("skipped: there is no second disk");
        return;
    };
    let first = bench.folder("tills");
    let device = |path: &Path| std::fs::metadata(path).unwrap().dev();
    if device(memory.path()) == device(&first.path) {
        eprintln!("skipped: the second disk is the first");
        return;
    }
    let place = bench.home.path().join("place");
    let turn = |to: &Path| {
        let new = place.with_extension("new");
        std::os::unix::fs::symlink(to, &new).unwrap();
        std::fs::rename(&new, &place).unwrap();
    };
    turn(&first.path);
    std::fs::write(first.path.join("a.jsonl"), lines("3", &[1])).unwrap();
    std::fs::write(memory.path().join("b.jsonl"), lines("3", &[2])).unwrap();
    let mut live = bench.live("tills", Settings { path: place.clone(), ..first.clone() }).await;
    live.listings(1).await.unwrap();
    turn(memory.path());
    let mut error = String::new();
    while error.is_empty() {
        error = live.listings(1).await.err().unwrap_or_default();
    }
    assert!(error.contains("lies on another disk"), "{error}");
    assert_eq!(bench.figures().await, (1, 0, 0));
    std::fs::write(memory.path().join("a.jsonl"), lines("3", &[1])).unwrap();
    live.until(async || bench.figures().await == (2, 0, 0)).await;
    live.stop().await;
}

#[tokio::test]
async fn a_folder_is_one_feed_when_it_has_stood_still() {
    let bench = Bench::new();
    let bundle = |settle| Some(BundleConfig { mark: "index.xml".to_owned(), settle });
    let patient = bundle(Duration::from_secs(3600));
    let settings = Settings { depth: 2, bundle: patient, ..bench.folder("tills") };
    let day = settings.path.join("day");
    std::fs::create_dir(&day).unwrap();
    std::fs::write(day.join("index.xml"), "<DataSet/>\n").unwrap();
    // The tar's header ends where the file begins: a line of its own.
    std::fs::write(day.join("a.csv"), format!("\n{}", lines("3", &[1, 2]))).unwrap();
    std::fs::write(settings.path.join("b.zip"), lines("3", &[3])).unwrap();
    let mut live = bench.live("tills", settings.clone()).await;
    live.listings(3).await.unwrap();
    live.stop().await;
    assert_eq!(bench.feeds("tills").await, ["b.zip"]);
    let quick = Settings { bundle: bundle(Duration::from_millis(50)), ..settings };
    let mut live = bench.live("tills", quick).await;
    let whole = async || {
        let marks = bench.marks("tills").await;
        marks.iter().any(|(feed, mark)| feed == "day" && mark.contains("\"done\""))
    };
    live.until(whole).await;
    let (receipts, duplicates, _) = bench.figures().await;
    assert_eq!((receipts, duplicates), (3, 0));
    let before = bench.marks("tills").await;
    live.listings(5).await.unwrap();
    assert_eq!(bench.marks("tills").await, before);
    std::fs::write(day.join("a.csv"), format!("\n{}", lines("3", &[1, 2, 4]))).unwrap();
    live.until(async || bench.figures().await.0 == 4).await;
    assert_eq!(bench.figures().await.1, 2);
    live.stop().await;
}

#[tokio::test]
async fn a_file_that_may_still_grow_is_not_moved_away() {
    let bench = Bench::new();
    let done = bench.home.path().join("done");
    let settings = Settings {
        processed_folder: Some(done.clone()),
        may_empty: true,
        depth: 2,
        ..bench.folder("tills")
    };
    std::fs::create_dir(settings.path.join("below")).unwrap();
    let path = settings.path.join("below/a.jsonl");
    std::fs::write(&path, lines("3", &[1])).unwrap();
    bench.read("tills", settings.clone()).await.unwrap();
    assert!(path.exists(), "nobody has told that its writer is gone");
    age(&path, 100_000);
    bench.read("tills", settings).await.unwrap();
    assert!(!path.exists() && done.join("below/a.jsonl").exists());
    assert_eq!(bench.figures().await, (1, 0, 0));
}

/// A buffer, and folders beside it.
struct Bench {
    home: TempDir,
    buffer: Buffer,
    _writer: Writer,
    watch: Watch,
}

impl Bench {
    fn new() -> Self {
        let home = TempDir::new().unwrap();
        let key = home.path().join("key");
        std::fs::write(&key, "5a".repeat(32)).unwrap();
        let settings = BufferSettings {
            path: home.path().join("buffer.db"),
            key: Key::from_file(&key).unwrap(),
            machine_id: None,
            quota: crate::buffer::Quota::UNBOUNDED,
            now: now(),
        };
        let (buffer, writer) = Buffer::open(settings).unwrap();
        Self { home, buffer, _writer: writer, watch: Watch::default() }
    }

    /// Makes a folder of its own.
    fn folder(&self, name: &str) -> Settings {
        let path = self.home.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Settings {
            path,
            depth: 1,
            names: Names::new(&["*".to_owned()], &[]).unwrap(),
            bundle: None,
            processed_folder: None,
            may_empty: false,
            disk: None,
            poll: Duration::from_millis(10),
            tail: Duration::from_secs(86_400),
            gather: Duration::from_millis(1),
            clock: Clock::real(),
        }
    }

    /// Reads a folder once to its end, as an agent does that has just started.
    async fn read(&self, source: &str, settings: Settings) -> Result<(), String> {
        let mut live = self.live(source, settings).await;
        let read = live.listings(1).await;
        live.stop().await;
        read
    }

    async fn live(&self, source: &str, settings: Settings) -> Live {
        let (stop, stopped) = watch::channel(false);
        let context = Context {
            store: Some("10".parse().unwrap()),
            pos_store: None,
            zone: chrono_tz::Europe::Berlin,
            business_day_cut: chrono::NaiveTime::MIN,
            articles: Arc::default(),
            pseudonyms: None,
        };
        let rules = Rules {
            store: "10".parse().unwrap(),
            oldest: Oldest::Day("2017-01-01".parse().unwrap()),
            zone: chrono_tz::Europe::Berlin,
            business_day_cut: chrono::NaiveTime::MIN,
            counted_since: None,
        };
        let intaker = Intaker {
            role: Role::Counts,
            supply: Supply::Waits,
            name: source.to_owned(),
            format: Format::Jsonl,
            decoder: Format::Jsonl.decoder(context),
            rules,
            made: None,
            time: Timekeeper::start(Clock::real(), None),
            buffer: self.buffer.clone(),
            stop: stopped,
        };
        let (buffer, name) = (self.buffer.clone(), source.to_owned());
        let mut marks = Marks::new(Box::new(move |feed| {
            let (buffer, name) = (buffer.clone(), name.clone());
            Box::pin(async move { buffer.mark(name, feed).await.unwrap() })
        }));
        marks.add(&self.marks(source).await);
        let directory = Directory::new(settings, marks, self.watch.clone());
        let (tx, notices) = mpsc::channel(1);
        let task = tokio::spawn(intaker.run(directory, (0, tx)));
        Live { stop, notices, task }
    }

    /// Returns receipts taken, second copies, and what was set aside.
    async fn figures(&self) -> (u64, u64, u64) {
        let figures = self.buffer.figures().await.unwrap();
        (figures.open_rows, figures.duplicates, figures.quarantined)
    }

    async fn marks(&self, source: &str) -> Vec<(String, String)> {
        self.buffer.marks_after(source.to_owned(), String::new(), 1000).await.unwrap()
    }

    async fn feeds(&self, source: &str) -> Vec<String> {
        self.marks(source).await.into_iter().map(|(feed, _)| feed).collect()
    }
}

/// A source at work.
struct Live {
    stop: watch::Sender<bool>,
    notices: mpsc::Receiver<Notice>,
    task: JoinHandle<Result<(), BufferError>>,
}

impl Live {
    /// Waits until the folder was read to its end so many times.
    async fn listings(&mut self, count: usize) -> Result<(), String> {
        let mut left = count;
        while left > 0 {
            let notice = tokio::time::timeout(Duration::from_secs(60), self.notices.recv());
            match notice.await.expect("the source says something").unwrap() {
                Notice::ReadToEnd { .. } => left -= 1,
                Notice::Down { error, .. } => return Err(error),
                Notice::Added { .. } => {}
            }
        }
        Ok(())
    }

    /// Waits, whatever the source says, until it is so.
    async fn until(&mut self, is_so: impl AsyncFn() -> bool) {
        let wait = async {
            while !is_so().await {
                tokio::select! {
                    notice = self.notices.recv() => drop(notice.unwrap()),
                    () = sleep(Duration::from_millis(20)) => {}
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("it becomes so");
    }

    async fn stop(mut self) {
        self.stop.send_replace(true);
        // Whoever waits to say something says it to nobody.
        self.notices.close();
        self.task.await.unwrap().unwrap();
    }
}

fn now() -> Timestamp {
    Clock::real().now()
}

/// Receipts of a till as it writes them, one a line.
fn lines(till: &str, numbers: &[u32]) -> String {
    let line = |number: &u32| {
        let json = format!(
            r#"{{"store":"10","till":"{till}","series":"2026-03-02","receipt":"{number}",
            "business_day":"2026-03-02","ended_at":"2026-03-02T09:41:0{number}Z","counts":true,
            "lines":[{{"position":1,"article":"own:x:1","kind":"sale","unit":"pcs",
            "quantity_milli":1000,"amount_cents":7}}],"total_cents":7}}"#
        );
        let receipt: Receipt = serde_json::from_str(&json).unwrap();
        serde_json::to_string(&receipt).unwrap() + "\n"
    };
    numbers.iter().map(line).collect()
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// Sets when a file was last written.
fn age(path: &Path, seconds: u64) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    let at = now().minus(Duration::from_secs(seconds)).utc();
    file.set_modified(at.into()).unwrap();
}
