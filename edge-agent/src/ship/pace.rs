//! Lets so many bytes a second through, so that a backlog leaves the store's thin line to its card
//! payments. Pure: time is an argument.

use std::time::Duration;

/// What may go out, and when.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    bytes_per_second: Option<u64>,
    free_at: Duration,
}

impl Pace {
    /// Makes a pace; without a rate everything may go at once.
    pub(super) fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second, free_at: Duration::ZERO }
    }

    /// Tells how long the next batch must wait.
    pub(super) fn wait(&self, now: Duration) -> Duration {
        self.free_at.saturating_sub(now)
    }

    /// Notes that so many bytes go out now. They went at once; what follows pays for them.
    pub(super) fn spend(&mut self, bytes: usize, now: Duration) {
        let Some(rate) = self.bytes_per_second else { return };
        let nanos = u128::from(bytes as u64) * 1_000_000_000 / u128::from(rate.max(1));
        let span = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.free_at = self.free_at.max(now).saturating_add(span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_goes_at_its_pace_and_a_live_batch_at_once() {
        let mut pace = Pace::new(Some(20_000));
        let mut now = Duration::ZERO;
        for _ in 0..100 {
            now += pace.wait(now);
            pace.spend(10_000, now);
        }
        // A hundred batches of ten kilobytes: the last one may go after 49.5 seconds.
        assert_eq!(now, Duration::from_millis(49_500));
        now += Duration::from_secs(60);
        assert_eq!(pace.wait(now), Duration::ZERO);
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let mut pace = Pace::new(None);
        pace.spend(usize::MAX, Duration::ZERO);
        assert_eq!(pace.wait(Duration::ZERO), Duration::ZERO);
    }
}
