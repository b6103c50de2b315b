//! Which page of a damaged file belongs to which table. From each table's root downwards as far as
//! the pages verify; below an inner page that is damaged, leaves are known by the shape of their
//! rows. Pages of the list of free ones are left alone: what they hold was deleted.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::Value;
use rusqlite::{Connection, Row};

use super::pages::{Found, LOCK_PAGE, Pages};
use super::tree::{Give, Kind, Node, Nothing, Record, free_pages};
use crate::buffer::BufferError;
use crate::buffer::sqlite::{SCHEMA, database, rows};

/// What a column may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    name: String,
    kind: String,
    may_be_null: bool,
}

/// A table as the present schema has it.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    columns: Vec<Column>,
    /// Whether its rows have numbers of their own.
    numbered: bool,
    /// The column that is the row's number.
    number_column: Option<usize>,
}

/// Pages that hold rows of a table, and pages that are damaged.
#[derive(Debug, Default)]
pub(super) struct Holding {
    pub(super) pages: Vec<u32>,
    pub(super) damaged: Vec<u32>,
    older: Vec<u32>,
    /// Whether leaves may lie below what is damaged.
    hides: bool,
}

/// All of a damaged file.
pub(super) struct Survey {
    pub(super) tables: Vec<(Table, Holding)>,
    /// Pages that belong to no table and cannot be read.
    pub(super) damaged: Vec<u32>,
    /// Pages of which an older state was taken.
    pub(super) older: Vec<u32>,
}

impl Give for Pages {
    fn give(&self, number: u32) -> Option<Vec<u8>> {
        if number == 0 || number > self.count() {
            return None;
        }
        match self.read(number) {
            Found::Whole(page) => Some(page),
            Found::Older(_) | Found::Unreadable => None,
        }
    }
}

/// Returns the rows of a page, and how many of it cannot be read.
pub(super) fn records(pages: &Pages, number: u32) -> (Vec<Record>, u64) {
    let read = |bytes: Vec<u8>, is_newest: bool| {
        let node = Node::of(&bytes, number)?;
        Some(if is_newest { node.records(pages) } else { node.records(&Nothing) })
    };
    match pages.read(number) {
        Found::Whole(bytes) => read(bytes, true),
        Found::Older(bytes) => read(bytes, false),
        Found::Unreadable => None,
    }
    .unwrap_or_default()
}

impl Table {
    /// Returns the names of the first so many columns, as a statement lists them.
    pub(super) fn names(&self, count: usize) -> String {
        let names: Vec<&str> = self.columns.iter().take(count).map(|it| it.name.as_str()).collect();
        names.join(", ")
    }

    /// Returns a row's values where they are of this table. A table that has grown since has more
    /// columns than the row.
    pub(super) fn row(&self, record: Record) -> Option<Vec<Value>> {
        let Record { number, mut values } = record;
        if number.is_some() != self.numbered || values.len() > self.columns.len() {
            return None;
        }
        if let (Some(column), Some(number)) = (self.number_column, number) {
            *values.get_mut(column)? = Value::Integer(number);
        }
        let fits = values.iter().zip(&self.columns).all(|(value, column)| column.takes(value));
        (fits && !values.is_empty()).then_some(values)
    }
}

impl Column {
    fn takes(&self, value: &Value) -> bool {
        match value {
            Value::Null => self.may_be_null,
            Value::Integer(_) => self.kind == "INTEGER",
            Value::Text(_) => self.kind == "TEXT",
            Value::Blob(_) => self.kind == "BLOB",
            Value::Real(_) => false,
        }
    }
}

/// Finds out what each page is.
pub(super) fn survey(pages: &Pages) -> Result<Survey, BufferError> {
    let (tables, mut roots) = schema()?;
    let mut seen = BTreeSet::from([1]);
    let master = walk(pages, 1, &mut seen);
    for (name, root) in roots_of(pages, &master) {
        roots.insert(name, root);
    }
    let free = pages.give(1).map_or_else(BTreeSet::new, |first| free_pages(&first, pages));
    let mut held = Vec::new();
    for table in tables {
        let root = roots.remove(&table.name).unwrap_or(0);
        let holding = if leads_to(pages, root, &table) && seen.insert(root) {
            walk(pages, root, &mut seen)
        } else {
            Holding { damaged: Vec::new(), hides: true, ..Holding::default() }
        };
        held.push((table, holding));
    }
    // What is left are indexes: they are made anew.
    for root in roots.into_values() {
        if seen.insert(root) {
            walk(pages, root, &mut seen);
        }
    }
    let of_tables = held.iter().flat_map(|(_, holding)| &holding.older);
    let older = of_tables.chain(&master.older).copied().collect();
    let mut survey = Survey { tables: held, damaged: master.damaged, older };
    for number in 1..=pages.count() {
        if !seen.contains(&number) && !free.contains(&number) && number != LOCK_PAGE {
            survey.adopt(pages, number);
        }
    }
    survey.older.sort_unstable();
    Ok(survey)
}

