//! How an export's tables are written, as its `index.xml` says. What it does not say, or where there
//! is none, is as the standard has it. Its document type is never resolved.

use std::collections::BTreeMap;

use quick_xml::events::Event;
use quick_xml::reader::Reader;

/// Why an `index.xml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum IndexError {
    #[error("index.xml is not well formed XML")]
    Malformed(#[source] quick_xml::Error),
    #[error("index.xml: {0} of {1} is not one plain character")]
    Symbol(&'static str, String),
    #[error("index.xml: the decimal symbol of {0} is its grouping symbol or its delimiter")]
    Ambiguous(String),
}

/// The signs of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signs {
    pub(super) delimiter: u8,
    pub(super) quote: u8,
    pub(super) decimal: char,
    pub(super) grouping: char,
}

impl Default for Signs {
    fn default() -> Self {
        Self { delimiter: b';', quote: b'"', decimal: ',', grouping: '.' }
    }
}

impl Signs {
    fn set(&mut self, element: &str, text: &str, table: &str) -> Result<(), IndexError> {
        let what = match element {
            "ColumnDelimiter" => "ColumnDelimiter",
            "TextEncapsulator" => "TextEncapsulator",
            "DecimalSymbol" => "DecimalSymbol",
            "DigitGroupingSymbol" => "DigitGroupingSymbol",
            _ => return Ok(()),
        };
        let mut chars = text.chars();
        let symbol = match (chars.next(), chars.next()) {
            // A tab is the one sign that may be a blank.
            (Some(symbol), None) if symbol.is_ascii() && !symbol.is_ascii_alphanumeric() => symbol,
            (Some(_) | None, _) => return Err(IndexError::Symbol(what, table.to_owned())),
        };
        let byte = u8::try_from(symbol).map_err(|_| IndexError::Symbol(what, table.to_owned()))?;
        match element {
            "ColumnDelimiter" => self.delimiter = byte,
            "TextEncapsulator" => self.quote = byte,
            "DecimalSymbol" => self.decimal = symbol,
            _ => self.grouping = symbol,
        }
        Ok(())
    }

    fn check(self, table: &str) -> Result<Self, IndexError> {
        let delimiter = char::from(self.delimiter);
        if self.decimal == self.grouping || delimiter == self.decimal {
            return Err(IndexError::Ambiguous(table.to_owned()));
        }
        Ok(self)
    }
}

/// The signs of all tables, by file name in small letters.
#[derive(Debug, Default)]
pub(super) struct Index(BTreeMap<String, Signs>);

impl Index {
    /// Reads an `index.xml`.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, IndexError> {
        let text = String::from_utf8_lossy(bytes);
        let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
        let (mut index, mut path) = (Self::default(), Vec::new());
        let (mut table, mut signs) = (String::new(), Signs::default());
        loop {
            match reader.read_event().map_err(IndexError::Malformed)? {
                Event::Start(tag) => {
                    let name = tag.local_name().into_inner().to_owned();
                    if name == "Table" {
                        (table, signs) = (String::new(), Signs::default());
                    }
                    path.push((name, String::new()));
                }
                Event::Text(part) => add(&mut path, &part.xml10_content()),
                Event::CData(part) => add(&mut path, &part.xml10_content()),
                Event::GeneralRef(part) => {
                    let found = part.resolve_char_ref().map_err(IndexError::Malformed)?;
                    let named = || quick_xml::escape::resolve_predefined_entity(&part);
                    let text = found.map(String::from).or_else(|| named().map(str::to_owned));
                    add(&mut path, text.as_deref().unwrap_or_default());
                }
                Event::End(_) => {
                    let Some((name, text)) = path.pop() else { continue };
                    match name.as_str() {
                        "URL" => table = text.trim().to_ascii_lowercase(),
                        "Table" => {
                            index.0.insert(table.clone(), signs.check(&table)?);
                        }
                        _ if text == "\t" => signs.set(&name, &text, &table)?,
                        _ => signs.set(&name, text.trim(), &table)?,
                    }
                }
                Event::Eof => return Ok(index),
                Event::Empty(_)
                | Event::Comment(_)
                | Event::Decl(_)
                | Event::PI(_)
                | Event::DocType(_) => {}
            }
        }
    }

    /// Returns how a table is written.
    pub(super) fn signs(&self, table: &str) -> Signs {
        self.0.get(table).copied().unwrap_or_default()
    }
}

fn add(path: &mut [(String, String)], text: &str) {
    if let Some((_, held)) = path.last_mut() {
        held.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_those_of_the_table_and_a_document_type_is_not_followed() {
        let index = Index::parse(
            b"<?xml version=\"1.0\"?><!DOCTYPE DataSet SYSTEM \"gdpdu-01-09-2004.dtd\"><DataSet><Media>\
              <Table><URL>Lines.csv</URL><DecimalSymbol>.</DecimalSymbol><DigitGroupingSymbol>,\
              </DigitGroupingSymbol><VariableLength><ColumnDelimiter>&#9;</ColumnDelimiter></VariableLength></Table>\
              <Table><URL>vat.csv</URL></Table></Media></DataSet>",
        )
        .unwrap();
        let lines = index.signs("lines.csv");
        assert_eq!((lines.decimal, lines.grouping, lines.delimiter), ('.', ',', b'\t'));
        assert_eq!(index.signs("vat.csv"), Signs::default());
        let clash = b"<Table><URL>a.csv</URL><DecimalSymbol>.</DecimalSymbol></Table>";
        assert!(matches!(Index::parse(clash), Err(IndexError::Ambiguous(_))));
    }
}
