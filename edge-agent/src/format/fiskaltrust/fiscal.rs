//! The technical security device behind a receipt: its name and its transaction number, out of the
//! response's signatures. The name is the SHA-256 of its public key in hexadecimal, which is what
//! BSI TR-03153 makes a device's serial number and DSFinV-K exports as TSE_SERIAL. Types after the vendor's enumeration for Germany: 0x01 the QR code of
//! KassenSichV, 0x17 transaction number, 0x1E public key.

use shared::ids::Label;
use shared::receipt::Fiscal;

use super::wire::Response;
use crate::digest;
use crate::format::json::whole;

const QR_CODE: u64 = 0x01;
const TRANSACTION: u64 = 0x17;
const PUBLIC_KEY: u64 = 0x1E;

/// Fields of the QR code, version V0: the transaction number is the fifth, the public key the last.
const QR_FIELDS: usize = 12;

/// Returns what the response says of the device; nothing where key or number are missing.
pub(super) fn of(response: &Response<'_>) -> Option<Fiscal> {
    let items = response.signatures.as_deref().unwrap_or_default();
    let find = |kind: u64| {
        let of_kind = |raw| whole(raw).is_some_and(|code| code & 0xFFFF == kind);
        items.iter().find(|item| of_kind(item.kind))?.data.as_deref().map(str::trim)
    };
    let qr: Vec<&str> = find(QR_CODE).unwrap_or_default().split(';').collect();
    let qr = (qr.len() == QR_FIELDS && qr[0] == "V0").then_some(qr);
    let key = find(PUBLIC_KEY).or_else(|| qr.as_ref().map(|fields| fields[QR_FIELDS - 1]))?;
    let number = find(TRANSACTION).or_else(|| qr.as_ref().map(|fields| fields[4]));
    let transaction = match number {
        Some(number) => number.parse().ok()?,
        None => of_identification(response.identification.as_deref()?)?,
    };
    let hash = digest::of(&bytes_of_base64(key)?);
    let name: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Fiscal { tse: Label::new(&name).ok()?, transaction })
}

/// Decodes base64 (RFC 4648, section 4); nothing where it is none.
fn bytes_of_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let (mut bits, mut held, mut bytes) = (0_u32, 0_u32, Vec::new());
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = (held << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((held >> bits) & 0xFF).ok()?);
            held &= (1 << bits) - 1;
        }
    }
    (!bytes.is_empty()).then_some(bytes)
}

/// Reads the transaction number behind `#T` or `#IT` of an identification such as `ft2A#IT17`.
fn of_identification(text: &str) -> Option<u64> {
    let (_, behind) = text.split_once('#')?;
    behind.trim_start_matches(|found: char| found.is_ascii_uppercase()).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fiscal(json: &str) -> Option<(String, u64)> {
        let response: Response<'_> = serde_json::from_str(json).unwrap();
        of(&response).map(|fiscal| (fiscal.tse.to_string(), fiscal.transaction))
    }

    #[test]
    fn the_device_is_known_by_its_key_wherever_that_stands() {
        let items = fiscal(
            r#"{"ftSignatures":[{"ftSignatureType":4919338167972134935,"Data":"17"},{"ftSignatureType":4919338167972134942,"Data":"S0VZ"}]}"#,
        );
        let qr = fiscal(
            r#"{"ftSignatures":[{"ftSignatureType":"4919338167972134913","data":"V0;c;Kassenbeleg-V1;Beleg^1;17;99;s;l;a;f;SIG;S0VZ"}]}"#,
        );
        let identified = fiscal(
            r#"{"ftReceiptIdentification":"ft2A#IT17","ftSignatures":[{"ftSignatureType":4919338167972134942,"Data":"S0VZ"}]}"#,
        );
        assert_eq!(items.as_ref().unwrap().1, 17);
        assert_eq!(items.as_ref().unwrap().0.len(), 64);
        assert_eq!((&items, &items), (&qr, &identified));
        assert_eq!(bytes_of_base64("S0VZ"), Some(b"KEY".to_vec()));
        assert_eq!(fiscal(r#"{"ftReceiptIdentification":"ft2A#IT17"}"#), None);
    }
}
