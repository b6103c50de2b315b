//! The truth ledger: what the fakes issued, on disk before it is issued. Only what must count
//! stands in it; a reprint, a resent file or a receipt for training is never written down.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::ids::{Article, Label, ReceiptNumber, Sequence, Series, StoreId, StreamId, TillId};
use shared::minute::{SaleRow, StoreMinute};
use shared::money::{Cents, Milli};
use shared::ranges::Ranges;
use shared::receipt::{Line, Receipt, StockMovement};
use shared::time::{BusinessDay, Minute};
use shared::words::{LineKind, Unit};

/// Bytes of one line of a ledger: a batch of 900 kB and what stands around it.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One issued thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A receipt that counts.
    Receipt(IssuedReceipt),
    /// A number that a till used for something else than a sale; it moves nothing.
    WithoutSale(IssuedNumber),
    /// A batch that went to Kafka ready-made.
    Batch(IssuedBatch),
    /// A movement of stock.
    Movement(IssuedMovement),
}

/// A receipt, as far as anyone downstream can know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedReceipt {
    /// The store.
    pub store: StoreId,
    /// The register.
    pub till: TillId,
    /// The span in which the number is unique.
    pub series: Series,
    /// Its number.
    pub receipt: ReceiptNumber,
    /// The day that it is booked on.
    pub business_day: BusinessDay,
    /// The minute in which it ended.
    pub minute: Minute,
    /// Its lines.
    pub lines: Vec<IssuedLine>,
    /// Tax on top of the prices.
    pub tax_added_cents: Cents,
    /// The sum of its adjustments.
    pub adjustment_cents: Cents,
    /// What the customer had to pay.
    pub total_cents: Cents,
}

/// A receipt's line, or the sum of several alike ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedLine {
    /// What was sold.
    pub article: Article,
    /// What kind of line it is.
    pub kind: LineKind,
    /// The unit of the quantity.
    pub unit: Unit,
    /// True where it takes back another line.
    pub void: bool,
    /// The seller where it is not the chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seller: Option<Label>,
    /// For returned goods: whether they go back on the shelf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restock: Option<bool>,
    /// Quantity in thousandths, signed.
    pub quantity_milli: Milli,
    /// Amount after discounts, signed.
    pub amount_cents: Cents,
    /// Discounts inside the amount.
    pub discount_cents: Cents,
}

/// A number without a sale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedNumber {
    /// The store.
    pub store: StoreId,
    /// The register.
    pub till: TillId,
    /// The span in which the number is unique.
    pub series: Series,
    /// The number.
    pub receipt: ReceiptNumber,
}

/// A ready-made batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedBatch {
    /// The store.
    pub store: StoreId,
    /// Its minute.
    pub minute: Minute,
    /// The day that it is booked on.
    pub business_day: BusinessDay,
    /// The stream that it went out in.
    pub stream: StreamId,
    /// Its place in the stream.
    pub sequence: Sequence,
    /// Totals per till.
    pub tills: Vec<IssuedTill>,
    /// Rows per till and article.
    pub sales: Vec<IssuedRow>,
}

/// A till's totals in a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedTill {
    /// The register.
    pub till: TillId,
    /// The span in which its numbers are unique.
    pub series: Series,
    /// The numbers that count.
    pub receipts: Ranges,
    /// The numbers that were no sale.
    pub numbers_without_sale: Ranges,
    /// How many receipts count.
    pub receipt_count: u64,
    /// Sum of the lines.
    pub lines_cents: Cents,
    /// Tax on top of the prices.
    pub tax_added_cents: Cents,
    /// Sum of the adjustments.
    pub adjustment_cents: Cents,
    /// Sum of the totals.
    pub total_cents: Cents,
}

/// A batch's row: lines alike, summed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedRow {
    /// The register.
    pub till: TillId,
    /// What was sold, how much of it and for how much.
    #[serde(flatten)]
    pub line: IssuedLine,
    /// How many lines it sums up.
    pub lines: u64,
}

/// A movement of stock in a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedMovement {
    /// The store.
    pub store: StoreId,
    /// What moved.
    #[serde(flatten)]
    pub movement: StockMovement,
}

impl Entry {
    /// Writes down a receipt: its figures where it counts, only its number where it does not.
    pub fn of_receipt(receipt: &Receipt) -> Self {
        let (store, till) = (receipt.store.clone(), receipt.till.clone());
        let (series, number) = (receipt.series.clone(), receipt.receipt.clone());
        if !receipt.counts {
            return Self::WithoutSale(IssuedNumber { store, till, series, receipt: number });
        }
        Self::Receipt(IssuedReceipt {
            store,
            till,
            series,
            receipt: number,
            business_day: receipt.business_day,
            minute: receipt.ended_at.minute(),
            lines: receipt.lines.iter().map(of_line).collect(),
            tax_added_cents: receipt.tax_added_cents,
            adjustment_cents: receipt.adjustment_cents,
            total_cents: receipt.total_cents,
        })
    }

