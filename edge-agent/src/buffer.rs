//! The outbox on disk: what was read, what is still open, what waits for the broker. One thread
//! owns the writing connection; whoever asks waits until its transaction is committed. It never
//! says "taken" before the disk has it, and never forgets a batch that the broker has not confirmed.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use shared::delivered::Delivered;
use shared::ids::{ReceiptNumber, Sequence, StoreId, StreamId, TillId};
use shared::minute::{Closing, TillStatus};
use shared::receipt::{Receipt, StockMovement};
use shared::time::{Minute, Timestamp};
use tokio::sync::{mpsc, oneshot};

use crate::aggregate::open::Slot;

mod counter;
mod error;
pub mod inspect;
mod key;
pub mod rekey;
pub mod renew;
pub mod repair;
mod room;
mod spells;
mod sqlite;
mod swap;
mod writer;

pub use error::BufferError;
pub use key::{Key, KeyError};
pub use room::Quota;
pub use writer::Writer;

/// Commands that wait for the writer: some per source and the shipper's; more would only hide that
/// the disk is slow.
const COMMANDS_MAX: usize = 64;

/// Where a buffer lies and whom it belongs to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The database file.
    pub path: PathBuf,
    /// Its key.
    pub key: Key,
    /// The machine that it is bound to, where it is.
    pub machine_id: Option<String>,
    /// What it may take of the disk.
    pub quota: Quota,
    /// Now: the time at which a buffer that is not there yet is made, or [`time_unknown`].
    pub now: Timestamp,
}

/// What tells a buffer from its copies.
#[derive(Debug, Clone)]
pub struct Binding {
    /// The store that it is of.
    pub store: StoreId,
    /// The file with the mark of what was handed over; on another disk it also sees through a disk
    /// that was rolled back as a whole.
    pub counter: PathBuf,
}

/// Why a buffer is not the one that it is bound to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unbound {
    /// It is of another store.
    OtherStore,
    /// It was made on another machine.
    OtherMachine,
    /// It is older than what was handed over.
    RolledBack,
    /// The mark is of another buffer.
    OtherStream,
    /// The mark is gone.
    MarkGone,
}

impl std::fmt::Display for Unbound {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::OtherStore => "it is the buffer of another store",
            Self::OtherMachine => "it was made on another machine",
            Self::RolledBack => "it is older than what was already handed over",
            Self::OtherStream => "the mark beside it is of another buffer",
            Self::MarkGone => "the mark of what was handed over is gone",
        })
    }
}

/// Returns what is noted for a time while nobody knows what time it is. It lies after every time that
/// is, so that nothing is forgotten by it.
pub fn time_unknown() -> Timestamp {
    "2199-12-31T23:59:59Z".parse().expect("a time that our texts can hold")
}

/// What a source read in one go.
#[derive(Debug, Clone)]
pub struct Intake {
    /// The source's name.
    pub source: String,
    /// The feed within it.
    pub feed: String,
    /// Whether the source counts, or only fills in.
    pub claim: Claim,
    /// Whether the source waits while there is no room.
    pub supply: Supply,
    /// Where the feed stands after it; nothing where that does not change.
    pub mark: Option<String>,
    /// When it was read.
    pub at: Timestamp,
    /// What was read.
    pub units: Vec<IntakeUnit>,
}

/// One unit of a feed.
#[derive(Debug, Clone)]
pub struct IntakeUnit {
    /// Offset of its first byte.
    pub start: u64,
    /// Offset after its last byte.
    pub end: u64,
    /// Its bytes, for the quarantine.
    pub bytes: Vec<u8>,
    /// What it holds.
    pub entries: Vec<Entry>,
}

/// What a unit holds.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A receipt that belongs to a slot.
    Receipt(Slot, Sharing, Box<Receipt>),
    /// A movement that belongs to a slot.
    Movement(Slot, Box<StockMovement>),
    /// A closing that belongs to a slot.
    Closing(Slot, Box<Closing>),
    /// Something that must be set aside, with the reason and the till where it is known.
    Refused(String, Option<TillId>),
}

/// Whether a receipt shares its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// With all others of its slot.
    Shared,
    /// With nothing.
    Alone,
}

/// What a source's receipts are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// They count; no other source counts the same till.
    Counts,
    /// They count where no other source has brought them, whatever it made of their articles.
    Backfills,
}

/// What a source does while there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supply {
    /// It waits: files stay, a till is not answered.
    Waits,
    /// It flows on: a printer does not wait for us.
    Flows,
}

