//! The dialect of the project's own seeded shop: every figure is absolute, its direction stands in
//! the element, the item's type, the kind of payment and the flag `VoidFlag`. VAT is inside the prices.

use shared::money::{Cents, Milli};
use shared::receipt::{Adjustment, Line, Payment, Receipt};
use shared::words::{AdjustmentKind, LineKind, PaymentKind, Unit};

use super::record::{Discount, Item, Retail, Tender};
use super::rules::Standing;
use super::{Fault, cents, label, line, needed, sum, total};

/// Fills in lines, adjustments, payments and total. A receipt that takes back an earlier one repeats
/// all but the total as they stood there.
pub(super) fn fill(
    receipt: &mut Receipt,
    retail: &Retail,
    standing: Standing,
) -> Result<(), Fault> {
    receipt.lines = retail.items.iter().map(sale).collect::<Result<_, _>>()?;
    receipt.adjustments = retail.discounts.iter().map(adjustment).collect::<Result<_, _>>()?;
    receipt.payments = retail.tenders.iter().map(payment).collect::<Result<_, _>>()?;
    if standing == Standing::PostVoided {
        turn(receipt);
    }
    let adjustments = receipt.adjustments.iter().map(|part| part.cents);
    receipt.adjustment_cents = sum("the adjustments", adjustments)?;
    receipt.total_cents = total(retail, "TransactionGrandAmount")?;
    Ok(())
}

fn turn(receipt: &mut Receipt) {
    for line in &mut receipt.lines {
        line.quantity_milli = Milli(-line.quantity_milli.0);
        line.amount_cents = -line.amount_cents;
        line.discount_cents = -line.discount_cents;
    }
    for part in &mut receipt.adjustments {
        part.cents = -part.cents;
    }
    for payment in &mut receipt.payments {
        payment.cents = -payment.cents;
    }
}

fn sale(item: &Item) -> Result<Line, Fault> {
    let kind = kind(item);
    let mut read = line(item, kind, unit(item)?)?;
    for (name, negative) in [
        ("Quantity", read.quantity_milli.0 < 0),
        ("ExtendedAmount", read.amount_cents.0 < 0),
        ("ExtendedDiscountAmount", read.discount_cents.0 < 0),
    ] {
        absolute(name, negative)?;
    }
    let brings_back = item.returned || read.kind == LineKind::DepositRefund;
    if brings_back != item.void {
        read.quantity_milli = Milli(-read.quantity_milli.0);
        read.amount_cents = -read.amount_cents;
        read.discount_cents = -read.discount_cents;
    }
    Ok(read)
}

fn kind(item: &Item) -> LineKind {
    match item.item_type.as_deref() {
        Some("DepositRefund") => LineKind::DepositRefund,
        Some("Deposit") if item.returned => LineKind::DepositRefund,
        Some("Deposit") => LineKind::Deposit,
        None | Some("Stock") if item.returned => LineKind::Return,
        None | Some("Stock") => LineKind::Sale,
        Some("Fee" | "Service") => LineKind::Fee,
        Some(_) => LineKind::Other,
    }
}

fn unit(item: &Item) -> Result<Unit, Fault> {
    match item.unit.as_deref() {
        None | Some("EA") => Ok(Unit::Pieces),
        Some("KGM") => Ok(Unit::Kilograms),
        Some("LTR") => Ok(Unit::Litres),
        Some("MTR") => Ok(Unit::Metres),
        Some(other) => Unit::new(other).map_err(|error| Fault::Id("UnitOfMeasureCode", error)),
    }
}

fn adjustment(discount: &Discount) -> Result<Adjustment, Fault> {
    let amount = cents("Amount of a discount", &discount.amount)?;
    absolute("a discount", amount.0 < 0)?;
    let kind = AdjustmentKind::new(needed("TypeCode of a discount", &discount.kind)?);
    Ok(Adjustment {
        kind: kind.map_err(|error| Fault::Id("TypeCode of a discount", error))?,
        id: None,
        vat_key: label("TaxGroupID", &discount.vat_key)?,
        cents: if discount.void { amount } else { -amount },
    })
}

fn payment(tender: &Tender) -> Result<Payment, Fault> {
    let amount = cents("Amount of a tender", &tender.amount)?;
    absolute("a tender", amount.0 < 0)?;
    let kind = PaymentKind::new(needed("TenderType", &tender.kind)?);
    let kind = kind.map_err(|error| Fault::Id("TenderType", error))?;
    let goes_back = matches!(kind, PaymentKind::Change | PaymentKind::Cashback);
    let signed: Cents = if goes_back == tender.void { amount } else { -amount };
    Ok(Payment { kind, cents: signed, currency: None })
}

fn absolute(name: &'static str, is_negative: bool) -> Result<(), Fault> {
    if is_negative { Err(Fault::Sign(name)) } else { Ok(()) }
}
