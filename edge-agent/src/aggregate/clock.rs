//! Can our own clock be believed? Pure. A box without a battery boots in 1970, one that has only just
//! been switched on stands where it was switched off, and any of them may jump when the time comes.
//! Where there is doubt, tills' times are taken as they are and nothing is promised by ours.

use std::fmt;
use std::time::Duration;

use shared::time::Timestamp;

use super::open::Now;

/// How far the clock may fall back and still be believed: what a time server mends in passing.
const BACK_MOST: Duration = Duration::from_secs(60);

/// How long a clock must have stood behind until it is believed again, where nobody says that it is
/// in step: then it was wrong before.
const BELIEVED_AFTER: Duration = Duration::from_secs(86_400);

/// Why our own clock is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// It stands before this program was built.
    BeforeBuild {
        /// What it shows.
        shows: Timestamp,
    },
    /// The system says that it is not in step.
    NotInStep,
    /// It has fallen back.
    FellBack {
        /// What it shows.
        shows: Timestamp,
        /// What it has shown before.
        before: Timestamp,
    },
}

impl Doubt {
    /// Tells whether the time is known at least roughly: what is noted by it can be forgotten by it.
    pub fn knows_time(self) -> bool {
        match self {
            Self::BeforeBuild { .. } => false,
            Self::NotInStep | Self::FellBack { .. } => true,
        }
    }

    /// Tells whether it may be said by the clock how far the store is delivered.
    pub fn may_promise(self) -> bool {
        match self {
            Self::NotInStep => true,
            Self::BeforeBuild { .. } | Self::FellBack { .. } => false,
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeforeBuild { shows } => {
                write!(out, "the clock shows {shows}, before this program was built")
            }
            Self::NotInStep => out.write_str("the clock is not in step with a time server"),
            Self::FellBack { shows, before } => {
                write!(out, "the clock shows {shows}, it has shown {before} before")
            }
        }
    }
}

/// What the system says of its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It follows a time server.
    In,
    /// It does not, though it should.
    Out,
    /// Nobody knows.
    Unknown,
}

/// Watches the clock.
#[derive(Debug)]
pub struct Watch {
    /// No time before this one can be.
    least: Option<Timestamp>,
    /// The latest time that was believed.
    latest: Option<Timestamp>,
    /// Since when it stands behind that.
    behind_since: Option<Duration>,
}

impl Watch {
    /// Begins; `least` is when the program was built, `latest` what the clock is known to have shown.
    pub fn new(least: Option<Timestamp>, latest: Option<Timestamp>) -> Self {
        Self { least, latest, behind_since: None }
    }

    /// Judges the clock by what it shows now.
    pub fn judge(&mut self, now: Now, step: Step) -> Option<Doubt> {
        let shows = now.wall;
        if self.least.is_some_and(|least| shows < least) {
            return Some(Doubt::BeforeBuild { shows });
        }
        if let Some(before) = self.fallen_from(now, step) {
            return Some(Doubt::FellBack { shows, before });
        }
        self.behind_since = None;
        if step == Step::Out {
            return Some(Doubt::NotInStep);
        }
        self.latest = match step {
            Step::In => Some(shows),
            Step::Out | Step::Unknown => self.latest.max(Some(shows)),
        };
        None
    }

    /// Returns what the clock has shown, where it has fallen back from there and may be wrong now.
    fn fallen_from(&mut self, now: Now, step: Step) -> Option<Timestamp> {
        let before = self.latest.filter(|latest| latest.since(now.wall) > BACK_MOST)?;
        let since = *self.behind_since.get_or_insert(now.steady);
        if step == Step::In || now.steady.saturating_sub(since) >= BELIEVED_AFTER {
            self.latest = None;
            return None;
        }
        Some(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn now(wall: &str, steady: u64) -> Now {
        Now { wall: at(wall), steady: Duration::from_secs(steady) }
    }

    #[test]
    fn a_box_that_boots_in_1970_is_believed_when_the_time_has_come() {
        let mut watch = Watch::new(Some(at("2026-10-01T00:00:00Z")), None);
        let doubt = watch.judge(now("1970-01-01T00:00:40Z", 40), Step::Unknown).unwrap();
        assert!(!doubt.knows_time() && !doubt.may_promise());
        let words = "the clock shows 1970-01-01T00:00:40Z, before this program was built";
        assert_eq!(doubt.to_string(), words);
        assert_eq!(watch.judge(now("2026-11-23T09:41:00Z", 50), Step::Unknown), None);
    }

    #[test]
    fn a_clock_that_fell_back_is_doubted_until_a_server_or_a_day_says_otherwise() {
        let later = at("2026-11-24T10:00:00Z");
        let mut watch = Watch::new(None, Some(later));
        assert_eq!(watch.judge(now("2026-11-24T09:59:30Z", 0), Step::Unknown), None);
        let shows = at("2026-11-23T10:00:00Z");
        let fell = Some(Doubt::FellBack { shows, before: later });
        assert_eq!(watch.judge(now("2026-11-23T10:00:00Z", 30), Step::Unknown), fell);
        assert_eq!(watch.judge(now("2026-11-24T10:00:29Z", 86_429), Step::Unknown), None);
        assert_ne!(watch.judge(now("2026-11-23T10:00:00Z", 86_430), Step::Unknown), None);
        assert_ne!(watch.judge(now("2026-11-23T10:00:00Z", 172_829), Step::Unknown), None);
        assert_eq!(watch.judge(now("2026-11-23T10:00:01Z", 172_830), Step::Unknown), None);
        let mut watch = Watch::new(None, Some(later));
        assert_eq!(watch.judge(now("2026-11-23T10:00:00Z", 0), Step::In), None);
        assert_eq!(watch.judge(now("2026-11-23T10:00:01Z", 1), Step::Unknown), None);
    }

    #[test]
    fn a_clock_out_of_step_moves_nothing_but_may_promise() {
        let mut watch = Watch::new(None, None);
        let doubt = watch.judge(now("2026-11-23T10:00:00Z", 0), Step::Out).unwrap();
        assert!(doubt.knows_time() && doubt.may_promise());
    }
}
