//! POSLog in the plain dialect of these fakes: no namespace, every quantity and amount without a
//! sign, the direction in elements and flags. The grand total alone may be negative.

use chrono_tz::Tz;
use shared::money::Cents;
use shared::receipt::{Adjustment, Line, Payment, Receipt};
use shared::words::{LineKind, NotCounted, Unit};

use super::local_time;
use super::xml::{Xml, cash_moved, taken_back};
use crate::shop::{is_receipt_void, turned};

pub(super) fn file(receipts: &[Receipt], zone: Tz) -> String {
    let mut xml = Xml::default();
    xml.open("?xml version=\"1.0\" encoding=\"UTF-8\"?");
    xml.line();
    xml.open("POSLog");
    for receipt in receipts {
        xml.line();
        transaction(&mut xml, receipt, zone);
    }
    xml.line();
    xml.close("POSLog");
    xml.line();
    xml.finish()
}

fn transaction(xml: &mut Xml, receipt: &Receipt, zone: Tz) {
    let training = receipt.reason == Some(NotCounted::Training);
    xml.open(&format!("Transaction TrainingModeFlag=\"{training}\""));
    xml.leaf("RetailStoreID", &receipt.store);
    xml.leaf("WorkstationID", &receipt.till);
    xml.leaf("SequenceNumber", &receipt.receipt);
    xml.leaf("BusinessDayDate", receipt.business_day);
    xml.leaf("EndDateTime", local_time(receipt.ended_at, zone));
    match status(receipt) {
        Some(status) => retail(xml, receipt, status),
        None if receipt.reason == Some(NotCounted::CashMove) => {
            cash_moved(xml, &receipt.cash_moves, |cents| ("", cents.to_string()));
        }
        None => {
            xml.open("ControlTransaction");
            xml.leaf("ReasonCode", "SignOff");
            xml.close("ControlTransaction");
        }
    }
    xml.close("Transaction");
}

/// Returns how a receipt stands, as every dialect says it; nothing for a number without goods.
pub(super) fn status(receipt: &Receipt) -> Option<&'static str> {
    match &receipt.reason {
        None if is_receipt_void(receipt) => Some("PostVoided"),
        None | Some(NotCounted::Training) => Some("Finished"),
        Some(NotCounted::Aborted) => Some("Canceled"),
        Some(NotCounted::Suspended) => Some("Suspended"),
        Some(
            NotCounted::Control
            | NotCounted::NoSale
            | NotCounted::CashMove
            | NotCounted::Reprint
            | NotCounted::Other
            | NotCounted::Unknown(_),
        ) => None,
    }
}

/// A receipt that takes back another one repeats its lines and tenders; only the total is turned.
fn retail(xml: &mut Xml, receipt: &Receipt, status: &str) {
    xml.open(&format!("RetailTransaction TransactionStatus=\"{status}\""));
    let is_void = is_receipt_void(receipt);
    let told = if is_void { &turned(receipt) } else { receipt };
    let mut position = 0;
    for line in &told.lines {
        position = line.position;
        goods(xml, line);
    }
    for adjustment in &told.adjustments {
        position += 1;
        discount(xml, adjustment, position);
    }
    for payment in &told.payments {
        position += 1;
        tender(xml, payment, position);
    }
    let tax: Cents = receipt.vat.iter().map(|vat| vat.tax_cents).sum();
    xml.leaf("Total TotalType=\"TransactionGrandAmount\"", receipt.total_cents);
    xml.leaf("Total TotalType=\"TransactionTaxAmount\"", tax.abs());
    if let Some(other) = receipt.refers_to.as_ref().filter(|_| is_void) {
        taken_back(xml, other, receipt.business_day);
    }
    xml.close("RetailTransaction");
}

fn goods(xml: &mut Xml, line: &Line) {
    let (element, item) = words(&line.kind);
    xml.open(&format!("LineItem VoidFlag=\"{}\"", line.void));
    xml.leaf("SequenceNumber", line.position);
    xml.open(&format!("{element} ItemType=\"{item}\""));
    xml.leaf("ItemID", &line.article);
    xml.leaf("Description", format!("Artikel \"{}\" <{}>", line.article, line.unit));
    xml.leaf("ExtendedAmount", line.amount_cents.abs());
    xml.leaf("ExtendedDiscountAmount", line.discount_cents.abs());
    let unit = unit_code(&line.unit);
    xml.leaf(&format!("Quantity UnitOfMeasureCode=\"{unit}\""), line.quantity_milli.abs());
    if let (Some(key), Some(bp)) = (&line.vat_key, line.vat_bp) {
        xml.open("Tax");
        xml.leaf("TaxGroupID", key);
        xml.leaf("Percent", Cents(i64::from(bp)));
        xml.close("Tax");
    }
    xml.close(element);
    xml.close("LineItem");
}

/// The dialect has words for what the shop sells; nothing else is written by these fakes.
fn words(kind: &LineKind) -> (&'static str, &'static str) {
    match kind {
        LineKind::Return => ("Return", "Stock"),
        LineKind::Deposit => ("Sale", "Deposit"),
        LineKind::DepositRefund => ("Sale", "DepositRefund"),
        LineKind::Sale
        | LineKind::VoucherSale
        | LineKind::Tip
        | LineKind::Donation
        | LineKind::Fee
        | LineKind::Prepayment
        | LineKind::Receivable
        | LineKind::Other
        | LineKind::Unknown(_) => ("Sale", "Stock"),
    }
}

fn unit_code(unit: &Unit) -> &str {
    match unit {
        Unit::Pieces => "EA",
        Unit::Kilograms => "KGM",
        Unit::Litres => "LTR",
        Unit::Metres => "MTR",
        Unit::Unknown(word) => word.as_str(),
    }
}

fn discount(xml: &mut Xml, adjustment: &Adjustment, position: u32) {
    xml.open("LineItem");
    xml.leaf("SequenceNumber", position);
    xml.open(&format!("Discount TypeCode=\"{}\"", adjustment.kind));
    if let Some(key) = &adjustment.vat_key {
        xml.leaf("TaxGroupID", key);
    }
    xml.leaf("Amount", adjustment.cents.abs());
    xml.close("Discount");
    xml.close("LineItem");
}

fn tender(xml: &mut Xml, payment: &Payment, position: u32) {
    xml.open("LineItem");
    xml.leaf("SequenceNumber", position);
    xml.open(&format!("Tender TenderType=\"{}\"", payment.kind));
    xml.leaf("Amount", payment.cents.abs());
    xml.close("Tender");
    xml.close("LineItem");
}
