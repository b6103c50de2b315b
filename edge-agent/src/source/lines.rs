//! Lines to tills, sockets and serial ports alike: who speaks, what silence ends, what is answered.
//! It never looks into telegrams, but for the handshake that 3964R wants at once.
//!
//! A task reads each line and hands on what it read by a bounded channel: a slow disk holds the till
//! back. Where telegrams are answered, the mark of a feed holds the bytes that make no unit yet: what
//! was acknowledged is on disk, also between two telegrams of one receipt. Only the last bytes of a
//! line are ever answered: bytes behind a telegram mean that its sender no longer waits, and an
//! answer would be taken for that of the next one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::time::Clock;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Completeness, Ending, Event, Form, Place};
use crate::config::{Answer, Hold, LineConfig};

mod speech;

use speech::{Ends, Heard, Task};

/// Lines that are open at once: more than a store has tills.
pub(super) const LINES_MAX: usize = 32;

/// Feeds that are remembered: each till by its address, several times over.
const FEEDS_MAX: usize = 64;

/// Chunks that wait for the disk, of all lines together.
const HEARD_MAX: usize = 4;

/// Bytes that wait to be written to a till: answers of one byte each.
const ANSWERS_MAX: usize = 8;

/// How often it is told that all is read.
const IDLE_PAUSE: Duration = Duration::from_secs(1);

const ACK: u8 = 0x06;
const DLE: u8 = 0x10;
const NAK: u8 = 0x15;

/// How lines behave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habits {
    pub(super) line: LineConfig,
    /// Silence after which a line is closed.
    pub(super) silence: Duration,
    pub(super) memory: Memory,
    pub(super) clock: Clock,
}

/// What a line's end means to its feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    /// The feed ends too.
    Line,
    /// The feed goes on with the next line of the same peer, and nobody calls us but to speak.
    Peer,
}

/// All lines of a source.
pub(super) struct Lines {
    habits: Habits,
    heard_tx: mpsc::Sender<(u64, Heard)>,
    heard: mpsc::Receiver<(u64, Heard)>,
    lines: BTreeMap<u64, Line>,
    next_line: u64,
    feeds: BTreeMap<String, Feed>,
    events: VecDeque<Event>,
    present: String,
    next_idle: Instant,
    unreached: Option<(String, std::io::Error)>,
}

struct Line {
    feed: String,
    /// Whether it is there: safe lines are not at once.
    is_reached: bool,
    /// Absent where nothing can be answered.
    out: Option<mpsc::Sender<u8>>,
    /// Bytes that were read, handed on, and spoken for by an answer.
    received: Arc<AtomicU64>,
    delivered: u64,
    answered: u64,
    /// Reads as long as it is kept.
    reader: Option<Task>,
}

#[derive(Default)]
struct Feed {
    open: bool,
    /// Offset of the first byte of `pending`.
    base: u64,
    /// What is to be known of the bytes before it.
    memory: u64,
    /// Bytes that make no unit yet; kept only where telegrams are answered.
    pending: Vec<u8>,
    line: Option<u64>,
    /// When its silence is to be told, where no reader tells it.
    quiet_at: Option<Instant>,
    last: Option<Instant>,
}

/// Where a feed stands whose telegrams are answered.
#[derive(Serialize, Deserialize)]
struct Mark {
    offset: u64,
    #[serde(default, skip_serializing_if = "is_nothing")]
    memory: u64,
    pending: Vec<u8>,
}

fn is_nothing(memory: &u64) -> bool {
    *memory == 0
}

impl Lines {
    /// Knows no line yet, and what the marks say of feeds.
    pub(super) fn new(habits: Habits, marks: Vec<(String, String)>) -> Self {
        let (heard_tx, heard) = mpsc::channel(HEARD_MAX);
        let known = |(name, mark): (String, String)| {
            // A mark that cannot be read costs a receipt that was under way; its lines come without
            // their beginning and are set aside.
            let Mark { offset, memory, pending } = serde_json::from_str(&mark).ok()?;
            Some((name, Feed { base: offset, memory, pending, ..Feed::default() }))
        };
        Self {
            habits,
            heard_tx,
            heard,
            lines: BTreeMap::new(),
            next_line: 0,
            feeds: marks.into_iter().filter_map(known).collect(),
            events: VecDeque::new(),
            present: String::new(),
            next_idle: Instant::now() + IDLE_PAUSE,
            unreached: None,
        }
    }

    /// Takes out why a line could not be had, and whose it was.
    pub(super) fn take_unreached(&mut self) -> Option<(String, std::io::Error)> {
        self.unreached.take()
    }

    /// Tells whether events wait that [`Self::next`] returns at once.
    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Returns how many lines are open.
    pub(super) fn count(&self) -> usize {
        self.lines.len()
    }

    /// Tells whether the first feed of a peer has a line.
    pub(super) fn speaks(&self, peer: &str) -> bool {
        self.feeds.get(peer).is_some_and(|feed| feed.line.is_some())
    }

