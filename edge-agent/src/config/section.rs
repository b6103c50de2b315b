//! One table of a TOML file, read key by key. It collects faults instead of stopping at the first,
//! and at the end every key that nobody asked for is one.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use toml::{Table, Value};

use super::Fault;

/// A table and what has been asked of it.
pub(super) struct Section {
    name: String,
    base: PathBuf,
    table: Table,
    asked: BTreeSet<String>,
    faults: Rc<RefCell<Vec<Fault>>>,
}

impl Section {
    /// Parses a file's text; relative paths in it start at `base`.
    pub(super) fn parse(text: &str, base: &Path) -> Result<Self, toml::de::Error> {
        let table = text.parse()?;
        let faults = Rc::default();
        let (name, base, asked) = (String::new(), base.to_owned(), BTreeSet::new());
        Ok(Self { name, base, table, asked, faults })
    }

    /// Returns all faults of this section and of those below it.
    pub(super) fn finish(mut self) -> Vec<Fault> {
        self.tell_unknown();
        self.faults.take()
    }

    /// Notes a fault of one of its keys.
    pub(super) fn fault(&mut self, key: &str, what: String) {
        self.asked.insert(key.to_owned());
        let key = self.full(key);
        self.faults.borrow_mut().push(Fault { key, what });
    }

    /// Tells whether a key is given.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Leaves all other keys alone: what they should be is not known.
    pub(super) fn leave(&mut self) {
        self.asked.extend(self.table.keys().cloned());
    }

    /// Notes that a key is given which says nothing here, where it is.
    pub(super) fn means_nothing(&mut self, key: &str, where_: &str) {
        if self.is_given(key) {
            self.fault(key, format!("means nothing {where_}: take it out"));
        }
    }

    /// Returns the section below a key; one that is missing is a fault.
    pub(super) fn section(&mut self, key: &str) -> Self {
        let table = match self.take(key) {
            Some(Value::Table(table)) => Some(table),
            Some(_) => {
                self.fault(key, format!("must be a section [{key}]"));
                None
            }
            None => {
                self.fault(key, format!("is missing; a section [{key}] is needed"));
                None
            }
        };
        self.below(key.to_owned(), table)
    }

    /// Returns the sections of a list of tables.
    pub(super) fn sections(&mut self, key: &str) -> Vec<Self> {
        let list = match self.take(key) {
            Some(Value::Array(list)) => list,
            Some(_) => {
                self.fault(key, format!("must be a list of sections [[{key}]]"));
                return Vec::new();
            }
            None => return Vec::new(),
        };
        let mut sections = Vec::new();
        for (at, value) in list.into_iter().enumerate() {
            let name = format!("{key}[{at}]");
            let table = match value {
                Value::Table(table) => Some(table),
                Value::String(_)
                | Value::Integer(_)
                | Value::Float(_)
                | Value::Boolean(_)
                | Value::Datetime(_)
                | Value::Array(_) => {
                    self.fault(&name, "must be a section".to_owned());
                    None
                }
            };
            sections.push(self.below(name, table));
        }
        sections
    }

