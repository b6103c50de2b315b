//! A store of a stack, as the command line names it: `9:poslog/ncr-acs:America/New_York`.

use std::fmt;
use std::str::FromStr;

use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shared::ids::StoreId;

use crate::till::Dialect;

/// Where a store lies unless its specification says otherwise.
const ZONE: Tz = chrono_tz::Europe::Berlin;

/// A store: its id, what its tills write, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSpec {
    /// The store.
    pub id: StoreId,
    /// What its tills write.
    pub format: Dialect,
    /// Its local clock.
    pub zone: Tz,
}

impl StoreSpec {
    /// Returns a store in Berlin whose tills write JSON Lines.
    pub fn plain(id: StoreId) -> Self {
        Self { id, format: Dialect::Jsonl, zone: ZONE }
    }
}

impl fmt::Display for StoreSpec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}:{}", self.id, name(self.format), self.zone)
    }
}

impl FromStr for StoreSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: String| {
            format!(
                "{text:?}: {what}; a store is ID[:FORMAT[/DIALECT][:ZONE]], such as 9:poslog/ncr-acs:America/New_York"
            )
        };
        let mut parts = text.splitn(3, ':');
        let id = parts.next().unwrap_or_default();
        let id = StoreId::new(id).map_err(|error| wrong(error.to_string()))?;
        let mut store = Self::plain(id);
        if let Some(name) = parts.next() {
            let found = format(name);
            store.format = found
                .ok_or_else(|| wrong(format!("{name:?} is none of {}", names().join(", "))))?;
        }
        if let Some(zone) = parts.next() {
            store.zone = zone.parse().map_err(|_| wrong(format!("{zone:?} is no IANA zone")))?;
        }
        Ok(store)
    }
}

/// Names a format and its dialect as a specification does.
fn name(format: Dialect) -> String {
    let dialect = format.dialect().map(|dialect| format!("/{dialect}"));
    format!("{}{}", format.format(), dialect.unwrap_or_default())
}

/// Returns all that an agent can be configured for without a layout of its own: telegrams need one.
fn formats() -> impl Iterator<Item = Dialect> {
    Dialect::ALL.into_iter().filter(|format| *format != Dialect::Telegram)
}

fn names() -> Vec<String> {
    formats().map(name).collect()
}

/// Finds a format by its name; the dialect may be left out where there is one that is meant.
fn format(name: &str) -> Option<Dialect> {
    let (format, dialect) = match name.split_once('/') {
        Some((format, dialect)) => (format, Some(dialect)),
        None => (name, None),
    };
    let found = Dialect::named(format, dialect)?;
    formats().find(|format| *format == found)
}

impl Serialize for StoreSpec {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StoreSpec {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specification_fills_in_what_is_left_out() {
        for (text, whole) in [
            ("10", "10:jsonl:Europe/Berlin"),
            ("10:poslog/fakes", "10:poslog/fakes:Europe/Berlin"),
            ("9:poslog/ncr-acs:America/New_York", "9:poslog/ncr-acs:America/New_York"),
            ("9:escpos:Europe/Berlin", "9:escpos/rewe:Europe/Berlin"),
            ("9:fiskaltrust", "9:fiskaltrust:Europe/Berlin"),
            ("9:dsfinvk", "9:dsfinvk:Europe/Berlin"),
        ] {
            let store: StoreSpec = text.parse().unwrap();
            assert_eq!(store.to_string(), whole);
            assert_eq!(whole.parse(), Ok(store));
        }
    }

    #[test]
    fn every_format_is_named_and_found_again() {
        for format in formats() {
            let text = format!("9:{}:Europe/Vienna", name(format));
            let store: StoreSpec = text.parse().unwrap();
            assert_eq!((store.format, store.to_string()), (format, text));
        }
        assert_eq!(names().len(), 11);
    }

    #[test]
    fn a_wrong_specification_says_what_would_be_right() {
        for (text, part) in [
            ("", "a store id is empty"),
            ("a/b", "'/'"),
            ("9:csv", "none of jsonl, poslog/fakes, poslog/ncr-acs, poslog/wn-tpnet, "),
            ("9:telegram", "escpos/rewe, fiskaltrust, dsfinvk"),
            ("9:poslog/sap", "poslog/v6"),
            ("9:jsonl:Berlin", "no IANA zone"),
        ] {
            let said = text.parse::<StoreSpec>().unwrap_err();
            assert!(said.contains(part) && said.contains("ID[:FORMAT"), "{said}");
        }
    }
}
