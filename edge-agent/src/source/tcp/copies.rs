//! What a proxy puts aside for us of a printer's bytes. Putting aside never waits: where we are too
//! slow, copies are given up until all that is there was taken out, and then the loss is told.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

/// Bytes that wait for us: some hundred long receipts.
pub(super) const COPY_BYTES_MAX: usize = 1 << 20;

/// Entries that wait for us: a till that prints byte by byte must not cost memory either.
const COPIES_MAX: usize = 4096;

/// What was put aside.
#[derive(Debug)]
pub(super) enum Copied {
    /// Bytes that the printer took.
    Bytes { connection: u64, peer: String, bytes: Vec<u8> },
    /// The till has ended its connection.
    Closed { connection: u64 },
    /// Bytes were given up; nothing is known of any connection.
    Lost { bytes: u64 },
    /// The proxy cannot work.
    Fault { what: String, source: io::Error },
}

#[derive(Default)]
struct State {
    queue: VecDeque<Copied>,
    bytes: usize,
    lost: u64,
}

/// Copies on their way to us.
#[derive(Default)]
pub(super) struct Copies {
    state: Mutex<State>,
    news: Notify,
}

impl Copies {
    /// Puts bytes aside, or gives them up.
    pub(super) fn put(&self, connection: u64, peer: &str, bytes: &[u8]) {
        let mut state = self.state();
        let full = state.queue.len() >= COPIES_MAX || state.bytes + bytes.len() > COPY_BYTES_MAX;
        if state.lost > 0 || full {
            if state.lost == 0 {
                tracing::error!(%peer, "the printer's copy is given up until there is room");
            }
            state.lost += bytes.len() as u64;
        } else {
            state.bytes += bytes.len();
            let (peer, bytes) = (peer.to_owned(), bytes.to_vec());
            state.queue.push_back(Copied::Bytes { connection, peer, bytes });
        }
        drop(state);
        self.news.notify_one();
    }

    /// Notes that a connection has ended. Where copies are being given up its end goes with them.
    pub(super) fn close(&self, connection: u64) {
        let mut state = self.state();
        if state.lost == 0 && state.queue.len() < COPIES_MAX {
            state.queue.push_back(Copied::Closed { connection });
        } else {
            // Were it forgotten alone, its feed would be taken for one that still speaks.
            state.lost = state.lost.max(1);
        }
        drop(state);
        self.news.notify_one();
    }

    /// Notes that the proxy cannot work; one such note waits at most.
    pub(super) fn fail(&self, what: String, source: io::Error) {
        let mut state = self.state();
        let is_known = state.queue.iter().any(|copied| matches!(copied, Copied::Fault { .. }));
        if !is_known {
            state.queue.push_back(Copied::Fault { what, source });
        }
        drop(state);
        self.news.notify_one();
    }

    /// Waits for what was put aside; may be dropped while it waits.
    pub(super) async fn take(&self) -> Copied {
        loop {
            if let Some(copied) = self.taken() {
                return copied;
            }
            self.news.notified().await;
        }
    }

    fn taken(&self) -> Option<Copied> {
        let mut state = self.state();
        let copied = state.queue.pop_front();
        if let Some(Copied::Bytes { bytes, .. }) = &copied {
            state.bytes -= bytes.len();
        }
        copied.or_else(|| {
            let bytes = std::mem::take(&mut state.lost);
            (bytes > 0).then_some(Copied::Lost { bytes })
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_is_given_up_whole_and_told_once_all_else_is_taken() {
        let copies = Copies::default();
        let chunk = vec![7; COPY_BYTES_MAX / 4];
        for _ in 0..6 {
            copies.put(1, "till", &chunk);
        }
        copies.close(1);
        for _ in 0..4 {
            assert!(matches!(copies.take().await, Copied::Bytes { connection: 1, .. }));
        }
        // Room again, but what comes now would follow a hole.
        copies.put(1, "till", b"late");
        let Copied::Lost { bytes } = copies.take().await else { panic!("the loss is not told") };
        assert_eq!(bytes, 2 * chunk.len() as u64 + 4);
        copies.put(2, "till", b"new");
        assert!(matches!(copies.take().await, Copied::Bytes { connection: 2, .. }));
    }

    #[tokio::test]
    async fn many_small_pieces_are_bounded_too() {
        let copies = Copies::default();
        for _ in 0..=COPIES_MAX {
            copies.put(1, "till", b"x");
        }
        assert_eq!(copies.state().queue.len(), COPIES_MAX);
        assert_eq!(copies.state().lost, 1);
    }
}
