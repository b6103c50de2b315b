//! One table of an export: rows whose columns are found by the names in its header, never by their
//! place. Columns that are missing are empty, those that are not known are never looked at.

use std::io::Cursor;

use super::super::decimal::plain;
use super::index::Signs;

/// Decimals that an amount may have; the standard splits VAT to that many.
pub(super) const DECIMALS: u32 = 5;

/// One cent in the smallest parts.
pub(super) const CENT: i64 = 1000;

/// Why a table cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum TableError {
    #[error("{0} is not readable as CSV")]
    Csv(&'static str, #[source] csv::Error),
    #[error("{table} has no column {column}")]
    Column { table: &'static str, column: &'static str },
    #[error("{table} row {row}: {column} {shown:?} is no number of at most {decimals} decimals")]
    Number { table: &'static str, row: u64, column: &'static str, shown: String, decimals: u32 },
    #[error("{table} row {row}: {column} is not UTF-8")]
    NotUtf8 { table: &'static str, row: u64, column: &'static str },
}

/// A table.
pub(super) struct Table<'a> {
    name: &'static str,
    signs: Signs,
    header: Vec<String>,
    rows: csv::Reader<Cursor<&'a [u8]>>,
    row: csv::ByteRecord,
}

impl<'a> Table<'a> {
    /// Opens a table and reads its header, which must have the columns needed.
    pub(super) fn open(
        name: &'static str,
        bytes: &'a [u8],
        signs: Signs,
        needed: &[&'static str],
    ) -> Result<Self, TableError> {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let mut rows = csv::ReaderBuilder::new()
            .delimiter(signs.delimiter)
            .quote(signs.quote)
            .flexible(true)
            .from_reader(Cursor::new(bytes));
        let fault = |error| TableError::Csv(name, error);
        let header = rows.byte_headers().map_err(fault)?.iter();
        let header: Vec<String> =
            header.map(|name| String::from_utf8_lossy(name).trim().to_ascii_uppercase()).collect();
        for &column in needed {
            if !header.iter().any(|found| found == column) {
                return Err(TableError::Column { table: name, column });
            }
        }
        Ok(Self { name, signs, header, rows, row: csv::ByteRecord::new() })
    }

    /// Steps to the next row; false where there is none.
    pub(super) fn step(&mut self) -> Result<bool, TableError> {
        self.rows.read_byte_record(&mut self.row).map_err(|error| TableError::Csv(self.name, error))
    }

    /// Returns a field of the row, blanks around it aside; empty where the column is missing.
    pub(super) fn text(&self, column: &'static str) -> Result<&str, TableError> {
        let at = self.header.iter().position(|found| found == column);
        let bytes = at.and_then(|at| self.row.get(at)).unwrap_or_default();
        let text = std::str::from_utf8(bytes).map_err(|_| TableError::NotUtf8 {
            table: self.name,
            row: self.line(),
            column,
        })?;
        Ok(text.trim())
    }

    /// Returns a number in units of 10^-`decimals`; nothing where the field is empty.
    pub(super) fn number(
        &self,
        column: &'static str,
        decimals: u32,
    ) -> Result<Option<i64>, TableError> {
        let text = self.text(column)?;
        if text.is_empty() {
            return Ok(None);
        }
        let fault = || TableError::Number {
            table: self.name,
            row: self.line(),
            column,
            shown: text.chars().take(40).collect(),
            decimals,
        };
        number(text, self.signs, decimals).map(Some).ok_or_else(fault)
    }

    /// Returns an amount in its smallest parts, nothing where there is none.
    pub(super) fn amount(&self, column: &'static str) -> Result<i64, TableError> {
        Ok(self.number(column, DECIMALS)?.unwrap_or(0))
    }

    /// Returns the text of a number that is a name: digit groups are joined.
    pub(super) fn id(&self, column: &'static str) -> Result<String, TableError> {
        let text = self.text(column)?;
        let joined = number(text, self.signs, 0).map(|number| number.to_string());
        Ok(joined.filter(|_| text.contains(self.signs.grouping)).unwrap_or_else(|| text.to_owned()))
    }

    fn line(&self) -> u64 {
        self.row.position().map_or(0, csv::Position::line)
    }
}

/// Reads a number exactly.
fn number(text: &str, signs: Signs, decimals: u32) -> Option<i64> {
    let text = plain(text, signs.decimal, Some(signs.grouping))?;
    let (whole, fraction) = text.split_once('.')?;
    let (fraction, width) = (fraction.trim_end_matches('0'), decimals as usize);
    // Ten digits before the point are more than any till means, and keep sums within 64 bits.
    if fraction.len() > width || whole.trim_start_matches('-').len() > 10 {
        return None;
    }
    format!("{whole}{fraction:0<width$}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_and_groups_are_groups_of_three() {
        let german = Signs::default();
        for (text, want) in [
            ("1.234,56", Some(123_456_000)),
            ("1.000", Some(100_000_000)),
            ("-0,89000", Some(-89_000)),
            ("0,831780", Some(83_178)),
            (",5", Some(50_000)),
            ("1.99", None),
            ("0.500", None),
            ("0,000001", None),
            ("1,2,3", None),
            ("12345678901", None),
            ("-", None),
            ("", None),
            ("NaN", None),
        ] {
            assert_eq!(number(text, german, DECIMALS), want, "{text}");
        }
        let english = Signs { decimal: '.', grouping: ',', ..german };
        assert_eq!(number("1,234.56", english, DECIMALS), Some(123_456_000));
    }
}
