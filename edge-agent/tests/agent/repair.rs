//! A damaged buffer gives back every row whose pages are whole, and names the rest. What was lost is
//! computed by SQLite's own view of the pages (`dbstat`), not by the reader that is on trial.
//!
//! `CASES=n` tries so many damages (`make flips`), `SEED=n` the same ones again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use edge_agent::aggregate::open::Slot;
use edge_agent::buffer::inspect::Inspector;
use edge_agent::buffer::repair::{Repaired, repair};
use edge_agent::buffer::{
    Binding, Buffer, Claim, Cut, Entry, Intake, IntakeUnit, Key, Quota, Settings, Sharing, Supply,
    Taken,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};
use shared::ids::Sequence;
use shared::ranges::Ranges;
use shared::receipt::Receipt;
use shared::time::Timestamp;
use tempfile::TempDir;

use crate::world::receipt;

/// Damages that an ordinary test run tries.
const CASES: u32 = 120;

/// Batches of the buffer that is damaged.
const MINUTES: u32 = 40;

type Rows = BTreeMap<String, BTreeSet<String>>;

/// What a page holds, as SQLite says.
#[derive(Debug, Clone)]
struct Page {
    table: String,
    is_overflow: bool,
    rows: u64,
}

#[test]
fn every_row_whose_pages_are_whole_comes_back_and_the_rest_is_named() {
    let cases = std::env::var("CASES").map_or(CASES, |text| text.parse().unwrap());
    let seed: u64 =
        std::env::var("SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    eprintln!("SEED={seed} CASES={cases}");
    let source = Source::closed();
    eprintln!("{} pages", source.pages.len());
    let threads = 2;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let source = &source;
            scope.spawn(move || {
                for case in (0..cases).filter(|case| case % threads == thread) {
                    let mut dice = ChaCha8Rng::seed_from_u64(seed.wrapping_add(case.into()));
                    source.try_one(case, &mut dice);
                }
            });
        }
    });
}

