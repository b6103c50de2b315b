//! A telegram's data becomes records, a record gives its fields. Only fields that the settings name
//! are ever looked at.

use std::collections::BTreeMap;

use shared::ids::{IdError, ReceiptNumber, TillId};

use super::settings::{Field, Place, Role, Settings, Span};

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) role: Role,
    fields: BTreeMap<Field, String>,
}

/// What a telegram belongs to.
pub(super) type Key = (TillId, ReceiptNumber);

/// Why a telegram's data cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordError {
    #[error("a byte is no letter of the encoding")]
    Encoding,
    #[error("a record begins with no mark that the settings name")]
    Mark,
    #[error("a record lacks its {0:?}")]
    Missing(Field),
    #[error("a record's till or receipt is not readable")]
    Key(#[source] IdError),
}

impl Record {
    /// Reads the records of a telegram, those without meaning left out.
    pub(super) fn read(settings: &Settings, content: &[u8]) -> Result<Vec<Self>, RecordError> {
        let text = settings.encoding.text(content).ok_or(RecordError::Encoding)?;
        let records: Vec<&str> = match (settings.receipt, &settings.record_end) {
            (Span::Telegram, Some(end)) if !end.is_empty() => text.split(end.as_str()).collect(),
            (Span::Telegram | Span::Joined, _) => vec![&text],
        };
        let mut read = Vec::new();
        for record in records.into_iter().filter(|record| !record.trim().is_empty()) {
            let record = Self::one(settings, record)?;
            if record.role != Role::Ignored {
                read.push(record);
            }
        }
        Ok(read)
    }

    fn one(settings: &Settings, text: &str) -> Result<Self, RecordError> {
        let known = |layout: &&super::settings::Layout| match settings.separator {
            Some(separator) => text.split(separator).next() == Some(layout.mark.as_str()),
            None => text.starts_with(&layout.mark),
        };
        let layout = settings.records.iter().find(known).ok_or(RecordError::Mark)?;
        let mut fields = BTreeMap::new();
        for (&field, place) in &layout.fields {
            let found: String = match (place, settings.separator) {
                (Place::Field(at), Some(separator)) => {
                    text.split(separator).nth(*at).unwrap_or("").to_owned()
                }
                (Place::Columns([first, count]), None) => {
                    text.chars().skip(*first).take(*count).collect()
                }
                (Place::Field(_), None) | (Place::Columns(_), Some(_)) => continue,
            };
            let found = found.trim();
            if !found.is_empty() {
                fields.insert(field, found.to_owned());
            }
        }
        Ok(Self { role: layout.role, fields })
    }

    /// Returns a field where it is there.
    pub(super) fn get(&self, field: Field) -> Option<&str> {
        self.fields.get(&field).map(String::as_str)
    }

    /// Returns a field that must be there.
    pub(super) fn need(&self, field: Field) -> Result<&str, RecordError> {
        self.get(field).ok_or(RecordError::Missing(field))
    }

    /// Returns the receipt that it belongs to.
    pub(super) fn key(&self, settings: &Settings) -> Result<Key, RecordError> {
        let till = match (self.get(Field::Till), &settings.till) {
            (Some(till), _) => TillId::new(till).map_err(RecordError::Key)?,
            (None, Some(till)) => till.clone(),
            (None, None) => return Err(RecordError::Missing(Field::Till)),
        };
        let number = self.need(Field::Receipt)?;
        Ok((till, ReceiptNumber::new(number).map_err(RecordError::Key)?))
    }
}
