//! Receipts as a fiskaltrust middleware keeps them: queue items with the request of the till as a
//! JSON text inside. Codes are those of the German reference tables of the interface's documents
//! (`ftReceiptCase`, `ftChargeItemCase`, `ftPayItemCase`).

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shared::money::Cents;
use shared::receipt::{CashMove, Line, Receipt};
use shared::time::Timestamp;
use shared::words::{LineKind, NotCounted, PaymentKind, Unit};

use super::fiscal;
use crate::shop::is_receipt_void;

/// The country, `DE`, in the highest bytes of every code.
const GERMANY: i64 = 0x4445 << 48;
/// No call opened the transaction before.
const IMPLICIT: i64 = 1 << 32;
const TRAINING: i64 = 0x2_0000;
/// Takes a whole earlier receipt back.
const VOID: i64 = 0x4_0000;
/// Ticks of .NET (100 ns since the year 1) at the start of Unix time.
const TICKS_AT_1970: i64 = 621_355_968_000_000_000;
const TICKS_PER_MILLI: i64 = 10_000;

/// Writes a page of the journal: an array of queue items.
pub(super) fn page(receipts: &[Receipt]) -> Vec<u8> {
    let items: Vec<String> = receipts.iter().map(|receipt| item(receipt).to_string()).collect();
    format!("[{}]", items.join(",")).into_bytes()
}

/// Returns the queue item of a receipt; the same receipt gives the same item.
fn item(receipt: &Receipt) -> Value {
    let request = request(receipt);
    let row = fiscal::transaction(receipt);
    let queue = fiscal::uuid(&format!("queue/{}/{}", receipt.store, receipt.till));
    let id = fiscal::uuid(&format!("{queue}/{row}"));
    // The middleware stamps an item a moment after the till has sent it.
    let ticks = ticks(receipt.ended_at.plus(Duration::from_millis(40 + row % 50)));
    let moment = moment(receipt.ended_at);
    let response = json!({
        "ftQueueID": queue, "ftQueueItemID": id, "ftQueueRow": row,
        "cbTerminalID": receipt.till.as_str(), "cbReceiptReference": receipt.receipt.as_str(),
        "ftReceiptIdentification": format!("ft{row:X}#IT{row}"), "ftReceiptMoment": moment,
        "ftSignatures": [], "ftState": GERMANY,
    });
    let response = response.to_string();
    json!({
        "ftQueueItemId": id, "ftQueueId": queue, "ftQueueRow": row,
        "ftQueueMoment": moment, "ftQueueTimeout": 15000, "ftWorkMoment": moment,
        "ftDoneMoment": moment, "cbReceiptMoment": moment, "cbTerminalID": receipt.till.as_str(),
        "cbReceiptReference": receipt.receipt.as_str(), "country": "DE", "version": "v0",
        "requestHash": hash(&request), "request": request,
        "responseHash": hash(&response), "response": response, "TimeStamp": ticks,
    })
}

/// Returns an instant in ticks.
fn ticks(at: Timestamp) -> i64 {
    TICKS_AT_1970 + at.unix_millis() * TICKS_PER_MILLI
}

