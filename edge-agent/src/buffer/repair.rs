//! A damaged buffer made whole: every row that lies on pages which verify goes into a new file, the
//! rest is named, the old file is kept. It counts nothing twice: what a batch holds is not open any
//! more, and what goes on being open goes out one receipt a batch, so that the centre can refuse it
//! alone. No agent may run on the buffer meanwhile.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};
use serde::Serialize;
use shared::ranges::Ranges;

use super::sqlite::{
    SCHEMA, close_whole, connect, create_file, database, lock, version, write_ahead,
};
use super::swap::{self, beside, new_file};
use super::{Binding, BufferError, Settings, counter};

mod pages;
mod settle;
mod survey;
mod tree;

use pages::Pages;
use survey::{Holding, Survey, Table};

/// Lines of what is lost that are told; more say nothing new.
const LOST_MAX: usize = 200;

/// What came back, and what did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// Pages of the damaged file.
    pub pages: u32,
    /// Those that do not verify.
    pub unreadable_pages: Vec<u32>,
    /// Those of which only an older state verifies.
    pub older_pages: Vec<u32>,
    /// Rows that came back, per table.
    pub rows: BTreeMap<String, u64>,
    /// Sequences whose batches are unreadable; the next batch names them.
    pub abandoned: Ranges,
    /// What else is lost, in words.
    pub lost: Vec<String>,
    /// Where the damaged file is kept.
    pub kept_as: PathBuf,
}

impl Repaired {
    /// Returns true where nothing was damaged.
    fn is_whole(&self) -> bool {
        let pages = self.unreadable_pages.is_empty() && self.older_pages.is_empty();
        pages && self.abandoned.is_empty() && self.lost.is_empty()
    }

    fn lose(&mut self, what: String) {
        if self.lost.len() < LOST_MAX {
            self.lost.push(what);
        }
    }
}

/// Repairs the buffer.
pub fn repair(settings: &Settings, binding: &Binding) -> Result<Repaired, BufferError> {
    let path = &settings.path;
    let _lock = lock(path)?;
    swap::finish(path)?;
    let (log, new) = (beside(path, "-wal"), new_file(path));
    let opened = Pages::open(path, &log, &settings.key);
    let opened =
        opened.map_err(|source| BufferError::File { what: "read", path: path.clone(), source })?;
    let pages = opened.ok_or_else(|| BufferError::WrongKey(path.clone()))?;
    let survey = survey::survey(&pages)?;
    let at = settings.now.utc().format("%Y%m%dT%H%M%SZ");
    let mut repaired = Repaired {
        pages: pages.count(),
        unreadable_pages: damaged(&survey),
        older_pages: survey.older.clone(),
        rows: BTreeMap::new(),
        abandoned: Ranges::new(),
        lost: Vec::new(),
        kept_as: beside(path, &format!(".damaged-{at}")),
    };
    let mut made = begin(settings, &new)?;
    let transaction = made.transaction().map_err(database("begin"))?;
    for (table, holding) in &survey.tables {
        copy(&pages, (table, holding), &transaction, &mut repaired)?;
    }
    version::check(&transaction, path)?;
    let mark = counter::read(&binding.counter)?;
    settle::settle(&transaction, (settings, binding, mark.as_ref()), &mut repaired)?;
    transaction.commit().map_err(database("commit"))?;
    write_ahead(&made)?;
    close_whole(made)?;
    swap::replace(path, &repaired.kept_as)?;
    Ok(repaired)
}

fn damaged(survey: &Survey) -> Vec<u32> {
    let of_tables = survey.tables.iter().flat_map(|(_, holding)| &holding.damaged);
    let mut all: Vec<u32> = of_tables.chain(&survey.damaged).copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Makes the new file. Nothing of it counts before it is complete, so that no log is kept.
fn begin(settings: &Settings, new: &Path) -> Result<Connection, BufferError> {
    swap::clear(new)?;
    create_file(new)?;
    let made = connect(new, &settings.key, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let quick = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; \
                 PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192";
    made.execute_batch(quick).map_err(database("set itself up"))?;
    made.execute_batch(SCHEMA).map_err(database("make its tables"))?;
    Ok(made)
}

/// Copies what a table's pages hold.
fn copy(
    pages: &Pages,
    (table, holding): (&Table, &Holding),
    made: &Connection,
    repaired: &mut Repaired,
) -> Result<(), BufferError> {
    // What waits is known by the batches and by what is delivered.
    if table.name == "waiting" {
        return Ok(());
    }
    let mut copied = 0;
    for &number in &holding.damaged {
        repaired.lose(format!("page {number} of table {}", table.name));
    }
    for &number in &holding.pages {
        let is_older = repaired.older_pages.binary_search(&number).is_ok();
        // An older version would be corrected a second time; without one, a change is set aside. What
        // was delivered once may be on its way again.
        if is_older && ["versioned_receipt", "delivered"].contains(&table.name.as_str()) {
            repaired.lose(format!("page {number} of table {}: it is out of date", table.name));
            continue;
        }
        let (records, mut lost) = survey::records(pages, number);
        for record in records {
            match table.row(record) {
                Some(values) => copied += insert(table, values, made)?,
                None => lost += 1,
            }
        }
        if lost > 0 {
            repaired.lose(format!("{lost} rows of table {} on page {number}", table.name));
        }
    }
    repaired.rows.insert(table.name.clone(), copied);
    Ok(())
}

/// Inserts a row; one with a key that is there already, or against the table's rules, is an old copy.
fn insert(table: &Table, values: Vec<Value>, made: &Connection) -> Result<u64, BufferError> {
    let marks: Vec<String> = (1..=values.len()).map(|at| format!("?{at}")).collect();
    let (name, columns) = (&table.name, table.names(values.len()));
    let sql = format!("INSERT OR IGNORE INTO {name} ({columns}) VALUES ({})", marks.join(", "));
    let failed = database("take a row over");
    let mut statement = made.prepare_cached(&sql).map_err(&failed)?;
    let count = statement.execute(params_from_iter(values)).map_err(&failed)?;
    Ok(u64::from(count > 0))
}
