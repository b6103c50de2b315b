//! Plays real receipt lines again: as ready-made store-minutes for all stores, or as till files of
//! one. A second run sends the same streams, sequences and bytes.
//!
//! One till `1`; the series is the business day, and that is the local date. A manufacturer's coupon
//! is a payment `voucher`, the rest of the total a payment `other`: the file does not say how it was
//! paid.

mod lines;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use shared::ids::{Article, ReceiptNumber, Sequence, Series, StoreId, StreamId, TillId};
use shared::minute::StoreMinute;
use shared::money::{Cents, Milli};
use shared::receipt::{Line, Payment, Receipt};
use shared::time::{BusinessDay, Clock, Minute};
use shared::words::{Channel, LineKind, PaymentKind, Unit};

use crate::buckets::{Bucket, Numbering};
use crate::error::StackError;
use crate::fleet::record;
use crate::publish::Publisher;
use crate::till::{self, Dialect};
use crate::truth::{self, Entry};

pub use lines::{ReplayError, SoldLine, read};

/// What was issued.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Issued {
    /// Stores.
    pub stores: u64,
    /// Batches, or files.
    pub batches: u64,
    /// Receipts.
    pub receipts: u64,
    /// Lines.
    pub lines: u64,
    /// Totals of the receipts.
    pub total_cents: i64,
}

/// Receipts of a store in the order of their times.
type Receipts = BTreeMap<StoreId, Vec<Receipt>>;

/// Sends all stores of a file to Kafka.
pub async fn to_kafka(dir: &Path, file: &Path, publisher: Publisher) -> Result<Issued, StackError> {
    let (lines, hash) = read(file).map_err(reading(file))?;
    let stores = receipts(lines).map_err(reading(file))?;
    let streams = streams(dir, &hash, stores.keys())?;
    let mut issued = Issued { stores: stores.len() as u64, ..Issued::default() };
    // The truth is whole before the first record leaves; a second run writes the same again.
    let entries = batches(&stores, &streams).flat_map(|batch| Entry::of_batch(&batch));
    truth::replace(dir, &issuer(&hash, None), entries)
        .map_err(StackError::foreign("the truth cannot be noted"))?;
    for batch in batches(&stores, &streams) {
        issued.batches += 1;
        issued.receipts += batch.tills.iter().map(|till| till.receipt_count).sum::<u64>();
        issued.lines += batch.sales.iter().map(|row| row.lines).sum::<u64>();
        issued.total_cents += batch.tills.iter().map(|till| till.total_cents.0).sum::<i64>();
        publisher.send(&record(&batch)).await?;
    }
    publisher.finish().await?;
    Ok(issued)
}

/// Writes one store of a file as till files, one a business day.
pub fn to_folder(
    dir: &Path,
    file: &Path,
    (store, folder): (&StoreId, &Path),
) -> Result<Issued, StackError> {
    let (lines, hash) = read(file).map_err(reading(file))?;
    let only = lines.into_iter().filter(|line| line.store == *store).collect();
    let mut stores = receipts(only).map_err(reading(file))?;
    let receipts = stores.remove(store).ok_or_else(|| {
        StackError::wrong(format!("{} holds no line of store {store}", file.display()))
    })?;
    truth::replace(dir, &issuer(&hash, Some(store)), receipts.iter().map(Entry::of_receipt))
        .map_err(StackError::foreign("the truth cannot be noted"))?;
    let mut issued = Issued { stores: 1, ..Issued::default() };
    for day in receipts.chunk_by(|one, next| one.business_day == next.business_day) {
        let name = format!("replay-{}.jsonl", day[0].business_day);
        till::put(folder, &name, &Dialect::Jsonl.file(day, chrono_tz::UTC))
            .map_err(StackError::path("put a file into", folder))?;
        issued.batches += 1;
        issued.receipts += day.len() as u64;
        issued.lines += day.iter().map(|receipt| receipt.lines.len() as u64).sum::<u64>();
        issued.total_cents += day.iter().map(|receipt| receipt.total_cents.0).sum::<i64>();
    }
    Ok(issued)
}

fn reading(file: &Path) -> impl FnOnce(ReplayError) -> StackError {
    StackError::foreign(format!("{} cannot be replayed", file.display()))
}

/// Returns the name of the ledger: the file's content and, where it is only one, the store.
fn issuer(hash: &str, store: Option<&StoreId>) -> String {
    let store = store.map(|store| format!("-{store}")).unwrap_or_default();
    format!("replay-{}{store}", &hash[..16])
}

/// Puts the lines of each receipt together.
pub fn receipts(lines: Vec<SoldLine>) -> Result<Receipts, ReplayError> {
    let mut found: BTreeMap<(StoreId, ReceiptNumber), Receipt> = BTreeMap::new();
    for line in lines {
        let key = (line.store.clone(), line.receipt.clone());
        let receipt = found.entry(key).or_insert_with(|| blank(&line));
        if receipt.ended_at != line.at {
            return Err(ReplayError::TwoTimes { receipt: line.receipt });
        }
        add(receipt, line);
    }
    let mut stores = Receipts::new();
    for receipt in found.into_values() {
        stores.entry(receipt.store.clone()).or_default().push(receipt);
    }
    for receipts in stores.values_mut() {
        receipts.sort_by_key(|receipt| (receipt.ended_at, receipt.business_day));
    }
    Ok(stores)
}

