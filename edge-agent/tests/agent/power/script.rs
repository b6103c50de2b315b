//! The buffer alone, through all that can be asked of it: a process of its own, since what it does to
//! the disk is recorded. After each answer it says what the buffer now holds.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use edge_agent::buffer::{Buffer, BufferError, Cut, Entry, Intake, IntakeUnit, Sharing, Writer};
use edge_agent::buffer::{Claim, Key, Quota, Settings, Supply};
use fakes::disk::{self, Disk, Image, Note};
use rusqlite::{Connection, OpenFlags};
use shared::ids::Sequence;
use shared::time::Timestamp;
use tempfile::TempDir;

use super::recording::{Studio, replay_makes};
use super::trial::{Subject, Verdict};
use crate::world::receipt;

/// Where the script works, where it is recorded.
const FOLDER: &str = "POWER_CUT_FOLDER";

/// Which part of it.
const PART: &str = "POWER_CUT_PART";

/// What the script says before what the buffer holds.
const SAID: &str = "the buffer holds ";

const KEY: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

/// What is asked of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Everything, on a buffer of a common size.
    Orders,
    /// Little, while somebody reads for so long that the log must be cut.
    LongLog,
}

/// The script at work, note by note.
pub(super) struct Script {
    part: Part,
    pub(super) base: Image,
    pub(super) notes: Vec<Note>,
    /// What the buffer held after each answer.
    held: Vec<String>,
}

impl Script {
    /// Has the script run in a process of its own.
    pub(super) fn recorded(part: Part) -> Self {
        let (studio, folder) = (Studio::new(), TempDir::new().unwrap());
        let base = Image::read(folder.path(), &[]).unwrap();
        let mut process = Command::new(std::env::current_exe().unwrap());
        process.args([
            "--exact",
            "power::script::the_buffer_does_all_that_is_asked",
            "--nocapture",
        ]);
        process.env(FOLDER, folder.path()).env(PART, format!("{part:?}"));
        process.stdout(Stdio::null()).stderr(Stdio::null());
        studio.attach(&mut process, folder.path());
        assert!(process.status().unwrap().success(), "the script fails by itself");
        let notes = disk::read(&studio.notes()).unwrap();
        replay_makes(&base, &notes, folder.path());
        let held: Vec<String> = notes.iter().filter_map(held).map(str::to_owned).collect();
        assert!(held.len() > 20, "only {} answers", held.len());
        Self { part, base, notes, held }
    }
}

/// How many answers were given.
impl Subject for Script {
    type Promise = usize;

    fn name(&self) -> &'static str {
        match self.part {
            Part::Orders => "the buffer",
            Part::LongLog => "a long log",
        }
    }

    fn begin(&self) -> (Disk, usize) {
        (Disk::new(&self.base), 0)
    }

    fn notes(&self) -> &[Note] {
        &self.notes
    }

    fn follow(&self, answers: &mut usize, note: &Note) {
        *answers += usize::from(held(note).is_some());
    }

    /// It holds what it held after the last answer, or after the order that was under way.
    async fn check(&self, _: &Image, answers: &usize, folder: &Path) -> Verdict<()> {
        let shown = |error: BufferError| shared::log::Chain(&error).to_string();
        let (buffer, writer) = Buffer::open(settings(folder, day(0))).map_err(shown)?;
        drop(buffer);
        writer.join();
        super::oracle::is_whole(folder, &key())?;
        let found = contents(folder);
        let allowed = [answers.checked_sub(1), Some(*answers)];
        let mut allowed = allowed.into_iter().flatten().filter_map(|at| self.held.get(at));
        // Before the first answer its tables may not be there, and are made now.
        match *answers == 0 || allowed.any(|held| *held == found) {
            true => Ok(()),
            false => Err(format!("after answer {answers} it holds something else: {found}")),
        }
    }
}

