//! The thread that owns the writing connection. Orders that wait together share one transaction:
//! commit first, then answer. Where one of them fails, each is tried alone, so that it fails alone.

use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::sqlite::Sqlite;
use super::{Binding, BufferError, Settings};

/// Orders in one transaction: what has come while the last one was synced; more would make the
/// first one wait too long.
const GROUP_MAX: usize = 32;

/// The running thread.
#[derive(Debug)]
pub struct Writer {
    thread: JoinHandle<()>,
}

impl Writer {
    /// Opens the database here, so that faults are known at once, and hands it to a new thread.
    pub(super) fn start(
        settings: Settings,
        binding: Option<&Binding>,
        rx: mpsc::Receiver<Order>,
    ) -> Result<Self, BufferError> {
        let path = settings.path.clone();
        let sqlite = Sqlite::open(&settings, binding)?;
        let thread = std::thread::Builder::new()
            .name("buffer".to_owned())
            .spawn(move || run(&sqlite, rx))
            .map_err(|source| BufferError::File { what: "start the writer of", path, source })?;
        Ok(Self { thread })
    }

    /// Waits until the last order is done and the database is closed; all [`super::Buffer`]s must be gone.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the buffer's writer has panicked");
        }
    }
}

/// Something to do within a transaction, and to answer after it.
pub(super) trait Job: Send {
    fn run(&mut self, sqlite: &Sqlite) -> Result<(), BufferError>;
    fn answer(self: Box<Self>, outcome: Result<(), BufferError>);
}

pub(super) type Order = Box<dyn Job>;

/// A job with its result's type.
pub(super) struct Typed<T, F> {
    work: F,
    found: Option<T>,
    reply: oneshot::Sender<Result<T, BufferError>>,
}

impl<T, F> Typed<T, F>
where
    T: Send + 'static,
    F: FnMut(&Sqlite) -> Result<T, BufferError> + Send + 'static,
{
    pub(super) fn order(work: F, reply: oneshot::Sender<Result<T, BufferError>>) -> Order {
        Box::new(Self { work, found: None, reply })
    }
}

impl<T, F> Job for Typed<T, F>
where
    T: Send,
    F: FnMut(&Sqlite) -> Result<T, BufferError> + Send,
{
    fn run(&mut self, sqlite: &Sqlite) -> Result<(), BufferError> {
        self.found = Some((self.work)(sqlite)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), BufferError>) {
        let Self { found, reply, .. } = *self;
        let found = outcome.and_then(|()| found.ok_or(BufferError::Closed));
        if reply.send(found).is_err() {
            // At a shutdown the task that asked has ended before the answer came.
            tracing::debug!("nobody waits for the buffer's answer");
        }
    }
}

fn run(sqlite: &Sqlite, mut rx: mpsc::Receiver<Order>) {
    while let Some(first) = rx.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP_MAX
            && let Ok(order) = rx.try_recv()
        {
            group.push(order);
        }
        do_together(sqlite, group);
        if let Err(error) = sqlite.bound_log() {
            tracing::warn!(error = %shared::log::Chain(&error), "the write-ahead log was not cut");
        }
    }
    if let Err(error) = sqlite.sync_mark() {
        tracing::warn!(error = %shared::log::Chain(&error), "the mark is behind until it is synced");
    }
}

fn do_together(sqlite: &Sqlite, mut group: Vec<Order>) {
    if group.len() > 1 {
        let all = || group.iter_mut().try_for_each(|job| job.run(sqlite));
        if sqlite.in_transaction(all).is_ok() {
            return group.into_iter().for_each(|job| job.answer(Ok(())));
        }
    }
    group.into_iter().for_each(|job| do_alone(sqlite, job));
}

fn do_alone(sqlite: &Sqlite, mut job: Order) {
    let outcome = sqlite.in_transaction(|| job.run(sqlite));
    job.answer(outcome);
}
