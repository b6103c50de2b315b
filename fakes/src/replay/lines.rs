//! The lines of a file of real receipts: comma-separated, perhaps compressed. The only file here
//! that names `csv` and `flate2`.

use std::fmt::Write;
use std::fs;
use std::io::{self, Cursor, Read};
use std::path::Path;

use chrono::{DateTime, NaiveDateTime, Utc};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use shared::ids::{Article, IdError, ReceiptNumber, StoreId};
use shared::money::{Cents, Milli};
use shared::time::{BusinessDay, Timestamp};

/// Lines that are held at once; the largest known file of this kind has 1.5 million.
const LINES_MAX: usize = 3_000_000;
/// Bytes that a file may have, packed.
const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Why a file cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error("the file cannot be read")]
    Read(#[source] io::Error),
    /// It is too large.
    #[error("the file has more than {LINES_MAX} lines or {FILE_BYTES_MAX} bytes")]
    TooLarge,
    /// A row is no line of a receipt.
    #[error("row {row} is no line of a receipt")]
    Row {
        /// Its number, from 1 for the first behind the heading.
        row: usize,
        /// The cause.
        #[source]
        source: csv::Error,
    },
    /// A value cannot be read.
    #[error("row {row}: {what}")]
    Value {
        /// Its number.
        row: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A receipt has lines of two times, so that it has no minute.
    #[error("receipt {receipt} has lines of different times")]
    TwoTimes {
        /// The receipt.
        receipt: ReceiptNumber,
    },
}

/// A row as the file has it.
#[derive(Debug, Deserialize)]
struct Row {
    timestamp: String,
    utc_offset: String,
    store: String,
    receipt: String,
    product: String,
    quantity: i64,
    amount_cents: i64,
    loyalty_discount_cents: i64,
    mfr_coupon_cents: i64,
    coupon_match_cents: i64,
}

/// A line that was sold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoldLine {
    /// The store.
    pub store: StoreId,
    /// The receipt.
    pub receipt: ReceiptNumber,
    /// When.
    pub at: Timestamp,
    /// The local date.
    pub day: BusinessDay,
    /// What.
    pub article: Article,
    /// How much of it.
    pub quantity: Milli,
    /// What the store gets for it.
    pub amount: Cents,
    /// What the store gave up.
    pub discount: Cents,
    /// What a manufacturer's coupon paid of it.
    pub coupon: Cents,
}

/// Reads a file and returns its lines with the SHA-256 of its bytes in hexadecimal digits.
pub fn read(path: &Path) -> Result<(Vec<SoldLine>, String), ReplayError> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(ReplayError::Read)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(ReplayError::Read)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(ReplayError::TooLarge);
    }
    let hash = Sha256::digest(&bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes any text");
        text
    });
    let packed = bytes.starts_with(&[0x1f, 0x8b]);
    let plain = Cursor::new(bytes);
    let lines = if packed { rows(MultiGzDecoder::new(plain)) } else { rows(plain) };
    Ok((lines?, hash))
}

fn rows(text: impl Read) -> Result<Vec<SoldLine>, ReplayError> {
    let mut lines = Vec::new();
    for (row, number) in csv::Reader::from_reader(text).into_deserialize::<Row>().zip(1..) {
        if number > LINES_MAX {
            return Err(ReplayError::TooLarge);
        }
        let row = row.map_err(|source| ReplayError::Row { row: number, source })?;
        lines.push(line(&row).map_err(|what| ReplayError::Value { row: number, what })?);
    }
    Ok(lines)
}

fn line(row: &Row) -> Result<SoldLine, String> {
    let id = |error: IdError| error.to_string();
    let (at, day) = time(row)?;
    let discount = row.loyalty_discount_cents.checked_add(row.coupon_match_cents);
    Ok(SoldLine {
        store: StoreId::new(&row.store).map_err(id)?,
        receipt: ReceiptNumber::new(&row.receipt).map_err(id)?,
        at,
        day,
        article: super::article(&row.product).map_err(id)?,
        quantity: super::pieces(row.quantity).ok_or("the quantity is too large")?,
        amount: Cents(row.amount_cents),
        discount: discount.map(Cents).ok_or("the discounts are too large")?,
        coupon: Cents(row.mfr_coupon_cents),
    })
}

/// The file has local times with the offset in a column of its own.
fn time(row: &Row) -> Result<(Timestamp, BusinessDay), String> {
    let both = format!("{} {}", row.timestamp, row.utc_offset);
    let at = DateTime::parse_from_str(&both, "%Y-%m-%dT%H:%M:%S %z")
        .map_err(|error| format!("{both:?} is no time: {error}"))?;
    let local: NaiveDateTime = at.naive_local();
    Ok((Timestamp::from_utc(at.with_timezone(&Utc)), BusinessDay::new(local.date())))
}
