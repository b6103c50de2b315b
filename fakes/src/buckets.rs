//! Receipts become ready-made store-minutes. A second opinion on the agent's own aggregation, in a
//! few lines of its own; shares no code with it. Pure.

use std::collections::BTreeMap;

use shared::ids::{Sequence, StoreId, StreamId, TillId};
use shared::minute::{KindAmount, SaleRow, StoreMinute, TillMinute};
use shared::money::{Cents, Milli};
use shared::receipt::{Line, Payment, Receipt, StockMovement, Vat};
use shared::time::{BusinessDay, Minute};
use shared::words::{BatchKind, Channel};

/// Bytes that the parts of a batch may sum to, so that what is around them still fits 900 kB.
const PARTS_BYTES_MAX: usize = 850_000;

/// What one store did in a minute of one business day.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// The store.
    pub store: StoreId,
    /// The minute.
    pub minute: Minute,
    /// The day that it is booked on.
    pub business_day: BusinessDay,
    /// The receipts, counting ones and others.
    pub receipts: Vec<Receipt>,
    /// The movements of stock.
    pub movements: Vec<StockMovement>,
}

/// Names the batches of a stream: 1, 2, 3 ...
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbering {
    /// The stream.
    pub stream: StreamId,
    /// The sequence of the next batch.
    pub next: Sequence,
}

impl Bucket {
    /// Cuts the bucket into batches below the limit; a receipt is never cut in two.
    pub fn batches(self, numbering: &mut Numbering) -> Vec<StoreMinute> {
        let empty = self.empty();
        let mut batches = Vec::new();
        let mut open = Part::default();
        for receipt in &self.receipts {
            let bytes = shared::wire::encode(receipt).len();
            if open.bytes + bytes > PARTS_BYTES_MAX && open.bytes > 0 {
                batches.push(std::mem::take(&mut open).close(&empty));
            }
            open.add(receipt, bytes);
        }
        for movement in self.movements {
            let bytes = shared::wire::encode(&movement).len();
            if open.bytes + bytes > PARTS_BYTES_MAX && open.bytes > 0 {
                batches.push(std::mem::take(&mut open).close(&empty));
            }
            open.bytes += bytes;
            open.stock.push(movement);
        }
        if open.bytes > 0 {
            batches.push(open.close(&empty));
        }
        for (batch, first) in
            batches.iter_mut().zip([true].into_iter().chain(std::iter::repeat(false)))
        {
            batch.kind = if first { BatchKind::Original } else { BatchKind::Supplement };
            (batch.stream, batch.sequence) = (numbering.stream, numbering.next);
            numbering.next = numbering.next.next();
            let bytes = shared::wire::encode(batch).len();
            assert!(bytes <= shared::wire::BODY_BYTES_MAX, "a batch of {bytes} bytes was not cut");
        }
        batches
    }

    fn empty(&self) -> StoreMinute {
        StoreMinute {
            store: self.store.clone(),
            minute: self.minute,
            business_day: self.business_day,
            stream: StreamId::from_uuid(uuid::Uuid::nil()),
            sequence: Sequence::FIRST,
            predecessor: None,
            kind: BatchKind::Original,
            complete_through: Some(self.minute),
            tills: Vec::new(),
            sales: Vec::new(),
            stock: Vec::new(),
            corrections: Vec::new(),
            closings: Vec::new(),
            losses: Vec::new(),
            abandoned: Default::default(),
            digests: Vec::new(),
        }
    }
}

/// A batch as it fills: totals per till and series, rows per what tells lines apart.
#[derive(Debug, Default)]
struct Part {
    bytes: usize,
    tills: BTreeMap<(TillId, String), TillMinute>,
    rows: BTreeMap<Vec<u8>, SaleRow>,
    stock: Vec<StockMovement>,
}

