//! Cuts a POSLog file into its `Transaction` elements, whatever their prefix. What stands between
//! them and is neither blank, comment nor the `POSLog` element itself is refused with its bytes, and
//! reading goes on at the next `Transaction`. What XML calls a comment is one, however long.

use super::lex::{Lexer, Token};
use crate::format::held::Held;
use crate::format::{Framed, Framer, GARBAGE_BYTES_MAX, Refusal, UNIT_BYTES_MAX};

const UNIT: &[u8] = b"Transaction";
const FILE: &[u8] = b"POSLog";
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

const NO_UNIT: &str = "no Transaction stands here";
const NO_END: &str = "a Transaction without its end";
const BROKEN: &str = "a tag of the Transaction is broken by another one";
const TOO_LARGE: &str = "a Transaction of more than 4 MiB";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Between units, nothing but blanks and comments since the last cut.
    Clean,
    /// Between units, with bytes that belong to none.
    Garbage,
    /// Inside of a unit; its tags are in order, or not.
    Unit { broken: bool },
}

/// The framer of POSLog files.
#[derive(Debug)]
pub struct PoslogFramer {
    lexer: Lexer,
    held: Held,
    place: Place,
    /// Where in `held` the markup that is being read begins; nothing where its head was refused.
    markup: Option<usize>,
    /// The unit's name with its prefix.
    name: Vec<u8>,
    /// The offset of the next byte.
    offset: u64,
    position: u64,
    complete: bool,
    found: Vec<Framed>,
}

impl PoslogFramer {
    /// Makes a framer whose first byte stands at the offset `start`: 0 or the end of a unit.
    pub fn new(start: u64) -> Self {
        Self {
            lexer: Lexer::new(),
            held: Held::new(start),
            place: Place::Clean,
            markup: None,
            name: Vec::new(),
            offset: start,
            position: start,
            complete: false,
            found: Vec::new(),
        }
    }

    fn take(&mut self, byte: u8) {
        let token = self.lexer.step(byte);
        if token == Token::Broken {
            self.broken();
        }
        if matches!(token, Token::Opening | Token::Broken) {
            self.markup = Some(self.held.len());
        }
        self.held.extend(&[byte]);
        let blank = token == Token::Text && self.is_blank(byte);
        self.offset += 1;
        match token {
            Token::Pending | Token::Opening | Token::Broken => {}
            Token::Text if blank => self.blank(),
            Token::Text | Token::Cdata => self.foreign(),
            Token::Aside => self.blank(),
            Token::Start | Token::Empty if self.begins_unit() => self.begin(token),
            Token::Start | Token::Empty => self.other_tag(token),
            Token::End => self.end(),
        }
        self.keep_bounded();
    }

    /// Blanks of XML, and the mark with which a UTF-8 file may begin.
    fn is_blank(&self, byte: u8) -> bool {
        let mark = usize::try_from(self.offset).ok().and_then(|at| BYTE_ORDER_MARK.get(at));
        matches!(byte, b' ' | b'\t' | b'\r' | b'\n') || mark == Some(&byte)
    }

    fn broken(&mut self) {
        match self.place {
            Place::Clean | Place::Garbage => self.foreign(),
            Place::Unit { .. } => self.place = Place::Unit { broken: true },
        }
    }

    fn blank(&mut self) {
        if self.place == Place::Clean {
            self.held.skip();
        }
    }

    fn foreign(&mut self) {
        match self.place {
            Place::Clean | Place::Garbage => {
                self.place = Place::Garbage;
                self.complete = false;
            }
            Place::Unit { .. } => {}
        }
    }

    fn end(&mut self) {
        let in_unit = matches!(self.place, Place::Unit { .. });
        if in_unit && self.lexer.name() == self.name {
            return self.finish_unit();
        }
        if in_unit && self.lexer.local_name() == FILE {
            self.refuse_before_markup(NO_END);
            self.place = Place::Clean;
        }
        self.other_tag(Token::End);
    }

    /// Tells whether the tag just read begins a unit. Inside of a unit only the very same name does:
    /// the one before it was cut off.
    fn begins_unit(&self) -> bool {
        let named = match self.place {
            Place::Clean | Place::Garbage => self.lexer.local_name() == UNIT,
            Place::Unit { .. } => self.lexer.name() == self.name,
        };
        named && self.markup.is_some()
    }

    fn begin(&mut self, token: Token) {
        let reason = match self.place {
            Place::Clean | Place::Garbage => NO_UNIT,
            Place::Unit { .. } => NO_END,
        };
        self.refuse_before_markup(reason);
        self.place = Place::Unit { broken: false };
        self.name = self.lexer.name().to_vec();
        self.complete = false;
        if token == Token::Empty {
            self.finish_unit();
        }
    }

    fn finish_unit(&mut self) {
        let unit = self.held.take(self.held.len());
        self.position = unit.end;
        self.found.push(match self.place {
            Place::Unit { broken: true } => Framed::Refused { unit, reason: Refusal::new(BROKEN) },
            Place::Unit { broken: false } | Place::Clean | Place::Garbage => Framed::Unit(unit),
        });
        self.place = Place::Clean;
    }

    fn other_tag(&mut self, token: Token) {
        if matches!(self.place, Place::Unit { .. }) {
            return;
        }
        if self.lexer.local_name() != FILE || self.markup.is_none() {
            return self.foreign();
        }
        self.refuse_before_markup(NO_UNIT);
        self.held.skip();
        self.place = Place::Clean;
        self.complete = token == Token::End;
    }

    fn refuse_before_markup(&mut self, reason: &str) {
        let length = self.markup.unwrap_or(0);
        if length > 0 {
            let refused = self.held.refuse(length, reason);
            self.position = self.held.start();
            self.found.push(refused);
        }
        self.markup = Some(0);
    }

    /// Refuses what has grown too large; markup that has just begun is kept, as it may begin a unit.
    fn keep_bounded(&mut self) {
        let (most, reason) = match self.place {
            Place::Clean | Place::Garbage => (GARBAGE_BYTES_MAX, NO_UNIT),
            Place::Unit { .. } => (UNIT_BYTES_MAX, TOO_LARGE),
        };
        if self.held.len() <= most {
            return;
        }
        let head = self.markup.filter(|&at| at > 0 && self.lexer.in_markup());
        let refused = self.held.refuse(head.unwrap_or(most), reason);
        self.markup = head.map(|_| 0);
        self.position = self.held.start();
        self.found.push(refused);
        self.place = Place::Garbage;
    }
}

impl Framer for PoslogFramer {
    fn push(&mut self, chunk: &[u8]) -> Vec<Framed> {
        for &byte in chunk {
            self.take(byte);
        }
        std::mem::take(&mut self.found)
    }

    fn finish(&mut self) -> Option<Framed> {
        let reason = match self.place {
            Place::Clean | Place::Garbage => NO_UNIT,
            Place::Unit { .. } => NO_END,
        };
        let length = self.held.len();
        let rest = (length > 0).then(|| self.held.refuse(length, reason));
        self.position = self.position.max(self.held.start());
        self.lexer = Lexer::new();
        (self.place, self.markup) = (Place::Clean, None);
        rest
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn complete(&self) -> bool {
        self.complete
    }
}
