//! What a till's bytes mean. A framer cuts a stream of chunks into bounded units, a decoder turns a
//! unit into receipts and stock movements or refuses it with a reason. Pure: no file, no clock, no
//! log. Whatever a decoder returns is settled (see [`settle`]); personal data never leaves it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use chrono::NaiveTime;
use chrono_tz::Tz;
use shared::ids::StoreId;
use shared::minute::Closing;
use shared::receipt::{Receipt, StockMovement};

pub mod article;
mod decimal;
pub mod dsfinvk;
pub mod edifact;
pub mod escpos;
mod fiskaltrust;
mod held;
mod json;
pub mod jsonl;
pub mod poslog;
pub mod pseudonym;
pub mod receipt_text;
mod registry;
pub mod settle;
mod square;
pub mod stamp;
pub mod stock_csv;
pub mod telegram;
mod units;

use article::Articles;
use pseudonym::Pseudonyms;
pub use registry::{Choice, Format, FormatError};

/// Bytes that one unit may have: some hundred times the largest receipt of a real store. What is
/// larger is refused in pieces of this size, so that memory stays bounded.
pub const UNIT_BYTES_MAX: usize = 4 << 20;

/// Bytes that one refused piece of what is no unit may have: a large foreign file becomes few
/// pieces, and none of them outweighs the agent's memory.
pub const GARBAGE_BYTES_MAX: usize = 1 << 20;

/// Characters of a reason: it goes into logs and tables.
const REASON_CHARS_MAX: usize = 400;

/// A piece of a source that a decoder can read by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Offset of its first byte.
    pub start: u64,
    /// Offset after its last byte.
    pub end: u64,
    /// Its bytes as they stand, `end - start` of them.
    pub bytes: Vec<u8>,
}

/// What a framer found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framed {
    /// A unit for the decoder.
    Unit(Unit),
    /// Bytes that can be no unit.
    Refused {
        /// The bytes and where they stood.
        unit: Unit,
        /// Why.
        reason: Refusal,
    },
}

/// How a telegram came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Whole, whatever it says.
    Sound,
    /// Damaged: sent again it may come whole.
    Garbled,
}

/// Cuts chunks into units. The same bytes give the same units, however they are split into chunks.
pub trait Framer: Send {
    /// Takes the next bytes and returns what they complete, in order.
    fn push(&mut self, chunk: &[u8]) -> Vec<Framed>;
    /// Hears that no more bytes come for now: what the format takes as complete by silence, or by an
    /// end mark that only counts where nothing follows it, comes out. Most formats need no silence.
    fn quiet(&mut self) -> Vec<Framed> {
        Vec::new()
    }
    /// Ends the input: bytes left over are the last unit where the format knows no end mark of its
    /// own, else a refusal.
    fn finish(&mut self) -> Option<Framed>;
    /// Takes out what became of the telegrams that were read to their end since it was last asked, in
    /// their order: whoever sent one may wait for an answer. Most formats know no telegrams.
    fn ended(&mut self) -> Vec<Form> {
        Vec::new()
    }
    /// Returns the offset after the last unit or refused piece, from which reading can resume.
    fn position(&self) -> u64;
    /// Returns what must be known at [`Self::position`] beside the bytes that follow it; 0 for nothing.
    /// It is kept with the position, and is no content of a telegram. Most formats need nothing.
    fn memory(&self) -> u64 {
        0
    }
    /// Hears what the framer remembered that read up to where this one begins.
    fn remember(&mut self, _: u64) {}
    /// Returns true where the format's own end mark was read and nothing of worth stands after it.
    fn complete(&self) -> bool;
}

/// Turns units into items. It may remember what came before, as to tell the two hours of a night in
/// October apart; a decoder that starts anew loses nothing but that.
pub trait Decoder: Send {
    /// Decodes one unit.
    fn decode(&mut self, unit: &Unit) -> Result<Vec<Item>, Refusal>;
}

/// What a unit holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A receipt, settled.
    Receipt(Box<Receipt>),
    /// A movement of stock.
    Movement(Box<StockMovement>),
    /// A till's own totals of a shift or a day.
    Closing(Box<Closing>),
    /// A part of the unit that is set aside; the other parts stand.
    Refused(Refusal),
}

/// Why bytes are set aside. It never holds the content of a whole field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// The reason in words.
    pub reason: String,
}

impl Refusal {
    /// Makes a refusal of a reason; control characters are replaced and a long one is cut.
    pub fn new(reason: impl fmt::Display) -> Self {
        let text = reason.to_string();
        let plain = |found: char| if found.is_control() { ' ' } else { found };
        Self { reason: text.chars().take(REASON_CHARS_MAX).map(plain).collect() }
    }

    /// Makes a refusal of an error with all its causes.
    pub(crate) fn because(error: &dyn Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(next) = cause {
            let words = next.to_string();
            // Some libraries repeat their cause in their own words.
            if !text.contains(&words) {
                text = format!("{text}: {words}");
            }
            cause = next.source();
        }
        Self::new(text)
    }
}

/// What a decoder must know of its store.
#[derive(Debug, Clone)]
pub struct Context {
    /// The store; without it the till's own id is taken.
    pub store: Option<StoreId>,
    /// The store's id inside the till's files; without it `store` is compared, leading zeros aside.
    pub pos_store: Option<String>,
    /// The zone of the till's clock.
    pub zone: Tz,
    /// Local time at which a new business day begins, where the till does not name the day.
    pub business_day_cut: NaiveTime,
    /// How the chain's article numbers are built.
    pub articles: Arc<Articles>,
    /// What makes customers' numbers unreadable; without it no customer leaves the decoder.
    pub pseudonyms: Option<Arc<Pseudonyms>>,
}

/// A receipt that belongs to another store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    /// The id in the file is not the one expected.
    #[error("it is of store {found:?}, not of {expected:?}")]
    Other {
        /// The id in the file, shortened.
        found: String,
        /// The id expected.
        expected: String,
    },
    /// The id in the file cannot be a store's.
    #[error("its store is not readable")]
    Unreadable(#[source] shared::ids::IdError),
}

impl Context {
    /// Returns the store of a receipt that names it as `found`.
    pub fn store_of(&self, found: &str) -> Result<StoreId, StoreFault> {
        let Some(store) = &self.store else {
            return StoreId::new(found).map_err(StoreFault::Unreadable);
        };
        let expected = self.pos_store.as_deref().unwrap_or(store.as_str());
        if without_zeros(found) == without_zeros(expected) {
            return Ok(store.clone());
        }
        let found = found.chars().take(32).collect();
        Err(StoreFault::Other { found, expected: expected.to_owned() })
    }
}

fn without_zeros(id: &str) -> &str {
    id.trim_start_matches('0')
}