impl Survey {
    /// Gives a page that nothing leads to to the table that its rows are of.
    fn adopt(&mut self, pages: &Pages, number: u32) {
        let (bytes, is_older) = match pages.read(number) {
            Found::Whole(bytes) => (bytes, false),
            Found::Older(bytes) => (bytes, true),
            Found::Unreadable => return self.damaged.push(number),
        };
        let Some(node) = Node::of(&bytes, number) else { return };
        let (records, _) = if is_older { node.records(&Nothing) } else { node.records(pages) };
        let Some(first) = records.into_iter().next() else { return };
        let is_of = |table: &Table| {
            let whole = first.values.len() == table.columns.len();
            whole && table.row(first.clone()).is_some()
        };
        let mut candidates: Vec<&mut (Table, Holding)> =
            self.tables.iter_mut().filter(|(table, held)| held.hides && is_of(table)).collect();
        // Movements and closings look alike, but that a closing's id is JSON.
        let is_list = matches!(first.values.first(), Some(Value::Text(id)) if id.starts_with('['));
        if candidates.len() > 1 {
            candidates.retain(|(table, _)| (table.name == "closing_key") == is_list);
        }
        if let [(_, holding)] = &mut candidates[..] {
            holding.pages.push(number);
            self.older.extend(is_older.then_some(number));
        }
    }
}

/// Reads the present schema: its tables, and where each tree begins in a file that was made by it.
fn schema() -> Result<(Vec<Table>, BTreeMap<String, u32>), BufferError> {
    let connection = Connection::open_in_memory().map_err(database("read the schema"))?;
    connection.execute_batch(SCHEMA).map_err(database("read the schema"))?;
    let sql = "SELECT name, type, rootpage, coalesce(sql, '') FROM sqlite_master";
    let read = |row: &Row<'_>| {
        let texts: [String; 3] = [row.get(0)?, row.get(1)?, row.get(3)?];
        Ok((texts, row.get::<_, u32>(2)?))
    };
    let (mut tables, mut roots) = (Vec::new(), BTreeMap::new());
    for ([name, kind, sql], root) in rows(&connection, sql, &[], read)? {
        roots.insert(name.clone(), root);
        if kind == "table" && !name.starts_with("sqlite_") {
            tables.push(table(&connection, name, !sql.contains("WITHOUT ROWID"))?);
        }
    }
    Ok((tables, roots))
}

fn table(connection: &Connection, name: String, numbered: bool) -> Result<Table, BufferError> {
    let sql = "SELECT name, type, \"notnull\", pk FROM pragma_table_info(?1) ORDER BY cid";
    let read = |row: &Row<'_>| {
        let column = Column {
            name: row.get(0)?,
            kind: row.get(1)?,
            may_be_null: row.get::<_, i64>(2)? == 0 && row.get::<_, i64>(3)? == 0,
        };
        Ok((column, row.get::<_, i64>(3)? > 0))
    };
    let found = rows(connection, sql, &[&name], read)?;
    let is_number = |(column, is_key): &(Column, bool)| *is_key && column.kind == "INTEGER";
    let number_column = if numbered { found.iter().position(is_number) } else { None };
    let columns = found.into_iter().map(|(column, _)| column).collect();
    Ok(Table { name, columns, numbered, number_column })
}

/// Returns where the trees begin, as the file itself says.
fn roots_of(pages: &Pages, master: &Holding) -> Vec<(String, u32)> {
    let mut roots = Vec::new();
    for &number in &master.pages {
        for record in records(pages, number).0 {
            if let [_, Value::Text(name), _, Value::Integer(root), ..] = &record.values[..]
                && let Ok(root) = u32::try_from(*root)
                && root > 0
            {
                roots.push((name.clone(), root));
            }
        }
    }
    roots
}

/// Returns true where a tree of this table's kind begins at a page, or the page cannot be read.
fn leads_to(pages: &Pages, root: u32, table: &Table) -> bool {
    if root == 0 {
        return false;
    }
    let Some(bytes) = pages.give(root) else { return true };
    let Some(node) = Node::of(&bytes, root) else { return false };
    let numbered = matches!(node.kind(), Kind::TableLeaf | Kind::TableInner);
    let first = node.records(pages).0.into_iter().next();
    numbered == table.numbered && first.is_none_or(|first| table.row(first).is_some())
}

/// Goes down a tree.
fn walk(pages: &Pages, root: u32, seen: &mut BTreeSet<u32>) -> Holding {
    let mut holding = Holding::default();
    let mut leaf_depth = None;
    let mut damaged: Vec<(u32, u32)> = Vec::new();
    let mut stack = vec![(root, 0)];
    while let Some((number, depth)) = stack.pop() {
        let (bytes, is_older) = match pages.read(number) {
            Found::Whole(bytes) => (bytes, false),
            Found::Older(bytes) => (bytes, true),
            Found::Unreadable => (Vec::new(), false),
        };
        let Some(node) = Node::of(&bytes, number) else {
            damaged.push((number, depth));
            continue;
        };
        holding.older.extend(is_older.then_some(number));
        if matches!(node.kind(), Kind::TableLeaf | Kind::IndexLeaf) {
            leaf_depth = Some(depth);
        } else {
            holding.hides |= is_older;
        }
        if node.kind() != Kind::TableInner {
            holding.pages.push(number);
        }
        let below = node.children().into_iter().filter(|&child| seen.insert(child));
        stack.extend(below.map(|child| (child, depth + 1)));
    }
    // All leaves of a tree lie equally deep: what is damaged there hides nothing.
    holding.hides |= damaged.iter().any(|&(_, depth)| leaf_depth.is_none_or(|leaf| depth < leaf));
    holding.damaged = damaged.into_iter().map(|(number, _)| number).collect();
    holding
}
