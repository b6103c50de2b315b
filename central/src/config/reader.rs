//! Reads typed values out of a TOML table and collects what is wrong with them. It knows no key.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::{Table, Value};

/// What is wrong, one line each.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<String>);

impl Faults {
    /// Notes a fault: the key, what is wrong with it, what would be right.
    pub(super) fn add(&mut self, key: &str, wrong: &str, right: &str) {
        self.0.push(format!("  {key}: {wrong}; right would be {right}").trim_start().to_owned());
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.0
    }
}

/// A table of the file; what is read is taken out, so that the rest is what nobody knows.
pub(super) struct Section {
    name: String,
    table: Table,
    folder: PathBuf,
}

impl Section {
    pub(super) fn root(table: Table, folder: &Path) -> Self {
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        Self { name: String::new(), table, folder }
    }

    /// Takes a section that must be there.
    pub(super) fn section(&mut self, name: &str, faults: &mut Faults) -> Self {
        if !self.table.contains_key(name) {
            faults.add(&self.key(name), "is missing", &format!("a section [{name}]"));
        }
        self.optional_section(name, faults)
    }

    /// Takes a section that may be absent, which reads as an empty one.
    pub(super) fn optional_section(&mut self, name: &str, faults: &mut Faults) -> Self {
        let table = match self.table.remove(name) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(other) => {
                faults.add(&self.key(name), &is(&other), &format!("a section [{name}]"));
                Table::new()
            }
        };
        Self { name: self.key(name), table, folder: self.folder.clone() }
    }

    /// Returns the key's full name.
    pub(super) fn key(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Returns a path of the file, which starts at the file's folder where it is relative.
    pub(super) fn path(&self, text: &str) -> PathBuf {
        self.folder.join(text)
    }

    /// Returns a URL as it stands and a path as [`Section::path`] does.
    pub(super) fn place(&self, text: &str) -> String {
        if text.contains("://") { text.to_owned() } else { self.path(text).display().to_string() }
    }

    pub(super) fn optional_text(
        &mut self,
        key: &str,
        faults: &mut Faults,
    ) -> Option<Option<String>> {
        match self.table.remove(key) {
            None => Some(None),
            Some(Value::String(text)) if !text.trim().is_empty() => Some(Some(text)),
            Some(other) => {
                faults.add(&self.key(key), &is(&other), "a text that is not empty");
                None
            }
        }
    }

    pub(super) fn text(&mut self, key: &str, right: &str, faults: &mut Faults) -> Option<String> {
        let text = self.optional_text(key, faults)?;
        if text.is_none() {
            faults.add(&self.key(key), "is missing", right);
        }
        text
    }

    pub(super) fn text_or(
        &mut self,
        key: &str,
        default: &str,
        faults: &mut Faults,
    ) -> Option<String> {
        Some(self.optional_text(key, faults)?.unwrap_or_else(|| default.to_owned()))
    }

    /// Reads the path of a file that can be read now.
    pub(super) fn file(&mut self, key: &str, right: &str, faults: &mut Faults) -> Option<PathBuf> {
        let path = self.text(key, right, faults).map(|text| self.path(&text))?;
        match std::fs::File::open(&path) {
            Ok(_) => Some(path),
            Err(error) => {
                let wrong = format!("cannot read {}: {error}", path.display());
                faults.add(&self.key(key), &wrong, right);
                None
            }
        }
    }

    pub(super) fn number(
        &mut self,
        key: &str,
        allowed: RangeInclusive<i64>,
        default: i64,
        faults: &mut Faults,
    ) -> Option<i64> {
        match self.table.remove(key) {
            None => Some(default),
            Some(Value::Integer(number)) if allowed.contains(&number) => Some(number),
            Some(other) => {
                let right = format!("a number from {} to {}", allowed.start(), allowed.end());
                faults.add(&self.key(key), &is(&other), &right);
                None
            }
        }
    }

    /// Reads a text that a type parses; absent is nothing.
    pub(super) fn optional_parsed<T: FromStr<Err: Display>>(
        &mut self,
        key: &str,
        right: &str,
        faults: &mut Faults,
    ) -> Option<Option<T>> {
        let wrong = match self.table.remove(key) {
            None => return Some(None),
            Some(Value::String(text)) => match text.parse() {
                Ok(parsed) => return Some(Some(parsed)),
                Err(error) => format!("is {text:?}: {error}"),
            },
            Some(other) => is(&other),
        };
        faults.add(&self.key(key), &wrong, right);
        None
    }

    /// Reads a table of texts; absent is empty.
    pub(super) fn texts(
        &mut self,
        key: &str,
        faults: &mut Faults,
    ) -> Option<BTreeMap<String, String>> {
        let table = self.optional_section(key, faults).table;
        let mut texts = BTreeMap::new();
        for (name, value) in table {
            if let Value::String(text) = value {
                texts.insert(name, text);
            } else {
                faults.add(&format!("{}.{name}", self.key(key)), &is(&value), "a text");
            }
        }
        Some(texts)
    }

    /// Names every key that nobody asked for.
    pub(super) fn finish(self, faults: &mut Faults) {
        for key in self.table.keys() {
            faults.add(
                &self.key(key),
                "is no key of ours",
                "to take it out or to correct its name",
            );
        }
    }
}

fn is(value: &Value) -> String {
    format!("is {value}")
}
