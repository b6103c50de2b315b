//! One minute's receipts and movements become the bodies of one or more batches. A batch is split
//! before it grows too large for a record; a receipt never is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::ids::{Article, Label, Sequence, Series, StoreId, StreamId, TillId};
use shared::minute::{
    Closing, Correction, Counts, KindAmount, Loss, SaleRow, StoreMinute, TillMinute,
};
use shared::money::{Cents, Milli};
use shared::ranges::Ranges;
use shared::receipt::{Line, Payment, Receipt, StockMovement, Vat};
use shared::time::{BusinessDay, Minute};
use shared::words::{AdjustmentKind, BatchKind, Channel, LineKind, NotCounted, PaymentKind, Unit};

/// Bytes of receipts that one body may hold. A receipt's own JSON is at least as long as what it
/// adds to a body, so that the record stays below its limit.
pub const RECEIPT_BYTES_MAX: usize = shared::wire::BODY_BYTES_MAX - 20_000;

/// What a decoder flags a receipt with that takes back another one whole.
const RECEIPT_VOID: &str = "receipt_void";

/// What all batches of a minute have in common.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The store.
    pub store: StoreId,
    /// The buffer's stream.
    pub stream: StreamId,
    /// The sequence of the first batch; the others follow it.
    pub first: Sequence,
    /// The minute.
    pub minute: Minute,
    /// The business day.
    pub business_day: BusinessDay,
    /// The kind of the first batch; the others are supplements.
    pub kind: BatchKind,
    /// How far the store is delivered with these batches.
    pub complete_through: Option<Minute>,
}

/// Something that was rung up, moved or lost.
#[derive(Debug)]
pub enum Rung {
    /// A receipt.
    Receipt(Box<Receipt>),
    /// A receipt that goes alone in its batch.
    Alone(Box<Receipt>),
    /// A movement of stock.
    Movement(Box<StockMovement>),
    /// A till's own totals.
    Closing(Box<Closing>),
    /// A receipt that was counted and has changed.
    Correction(Box<Corrected>),
    /// Something that had to be given up.
    Loss(Box<Loss>),
}

/// A receipt as it was counted, and as it is now. One that counts no more is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Corrected {
    /// What was counted.
    pub before: Receipt,
    /// What it should have been.
    pub after: Receipt,
}

impl Corrected {
    /// Returns what changes in the total.
    pub fn total_cents(&self) -> Cents {
        Cents(self.after.total_cents.0 - self.before.total_cents.0)
    }
}

/// A minute that is being folded. It holds one batch at a time, however much was rung up.
#[derive(Debug)]
pub struct Folder {
    frame: Frame,
    /// Duplicates and quarantined receipts per till, which ride along where the till is in a batch.
    noticed: BTreeMap<TillId, Counts>,
    portion: Portion,
}

impl Folder {
    /// Begins a minute.
    pub fn new(frame: Frame, noticed: BTreeMap<TillId, Counts>) -> Self {
        Self { frame, noticed, portion: Portion::default() }
    }

    /// Adds something of which the JSON has so many bytes; returns a batch where one is full.
    pub fn add(&mut self, rung: Rung, bytes: usize) -> Option<StoreMinute> {
        if let Rung::Alone(receipt) = rung {
            let mut alone = Portion::default();
            alone.add(Rung::Receipt(receipt));
            return Some(self.cut(alone));
        }
        let is_full = self.portion.bytes > 0 && self.portion.bytes + bytes > RECEIPT_BYTES_MAX;
        let full = is_full.then(|| std::mem::take(&mut self.portion));
        self.portion.bytes += bytes;
        self.portion.add(rung);
        full.map(|portion| self.cut(portion))
    }

    /// Returns true where nothing is left for a further batch.
    pub fn is_empty(&self) -> bool {
        self.portion.bytes == 0
    }

    /// Returns the last batch, where something is left for one.
    pub fn finish(mut self) -> Option<StoreMinute> {
        let last = std::mem::take(&mut self.portion);
        (last.bytes > 0).then(|| self.cut(last))
    }

    fn cut(&mut self, portion: Portion) -> StoreMinute {
        let mut body = portion.body(&self.frame);
        self.frame.first = self.frame.first.next();
        self.frame.kind = BatchKind::Supplement;
        for till in &mut body.tills {
            if let Some(counts) = self.noticed.remove(&till.till) {
                till.counts.duplicates += counts.duplicates;
                till.counts.quarantined += counts.quarantined;
            }
        }
        body
    }
}

/// What goes into one body.
#[derive(Debug, Default)]
struct Portion {
    bytes: usize,
    tills: BTreeMap<(TillId, Series, Channel), Till>,
    rows: BTreeMap<RowKey, RowSums>,
    stock: Vec<StockMovement>,
    closings: Vec<Closing>,
    corrections: Vec<Correction>,
    losses: Vec<Loss>,
}

/// A till's sums, and how much of its total came without payments.
#[derive(Debug)]
struct Till {
    minute: TillMinute,
    unpaid: Cents,
}

