//! Batches read from the buffer before the producer has room for them: while some go out the next ones
//! are read, so that neither the line nor the disk waits for the other. All of them are marked as
//! handed over by the reading; what does not go out is read again by the next session.

use std::collections::VecDeque;

use shared::ids::Sequence;
use tokio::task::JoinHandle;

use crate::buffer::{Buffer, BufferError, Outgoing};

/// Bytes of bodies read at once, beside one that may be larger. At most twice as many are held.
const READ_BYTES_MAX: usize = 256 << 10;

/// Batches on their way to the producer, the oldest first.
#[derive(Default)]
pub(super) struct Ahead {
    ready: VecDeque<Outgoing>,
    under_way: Option<JoinHandle<Result<Vec<Outgoing>, BufferError>>>,
    /// The last one that was read.
    last: Option<Sequence>,
}

impl Ahead {
    /// Returns the next batch, where one waits.
    pub(super) async fn next(&mut self, buffer: &Buffer) -> Result<Option<Outgoing>, BufferError> {
        if self.ready.is_empty() {
            self.read(buffer).await?;
        }
        Ok(self.ready.pop_front())
    }

    /// Takes back the batch that was given last.
    pub(super) fn put_back(&mut self, batch: Outgoing) {
        self.ready.push_front(batch);
    }

    async fn read(&mut self, buffer: &Buffer) -> Result<(), BufferError> {
        let mut found = match self.under_way.take() {
            Some(reading) => reading.await.unwrap_or(Err(BufferError::Closed))?,
            None => Vec::new(),
        };
        if found.is_empty() {
            // What was read ahead may be older than what was cut since.
            found = buffer.waiting(self.last, READ_BYTES_MAX).await?;
        }
        let Some(last) = found.last() else { return Ok(()) };
        self.last = Some(last.sequence);
        let is_full = found.iter().map(|batch| batch.body.len()).sum::<usize>() >= READ_BYTES_MAX;
        self.ready = found.into();
        if is_full {
            let (buffer, last) = (buffer.clone(), self.last);
            let reading = async move { buffer.waiting(last, READ_BYTES_MAX).await };
            self.under_way = Some(tokio::spawn(reading));
        }
        Ok(())
    }
}
