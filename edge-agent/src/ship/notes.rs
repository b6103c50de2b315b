//! What the broker has and the buffer does not know yet. While much goes out, many deliveries make one
//! note, and more goes out while it is written: a slow disk holds up no line. Nothing is lost with it:
//! what was not noted goes out again.

use std::time::Duration;

use shared::ids::Sequence;
use shared::time::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::buffer::{Buffer, BufferError};

/// Deliveries that make a note: each note costs a sync of the disk, whatever it holds.
const NOTE_MANY: usize = 500;

/// How long a delivery waits for others at most.
const NOTE_AFTER: Duration = Duration::from_secs(1);

/// Deliveries on their way into the buffer.
#[derive(Default)]
pub(super) struct Notes {
    under_way: Option<JoinHandle<Result<(), BufferError>>>,
    next: Option<Next>,
}

struct Next {
    sequences: Vec<Sequence>,
    at: Timestamp,
    since: Instant,
}

impl Notes {
    /// Returns true where all is noted.
    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_none() && self.next.is_none()
    }

    /// Takes deliveries in.
    pub(super) fn add(&mut self, delivered: Vec<Sequence>, at: Timestamp) {
        if delivered.is_empty() {
            return;
        }
        let begin = || Next { sequences: Vec::new(), at, since: Instant::now() };
        let next = self.next.get_or_insert_with(begin);
        next.sequences.extend(delivered);
        next.at = at;
    }

    /// Returns true where enough has come together, or something waits for long.
    pub(super) fn are_due(&self) -> bool {
        let due =
            |next: &Next| next.sequences.len() >= NOTE_MANY || next.since.elapsed() >= NOTE_AFTER;
        self.next.as_ref().is_some_and(due)
    }

    /// Begins a note of all that has come, where the last one is written.
    pub(super) async fn write(&mut self, buffer: &Buffer) -> Result<(), BufferError> {
        if self.under_way.as_ref().is_some_and(|note| !note.is_finished()) {
            return Ok(());
        }
        self.written().await?;
        self.begin(buffer);
        Ok(())
    }

    /// Waits until all is noted.
    pub(super) async fn finish(&mut self, buffer: &Buffer) -> Result<(), BufferError> {
        self.written().await?;
        self.begin(buffer);
        self.written().await
    }

    fn begin(&mut self, buffer: &Buffer) {
        let Some(Next { sequences, at, .. }) = self.next.take() else { return };
        let buffer = buffer.clone();
        let note = async move { buffer.acknowledge(sequences, at).await };
        self.under_way = Some(tokio::spawn(note));
    }

    async fn written(&mut self) -> Result<(), BufferError> {
        match self.under_way.take() {
            Some(note) => note.await.unwrap_or(Err(BufferError::Closed)),
            None => Ok(()),
        }
    }
}