#[test]
fn damage_in_the_log_costs_what_it_hits_and_nothing_is_held_twice() {
    let cases = std::env::var("CASES").map_or(CASES / 4, |text| text.parse().unwrap());
    let seed: u64 =
        std::env::var("SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    eprintln!("SEED={seed} CASES={cases}");
    let source = Source::killed();
    for case in 0..cases {
        let mut dice = ChaCha8Rng::seed_from_u64(seed.wrapping_add(case.into()));
        let folder = TempDir::new().unwrap();
        source.copy_to(folder.path());
        let file = folder.path().join(if case % 4 == 0 { "buffer.db" } else { "buffer.db-wal" });
        let what = damage(&file, &mut dice);
        let repaired = mend(folder.path()).unwrap_or_else(|error| panic!("{case} {what}: {error}"));
        let rows = rows_of(&folder.path().join("buffer.db"));
        // A delivery that is forgotten sends the same bytes again.
        for table in ["outbox", "delivered"] {
            let is_subset = rows[table].is_subset(&source.rows[table]);
            assert!(is_subset, "case {case}: {what}: {table} has rows that were never there");
        }
        source.check_sequences(&repaired, folder.path(), &format!("case {case}: {what}"));
        check_nothing_is_held_twice(folder.path());
    }
}

#[test]
fn a_whole_buffer_is_copied_whole_and_the_next_batch_names_what_was_lost_before() {
    let source = Source::closed();
    let folder = TempDir::new().unwrap();
    source.copy_to(folder.path());
    let repaired = mend(folder.path()).unwrap();
    assert_eq!((&repaired.unreadable_pages, &repaired.lost), (&Vec::new(), &Vec::new()));
    assert_eq!(rows_of(&folder.path().join("buffer.db")), source.rows);
    assert!(repaired.kept_as.exists());
    // The leaf with the middle batches is gone.
    let holds = |page: &Page| page.table == "outbox" && page.rows > 0 && !page.is_overflow;
    let leaves: Vec<u32> =
        source.pages.iter().filter(|(_, page)| holds(page)).map(|(&number, _)| number).collect();
    let bytes = std::fs::read(folder.path().join("buffer.db")).unwrap();
    let pages = pages_of(&folder.path().join("buffer.db"));
    let leaf = pages.iter().filter(|(_, page)| holds(page)).nth(leaves.len() / 2).unwrap();
    let mut bytes = bytes;
    bytes[(*leaf.0 as usize - 1) * 4096 + 99] ^= 1;
    std::fs::write(folder.path().join("buffer.db"), bytes).unwrap();
    let at = "2026-03-02T12:00:01Z".parse().unwrap();
    let settings = Settings { now: at, ..settings(folder.path()) };
    let repaired = repair(&settings, &binding(folder.path())).unwrap();
    assert_eq!(repaired.abandoned.count(), leaf.1.rows);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let batches = runtime.block_on(async {
        let (buffer, _writer) = Buffer::open_bound(settings, &binding(folder.path())).unwrap();
        assert!(buffer.figures().await.unwrap().counted_before);
        read(&buffer, vec![receipt("3", 9_999, "11:41:07", 5)]).await;
        let slot = buffer.open_slots().await.unwrap().into_iter().next_back().unwrap();
        buffer.close(slot, cut()).await.unwrap();
        let last = buffer.figures().await.unwrap().highest_sequence;
        let after = Sequence::new(last - 1);
        let waiting = buffer.waiting(after, 1).await.unwrap();
        serde_json::from_slice::<shared::minute::StoreMinute>(&waiting[0].body).unwrap()
    });
    assert_eq!(batches.abandoned, repaired.abandoned);
    let inspector = Inspector::open(&folder.path().join("buffer.db"), &key(folder.path())).unwrap();
    assert_eq!(inspector.verify().unwrap().faults, Vec::<String>::new());
}

/// A buffer that damage is done to, and what is known of it.
struct Source {
    folder: TempDir,
    rows: Rows,
    pages: BTreeMap<u32, Page>,
    highest: u64,
}

impl Source {
    /// A buffer of which the log is empty.
    fn closed() -> Self {
        let folder = TempDir::new().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (buffer, writer) =
                Buffer::open_bound(settings(folder.path()), &binding(folder.path())).unwrap();
            fill(&buffer).await;
            drop(buffer);
            writer.join();
        });
        Self::of(folder)
    }

    /// A buffer as a killed agent leaves it.
    fn killed() -> Self {
        let (live, folder) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (buffer, _writer) =
                Buffer::open_bound(settings(live.path()), &binding(live.path())).unwrap();
            fill(&buffer).await;
            for name in ["buffer.db", "buffer.db-wal", "buffer.db.counter"] {
                std::fs::copy(live.path().join(name), folder.path().join(name)).unwrap();
            }
        });
        let wal = std::fs::metadata(folder.path().join("buffer.db-wal")).unwrap().len();
        assert!(wal > 50_000, "the log holds {wal} bytes");
        let whole = TempDir::new().unwrap();
        for name in ["buffer.db", "buffer.db-wal", "buffer.db.counter"] {
            std::fs::copy(folder.path().join(name), whole.path().join(name)).unwrap();
        }
        let known = Self::of(whole);
        Self { folder, ..known }
    }

    fn of(folder: TempDir) -> Self {
        let path = folder.path().join("buffer.db");
        let (rows, pages) = (rows_of(&path), pages_of(&path));
        let inspector = Inspector::open(&path, &key(folder.path())).unwrap();
        let highest = inspector.figures().unwrap().highest_sequence;
        Self { folder, rows, pages, highest }
    }

    fn copy_to(&self, folder: &Path) {
        for name in ["buffer.db", "buffer.db-wal", "buffer.db.counter"] {
            let from = self.folder.path().join(name);
            if from.exists() {
                std::fs::copy(from, folder.join(name)).unwrap();
            }
        }
    }

    fn try_one(&self, case: u32, dice: &mut ChaCha8Rng) {
        let folder = TempDir::new().unwrap();
        self.copy_to(folder.path());
        let path = folder.path().join("buffer.db");
        let before = std::fs::read(&path).unwrap();
        let what = format!("case {case}: {}", damage(&path, dice));
        let after = std::fs::read(&path).unwrap();
        let repaired = match mend(folder.path()) {
            Ok(repaired) => repaired,
            // Less than a page is left of it.
            Err(error) => {
                assert!(after.len() < 4096, "{what}: {error}");
                return;
            }
        };
        let hit: Vec<u32> = (1..=u32::try_from(before.len() / 4096).unwrap())
            .filter(|&number| {
                let place = (number as usize - 1) * 4096..number as usize * 4096;
                after.get(place.clone()) != before.get(place)
            })
            .collect();
        self.check_rows(&hit, &rows_of(&path), &what);
        self.check_sequences(&repaired, folder.path(), &what);
        check_nothing_is_held_twice(folder.path());
        let kept = std::fs::read(&repaired.kept_as).unwrap();
        assert!(kept == after, "{what}: the damaged file is kept as it is");
    }

    /// Compares what came back with what was on the pages that were hit.
    fn check_rows(&self, hit: &[u32], rows: &Rows, what: &str) {
        let mut lost: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for page in hit.iter().filter_map(|number| self.pages.get(number)) {
            let entry = lost.entry(page.table.as_str()).or_default();
            if page.is_overflow {
                entry.1 += 1;
            } else {
                entry.0 += page.rows;
                entry.1 += page.rows;
            }
        }
        let adjusts = lost.contains_key("outbox") || lost.contains_key("open_minute");
        for (table, before) in &self.rows {
            let missing = before.difference(&rows[table]).count() as u64;
            let (mut least, mut most) = lost.get(table.as_str()).copied().unwrap_or_default();
            if hit.len() == 1 {
                least = most;
            }
            match table.as_str() {
                // These are put right by what the batches and the open minutes hold.
                "receipt_hash" | "receipt_key" | "fiscal_key" if adjusts => continue,
                "receipt_key" => least = 0,
                // These begin anew where anything is lost.
                "day_digest" if !hit.is_empty() => continue,
                "quarantine" if lost.contains_key("quarantine_unit") => most = u64::MAX,
                // What is no batch any more has no standing; `verify` compares them.
                "waiting" => continue,
                "delivered" if lost.contains_key("outbox") => most = u64::MAX,
                "meta" => continue,
                _ => {}
            }
            assert!(
                (least..=most).contains(&missing),
                "{what}: {missing} rows of {table} are missing, {least} to {most} were hit ({hit:?})"
            );
        }
        for table in ["outbox", "delivered", "open_minute", "quarantine_unit", "source_position"] {
            let new: Vec<_> = rows[table].difference(&self.rows[table]).collect();
            assert!(new.is_empty(), "{what}: {table} has rows that were never there: {new:?}");
        }
    }

    /// Every sequence is there or named, and the buffer is whole.
    fn check_sequences(&self, repaired: &Repaired, folder: &Path, what: &str) {
        let inspector = Inspector::open(&folder.join("buffer.db"), &key(folder)).unwrap();
        let there = inspector.sequences(1, u64::MAX, u32::MAX).unwrap();
        let mut all: Ranges = there.iter().copied().collect();
        let named = repaired.abandoned.count();
        assert_eq!(named + all.count(), self.highest, "{what}: {repaired:?}");
        for (first, last) in repaired.abandoned.iter() {
            all.insert_range(first, last);
        }
        assert_eq!(all.missing_up_to(self.highest), [], "{what}");
        assert_eq!(inspector.verify().unwrap().faults, Vec::<String>::new(), "{what}");
    }
}

