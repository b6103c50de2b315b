//! The keys of a source of kind `fake`: a shop that is not there, for development and for trying out an
//! installation. Its format is `jsonl`. Never configure it where a real till is.
//!
//! ```toml
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

pub(super) fn read(section: &mut Section) -> Option<FakeConfig> {
    let seed = section.number("seed", 1, 0..=u64::from(u32::MAX));
    let tills = section.number("tills", 3, 1..=99);
    let receipts_per_minute = section.number("receipts_per_minute", 5, 0..=999);
    Some(FakeConfig { seed, tills, receipts_per_minute })
}
