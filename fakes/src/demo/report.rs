//! The demo's last page: what was issued and what arrived where, as a table and as `report.json`.

use std::fmt::Write as _;

use serde::Serialize;

use super::measure::{Delays, Memory};

/// Sums at one place of the path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Sums {
    pub(crate) receipts: i64,
    pub(crate) lines: i64,
    pub(crate) cents: i64,
}

impl std::fmt::Display for Sums {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let amount = shared::money::Cents(self.cents);
        write!(out, "{} receipts, {} lines, {amount}", self.receipts, self.lines)
    }
}

/// All figures of a demo.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) verdict: &'static str,
    pub(crate) simulated_minutes: u32,
    pub(crate) speed: u32,
    /// The places in the data's way: issued, edge, Kafka, Postgres, lake.
    pub(crate) places: Vec<(&'static str, Sums)>,
    /// Second copies of receipts that the agents refused.
    pub(crate) duplicate_receipts: i64,
    /// Records that the centre had stored before.
    pub(crate) duplicate_records: i64,
    /// Batches that add to a minute that was shipped before.
    pub(crate) supplements: i64,
    /// Units that the agents set aside.
    pub(crate) quarantined: i64,
    /// Records that the centre refused.
    pub(crate) dead_letters: i64,
    pub(crate) agent_memory: Memory,
    pub(crate) agent_bytes: u64,
    /// Seconds from a minute's end plus grace to its row, outside the faults.
    pub(crate) undisturbed: Delays,
    /// The same over all original batches, outages included.
    pub(crate) all: Delays,
    /// The first differences, or what kept them from being looked for.
    pub(crate) differences: Vec<String>,
}

/// The exact verdict as the last line begins.
pub(crate) const EXACT: &str = "EXACT";
/// The other one.
pub(crate) const NOT_EXACT: &str = "NOT EXACT";

impl Report {
    /// Returns the page for people.
    pub(crate) fn page(&self) -> String {
        let mut page = String::from("\n              receipts       lines           amount\n");
        for (place, sums) in &self.places {
            let amount = shared::money::Cents(sums.cents).to_string();
            let (receipts, lines) = (sums.receipts, sums.lines);
            line(&mut page, format_args!("  {place:<9} {receipts:>10}  {lines:>10}  {amount:>15}"));
        }
        line(&mut page, format_args!(""));
        let (records, supplements) = (self.duplicate_records, self.supplements);
        line(
            &mut page,
            format_args!(
                "  refused as duplicates: {} receipts by the agents, {records} records by the centre; {supplements} supplements",
                self.duplicate_receipts
            ),
        );
        let (quarantined, letters) = (self.quarantined, self.dead_letters);
        line(
            &mut page,
            format_args!("  set aside: {quarantined} by the agents, {letters} by the centre"),
        );
        let (memory, mib) = (self.agent_memory, |kib: u64| tenths(kib * 10 / 1024));
        line(
            &mut page,
            format_args!(
                "  agent: RSS {} MiB (aim 20), RssAnon {} MiB (aim 8), program {} MB",
                mib(memory.rss_kib),
                mib(memory.rss_anon_kib),
                tenths(self.agent_bytes / 100_000)
            ),
        );
        self.delay_lines(&mut page);
        for difference in &self.differences {
            line(&mut page, format_args!("  {difference}"));
        }
        page
    }

    fn delay_lines(&self, page: &mut String) {
        for (what, delays) in
            [("outside the faults", self.undisturbed), ("outages included", self.all)]
        {
            let seconds = |millis: u64| tenths(millis / 100);
            line(
                page,
                format_args!(
                    "  minute's end + grace to Postgres, {what}: p50 {} s, p99 {} s ({} batches)",
                    seconds(delays.p50_ms),
                    seconds(delays.p99_ms),
                    delays.batches
                ),
            );
        }
    }

    /// Returns the last line.
    pub(crate) fn last_line(&self) -> String {
        let issued = self.places.first().map(|(_, sums)| *sums).unwrap_or_default();
        let amount = shared::money::Cents(issued.cents);
        if self.verdict == EXACT {
            format!(
                "{EXACT}: {} receipts, {} lines, {amount} - issued, edge, Kafka, Postgres and lake agree to the cent",
                issued.receipts, issued.lines
            )
        } else {
            format!("{NOT_EXACT}: {} differences, the first ones above", self.differences.len())
        }
    }
}

fn tenths(tenths: u64) -> String {
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(page, "{text}").expect("a string takes every line");
}
