//! Oldest batch -> broker -> acknowledge, in that order. A batch is done only when its delivery
//! report is in and the buffer has noted it; after any failure everything from the oldest batch
//! that is not noted goes out again with the same bytes. Nothing here ever expires.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::backoff::Backoff;
use shared::ids::Sequence;
use shared::minute::StoreStatus;
use shared::time::Clock;
use shared::topics::Topic;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use crate::buffer::{Buffer, BufferError, Outgoing};

mod kafka;
mod pace;

pub use kafka::{KafkaFault, Settings};
use kafka::{Outcome, Producer, Report};
use pace::Pace;

/// Batches on their way: enough to fill the line after an outage, few enough for the memory of a
/// small box.
const IN_FLIGHT_MAX: usize = 500;

/// Bytes of bodies on their way, beside one batch that may be larger.
const IN_FLIGHT_BYTES_MAX: usize = 1 << 20;

/// Bytes of batches read from the buffer at once, beside one that may be larger.
const READ_BYTES_MAX: usize = 256 << 10;

/// How often delivery reports are fetched while some are due; they add this to the latency.
const REPORT_PAUSE: Duration = Duration::from_millis(10);

/// How often the producer's errors are fetched while nothing is due.
const IDLE_PAUSE: Duration = Duration::from_secs(1);

/// How long the last reports are waited for at the end. What is missed goes out again after the
/// next start, and the centre knows it.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long a status record may take.
const ANNOUNCE_MOST: Duration = Duration::from_secs(20);

/// How often a status record's report is asked for.
const ANNOUNCE_PAUSE: Duration = Duration::from_millis(50);

/// How long a check waits for the broker.
const PROBE_MOST: Duration = Duration::from_secs(5);

/// How the line to the broker is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Link {
    /// Nothing was sent lately, and nothing is known to be wrong.
    Idle,
    /// The last batch was confirmed.
    Up,
    /// Batches wait, and why.
    Down {
        /// The reason in plain words.
        reason: String,
    },
}

