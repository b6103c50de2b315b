//! What the chain knows of a store: since when it is open, its state at each minute, its one active
//! stream, and the breaker that sets its records aside after too many bad ones. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use shared::ids::StreamId;
use shared::time::{Minute, Timestamp};

/// Verdicts that a breaker remembers.
pub const BREAKER_VERDICTS: u32 = 50;
/// Bad ones among them that open it.
pub const BREAKER_BAD_MAX: u32 = 20;

/// Whether a store may deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreState {
    /// It is known and does not deliver yet.
    Planned,
    /// It delivers.
    Open,
    /// It is closed for a while.
    Paused,
    /// It is closed for good.
    Closed,
}

impl StoreState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Planned, Self::Open, Self::Paused, Self::Closed];

    /// Returns the word that names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Open => "open",
            Self::Paused => "paused",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for StoreState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for StoreState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|one| one.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is no state of a store"))
    }
}

/// What happens to a store that nobody has named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnknownStores {
    /// Its records are set aside.
    #[default]
    Refuse,
    /// Its first good record adds it, open since ever.
    Add,
}

/// A store that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The minute of its opening.
    pub opened_at: Minute,
    /// Its state from a minute on.
    pub states: BTreeMap<Minute, StoreState>,
    /// The stream that counts; nothing before the first good record.
    pub active_stream: Option<StreamId>,
    /// Its breaker.
    pub breaker: Breaker,
}

impl Registered {
    /// Returns a store that was open as long as anybody can say.
    pub fn since_ever() -> Self {
        let ever = Timestamp::from_unix_millis(0).expect("1970 is a time").minute();
        Self {
            opened_at: ever,
            states: BTreeMap::from([(ever, StoreState::Open)]),
            active_stream: None,
            breaker: Breaker::default(),
        }
    }

    /// Returns the state at a minute.
    pub fn state_at(&self, minute: Minute) -> StoreState {
        self.states.range(..=minute).next_back().map_or(StoreState::Planned, |(_, state)| *state)
    }
}

/// The last verdicts on a store's records, and whether there were too many bad ones. An open one
/// stays open until a person closes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Breaker {
    recent: u64,
    open: bool,
}

/// What a verdict says of the store's agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It can be counted.
    Good,
    /// It cannot.
    Bad,
}

impl Breaker {
    /// Returns a closed breaker with its memory: the newest verdict in the lowest bit.
    pub fn closed(recent: u64) -> Self {
        Self { recent: recent & Self::MASK, open: false }
    }

    /// Returns an open breaker with its memory.
    pub fn opened(recent: u64) -> Self {
        Self { open: true, ..Self::closed(recent) }
    }

    const MASK: u64 = (1 << BREAKER_VERDICTS) - 1;

    /// Returns the last verdicts, the newest in the lowest bit; a bad one is 1.
    pub fn recent(self) -> u64 {
        self.recent
    }

    /// Returns true while the store's records are set aside.
    pub fn is_open(self) -> bool {
        self.open
    }

    /// Returns the bad ones among the last verdicts.
    pub fn bad(self) -> u32 {
        self.recent.count_ones()
    }

    /// Notes a verdict; an open breaker remembers why it opened and learns nothing more.
    pub fn note(&mut self, mark: Mark) {
        if !self.open {
            self.recent = (self.recent << 1 | u64::from(mark == Mark::Bad)) & Self::MASK;
            self.open = self.bad() >= BREAKER_BAD_MAX;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(text: &str) -> Minute {
        text.parse::<Timestamp>().unwrap().minute()
    }

    #[test]
    fn a_store_has_the_state_of_the_last_change_before() {
        let mut store = Registered::since_ever();
        assert_eq!(store.state_at(minute("1999-01-01T00:00:00Z")), StoreState::Open);
        let [paused, open] = ["2026-11-23T09:40:00Z", "2026-11-23T09:50:00Z"].map(minute);
        store.states.extend([(paused, StoreState::Paused), (open, StoreState::Open)]);
        for (at, state) in [
            ("2026-11-23T09:39:00Z", StoreState::Open),
            ("2026-11-23T09:40:00Z", StoreState::Paused),
            ("2026-11-23T09:49:00Z", StoreState::Paused),
            ("2026-11-23T09:50:00Z", StoreState::Open),
        ] {
            assert_eq!(store.state_at(minute(at)), state, "{at}");
        }
        store.states.clear();
        assert_eq!(store.state_at(open), StoreState::Planned);
    }

    #[test]
    fn twenty_bad_of_the_last_fifty_open_the_breaker_and_nothing_closes_it() {
        let mut breaker = Breaker::default();
        // Every third is bad: at most 17 of any 50.
        for n in 0..1_000 {
            breaker.note(if n % 3 == 0 { Mark::Bad } else { Mark::Good });
        }
        assert!(!breaker.is_open());
        let mut steady = Breaker::default();
        (0..19).for_each(|_| steady.note(Mark::Bad));
        assert!(!steady.is_open());
        // The nineteen leave the memory one by one.
        (0..31).for_each(|_| steady.note(Mark::Good));
        steady.note(Mark::Good);
        assert_eq!(steady.bad(), 18);
        steady.note(Mark::Bad);
        assert!(!steady.is_open());
        let mut tripped = Breaker::default();
        (0..20).for_each(|_| tripped.note(Mark::Bad));
        assert!(tripped.is_open());
        (0..100).for_each(|_| tripped.note(Mark::Good));
        assert!(tripped.is_open());
        assert_eq!((tripped.bad(), Breaker::opened(tripped.recent())), (20, tripped));
    }

    #[test]
    fn states_are_read_as_they_are_written() {
        for state in StoreState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert!("gone".parse::<StoreState>().is_err());
    }
}