impl Part {
    fn add(&mut self, receipt: &Receipt, bytes: usize) {
        self.bytes += bytes;
        let key = (receipt.till.clone(), receipt.series.to_string());
        let till = self.tills.entry(key).or_insert_with(|| no_receipts(receipt));
        let number = receipt.receipt.as_number();
        if !receipt.counts {
            number.map(|number| till.numbers_without_sale.insert(number));
            till.cash_moves.extend(receipt.cash_moves.iter().cloned());
            return;
        }
        match number {
            Some(number) => {
                till.receipts.insert(number);
            }
            None => till.receipt_ids.push(receipt.receipt.clone()),
        }
        add_totals(till, receipt);
        for line in &receipt.lines {
            add_line(&mut self.rows, &receipt.till, line);
        }
    }

    fn close(self, empty: &StoreMinute) -> StoreMinute {
        StoreMinute {
            tills: self.tills.into_values().collect(),
            sales: self.rows.into_values().collect(),
            stock: self.stock,
            ..empty.clone()
        }
    }
}

fn no_receipts(receipt: &Receipt) -> TillMinute {
    TillMinute {
        till: receipt.till.clone(),
        series: receipt.series.clone(),
        channel: Channel::Till,
        receipts: Default::default(),
        receipt_ids: Vec::new(),
        numbers_without_sale: Default::default(),
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
        counts: Default::default(),
    }
}

fn add_totals(till: &mut TillMinute, receipt: &Receipt) {
    till.receipt_count += 1;
    till.tax_added_cents.0 += receipt.tax_added_cents.0;
    till.adjustment_cents.0 += receipt.adjustment_cents.0;
    till.total_cents.0 += receipt.total_cents.0;
    for line in &receipt.lines {
        till.lines_cents.0 += line.amount_cents.0;
        if line.void {
            till.voided_cents.0 += line.amount_cents.0.abs();
            till.counts.line_voids += 1;
        }
    }
    for vat in &receipt.vat {
        let same = |known: &&mut Vat| known.key == vat.key && known.bp == vat.bp;
        match till.vat.iter_mut().find(same) {
            Some(known) => {
                known.gross_cents.0 += vat.gross_cents.0;
                known.net_cents.0 += vat.net_cents.0;
                known.tax_cents.0 += vat.tax_cents.0;
            }
            None => till.vat.push(vat.clone()),
        }
    }
    for part in &receipt.adjustments {
        match till.adjustments.iter_mut().find(|known| known.kind == part.kind) {
            Some(known) => known.cents.0 += part.cents.0,
            None => {
                till.adjustments.push(KindAmount { kind: part.kind.clone(), cents: part.cents });
            }
        }
    }
    for payment in &receipt.payments {
        let same =
            |known: &&mut Payment| known.kind == payment.kind && known.currency == payment.currency;
        match till.payments.iter_mut().find(same) {
            Some(known) => known.cents.0 += payment.cents.0,
            None => till.payments.push(payment.clone()),
        }
    }
}

/// Lines are alike where a row without amounts would be written with the same bytes.
fn add_line(rows: &mut BTreeMap<Vec<u8>, SaleRow>, till: &TillId, line: &Line) {
    let blank = SaleRow {
        till: till.clone(),
        article: line.article.clone(),
        text: line.text.clone(),
        kind: line.kind.clone(),
        void: line.void,
        unit: line.unit.clone(),
        vat_key: line.vat_key.clone(),
        vat_bp: line.vat_bp,
        seller: line.seller.clone(),
        restock: line.restock,
        quantity_milli: Milli::ZERO,
        amount_cents: Cents::ZERO,
        discount_cents: Cents::ZERO,
        adjustment_share_cents: Cents::ZERO,
        lines: 0,
    };
    let row = rows.entry(shared::wire::encode(&blank)).or_insert(blank);
    row.quantity_milli.0 += line.quantity_milli.0;
    row.amount_cents.0 += line.amount_cents.0;
    row.discount_cents.0 += line.discount_cents.0;
    row.adjustment_share_cents.0 += line.adjustment_share_cents.0;
    row.lines += 1;
}