/// Why a session with the broker ended.
#[derive(Debug, thiserror::Error)]
enum SessionEnd {
    #[error("the broker has not confirmed a batch")]
    Unconfirmed(#[source] KafkaFault),
    #[error("the broker refuses batch {0} for good")]
    Refused(Sequence, #[source] KafkaFault),
    #[error("the buffer did not answer")]
    Buffer(#[source] BufferError),
}

/// What the shipper works with.
pub struct Shipper {
    /// The buffer.
    pub buffer: Buffer,
    /// The broker.
    pub settings: Settings,
    /// The clock whose time is noted with a delivery.
    pub clock: Clock,
    /// Rises with each batch that is cut.
    pub cut: watch::Receiver<u64>,
    /// Rises when batches that the broker had confirmed are to go out again.
    pub resent: watch::Receiver<u64>,
    /// Bytes of bodies that may go out in a second; nothing where all may.
    pub bytes_per_second: Option<u64>,
    /// Where the line's state is told.
    pub link: watch::Sender<Link>,
}

/// Batches that were handed to the producer.
#[derive(Default)]
struct Window {
    in_flight: BTreeMap<Sequence, usize>,
    bytes: usize,
    last: Option<Sequence>,
}

impl Window {
    fn has_room(&self) -> bool {
        self.in_flight.len() < IN_FLIGHT_MAX && self.bytes < IN_FLIGHT_BYTES_MAX
    }

    fn add(&mut self, outgoing: &Outgoing) {
        self.in_flight.insert(outgoing.sequence, outgoing.body.len());
        self.bytes += outgoing.body.len();
        self.last = Some(outgoing.sequence);
    }

    fn remove(&mut self, sequence: Sequence) {
        self.bytes -= self.in_flight.remove(&sequence).unwrap_or(0);
    }
}

impl Shipper {
    /// Ships until told to stop. Fails only where the buffer is closed.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), BufferError> {
        let seed = std::process::id();
        let mut backoff =
            Backoff::new(Duration::from_millis(200), Duration::from_secs(10), seed.into());
        loop {
            let end = match self.session(&mut backoff, &mut stop).await {
                Ok(()) => return Ok(()),
                Err(SessionEnd::Buffer(BufferError::Closed)) => return Err(BufferError::Closed),
                Err(end) => end,
            };
            let wait = backoff.next_wait();
            let reason = shared::log::Chain(&end).to_string();
            tracing::warn!(%reason, wait_millis = wait.as_millis(), "batches wait in the buffer");
            self.link.send_replace(Link::Down { reason });
            if let SessionEnd::Refused(sequence, fault) = end {
                self.give_up(sequence, &fault).await?;
            }
            tokio::select! {
                () = sleep(wait) => {}
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            }
        }
    }

    /// One producer's life: returns when told to stop, fails where it must be replaced.
    async fn session(
        &mut self,
        backoff: &mut Backoff,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), SessionEnd> {
        let producer = Producer::new(&self.settings).map_err(SessionEnd::Unconfirmed)?;
        let mut window = Window::default();
        let (mut pace, began) = (Pace::new(self.bytes_per_second), Instant::now());
        loop {
            self.cut.mark_unchanged();
            if window.in_flight.is_empty() && self.resent.has_changed().unwrap_or(false) {
                self.resent.mark_unchanged();
                window.last = None;
            }
            self.fill(&producer, &mut window, (&mut pace, began)).await?;
            if self.settle(&producer, &mut window).await? > 0 {
                backoff.reset();
            }
            let pause = if window.in_flight.is_empty() { IDLE_PAUSE } else { REPORT_PAUSE };
            let paced = pace.wait(began.elapsed());
            let pause = if paced.is_zero() { pause } else { pause.min(paced) };
            tokio::select! {
                () = sleep(pause) => {}
                _ = self.cut.changed(), if window.in_flight.is_empty() => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        let until = Instant::now() + FAREWELL;
        while !window.in_flight.is_empty() && Instant::now() < until {
            self.settle(&producer, &mut window).await?;
            sleep(REPORT_PAUSE).await;
        }
        Ok(())
    }

    async fn fill(
        &self,
        producer: &Producer,
        window: &mut Window,
        (pace, began): (&mut Pace, Instant),
    ) -> Result<(), SessionEnd> {
        while window.has_room() && pace.wait(began.elapsed()).is_zero() {
            let batches = self.buffer.waiting(window.last, READ_BYTES_MAX).await;
            let batches = batches.map_err(SessionEnd::Buffer)?;
            if batches.is_empty() {
                return Ok(());
            }
            for batch in &batches {
                if !window.has_room() || !pace.wait(began.elapsed()).is_zero() {
                    return Ok(());
                }
                match producer.send(batch) {
                    Ok(()) => {
                        pace.spend(batch.body.len(), began.elapsed());
                        window.add(batch);
                    }
                    Err(fault) if fault.is_full() => return Ok(()),
                    Err(fault) if fault.is_final() => {
                        return Err(SessionEnd::Refused(batch.sequence, fault));
                    }
                    Err(fault) => return Err(SessionEnd::Unconfirmed(fault)),
                }
            }
        }
        Ok(())
    }

    /// Notes what was delivered, then forgets it; returns how many.
    async fn settle(&self, producer: &Producer, window: &mut Window) -> Result<usize, SessionEnd> {
        let mut delivered = Vec::new();
        let mut end = None;
        for Report { sequence, outcome } in producer.reports() {
            match outcome {
                Outcome::Delivered => delivered.push(sequence),
                Outcome::Failed(fault) if fault.is_final() => {
                    end.get_or_insert(SessionEnd::Refused(sequence, fault));
                }
                Outcome::Failed(fault) => {
                    end.get_or_insert(SessionEnd::Unconfirmed(fault));
                }
            }
        }
        if !delivered.is_empty() {
            let at = self.clock.now();
            let noted = self.buffer.acknowledge(delivered.clone(), at).await;
            noted.map_err(SessionEnd::Buffer)?;
            delivered.iter().for_each(|&sequence| window.remove(sequence));
            self.link.send_if_modified(|link| std::mem::replace(link, Link::Up) != Link::Up);
        } else {
            self.tell_trouble(producer.trouble(), window);
        }
        match end.or_else(|| producer.fatal().map(SessionEnd::Unconfirmed)) {
            Some(end) => Err(end),
            None => Ok(delivered.len()),
        }
    }

    fn tell_trouble(&self, trouble: Option<String>, window: &Window) {
        self.link.send_if_modified(|link| {
            let told = match (trouble, &link) {
                (Some(reason), _) => Link::Down { reason },
                (None, Link::Down { .. }) if window.in_flight.is_empty() => Link::Idle,
                (None, Link::Down { .. } | Link::Up | Link::Idle) => return false,
            };
            let modified = *link != told;
            *link = told;
            modified
        });
    }

    async fn give_up(&self, sequence: Sequence, fault: &KafkaFault) -> Result<(), BufferError> {
        let reason = shared::log::Chain(fault).to_string();
        tracing::error!(%sequence, %reason, "a batch is given up; its loss is told to the centre");
        match self.buffer.give_up(sequence, reason, self.clock.now()).await {
            Err(BufferError::Closed) => Err(BufferError::Closed),
            Err(error) => {
                let error = shared::log::Chain(&error).to_string();
                tracing::error!(%sequence, %error, "the batch could not be given up");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

/// Asks the broker for the topic; returns its partitions. Waits some seconds at most.
pub fn probe(settings: &Settings) -> Result<usize, KafkaFault> {
    Producer::new(settings)?.probe(PROBE_MOST)
}

/// Sends status records as they come, each by a producer of its own that ends with it: between two
/// minutes it would hold threads and memory for nothing. A record that cannot be sent is dropped,
/// the next one says more.
pub async fn announce(settings: Settings, mut statuses: mpsc::Receiver<StoreStatus>) {
    let settings = settings.for_topic(Topic::StoreStatus);
    while let Some(status) = statuses.recv().await {
        let Ok(producer) = Producer::new(&settings) else { continue };
        let until = Instant::now() + ANNOUNCE_MOST;
        if producer.send_status(&status).is_ok() {
            // Once nothing more is said, the agent ends: it does not wait for a broker that is away.
            while producer.reports().is_empty() && Instant::now() < until && !statuses.is_closed() {
                sleep(ANNOUNCE_PAUSE).await;
            }
        }
        // Its end waits for its threads, which the batches' reports must not wait for.
        let ended = tokio::task::spawn_blocking(move || drop(producer)).await;
        debug_assert!(ended.is_ok(), "dropping a producer does not panic");
    }
}
