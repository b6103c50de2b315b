//! A disk that fails at any write or read, once or until there is room again: the agent goes on, holds its sources
//! back, and counts every receipt once. `CASES=n` tries every write of a short life, and n long ones.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::task::Poll;

use fakes::wait;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use shared::receipt::Receipt;
use tokio::net::TcpStream;

use crate::shim::Shim;
use crate::till::{ACK, NAK, ask, hear, whole_receipt};
use crate::world::{SOON, World, lines, receipt, sums};

/// Writes of a short life that an ordinary run tries.
const CASES: usize = 8;

/// What a disk says.
const ERRORS: [i64; 2] = [5, 28];

/// Cases that run at once: an agent mostly waits.
const AT_ONCE: usize = 4;

#[tokio::test]
async fn whichever_write_fails_once_the_agent_goes_on_and_counts_every_receipt_once() {
    let Some(shim) = Shim::build("failing_disk.c") else { return };
    let calls = short_life(&shim, Fault::default()).await;
    assert!(calls > 30, "only {calls} writes were seen");
    let every = std::env::var_os("CASES").is_some();
    let mut random = dice();
    let all = (1..=calls).flat_map(|at| ERRORS.map(|error| Fault { at, fails: 1, error }));
    let mut faults: Vec<Fault> = all.collect();
    while !every && faults.len() > CASES {
        faults.swap_remove(random.random_range(0..faults.len()));
    }
    println!("{calls} writes in a short life, {} faults are tried", faults.len());
    for together in faults.chunks(AT_ONCE) {
        let lives = together.iter().map(|&fault| short_life(&shim, fault));
        futures_of(lives.collect()).await;
    }
}

#[tokio::test]
async fn whichever_read_fails_once_nothing_is_lost_and_the_buffer_is_believed() {
    let Some(shim) = Shim::build("failing_disk.c") else { return };
    let (calls, _) = second_life(&shim, Fault::default()).await;
    assert!(calls > 30, "only {calls} reads were seen");
    let every = std::env::var_os("CASES").is_some();
    let mut random = dice();
    let mut faults: Vec<Fault> = (1..=calls).map(|at| Fault { at, fails: 1, error: 5 }).collect();
    while !every && faults.len() > CASES {
        faults.swap_remove(random.random_range(0..faults.len()));
    }
    let (tried, mut ended) = (faults.len(), 0);
    for together in faults.chunks(AT_ONCE) {
        let lives = together.iter().map(|&fault| second_life(&shim, fault));
        ended += futures_of(lives.collect()).await.into_iter().filter(|it| it.1).count();
    }
    println!(
        "{calls} reads in a second life, {tried} fail, {ended} times the agent says so and ends"
    );
}

#[tokio::test]
async fn a_disk_that_is_full_holds_files_and_tills_back_until_there_is_room() {
    let Some(shim) = Shim::build("failing_disk.c") else { return };
    let cases = std::env::var("CASES").map_or(1, |text| text.parse().unwrap());
    let mut random = dice();
    let start = start_alone(&shim).await;
    for case in 0..cases {
        let error = ERRORS[usize::from(random.random_bool(0.7))];
        let at = start + random.random_range(1..60);
        println!("case {case}: error {error} from write {at} on");
        full_for_a_while(&shim, Fault { at, fails: 0, error }).await;
    }
}

