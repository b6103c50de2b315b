//! Oldest batch -> broker -> acknowledge, in that order. A batch is done only when its delivery
//! report is in and the buffer has noted it; after any failure everything from the oldest batch
//! that is not noted goes out again with the same bytes. Nothing here ever expires.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::backoff::Backoff;
use shared::ids::Sequence;
use shared::minute::StoreStatus;
use shared::time::{Clock, Timestamp};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use crate::buffer::{Buffer, BufferError, Outgoing};

mod ahead;
mod identity;
mod kafka;
mod notes;
mod pace;
mod pair;
mod statuses;

use ahead::Ahead;
pub use identity::{CertificateStatus, Identity, Watcher};
pub use kafka::{KafkaFault, Settings};
use kafka::{Outcome, Producer, Report};
use notes::Notes;
use pace::Pace;
pub use pair::{Files, Pair, PairFault};
use statuses::Statuses;

/// Batches on their way: enough to fill the line after an outage, few enough for the memory of a
/// small box.
const IN_FLIGHT_MAX: usize = 500;

/// Bytes of bodies on their way, beside one batch that may be larger: several requests, so that the
/// broker has the next one while it answers the last.
const IN_FLIGHT_BYTES_MAX: usize = 2 << 20;

/// As many until a broker has confirmed the first: what waits for a line that is down waits on the
/// disk, not in memory.
const UNTRIED_BYTES_MAX: usize = 256 << 10;

/// How often delivery reports are fetched while some are due; they add this to the latency.
const REPORT_PAUSE: Duration = Duration::from_millis(10);

/// How long the thread waits for the next one while they come one after the other: what is confirmed
/// makes room for more, and a full window stands still until that is known.
const FLOW_PAUSE: Duration = Duration::from_millis(1);

/// After this long without a report they do not come one after the other.
const FLOW_ENDS: Duration = Duration::from_millis(200);

/// How often the producer's errors are fetched while nothing is due.
const IDLE_PAUSE: Duration = Duration::from_secs(1);

/// How long the last reports are waited for at the end. What is missed goes out again after the
/// next start, and the centre knows it.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long batches may be on their way before the silence is told.
const UNCONFIRMED_MOST: Duration = Duration::from_secs(30);

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
    #[error("the broker refuses batches up to {0}; each is tried alone now")]
    RefusedTogether(Sequence, #[source] KafkaFault),
    #[error("there is no certificate to show to the broker")]
    NothingToShow,
    #[error("the buffer did not answer")]
    Buffer(#[source] BufferError),
}

/// Why a session ended that nothing was wrong with.
enum Over {
    Stopped,
    /// Another certificate is to be shown.
    NewIdentity,
}
/// How often an earlier buffer is asked whether something waits.
const EMPTIED_PAUSE: Duration = Duration::from_secs(1);

/// What the shipper works with.
#[derive(Clone)]
pub struct Shipper {
    /// The buffer.
    pub buffer: Buffer,
    /// The broker.
    pub settings: Settings,
    /// What is shown to it.
    pub identity: watch::Receiver<Identity>,
    /// Tells the time that is noted with a delivery.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Rises with each batch that is cut.
    pub cut: watch::Receiver<u64>,
    /// Rises when batches that the broker had confirmed are to go out again.
    pub resent: watch::Receiver<u64>,
    /// Bytes of bodies that may go out in a second; nothing where all may.
    pub bytes_per_second: Option<u64>,
    /// The latest status record; nothing before the first.
    pub statuses: watch::Receiver<Option<StoreStatus>>,
    /// Where the line's state is told.
    pub link: watch::Sender<Link>,
}

/// What was handed to the producer.
struct Window {
    in_flight: BTreeMap<Sequence, usize>,
    bytes: usize,
    last: Option<Sequence>,
    ahead: Ahead,
    /// What was delivered and is not noted yet.
    notes: Notes,
    /// When something went out, or was confirmed, last.
    heard: Option<Instant>,
    /// Whether this session's broker has confirmed something.
    proved: bool,
    /// Up to here each batch goes alone: a broker refuses all that it gets at once for one of them.
    alone_to: Option<Sequence>,
    statuses: Statuses,
}

impl Window {
    fn new(alone_to: Option<Sequence>, statuses: Statuses) -> Self {
        Self {
            in_flight: BTreeMap::new(),
            bytes: 0,
            last: None,
            ahead: Ahead::default(),
            notes: Notes::default(),
            heard: None,
            proved: false,
            alone_to,
            statuses,
        }
    }

    fn has_room(&self) -> bool {
        let alone = self.alone_to.is_some_and(|to| self.last.is_none_or(|last| last < to));
        let most = if alone { 1 } else { IN_FLIGHT_MAX };
        let bytes = if self.proved { IN_FLIGHT_BYTES_MAX } else { UNTRIED_BYTES_MAX };
        self.in_flight.len() < most && self.bytes < bytes
    }

    /// Returns how a session ends whose broker has refused a batch for good.
    fn refusal(&self, sequence: Sequence, fault: KafkaFault) -> SessionEnd {
        let others = self.in_flight.keys().any(|&other| other != sequence);
        match self.in_flight.last_key_value() {
            Some((&last, _)) if others => SessionEnd::RefusedTogether(last, fault),
            Some(_) | None => SessionEnd::Refused(sequence, fault),
        }
    }

    fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.notes.is_empty()
    }

    fn add(&mut self, outgoing: &Outgoing) {
        if self.in_flight.is_empty() {
            self.heard = Some(Instant::now());
        }
        self.in_flight.insert(outgoing.sequence, outgoing.body.len());
        self.bytes += outgoing.body.len();
        self.last = Some(outgoing.sequence);
    }

    fn remove(&mut self, sequence: Sequence) {
        self.bytes -= self.in_flight.remove(&sequence).unwrap_or(0);
        self.heard = Some(Instant::now());
        self.proved = true;
    }

    /// Returns how long to wait for reports.
    fn pause(&self) -> Duration {
        if self.is_idle() { IDLE_PAUSE } else { REPORT_PAUSE }
    }

    /// Returns true where reports come one after the other.
    fn flows(&self) -> bool {
        let lately = self.heard.is_some_and(|heard| heard.elapsed() < FLOW_ENDS);
        lately && !self.in_flight.is_empty()
    }

    /// Names the silence of a broker that takes batches and confirms none.
    fn silence(&self) -> Option<String> {
        let since = self.heard.filter(|_| !self.in_flight.is_empty())?;
        let text = "the broker has taken batches and confirmed none for half a minute";
        (since.elapsed() > UNCONFIRMED_MOST).then(|| text.to_owned())
    }
}