fn moment(at: Timestamp) -> String {
    at.utc().format("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}

fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Amounts are written digit by digit, for a JSON library would make them floating point.
fn request(receipt: &Receipt) -> String {
    let mut charges = Vec::new();
    for line in &receipt.lines {
        charges.push(charge(line));
        charges.extend(reduction(line));
    }
    for part in &receipt.adjustments {
        let key = part.vat_key.as_ref().map(|key| key.as_str());
        charges.push(rebate("Mitarbeiterrabatt", (key, bp(key)), part.cents));
    }
    charges.extend(receipt.cash_moves.iter().map(moved));
    let idle = matches!(receipt.reason, Some(NotCounted::Control));
    let charges = if idle { Vec::new() } else { charges };
    let drawer = receipt.cash_moves.iter().map(|moved| pay(&PaymentKind::Cash, moved.cents));
    let pays = receipt.payments.iter().map(|one| pay(&one.kind, one.cents)).chain(drawer);
    let pays: Vec<String> = pays.collect();
    format!(
        "{{\"ftCashBoxID\":\"{}\",\"cbTerminalID\":{},\"cbReceiptReference\":{},\"cbReceiptMoment\":\"{}\",\"cbChargeItems\":[{}],\"cbPayItems\":[{}],\"ftReceiptCase\":{},\"cbReceiptAmount\":{},\"cbUser\":\"Bedienung 91\",\"cbArea\":{}}}",
        fiscal::uuid(&format!("cashbox/{}/{}", receipt.store, receipt.till)),
        text(receipt.till.as_str()),
        text(receipt.receipt.as_str()),
        moment(receipt.ended_at),
        charges.join(","),
        pays.join(","),
        receipt_case(receipt),
        receipt.total_cents,
        text(receipt.store.as_str()),
    )
}

/// A parked receipt is an order, a given up one a transaction that failed, a sign-off a protocol.
fn receipt_case(receipt: &Receipt) -> i64 {
    let case = match &receipt.reason {
        None if is_receipt_void(receipt) => 0x01 | VOID | IMPLICIT,
        None => 0x01 | IMPLICIT,
        Some(NotCounted::Training) => 0x01 | TRAINING | IMPLICIT,
        Some(NotCounted::Suspended) => 0x10 | IMPLICIT,
        Some(NotCounted::Aborted) => 0x0b,
        Some(NotCounted::CashMove) => 0x11 | IMPLICIT,
        Some(
            NotCounted::Control
            | NotCounted::NoSale
            | NotCounted::Reprint
            | NotCounted::Other
            | NotCounted::Unknown(_),
        ) => 0x14 | IMPLICIT,
    };
    GERMANY | case
}

/// A line at its regular price; the amount is the line's, not the piece's.
fn charge(line: &Line) -> String {
    let regular = Cents(line.amount_cents.0 + line.discount_cents.0);
    let key = line.vat_key.as_ref().map(|key| key.as_str());
    let (group, name) = match line.kind {
        LineKind::Deposit => (0x20, "Pfand"),
        LineKind::DepositRefund => (0x28, "Pfandrückzahlung"),
        LineKind::Sale
        | LineKind::Return
        | LineKind::VoucherSale
        | LineKind::Tip
        | LineKind::Donation
        | LineKind::Fee
        | LineKind::Prepayment
        | LineKind::Receivable
        | LineKind::Other
        | LineKind::Unknown(_) => (0x00, "Artikel"),
    };
    let unit = match line.unit {
        Unit::Kilograms => "kg",
        Unit::Litres => "l",
        Unit::Metres => "m",
        Unit::Pieces | Unit::Unknown(_) => "Stk",
    };
    let barcode = line.article.as_str();
    format!(
        "{{\"Quantity\":{},\"Description\":{},\"Amount\":{}00,\"VATRate\":{},\"ftChargeItemCase\":{},\"ProductNumber\":{},\"ProductBarcode\":{},\"Unit\":\"{unit}\",\"UnitQuantity\":1.0}}",
        line.quantity_milli,
        text(name),
        regular,
        Cents(i64::from(line.vat_bp.unwrap_or(0))),
        GERMANY | group | rate(key),
        text(barcode.trim_start_matches('0')),
        text(barcode.strip_prefix('0').unwrap_or(barcode)),
    )
}

/// Money put into the drawer or taken out, by what it is for.
fn moved(moved: &CashMove) -> String {
    let (case, name) = match moved.kind.as_str() {
        "float" => (0x90, "Anfangsbestand"),
        "drop" => (0x93, "Geldtransit"),
        "paid_in" => (0x95, "Einzahlung"),
        _ => (0x96, "Auszahlung"),
    };
    format!(
        "{{\"Quantity\":1.0,\"Description\":\"{name}\",\"Amount\":{}00,\"VATRate\":0.0,\"ftChargeItemCase\":{}}}",
        moved.cents,
        GERMANY | case,
    )
}

/// What a line costs less is an item of its own behind it.
fn reduction(line: &Line) -> Option<String> {
    let key = line.vat_key.as_ref().map(|key| key.as_str());
    let less = -line.discount_cents;
    let bp = line.vat_bp.unwrap_or(0);
    (less != Cents::ZERO).then(|| rebate("Aktionsrabatt", (key, bp), less))
}

fn rebate(name: &str, (key, bp): (Option<&str>, u32), cents: Cents) -> String {
    format!(
        "{{\"Quantity\":1.0,\"Description\":{},\"Amount\":{cents}00,\"VATRate\":{},\"ftChargeItemCase\":{}}}",
        text(name),
        Cents(i64::from(bp)),
        GERMANY | 0x30 | rate(key),
    )
}

fn bp(key: Option<&str>) -> u32 {
    match key {
        Some("1") => 1900,
        Some("2") => 700,
        Some(_) | None => 0,
    }
}

/// The lowest digit of a charge's code says its VAT: 1 general, 2 reduced, 7 unknown.
fn rate(key: Option<&str>) -> i64 {
    match key {
        Some("1") => 1,
        Some("2") => 2,
        Some(_) | None => 7,
    }
}

fn pay(kind: &PaymentKind, cents: Cents) -> String {
    let (case, name) = match kind {
        PaymentKind::Cash => (0x01, "Bar"),
        PaymentKind::Change | PaymentKind::Cashback => (0x0b, "Wechselgeld"),
        PaymentKind::Girocard => (0x04, "EC-Karte"),
        PaymentKind::Credit => (0x05, "Kreditkarte"),
        PaymentKind::Mobile => (0x06, "Online"),
        PaymentKind::GiftCard => (0x07, "Guthabenkarte"),
        PaymentKind::Voucher | PaymentKind::DepositVoucher => (0x0d, "Gutschein"),
        PaymentKind::OnAccount
        | PaymentKind::Points
        | PaymentKind::Prepayment
        | PaymentKind::Other
        | PaymentKind::Unknown(_) => (0x00, "Sonstige"),
    };
    format!(
        "{{\"Quantity\":1.0,\"Description\":\"{name}\",\"Amount\":{cents}00,\"ftPayItemCase\":{}}}",
        GERMANY | case,
    )
}

fn text(value: &str) -> String {
    Value::from(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_count_from_the_year_one_and_codes_begin_with_the_country() {
        assert_eq!(ticks("1970-01-01T00:00:01Z".parse().unwrap()), 621_355_968_010_000_000);
        assert_eq!(GERMANY | rate(Some("1")), 4_919_338_167_972_134_913);
    }
}