#[tokio::test]
async fn a_real_disk_that_fills_up_gets_its_reserve_back_and_then_holds_the_files_back() {
    let world = World::new();
    let Some(disk) = Disk::mount(world.path("disk")) else { return };
    let config = std::fs::read_to_string(world.path("edge.toml")).unwrap();
    let config = config.replace("path = \"buffer.db\"", "path = \"disk/buffer.db\"");
    std::fs::write(world.path("edge.toml"), config).unwrap();
    std::os::unix::fs::symlink("disk/buffer.db", world.path("buffer.db")).unwrap();
    let mut agent = world.agent().await;
    let reserve = world.path("disk/buffer.db.reserve");
    assert!(reserve.exists(), "a reserve is taken");
    disk.fill("others");
    let (mut issued, mut files) = (Vec::new(), 0);
    while reserve.exists() {
        issued.extend(drop_day(&world, files));
        files += 1;
        let taken = i64::try_from(issued.len()).unwrap();
        world.until_summed(taken, cents(&issued)).await;
    }
    assert!(agent.is_running(), "the agent has ended");
    disk.fill("more-of-others");
    loop {
        issued.extend(drop_day(&world, files));
        files += 1;
        if held_or_counted(&world, &issued).await == Seen::Held {
            break;
        }
        assert!(files < 50, "the disk is never full");
    }
    assert!(agent.is_running(), "the agent has ended");
    disk.empty();
    world.until_summed(i64::try_from(issued.len()).unwrap(), cents(&issued)).await;
    println!("{} receipts in {files} files, all counted once", issued.len());
    assert!(agent.stop().await.success());
    check(&world, Fault::default());
}

/// What became of a file.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Held,
    Counted,
}

/// Waits until all is counted, or the status says that the folder is held back by a full disk.
async fn held_or_counted(world: &World, issued: &[Receipt]) -> Seen {
    let look = async || {
        let status =
            edge_agent::status::read(&world.path("")).map_err(|error| error.to_string())?;
        let error = status.status.sources[0].error.clone().unwrap_or_default();
        if error.contains("full") {
            return Ok(Seen::Held);
        }
        let sums = world.inspector().ok_or("no buffer")?.batch_sums();
        let sums = sums.map_err(|error| error.to_string())?;
        let counted = (sums.receipts.unsigned_abs(), sums.total_cents);
        let all = counted == (issued.len() as u64, cents(issued));
        if all { Ok(Seen::Counted) } else { Err(format!("{counted:?}")) }
    };
    wait::until("a file is counted or held back", SOON, look).await.unwrap()
}

/// Hands over two hundred receipts.
fn drop_day(world: &World, file: u32) -> Vec<Receipt> {
    let day = day(200 * file + 1, 200 * file + 200);
    world.drop_file(&format!("{file}.jsonl"), lines(&day));
    day
}

/// A small disk in memory; it is gone when dropped.
struct Disk(PathBuf);

