//! When to try again. Pure: the caller sleeps.

use std::time::Duration;

/// Waiting times that double up to a limit, each spread over its upper half so that a thousand
/// stores do not return in the same second.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    tries: u32,
    seed: u64,
}

impl Backoff {
    /// Makes a backoff; `seed` should differ from process to process.
    pub fn new(first: Duration, most: Duration, seed: u64) -> Self {
        assert!(first > Duration::ZERO && first <= most, "a backoff grows from a positive start");
        Self { first, most, tries: 0, seed }
    }

    /// Returns how long to wait before the next try.
    pub fn next_wait(&mut self) -> Duration {
        let full = self.first.saturating_mul(1 << self.tries.min(30)).min(self.most);
        self.tries = self.tries.saturating_add(1);
        // Steele and others, SplitMix64 (OOPSLA 2014): one step is enough to spread callers.
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let per_mille = u32::try_from((mixed >> 31) % 501).unwrap_or(0);
        full / 2 + full / 1000 * per_mille
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_start_over() {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut backoff = Backoff::new(first, most, 7);
        let mut full = first;
        for _ in 0..40 {
            let wait = backoff.next_wait();
            assert!(wait >= full / 2 && wait <= full, "{wait:?} of {full:?}");
            full = (full * 2).min(most);
        }
        backoff.reset();
        assert!(backoff.next_wait() <= first);
    }

    #[test]
    fn two_callers_do_not_wait_alike() {
        let waits =
            |seed| Backoff::new(Duration::from_secs(1), Duration::from_secs(1), seed).next_wait();
        assert_ne!(waits(1), waits(2));
    }
}
