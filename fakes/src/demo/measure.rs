//! What the demo measures: the agents' memory, the programs' sizes, and the real seconds from a
//! minute's end plus grace to its row in Postgres.

use std::path::Path;

use serde::Serialize;
use shared::time::{Simulation, Timestamp};

/// Memory of a process in KiB, as the kernel tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    /// Resident set.
    pub(crate) rss_kib: u64,
    /// The part of it that is no file.
    pub(crate) rss_anon_kib: u64,
}

impl Memory {
    /// Reads a live process's memory.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        Some(Self { rss_kib: field(&status, "VmRSS:")?, rss_anon_kib: field(&status, "RssAnon:")? })
    }

    /// Returns the larger of each.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            rss_kib: self.rss_kib.max(other.rss_kib),
            rss_anon_kib: self.rss_anon_kib.max(other.rss_anon_kib),
        }
    }
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Returns a file's size in bytes.
pub(crate) fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map(|file| file.len()).unwrap_or(0)
}

/// A span of real time in which something was broken on purpose, with the time to get over it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Disturbance {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

/// One original batch as Postgres remembers it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged {
    /// End of its minute plus grace, simulated.
    pub(crate) due: Timestamp,
    /// When its row was written, real.
    pub(crate) judged_at: Timestamp,
}

/// Real seconds from a minute's end plus grace to its row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Delays {
    /// How many batches.
    pub(crate) batches: usize,
    /// Median in milliseconds.
    pub(crate) p50_ms: u64,
    /// 99th percentile in milliseconds.
    pub(crate) p99_ms: u64,
}

impl Delays {
    /// Takes the percentiles by nearest rank.
    fn of(mut millis: Vec<u64>) -> Self {
        millis.sort_unstable();
        let rank = |per_cent: usize| {
            let at = (millis.len() * per_cent).div_ceil(100).max(1) - 1;
            millis.get(at).copied().unwrap_or(0)
        };
        Self { batches: millis.len(), p50_ms: rank(50), p99_ms: rank(99) }
    }
}

/// Splits the delays into those of undisturbed batches and those of all.
pub(crate) fn delays(
    batches: &[Judged],
    simulation: Simulation,
    disturbances: &[Disturbance],
) -> (Delays, Delays) {
    let delay = |batch: &Judged| {
        let due = real_at(simulation, batch.due);
        (due, u64::try_from(batch.judged_at.since(due).as_millis()).unwrap_or(u64::MAX))
    };
    let all: Vec<(Timestamp, u64)> = batches.iter().map(delay).collect();
    let calm = |due: &Timestamp| !disturbances.iter().any(|d| *due >= d.from && *due <= d.to);
    let undisturbed = all.iter().filter(|(due, _)| calm(due)).map(|&(_, millis)| millis).collect();
    (Delays::of(undisturbed), Delays::of(all.into_iter().map(|(_, millis)| millis).collect()))
}

/// Returns the real instant of a simulated one.
fn real_at(simulation: Simulation, simulated: Timestamp) -> Timestamp {
    simulation.real_start.plus(simulated.since(simulation.sim_start) / simulation.speed.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn delays_are_real_and_disturbed_batches_stand_apart() {
        let simulation = Simulation {
            sim_start: at("2026-11-20T08:00:00Z"),
            real_start: at("2026-11-23T10:00:00Z"),
            speed: 30,
        };
        let calm =
            Judged { due: at("2026-11-20T08:01:00Z"), judged_at: at("2026-11-23T10:00:02.5Z") };
        let cut = Judged { due: at("2026-11-20T08:10:00Z"), judged_at: at("2026-11-23T10:00:50Z") };
        let broken =
            Disturbance { from: at("2026-11-23T10:00:10Z"), to: at("2026-11-23T10:00:45Z") };
        let (undisturbed, all) = delays(&[calm, cut], simulation, &[broken]);
        assert_eq!(undisturbed, Delays { batches: 1, p50_ms: 500, p99_ms: 500 });
        assert_eq!(all, Delays { batches: 2, p50_ms: 500, p99_ms: 30_000 });
    }

    #[test]
    fn the_kernel_tells_our_own_memory() {
        let memory = Memory::of(std::process::id()).unwrap();
        assert!(memory.rss_kib > memory.rss_anon_kib && memory.rss_anon_kib > 0);
    }
}
