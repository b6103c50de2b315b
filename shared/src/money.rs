//! Amounts in integer cents and quantities in integer thousandths. No floating point touches either.

use std::fmt;
use std::iter::Sum;
use std::ops::Neg;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a decimal text is not an amount or a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// The text is not a decimal number.
    #[error("{0:?} is not a decimal number")]
    NotDecimal(String),
    /// The number has more decimals than the unit holds.
    #[error("{0:?} has more than {1} decimals")]
    TooFine(String, u32),
    /// The number does not fit 64 bits.
    #[error("{0:?} does not fit 64 bits")]
    TooLarge(String),
}

/// Parses a decimal text with a point into units of 10^-`decimals`, exactly.
fn parse_scaled(text: &str, decimals: u32) -> Result<i64, DecimalError> {
    let not_decimal = || DecimalError::NotDecimal(text.chars().take(40).collect());
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return Err(not_decimal());
    }
    let fine = fraction.trim_end_matches('0');
    let missing = (decimals as usize)
        .checked_sub(fine.len())
        .ok_or_else(|| DecimalError::TooFine(text.chars().take(40).collect(), decimals))?;
    let mut units: i64 = 0;
    for digit in whole.bytes().chain(fine.bytes()).chain(std::iter::repeat_n(b'0', missing)) {
        let digit = i64::from(digit - b'0');
        units = units
            .checked_mul(10)
            .and_then(
                |units| if negative { units.checked_sub(digit) } else { units.checked_add(digit) },
            )
            .ok_or_else(|| DecimalError::TooLarge(text.chars().take(40).collect()))?;
    }
    Ok(units)
}

/// Parses like [`parse_scaled`]; what is finer rounds half up, by its first digit beyond.
fn round_half_up(text: &str, decimals: u32) -> Result<i64, DecimalError> {
    let Some((whole, fraction)) = text.split_once('.') else { return parse_scaled(text, decimals) };
    let shown = || text.chars().take(40).collect();
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DecimalError::NotDecimal(shown()));
    }
    let (near, finer) = fraction.split_at(fraction.len().min(decimals as usize));
    let units = parse_scaled(&format!("{whole}.{near}"), decimals)?;
    let up = i64::from(finer.bytes().next().is_some_and(|digit| digit >= b'5'));
    let up = if text.starts_with('-') { -up } else { up };
    units.checked_add(up).ok_or_else(|| DecimalError::TooLarge(shown()))
}

fn write_scaled(out: &mut fmt::Formatter<'_>, units: i64, decimals: u32) -> fmt::Result {
    let scale = 10_u64.pow(decimals);
    let sign = if units < 0 { "-" } else { "" };
    let (whole, rest) = (units.unsigned_abs() / scale, units.unsigned_abs() % scale);
    write!(out, "{sign}{whole}.{rest:0width$}", width = decimals as usize)
}

macro_rules! exact {
    ($(#[$doc:meta])* $name:ident, $decimals:literal) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize,
            Deserialize, JsonSchema,
        )]
        pub struct $name(pub i64);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);

            /// Parses a decimal text with a point, exactly; finer digits must be zero.
            pub fn parse(text: &str) -> Result<Self, DecimalError> {
                parse_scaled(text, $decimals).map(Self)
            }

            /// Parses a decimal text with a point; finer digits round half up, away from zero.
            pub fn parse_half_up(text: &str) -> Result<Self, DecimalError> {
                round_half_up(text, $decimals).map(Self)
            }

            /// Adds, or returns nothing where the sum does not fit 64 bits.
            pub fn checked_add(self, other: Self) -> Option<Self> {
                self.0.checked_add(other.0).map(Self)
            }

            /// Sums up, or returns nothing where the sum does not fit 64 bits.
            pub fn checked_sum(parts: impl IntoIterator<Item = Self>) -> Option<Self> {
                let total: i128 = parts.into_iter().map(|part| i128::from(part.0)).sum();
                i64::try_from(total).ok().map(Self)
            }

            /// Returns the value without its sign.
            pub fn abs(self) -> Self {
                Self(self.0.checked_abs().expect("bounded where it was parsed"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_scaled(out, self.0, $decimals)
            }
        }

        impl Neg for $name {
            type Output = Self;
            fn neg(self) -> Self {
                Self(-self.0)
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
                Self::checked_sum(parts).expect("sums of a bounded batch fit 64 bits")
            }
        }
    };
}

exact!(
    /// An amount of money in cents of the store's currency, signed.
    Cents, 2
);
exact!(
    /// A quantity in thousandths of its unit (`pcs`, `kg`, `l`, `m`), signed.
    Milli, 3
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_become_units_exactly_or_not_at_all() {
        for (text, cents) in [
            ("3.49", 349),
            ("-2.00", -200),
            ("0", 0),
            ("+1.5", 150),
            (".5", 50),
            ("7.", 700),
            ("1.230", 123),
        ] {
            assert_eq!(Cents::parse(text), Ok(Cents(cents)), "{text}");
        }
        assert_eq!(Milli::parse("0.42"), Ok(Milli(420)));
        assert_eq!(Cents::parse("-92233720368547758.08"), Ok(Cents(i64::MIN)));
        assert!(matches!(Cents::parse("92233720368547758.08"), Err(DecimalError::TooLarge(_))));
        assert!(matches!(Cents::parse("1.234"), Err(DecimalError::TooFine(..))));
        for text in ["", "-", ".", "1,5", "1e3", "NaN", "--1", " 1"] {
            assert!(matches!(Cents::parse(text), Err(DecimalError::NotDecimal(_))), "{text}");
        }
    }

    #[test]
    fn what_is_finer_rounds_half_up_away_from_zero() {
        for (text, cents) in [
            ("3.80000000000000000000000000", 380),
            ("1.005", 101),
            ("-1.005", -101),
            ("1.0049999", 100),
            ("-0.005", -1),
            ("7.", 700),
            ("12", 1200),
        ] {
            assert_eq!(Cents::parse_half_up(text), Ok(Cents(cents)), "{text}");
        }
        for text in ["1.x", ".", "1.0005x", "1.2.3", "1.é"] {
            assert!(
                matches!(Cents::parse_half_up(text), Err(DecimalError::NotDecimal(_))),
                "{text}"
            );
        }
        let most = "92233720368547758.079";
        assert!(matches!(Cents::parse_half_up(most), Err(DecimalError::TooLarge(_))));
    }

    #[test]
    fn what_is_written_is_what_was_read() {
        for units in [0, 5, -5, 349, -26_400, i64::MIN, i64::MAX] {
            assert_eq!(Cents::parse(&Cents(units).to_string()), Ok(Cents(units)));
            assert_eq!(Milli::parse(&Milli(units).to_string()), Ok(Milli(units)));
        }
    }

    #[test]
    fn a_sum_that_does_not_fit_is_no_sum() {
        assert_eq!(Cents::checked_sum([Cents(i64::MAX), Cents(1)]), None);
        assert_eq!(
            Cents::checked_sum([Cents(i64::MAX), Cents(1), Cents(-1)]),
            Some(Cents(i64::MAX))
        );
    }
}
