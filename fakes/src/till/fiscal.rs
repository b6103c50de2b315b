//! What a security device (TSE) says of a receipt: made up, but the same for the same receipt, so
//! that a print, a journal and an export of one sale agree. Nothing here is signed.

use sha2::{Digest, Sha256};
use shared::money::Cents;
use shared::receipt::Receipt;
use shared::words::PaymentKind;

/// Numbers that a till may use on a day.
const NUMBERS_PER_DAY: u64 = 100_000;

/// Returns a till's own counter of transactions: it rises with every number, and a parked receipt
/// and its end have one each.
pub(super) fn transaction(receipt: &Receipt) -> u64 {
    let days = receipt.business_day.date() - chrono::NaiveDate::default();
    let day = u64::try_from(days.num_days()).unwrap_or(0);
    let number = receipt.receipt.as_number().unwrap_or(0);
    (day * NUMBERS_PER_DAY + number) * 2 + u64::from(receipt.counts)
}

/// Returns the serial number of a till's device: 64 hexadecimal digits.
pub(super) fn serial(receipt: &Receipt) -> String {
    hex(&format!("tse/{}/{}", receipt.store, receipt.till))
}

/// Returns what stands where a signature would.
pub(super) fn signature(receipt: &Receipt) -> String {
    hex(&format!("signature/{}/{}/{}", receipt.store, receipt.till, transaction(receipt)))
}

/// Returns the figures that are signed: gross by VAT slot, then what was paid in cash and otherwise
/// (DSFinV-K, annex I). The slots are general, reduced, two of farmers, and none.
pub(super) fn process_data(receipt: &Receipt) -> String {
    let gross = |key: &str| {
        let parts = receipt.vat.iter().filter(|vat| vat.key.as_str() == key);
        parts.map(|vat| vat.gross_cents).sum::<Cents>()
    };
    let mut text = format!("Beleg^{}_{}_0.00_0.00_0.00^", gross("1"), gross("2"));
    let (cash, cards) = paid(receipt);
    let parts = [(cash, "Bar"), (cards, "Unbar")];
    let parts = parts.into_iter().filter(|(cents, _)| *cents != Cents::ZERO);
    let parts: Vec<String> = parts.map(|(cents, word)| format!("{cents}:{word}")).collect();
    text.push_str(&parts.join("_"));
    text
}

/// Returns what was paid in cash, change taken off, and what was paid otherwise.
pub(super) fn paid(receipt: &Receipt) -> (Cents, Cents) {
    let sum = |cash: bool| {
        let parts = receipt.payments.iter().filter(|payment| is_cash(&payment.kind) == cash);
        parts.map(|payment| payment.cents).sum()
    };
    (sum(true), sum(false))
}

/// Returns true where a payment moves notes and coins.
pub(super) fn is_cash(kind: &PaymentKind) -> bool {
    matches!(kind, PaymentKind::Cash | PaymentKind::Change | PaymentKind::Cashback)
}

/// Returns a name made of a text, as an UUID is written.
pub(super) fn uuid(text: &str) -> String {
    let hex = hex(text);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32])
}

fn hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
