//! Cuts a printer's bytes into receipts: by the cutter, by silence, by a reset after silence. Bytes
//! without any text (a drawer kick, a logo) are no receipt of their own and go with the next one.

use crate::format::held::Held;
use crate::format::{Framed, Framer, UNIT_BYTES_MAX};

use super::command::{Language, Lexer, Token};

/// Bytes of the command that chooses another device at the same line.
const AWAY_BYTES: usize = 3;
const TOO_LONG: &str = "4 MiB without the end of a receipt";

/// Whether silence ends a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// It does.
    Ends,
    /// It does where a reset follows: the till prints while it scans.
    EndsBeforeReset,
}

/// The framer of print streams.
#[derive(Debug)]
pub(super) struct EscposFramer {
    language: Language,
    silence: Silence,
    lexer: Lexer,
    held: Held,
    /// Something readable was printed since the last end.
    text: bool,
    /// Silence has passed since the last byte of text.
    quiet: bool,
    /// Where, among the bytes held, another device was chosen.
    away: usize,
    /// What is being read was too long: its rest is refused too.
    too_long: bool,
    position: u64,
}

impl EscposFramer {
    pub(super) fn new(start: u64, language: Language, silence: Silence) -> Self {
        Self {
            language,
            silence,
            lexer: Lexer::new(language),
            held: Held::new(start),
            text: false,
            quiet: false,
            away: 0,
            too_long: false,
            position: start,
        }
    }

    /// Ends what the first `length` bytes held are.
    fn end(&mut self, length: usize) -> Option<Framed> {
        self.lexer = Lexer::new(self.language);
        let framed = if length == 0 {
            None
        } else if self.too_long {
            Some(self.held.refuse(length, TOO_LONG))
        } else if self.text {
            Some(Framed::Unit(self.held.take(length)))
        } else {
            // Nothing was printed: there is nothing to keep.
            drop(self.held.take(length));
            None
        };
        (self.text, self.quiet, self.too_long) = (false, false, false);
        self.position = self.held.start();
        framed
    }

    fn token(&mut self, token: &Token) -> Option<Framed> {
        match token {
            Token::Text(byte) => {
                self.text |= *byte != b' ';
                self.quiet = false;
                None
            }
            Token::Cut => self.end(self.held.len()),
            Token::Reset if self.quiet && self.text => {
                // Both languages reset with two bytes, which belong to what follows.
                self.end(self.held.len() - 2)
            }
            Token::Away => {
                self.away = self.held.len() - AWAY_BYTES;
                None
            }
            Token::Line
            | Token::Feed
            | Token::Tab
            | Token::Gap
            | Token::Reset
            | Token::Page(_)
            | Token::National(_)
            | Token::Encoding(_)
            | Token::Drawn(..)
            | Token::Undrawn(_)
            | Token::Drawings(_)
            | Token::Kept
            | Token::Symbol(_)
            | Token::Other
            | Token::Unknown => None,
        }
    }

    fn piece(&mut self) -> Framed {
        let piece = self.held.refuse(UNIT_BYTES_MAX, TOO_LONG);
        self.lexer = Lexer::new(self.language);
        (self.text, self.quiet, self.too_long) = (true, false, true);
        self.position = self.held.start();
        piece
    }
}

impl Framer for EscposFramer {
    fn push(&mut self, chunk: &[u8]) -> Vec<Framed> {
        let mut found = Vec::new();
        for &byte in chunk {
            self.held.extend(&[byte]);
            if let Some(token) = self.lexer.push(byte) {
                found.extend(self.token(&token));
            }
            if self.held.len() >= UNIT_BYTES_MAX {
                found.push(self.piece());
            }
        }
        found
    }

    fn quiet(&mut self) -> Vec<Framed> {
        self.quiet = true;
        let ends = self.silence == Silence::Ends && self.text && self.lexer.at_rest();
        if !ends {
            return Vec::new();
        }
        // What goes to another device belongs to what follows: a receipt begins at the printer.
        let length = if self.lexer.away() { self.away } else { self.held.len() };
        let found = self.end(length).into_iter().collect();
        for &byte in self.held.bytes() {
            self.lexer.push(byte);
        }
        found
    }

    fn finish(&mut self) -> Option<Framed> {
        self.end(self.held.len())
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn complete(&self) -> bool {
        !self.text && !self.too_long && self.lexer.at_rest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framer(silence: Silence) -> EscposFramer {
        EscposFramer::new(0, Language::EscPos, silence)
    }

    fn units(framed: Vec<Framed>) -> Vec<Vec<u8>> {
        let bytes = |framed| match framed {
            Framed::Unit(unit) => unit.bytes,
            Framed::Refused { reason, .. } => panic!("{reason}"),
        };
        framed.into_iter().map(bytes).collect()
    }

    #[test]
    fn every_cut_ends_a_receipt_and_what_prints_nothing_is_none() {
        let mut framer = framer(Silence::Ends);
        let found =
            framer.push(b"one\n\x1DV\x00two\x1Bi\x1Bp\x00\x19\xFA\n \n\x1DVA\x03three\x1Bm\n");
        assert_eq!(units(found), [b"one\n\x1DV\x00".as_slice(), b"two\x1Bi", b"three\x1Bm"]);
        assert!(framer.complete());
        assert_eq!(framer.finish(), None);
    }

    #[test]
    fn a_cut_inside_of_an_image_is_no_cut() {
        let mut framer = framer(Silence::Ends);
        assert_eq!(framer.push(b"one\x1Dv0\x00\x03\x00\x01\x00\x1DV\x00 two\n"), []);
        assert!(!framer.complete());
    }

    #[test]
    fn silence_ends_a_receipt_but_not_a_command() {
        let mut framer = framer(Silence::Ends);
        assert_eq!(framer.push(b"one\n\x1B"), []);
        assert_eq!(framer.quiet(), []);
        assert_eq!(framer.push(b"E\x01two\n"), []);
        assert_eq!(units(framer.quiet()), [b"one\n\x1BE\x01two\n".as_slice()]);
        assert_eq!((framer.position(), framer.quiet()), (11, vec![]));
    }

    #[test]
    fn silence_ends_a_receipt_while_the_till_speaks_to_its_display() {
        let mut framer = framer(Silence::Ends);
        assert_eq!(framer.push(b"one\n\x1B=\x02thank you"), []);
        assert_eq!(units(framer.quiet()), [b"one\n".as_slice()]);
        assert_eq!((framer.position(), framer.quiet()), (4, vec![]));
        assert_eq!(framer.push(b"welcome\x1DV\x00\x1B=\x01two\n"), []);
        let second = b"\x1B=\x02thank youwelcome\x1DV\x00\x1B=\x01two\n".as_slice();
        assert_eq!(units(framer.quiet()), [second]);
    }

    #[test]
    fn where_a_till_prints_while_it_scans_a_reset_after_silence_ends_the_receipt() {
        let mut framer = framer(Silence::EndsBeforeReset);
        assert_eq!(framer.push(b"\x1B@milk\n"), []);
        assert_eq!(framer.quiet(), []);
        assert_eq!(framer.push(b"bread\n\x1B@"), [], "no silence stood before this reset");
        assert_eq!(framer.quiet(), []);
        assert_eq!(units(framer.push(b"\x1B@")), [b"\x1B@milk\nbread\n\x1B@".as_slice()]);
        assert_eq!(framer.position(), 15);
    }
}
