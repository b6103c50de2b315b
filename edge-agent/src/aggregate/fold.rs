//! One minute's receipts and movements become the bodies of one or more batches. A batch is split
//! before it grows too large for a record; a receipt never is.

use std::collections::BTreeMap;

use shared::ids::{Article, Label, Sequence, Series, StoreId, StreamId, TillId};
use shared::minute::{Counts, KindAmount, Loss, SaleRow, StoreMinute, TillMinute};
use shared::money::Cents;
use shared::ranges::Ranges;
use shared::receipt::{Line, Payment, Receipt, StockMovement, Vat};
use shared::time::{BusinessDay, Minute};
use shared::words::{AdjustmentKind, BatchKind, Channel, LineKind, NotCounted, PaymentKind, Unit};

/// Bytes of receipts that one body may hold. A receipt's own JSON is at least as long as what it
/// adds to a body, so that the record stays below its limit.
pub const RECEIPT_BYTES_MAX: usize = shared::wire::BODY_BYTES_MAX - 20_000;

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

/// What was rung up and moved.
#[derive(Debug, Clone, Default)]
pub struct Rung {
    /// Receipts, each with the bytes of its JSON.
    pub receipts: Vec<(Receipt, usize)>,
    /// Receipts that go alone in their batch.
    pub alone: Vec<Receipt>,
    /// Movements of stock.
    pub movements: Vec<StockMovement>,
    /// Duplicates and quarantined receipts per till, to ride along where the till is in a batch.
    pub noticed: BTreeMap<TillId, Counts>,
    /// What had to be given up.
    pub losses: Vec<Loss>,
}

/// Returns the batches of a minute in the order of their sequences.
pub fn fold(frame: &Frame, mut rung: Rung) -> Vec<StoreMinute> {
    let mut noticed = std::mem::take(&mut rung.noticed);
    let mut bodies: Vec<StoreMinute> = portions(rung).into_iter().map(|p| p.body(frame)).collect();
    for (at, body) in bodies.iter_mut().enumerate() {
        let ahead = u64::try_from(at).expect("a count of batches fits 64 bits");
        body.sequence = Sequence::new(frame.first.get() + ahead).expect("below 2^53");
        if at > 0 {
            body.kind = BatchKind::Supplement;
        }
        for till in &mut body.tills {
            if let Some(counts) = noticed.remove(&till.till) {
                till.counts.duplicates += counts.duplicates;
                till.counts.quarantined += counts.quarantined;
            }
        }
    }
    bodies
}

/// What goes into one body.
#[derive(Default)]
struct Portion {
    bytes: usize,
    tills: BTreeMap<(TillId, Series, Channel), Till>,
    rows: BTreeMap<RowKey, SaleRow>,
    stock: Vec<StockMovement>,
    losses: Vec<Loss>,
}

/// A till's sums, and how much of its total came without payments.
struct Till {
    minute: TillMinute,
    unpaid: Cents,
}

type RowKey = (
    (TillId, Article, LineKind, bool, Unit),
    (Option<Label>, Option<u32>, Option<Label>, Option<bool>, Option<Label>),
);

fn portions(rung: Rung) -> Vec<Portion> {
    let mut portions = vec![Portion::default()];
    for (receipt, bytes) in rung.receipts {
        room(&mut portions, bytes).add_receipt(receipt);
    }
    for movement in rung.movements {
        let bytes = shared::wire::encode(&movement).len();
        room(&mut portions, bytes).stock.push(movement);
    }
    for loss in rung.losses {
        let bytes = shared::wire::encode(&loss).len();
        room(&mut portions, bytes).losses.push(loss);
    }
    portions.retain(|portion| portion.bytes > 0);
    for receipt in rung.alone {
        let mut portion = Portion::default();
        portion.add_receipt(receipt);
        portions.push(portion);
    }
    portions
}

/// Returns the last portion where the bytes still fit, else a new one.
fn room(portions: &mut Vec<Portion>, bytes: usize) -> &mut Portion {
    let full = |portion: &Portion| portion.bytes > 0 && portion.bytes + bytes > RECEIPT_BYTES_MAX;
    if portions.last().is_none_or(full) {
        portions.push(Portion::default());
    }
    let last = portions.last_mut().expect("one was pushed if there was none");
    last.bytes += bytes;
    last
}

impl Portion {
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

    fn add_line(&mut self, till: &TillId, line: Line) {
        let row = self.rows.entry(row_key(till, &line)).or_insert_with(|| empty_row(till, &line));
        row.quantity_milli.0 += line.quantity_milli.0;
        row.amount_cents.0 += line.amount_cents.0;
        row.discount_cents.0 += line.discount_cents.0;
        row.adjustment_share_cents.0 += line.adjustment_share_cents.0;
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
            sales: self.rows.into_values().collect(),
            stock: self.stock,
            corrections: Vec::new(),
            closings: Vec::new(),
            losses: self.losses,
        }
    }
}

fn row_key(till: &TillId, line: &Line) -> RowKey {
    let line = line.clone();
    (
        (till.clone(), line.article, line.kind, line.void, line.unit),
        (line.vat_key, line.vat_bp, line.seller, line.restock, line.text),
    )
}

fn empty_row(till: &TillId, line: &Line) -> SaleRow {
    let line = line.clone();
    SaleRow {
        till: till.clone(),
        article: line.article,
        text: line.text,
        kind: line.kind,
        void: line.void,
        unit: line.unit,
        vat_key: line.vat_key,
        vat_bp: line.vat_bp,
        seller: line.seller,
        restock: line.restock,
        quantity_milli: shared::money::Milli::ZERO,
        amount_cents: Cents::ZERO,
        discount_cents: Cents::ZERO,
        adjustment_share_cents: Cents::ZERO,
        lines: 0,
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
        till.tax_added_cents.0 += receipt.tax_added_cents.0;
        till.adjustment_cents.0 += receipt.adjustment_cents.0;
        till.total_cents.0 += receipt.total_cents.0;
        for line in &receipt.lines {
            till.lines_cents.0 += line.amount_cents.0;
            if line.void {
                till.counts.line_voids += 1;
                till.voided_cents.0 += line.amount_cents.abs().0;
            }
        }
        let returned = |line: &Line| line.kind == LineKind::Return && !line.void;
        till.counts.returns += u64::from(receipt.lines.iter().any(returned));
        receipt.vat.iter().for_each(|vat| add_vat(&mut till.vat, vat));
        for adjustment in &receipt.adjustments {
            add_adjustment(&mut till.adjustments, &adjustment.kind, adjustment.cents);
        }
        receipt.payments.iter().for_each(|payment| add_payment(&mut till.payments, payment));
        if receipt.payments.is_empty() {
            self.unpaid.0 += receipt.total_cents.0;
        }
    }

    fn add_other(&mut self, receipt: &Receipt) {
        if let Some(number) = receipt.receipt.as_number() {
            self.minute.numbers_without_sale.insert(number);
        }
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

fn add_vat(sums: &mut Vec<Vat>, vat: &Vat) {
    match sums.iter_mut().find(|sum| sum.key == vat.key && sum.bp == vat.bp) {
        Some(sum) => {
            sum.gross_cents.0 += vat.gross_cents.0;
            sum.net_cents.0 += vat.net_cents.0;
            sum.tax_cents.0 += vat.tax_cents.0;
        }
        None => sums.push(vat.clone()),
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
