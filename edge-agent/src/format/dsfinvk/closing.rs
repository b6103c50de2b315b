//! A closing's own totals, and the proof that its receipts make them.

use std::collections::{BTreeMap, BTreeSet};

use shared::ids::{Label, TillId};
use shared::minute::{Closing, ClosingCase};
use shared::money::Cents;
use shared::ranges::Ranges;
use shared::receipt::{CashMove, Payment};
use shared::time::Timestamp;
use shared::words::PaymentKind;

use super::book::{Booking, LineFault, booking, cents, label};
use super::export::{Bon, Z, ZKey};
use super::table::CENT;

/// Why a closing is set aside with all its receipts.
#[derive(Debug, thiserror::Error)]
pub(super) enum Mismatch {
    #[error("its lines make {lines}, its business cases {cases}")]
    Cases { lines: Cents, cases: Cents },
    #[error("its receipts were paid with {receipts}, its Z_SE_ZAHLUNGEN is {total}")]
    Payments { receipts: Cents, total: Cents },
    #[error("its sums do not fit 64 bits")]
    TooLarge,
}

/// Tells whether a transaction enters the closing's totals.
pub(super) fn enters(bon: &Bon) -> bool {
    bon.kind.eq_ignore_ascii_case("Beleg")
}

/// Holds a closing's totals against its receipts, as far as the export has both.
pub(super) fn reconcile(z: &Z) -> Result<(), Mismatch> {
    let bons = || z.bons.iter().filter(|bon| enters(bon));
    if !z.cases.is_empty() {
        let amounts = || {
            let positions = bons().flat_map(|bon| &bon.positions);
            positions.flat_map(|position| &position.vat).map(|(_, amounts)| amounts[0])
        };
        let (lines, cases) = (sum(amounts())?, sum(z.cases.iter().map(|case| case.gross))?);
        // Whole cents must agree exactly; split ones were rounded once per business case.
        let whole = amounts().all(|amount| amount % CENT == 0);
        let rounded = i64::try_from(z.cases.len()).map_err(|_| Mismatch::TooLarge)? * (CENT / 2);
        if (lines - cases).abs() > if whole { 0 } else { rounded } {
            return Err(Mismatch::Cases { lines: cents(lines), cases: cents(cases) });
        }
    }
    if let Some(total) = z.payments_total {
        let paid = bons().flat_map(|bon| &bon.payments).map(|paid| paid.amount);
        let receipts = sum(paid)?;
        if receipts != total {
            let (receipts, total) = (cents(receipts), cents(total));
            return Err(Mismatch::Payments { receipts, total });
        }
    }
    Ok(())
}

fn sum(amounts: impl Iterator<Item = i64>) -> Result<i64, Mismatch> {
    let total: i128 = amounts.map(i128::from).sum();
    // A hundredth of what fits, so that differences and roundings fit too.
    let total = i64::try_from(total).map_err(|_| Mismatch::TooLarge)?;
    if total.abs() > i64::MAX / 100 { Err(Mismatch::TooLarge) } else { Ok(total) }
}

/// Makes the closing of an export's totals; its total is that of its sales, cash moves aside.
pub(super) fn closing(
    (key, z): (&ZKey, &Z),
    closed_at: Timestamp,
    tills: BTreeSet<TillId>,
    receipts: Ranges,
) -> Result<Closing, LineFault> {
    let mut totals: BTreeMap<(&str, &str), [i64; 3]> = BTreeMap::new();
    for case in &z.cases {
        let total = totals.entry((&case.kind, &case.vat_key)).or_default();
        for (sum, part) in total.iter_mut().zip([case.gross, case.net, case.tax]) {
            *sum = sum.checked_add(part).ok_or(LineFault::TooLarge)?;
        }
    }
    let (mut cases, mut cash_moves) = (Vec::new(), Vec::new());
    let mut total_cents = Cents::ZERO;
    for ((kind, vat_key), [gross, net, tax]) in totals {
        match booking(kind).map_err(|error| LineFault::Id("GV_TYP", error))? {
            Booking::Cash(word) => {
                cash_moves.push(CashMove { kind: label("GV_TYP", word)?, cents: cents(gross) });
            }
            Booking::Line(_) | Booking::Adjustment => {
                let total = total_cents.checked_add(cents(gross));
                total_cents = total.ok_or(LineFault::TooLarge)?;
            }
        }
        cases.push(ClosingCase {
            case: label("GV_TYP", kind)?,
            vat_key: Label::new(vat_key).ok(),
            gross: cents(gross),
            net: cents(net),
            tax: cents(tax),
        });
    }
    let payments = z.payments.iter().map(|(kind, amount)| Payment {
        kind: payment_kind(kind, *amount),
        cents: cents(*amount),
        currency: None,
    });
    Ok(Closing {
        tills: tills.into_iter().collect(),
        closing: label("Z_NR", &key.number)?,
        source: label("the source", "dsfinvk")?,
        opened_at: None,
        closed_at,
        receipts,
        total_cents,
        cases,
        payments: payments.collect(),
        cash_moves,
        supersedes: None,
    })
}

/// Tells how was paid; cash that went back is change.
pub(super) fn payment_kind(kind: &str, amount: i64) -> PaymentKind {
    match kind.to_ascii_lowercase().as_str() {
        "bar" if amount < 0 => PaymentKind::Change,
        "bar" => PaymentKind::Cash,
        "eckarte" => PaymentKind::Girocard,
        "kreditkarte" => PaymentKind::Credit,
        "elzahlungsdienstleister" => PaymentKind::Mobile,
        "guthabenkarte" => PaymentKind::GiftCard,
        _ => PaymentKind::Other,
    }
}