/// Returns what a note says of the buffer's contents.
fn held(note: &Note) -> Option<&str> {
    match note {
        Note::Said(line) => line.strip_prefix(SAID).map(str::trim_end),
        Note::Sent { .. }
        | Note::Opened { .. }
        | Note::Written { .. }
        | Note::Cut { .. }
        | Note::Synced { .. }
        | Note::Renamed { .. }
        | Note::Unlinked(_)
        | Note::FolderMade(_)
        | Note::FolderRemoved(_)
        | Note::SocketMade(_)
        | Note::Placed { .. }
        | Note::Odd(_) => None,
    }
}

#[tokio::test]
async fn the_buffer_does_all_that_is_asked() {
    let own = TempDir::new().unwrap();
    let folder = std::env::var_os(FOLDER).map_or(own.path().to_owned(), Into::into);
    let wanted = std::env::var(PART).ok();
    let is_wanted = |part: Part| wanted.as_deref().is_none_or(|it| it == format!("{part:?}"));
    if is_wanted(Part::Orders) {
        orders(&folder).await;
    }
    if is_wanted(Part::LongLog) {
        let bench = Bench::open(&folder, day(31));
        bench.take(200..205, false).await;
        bench.grow_log().await;
        bench.close_all().await;
        bench.end();
    }
}

/// Takes in, closes, hands over, gives up, sends again, tries again and forgets, over 31 days.
async fn orders(folder: &Path) {
    let bench = Bench::open(folder, day(0));
    let mut sent = 0;
    for round in 0..30_u32 {
        let numbers = round * 5..round * 5 + 5;
        bench.take(numbers, round % 4 == 1).await;
        if round % 2 == 0 {
            bench.close_all().await;
        }
        if round % 5 == 4 {
            let waiting = bench.buffer.waiting(None, usize::MAX).await.unwrap();
            bench.say();
            let most = waiting.len() - 1;
            let confirmed: Vec<Sequence> =
                waiting[..most].iter().map(|batch| batch.sequence).collect();
            sent += confirmed.len();
            bench.buffer.acknowledge(confirmed, day(0)).await.unwrap();
            bench.say();
        }
        match round {
            11 => {
                let waiting = bench.buffer.waiting(None, usize::MAX).await.unwrap();
                bench.say();
                let reason = "the broker does not take it".to_owned();
                bench.buffer.give_up(waiting[0].sequence, reason, day(0)).await.unwrap();
                bench.say();
            }
            17 => {
                let one = |number| Sequence::new(number).unwrap();
                bench.buffer.resend(one(1), one(3)).await.unwrap();
                bench.say();
            }
            19 => {
                let again = bench.intake(500..501, Vec::new());
                bench.buffer.retry(1, Arc::new(again)).await.unwrap();
                bench.say();
            }
            _ => {}
        }
    }
    assert!(sent > 5, "only {sent} batches were confirmed");
    bench.end();
    let bench = Bench::open(folder, day(31));
    bench.buffer.prune(day(31)).await.unwrap();
    bench.say();
    let kept = bench.buffer.kept().await.unwrap();
    assert_eq!(kept.acknowledged, 0, "what is past its horizon is forgotten");
    bench.end();
}

struct Bench {
    buffer: Buffer,
    writer: Writer,
    folder: std::path::PathBuf,
}

impl Bench {
    fn open(folder: &Path, now: Timestamp) -> Self {
        let (buffer, writer) = Buffer::open(settings(folder, now)).unwrap();
        let bench = Self { buffer, writer, folder: folder.to_owned() };
        bench.say();
        bench
    }

    fn end(self) {
        drop(self.buffer);
        self.writer.join();
    }

    /// Says what the buffer holds, by one call, where somebody listens.
    fn say(&self) {
        if std::env::var_os(FOLDER).is_some() {
            let line = format!("{SAID}{}\n", contents(&self.folder));
            std::io::stderr().write_all(line.as_bytes()).unwrap();
        }
    }

    async fn take(&self, numbers: std::ops::Range<u32>, and_damaged: bool) {
        let damaged = and_damaged.then(|| vec![u8::try_from(numbers.start).unwrap_or(9); 3_000]);
        let intake = self.intake(numbers, damaged.into_iter().collect());
        self.buffer.take(Arc::new(intake)).await.unwrap();
        self.say();
    }

