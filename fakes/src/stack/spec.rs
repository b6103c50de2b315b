//! A store of a stack, as the command line names it: `9:poslog/ncr-acs:America/New_York`.

use std::fmt;
use std::str::FromStr;

use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shared::ids::StoreId;

/// Where a store lies unless its specification says otherwise.
const ZONE: Tz = chrono_tz::Europe::Berlin;

/// What a store's tills write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TillFormat {
    /// POSLog as NCR ACS writes it.
    PoslogNcrAcs,
    /// POSLog as our own fakes write it.
    PoslogFakes,
    /// One canonical receipt a line.
    JsonLines,
}

impl TillFormat {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::PoslogNcrAcs, Self::PoslogFakes, Self::JsonLines];

    /// Returns the format's name for an agent's configuration.
    pub fn format(self) -> &'static str {
        match self {
            Self::PoslogNcrAcs | Self::PoslogFakes => "poslog",
            Self::JsonLines => "jsonl",
        }
    }

    /// Returns the dialect's name where the format has dialects.
    pub fn dialect(self) -> Option<&'static str> {
        match self {
            Self::PoslogNcrAcs => Some("ncr-acs"),
            Self::PoslogFakes => Some("fakes"),
            Self::JsonLines => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::PoslogNcrAcs => "poslog/ncr-acs",
            Self::PoslogFakes => "poslog/fakes",
            Self::JsonLines => "jsonl",
        }
    }
}

/// A store: its id, what its tills write, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSpec {
    /// The store.
    pub id: StoreId,
    /// What its tills write.
    pub format: TillFormat,
    /// Its local clock.
    pub zone: Tz,
}

impl StoreSpec {
    /// Returns a store in Berlin whose tills write JSON Lines.
    pub fn plain(id: StoreId) -> Self {
        Self { id, format: TillFormat::JsonLines, zone: ZONE }
    }
}

impl fmt::Display for StoreSpec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}:{}", self.id, self.format.name(), self.zone)
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
            let found = TillFormat::ALL.into_iter().find(|format| format.name() == name);
            store.format = found.ok_or_else(|| {
                wrong(format!("{name:?} is not poslog/ncr-acs, poslog/fakes or jsonl"))
            })?;
        }
        if let Some(zone) = parts.next() {
            store.zone = zone.parse().map_err(|_| wrong(format!("{zone:?} is no IANA zone")))?;
        }
        Ok(store)
    }
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
        ] {
            let store: StoreSpec = text.parse().unwrap();
            assert_eq!(store.to_string(), whole);
            assert_eq!(whole.parse(), Ok(store));
        }
    }

    #[test]
    fn a_wrong_specification_says_what_would_be_right() {
        for (text, part) in [
            ("", "a store id is empty"),
            ("a/b", "'/'"),
            ("9:csv", "poslog/ncr-acs, poslog/fakes or jsonl"),
            ("9:jsonl:Berlin", "no IANA zone"),
        ] {
            let said = text.parse::<StoreSpec>().unwrap_err();
            assert!(said.contains(part) && said.contains("ID[:FORMAT"), "{said}");
        }
    }
}
