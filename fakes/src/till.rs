//! How tills write their receipts down: one dialect each, and files that appear whole. Never knows
//! why a receipt was rung up.

mod jsonl;
mod ncr_acs;
mod poslog_fakes;
mod xml;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use chrono_tz::Tz;
use shared::receipt::{Receipt, StockMovement};
use shared::time::Timestamp;

/// A till's file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Canonical receipts, one JSON object a line.
    Jsonl,
    /// POSLog in the plain dialect of these fakes.
    PoslogFakes,
    /// POSLog as an NCR ACS back office exports it.
    NcrAcs,
}

impl Dialect {
    /// Returns the dialect of a source's `format` and `dialect`, where it is one that is written here.
    pub fn named(format: &str, dialect: Option<&str>) -> Option<Self> {
        match (format, dialect) {
            ("jsonl", None) => Some(Self::Jsonl),
            ("poslog", None | Some("fakes")) => Some(Self::PoslogFakes),
            ("poslog", Some("ncr-acs")) => Some(Self::NcrAcs),
            (_, _) => None,
        }
    }

    /// Returns the ending of its files.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::PoslogFakes | Self::NcrAcs => "xml",
        }
    }

    /// Writes receipts as one file's bytes.
    pub fn file(self, receipts: &[Receipt], zone: Tz) -> Vec<u8> {
        match self {
            Self::Jsonl => jsonl::file(receipts),
            Self::PoslogFakes => poslog_fakes::file(receipts, zone).into_bytes(),
            Self::NcrAcs => ncr_acs::file(receipts, zone).into_bytes(),
        }
    }
}

/// Writes movements of stock as a stock system hands them over: JSON Lines.
pub fn stock_file(movements: &[StockMovement]) -> Vec<u8> {
    jsonl::stock_file(movements)
}

/// Writes a file that no reader ever sees in part: hidden first, on disk, then renamed into place.
/// A file of this name that is there already is replaced.
pub fn put(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let hidden = folder.join(format!(".{name}.tmp"));
    let mut file = File::create(&hidden)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&hidden, folder.join(name))?;
    File::open(folder)?.sync_all()
}

/// Writes an instant as a till's own clock shows it, without an offset.
fn local_time(at: Timestamp, zone: Tz) -> String {
    at.utc().with_timezone(&zone).format("%Y-%m-%dT%H:%M:%S").to_string()
}