impl Shipper {
    /// Empties earlier buffers, the oldest first, then ships until told to stop.
    pub async fn run_after(
        self,
        earlier: Vec<Buffer>,
        stop: watch::Receiver<bool>,
    ) -> Result<(), BufferError> {
        for buffer in earlier {
            let shipper = Self { buffer: buffer.clone(), ..self.clone() };
            tokio::select! {
                ended = shipper.run(stop.clone()) => return ended,
                // Where all is confirmed nothing is under way.
                emptied = emptied(&buffer) => emptied?,
            }
        }
        self.run(stop).await
    }

    /// Ships until told to stop. Fails only where the buffer is closed.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), BufferError> {
        let seed = std::process::id();
        let mut backoff =
            Backoff::new(Duration::from_millis(200), Duration::from_secs(10), seed.into());
        let mut alone_to = None;
        loop {
            let mut window = Window::new(alone_to, Statuses::new(self.statuses.clone()));
            let end = self.session(&mut window, &mut backoff, &mut stop).await;
            // Else the next session would read again what is on its way to be noted.
            let noted = window.notes.finish(&self.buffer).await.map_err(SessionEnd::Buffer);
            let end = match end.and_then(|over| noted.map(|()| over)) {
                Ok(Over::Stopped) => return Ok(()),
                Ok(Over::NewIdentity) => continue,
                Err(SessionEnd::Buffer(BufferError::Closed)) => return Err(BufferError::Closed),
                Err(end) => end,
            };
            let wait = backoff.next_wait();
            let reason = shared::log::Chain(&end).to_string();
            let reason = self.identity.borrow().explain(reason, Clock::real().now());
            tracing::warn!(%reason, wait_millis = wait.as_millis(), "batches wait in the buffer");
            self.link.send_replace(Link::Down { reason });
            match end {
                SessionEnd::Refused(sequence, fault) => self.give_up(sequence, &fault).await?,
                SessionEnd::RefusedTogether(last, _) => alone_to = alone_to.max(Some(last)),
                SessionEnd::Unconfirmed(_) | SessionEnd::NothingToShow | SessionEnd::Buffer(_) => {}
            }
            tokio::select! {
                () = sleep(wait) => {}
                Ok(()) = self.identity.changed() => {}
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            }
        }
    }

    /// One producer's life: returns when told to stop or to show another certificate, fails where it
    /// must be replaced. Whatever is not noted as delivered then still waits in the buffer.
    async fn session(
        &mut self,
        window: &mut Window,
        backoff: &mut Backoff,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Over, SessionEnd> {
        let identity = self.identity.borrow_and_update().clone();
        let pair = identity.pair.as_deref().ok_or(SessionEnd::NothingToShow)?;
        let producer = Producer::new(&self.settings, pair).map_err(SessionEnd::Unconfirmed)?;
        let (mut pace, began) = (Pace::new(self.bytes_per_second), Instant::now());
        let over = loop {
            self.cut.mark_unchanged();
            if window.is_idle() && self.resent.has_changed().unwrap_or(false) {
                self.resent.mark_unchanged();
                (window.last, window.ahead) = (None, Ahead::default());
            }
            window.statuses.send(&producer);
            self.fill(&producer, window, (&mut pace, began)).await?;
            if self.settle(&producer, window).await? > 0 {
                backoff.reset();
            }
            let pause = window.pause();
            let paced = pace.wait(began.elapsed());
            let pause = if paced.is_zero() { pause } else { pause.min(paced) };
            tokio::select! {
                () = rest(&producer, window.flows(), pause) => {}
                _ = self.cut.changed(), if window.in_flight.is_empty() => {}
                Ok(()) = self.identity.changed() => {
                    if !self.identity.borrow_and_update().shows_what(&identity) {
                        break Over::NewIdentity;
                    }
                }
                _ = stop.wait_for(|stop| *stop) => break Over::Stopped,
            }
        };
        let until = Instant::now() + FAREWELL;
        while !window.in_flight.is_empty() && Instant::now() < until {
            self.settle(&producer, window).await?;
            sleep(REPORT_PAUSE).await;
        }
        Ok(over)
    }

    async fn fill(
        &self,
        producer: &Producer,
        window: &mut Window,
        (pace, began): (&mut Pace, Instant),
    ) -> Result<(), SessionEnd> {
        while window.has_room() && pace.wait(began.elapsed()).is_zero() {
            let batch = window.ahead.next(&self.buffer).await.map_err(SessionEnd::Buffer)?;
            let Some(batch) = batch else { return Ok(()) };
            match producer.send(&batch) {
                Ok(()) => {
                    pace.spend(batch.body.len(), began.elapsed());
                    window.add(&batch);
                }
                Err(fault) if fault.is_full() => {
                    window.ahead.put_back(batch);
                    return Ok(());
                }
                Err(fault) if fault.is_final() => {
                    return Err(SessionEnd::Refused(batch.sequence, fault));
                }
                Err(fault) => return Err(SessionEnd::Unconfirmed(fault)),
            }
        }
        Ok(())
    }

    /// Has noted what was delivered, while more goes out; returns how many that were.
    async fn settle(&self, producer: &Producer, window: &mut Window) -> Result<usize, SessionEnd> {
        let mut delivered = Vec::new();
        let mut end = None;
        for Report { sequence, outcome } in producer.reports() {
            match outcome {
                Outcome::Delivered => delivered.push(sequence),
                Outcome::Failed(fault) if fault.is_final() => {
                    end.get_or_insert(window.refusal(sequence, fault));
                }
                Outcome::Failed(fault) => {
                    end.get_or_insert(SessionEnd::Unconfirmed(fault));
                }
            }
        }
        window.statuses.settle(producer.status_outcome());
        if !delivered.is_empty() {
            delivered.iter().for_each(|&sequence| window.remove(sequence));
            self.link.send_if_modified(|link| std::mem::replace(link, Link::Up) != Link::Up);
        } else {
            self.tell_trouble(producer.trouble().or_else(|| window.silence()), window);
        }
        let (count, at) = (delivered.len(), (self.now)());
        window.notes.add(delivered, at);
        if window.in_flight.is_empty() || window.notes.are_due() {
            window.notes.write(&self.buffer).await.map_err(SessionEnd::Buffer)?;
        }
        match end.or_else(|| producer.fatal().map(SessionEnd::Unconfirmed)) {
            Some(end) => Err(end),
            None => Ok(count),
        }
    }

    fn tell_trouble(&self, trouble: Option<String>, window: &Window) {
        self.link.send_if_modified(|link| {
            let told = match (trouble, &link) {
                (Some(reason), _) => {
                    let reason = self.identity.borrow().explain(reason, Clock::real().now());
                    Link::Down { reason }
                }
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
        match self.buffer.give_up(sequence, reason, (self.now)()).await {
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

/// Waits for reports. Where they come one after the other the thread waits in librdkafka itself, which
/// gives each one up at once; then it is the others' turn.
async fn rest(producer: &Producer, flows: bool, pause: Duration) {
    if flows {
        producer.wait(FLOW_PAUSE);
        yield_now().await;
    } else {
        sleep(pause).await;
    }
}

/// Waits until nothing waits in a buffer.
async fn emptied(buffer: &Buffer) -> Result<(), BufferError> {
    while buffer.figures().await?.backlog > 0 {
        sleep(EMPTIED_PAUSE).await;
    }
    Ok(())
}

/// Asks the broker for the topic; returns its partitions. Waits some seconds at most.
pub fn probe(settings: &Settings, pair: &Pair) -> Result<usize, KafkaFault> {
    Producer::new(settings, pair)?.probe(PROBE_MOST)
}
