//! Framed telegrams of serial and networked tills: STX/ETX or 3964R around records whose layout is a
//! settings file. A telegram is a receipt, or a record of one that the total's telegram ends.
//!
//! A joined receipt is one unit, from its first telegram to its total, whatever stood between them:
//! telegrams that came damaged lie inside of it and are read over, since their sender sends them
//! again; where it did not, the receipt does not add up. One receipt is open at a time. The total of
//! the last receipt may come again, because its acknowledgement was lost: it is nothing new, also after
//! a restart, since what it was is kept with the position.

use std::sync::Arc;

use super::held::Held;
use super::{Form, FormatError, Framed, Framer, Unit, registry};
use crate::digest;

mod encoding;
mod receipt;
mod record;
mod scan;
mod settings;

pub use receipt::TelegramDecoder;
use record::{Key, Record};
use scan::{Kind, Piece, Scan};
pub use settings::{Framing, Settings};
use settings::{Role, Span};

/// Bytes of a joined receipt, many times the longest of a real store: what is open may be kept
/// beside the source's place, so it must stay small.
const JOINED_BYTES_MAX: usize = 128 << 10;

const NO_TOTAL: &str = "a receipt without its total";
const NO_END: &str = "a telegram or receipt without its end";

/// Reads the settings of telegrams.
pub fn settings(text: &str) -> Result<Arc<Settings>, FormatError> {
    let settings: Settings = registry::settings("telegram", text)?;
    match settings.fault() {
        Some(why) => Err(FormatError::Settings { format: "telegram", why }),
        None => Ok(Arc::new(settings)),
    }
}

/// The framer of telegrams.
#[derive(Debug)]
pub struct TelegramFramer {
    settings: Arc<Settings>,
    held: Held,
    scan: Scan,
    open: Option<Open>,
    /// What tells the telegram that ended the last receipt from any other; 0 where none did.
    last_total: u64,
    ended: Vec<Form>,
}

/// A receipt of which some telegrams have come.
#[derive(Debug)]
struct Open {
    key: Key,
    /// Bytes up to its last telegram.
    length: usize,
}

/// What a sound telegram is to a receipt that is joined.
enum Part {
    /// A record of it.
    Of(Key, Role),
    /// Nothing that is read.
    Ignored,
    /// It cannot be read.
    Unreadable(String),
}

impl TelegramFramer {
    /// Makes a framer whose first byte stands at the offset `start`: outside of any telegram.
    pub fn new(settings: Arc<Settings>, start: u64) -> Self {
        let scan = Scan::new(settings.framing, settings.bcc);
        let (held, ended) = (Held::new(start), Vec::new());
        Self { settings, held, scan, open: None, last_total: 0, ended }
    }

    fn piece(&mut self, piece: Piece, found: &mut Vec<Framed>) {
        match &piece.kind {
            Kind::Sound(_) => self.ended.push(Form::Sound),
            Kind::Garbled(_) => self.ended.push(Form::Garbled),
            Kind::Cut | Kind::Junk | Kind::Nothing => {}
        }
        match (self.settings.receipt, piece.kind) {
            (Span::Telegram, Kind::Sound(_)) => found.push(self.unit(piece.length)),
            (Span::Joined, Kind::Sound(content)) => self.part(piece.length, &content, found),
            (Span::Telegram | Span::Joined, kind) => self.unsound(piece.length, &kind, found),
        }
    }

    /// Takes what is no telegram: alone it is refused, within a receipt it is read over.
    fn unsound(&mut self, length: usize, kind: &Kind, found: &mut Vec<Framed>) {
        if self.open.is_some() {
            self.extend(length, found);
            return;
        }
        let reason = match kind {
            Kind::Sound(_) | Kind::Nothing => {
                self.held.take(length);
                return;
            }
            Kind::Garbled(why) => why,
            Kind::Cut => "a telegram without its end",
            Kind::Junk => "bytes outside of any telegram",
        };
        found.push(self.held.refuse(length, reason));
    }