/// A unit that was set aside, with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsideUnit {
    /// The source that read it.
    pub source: String,
    /// The feed.
    pub feed: String,
    /// Offset of its first byte.
    pub start: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What became of an intake.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// Slots that are open with something new.
    pub slots: BTreeSet<Slot>,
    /// Receipts and movements that are new.
    pub fresh: u64,
    /// Second copies.
    pub duplicates: u64,
    /// Units and receipts set aside.
    pub quarantined: u64,
}

/// What the batches of a slot say beside what was rung up.
#[derive(Debug, Clone)]
pub struct Cut {
    /// The store.
    pub store: StoreId,
    /// When they are cut.
    pub at: Timestamp,
    /// How far the store is delivered with them.
    pub complete_through: Option<Minute>,
}

/// A batch on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Its place in the stream.
    pub sequence: Sequence,
    /// Header names and values.
    pub headers: Vec<(String, String)>,
    /// The body's bytes as they were committed.
    pub body: Vec<u8>,
}

/// What was remembered of what the centre has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Remembered {
    /// Tills and series.
    pub series: u64,
    /// Receipts.
    pub receipts: u64,
}

/// What the buffer knows of itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Figures {
    /// The stream.
    pub stream: StreamId,
    /// When the buffer was made.
    pub created_at: Timestamp,
    /// The highest sequence that was cut; 0 where none was.
    pub highest_sequence: u64,
    /// Batches that wait for the broker.
    pub backlog: u64,
    /// Receipts and movements of minutes that are open.
    pub open_rows: u64,
    /// Units and receipts set aside.
    pub quarantined: u64,
    /// Bytes of the database that are in use.
    pub used_bytes: u64,
    /// Batches that were given up since the buffer was made.
    pub given_up: u64,
    /// Second copies that were dropped since the buffer was made.
    pub duplicates: u64,
    /// Per till the last receipt.
    pub tills: Vec<TillStatus>,
    /// Whether another buffer, or this one before a repair, counted this store's receipts before.
    pub counted_before: bool,
}

/// What the batches say of themselves. To ask it reads many pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Kept {
    /// Batches that the broker has confirmed and that are still kept.
    pub acknowledged: u64,
    /// The latest time at which one of the last batches was cut, by the clock of that time.
    pub last_cut_at: Option<Timestamp>,
}

/// The way to ask the writer. Cheap to clone; the writer ends when all are gone.
#[derive(Debug, Clone)]
pub struct Buffer {
    tx: mpsc::Sender<writer::Order>,
}

impl Buffer {
    /// Opens the buffer, or makes it, and starts its writer. Whether it is a copy is not asked.
    pub fn open(settings: Settings) -> Result<(Self, Writer), BufferError> {
        let (tx, rx) = mpsc::channel(COMMANDS_MAX);
        let writer = Writer::start(settings, None, rx)?;
        Ok((Self { tx }, writer))
    }

    /// Opens the buffer, or makes it, and starts its writer. A copy is refused as unbound.
    pub fn open_bound(
        settings: Settings,
        binding: &Binding,
    ) -> Result<(Self, Writer), BufferError> {
        let (tx, rx) = mpsc::channel(COMMANDS_MAX);
        let writer = Writer::start(settings, Some(binding), rx)?;
        Ok((Self { tx }, writer))
    }

    /// Commits what a source read: keys, open rows, quarantine and position, all or nothing.
    pub async fn take(&self, intake: Arc<Intake>) -> Result<Taken, BufferError> {
        self.ask(move |sqlite| sqlite.take(&intake)).await
    }

    /// Closes a slot: batches, their sequences and bytes, and the end of the open rows, all or
    /// nothing. Returns the sequences; none where the slot held nothing.
    pub async fn close(&self, slot: Slot, cut: Cut) -> Result<Vec<Sequence>, BufferError> {
        self.ask(move |sqlite| sqlite.close(slot, &cut)).await
    }

    /// Returns the slots that are open with what lies in the buffer.
    pub async fn open_slots(&self) -> Result<Vec<Slot>, BufferError> {
        self.ask(|sqlite| sqlite.open_slots()).await
    }

    /// Returns batches that wait, the oldest first, all after `after`: at least one, if there is
    /// one, and no more once they reach so many bytes. They are committed, and marked as handed over
    /// before anyone sees them.
    pub async fn waiting(
        &self,
        after: Option<Sequence>,
        bytes: usize,
    ) -> Result<Vec<Outgoing>, BufferError> {
        let found = self.ask(move |sqlite| sqlite.waiting(after, bytes)).await?;
        if let Some(last) = found.last().map(|batch| batch.sequence) {
            self.ask(move |sqlite| sqlite.raise_mark(last)).await?;
        }
        Ok(found)
    }

