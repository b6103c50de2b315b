//! POSLog as an NCR ACS back office exports it: signed quantities and amounts, except that a refund
//! of empties has a positive quantity; void lines negative; tax on top; times without a zone.

use chrono_tz::Tz;
use shared::money::{Cents, Milli};
use shared::receipt::{Line, Payment, Receipt};
use shared::words::{LineKind, NotCounted, PaymentKind, Unit};

use super::local_time;
use super::xml::{Xml, cash_moved};

const ROOT: &str = "POSLog xmlns:poslog=\"http://www.nrf-arts.org/IXRetail/namespace/\" \
    xmlns=\"http://www.nrf-arts.org/IXRetail/namespace/\" \
    xmlns:acs=\"http://www.ncr.com/rsd/acs/tlog/markup/poslog/2.1\"";

pub(super) fn file(receipts: &[Receipt], zone: Tz) -> String {
    let mut xml = Xml::default();
    xml.open(ROOT);
    for receipt in receipts {
        xml.line();
        transaction(&mut xml, receipt, zone);
    }
    xml.close("POSLog");
    xml.finish()
}

fn transaction(xml: &mut Xml, receipt: &Receipt, zone: Tz) {
    let ended = local_time(receipt.ended_at, zone);
    xml.open("Transaction");
    xml.leaf("RetailStoreID", &receipt.store);
    xml.leaf("WorkstationID", &receipt.till);
    xml.leaf("SequenceNumber", &receipt.receipt);
    xml.leaf("BusinessDayDate", receipt.business_day);
    xml.leaf("EndDateTime", &ended);
    xml.leaf("OperatorID OperatorName=\"X\"", 91);
    xml.leaf("CurrencyCode", "USD");
    if receipt.counts {
        retail(xml, receipt, &ended);
    } else if receipt.reason == Some(NotCounted::CashMove) {
        cash_moved(xml, &receipt.cash_moves, |cents| ("", cents.to_string()));
    } else {
        xml.open("ControlTransaction Version=\"2.1\"");
        xml.leaf("ReasonCode", "SignOff/On Aborted");
        xml.close("ControlTransaction");
    }
    xml.close("Transaction");
}

fn retail(xml: &mut Xml, receipt: &Receipt, ended: &str) {
    xml.open("RetailTransaction Version=\"2.1\"");
    xml.leaf("ReceiptDateTime", ended);
    xml.leaf("TransactionCount", receipt.lines.len());
    for line in &receipt.lines {
        goods(xml, line);
    }
    let last = receipt.lines.last().map_or(0, |line| line.position);
    for (payment, position) in receipt.payments.iter().zip(last + 1..) {
        tender(xml, payment, position);
    }
    totals(xml, receipt);
    xml.close("RetailTransaction");
}

fn goods(xml: &mut Xml, line: &Line) {
    let void = if line.void { "VoidFlag=\"true\" " } else { "" };
    let weighed = match line.unit {
        Unit::Kilograms | Unit::Unknown(_) => " acs:weightItem=\"true\"",
        Unit::Pieces | Unit::Litres | Unit::Metres => "",
    };
    let empties = line.kind == LineKind::DepositRefund;
    let (item, quantity) = match empties {
        true if !line.void => ("acs:NegativeItem", line.quantity_milli.abs()),
        true => ("acs:NegativeItem", -line.quantity_milli.abs()),
        false => ("Stock", line.quantity_milli),
    };
    xml.open(&format!("LineItem {void}EntryMethod=\"Scanned\"{weighed}"));
    xml.leaf("SequenceNumber", line.position);
    xml.open(&format!("Sale ItemType=\"{item}\""));
    xml.open("POSIdentity POSIDType=\"GTIN\"");
    xml.leaf("POSItemID", &line.article);
    xml.leaf("Qualifier", 17);
    xml.close("POSIdentity");
    xml.leaf("ItemID", &line.article);
    xml.leaf("Description", format!("{:<20}", "GROCERY & MORE"));
    xml.leaf("ExtendedAmount", line.amount_cents);
    xml.leaf("DiscountAmount", Cents::ZERO);
    xml.leaf("ExtendedDiscountAmount", Cents::ZERO);
    xml.leaf("Quantity", short(quantity));
    xml.close("Sale");
    xml.close("LineItem");
}

/// Whole numbers stand without decimals, weights with two.
fn short(quantity: Milli) -> String {
    let text = quantity.to_string();
    match text.strip_suffix(".000") {
        Some(whole) => whole.to_owned(),
        None => text.strip_suffix('0').unwrap_or(&text).to_owned(),
    }
}

fn tender(xml: &mut Xml, payment: &Payment, position: u32) {
    let out = payment.cents < Cents::ZERO;
    let kind = match payment.kind {
        PaymentKind::Cash | PaymentKind::Change => "Cash",
        PaymentKind::Cashback
        | PaymentKind::Girocard
        | PaymentKind::Credit
        | PaymentKind::Mobile
        | PaymentKind::GiftCard
        | PaymentKind::Voucher
        | PaymentKind::DepositVoucher
        | PaymentKind::OnAccount
        | PaymentKind::Points
        | PaymentKind::Prepayment
        | PaymentKind::Other
        | PaymentKind::Unknown(_) => "CreditDebit",
    };
    let code = if out { "Refund" } else { "Sale" };
    xml.open("LineItem EntryMethod=\"Keyed\"");
    xml.leaf("SequenceNumber", position);
    xml.open(&format!("Tender TenderType=\"{kind}\" TypeCode=\"{code}\""));
    xml.leaf("Amount", payment.cents.abs());
    xml.close("Tender");
    xml.close("LineItem");
}

/// Gross positive is what was added, tax included; gross negative is what was taken off.
fn totals(xml: &mut Xml, receipt: &Receipt) {
    let amounts = receipt.lines.iter().map(|line| line.amount_cents);
    let added: Cents = amounts.filter(|cents| *cents > Cents::ZERO).sum();
    let positive = Cents(added.0 + receipt.tax_added_cents.0);
    let negative = Cents(receipt.total_cents.0 - positive.0);
    xml.leaf("Total TotalType=\"TransactionGrandAmount\"", receipt.total_cents);
    xml.leaf("Total TotalType=\"acs:GrossPositive\"", positive);
    xml.leaf("Total TotalType=\"acs:GrossNegative\"", negative);
    xml.leaf("Total TotalType=\"TransactionTaxAmount\"", receipt.tax_added_cents);
    xml.leaf("Total TotalType=\"acs:DiscountTotal\"", Cents::ZERO);
}
