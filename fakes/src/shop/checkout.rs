//! The end of a receipt: discounts of the whole, taxes, total and payments.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use shared::ids::Label;
use shared::money::Cents;
use shared::receipt::{Adjustment, Line, Payment, Receipt, Vat};
use shared::words::{AdjustmentKind, PaymentKind};

use super::assortment::VatClass;
use super::{Country, divided};

/// Sales tax of the American shop in hundredths of a per mille, on every other article.
const SALES_TAX_PER_100_000: i64 = 10_129;

/// Settles a receipt whose lines stand.
pub(crate) fn settle(dice: &mut ChaCha8Rng, country: Country, receipt: &mut Receipt) {
    match country {
        Country::Germany => {
            if dice.random_ratio(2, 100) {
                give_employee_discount(receipt);
            }
            receipt.vat = VatClass::ALL.into_iter().filter_map(|vat| taxed(receipt, vat)).collect();
        }
        Country::America => receipt.tax_added_cents = sales_tax(&receipt.lines),
    }
    let parts = receipt.lines.iter().map(|line| line.amount_cents);
    let total: Cents = parts.chain([receipt.tax_added_cents, receipt.adjustment_cents]).sum();
    receipt.total_cents = total;
    receipt.payments = payments(dice, total);
}

/// Five per cent of what the lines of each VAT key come to, where that is positive.
fn give_employee_discount(receipt: &mut Receipt) {
    for vat in VatClass::ALL {
        let amount = of_class(&receipt.lines, vat).map(|line| line.amount_cents).sum::<Cents>();
        let discount = divided(amount.0 * 5, 100);
        if discount > 0 {
            spread(&mut receipt.lines, vat, -discount);
            receipt.adjustments.push(Adjustment {
                kind: AdjustmentKind::Employee,
                id: None,
                vat_key: Label::new(vat.key()).ok(),
                cents: Cents(-discount),
            });
        }
    }
    receipt.adjustment_cents = receipt.adjustments.iter().map(|part| part.cents).sum();
}

fn of_class(lines: &[Line], vat: VatClass) -> impl Iterator<Item = &Line> {
    let wanted = move |line: &&Line| line.vat_bp == Some(vat.bp());
    lines.iter().filter(wanted)
}

/// Gives every line its part and the last one what rounding leaves.
fn spread(lines: &mut [Line], vat: VatClass, cents: i64) {
    let whole: i64 = of_class(lines, vat).map(|line| line.amount_cents.0).sum();
    let mut left = cents;
    let mut last = None;
    for (at, line) in lines.iter_mut().enumerate() {
        if line.vat_bp == Some(vat.bp()) {
            let share = cents * line.amount_cents.0 / whole;
            line.adjustment_share_cents = Cents(share);
            left -= share;
            last = Some(at);
        }
    }
    if let Some(at) = last {
        lines[at].adjustment_share_cents.0 += left;
    }
}

fn taxed(receipt: &Receipt, vat: VatClass) -> Option<Vat> {
    let lines = of_class(&receipt.lines, vat);
    let amounts = lines.map(|line| Cents(line.amount_cents.0 + line.adjustment_share_cents.0));
    let gross = amounts.sum::<Cents>();
    let bp = i64::from(vat.bp());
    let net = divided(gross.0 * 10_000, 10_000 + bp);
    of_class(&receipt.lines, vat).next()?;
    Some(Vat {
        key: Label::new(vat.key()).ok()?,
        bp: Some(vat.bp()),
        gross_cents: gross,
        net_cents: Cents(net),
        tax_cents: Cents(gross.0 - net),
    })
}

fn sales_tax(lines: &[Line]) -> Cents {
    let taxable = lines.iter().filter(|line| line.article.as_str().ends_with(['0', '2', '4', '6']));
    let amount: i64 = taxable.map(|line| line.amount_cents.0).sum();
    Cents(divided(amount.max(0) * SALES_TAX_PER_100_000, 100_000))
}

/// Half pay cash and get change, some by two means; money that goes out is change, whatever it is for.
fn payments(dice: &mut ChaCha8Rng, total: Cents) -> Vec<Payment> {
    if total.0 == 0 {
        return Vec::new();
    }
    if total.0 < 0 {
        return vec![payment(PaymentKind::Change, total.0)];
    }
    match dice.random_range(0..100_u32) {
        0..50 => {
            let note = [500, 1000, 2000, 5000][dice.random_range(0..4)];
            let given = (total.0 + note - 1) / note * note;
            let change = given - total.0;
            let mut paid = vec![payment(PaymentKind::Cash, given)];
            if change > 0 {
                paid.push(payment(PaymentKind::Change, -change));
            }
            paid
        }
        50..81 => vec![payment(PaymentKind::Girocard, total.0)],
        81..85 => split(PaymentKind::Cash, 500, total),
        85..98 => vec![payment(PaymentKind::Credit, total.0)],
        98.. => split(PaymentKind::Credit, total.0 / 2, total),
    }
}

/// Pays a part by one means and the rest by girocard; all of it where nothing would be left.
fn split(kind: PaymentKind, cents: i64, total: Cents) -> Vec<Payment> {
    let first = cents.min(total.0);
    let parts = [(kind, first), (PaymentKind::Girocard, total.0 - first)];
    let parts = parts.into_iter().filter(|(_, cents)| *cents != 0);
    parts.map(|(kind, cents)| payment(kind, cents)).collect()
}

fn payment(kind: PaymentKind, cents: i64) -> Payment {
    Payment { kind, cents: Cents(cents), currency: None }
}