/// What lines have in common that make one row.
type RowKey = (
    (TillId, Article, LineKind, bool, Unit),
    (Option<Label>, Option<u32>, Option<Label>, Option<bool>, Option<Label>),
);

#[derive(Debug, Default)]
struct RowSums {
    quantity: Milli,
    amount: Cents,
    discount: Cents,
    adjustment_share: Cents,
    lines: u64,
}

impl Portion {
    fn add(&mut self, rung: Rung) {
        match rung {
            Rung::Receipt(receipt) | Rung::Alone(receipt) => self.add_receipt(*receipt),
            Rung::Movement(movement) => self.stock.push(*movement),
            Rung::Closing(closing) => self.closings.push(*closing),
            Rung::Correction(corrected) => self.add_correction(*corrected),
            Rung::Loss(loss) => self.losses.push(*loss),
        }
    }

    fn add_receipt(&mut self, receipt: Receipt) {
        let key = (receipt.till.clone(), receipt.series.clone(), receipt.channel.clone());
        let till = self.tills.entry(key).or_insert_with(|| Till::new(&receipt));
        till.add(&receipt);
        if receipt.counts {
            for line in receipt.lines {
                self.add_line(&receipt.till, line);
            }
        }
    }

    /// Takes back what was counted and counts what it should have been. Its number is listed among
    /// the corrections, never again among the receipts.
    fn add_correction(&mut self, corrected: Corrected) {
        let total_cents = corrected.total_cents();
        let Corrected { before, after } = corrected;
        let key = (before.till.clone(), before.series.clone(), before.channel.clone());
        let till = self.tills.entry(key).or_insert_with(|| Till::new(&before));
        till.add_amounts(&before, Sign::Minus);
        till.add_amounts(&after, Sign::Plus);
        for line in before.lines {
            self.add_line(&before.till, reversed(line));
        }
        for line in after.lines {
            self.add_line(&before.till, line);
        }
        let (till, series, receipt) = (before.till, before.series, before.receipt);
        self.corrections.push(Correction { till, series, receipt, total_cents });
    }

    fn add_line(&mut self, till: &TillId, line: Line) {
        let goods = (till.clone(), line.article, line.kind, line.void, line.unit);
        let terms = (line.vat_key, line.vat_bp, line.seller, line.restock, line.text);
        let row = self.rows.entry((goods, terms)).or_default();
        row.quantity.0 += line.quantity_milli.0;
        row.amount.0 += line.amount_cents.0;
        row.discount.0 += line.discount_cents.0;
        row.adjustment_share.0 += line.adjustment_share_cents.0;
        row.lines += 1;
    }

    fn body(self, frame: &Frame) -> StoreMinute {
        StoreMinute {
            store: frame.store.clone(),
            minute: frame.minute,
            business_day: frame.business_day,
            stream: frame.stream,
            sequence: frame.first,
            predecessor: None,
            kind: frame.kind.clone(),
            complete_through: frame.complete_through,
            tills: self.tills.into_values().map(Till::finish).collect(),
            sales: self.rows.into_iter().map(|(key, sums)| row(key, &sums)).collect(),
            stock: self.stock,
            corrections: self.corrections,
            closings: self.closings,
            losses: self.losses,
            abandoned: Ranges::new(),
            digests: Vec::new(),
        }
    }
}

fn reversed(line: Line) -> Line {
    Line {
        quantity_milli: Milli(-line.quantity_milli.0),
        amount_cents: Cents(-line.amount_cents.0),
        discount_cents: Cents(-line.discount_cents.0),
        adjustment_share_cents: Cents(-line.adjustment_share_cents.0),
        ..line
    }
}

/// Whether amounts are added or taken back.
#[derive(Debug, Clone, Copy)]
enum Sign {
    Plus,
    Minus,
}

impl Sign {
    fn of(self, cents: Cents) -> Cents {
        match self {
            Self::Plus => cents,
            Self::Minus => Cents(-cents.0),
        }
    }
}

fn row((goods, terms): RowKey, sums: &RowSums) -> SaleRow {
    let (till, article, kind, void, unit) = goods;
    let (vat_key, vat_bp, seller, restock, text) = terms;
    SaleRow {
        till,
        article,
        text,
        kind,
        void,
        unit,
        vat_key,
        vat_bp,
        seller,
        restock,
        quantity_milli: sums.quantity,
        amount_cents: sums.amount,
        discount_cents: sums.discount,
        adjustment_share_cents: sums.adjustment_share,
        lines: sums.lines,
    }
}

impl Till {
    fn new(receipt: &Receipt) -> Self {
        let minute = TillMinute {
            till: receipt.till.clone(),
            series: receipt.series.clone(),
            channel: receipt.channel.clone(),
            receipts: Ranges::new(),
            receipt_ids: Vec::new(),
            numbers_without_sale: Ranges::new(),
            receipt_count: 0,
            lines_cents: Cents::ZERO,
            tax_added_cents: Cents::ZERO,
            adjustment_cents: Cents::ZERO,
            total_cents: Cents::ZERO,
            voided_cents: Cents::ZERO,
            vat: Vec::new(),
            adjustments: Vec::new(),
            payments: Vec::new(),
            cash_moves: Vec::new(),
            counts: Counts::default(),
        };
        Self { minute, unpaid: Cents::ZERO }
    }

