//! Finds telegrams in bytes, one byte at a time, and proves their check character. Pure; it never
//! looks at what a telegram says. Where no telegram is, handshake bytes are nothing and the rest is junk.
//!
//! A telegram that broke off may run into the next one where no silence parts them, as in bytes that are
//! read again: a damaged one is therefore looked through for the beginning of another.
//!
//! 3964R after Siemens: STX, data with every DLE doubled, DLE, ETX, and the XOR of all bytes after STX.

use std::collections::VecDeque;

use super::settings::{Check, Framing};
use crate::format::GARBAGE_BYTES_MAX;

const STX: u8 = 0x02;
const ETX: u8 = 0x03;
const DLE: u8 = 0x10;

/// What may stand between telegrams: NUL, EOT, ENQ, ACK, LF, CR, DLE, XON, XOFF, NAK.
const HANDSHAKE: [u8; 10] = [0x00, 0x04, 0x05, 0x06, 0x0A, 0x0D, DLE, 0x11, 0x13, 0x15];

/// Bytes of one telegram, its frame included: many times the longest record of a till.
pub(super) const TELEGRAM_BYTES_MAX: usize = 64 << 10;

/// How often a damaged telegram is looked through: senders repeat six times.
const RESCANS_MAX: usize = 8;

/// Bytes that belong together; they end where the next piece begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) length: usize,
    pub(super) kind: Kind,
}

/// What a piece is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole telegram and what it says, free of its frame.
    Sound(Vec<u8>),
    /// A telegram that came damaged: whoever sent it may send it again.
    Garbled(&'static str),
    /// A telegram that its sender gave up for a new one.
    Cut,
    /// Bytes between telegrams that are none.
    Junk,
    /// Bytes of a handshake; nothing is said by them.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Outside,
    Inside,
    /// Behind a DLE of 3964R.
    Escaped,
    Trailer,
}

/// Where in the bytes the scan stands.
#[derive(Debug)]
pub(super) struct Scan {
    framing: Framing,
    check: Check,
    state: State,
    /// Bytes of junk so far.
    junk: usize,
    /// From STX to ETX, both included.
    frame: Vec<u8>,
    trailer: Vec<u8>,
    /// The bytes of a telegram that was just found damaged.
    spilled: Vec<u8>,
}

impl Scan {
    pub(super) fn new(framing: Framing, check: Check) -> Self {
        let (frame, trailer, spilled) = (Vec::new(), Vec::new(), Vec::new());
        Self { framing, check, state: State::Outside, junk: 0, frame, trailer, spilled }
    }

    /// Takes the next byte and returns the pieces that it ends.
    pub(super) fn step(&mut self, byte: u8) -> Vec<Piece> {
        let mut found = Vec::new();
        let mut again = VecDeque::new();
        let (mut next, mut rescans) = (Some(byte), 0);
        while let Some(byte) = next {
            if let Some(mut piece) = self.one(byte) {
                let spilled = std::mem::take(&mut self.spilled);
                let other = spilled.iter().skip(1).position(|&byte| byte == STX);
                if let Some(other) = other.filter(|_| rescans < RESCANS_MAX) {
                    rescans += 1;
                    piece.length = other + 1;
                    for &byte in spilled[piece.length..].iter().rev() {
                        again.push_front(byte);
                    }
                }
                found.push(piece);
            }
            next = again.pop_front();
        }
        found
    }

    fn one(&mut self, byte: u8) -> Option<Piece> {
        match self.state {
            State::Outside => self.outside(byte),
            State::Inside => self.inside(byte),
            State::Escaped => self.escaped(byte),
            State::Trailer => self.in_trailer(byte),
        }
    }

    /// Ends what is under way: after a silence nothing of it comes any more.
    pub(super) fn quiet(&mut self) -> Option<Piece> {
        let length = self.pending();
        let kind = match (self.state, length) {
            (_, 0) => return None,
            (State::Outside, _) => Kind::Junk,
            // A sender that asked whether anybody listens, and gave up.
            (State::Inside | State::Escaped | State::Trailer, 1) => Kind::Nothing,
            (State::Inside | State::Escaped | State::Trailer, _) => {
                Kind::Garbled("a telegram without its end")
            }
        };
        self.reset();
        Some(Piece { length, kind })
    }

    /// Returns how many bytes belong to no piece yet.
    pub(super) fn pending(&self) -> usize {
        self.junk + self.frame.len() + self.trailer.len()
    }

    fn outside(&mut self, byte: u8) -> Option<Piece> {
        if byte == STX {
            let before = self.quiet();
            self.state = State::Inside;
            self.frame.push(byte);
            return before;
        }
        if self.junk == 0 && HANDSHAKE.contains(&byte) {
            return Some(Piece { length: 1, kind: Kind::Nothing });
        }
        self.junk += 1;
        if self.junk < GARBAGE_BYTES_MAX { None } else { self.quiet() }
    }

    fn inside(&mut self, byte: u8) -> Option<Piece> {
        match (self.framing, byte) {
            (Framing::StxEtx, STX) => {
                let length = self.frame.len();
                let kind = if length == 1 { Kind::Nothing } else { Kind::Cut };
                self.reset();
                self.state = State::Inside;
                self.frame.push(STX);
                return Some(Piece { length, kind });
            }
            (Framing::StxEtx, ETX) => return self.close(byte),
            (Framing::Dust3964r, DLE) => self.state = State::Escaped,
            (Framing::StxEtx | Framing::Dust3964r, _) => {}
        }
        self.keep(byte)
    }

    fn escaped(&mut self, byte: u8) -> Option<Piece> {
        match byte {
            ETX => self.close(byte),
            DLE => {
                self.state = State::Inside;
                self.keep(byte)
            }
            _ => {
                self.frame.push(byte);
                Some(self.garbled("a DLE that is neither doubled nor before ETX"))
            }
        }
    }

    fn keep(&mut self, byte: u8) -> Option<Piece> {
        self.frame.push(byte);
        (self.frame.len() >= TELEGRAM_BYTES_MAX)
            .then(|| self.garbled("a telegram of more than 64 KiB"))
    }

    fn close(&mut self, byte: u8) -> Option<Piece> {
        self.frame.push(byte);
        self.state = State::Trailer;
        (self.check.length() == 0).then(|| self.judged())
    }

    fn in_trailer(&mut self, byte: u8) -> Option<Piece> {
        self.trailer.push(byte);
        (self.trailer.len() == self.check.length()).then(|| self.judged())
    }

    fn judged(&mut self) -> Piece {
        if !self.check.proves(self.framing, &self.frame, &self.trailer) {
            return self.garbled("the check character is another one");
        }
        let length = self.pending();
        let content = self.content();
        self.reset();
        Piece { length, kind: Kind::Sound(content) }
    }

    fn content(&self) -> Vec<u8> {
        let tail = self.framing.tail();
        let inner = &self.frame[1..self.frame.len() - tail];
        match self.framing {
            Framing::StxEtx => inner.to_vec(),
            Framing::Dust3964r => {
                let mut doubled = false;
                let keep = |byte: &u8| {
                    doubled = *byte == DLE && !doubled;
                    !doubled
                };
                inner.iter().copied().filter(keep).collect()
            }
        }
    }

    fn garbled(&mut self, why: &'static str) -> Piece {
        let length = self.pending();
        self.spilled = [self.frame.as_slice(), &self.trailer].concat();
        self.reset();
        Piece { length, kind: Kind::Garbled(why) }
    }

    fn reset(&mut self) {
        (self.state, self.junk) = (State::Outside, 0);
        self.frame.clear();
        self.trailer.clear();
    }
}