    fn intake(&self, numbers: std::ops::Range<u32>, damaged: Vec<Vec<u8>>) -> Intake {
        let mark = format!("{{\"offset\":{}}}", numbers.end);
        let good = numbers.map(|number| {
            let time = format!("09:{:02}:{:02}", number / 4 % 60, number % 60);
            let receipt = receipt("3", number + 1, &time, 100 + i64::from(number));
            let slot = (receipt.ended_at.minute(), receipt.business_day);
            let entries = vec![Entry::Receipt(slot, Sharing::Shared, Box::new(receipt))];
            IntakeUnit { start: 0, end: 0, bytes: Vec::new(), entries }
        });
        let bad = damaged.into_iter().map(|bytes| {
            let entries = vec![Entry::Refused("no receipt".to_owned(), None)];
            IntakeUnit { start: 0, end: bytes.len() as u64, bytes, entries }
        });
        Intake {
            source: "tills".to_owned(),
            feed: "file".to_owned(),
            claim: Claim::Counts,
            supply: Supply::Waits,
            mark: Some(mark),
            at: day(0),
            units: good.chain(bad).collect(),
        }
    }

    async fn close_all(&self) {
        for slot in self.buffer.open_slots().await.unwrap() {
            let cut = Cut { store: "10".parse().unwrap(), at: day(0), complete_through: None };
            self.buffer.close(slot, cut).await.unwrap();
            self.say();
        }
    }

    /// Lets the log grow past its bound while somebody reads, so that it is cut after that.
    async fn grow_log(&self) {
        let reader = connect(&self.folder);
        reader.execute_batch("BEGIN; SELECT count(*) FROM meta;").unwrap();
        for round in 0..18_u8 {
            let intake = self.intake(0..0, vec![vec![round; 1 << 20]]);
            self.buffer.take(Arc::new(intake)).await.unwrap();
            self.say();
        }
        let log = || std::fs::metadata(self.folder.join("buffer.db-wal")).unwrap().len();
        assert!(log() > 16 << 20, "the log has {} bytes", log());
        reader.execute_batch("COMMIT").unwrap();
        self.take(210..211, false).await;
        // It is cut after the answer; one more order waits for that.
        self.buffer.figures().await.unwrap();
        assert!(log() < 1 << 20, "the log has {} bytes", log());
    }
}

fn settings(folder: &Path, now: Timestamp) -> Settings {
    let path = folder.join("buffer.db");
    Settings { path, key: key(), machine_id: None, quota: Quota::UNBOUNDED, now }
}

fn key() -> Key {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, KEY).unwrap();
    Key::from_file(&file).unwrap()
}

fn day(number: u32) -> Timestamp {
    let first: Timestamp = "2026-03-02T12:00:00Z".parse().unwrap();
    first.plus(Duration::from_secs(86_400) * number)
}

fn connect(folder: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(folder.join("buffer.db"), flags).unwrap();
    connection.pragma_update(None, "key", format!("x'{KEY}'")).unwrap();
    connection
}

/// Returns a number that stands for every row of every table, and how many there are.
fn contents(folder: &Path) -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let connection = connect(folder);
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name";
    let mut tables = connection.prepare(sql).unwrap();
    let tables = tables.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let (mut print, mut count) = (DefaultHasher::new(), 0);
    for table in tables {
        let table = table.unwrap();
        table.hash(&mut print);
        let mut all = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = all.column_count();
        let mut rows = all.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            count += 1;
            for column in 0..columns {
                match row.get_ref(column).unwrap() {
                    rusqlite::types::ValueRef::Null => 0_u8.hash(&mut print),
                    rusqlite::types::ValueRef::Integer(number) => number.hash(&mut print),
                    rusqlite::types::ValueRef::Real(_) => panic!("no number is a float here"),
                    rusqlite::types::ValueRef::Text(bytes)
                    | rusqlite::types::ValueRef::Blob(bytes) => bytes.hash(&mut print),
                }
            }
        }
    }
    format!("{:016x} in {count} rows", print.finish())
}
