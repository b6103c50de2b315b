//! What time it is, and whether that can be believed: the one place where the agent's parts ask.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared::time::{Clock, Timestamp};
use tokio::time::Instant;

use crate::aggregate::clock::{Doubt, Step, Watch};
use crate::aggregate::open::Now;
use crate::buffer;
use crate::built;
use crate::status;

/// How long what the system says of its clock is not asked again.
const ASK_PAUSE: Duration = Duration::from_secs(1);

/// The agent's clock and what is thought of it. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Timekeeper {
    clock: Clock,
    started: Instant,
    judged: Arc<Mutex<Judged>>,
}

#[derive(Debug)]
struct Judged {
    watch: Watch,
    step: Step,
    asked: Option<Instant>,
}

/// One look at the clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// What it shows, and how long the agent runs.
    pub(super) now: Now,
    /// Why it is not believed, where it is not.
    pub(super) doubt: Option<Doubt>,
}

impl Timekeeper {
    /// Starts; `latest` is what the clock is known to have shown. A simulated clock is always right.
    pub(super) fn start(clock: Clock, latest: Option<Timestamp>) -> Self {
        let least = Some(built::at()).filter(|_| !clock.is_simulated());
        let watch = Watch::new(least, latest.filter(|_| !clock.is_simulated()));
        let judged = Judged { watch, step: Step::Unknown, asked: None };
        Self { clock, started: Instant::now(), judged: Arc::new(Mutex::new(judged)) }
    }

    /// Looks at the clock.
    pub(super) fn read(&self) -> Reading {
        let steady = self.started.elapsed().saturating_mul(self.clock.speed());
        let now = Now { wall: self.clock.now(), steady };
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        if judged.asked.is_none_or(|asked| asked.elapsed() >= ASK_PAUSE) {
            judged.asked = Some(Instant::now());
            judged.step = if self.clock.is_simulated() { Step::In } else { step() };
        }
        let step = judged.step;
        let doubt = judged.watch.judge(now, step);
        Reading { now, doubt }
    }

    /// Returns the time that is noted with what happens now.
    pub(super) fn stamp(&self) -> Timestamp {
        self.read().stamp()
    }
}

impl Reading {
    /// Returns the time where it is believed.
    pub(super) fn believed(&self) -> Option<Timestamp> {
        self.doubt.is_none().then_some(self.now.wall)
    }

    /// Returns the time that is noted with what happens now; one that is not known is learnt later.
    pub(super) fn stamp(&self) -> Timestamp {
        if self.knows_time() { self.now.wall } else { buffer::time_unknown() }
    }

    /// Tells whether the time is known at least roughly.
    pub(super) fn knows_time(&self) -> bool {
        self.doubt.is_none_or(Doubt::knows_time)
    }

    /// Tells whether it may be said by the clock how far the store is delivered.
    pub(super) fn may_promise(&self) -> bool {
        self.doubt.is_none_or(Doubt::may_promise)
    }
}

fn step() -> Step {
    match status::clock_synchronised() {
        Some(true) => Step::In,
        Some(false) => Step::Out,
        None => Step::Unknown,
    }
}
