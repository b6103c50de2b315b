//! How tills write their receipts down: one dialect each, and files that appear whole. Never knows
//! why a receipt was rung up.
//!
//! # Projection
//!
//! No format says all that a receipt holds. What each can say, so that a test can compare what came
//! out with what went in, as [`projection::Carries`] has it:
//!
//! | dialect | GTIN | VAT key | discount of a line | voided lines | void or return | change | a copy says so | no sale is written as | cash moves | a receipt taken back |
//! |---|---|---|---|---|---|---|---|---|---|---|
//! | `jsonl` | yes | yes | in the line | yes | yes | yes | no | its reason | yes | `refers_to`, signs turned |
//! | `poslog/fakes` | yes | yes | in the line | yes | yes | yes | no | status, training flag, control | by element | `PostVoided` and a link; repeats the other |
//! | `poslog/ncr-acs` | yes | no | none | yes | yes | as a refund of cash | no | control only | by element | signs turned, no link |
//! | `poslog/wn-tpnet` `gk` `v6` | yes | yes | in the line | yes | yes | as a refund of cash | no | status, training flag, control | by element | `PostVoided` and a link; repeats the other |
//! | `poslog/roqqio` | yes | yes | in the line | left out, a number is missing | yes | yes | no | status, training flag, control | by element | `PostVoided` and a link; repeats the other |
//! | `poslog/visma` | yes | yes | in the line | flagged, they count nothing | yes | as a refund of cash | no | status, training flag, control | by element | `PostVoided` and a link; repeats the other |
//! | `escpos` | no, a short text | letter | a line behind the item | as a negative item | no | yes | `DUPLIKAT` | a word at the top, or behind the goods; a sign-off prints nothing | `EINZAHLUNG` or `AUSZAHLUNG` | signs turned, no number |
//! | `fiskaltrust` | yes | yes | an item behind the item | negative amount | no | yes | no | code of the receipt | code of the item | flag, signs turned, no number |
//! | `dsfinvk` | yes | yes | `itemamounts` | `P_STORNO` | by sign and flag | taken off the cash | no | `BON_TYP` | `GV_TYP` | `BON_STORNO`, signs turned, `references.csv` within a closing |
//! | `telegram` | yes | yes | in the line | yes | yes | yes | no | its reason | yes | `V`, signs turned |
//!
//! Quantities, units and totals are in all of them. Nobody writes what gave a line its discount.

mod dsfinvk;
mod escpos;
mod fiscal;
mod fiskaltrust;
mod jsonl;
mod ncr_acs;
mod paper;
mod poslog_fakes;
pub mod projection;
mod telegram;
mod vendors;
mod voids;
mod xml;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use chrono_tz::Tz;
use shared::receipt::{Receipt, StockMovement};
use shared::time::Timestamp;

use vendors::Vendor;

/// A till's file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    /// Canonical receipts, one JSON object a line.
    Jsonl,
    /// POSLog in the plain dialect of these fakes.
    PoslogFakes,
    /// POSLog as an NCR ACS back office exports it.
    NcrAcs,
    /// POSLog as Diebold Nixdorf's TP.net writes it.
    WnTpnet,
    /// POSLog as ROQQIO writes it.
    Roqqio,
    /// POSLog as Visma writes it.
    Visma,
    /// POSLog as GK writes it.
    Gk,
    /// POSLog 6 in the standard's own words.
    V6,
    /// What is sent to a receipt printer.
    Escpos,
    /// The journal of a fiskaltrust middleware.
    Fiskaltrust,
    /// The export of a till's closing: a folder of tables.
    Dsfinvk,
    /// Telegrams of a serial line.
    Telegram,
}

/// What one delivery of a till is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file's bytes.
    File(Vec<u8>),
    /// A folder's files by their names.
    Folder(Vec<(String, Vec<u8>)>),
}

impl Dialect {
    /// All dialects.
    pub const ALL: [Self; 12] = [
        Self::Jsonl,
        Self::PoslogFakes,
        Self::NcrAcs,
        Self::WnTpnet,
        Self::Roqqio,
        Self::Visma,
        Self::Gk,
        Self::V6,
        Self::Escpos,
        Self::Fiskaltrust,
        Self::Dsfinvk,
        Self::Telegram,
    ];

    /// Returns the dialect of a source's `format` and `dialect`, where it is one that is written here.
    pub fn named(format: &str, dialect: Option<&str>) -> Option<Self> {
        match (format, dialect) {
            ("jsonl", None) => Some(Self::Jsonl),
            ("poslog", None | Some("fakes")) => Some(Self::PoslogFakes),
            ("poslog", Some("ncr-acs")) => Some(Self::NcrAcs),
            ("poslog", Some("wn-tpnet")) => Some(Self::WnTpnet),
            ("poslog", Some("roqqio")) => Some(Self::Roqqio),
            ("poslog", Some("visma")) => Some(Self::Visma),
            ("poslog", Some("gk")) => Some(Self::Gk),
            ("poslog", Some("v6")) => Some(Self::V6),
            ("escpos", None | Some("rewe")) => Some(Self::Escpos),
            ("fiskaltrust", None) => Some(Self::Fiskaltrust),
            ("dsfinvk", None) => Some(Self::Dsfinvk),
            ("telegram", None | Some("fakes")) => Some(Self::Telegram),
            (_, _) => None,
        }
    }

