//! The fields of one row.

use csv_core::ReadRecordResult;
use encoding_rs::{UTF_8, WINDOWS_1252};

use super::StockCsvSettings;
use super::settings::{Encoding, Field};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Why a row cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowError {
    #[error("it is not in the alphabet that the settings name")]
    Alphabet,
    #[error("it has {found} fields, the settings have {wanted} columns")]
    Fields { found: usize, wanted: usize },
}

/// Takes rows apart. Made once for many rows: its tables take a hundred times longer than a row.
#[derive(Debug)]
pub(super) struct Splitter(csv_core::Reader);

/// A row.
#[derive(Debug)]
pub(super) struct Row {
    /// The fields, one behind the other.
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Splitter {
    pub(super) fn new(settings: &StockCsvSettings) -> Self {
        let mut builder = csv_core::ReaderBuilder::new();
        Self(builder.delimiter(settings.separator()).quote(settings.quote()).build())
    }

    fn split(&mut self, row: &str) -> Result<Row, RowError> {
        self.0.reset();
        // What is left of a row without its separators is no longer than the row.
        let (mut text, mut ends) = (vec![0; row.len()], vec![0; 32]);
        let (mut read, mut written, mut fields) = (0, 0, 0);
        loop {
            let (rest, room) = (&row.as_bytes()[read..], &mut text[written..]);
            let (result, taken, put, ended) = self.0.read_record(rest, room, &mut ends[fields..]);
            (read, written, fields) = (read + taken, written + put, fields + ended);
            match result {
                // Without further bytes the row is at its end.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => text.resize(text.len() + 64, 0),
                ReadRecordResult::OutputEndsFull => ends.resize(ends.len() * 2, 0),
                ReadRecordResult::Record | ReadRecordResult::End => break,
            }
        }
        text.truncate(written);
        ends.truncate(fields);
        let text = String::from_utf8(text).map_err(|_| RowError::Alphabet)?;
        Ok(Row { text, ends })
    }
}

impl Row {
    /// Reads the row that stands at the offset `start`.
    pub(super) fn read(
        bytes: &[u8],
        start: u64,
        settings: &StockCsvSettings,
        splitter: &mut Splitter,
    ) -> Result<Self, RowError> {
        let bytes = match bytes.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) if start == 0 => rest,
            Some(_) | None => bytes,
        };
        let text = match settings.encoding {
            Encoding::Utf8 => UTF_8.decode_without_bom_handling_and_without_replacement(bytes),
            // Latin-1 is the part of the code page that tills and offices write (WHATWG Encoding).
            Encoding::Latin1 | Encoding::Cp1252 => {
                WINDOWS_1252.decode_without_bom_handling_and_without_replacement(bytes)
            }
        };
        let row = splitter.split(&text.ok_or(RowError::Alphabet)?)?;
        let (found, wanted) = (row.ends.len(), settings.columns.len());
        if found == wanted { Ok(row) } else { Err(RowError::Fields { found, wanted }) }
    }

    fn get(&self, at: usize) -> Option<&str> {
        let start = at.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.text.get(start..*self.ends.get(at)?)
    }

    /// Tells whether the row names the columns.
    pub(super) fn is_header(&self, settings: &StockCsvSettings) -> bool {
        let same = |(at, column): (usize, &String)| {
            let found = self.get(at).unwrap_or("").trim().chars().flat_map(char::to_lowercase);
            found.eq(column.trim().chars().flat_map(char::to_lowercase))
        };
        settings.columns.iter().enumerate().all(same)
    }

    /// Returns a field, blanks around it aside; empty where no column holds it.
    pub(super) fn text(&self, field: Field, settings: &StockCsvSettings) -> &str {
        settings.place(field).and_then(|at| self.get(at)).unwrap_or("").trim()
    }

    /// Returns the fields that name the movement; nothing where one of them is empty.
    pub(super) fn identity(&self, settings: &StockCsvSettings) -> Option<String> {
        let places = settings.identity();
        let parts: Vec<&str> =
            places.into_iter().filter_map(|at| self.get(at)).map(str::trim).collect();
        let whole = parts.iter().all(|part| !part.is_empty());
        whole.then(|| parts.join("/"))
    }
}
