//! Receipts as lines of text, read by a profile: which line is an item, a total, a payment. Plain text
//! is a format of its own; what a printer is sent goes through the same profiles. A receipt of which
//! one line of goods is not understood, or whose figures contradict each other, is set aside.

use std::sync::Arc;

use super::held::Held;
use super::{Context, Decoder, Framed, Framer, Item, Refusal, UNIT_BYTES_MAX, Unit};

mod canon;
mod figures;
mod pattern;
mod profile;
mod read;

pub(super) use canon::{TextReader, Witness};
pub use profile::{Profile, ProfileError};
pub use read::ReadFault;

const FORM_FEED: u8 = 0x0C;
const TOO_LONG: &str = "4 MiB without the end of a receipt";

/// Makes a framer of plain text whose first byte stands at the offset `start`.
pub(super) fn framer(profile: Arc<Profile>, start: u64) -> Box<dyn Framer> {
    Box::new(TextFramer {
        profile,
        held: Held::new(start),
        line_start: 0,
        too_long: false,
        position: start,
    })
}

/// Makes a decoder of plain text for a store.
pub(super) fn decoder(profile: Arc<Profile>, context: Context) -> Box<dyn Decoder> {
    Box::new(TextDecoder { reader: TextReader::new(profile, context) })
}

/// The framer of plain text: a receipt ends with a form feed or with the profile's last line.
#[derive(Debug)]
struct TextFramer {
    profile: Arc<Profile>,
    held: Held,
    /// Where the present line begins among the bytes held.
    line_start: usize,
    /// What is being read was too long: its rest is refused too.
    too_long: bool,
    position: u64,
}

impl TextFramer {
    fn line_ends(&mut self, end: u8) -> Option<Framed> {
        let line = String::from_utf8_lossy(&self.held.bytes()[self.line_start..]);
        let is_last = end == FORM_FEED || self.profile.is_last_line(line.trim_end());
        self.line_start = self.held.len();
        if is_last { self.end() } else { None }
    }

    fn end(&mut self) -> Option<Framed> {
        let blank = self.held.bytes().iter().all(|byte| byte.is_ascii_whitespace());
        let framed = if self.held.len() == 0 {
            None
        } else if self.too_long {
            Some(self.held.refuse(self.held.len(), TOO_LONG))
        } else if blank {
            self.held.skip();
            None
        } else {
            Some(Framed::Unit(self.held.take(self.held.len())))
        };
        (self.line_start, self.too_long) = (0, false);
        self.position = self.held.start();
        framed
    }

    fn piece(&mut self) -> Framed {
        let piece = self.held.refuse(UNIT_BYTES_MAX, TOO_LONG);
        (self.line_start, self.too_long) = (0, true);
        self.position = self.held.start();
        piece
    }
}

impl Framer for TextFramer {
    fn push(&mut self, chunk: &[u8]) -> Vec<Framed> {
        let mut found = Vec::new();
        for &byte in chunk {
            self.held.extend(&[byte]);
            if matches!(byte, b'\n' | FORM_FEED) {
                found.extend(self.line_ends(byte));
            }
            if self.held.len() >= UNIT_BYTES_MAX {
                found.push(self.piece());
            }
        }
        found
    }

    fn finish(&mut self) -> Option<Framed> {
        self.end()
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn complete(&self) -> bool {
        !self.too_long && self.held.bytes().iter().all(|byte| byte.is_ascii_whitespace())
    }
}

/// The decoder of plain text.
#[derive(Debug)]
struct TextDecoder {
    reader: TextReader,
}

impl Decoder for TextDecoder {
    fn decode(&mut self, unit: &Unit) -> Result<Vec<Item>, Refusal> {
        let Ok(text) = std::str::from_utf8(&unit.bytes) else {
            return Err(Refusal::new("the text is not UTF-8"));
        };
        let text = text.trim_start_matches('\u{FEFF}');
        let lines: Vec<&str> = text.lines().map(|line| line.trim_end()).collect();
        self.reader.items(&lines, None).map_err(|fault| Refusal::because(&fault))
    }
}