/// Flips a few bits, or cuts the end off; says what it did.
fn damage(path: &Path, dice: &mut ChaCha8Rng) -> String {
    let mut bytes = std::fs::read(path).unwrap();
    let what = if dice.random_range(0..8) == 0 {
        let length = dice.random_range(0..bytes.len());
        bytes.truncate(length);
        format!("cut at {length}")
    } else {
        let count = if dice.random_range(0..4) == 0 { dice.random_range(2..5) } else { 1 };
        let mut flipped = Vec::new();
        for _ in 0..count {
            let bit = dice.random_range(0..bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            flipped.push(bit);
        }
        format!("flipped {flipped:?}")
    };
    std::fs::write(path, bytes).unwrap();
    what
}

fn mend(folder: &Path) -> Result<Repaired, edge_agent::buffer::BufferError> {
    repair(&settings(folder), &binding(folder))
}

/// No receipt is open that a batch holds.
fn check_nothing_is_held_twice(folder: &Path) {
    let connection = connect(&folder.join("buffer.db"));
    let texts = |sql: &str| -> Vec<String> {
        let mut statement = connection.prepare(sql).unwrap();
        let found = statement.query_map([], |row| row.get(0)).unwrap();
        found.map(Result::unwrap).collect()
    };
    let mut cut = BTreeSet::new();
    for body in texts("SELECT CAST(body AS TEXT) FROM outbox") {
        let batch: shared::minute::StoreMinute = serde_json::from_str(&body).unwrap();
        for till in batch.tills {
            let numbers = till.receipts.iter().flat_map(|(first, last)| first..=last);
            cut.extend(numbers.map(|number| (till.till.to_string(), number)));
        }
    }
    for body in texts("SELECT body FROM open_minute WHERE kind = 'receipt'") {
        let open: Receipt = serde_json::from_str(&body).unwrap();
        let number = open.receipt.as_number().unwrap();
        assert!(!cut.contains(&(open.till.to_string(), number)), "{number} is open and cut");
    }
    let shared: i64 = connection
        .query_row("SELECT count(*) FROM open_minute WHERE alone = 0", [], |row| row.get(0))
        .unwrap();
    assert_eq!(shared, 0, "receipts go alone after a repair");
}

/// Minutes with few and with many receipts, some handed over, some open, and things set aside.
pub(crate) async fn fill(buffer: &Buffer) {
    let mut number = 0;
    for minute in 0..MINUTES + 3 {
        let time = format!("{:02}:{:02}:07", 8 + minute / 60, minute % 60);
        let count = if minute % 20 == 7 { 40 } else { 1 + minute % 5 };
        let receipts = (0..count)
            .map(|at| {
                number += 1;
                let till = if at.is_multiple_of(2) { "1" } else { "2" };
                let mut one = receipt(till, number, &time, i64::from(number));
                one.lines[0].article = format!("own:x:{number}").parse().unwrap();
                one
            })
            .collect();
        let taken = read(buffer, receipts).await;
        assert_eq!(taken.fresh, u64::from(count));
        if minute < MINUTES {
            for slot in taken.slots {
                buffer.close(slot, cut()).await.unwrap();
            }
        }
        aside(buffer, minute).await;
    }
    let waiting = buffer.waiting(None, 1 << 20).await.unwrap();
    let half = waiting.iter().take(waiting.len() / 2).map(|batch| batch.sequence).collect();
    buffer.acknowledge(half, now()).await.unwrap();
}

async fn read(buffer: &Buffer, receipts: Vec<Receipt>) -> Taken {
    let mark = receipts[0].receipt.to_string();
    let unit = |receipt: Receipt| {
        let slot: Slot = (receipt.ended_at.minute(), receipt.business_day);
        let entries = vec![Entry::Receipt(slot, Sharing::Shared, Box::new(receipt))];
        IntakeUnit { start: 0, end: 0, bytes: Vec::new(), entries }
    };
    let intake = Intake {
        supply: Supply::Waits,
        claim: Claim::Counts,
        source: "tills".to_owned(),
        feed: format!("file {mark}"),
        mark: Some(mark),
        at: now(),
        units: receipts.into_iter().map(unit).collect(),
    };
    buffer.take(Arc::new(intake)).await.unwrap()
}

/// Sets a unit aside: a short one, or one of several pages.
async fn aside(buffer: &Buffer, number: u32) {
    let bytes =
        format!("{number} is no receipt ").repeat(if number.is_multiple_of(9) { 700 } else { 3 });
    let unit = IntakeUnit {
        start: 0,
        end: bytes.len() as u64,
        bytes: bytes.into_bytes(),
        entries: vec![Entry::Refused("it is no receipt".to_owned(), None)],
    };
    let (source, feed) = ("tills".to_owned(), "noise".to_owned());
    let intake = Intake {
        claim: Claim::Counts,
        supply: Supply::Waits,
        source,
        feed,
        mark: None,
        at: now(),
        units: vec![unit],
    };
    buffer.take(Arc::new(intake)).await.unwrap();
}

pub(crate) fn connect(path: &Path) -> Connection {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    connection.pragma_update(None, "key", format!("x'{}'", "5a".repeat(32))).unwrap();
    connection
}

/// Returns every row of every table as text; what a repair changes in a row is left out.
fn rows_of(path: &Path) -> Rows {
    let connection = connect(path);
    let mut statement = connection
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        .unwrap();
    let tables: Vec<String> =
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let read = |table: &String| {
        let columns = match table.as_str() {
            "open_minute" => "id, minute, kind, body",
            "receipt_key" => "till, series, purpose, spell",
            "meta" => "name",
            _ => "*",
        };
        let mut statement = connection.prepare(&format!("SELECT {columns} FROM {table}")).unwrap();
        let width = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            Ok((0..width).map(|at| format!("{:?}|", row.get::<_, Value>(at).unwrap())).collect())
        };
        statement.query_map([], row).unwrap().map(Result::unwrap).collect::<BTreeSet<String>>()
    };
    let mut rows: Rows = tables.iter().map(|table| (table.clone(), read(table))).collect();
    // A repair notes that something was counted before; the others stay.
    rows.get_mut("meta").unwrap().retain(|name| !name.contains("counted_before"));
    rows.remove("abandoned");
    rows
}