    /// Writes down a batch and the movements in it.
    pub fn of_batch(batch: &StoreMinute) -> Vec<Self> {
        let tills = batch.tills.iter().map(|till| IssuedTill {
            till: till.till.clone(),
            series: till.series.clone(),
            receipts: till.receipts.clone(),
            numbers_without_sale: till.numbers_without_sale.clone(),
            receipt_count: till.receipt_count,
            lines_cents: till.lines_cents,
            tax_added_cents: till.tax_added_cents,
            adjustment_cents: till.adjustment_cents,
            total_cents: till.total_cents,
        });
        let issued = IssuedBatch {
            store: batch.store.clone(),
            minute: batch.minute,
            business_day: batch.business_day,
            stream: batch.stream,
            sequence: batch.sequence,
            tills: tills.collect(),
            sales: batch.sales.iter().map(of_row).collect(),
        };
        let movements =
            batch.stock.iter().map(|movement| Self::of_movement(&batch.store, movement));
        std::iter::once(Self::Batch(issued)).chain(movements).collect()
    }

    /// Writes down a movement.
    pub fn of_movement(store: &StoreId, movement: &StockMovement) -> Self {
        Self::Movement(IssuedMovement { store: store.clone(), movement: movement.clone() })
    }

    /// Returns till, series and number where a till gave a number.
    pub fn number(&self) -> Option<(&TillId, &Series, u64)> {
        let (till, series, receipt) = match self {
            Self::Receipt(receipt) => (&receipt.till, &receipt.series, &receipt.receipt),
            Self::WithoutSale(number) => (&number.till, &number.series, &number.receipt),
            Self::Batch(_) | Self::Movement(_) => return None,
        };
        Some((till, series, receipt.as_number()?))
    }

    /// Returns the minute that it belongs to, where it has one.
    pub fn minute(&self) -> Option<Minute> {
        match self {
            Self::Receipt(receipt) => Some(receipt.minute),
            Self::WithoutSale(_) => None,
            Self::Batch(batch) => Some(batch.minute),
            Self::Movement(movement) => Some(movement.movement.occurred_at.minute()),
        }
    }

    /// Returns the store that it was issued for.
    pub fn store(&self) -> &StoreId {
        match self {
            Self::Receipt(receipt) => &receipt.store,
            Self::WithoutSale(number) => &number.store,
            Self::Batch(batch) => &batch.store,
            Self::Movement(movement) => &movement.store,
        }
    }
}

fn of_line(line: &Line) -> IssuedLine {
    IssuedLine {
        article: line.article.clone(),
        kind: line.kind.clone(),
        unit: line.unit.clone(),
        void: line.void,
        seller: line.seller.clone(),
        restock: line.restock,
        quantity_milli: line.quantity_milli,
        amount_cents: line.amount_cents,
        discount_cents: line.discount_cents,
    }
}

fn of_row(row: &SaleRow) -> IssuedRow {
    let line = IssuedLine {
        article: row.article.clone(),
        kind: row.kind.clone(),
        unit: row.unit.clone(),
        void: row.void,
        seller: row.seller.clone(),
        restock: row.restock,
        quantity_milli: row.quantity_milli,
        amount_cents: row.amount_cents,
        discount_cents: row.discount_cents,
    };
    IssuedRow { till: row.till.clone(), line, lines: row.lines }
}

/// Why a ledger cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum TruthError {
    /// The file or folder cannot be used.
    #[error("cannot {doing} the truth ledger {path}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A line is no entry.
    #[error("line {line} of the truth ledger {path} is no entry")]
    Line {
        /// The file.
        path: String,
        /// Its number, from 1.
        line: u64,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A line is longer than any entry.
    #[error("line {line} of the truth ledger {path} is longer than {LINE_BYTES_MAX} bytes")]
    TooLong {
        /// The file.
        path: String,
        /// Its number, from 1.
        line: u64,
    },
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TruthError {
    let path = path.display().to_string();
    move |source| TruthError::File { doing, path, source }
}

/// Returns the folder of all ledgers of a stack.
pub fn folder(dir: &Path) -> PathBuf {
    dir.join("truth")
}

/// The ledger of one issuer, open for appending.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: File,
}

impl Ledger {
    /// Opens the ledger `DIR/truth/<issuer>.jsonl`, or starts it.
    pub fn open(dir: &Path, issuer: &str) -> Result<Self, TruthError> {
        let folder = folder(dir);
        let path = folder.join(format!("{issuer}.jsonl"));
        fs::create_dir_all(&folder).map_err(failed("make the folder of", &path))?;
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let mut file = file.map_err(failed("open", &path))?;
        cut_torn_tail(&mut file).map_err(failed("mend", &path))?;
        File::open(&folder).and_then(|folder| folder.sync_all()).map_err(failed("keep", &path))?;
        Ok(Self { path, file })
    }