    fn part(&mut self, length: usize, content: &[u8], found: &mut Vec<Framed>) {
        match (self.part_of(content), &self.open) {
            (Part::Of(key, role), Some(open)) if open.key == key => {
                self.extend(length, found);
                if role == Role::Total {
                    self.total(content, found);
                }
            }
            (Part::Of(key, role), Some(open)) => {
                let rest = open.length;
                self.open = None;
                found.push(self.held.refuse(rest, NO_TOTAL));
                self.first(length, (key, role), content, found);
            }
            (Part::Of(key, role), None) => self.first(length, (key, role), content, found),
            // The decoder reads it again and refuses the whole receipt with its reason.
            (Part::Ignored | Part::Unreadable(_), Some(_)) => self.extend(length, found),
            (Part::Ignored, None) => drop(self.held.take(length)),
            (Part::Unreadable(why), None) => found.push(self.held.refuse(length, &why)),
        }
    }

    fn first(
        &mut self,
        length: usize,
        (key, role): (Key, Role),
        content: &[u8],
        found: &mut Vec<Framed>,
    ) {
        if role == Role::Total && self.last_total == print(content) {
            self.held.take(length);
            return;
        }
        self.open = Some(Open { key, length });
        if role == Role::Total {
            self.total(content, found);
        }
    }

    /// Ends the receipt that is open.
    fn total(&mut self, content: &[u8], found: &mut Vec<Framed>) {
        if let Some(open) = self.open.take() {
            self.last_total = print(content);
            found.push(self.unit(open.length));
        }
    }

    /// Adds bytes to the receipt that is open; one that never ends is refused.
    fn extend(&mut self, length: usize, found: &mut Vec<Framed>) {
        let Some(open) = &mut self.open else { return };
        open.length += length;
        if open.length > JOINED_BYTES_MAX {
            let length = open.length;
            self.open = None;
            found.push(self.held.refuse(length, NO_TOTAL));
        }
    }

    fn part_of(&self, content: &[u8]) -> Part {
        let read = Record::read(&self.settings, content);
        let read = read.and_then(|records| match records.first() {
            Some(record) => record.key(&self.settings).map(|key| Part::Of(key, record.role)),
            None => Ok(Part::Ignored),
        });
        read.unwrap_or_else(|error| Part::Unreadable(error.to_string()))
    }

    fn unit(&mut self, length: usize) -> Framed {
        let unit: Unit = self.held.take(length);
        Framed::Unit(unit)
    }
}

/// Returns a number that stands for what a telegram says, the same for ever; never 0.
fn print(content: &[u8]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = digest::of(content);
    u64::from_le_bytes([a, b, c, d, e, f, g, h]).max(1)
}

impl Framer for TelegramFramer {
    fn push(&mut self, chunk: &[u8]) -> Vec<Framed> {
        let mut found = Vec::new();
        for &byte in chunk {
            let pieces = self.scan.step(byte);
            // A piece that a new STX ends lies before this byte, which stays held.
            self.held.extend(&[byte]);
            for piece in pieces {
                self.piece(piece, &mut found);
            }
        }
        found
    }

    fn quiet(&mut self) -> Vec<Framed> {
        let mut found = Vec::new();
        if let Some(piece) = self.scan.quiet() {
            self.piece(piece, &mut found);
        }
        found
    }

    fn finish(&mut self) -> Option<Framed> {
        let alone = self.open.take().is_none();
        let piece = self.scan.quiet();
        let nothing = piece.is_none_or(|piece| piece.kind == Kind::Nothing);
        let length = self.held.len();
        if length == 0 || (alone && nothing) {
            self.held.skip();
            return None;
        }
        Some(self.held.refuse(length, NO_END))
    }

    fn position(&self) -> u64 {
        self.held.start()
    }

    fn memory(&self) -> u64 {
        self.last_total
    }

    fn remember(&mut self, memory: u64) {
        self.last_total = memory;
    }

    fn complete(&self) -> bool {
        self.held.len() == 0
    }

    fn ended(&mut self) -> Vec<Form> {
        std::mem::take(&mut self.ended)
    }
}
