//! The day before the one on which the program was built: no right clock says less. It judges a clock, it never sets one.

use shared::time::Timestamp;

/// Returns that day, or the beginning of time where that is not known.
pub(crate) fn at() -> Timestamp {
    let seconds: Option<i64> = env!("EDGE_AGENT_BUILT").parse().ok();
    let millis = seconds.and_then(|seconds| seconds.checked_mul(1000));
    millis
        .and_then(Timestamp::from_unix_millis)
        .or_else(|| Timestamp::from_unix_millis(0))
        .expect("the beginning of time is a time")
}

/// Returns what is wrong with a clock that says `now`, where that can be told.
pub(crate) fn clock_fault(now: Timestamp) -> Option<String> {
    let built = at();
    (now < built).then(|| {
        format!("the clock of this machine says {now}, but this program was built at {built}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_knows_when_it_was_built() {
        assert!(at() < shared::time::Clock::real().now());
        assert!(at() > "2025-01-01T00:00:00Z".parse().unwrap());
    }

    #[test]
    fn a_clock_before_the_program_was_built_is_named() {
        let past: Timestamp = "1970-01-01T00:00:07Z".parse().unwrap();
        let fault = clock_fault(past).unwrap();
        assert!(
            fault.starts_with("the clock of this machine says 1970-01-01T00:00:07Z"),
            "{fault}"
        );
        assert_eq!(clock_fault(shared::time::Clock::real().now()), None);
    }
}
