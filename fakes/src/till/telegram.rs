//! Receipts as telegrams on a serial line: STX, the payload, ETX, and a check byte. The payload is
//! of these fakes' own making; `docs/formats.md` describes it.

use shared::receipt::Receipt;
use shared::words::NotCounted;

const STX: u8 = 0x02;
const ETX: u8 = 0x03;

/// Writes one telegram a receipt.
pub(super) fn stream(receipts: &[Receipt]) -> Vec<u8> {
    receipts.iter().flat_map(|receipt| framed(&payload(receipt))).collect()
}

/// The check byte is the exclusive or of all bytes behind STX, ETX among them.
fn framed(payload: &str) -> Vec<u8> {
    let mut bytes = vec![STX];
    bytes.extend(payload.bytes());
    bytes.push(ETX);
    let check = bytes[1..].iter().fold(0, |check, byte| check ^ byte);
    bytes.push(check);
    bytes
}

fn payload(receipt: &Receipt) -> String {
    let mut fields = vec![
        "FM1".to_owned(),
        receipt.store.to_string(),
        receipt.till.to_string(),
        receipt.business_day.to_string(),
        receipt.receipt.to_string(),
        receipt.ended_at.utc().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        receipt.reason.as_ref().map_or("sale", NotCounted::as_str).to_owned(),
        receipt.total_cents.0.to_string(),
    ];
    for line in &receipt.lines {
        fields.extend([
            "L".to_owned(),
            line.position.to_string(),
            line.kind.to_string(),
            u8::from(line.void).to_string(),
            line.article.to_string(),
            line.unit.to_string(),
            line.quantity_milli.0.to_string(),
            line.amount_cents.0.to_string(),
            line.discount_cents.0.to_string(),
            line.vat_key.as_ref().map_or(String::new(), ToString::to_string),
            line.vat_bp.map_or(String::new(), |bp| bp.to_string()),
        ]);
    }
    for part in &receipt.adjustments {
        let key = part.vat_key.as_ref().map_or(String::new(), ToString::to_string);
        fields.extend(["A".to_owned(), part.kind.to_string(), key, part.cents.0.to_string()]);
    }
    for payment in &receipt.payments {
        fields.extend(["P".to_owned(), payment.kind.to_string(), payment.cents.0.to_string()]);
    }
    for moved in &receipt.cash_moves {
        fields.extend(["M".to_owned(), moved.kind.to_string(), moved.cents.0.to_string()]);
    }
    if let Some(other) = &receipt.refers_to {
        let named = [other.till.to_string(), other.series.to_string(), other.receipt.to_string()];
        fields.push("V".to_owned());
        fields.extend(named);
    }
    fields.push("E".to_owned());
    let clean = |field: String| field.replace([';', '\u{2}', '\u{3}'], ",");
    fields.into_iter().map(clean).collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_byte_covers_the_end_sign_and_not_the_start_sign() {
        assert_eq!(framed("AB"), [STX, b'A', b'B', ETX, b'A' ^ b'B' ^ ETX]);
    }
}