    /// Notes that the broker has the batches.
    pub async fn acknowledge(
        &self,
        sequences: Vec<Sequence>,
        at: Timestamp,
    ) -> Result<(), BufferError> {
        self.ask(move |sqlite| sqlite.acknowledge(&sequences, at)).await
    }

    /// Replaces a batch that the broker will never take by an empty one that carries its loss; the
    /// bytes go to the quarantine.
    pub async fn give_up(
        &self,
        sequence: Sequence,
        reason: String,
        at: Timestamp,
    ) -> Result<(), BufferError> {
        self.ask(move |sqlite| sqlite.give_up(sequence, &reason, at)).await
    }

    /// Forgets which source counts a till where that source is no longer one of these.
    pub async fn keep_sources(&self, names: Vec<String>) -> Result<(), BufferError> {
        self.ask(move |sqlite| sqlite.keep_sources(&names)).await
    }

    /// Returns the marks of a source's feeds.
    pub async fn marks(&self, source: String) -> Result<Vec<(String, String)>, BufferError> {
        self.ask(move |sqlite| sqlite.marks(&source)).await
    }

    /// Makes batches that the broker has confirmed wait again; returns how many.
    pub async fn resend(&self, from: Sequence, to: Sequence) -> Result<u64, BufferError> {
        self.ask(move |sqlite| sqlite.resend(from, to)).await
    }

    /// Returns what was set aside under a number.
    pub async fn set_aside(&self, id: i64) -> Result<Option<AsideUnit>, BufferError> {
        self.ask(move |sqlite| sqlite.aside(id)).await
    }

    /// Takes in what was set aside under a number and is read rightly now, and forgets that it was
    /// set aside, all or nothing.
    pub async fn retry(&self, id: i64, intake: Arc<Intake>) -> Result<Taken, BufferError> {
        self.ask(move |sqlite| sqlite.retry(id, &intake)).await
    }

    /// Returns at most so many marks of a source's feeds, by name, all after `after`: of folders with
    /// tens of thousands of files.
    pub async fn marks_after(
        &self,
        source: String,
        after: String,
        most: u32,
    ) -> Result<Vec<(String, String)>, BufferError> {
        self.ask(move |sqlite| sqlite.marks_after(&source, &after, most)).await
    }

    /// Returns the mark of one feed of a source; nothing where there is none.
    pub async fn mark(&self, source: String, feed: String) -> Result<Option<String>, BufferError> {
        self.ask(move |sqlite| sqlite.mark(&source, &feed)).await
    }

    /// Returns what the buffer knows of itself.
    pub async fn figures(&self) -> Result<Figures, BufferError> {
        self.ask(|sqlite| sqlite.figures()).await
    }

    /// Returns what its batches say of themselves.
    pub async fn kept(&self) -> Result<Kept, BufferError> {
        self.ask(|sqlite| sqlite.kept()).await
    }

    /// Notes that it is now, where things were noted without a known time; returns when the buffer was
    /// made.
    pub async fn learn_time(&self, now: Timestamp) -> Result<Timestamp, BufferError> {
        self.ask(move |sqlite| sqlite.learn_time(now)).await
    }

    /// Remembers receipts that the centre has: they count no more.
    pub async fn remember_delivered(
        &self,
        delivered: Arc<Delivered>,
        now: Timestamp,
    ) -> Result<Remembered, BufferError> {
        self.ask(move |sqlite| sqlite.remember_delivered(&delivered, now)).await
    }

    /// Returns the store that the buffer is of, where it is bound to one.
    pub async fn store(&self) -> Result<Option<StoreId>, BufferError> {
        self.ask(|sqlite| sqlite.store()).await
    }

    /// Forgets what is past its horizon.
    pub async fn prune(&self, now: Timestamp) -> Result<(), BufferError> {
        self.ask(move |sqlite| sqlite.prune(now)).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnMut(&sqlite::Sqlite) -> Result<T, BufferError> + Send + 'static,
    ) -> Result<T, BufferError> {
        let (reply, answer) = oneshot::channel();
        let order = writer::Typed::order(work, reply);
        self.tx.send(order).await.map_err(|_| BufferError::Closed)?;
        answer.await.map_err(|_| BufferError::Closed)?
    }
}

/// Returns the series under which a till's spell counts: `<series>/2` after the first reset.
fn spelled(series: &str, spell: u32) -> String {
    if spell == 1 { series.to_owned() } else { format!("{series}/{spell}") }
}

/// Returns the number that ranges hold, where the receipt has one.
fn number_of(receipt: &ReceiptNumber) -> Option<u64> {
    receipt.as_number()
}
