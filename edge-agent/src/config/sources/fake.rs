//! The keys of a source of kind `fake`: a shop that is not there, for development and for trying out an
//! installation. Its format is `jsonl`. Where time is not simulated its receipts would reach the chain
//! as if they were sold, so they must be named for what they are. Never configure it where a real till is.
//!
//! ```toml
//! invented = true                    # required unless clock_file is set: nobody rang these receipts up
//! seed = 1                           # the same seed rings up the same receipts
//! tills = 3
//! receipts_per_minute = 5
//! ```

use crate::config::Section;

/// A shop that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FakeConfig {
    /// What decides its receipts.
    pub seed: u64,
    /// Registers.
    pub tills: u64,
    /// Receipts that all of them ring up in a minute.
    pub receipts_per_minute: u64,
}

/// Which time it is where the shop stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Time {
    /// That of everybody.
    Real,
    /// That of a simulation, in which nothing is sold.
    Simulated,
}

pub(super) fn read(section: &mut Section, time: Time) -> Option<FakeConfig> {
    let invented = section.flag("invented");
    if invented != Some(true) && !(time == Time::Simulated && invented.is_none()) {
        let what = "must be true where kind is \"fake\": nobody rang its receipts up, and they reach the \
                    chain's database all the same";
        section.fault("invented", what.to_owned());
    }
    let seed = section.number("seed", 1, 0..=u64::from(u32::MAX));
    let tills = section.number("tills", 3, 1..=99);
    let receipts_per_minute = section.number("receipts_per_minute", 5, 0..=999);
    Some(FakeConfig { seed, tills, receipts_per_minute })
}