    /// Appends entries and returns once they are on disk; only then may they be issued.
    pub fn note(&mut self, entries: &[Entry]) -> Result<(), TruthError> {
        let written = self.file.write_all(&lines(entries)).and_then(|()| self.file.sync_data());
        written.map_err(failed("append to", &self.path))
    }
}

/// A tail without its line end was never issued; what is appended must not grow onto it.
fn cut_torn_tail(file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LINE_BYTES_MAX as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let whole = tail.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    if whole < tail.len() {
        file.set_len(from + whole as u64)?;
    }
    Ok(())
}

fn lines(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.extend(shared::wire::encode(entry));
        bytes.push(b'\n');
    }
    bytes
}

/// Writes a whole ledger anew; a reader sees the old one or the new one.
pub fn replace(
    dir: &Path,
    issuer: &str,
    entries: impl Iterator<Item = Entry>,
) -> Result<(), TruthError> {
    let folder = folder(dir);
    let path = folder.join(format!("{issuer}.jsonl"));
    let new = folder.join(format!(".{issuer}.new"));
    let write = || -> io::Result<()> {
        fs::create_dir_all(&folder)?;
        let mut file = io::BufWriter::new(File::create(&new)?);
        for entry in entries {
            file.write_all(&lines(&[entry]))?;
        }
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(&folder)?.sync_all()
    };
    write().map_err(failed("write", &path))
}

/// Returns the ledgers of a stack in the order of their names; none where nothing was issued.
pub fn ledgers(dir: &Path) -> Result<Vec<PathBuf>, TruthError> {
    let folder = folder(dir);
    let found = match fs::read_dir(&folder) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("list", &folder)(error)),
    };
    let mut paths = Vec::new();
    for file in found {
        let path = file.map_err(failed("list", &folder))?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|ending| ending == "jsonl") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Reads every entry of a stack's ledgers, one at a time.
pub fn read(dir: &Path, mut each: impl FnMut(Entry)) -> Result<(), TruthError> {
    for path in ledgers(dir)? {
        read_ledger(&path, &mut each)?;
    }
    Ok(())
}

/// Reads one ledger. A last line without its end was never issued and is left out.
pub fn read_ledger(path: &Path, mut each: impl FnMut(Entry)) -> Result<(), TruthError> {
    let file = File::open(path).map_err(failed("open", path))?;
    let mut reader = BufReader::new(file);
    let (mut bytes, mut line) = (Vec::new(), 0_u64);
    let name = || path.display().to_string();
    loop {
        bytes.clear();
        line += 1;
        let limit = LINE_BYTES_MAX as u64;
        let mut bounded = reader.by_ref().take(limit);
        let length = bounded.read_until(b'\n', &mut bytes).map_err(failed("read", path))?;
        if length == LINE_BYTES_MAX {
            return Err(TruthError::TooLong { path: name(), line });
        }
        if bytes.pop() != Some(b'\n') {
            return Ok(());
        }
        let entry = serde_json::from_slice(&bytes);
        each(entry.map_err(|source| TruthError::Line { path: name(), line, source })?);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"{"movement":{"store":"10","id":"D/1","article":"04012345678901","kind":"delivery","unit":"pcs","quantity_milli":1000,"occurred_at":"2026-11-23T09:40:12Z","order":null,"counterparty":null,"reason":null,"best_before":null,"lot":null}}"#;

    #[test]
    fn what_was_noted_is_read_back_and_a_torn_tail_was_never_issued() {
        let dir = tempfile::tempdir().unwrap();
        let entry: Entry = serde_json::from_str(ENTRY).unwrap();
        let mut ledger = Ledger::open(dir.path(), "store-10").unwrap();
        ledger.note(std::slice::from_ref(&entry)).unwrap();
        ledger.file.write_all(&ENTRY.as_bytes()[..50]).unwrap();
        let mut seen = Vec::new();
        read(dir.path(), |entry| seen.push(entry)).unwrap();
        assert_eq!(seen, std::slice::from_ref(&entry));
        let mut again = Ledger::open(dir.path(), "store-10").unwrap();
        again.note(std::slice::from_ref(&entry)).unwrap();
        let mut count = 0;
        read(dir.path(), |_| count += 1).unwrap();
        assert_eq!(count, 2);
        assert_eq!(lines(&[entry]), format!("{ENTRY}\n").as_bytes());
    }

    #[test]
    fn a_line_that_is_no_entry_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder(dir.path())).unwrap();
        fs::write(folder(dir.path()).join("a.jsonl"), "{\"rumour\":1}\n").unwrap();
        let error = read(dir.path(), |_| {}).unwrap_err();
        assert!(error.to_string().starts_with("line 1 of the truth ledger "), "{error}");
    }
}