    /// Returns a text.
    #[allow(clippy::wildcard_enum_match_arm, reason = "whatever else TOML has is no text")]
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            other => {
                self.fault(key, format!("{other} must be text in quotes"));
                None
            }
        }
    }

    /// Returns what a text means; `right` says what it should be.
    pub(super) fn parsed<T: FromStr>(&mut self, key: &str, right: &str) -> Option<T> {
        let text = self.text(key)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.fault(key, format!("{text:?} is not {right}"));
        }
        parsed
    }

    /// Returns what a text means that must be there.
    pub(super) fn required<T: FromStr>(&mut self, key: &str, right: &str) -> Option<T> {
        self.must_be_there(key, right).then(|| self.parsed(key, right))?
    }

    /// Returns a path.
    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.text(key).map(|text| self.base.join(text))
    }

    /// Returns a path that must be named.
    pub(super) fn required_path(&mut self, key: &str, right: &str) -> Option<PathBuf> {
        self.must_be_there(key, right).then(|| self.path(key))?
    }

    /// Returns the path of a file that must be named and readable.
    pub(super) fn required_file(&mut self, key: &str, right: &str) -> Option<PathBuf> {
        let path = self.required_path(key, right)?;
        if let Err(error) = std::fs::File::open(&path) {
            self.fault(
                key,
                format!("{} cannot be read: {error}; it must be {right}", path.display()),
            );
            return None;
        }
        Some(path)
    }

    /// Returns what a file holds, or nothing where none is named. One that cannot be read is a fault.
    pub(super) fn file_text(&mut self, key: &str) -> Option<Option<String>> {
        let Some(path) = self.path(key) else { return Some(None) };
        match std::fs::read_to_string(&path) {
            Ok(text) => Some(Some(text)),
            Err(error) => {
                self.fault(key, format!("{} cannot be read: {error}", path.display()));
                None
            }
        }
    }

    /// Returns true or false.
    #[allow(clippy::wildcard_enum_match_arm, reason = "whatever else TOML has is no flag")]
    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        match self.take(key)? {
            Value::Boolean(flag) => Some(flag),
            other => {
                self.fault(key, format!("{other} must be true or false"));
                None
            }
        }
    }

    /// Returns a list of texts, or nothing where none is given. One that is no such list is a fault.
    pub(super) fn texts(&mut self, key: &str) -> Option<Option<Vec<String>>> {
        let Some(value) = self.take(key) else { return Some(None) };
        let texts = value.as_array().map(|list| list.iter().map(Value::as_str));
        let texts: Option<Vec<String>> = texts.and_then(|mut texts| {
            texts.try_fold(Vec::new(), |mut all, text| {
                all.push(text?.to_owned());
                Some(all)
            })
        });
        if texts.is_none() {
            self.fault(key, format!("{value} must be a list of texts in quotes"));
        }
        texts.map(Some)
    }

    /// Returns a number within bounds, or its default.
    pub(super) fn number(&mut self, key: &str, default: u64, bounds: RangeInclusive<u64>) -> u64 {
        let Some(value) = self.take(key) else { return default };
        let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
        match number.filter(|number| bounds.contains(number)) {
            Some(number) => number,
            None => {
                let (least, most) = bounds.into_inner();
                self.fault(key, format!("{value} must be a whole number from {least} to {most}"));
                default
            }
        }
    }

    /// Returns a span in seconds, or its default.
    pub(super) fn seconds(
        &mut self,
        key: &str,
        default: u64,
        bounds: RangeInclusive<u64>,
    ) -> Duration {
        Duration::from_secs(self.number(key, default, bounds))
    }

    fn must_be_there(&mut self, key: &str, right: &str) -> bool {
        let what = match self.table.get(key) {
            None => "is missing",
            Some(value) if value.as_str() == Some("") => "is empty",
            Some(_) => return true,
        };
        self.fault(key, format!("{what}; it must be {right}"));
        false
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.asked.insert(key.to_owned());
        self.table.get(key).cloned()
    }

    /// Makes the section of a missing table say nothing of its keys: the table's own fault suffices.
    fn below(&self, name: String, table: Option<Table>) -> Self {
        let faults = if table.is_some() { Rc::clone(&self.faults) } else { Rc::default() };
        let name = self.full(&name);
        let table = table.unwrap_or_default();
        Self { name, base: self.base.clone(), table, asked: BTreeSet::new(), faults }
    }

    fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn tell_unknown(&mut self) {
        let unknown: Vec<String> =
            self.table.keys().filter(|key| !self.asked.contains(*key)).cloned().collect();
        for key in unknown {
            let known = self.asked.iter().cloned().collect::<Vec<_>>().join(", ");
            let what = format!("is not known here; known are {known}");
            let key = self.full(&key);
            self.faults.borrow_mut().push(Fault { key, what });
        }
    }
}

impl Drop for Section {
    fn drop(&mut self) {
        self.tell_unknown();
        self.table.clear();
    }
}
