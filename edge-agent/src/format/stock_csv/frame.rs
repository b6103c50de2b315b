//! One row is one unit; line breaks inside of quotes belong to it. The settings list the columns, so
//! that a row is read wherever reading begins; a header that names others refuses the whole file, and
//! then the position stays before it, so that whoever reads on reads the header again.

use std::sync::Arc;

use super::super::held::Held;
use super::super::{Framed, Framer, GARBAGE_BYTES_MAX};
use super::StockCsvSettings;
use super::row::{Row, Splitter};

/// Bytes of a row; real ones have some hundreds.
const ROW_BYTES_MAX: usize = 64 << 10;

const TOO_LONG: &str = "a row of more than 64 KiB";
const OPEN_QUOTE: &str = "a row that ends inside of quotes";
const OTHER_COLUMNS: &str = "its header is not the columns of the settings";

/// The framer of rows.
#[derive(Debug)]
pub struct StockCsvFramer {
    settings: Arc<StockCsvSettings>,
    held: Held,
    quoted: bool,
    /// Why what is read is refused, to the end of the row or of the file.
    refusing: Option<&'static str>,
    /// The next row is the first of the file.
    first: bool,
    position: u64,
}

impl StockCsvFramer {
    /// Makes a framer whose first byte stands at the offset `start`: 0 or the end of a row.
    pub fn new(settings: Arc<StockCsvSettings>, start: u64) -> Self {
        let held = Held::new(start);
        Self { settings, held, quoted: false, refusing: None, first: start == 0, position: start }
    }

    fn has_other_columns(&self) -> bool {
        self.refusing == Some(OTHER_COLUMNS)
    }

    /// Ends the row that is held.
    fn row(&mut self) -> Option<Framed> {
        self.quoted = false;
        if self.refusing.is_none() && self.held.bytes().trim_ascii().is_empty() {
            self.held.skip();
            return None;
        }
        if self.refusing.is_none() && self.first && self.settings.header {
            let mut splitter = Splitter::new(&self.settings);
            let is_header = Row::read(self.held.bytes(), 0, &self.settings, &mut splitter)
                .is_ok_and(|row| row.is_header(&self.settings));
            if !is_header {
                self.refusing = Some(OTHER_COLUMNS);
                return None;
            }
        }
        self.first = false;
        let framed = match self.refusing.take() {
            Some(reason) => self.held.refuse(self.held.len(), reason),
            None => Framed::Unit(self.held.take(self.held.len())),
        };
        self.position = self.held.start();
        Some(framed)
    }

    /// Takes one byte and returns the piece that it completes.
    fn byte(&mut self, byte: u8) -> Option<Framed> {
        self.held.extend(&[byte]);
        if self.has_other_columns() {
            let full = self.held.len() >= GARBAGE_BYTES_MAX;
            return full.then(|| self.held.refuse(self.held.len(), OTHER_COLUMNS));
        }
        if byte == self.settings.quote() {
            self.quoted = !self.quoted;
        }
        // A row that is too long has lost its quotes: it ends with its line.
        if byte == b'\n' && (!self.quoted || self.refusing.is_some()) {
            return self.row();
        }
        if self.held.len() < ROW_BYTES_MAX {
            return None;
        }
        let header = self.first && self.settings.header;
        self.refusing = Some(if header { OTHER_COLUMNS } else { TOO_LONG });
        self.first = false;
        let piece = self.held.refuse(self.held.len(), self.refusing.unwrap_or(TOO_LONG));
        if !self.has_other_columns() {
            self.position = self.held.start();
        }
        Some(piece)
    }
}

impl Framer for StockCsvFramer {
    fn push(&mut self, chunk: &[u8]) -> Vec<Framed> {
        chunk.iter().filter_map(|byte| self.byte(*byte)).collect()
    }

    fn finish(&mut self) -> Option<Framed> {
        if self.held.len() == 0 {
            return None;
        }
        if self.quoted && self.refusing.is_none() {
            self.refusing = Some(OPEN_QUOTE);
        }
        if self.has_other_columns() {
            return Some(self.held.refuse(self.held.len(), OTHER_COLUMNS));
        }
        // A first row that turns out to be no header stays held.
        let ended = self.row();
        if ended.is_none() && self.held.len() > 0 {
            return Some(self.held.refuse(self.held.len(), OTHER_COLUMNS));
        }
        ended
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn complete(&self) -> bool {
        self.held.len() == 0 && self.refusing.is_none()
    }
}
