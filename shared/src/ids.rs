//! Names of things: stores, tills, receipts, articles, streams. Parsed once where they enter, so
//! that the inside never checks again. No id may hold control characters: databases refuse them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("{what} is empty")]
    Empty {
        /// What was to be named.
        what: &'static str,
    },
    /// The text is longer than the id may be.
    #[error("{what} is {length} bytes long, at most {most} are allowed")]
    TooLong {
        /// What was to be named.
        what: &'static str,
        /// Bytes found.
        length: usize,
        /// Bytes allowed.
        most: usize,
    },
    /// The text holds a character that the id may not hold.
    #[error("{what} holds the character {found:?}, which is not allowed")]
    Character {
        /// What was to be named.
        what: &'static str,
        /// The first such character.
        found: char,
    },
}

/// Checks length and characters of an id's text.
pub(crate) fn check_text(
    what: &'static str,
    text: &str,
    most: usize,
    allowed: fn(char) -> bool,
) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { what });
    }
    if text.len() > most {
        return Err(IdError::TooLong { what, length: text.len(), most });
    }
    match text.chars().find(|&found| !allowed(found)) {
        Some(found) => Err(IdError::Character { what, found }),
        None => Ok(()),
    }
}

/// Letters, digits, dot, dash and underscore: safe in a file name, a certificate and a metric.
fn technical(found: char) -> bool {
    found.is_ascii_alphanumeric() || matches!(found, '.' | '-' | '_')
}

/// Anything a person can read.
pub(crate) fn printable(found: char) -> bool {
    !found.is_control()
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $most:literal, $allowed:path, $normal:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub struct $name(String);

        impl $name {
            /// Parses the text of an id.
            pub fn new(text: &str) -> Result<Self, IdError> {
                check_text($what, text, $most, $allowed)?;
                Ok(Self($normal(text).into_owned()))
            }

            /// Returns the id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "minLength": 1, "maxLength": $most })
            }
        }
    };
}

fn as_it_stands(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

/// Strips leading zeros of a number; any other text stays as it is.
fn without_leading_zeros(text: &str) -> Cow<'_, str> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Cow::Borrowed(text);
    }
    match text.trim_start_matches('0') {
        "" => Cow::Borrowed("0"),
        rest => Cow::Borrowed(rest),
    }
}

text_id!(
    /// A store's immutable technical id, such as `0417`. Names and addresses are registry rows.
    StoreId, "a store id", 32, technical, as_it_stands
);
text_id!(
    /// A register within its store, such as `3`.
    TillId, "a till id", 32, technical, as_it_stands
);
text_id!(
    /// The span in which a till's receipt numbers are unique; by default the business day.
    Series, "a series", 64, printable, as_it_stands
);
text_id!(
    /// A receipt's number within its series; numbers carry no leading zeros.
    ReceiptNumber, "a receipt number", 64, printable, without_leading_zeros
);
text_id!(
    /// What was sold: 14 digits are a GTIN; anything else carries its scheme (`own:`, `plu:`, `text:`).
    Article, "an article", 200, printable, as_it_stands
);
text_id!(
    /// A document's line that moved stock; a movement with the same id counts once.
    MovementId, "a movement id", 120, printable, as_it_stands
);
text_id!(
    /// Any other short text that travels along: a VAT key, an order number, a lot.
    Label, "a label", 200, printable, as_it_stands
);

impl ReceiptNumber {
    /// Returns the number where it is one that ranges can hold.
    pub fn as_number(&self) -> Option<u64> {
        let text = self.as_str();
        let number =
            text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())??;
        i64::try_from(number).is_ok_and(|signed| signed < i64::MAX).then_some(number)
    }
}

/// The life of one agent buffer: a UUIDv7, made with the buffer.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[schemars(extend("format" = "uuid"))]
pub struct StreamId(#[schemars(with = "String")] uuid::Uuid);

impl StreamId {
    /// Makes a stream id from its 16 bytes.
    pub fn from_uuid(uuid: uuid::Uuid) -> Self {
        Self(uuid)
    }

    /// Makes a new stream id from a time, unique to this call.
    pub fn new(at: crate::time::Timestamp) -> Self {
        let seconds = u64::try_from(at.unix_millis() / 1000).unwrap_or(0);
        let nanos = u32::try_from(at.unix_millis().rem_euclid(1000)).unwrap_or(0) * 1_000_000;
        Self(uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos)))
    }

    /// Returns the id as a UUID.
    pub fn as_uuid(&self) -> uuid::Uuid {
        self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl FromStr for StreamId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// A batch's place in its stream: 1, 2, 3 ... without a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
pub struct Sequence(#[schemars(range(min = 1, max = 9_007_199_254_740_991_u64))] u64);

impl Sequence {
    /// The first batch of a stream.
    pub const FIRST: Self = Self(1);
    /// The largest sequence: what JSON numbers hold exactly everywhere (2^53 - 1).
    pub const MOST: u64 = 9_007_199_254_740_991;

    /// Returns the sequence, or nothing where the number is 0 or beyond [`Sequence::MOST`].
    pub fn new(number: u64) -> Option<Self> {
        (1..=Self::MOST).contains(&number).then_some(Self(number))
    }

    /// Returns the number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// Returns the sequence after this one.
    pub fn next(self) -> Self {
        assert!(self.0 < Self::MOST, "a stream outlives 2^53 batches");
        Self(self.0 + 1)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// What a number that is no sequence is told.
const NO_SEQUENCE: &str = "a sequence lies between 1 and 2^53 - 1";

impl FromStr for Sequence {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().ok().and_then(Self::new).ok_or(NO_SEQUENCE)
    }
}

impl<'de> Deserialize<'de> for Sequence {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(from)?;
        Self::new(number).ok_or_else(|| serde::de::Error::custom(NO_SEQUENCE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_number_has_no_leading_zeros_but_other_text_stays() {
        for (text, want) in [("00933", "933"), ("0", "0"), ("000", "0"), ("A-007", "A-007")] {
            assert_eq!(ReceiptNumber::new(text).unwrap().as_str(), want);
        }
        assert_eq!(ReceiptNumber::new("31198705046").unwrap().as_number(), Some(31_198_705_046));
        assert_eq!(ReceiptNumber::new("A-007").unwrap().as_number(), None);
        assert_eq!(ReceiptNumber::new("9223372036854775807").unwrap().as_number(), None);
    }

    #[test]
    fn ids_refuse_what_a_database_or_a_path_cannot_hold() {
        assert_eq!(StoreId::new(""), Err(IdError::Empty { what: "a store id" }));
        assert!(matches!(StoreId::new("../1"), Err(IdError::Character { found: '/', .. })));
        assert!(matches!(Article::new("a\0b"), Err(IdError::Character { found: '\0', .. })));
        assert!(matches!(TillId::new(&"x".repeat(33)), Err(IdError::TooLong { length: 33, .. })));
    }

    #[test]
    fn a_sequence_is_what_json_can_hold() {
        assert!(serde_json::from_str::<Sequence>("0").is_err());
        assert!(serde_json::from_str::<Sequence>("9007199254740992").is_err());
        assert_eq!(serde_json::from_str::<Sequence>("1").unwrap(), Sequence::FIRST);
    }
}