impl Disk {
    /// Mounts it; nothing where this user may not.
    fn mount(path: PathBuf) -> Option<Self> {
        std::fs::create_dir(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=20m", "tmpfs"]).arg(&path);
        let output = mount.output();
        if output.is_ok_and(|output| output.status.success()) {
            return Some(Self(path));
        }
        eprintln!("skipped: this user may not mount a disk");
        None
    }

    /// Lets somebody else take all that is free.
    fn fill(&self, name: &str) {
        let mut file = std::fs::File::create(self.0.join(name)).unwrap();
        while file.write_all(&[7; 4096]).is_ok() {}
    }

    /// Lets the others take their files away.
    fn empty(&self) {
        for name in ["others", "more-of-others"] {
            std::fs::remove_file(self.0.join(name)).unwrap();
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever still looks into it does not keep it from going.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Which call fails, how many do from there on (0: all until there is room), and how.
#[derive(Debug, Clone, Copy, Default)]
struct Fault {
    at: i64,
    fails: i64,
    error: i64,
}

/// Lives a short life with a fault in it; returns how many writing calls there were.
async fn short_life(shim: &Shim, fault: Fault) -> i64 {
    let world = World::new();
    let days: Vec<Vec<Receipt>> = [1, 6].map(|first| day(first, first + 4)).to_vec();
    for (at, day) in days.iter().enumerate() {
        world.drop_file(&format!("{at}.jsonl"), lines(day));
    }
    let mut agent = world.start_among(&environment(shim, &world, fault));
    world.until_summed(10, cents(days.iter().flatten())).await;
    let (calls, failed) = counted(&world);
    assert!(fault.at == 0 || fault.at > calls || failed == 1, "{fault:?}: {failed} calls failed");
    assert!(agent.is_running(), "{fault:?}: the agent has ended");
    agent.kill();
    check(&world, fault);
    calls
}

/// Lives on with a fault in what is read, on a buffer that has batches; returns how many reading calls
/// there were, and whether the agent has ended for the fault: it says so then, and is started again as
/// systemd does.
async fn second_life(shim: &Shim, fault: Fault) -> (i64, bool) {
    let world = World::new();
    let days: Vec<Vec<Receipt>> = [1, 6].map(|first| day(first, first + 4)).to_vec();
    let agent = world.agent().await;
    world.drop_file("0.jsonl", lines(&days[0]));
    world.until_summed(5, cents(&days[0])).await;
    agent.kill();
    let stream = world.inspector().unwrap().figures().unwrap().stream;
    world.drop_file("1.jsonl", lines(&days[1]));
    let mut environment = environment(shim, &world, fault);
    environment.push(("DISK_CALLS", "read".to_owned()));
    let mut agent = world.start_among(&environment);
    let all = cents(days.iter().flatten());
    let (mut has_ended, before) = (false, log(&world).len());
    wait::until("all is counted", SOON, async || {
        if !agent.is_running() {
            assert!(!has_ended, "{fault:?}: it has ended twice: {}", log(&world));
            assert!(log(&world)[before..].contains("rror"), "{fault:?}: it says nothing");
            has_ended = true;
            agent = world.start_among(&environment);
        }
        let sums = world.inspector().ok_or("no buffer")?.batch_sums();
        let sums = sums.map_err(|error| error.to_string())?;
        let seen = (sums.receipts, sums.total_cents);
        if seen == (10, all) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await
    .unwrap_or_else(|error| panic!("{fault:?}: {error}: {}", log(&world)));
    let (calls, failed) = counted(&world);
    assert!(fault.at == 0 || fault.at > calls || failed == 1, "{fault:?}: {failed} calls failed");
    agent.kill();
    check(&world, fault);
    let now = world.inspector().unwrap().figures().unwrap().stream;
    assert_eq!(now, stream, "{fault:?}: it is the same buffer: {}", log(&world));
    (calls, has_ended)
}

fn log(world: &World) -> String {
    std::fs::read_to_string(world.path("log")).unwrap()
}

/// Starts an agent with nothing to do; returns how many writing calls that takes.
async fn start_alone(shim: &Shim) -> i64 {
    let world = World::new();
    let _agent = world.start_among(&environment(shim, &world, Fault::default()));
    world.until("the agent is up", |_| true).await;
    counted(&world).0
}

/// Fills the disk in the middle of a day, sees that all wait, makes room, and compares.
async fn full_for_a_while(shim: &Shim, fault: Fault) {
    let (world, port) =
        crate::tcp::world("whole", "mode = \"server\"\nanswer = \"ack-nak\"\nhold = true");
    let mut agent = world.start_among(&environment(shim, &world, fault));
    let mut till = crate::tcp::call(port).await;
    let (mut files, mut told) = (Vec::new(), 0);
    // The disk fills up while the day goes on; a till that hears NAK sends the same again later.
    loop {
        let answer = ask(&mut till, &whole_receipt(told + 1, 100)).await;
        if answer == NAK {
            break;
        }
        assert_eq!(answer, ACK);
        told += 1;
        let day = day(10 * told + 1, 10 * told + 10);
        world.drop_file(&format!("{told}.jsonl"), lines(&day));
        files.extend(day);
    }
    let day = day(1, 10);
    world.drop_file("late.jsonl", lines(&day));
    files.extend(day);
    let held = async || {
        let sources = edge_agent::status::read(&world.path("")).map(|it| it.status.sources);
        let (_, failed) = counted(&world);
        if failed > 5 { Ok(()) } else { Err(format!("{failed} calls failed; {sources:?}")) }
    };
    wait::until("the disk has refused several writes", SOON, held).await.unwrap();
    assert!(agent.is_running(), "{fault:?}: the agent has ended");
    assert!(world.path("tills").join("late.jsonl").exists(), "the file stays");
    std::fs::write(room(&world), "").unwrap();
    told += acknowledged(&mut till, told + 1).await;
    let receipts = i64::from(told) + i64::try_from(files.len()).unwrap();
    world.until_summed(receipts, i64::from(told) * 100 + cents(&files)).await;
    assert!(agent.is_running(), "{fault:?}: the agent has ended");
    assert!(agent.stop().await.success());
    check(&world, fault);
}

/// Waits for the answer that is due, or sends again, until the till is told that all is well.
async fn acknowledged(till: &mut TcpStream, number: u32) -> u32 {
    loop {
        match tokio::time::timeout(std::time::Duration::from_millis(500), hear(till)).await {
            Ok(ACK) => return 1,
            Ok(answer) => assert_eq!(answer, NAK),
            Err(_) => {
                if ask(till, &whole_receipt(number, 100)).await == ACK {
                    return 1;
                }
            }
        }
    }
}

/// The buffer is whole, and no sequence is missing or there twice.
fn check(world: &World, fault: Fault) {
    let verdict = world.inspector().unwrap().verify().unwrap();
    assert!(verdict.faults.is_empty(), "{fault:?}: {:?}", verdict.faults);
    let figures = world.inspector().unwrap().figures().unwrap();
    assert_eq!((figures.quarantined, figures.given_up), (0, 0), "{fault:?}");
    let batches = world.batches();
    let sequences: Vec<u64> = batches.iter().map(|batch| batch.sequence.get()).collect();
    assert_eq!(sequences, (1..=batches.len() as u64).collect::<Vec<_>>(), "{fault:?}");
    let numbers = batches.iter().flat_map(|batch| &batch.tills);
    let numbers: u64 = numbers.map(|till| till.receipts.count()).sum();
    assert_eq!(numbers, sums(&batches).0, "{fault:?}: a number is there twice");
}

/// Receipts of till 4, twelve a minute.
fn day(first: u32, last: u32) -> Vec<Receipt> {
    let time = |number: u32| format!("{:02}:{:02}:07", 8 + number / 720, number / 12 % 60);
    let one = |number| receipt("4", number, &time(number), 7 + i64::from(number));
    (first..=last).map(one).collect()
}

fn cents<'a>(receipts: impl IntoIterator<Item = &'a Receipt>) -> i64 {
    receipts.into_iter().map(|receipt| receipt.total_cents.0).sum()
}

/// Waits for all; returns what they have come to, in no order.
async fn futures_of<F: Future>(lives: Vec<F>) -> Vec<F::Output> {
    let mut lives: Vec<_> = lives.into_iter().map(Box::pin).collect();
    let mut ended = Vec::new();
    std::future::poll_fn(|context| {
        lives.retain_mut(|life| match life.as_mut().poll(context) {
            Poll::Ready(output) => {
                ended.push(output);
                false
            }
            Poll::Pending => true,
        });
        if lives.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    ended
}

/// Returns what an agent's environment needs. Its log is no part of the disk that fails.
fn environment(shim: &Shim, world: &World, fault: Fault) -> Vec<(&'static str, String)> {
    let text = |path: PathBuf| path.display().to_string();
    std::fs::write(counter(world), [0; 16]).unwrap();
    let folder = world.path("").canonicalize().unwrap();
    vec![
        shim.preload(),
        ("DISK_FOLDER", text(folder)),
        ("DISK_FAIL_AT", fault.at.to_string()),
        ("DISK_FAIL_FOR", fault.fails.to_string()),
        ("DISK_ROOM", text(room(world))),
        ("DISK_ERROR", fault.error.to_string()),
        ("DISK_COUNTER", text(counter(world))),
    ]
}

fn counter(world: &World) -> PathBuf {
    world.path("disk-calls")
}

fn room(world: &World) -> PathBuf {
    world.path("disk-has-room")
}

/// Returns how many writing calls there were, and how many failed.
fn counted(world: &World) -> (i64, i64) {
    let bytes = std::fs::read(counter(world)).unwrap();
    let number = |part: &[u8]| i64::from_ne_bytes(part.try_into().unwrap());
    (number(&bytes[..8]), number(&bytes[8..]))
}

fn dice() -> ChaCha8Rng {
    let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    eprintln!("SEED={seed}");
    ChaCha8Rng::seed_from_u64(seed)
}