    fn add(&mut self, receipt: &Receipt) {
        if receipt.counts {
            self.add_sale(receipt);
        } else {
            self.add_other(receipt);
        }
    }

    fn add_sale(&mut self, receipt: &Receipt) {
        let till = &mut self.minute;
        match receipt.receipt.as_number() {
            Some(number) => {
                let fresh = till.receipts.insert(number);
                assert!(fresh, "the buffer lets a receipt through once");
            }
            None => till.receipt_ids.push(receipt.receipt.clone()),
        }
        till.receipt_count += 1;
        for line in receipt.lines.iter().filter(|line| line.void) {
            till.counts.line_voids += 1;
            till.voided_cents.0 += line.amount_cents.abs().0;
        }
        let is_void = receipt.flags.iter().any(|flag| flag.as_str() == RECEIPT_VOID);
        till.counts.receipt_voids += u64::from(is_void);
        let returned = |line: &Line| line.kind == LineKind::Return && !line.void;
        till.counts.returns += u64::from(receipt.lines.iter().any(returned));
        self.add_amounts(receipt, Sign::Plus);
    }

    fn add_amounts(&mut self, receipt: &Receipt, sign: Sign) {
        let till = &mut self.minute;
        till.tax_added_cents.0 += sign.of(receipt.tax_added_cents).0;
        till.adjustment_cents.0 += sign.of(receipt.adjustment_cents).0;
        till.total_cents.0 += sign.of(receipt.total_cents).0;
        for line in &receipt.lines {
            till.lines_cents.0 += sign.of(line.amount_cents).0;
        }
        receipt.vat.iter().for_each(|vat| add_vat(&mut till.vat, vat, sign));
        for adjustment in &receipt.adjustments {
            add_adjustment(&mut till.adjustments, &adjustment.kind, sign.of(adjustment.cents));
        }
        for payment in &receipt.payments {
            let cents = sign.of(payment.cents);
            add_payment(&mut till.payments, &Payment { cents, ..payment.clone() });
        }
        if receipt.payments.is_empty() {
            self.unpaid.0 += sign.of(receipt.total_cents).0;
        }
    }

    fn add_other(&mut self, receipt: &Receipt) {
        if let Some(number) = receipt.receipt.as_number() {
            self.minute.numbers_without_sale.insert(number);
        }
        self.minute.cash_moves.extend(receipt.cash_moves.iter().cloned());
        let counts = &mut self.minute.counts;
        match &receipt.reason {
            Some(NotCounted::Aborted) => counts.aborted += 1,
            Some(NotCounted::Training) => counts.training += 1,
            Some(NotCounted::NoSale) => counts.no_sale += 1,
            Some(NotCounted::Reprint) => counts.duplicates += 1,
            Some(
                NotCounted::Suspended
                | NotCounted::Control
                | NotCounted::CashMove
                | NotCounted::Other
                | NotCounted::Unknown(_),
            )
            | None => {}
        }
    }

    fn finish(self) -> TillMinute {
        let mut till = self.minute;
        // A number that was parked and then finished within the minute is a sale.
        let sold = &till.receipts;
        let numbers = till.numbers_without_sale.iter().flat_map(|(first, last)| first..=last);
        till.numbers_without_sale = numbers.filter(|&number| !sold.contains(number)).collect();
        // Payments sum to the total or are not known at all: what came without joins as `other`.
        if !till.payments.is_empty() && self.unpaid != Cents::ZERO {
            let kind = PaymentKind::Other;
            add_payment(&mut till.payments, &Payment { kind, cents: self.unpaid, currency: None });
        }
        till
    }
}

fn add_vat(sums: &mut Vec<Vat>, vat: &Vat, sign: Sign) {
    let (gross_cents, net_cents) = (sign.of(vat.gross_cents), sign.of(vat.net_cents));
    let tax_cents = sign.of(vat.tax_cents);
    match sums.iter_mut().find(|sum| sum.key == vat.key && sum.bp == vat.bp) {
        Some(sum) => {
            sum.gross_cents.0 += gross_cents.0;
            sum.net_cents.0 += net_cents.0;
            sum.tax_cents.0 += tax_cents.0;
        }
        None => sums.push(Vat { gross_cents, net_cents, tax_cents, ..vat.clone() }),
    }
}

fn add_adjustment(sums: &mut Vec<KindAmount>, kind: &AdjustmentKind, cents: Cents) {
    match sums.iter_mut().find(|sum| sum.kind == *kind) {
        Some(sum) => sum.cents.0 += cents.0,
        None => sums.push(KindAmount { kind: kind.clone(), cents }),
    }
}

fn add_payment(sums: &mut Vec<Payment>, payment: &Payment) {
    let same = |sum: &&mut Payment| sum.kind == payment.kind && sum.currency == payment.currency;
    match sums.iter_mut().find(same) {
        Some(sum) => sum.cents.0 += payment.cents.0,
        None => sums.push(payment.clone()),
    }
}
