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
    #[error("its lines of {case} with VAT key {key} make {lines}, its business cases {cases}")]
    Case { case: String, key: String, lines: Cents, cases: Cents },
    #[error("its receipts were paid with {receipts}, its {column} is {total}")]
    Payments { receipts: Cents, column: &'static str, total: Cents },
    #[error("its receipts were paid with {receipts} by {kind}, its payment.csv says {total}")]
    Kind { kind: String, receipts: Cents, total: Cents },
    #[error("its sums do not fit 64 bits")]
    TooLarge,
}

/// Tells whether a transaction enters the closing's totals.
pub(super) fn enters(bon: &Bon) -> bool {
    bon.kind.eq_ignore_ascii_case("Beleg")
}

/// Holds a closing's totals against its receipts, as far as the export has both: all in all, then
/// business case by business case and means of payment by means of payment.
pub(super) fn reconcile(z: &Z) -> Result<(), Mismatch> {
    if !z.cases.is_empty() {
        cases_agree(z)?;
    }
    let paid = |cash: bool| {
        let paid = payments(z).filter(move |(kind, _)| !cash || is_cash(kind));
        sum(paid.map(|(_, amount)| amount))
    };
    for (column, total, cash) in
        [("Z_SE_ZAHLUNGEN", z.payments_total, false), ("Z_SE_BARZAHLUNGEN", z.cash_total, true)]
    {
        let Some(total) = total else { continue };
        let receipts = paid(cash)?;
        if receipts != total {
            let (receipts, total) = (cents(receipts), cents(total));
            return Err(Mismatch::Payments { receipts, column, total });
        }
    }
    if z.payments.is_empty() { Ok(()) } else { kinds_agree(z) }
}

/// What a group of amounts makes, and what the till says that it makes.
#[derive(Default)]
struct Group {
    made: Vec<i64>,
    said: Vec<i64>,
}

impl Group {
    /// Returns both sums where they differ. Whole cents must agree exactly; split ones were rounded
    /// once for each total.
    fn difference(&self) -> Result<Option<(Cents, Cents)>, Mismatch> {
        let sum = |amounts: &[i64]| sum(amounts.iter().copied());
        let (made, said) = (sum(&self.made)?, sum(&self.said)?);
        let whole = self.made.iter().all(|amount| amount % CENT == 0);
        let totals = i64::try_from(self.said.len()).map_err(|_| Mismatch::TooLarge)?;
        let rounded = if whole { 0 } else { totals * (CENT / 2) };
        let agree = (made - said).abs() <= rounded;
        Ok((!agree).then(|| (cents(made), cents(said))))
    }
}

fn cases_agree(z: &Z) -> Result<(), Mismatch> {
    let mut groups: BTreeMap<(String, &str), Group> = BTreeMap::new();
    for position in z.bons.iter().filter(|bon| enters(bon)).flat_map(|bon| &bon.positions) {
        for (key, [gross, ..]) in &position.vat {
            let group = groups.entry((position.case.to_ascii_lowercase(), key)).or_default();
            group.made.push(*gross);
        }
    }
    for case in &z.cases {
        let group = groups.entry((case.kind.to_ascii_lowercase(), &case.vat_key)).or_default();
        group.said.push(case.gross);
    }
    let mut all = Group::default();
    for group in groups.values() {
        all.made.extend(&group.made);
        all.said.extend(&group.said);
    }
    if let Some((lines, cases)) = all.difference()? {
        return Err(Mismatch::Cases { lines, cases });
    }
    for ((case, key), group) in &groups {
        if let Some((lines, cases)) = group.difference()? {
            let (case, key) = (shown(case), shown(key));
            return Err(Mismatch::Case { case, key, lines, cases });
        }
    }
    Ok(())
}

fn kinds_agree(z: &Z) -> Result<(), Mismatch> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for (kind, amount) in payments(z) {
        groups.entry(kind.to_ascii_lowercase()).or_default().made.push(amount);
    }
    for (kind, amount) in &z.payments {
        groups.entry(kind.to_ascii_lowercase()).or_default().said.push(*amount);
    }
    for (kind, group) in &groups {
        if let Some((receipts, total)) = group.difference()? {
            return Err(Mismatch::Kind { kind: shown(kind), receipts, total });
        }
    }
    Ok(())
}

fn payments(z: &Z) -> impl Iterator<Item = (&str, i64)> {
    let bons = z.bons.iter().filter(|bon| enters(bon));
    bons.flat_map(|bon| &bon.payments).map(|paid| (paid.kind.as_str(), paid.amount))
}

fn is_cash(kind: &str) -> bool {
    kind.eq_ignore_ascii_case("Bar")
}

fn shown(word: &str) -> String {
    word.chars().take(40).collect()
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
