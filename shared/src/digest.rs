//! What an agent has counted of a till's business day, in so few bytes that it can be told: how many
//! receipts, how many cents, and a sum over their keys. Who holds the receipts' numbers computes the
//! same and sees whether it has them all. It holds no personal data.
//!
//! The canonical form, version 1. A receipt's key is the text
//! `frischmarkt receipt key 1\n<till>\n<series>\n<business day>\n<receipt>`, each part as batches name
//! it: the day as `2026-11-23`, a number in decimal without leading zeros. Its SHA-256, read as a number
//! of 256 bits, the highest byte first, is added to the others modulo 2^256. So the order says nothing,
//! a receipt that is there twice shows, and one that is taken back is subtracted.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::ids::{Sequence, Series, TillId};
use crate::money::Cents;
use crate::time::BusinessDay;

/// What stands before a receipt's key, so that no other hash of ours fits.
const DOMAIN: &str = "frischmarkt receipt key 1";

/// Bytes of a sum.
const BYTES: usize = 32;

/// A till's business day within one series, as batches name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DayDigest {
    /// The register.
    pub till: TillId,
    /// The span in which its receipt numbers are unique.
    pub series: Series,
    /// The day.
    pub business_day: BusinessDay,
    /// From this batch of the stream on; up to the one that carries the digest.
    pub first_sequence: Sequence,
    /// How many receipts count.
    pub receipts: u64,
    /// Sum of their totals, with what later versions of them changed.
    pub cents: Cents,
    /// Sum of their keys.
    pub keys: KeySum,
}

/// What the receipts of a sum have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayOfTill<'a> {
    /// The register.
    pub till: &'a str,
    /// The series.
    pub series: &'a str,
    /// The day.
    pub business_day: BusinessDay,
}

/// A sum of receipts' keys modulo 2^256; written as 64 hex digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, JsonSchema)]
pub struct KeySum(#[schemars(with = "String", regex(pattern = "^[0-9a-f]{64}$"))] [u8; BYTES]);

/// A text that is no sum of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sum of keys is 64 hex digits in lower case")]
pub struct KeySumError;

impl KeySum {
    /// Returns a sum from its bytes, the highest first.
    pub fn from_bytes(bytes: [u8; BYTES]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, the highest first.
    pub fn bytes(&self) -> &[u8; BYTES] {
        &self.0
    }

    /// Adds a receipt's key.
    pub fn add(&mut self, day: &DayOfTill<'_>, receipt: &str) {
        let mut carry = 0_u16;
        for (own, other) in self.0.iter_mut().rev().zip(key(day, receipt).iter().rev()) {
            let [high, low] = (u16::from(*own) + u16::from(*other) + carry).to_be_bytes();
            (*own, carry) = (low, u16::from(high));
        }
    }

    /// Takes a receipt's key away.
    pub fn subtract(&mut self, day: &DayOfTill<'_>, receipt: &str) {
        let mut borrow = false;
        for (own, other) in self.0.iter_mut().rev().zip(key(day, receipt).iter().rev()) {
            let (less, first) = own.overflowing_sub(*other);
            let (less, second) = less.overflowing_sub(u8::from(borrow));
            (*own, borrow) = (less, first || second);
        }
    }
}

fn key(day: &DayOfTill<'_>, receipt: &str) -> [u8; BYTES] {
    let DayOfTill { till, series, business_day } = day;
    let text = format!("{DOMAIN}\n{till}\n{series}\n{business_day}\n{receipt}");
    Sha256::digest(text.as_bytes()).into()
}

impl std::fmt::Display for KeySum {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl std::str::FromStr for KeySum {
    type Err = KeySumError;
    fn from_str(text: &str) -> Result<Self, KeySumError> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            0..=u8::MAX => Err(KeySumError),
        };
        let mut bytes = [0; BYTES];
        if text.len() != 2 * BYTES {
            return Err(KeySumError);
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for KeySum {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeySum {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day() -> DayOfTill<'static> {
        let business_day = "2026-11-23".parse().unwrap();
        DayOfTill { till: "3", series: "2026-11-23", business_day }
    }

    /// The canonical form is published: this sum was computed by `printf` and `sha256sum`.
    #[test]
    fn the_key_of_a_receipt_is_what_is_written_here() {
        let mut sum = KeySum::default();
        sum.add(&day(), "933");
        assert_eq!(
            sum.to_string(),
            "8e2a189ba359b0b1579557bc94ebb9a4a3fc039970a045793186b514d7d4c876"
        );
        assert_eq!(sum.to_string().parse::<KeySum>(), Ok(sum));
        for text in ["", "0", &"g".repeat(64), &"A".repeat(64), &"é".repeat(32)] {
            assert_eq!(text.parse::<KeySum>(), Err(KeySumError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn order_says_nothing_and_what_is_taken_away_is_gone(
            mut numbers in prop::collection::vec(0_u64..50, 0..40),
            gone in 0_usize..40,
        ) {
            let sum = |numbers: &[u64]| {
                let mut sum = KeySum::default();
                numbers.iter().for_each(|number| sum.add(&day(), &number.to_string()));
                sum
            };
            let mut all = sum(&numbers);
            numbers.reverse();
            prop_assert_eq!(sum(&numbers), all);
            if gone < numbers.len() {
                let number = numbers.swap_remove(gone);
                prop_assert_ne!(sum(&numbers), all);
                all.subtract(&day(), &number.to_string());
                prop_assert_eq!(sum(&numbers), all);
            }
        }
    }

    #[test]
    fn till_series_and_day_are_part_of_the_key() {
        let of = |day: DayOfTill<'static>| {
            let mut sum = KeySum::default();
            sum.add(&day, "1");
            sum
        };
        let others = [
            DayOfTill { till: "4", ..day() },
            DayOfTill { series: "Z 7", ..day() },
            DayOfTill { business_day: "2026-11-24".parse().unwrap(), ..day() },
        ];
        assert!(others.into_iter().all(|other| of(other) != of(day())));
    }
}
