//! What a file of stock movements looks like: its columns, its signs, its words. Checked whole before
//! the first row is read.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use serde::{Deserialize, Deserializer};
use shared::words::StockKind;

use super::super::FormatError;
use super::super::registry::settings;

const FORMAT: &str = "stock-csv";

/// The settings of a file of stock movements.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StockCsvSettings {
    /// What movements are named by before document and line.
    #[serde(default = "name")]
    pub(super) name: String,
    /// All columns of the file, in order.
    pub(super) columns: Vec<String>,
    /// Whether the first row names the columns.
    pub(super) header: bool,
    #[serde(default = "separator")]
    separator: char,
    #[serde(default = "quote")]
    quote: char,
    #[serde(default = "decimal")]
    pub(super) decimal: char,
    #[serde(default)]
    pub(super) grouping: Option<char>,
    #[serde(default)]
    pub(super) encoding: Encoding,
    /// The zone of its times; the store's without it.
    #[serde(default, deserialize_with = "zone")]
    pub(super) zone: Option<Tz>,
    /// How dates, or dates with times, are written (strftime).
    pub(super) date: String,
    /// How times are written, where they have a column of their own.
    #[serde(default)]
    pub(super) time: Option<String>,
    /// How best-before days are written; as dates without it.
    #[serde(default)]
    pub(super) best_before: Option<String>,
    /// The kind of all rows, where no column tells it.
    #[serde(default)]
    pub(super) kind: Option<Word>,
    /// The kinds by the words in their column.
    #[serde(default)]
    pub(super) kinds: BTreeMap<String, Word>,
    /// Which column holds what.
    pub(super) map: Map,
}

/// In which alphabet a file is written.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) enum Encoding {
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "latin1")]
    Latin1,
    #[serde(rename = "cp1252")]
    Cp1252,
}

/// What a word in the column of kinds means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Word {
    pub(super) kind: StockKind,
    #[serde(default)]
    pub(super) sign: Sign,
}

/// How the sign of a quantity is written.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Sign {
    /// Negative where goods leave.
    #[default]
    AsWritten,
    /// Never negative; the kind tells the direction.
    Absolute,
    /// Positive where goods leave.
    Reversed,
}

/// The names of the columns that are read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Map {
    #[serde(default)]
    document: Option<String>,
    #[serde(default)]
    line: Option<String>,
    /// The columns that together name a movement, where it has no document.
    #[serde(default)]
    key: Vec<String>,
    #[serde(default)]
    gtin: Option<String>,
    #[serde(default)]
    article: Option<String>,
    quantity: String,
    #[serde(default)]
    unit: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    date: String,
    #[serde(default)]
    time: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    order: Option<String>,
    #[serde(default)]
    counterparty: Option<String>,
    #[serde(default)]
    best_before: Option<String>,
    #[serde(default)]
    lot: Option<String>,
}

/// A field that may have a column.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field {
    Gtin,
    Article,
    Quantity,
    Unit,
    Kind,
    Date,
    Time,
    Reason,
    Order,
    Counterparty,
    BestBefore,
    Lot,
}

fn zone<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Tz>, D::Error> {
    let name = String::deserialize(from)?;
    name.parse().map(Some).map_err(|_| serde::de::Error::custom("no zone has this name"))
}

fn name() -> String {
    "csv".to_owned()
}

fn separator() -> char {
    ';'
}

fn quote() -> char {
    '"'
}

fn decimal() -> char {
    ','
}

impl StockCsvSettings {
    /// Reads the settings, which this format needs.
    pub(in crate::format) fn parse(text: Option<&str>) -> Result<Self, FormatError> {
        let fault = |why: String| FormatError::Settings { format: FORMAT, why };
        let text = text.ok_or_else(|| fault("there are none; name a file of them".to_owned()))?;
        let read: Self = settings(FORMAT, text)?;
        read.check().map_err(fault)?;
        Ok(read)
    }

    fn check(&self) -> Result<(), String> {
        let map = &self.map;
        let optional = [
            &map.document,
            &map.line,
            &map.gtin,
            &map.article,
            &map.unit,
            &map.kind,
            &map.time,
            &map.reason,
            &map.order,
            &map.counterparty,
            &map.best_before,
            &map.lot,
        ];
        let named = optional.into_iter().flatten().chain(&map.key);
        for column in named.chain([&map.quantity, &map.date]) {
            if self.columns.iter().filter(|known| *known == column).count() != 1 {
                return Err(format!("map: {column:?} must stand once in columns"));
            }
        }
        if (map.document.is_none() || map.line.is_none()) && map.key.is_empty() {
            return Err("map: document and line, or key, must name a movement".to_owned());
        }
        if map.gtin.is_none() && map.article.is_none() {
            return Err("map: gtin or article must name what moved".to_owned());
        }
        if map.kind.is_some() != self.kind.is_none() || map.kind.is_some() == self.kinds.is_empty()
        {
            return Err("kind: either one for all rows, or map.kind with a table kinds".to_owned());
        }
        if map.time.is_some() != self.time.is_some() {
            return Err("time: map.time and the pattern go together".to_owned());
        }
        let signs = [self.separator, self.quote, self.decimal];
        let plain = |sign: &char| sign.is_ascii() && !sign.is_ascii_alphanumeric();
        if !signs.iter().chain(&self.grouping).all(plain)
            || self.separator == self.quote
            || self.grouping == Some(self.decimal)
        {
            return Err("separator, quote, decimal and grouping must be plain signs".to_owned());
        }
        Ok(())
    }

    /// Returns the separator; [`Self::check`] has seen that it is plain.
    pub(super) fn separator(&self) -> u8 {
        u8::try_from(self.separator).unwrap_or(b';')
    }

    /// Returns the quote; [`Self::check`] has seen that it is plain.
    pub(super) fn quote(&self) -> u8 {
        u8::try_from(self.quote).unwrap_or(b'"')
    }

    /// Returns where a field stands in a row.
    pub(super) fn place(&self, field: Field) -> Option<usize> {
        let map = &self.map;
        let column = match field {
            Field::Gtin => map.gtin.as_ref(),
            Field::Article => map.article.as_ref(),
            Field::Quantity => Some(&map.quantity),
            Field::Unit => map.unit.as_ref(),
            Field::Kind => map.kind.as_ref(),
            Field::Date => Some(&map.date),
            Field::Time => map.time.as_ref(),
            Field::Reason => map.reason.as_ref(),
            Field::Order => map.order.as_ref(),
            Field::Counterparty => map.counterparty.as_ref(),
            Field::BestBefore => map.best_before.as_ref(),
            Field::Lot => map.lot.as_ref(),
        };
        column.and_then(|column| self.place_of(column))
    }

    /// Returns where the columns that name a movement stand: document and line, else the key.
    pub(super) fn identity(&self) -> Vec<usize> {
        let columns: Vec<&String> = match (&self.map.document, &self.map.line) {
            (Some(document), Some(line)) => vec![document, line],
            (Some(_) | None, _) => self.map.key.iter().collect(),
        };
        columns.into_iter().filter_map(|column| self.place_of(column)).collect()
    }

    fn place_of(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|known| known == column)
    }
}