fn blank(line: &SoldLine) -> Receipt {
    Receipt {
        store: line.store.clone(),
        till: TillId::new("1").expect("a number is a till id"),
        series: Series::new(&line.day.to_string()).expect("a date is a series"),
        receipt: line.receipt.clone(),
        business_day: line.day,
        ended_at: line.at,
        counts: true,
        reason: None,
        channel: Channel::Till,
        fiscal: None,
        refers_to: None,
        customer: None,
        flags: Vec::new(),
        lines: Vec::new(),
        vat: Vec::new(),
        adjustments: Vec::new(),
        tax_added_cents: Cents::ZERO,
        adjustment_cents: Cents::ZERO,
        total_cents: Cents::ZERO,
        payments: Vec::new(),
        cash_moves: Vec::new(),
        version: None,
    }
}

fn add(receipt: &mut Receipt, line: SoldLine) {
    receipt.total_cents.0 += line.amount.0;
    pay(&mut receipt.payments, PaymentKind::Voucher, line.coupon);
    pay(&mut receipt.payments, PaymentKind::Other, Cents(line.amount.0 - line.coupon.0));
    let position = u32::try_from(receipt.lines.len() + 1).expect("a file has fewer lines");
    receipt.lines.push(Line {
        position,
        article: line.article,
        text: None,
        kind: LineKind::Sale,
        void: false,
        unit: Unit::Pieces,
        quantity_milli: line.quantity,
        amount_cents: line.amount,
        discount_cents: line.discount,
        adjustment_share_cents: Cents::ZERO,
        vat_key: None,
        vat_bp: None,
        reductions: Vec::new(),
        seller: None,
        restock: None,
    });
}

fn pay(payments: &mut Vec<Payment>, kind: PaymentKind, cents: Cents) {
    match payments.iter_mut().find(|payment| payment.kind == kind) {
        Some(payment) => payment.cents.0 += cents.0,
        None if cents != Cents::ZERO => payments.push(Payment { kind, cents, currency: None }),
        None => {}
    }
}

/// Cuts the receipts of every store into its batches, in order.
pub fn batches(
    stores: &Receipts,
    streams: &BTreeMap<StoreId, StreamId>,
) -> impl Iterator<Item = StoreMinute> {
    stores.iter().flat_map(|(store, receipts)| {
        let mut numbering = Numbering { stream: streams[store], next: Sequence::FIRST };
        let place = |receipt: &Receipt| (receipt.ended_at.minute(), receipt.business_day);
        let together = receipts.chunk_by(move |one, next| place(one) == place(next));
        together.flat_map(move |receipts| {
            let (minute, business_day) = place(&receipts[0]);
            bucket(store, (minute, business_day), receipts).batches(&mut numbering)
        })
    })
}

fn bucket(store: &StoreId, at: (Minute, BusinessDay), receipts: &[Receipt]) -> Bucket {
    Bucket {
        store: store.clone(),
        minute: at.0,
        business_day: at.1,
        receipts: receipts.to_vec(),
        movements: Vec::new(),
    }
}

/// Returns the stream of each store, made once and remembered under the hash of the file.
fn streams<'a>(
    dir: &Path,
    hash: &str,
    stores: impl Iterator<Item = &'a StoreId>,
) -> Result<BTreeMap<StoreId, StreamId>, StackError> {
    let path: PathBuf = dir.join("replay").join(format!("{hash}.json"));
    if path.exists() {
        let text = fs::read(&path).map_err(StackError::path("read", &path))?;
        let broken = StackError::foreign(format!("{} holds no streams", path.display()));
        return remembered(&serde_json::from_slice(&text).map_err(broken)?);
    }
    let now = Clock::real().now();
    let streams: BTreeMap<StoreId, StreamId> =
        stores.map(|store| (store.clone(), StreamId::new(now))).collect();
    let texts: BTreeMap<String, StreamId> =
        streams.iter().map(|(store, stream)| (store.to_string(), *stream)).collect();
    till::put(&dir.join("replay"), &format!("{hash}.json"), &shared::wire::encode(&texts))
        .map_err(StackError::path("write", &path))?;
    Ok(streams)
}

fn remembered(
    texts: &BTreeMap<String, StreamId>,
) -> Result<BTreeMap<StoreId, StreamId>, StackError> {
    let store = |text: &str| StoreId::new(text).map_err(StackError::foreign("a remembered store"));
    texts.iter().map(|(text, stream)| Ok((store(text)?, *stream))).collect()
}

/// Names an article of the file; its text stays as it stands.
fn article(product: &str) -> Result<Article, shared::ids::IdError> {
    Article::new(&format!("own:replay:{product}"))
}

/// Returns pieces as thousandths, or nothing where they do not fit.
fn pieces(count: i64) -> Option<Milli> {
    count.checked_mul(1000).map(Milli)
}
