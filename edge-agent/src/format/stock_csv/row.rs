//! The fields of one row.

use encoding_rs::{UTF_8, WINDOWS_1252};

use super::StockCsvSettings;
use super::settings::{Encoding, Field};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Why a row cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowError {
    #[error("it is not in the alphabet that the settings name")]
    Alphabet,
    #[error("it is not readable as CSV")]
    Csv(#[source] csv::Error),
    #[error("it has {found} fields, the settings have {wanted} columns")]
    Fields { found: usize, wanted: usize },
}

/// A row.
#[derive(Debug)]
pub(super) struct Row(csv::StringRecord);

impl Row {
    /// Reads the row that stands at the offset `start`.
    pub(super) fn read(
        bytes: &[u8],
        start: u64,
        settings: &StockCsvSettings,
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
        let text = text.ok_or(RowError::Alphabet)?;
        let mut rows = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(settings.separator())
            .quote(settings.quote())
            .from_reader(text.as_bytes());
        let mut record = csv::StringRecord::new();
        rows.read_record(&mut record).map_err(RowError::Csv)?;
        let (found, wanted) = (record.len(), settings.columns.len());
        if found == wanted { Ok(Self(record)) } else { Err(RowError::Fields { found, wanted }) }
    }

    /// Tells whether the row names the columns.
    pub(super) fn is_header(&self, settings: &StockCsvSettings) -> bool {
        let same = |(found, column): (&str, &String)| {
            found.trim().to_lowercase() == column.trim().to_lowercase()
        };
        self.0.iter().zip(&settings.columns).all(same)
    }

    /// Returns a field, blanks around it aside; empty where no column holds it.
    pub(super) fn text(&self, field: Field, settings: &StockCsvSettings) -> &str {
        settings.place(field).and_then(|at| self.0.get(at)).unwrap_or("").trim()
    }

    /// Returns the fields that name the movement; nothing where one of them is empty.
    pub(super) fn identity(&self, settings: &StockCsvSettings) -> Option<String> {
        let places = settings.identity();
        let parts: Vec<&str> =
            places.into_iter().filter_map(|at| self.0.get(at)).map(str::trim).collect();
        let whole = parts.iter().all(|part| !part.is_empty());
        whole.then(|| parts.join("/"))
    }
}