    /// Begins a line whose stream is there once `connecting` has ended.
    pub(super) fn open<S>(
        &mut self,
        peer: &str,
        connecting: impl Future<Output = std::io::Result<S>> + Send + 'static,
    ) where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let id = self.next_line;
        self.next_line += 1;
        let (out, answers) = mpsc::channel(ANSWERS_MAX);
        let received = Arc::new(AtomicU64::new(0));
        let ends = Ends {
            line: id,
            heard: self.heard_tx.clone(),
            received: Arc::clone(&received),
            greet: (self.habits.line.answer == Answer::Dust3964r).then(|| out.clone()),
            answers,
            quiet: self.habits.line.quiet,
            silence: self.habits.silence,
        };
        let reader = Some(speech::start(connecting, ends));
        let out = (self.habits.line.answer != Answer::None).then_some(out);
        self.begin(id, peer, Line { out, reader, ..Line::new(received) });
    }

    /// Begins a line that somebody else reads.
    pub(super) fn adopt(&mut self, peer: &str) -> u64 {
        let id = self.next_line;
        self.next_line += 1;
        self.begin(id, peer, Line { is_reached: true, ..Line::new(Arc::default()) });
        id
    }

    /// Takes the next bytes of an adopted line.
    pub(super) fn hear(&mut self, line: u64, bytes: Vec<u8>) {
        if let Some(line) = self.lines.get(&line) {
            line.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        self.on(line, Heard::Bytes(bytes));
    }

    /// Ends an adopted line.
    pub(super) fn hang_up(&mut self, line: u64) {
        self.on(line, Heard::Closed(None));
    }

    /// Ends all feeds because bytes of them are lost.
    pub(super) fn break_off(&mut self, why: &str) {
        self.lines.clear();
        for (name, feed) in std::mem::take(&mut self.feeds) {
            if feed.open {
                self.events.push_back(Event::Resume { feed: name });
                self.events.push_back(Event::End(Ending::Damaged(why.to_owned())));
            }
        }
    }

    /// Waits for what comes next; may be dropped while it waits.
    pub(super) async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.events.pop_front() {
                if let Event::Begin { feed, .. } | Event::Resume { feed } = &event {
                    self.present.clone_from(feed);
                }
                return event;
            }
            let quiet = self.feeds.values().filter_map(|feed| feed.quiet_at).min();
            let wake = quiet.map_or(self.next_idle, |quiet| quiet.min(self.next_idle));
            tokio::select! {
                // What was said before a silence must not be taken for what follows it.
                biased;
                // The channel never ends: a sender is kept here.
                Some((line, heard)) = self.heard.recv() => self.on(line, heard),
                () = tokio::time::sleep_until(wake) => self.tick(),
            }
        }
    }

    /// Returns the mark of the present feed that is taken in up to a place.
    pub(super) fn mark(&mut self, place: Place, _: Completeness) -> Option<String> {
        if self.habits.line.answer == Answer::None {
            return None;
        }
        let feed = self.feeds.get_mut(&self.present)?;
        let Place { offset, memory } = place;
        assert!(offset >= feed.base, "a feed is taken in forwards");
        let taken = usize::try_from(offset - feed.base).expect("pending bytes fit memory");
        feed.pending.drain(..taken);
        (feed.base, feed.memory) = (offset, memory);
        let mark = Mark { offset, memory, pending: feed.pending.clone() };
        Some(serde_json::to_string(&mark).expect("a mark is numbers"))
    }

    /// Answers the last telegram of the present line, which is on disk.
    pub(super) fn answer(&mut self, form: Form) {
        let byte = match (self.habits.line.answer, form) {
            (Answer::None, _) => return,
            (Answer::AckNak | Answer::Dust3964r, Form::Garbled) => NAK,
            (Answer::AckNak, Form::Sound) => ACK,
            (Answer::Dust3964r, Form::Sound) => DLE,
        };
        let Some(line) = self.present_line() else { return };
        let received = line.received.load(Ordering::Acquire);
        if received == line.delivered && line.delivered > line.answered {
            line.say(byte, received);
        }
    }

    /// Tells the present line's till that the disk takes nothing, where it is to hear that.
    pub(super) fn held_back(&mut self) {
        if self.habits.line.hold == Hold::Silent {
            return;
        }
        let Some(line) = self.present_line() else { return };
        let received = line.received.load(Ordering::Acquire);
        if received > line.answered {
            line.say(NAK, received);
        }
    }

    fn present_line(&mut self) -> Option<&mut Line> {
        let id = self.feeds.get(&self.present)?.line?;
        self.lines.get_mut(&id)
    }

    fn begin(&mut self, id: u64, peer: &str, line: Line) {
        self.forget();
        let name = self.free_name(peer);
        let feed = self.feeds.entry(name.clone()).or_default();
        (feed.line, feed.quiet_at, feed.last) = (Some(id), None, Some(Instant::now()));
        if feed.open {
            self.events.push_back(Event::Resume { feed: name.clone() });
        } else {
            feed.open = true;
            let place = Place { offset: feed.base, memory: feed.memory };
            self.events.push_back(Event::Begin { feed: name.clone(), place });
            if !feed.pending.is_empty() {
                self.events.push_back(Event::Bytes(feed.pending.clone()));
                self.events.push_back(Event::Quiet);
            }
        }
        self.lines.insert(id, Line { feed: name, ..line });
    }

    /// Names the feed of a further line: a peer that has several at once has several feeds.
    fn free_name(&self, peer: &str) -> String {
        let taken = |name: &str| self.feeds.get(name).is_some_and(|feed| feed.line.is_some());
        let mut name = peer.to_owned();
        let mut count = 1;
        while taken(&name) {
            count += 1;
            name = format!("{peer}#{count}");
        }
        name
    }

    /// Forgets the feed that was spoken of longest ago, where there are too many.
    fn forget(&mut self) {
        if self.feeds.len() < FEEDS_MAX {
            return;
        }
        let unused = self.feeds.iter().filter(|(_, feed)| feed.line.is_none());
        let Some(name) = unused.min_by_key(|(_, feed)| feed.last).map(|(name, _)| name.clone())
        else {
            return;
        };
        if self.feeds.remove(&name).is_some_and(|feed| feed.open) {
            self.events.push_back(Event::Resume { feed: name });
            self.events.push_back(Event::End(Ending::Finished));
        }
    }

    fn on(&mut self, id: u64, heard: Heard) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        let name = line.feed.clone();
        let feed = self.feeds.get_mut(&name).expect("a line has a feed");
        self.events.push_back(Event::Resume { feed: name.clone() });
        let now = Instant::now();
        feed.last = Some(now);
        match heard {
            Heard::Bytes(bytes) => {
                line.delivered += bytes.len() as u64;
                feed.quiet_at = line.reader.is_none().then(|| now + self.habits.line.quiet);
                if self.habits.line.answer != Answer::None {
                    feed.pending.extend_from_slice(&bytes);
                }
                self.events.push_back(Event::Bytes(bytes));
            }
            Heard::Quiet => self.events.push_back(Event::Quiet),
            Heard::Reached => line.is_reached = true,
            Heard::Unreached(why) => {
                feed.line = None;
                self.lines.remove(&id);
                self.closed(&name, now);
                self.unreached = Some((name, why));
            }
            Heard::Closed(why) => {
                if let Some(why) = why {
                    tracing::info!(feed = %name, %why, "a line has ended");
                }
                feed.line = None;
                self.lines.remove(&id);
                self.closed(&name, now);
            }
        }
    }

    fn closed(&mut self, name: &str, now: Instant) {
        let feed = self.feeds.get_mut(name).expect("a line has a feed");
        let ending = match (self.habits.memory, self.habits.line.answer) {
            (Memory::Peer, _) => {
                feed.quiet_at = Some(now + self.habits.line.quiet);
                return;
            }
            (Memory::Line, Answer::None) => {
                // Nothing of it can come again.
                self.feeds.remove(name);
                Ending::Finished
            }
            // Telegrams of its receipt are acknowledged; the rest comes by the next line.
            (Memory::Line, Answer::AckNak | Answer::Dust3964r) => {
                feed.open = false;
                Ending::Open
            }
        };
        self.events.push_back(Event::End(ending));
    }

    fn tick(&mut self) {
        let now = Instant::now();
        for (name, feed) in &mut self.feeds {
            if feed.open && feed.quiet_at.is_some_and(|at| at <= now) {
                feed.quiet_at = None;
                self.events.push_back(Event::Resume { feed: name.clone() });
                self.events.push_back(Event::Quiet);
            }
        }
        if now >= self.next_idle {
            self.next_idle = now + IDLE_PAUSE;
            if self.is_read_to_its_end() {
                self.events.push_back(Event::Idle(self.habits.clock.now()));
            }
        }
    }

    /// Tells whether nothing can be under way. A till that is not connected may keep receipts for
    /// us; one that calls for every receipt has none where it does not call.
    fn is_read_to_its_end(&self) -> bool {
        let read = |line: &Line| line.received.load(Ordering::Acquire) == line.delivered;
        let reached = match self.habits.memory {
            Memory::Line => self.lines.values().any(|line| line.is_reached),
            Memory::Peer => true,
        };
        reached && self.lines.values().all(read)
    }
}

impl Line {
    /// Makes a line that nobody reads or answers yet.
    fn new(received: Arc<AtomicU64>) -> Self {
        let (feed, is_reached) = (String::new(), false);
        Self { feed, is_reached, out: None, received, delivered: 0, answered: 0, reader: None }
    }

    /// Writes an answer to all that was received so far.
    fn say(&mut self, byte: u8, received: u64) {
        let Some(out) = &self.out else { return };
        self.answered = received;
        if out.try_send(byte).is_err() {
            tracing::warn!(feed = %self.feed, "a till does not take its answer");
        }
    }
}
