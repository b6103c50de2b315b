//! The thread that owns the writing connection. Orders that wait together share one transaction:
//! commit first, then answer. Where one of them fails, each is tried alone, so that it fails alone.
//! A disk that is full gets the reserve back, and what failed is tried once more.

use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::room::Reserve;
use super::sqlite::{Sqlite, Squeezed};
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
        let (path, reserve_bytes) = (settings.path.clone(), settings.quota.reserve_bytes);
        let sqlite = open(&settings, binding)?;
        let reserve = Reserve::take(&path, reserve_bytes);
        let thread = std::thread::Builder::new()
            .name("buffer".to_owned())
            .spawn(move || run(sqlite, reserve, rx))
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

/// Opens the database. Where the disk is full, a reserve of an earlier run is given back.
fn open(settings: &Settings, binding: Option<&Binding>) -> Result<Sqlite, BufferError> {
    match Sqlite::open(settings, binding) {
        Err(error) if error.is_out_of_room() && Reserve::of(&settings.path).give_back() => {
            tracing::warn!(error = %shared::log::Chain(&error), "the reserve is given back");
            Sqlite::open(settings, binding)
        }
        opened => opened,
    }
}

fn run(mut sqlite: Sqlite, mut reserve: Reserve, mut rx: mpsc::Receiver<Order>) {
    while let Some(first) = rx.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP_MAX
            && let Ok(order) = rx.try_recv()
        {
            group.push(order);
        }
        if reserve.restore(Instant::now()) {
            sqlite.squeeze(Squeezed::No);
        }
        if let Err(error) = sqlite.mend() {
            tracing::error!(error = %shared::log::Chain(&error), "the buffer was not opened anew");
        }
        make_room(&sqlite);
        do_together(&sqlite, &mut reserve, group);
        if let Err(error) = sqlite.bound_log() {
            tracing::warn!(error = %shared::log::Chain(&error), "the write-ahead log was not cut");
        }
    }
    if let Err(error) = sqlite.sync_mark() {
        tracing::warn!(error = %shared::log::Chain(&error), "the mark is behind until it is synced");
    }
}

/// Forgets confirmed batches where there is no room for more.
fn make_room(sqlite: &Sqlite) {
    while sqlite.is_short().unwrap_or(false) {
        match sqlite.in_transaction(|| sqlite.forget_confirmed()) {
            Ok(0) => return,
            Ok(batches) => {
                tracing::info!(batches, "confirmed batches are forgotten for want of room");
            }
            Err(error) => {
                let error = shared::log::Chain(&error);
                return tracing::warn!(%error, "confirmed batches could not be forgotten");
            }
        }
    }
}

fn do_together(sqlite: &Sqlite, reserve: &mut Reserve, mut group: Vec<Order>) {
    if group.len() > 1 {
        let all = || group.iter_mut().try_for_each(|job| job.run(sqlite));
        if sqlite.in_transaction(all).is_ok() {
            return group.into_iter().for_each(|job| job.answer(Ok(())));
        }
    }
    group.into_iter().for_each(|job| do_alone(sqlite, reserve, job));
}

fn do_alone(sqlite: &Sqlite, reserve: &mut Reserve, mut job: Order) {
    let mut outcome = sqlite.in_transaction(|| job.run(sqlite));
    if let Err(error @ BufferError::Database { .. }) = &outcome
        && error.is_out_of_room()
        && !sqlite.is_at_its_quota()
    {
        tracing::error!(error = %shared::log::Chain(error), "the disk is full");
        reserve.give_back();
        sqlite.squeeze(Squeezed::Yes);
        outcome = sqlite.in_transaction(|| job.run(sqlite));
    }
    job.answer(outcome);
}
