//! What the truth says: entries of the ledgers as holdings. Pure.

use super::holdings::{
    Holdings, MovementFact, MovementSums, Place, RowFact, RowSums, Side, TillFact, TillSums,
};
use crate::truth::{Entry, IssuedBatch, IssuedLine, IssuedMovement, IssuedReceipt};

/// Adds an entry where its store is compared now.
pub(super) fn add(holdings: &mut Holdings, entry: &Entry) {
    if !holdings.compares(entry.store().as_str()) {
        return;
    }
    match entry {
        Entry::Receipt(receipt) => add_receipt(holdings, receipt),
        Entry::Batch(batch) => add_batch(holdings, batch),
        Entry::Movement(movement) => add_movement(holdings, movement),
        Entry::WithoutSale(_) => {}
    }
}

fn add_receipt(holdings: &mut Holdings, receipt: &IssuedReceipt) {
    let place = Place {
        store: receipt.store.as_str(),
        day: receipt.business_day.date().to_epoch_days(),
        minute: receipt.minute.start().unix_millis().div_euclid(60_000),
        till: receipt.till.as_str(),
    };
    let sums = TillSums {
        receipts: 1,
        lines_cents: receipt.lines.iter().map(|line| i128::from(line.amount_cents.0)).sum(),
        tax_added_cents: receipt.tax_added_cents.0.into(),
        adjustment_cents: receipt.adjustment_cents.0.into(),
        total_cents: receipt.total_cents.0.into(),
        adjustment_share_cents: receipt.adjustment_cents.0.into(),
    };
    holdings.add_till(Side::Truth, &TillFact { place, sums });
    for line in &receipt.lines {
        add_line(holdings, place, (line, 1));
    }
}

fn add_batch(holdings: &mut Holdings, batch: &IssuedBatch) {
    let place = |till| Place {
        store: batch.store.as_str(),
        day: batch.business_day.date().to_epoch_days(),
        minute: batch.minute.start().unix_millis().div_euclid(60_000),
        till,
    };
    for till in &batch.tills {
        let sums = TillSums {
            receipts: till.receipt_count.into(),
            lines_cents: till.lines_cents.0.into(),
            tax_added_cents: till.tax_added_cents.0.into(),
            adjustment_cents: till.adjustment_cents.0.into(),
            total_cents: till.total_cents.0.into(),
            adjustment_share_cents: till.adjustment_cents.0.into(),
        };
        holdings.add_till(Side::Truth, &TillFact { place: place(till.till.as_str()), sums });
    }
    for row in &batch.sales {
        add_line(holdings, place(row.till.as_str()), (&row.line, row.lines));
    }
}

fn add_line(holdings: &mut Holdings, place: Place<'_>, (line, lines): (&IssuedLine, u64)) {
    let sums = RowSums {
        lines: lines.into(),
        quantity_milli: line.quantity_milli.0.into(),
        amount_cents: line.amount_cents.0.into(),
        discount_cents: line.discount_cents.0.into(),
    };
    let fact = RowFact {
        place,
        article: line.article.as_str(),
        kind: line.kind.as_str(),
        unit: line.unit.as_str(),
        void: line.void,
        seller: line.seller.as_ref().map(|seller| seller.as_str()),
        restock: line.restock,
        sums,
    };
    holdings.add_row(Side::Truth, &fact);
}

fn add_movement(holdings: &mut Holdings, issued: &IssuedMovement) {
    let movement = &issued.movement;
    let fact = MovementFact {
        store: issued.store.as_str(),
        at: movement.occurred_at.utc().timestamp_micros(),
        id: movement.id.as_str(),
        article: movement.article.as_str(),
        kind: movement.kind.as_str(),
        unit: movement.unit.as_str(),
        sums: MovementSums { movements: 1, quantity_milli: movement.quantity_milli.0.into() },
    };
    holdings.add_movement(Side::Truth, &fact);
}
