//! Figures as German receipts print them: a comma before the decimals, points between thousands, a
//! minus before or behind.

use chrono::{NaiveDate, NaiveTime};
use shared::money::{Cents, DecimalError, Milli};

/// Reads an amount such as `-1.234,50` or `0,25-`.
pub(super) fn cents(text: &str) -> Result<Cents, DecimalError> {
    Cents::parse(&plain(text)?)
}

/// Reads a quantity such as `0,792` or `4`.
pub(super) fn milli(text: &str) -> Result<Milli, DecimalError> {
    Milli::parse(&plain(text)?)
}

/// Brings a figure into the form with a point; a point must part exactly three digits.
fn plain(text: &str) -> Result<String, DecimalError> {
    let wrong = || DecimalError::NotDecimal(text.chars().take(40).collect());
    let (negative, digits) = match (text.strip_prefix('-'), text.strip_suffix('-')) {
        (Some(rest), None) => (true, rest.trim_start()),
        (None, Some(rest)) => (true, rest.trim_end()),
        (None, None) => (false, text),
        (Some(_), Some(_)) => return Err(wrong()),
    };
    let (whole, decimals) = digits.split_once(',').unwrap_or((digits, ""));
    let mut groups = whole.split('.');
    let first = groups.next().unwrap_or("");
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let grouped = first.len() <= 3 || !whole.contains('.');
    if !all_digits(first) || !grouped || !groups.all(|group| all_digits(group) && group.len() == 3)
    {
        return Err(wrong());
    }
    if digits.contains(',') && !all_digits(decimals) {
        return Err(wrong());
    }
    let whole = whole.replace('.', "");
    Ok(format!("{}{whole}.{decimals}", if negative { "-" } else { "" }))
}

/// Reads a date such as `13.01.2020`, `13.01.20` or `2020-01-13`.
pub(super) fn date(text: &str) -> Option<NaiveDate> {
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(date);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let (rest, year) = text.rsplit_once('.')?;
    let year: i32 = match year.len() {
        2 => 2000 + year.parse::<u8>().map(i32::from).ok()?,
        4 => year.parse().ok()?,
        _ => return None,
    };
    let (day, month) = rest.split_once('.')?;
    NaiveDate::from_ymd_opt(year, month.parse().ok()?, day.parse().ok()?)
}

/// Reads a time such as `17:25` or `17:25:04`.
pub(super) fn time(text: &str) -> Option<NaiveTime> {
    let with_seconds = if text.len() == 5 { format!("{text}:00") } else { text.to_owned() };
    NaiveTime::parse_from_str(&with_seconds, "%H:%M:%S").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_points_and_either_minus_are_read_exactly_and_nothing_else_is() {
        for (text, read) in [
            ("0,89", 89),
            ("-0,25", -25),
            ("0,25-", -25),
            ("1.234,50", 123_450),
            ("1.234.567,00", 123_456_700),
            ("1234,5", 123_450),
            ("7", 700),
        ] {
            assert_eq!(cents(text), Ok(Cents(read)), "{text}");
        }
        for text in
            ["1.23", "1.2345,00", ",89", "0,", "--1,00", "-1,00-", "1,2,3", "0.89", "12,345", ""]
        {
            assert!(cents(text).is_err(), "{text}");
        }
        assert_eq!(milli("0,792"), Ok(Milli(792)));
    }

    #[test]
    fn dates_of_two_and_four_digit_years_and_times_with_and_without_seconds() {
        for text in ["19.05.26", "19.05.2026", "2026-05-19"] {
            assert_eq!(date(text).unwrap().to_string(), "2026-05-19");
        }
        assert_eq!(time("08:23").unwrap().to_string(), "08:23:00");
        assert_eq!(time("08:23:59").unwrap().to_string(), "08:23:59");
        for text in ["31.02.2026", "1.1.1", "x", "19.05.+6"] {
            assert_eq!(date(text), None, "{text}");
        }
        assert_eq!(time("24:00"), None);
    }
}