    /// Returns the format's name, as an agent's configuration has it.
    pub fn format(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::PoslogFakes
            | Self::NcrAcs
            | Self::WnTpnet
            | Self::Roqqio
            | Self::Visma
            | Self::Gk
            | Self::V6 => "poslog",
            Self::Escpos => "escpos",
            Self::Fiskaltrust => "fiskaltrust",
            Self::Dsfinvk => "dsfinvk",
            Self::Telegram => "telegram",
        }
    }

    /// Returns the dialect's name within its format, where that has dialects.
    pub fn dialect(self) -> Option<&'static str> {
        match self {
            Self::PoslogFakes => Some("fakes"),
            Self::NcrAcs => Some("ncr-acs"),
            Self::WnTpnet => Some("wn-tpnet"),
            Self::Roqqio => Some("roqqio"),
            Self::Visma => Some("visma"),
            Self::Gk => Some("gk"),
            Self::V6 => Some("v6"),
            Self::Escpos => Some("rewe"),
            Self::Jsonl | Self::Fiskaltrust | Self::Dsfinvk | Self::Telegram => None,
        }
    }

    /// Returns the settings without which an agent would name its tills otherwise.
    pub fn settings(self) -> Option<&'static str> {
        match self {
            Self::Dsfinvk => Some("till = \"TERMINAL_ID\"\n"),
            Self::Jsonl
            | Self::PoslogFakes
            | Self::NcrAcs
            | Self::WnTpnet
            | Self::Roqqio
            | Self::Visma
            | Self::Gk
            | Self::V6
            | Self::Escpos
            | Self::Fiskaltrust
            | Self::Telegram => None,
        }
    }

    /// Returns the ending of its files; a folder has none.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::PoslogFakes
            | Self::NcrAcs
            | Self::WnTpnet
            | Self::Roqqio
            | Self::Visma
            | Self::Gk
            | Self::V6 => "xml",
            Self::Escpos | Self::Telegram => "bin",
            Self::Fiskaltrust => "json",
            Self::Dsfinvk => "",
        }
    }

    /// Returns true where deliveries follow one another as one stream of bytes.
    pub fn is_stream(self) -> bool {
        matches!(self, Self::Escpos | Self::Telegram)
    }

    /// Returns true where a receipt that is printed again says that it is a copy.
    pub fn marks_copies(self) -> bool {
        self == Self::Escpos
    }

    /// Writes receipts as one file's bytes; of a folder of tables the largest one, `lines.csv`.
    pub fn file(self, receipts: &[Receipt], zone: Tz) -> Vec<u8> {
        match self {
            Self::Jsonl => jsonl::file(receipts),
            Self::PoslogFakes => poslog_fakes::file(receipts, zone).into_bytes(),
            Self::NcrAcs => ncr_acs::file(receipts, zone).into_bytes(),
            Self::WnTpnet => vendors::file(Vendor::WnTpnet, receipts, zone).into_bytes(),
            Self::Roqqio => vendors::file(Vendor::Roqqio, receipts, zone).into_bytes(),
            Self::Visma => vendors::file(Vendor::Visma, receipts, zone).into_bytes(),
            Self::Gk => vendors::file(Vendor::Gk, receipts, zone).into_bytes(),
            Self::V6 => vendors::file(Vendor::V6, receipts, zone).into_bytes(),
            Self::Escpos => escpos::stream(receipts, zone),
            Self::Fiskaltrust => fiskaltrust::page(receipts),
            Self::Telegram => telegram::stream(receipts),
            Self::Dsfinvk => {
                let closed_at = receipts.iter().map(|receipt| receipt.ended_at).max();
                let files = closed_at.map(|at| dsfinvk::folder(receipts, zone, at));
                let lines = files.into_iter().flatten().find(|(name, _)| name == "lines.csv");
                lines.map(|(_, bytes)| bytes).unwrap_or_default()
            }
        }
    }

    /// Writes receipts as a delivery that is made at `at`.
    pub fn content(self, receipts: &[Receipt], zone: Tz, at: Timestamp) -> Content {
        match self {
            Self::Dsfinvk => Content::Folder(dsfinvk::folder(receipts, zone, at)),
            Self::Jsonl
            | Self::PoslogFakes
            | Self::NcrAcs
            | Self::WnTpnet
            | Self::Roqqio
            | Self::Visma
            | Self::Gk
            | Self::V6
            | Self::Escpos
            | Self::Fiskaltrust
            | Self::Telegram => Content::File(self.file(receipts, zone)),
        }
    }
}

/// Writes what a printer prints of receipts as plain text, a form feed behind each.
pub fn paper_file(receipts: &[Receipt], zone: Tz) -> Vec<u8> {
    let slips = receipts.iter().filter_map(|receipt| paper::lines(receipt, zone));
    slips.map(|lines| lines.join("\n") + "\n\u{c}").collect::<String>().into_bytes()
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

/// Writes a folder that no reader ever sees in part, as [`put`] does a file. A folder of this name
/// must not be there: an export is never changed.
pub fn put_folder(folder: &Path, name: &str, files: &[(String, Vec<u8>)]) -> io::Result<()> {
    let hidden = folder.join(format!(".{name}.tmp"));
    fs::create_dir_all(&hidden)?;
    for (file, bytes) in files {
        let mut file = File::create(hidden.join(file))?;
        file.write_all(bytes)?;
        file.sync_all()?;
    }
    File::open(&hidden)?.sync_all()?;
    fs::rename(&hidden, folder.join(name))?;
    File::open(folder)?.sync_all()
}

/// Appends to a file that grows, and returns once the bytes are on disk.
pub fn append(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut file = OpenOptions::new().append(true).create(true).open(folder.join(name))?;
    file.write_all(bytes)?;
    file.sync_data()
}

/// Writes an instant as a till's own clock shows it, without an offset.
fn local_time(at: Timestamp, zone: Tz) -> String {
    at.utc().with_timezone(&zone).format("%Y-%m-%dT%H:%M:%S").to_string()
}
