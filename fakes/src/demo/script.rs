//! What goes wrong in the demo and when. Pure: times are shares of the simulated span, so that a
//! short demo has every fault of a long one.

use std::time::Duration;

/// Real seconds that a demo lasts at least: servers need a few of them to die and return.
const REAL_SECONDS_LEAST: u64 = 75;
/// Real seconds that a simulated hour takes at most.
const REAL_SECONDS_PER_HOUR: u64 = 120;

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    CutLine,
    HealLine,
    StopBroker,
    StartBroker,
    KillAgent,
    StartAgent,
    StopPostgres,
    StartPostgres,
    KillCentre,
    StartCentre,
    ResendFile,
}

impl Fault {
    /// Says in one line what happens.
    pub(crate) fn says(self) -> &'static str {
        match self {
            Self::CutLine => "the line from the stores to the broker is cut",
            Self::HealLine => "the line to the broker is back",
            Self::StopBroker => "the broker goes down for a restart",
            Self::StartBroker => "the broker is up again",
            Self::KillAgent => "an agent dies by kill -9",
            Self::StartAgent => "the agent returns",
            Self::StopPostgres => "Postgres is stopped",
            Self::StartPostgres => "Postgres is started",
            Self::KillCentre => "the centre dies by kill -9",
            Self::StartCentre => "the centre returns",
            Self::ResendFile => "a till's file is resent whole under another name",
        }
    }
}

/// How long the demo plays, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Length {
    /// Simulated minutes.
    pub(crate) minutes: u32,
    /// Simulated seconds per real second.
    pub(crate) speed: u32,
}

impl Length {
    /// Chooses the speed for a span.
    pub(crate) fn of(minutes: u32) -> Self {
        let simulated = u64::from(minutes) * 60;
        let real = (simulated * REAL_SECONDS_PER_HOUR / 3600).max(REAL_SECONDS_LEAST);
        let speed = u32::try_from(simulated.div_ceil(real)).unwrap_or(u32::MAX);
        Self { minutes, speed: speed.max(1) }
    }

    /// Returns the simulated span.
    pub(crate) fn span(self) -> Duration {
        Duration::from_secs(u64::from(self.minutes) * 60)
    }
}

/// Returns what happens, with its simulated time after the start, in order.
pub(crate) fn script(length: Length) -> Vec<(Duration, Fault)> {
    const PER_MILLE: [(u32, Fault); 11] = [
        (80, Fault::CutLine),
        (247, Fault::HealLine),
        (300, Fault::StopBroker),
        (340, Fault::StartBroker),
        (430, Fault::KillAgent),
        (480, Fault::StartAgent),
        (550, Fault::StopPostgres),
        (630, Fault::StartPostgres),
        (700, Fault::KillCentre),
        (760, Fault::StartCentre),
        (850, Fault::ResendFile),
    ];
    PER_MILLE.iter().map(|&(share, fault)| (length.span() * share / 1000, fault)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_takes_two_minutes_and_the_line_is_cut_for_ten() {
        let length = Length::of(60);
        assert_eq!(length, Length { minutes: 60, speed: 30 });
        let script = script(length);
        let cut = script[1].0 - script[0].0;
        assert!(cut >= Duration::from_secs(600) && cut < Duration::from_secs(610), "{cut:?}");
    }

    #[test]
    fn every_fault_happens_in_order_in_a_short_demo_too() {
        let length = Length::of(10);
        let script = script(length);
        assert!(script.is_sorted_by_key(|&(at, _)| at));
        assert!(script.last().is_some_and(|&(at, _)| at < length.span()));
        let real: Vec<u128> = script
            .windows(2)
            .map(|pair| ((pair[1].0 - pair[0].0) / length.speed).as_millis())
            .collect();
        assert!(
            real.iter().all(|&millis| millis >= 2_000),
            "a server needs time to stop: {real:?}"
        );
    }
}