/// Returns what each page holds.
fn pages_of(path: &Path) -> BTreeMap<u32, Page> {
    let connection = connect(path);
    let sql = "SELECT pageno, name, pagetype, ncell FROM dbstat";
    let mut statement = connection.prepare(sql).unwrap();
    let mut tables = BTreeSet::new();
    let numbered = |name: &str| {
        let sql = "SELECT coalesce(sql, '') FROM sqlite_master WHERE type = 'table' AND name = ?1";
        connection.query_row(sql, [name], |row| row.get::<_, String>(0)).ok()
    };
    let rows = statement
        .query_map([], |row| {
            let texts: (String, String) = (row.get(1)?, row.get(2)?);
            Ok((row.get::<_, u32>(0)?, texts, row.get::<_, i64>(3)?))
        })
        .unwrap();
    let mut pages = BTreeMap::new();
    for (number, (table, kind), cells) in rows.map(Result::unwrap) {
        // What is no table is made anew, as is what leads to the leaves of one with row numbers.
        let Some(sql) = numbered(&table) else { continue };
        let holds = kind == "leaf" || (kind == "internal" && sql.contains("WITHOUT ROWID"));
        let rows = if holds { cells.unsigned_abs() } else { 0 };
        tables.insert(table.clone());
        pages.insert(number, Page { table, is_overflow: kind == "overflow", rows });
    }
    assert!(tables.len() > 10, "SQLite knows the pages of {tables:?}");
    pages
}

pub(crate) fn settings(folder: &Path) -> Settings {
    Settings {
        path: folder.join("buffer.db"),
        key: key(folder),
        machine_id: None,
        quota: Quota::UNBOUNDED,
        now: now(),
    }
}

pub(crate) fn binding(folder: &Path) -> Binding {
    Binding {
        store: "10".parse().unwrap(),
        counter: PathBuf::from(folder).join("buffer.db.counter"),
    }
}

pub(crate) fn key(folder: &Path) -> Key {
    let file = folder.join("buffer.key");
    std::fs::write(&file, "5a".repeat(32)).unwrap();
    Key::from_file(&file).unwrap()
}

fn cut() -> Cut {
    Cut { store: "10".parse().unwrap(), at: now(), complete_through: None }
}

fn now() -> Timestamp {
    "2026-03-02T12:00:00Z".parse().unwrap()
}
