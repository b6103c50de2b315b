//! Receipts as a till sends them to its printer: text in a code page, commands between, a QR code
//! with what the security device says, and a cut. The layout is that of a German grocery chain.

use chrono_tz::Tz;
use shared::receipt::Receipt;

use super::fiscal;
use super::paper;

const ESC: u8 = 0x1b;
const GS: u8 = 0x1d;

/// A table of characters beyond ASCII, and the number that selects it (Epson's numbers).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CodePage {
    Cp858,
    Cp1252,
}

impl CodePage {
    /// Tills differ: every other one has the other table.
    fn of(receipt: &Receipt) -> Self {
        match receipt.till.as_str().bytes().last() {
            Some(digit) if digit % 2 == 0 => Self::Cp1252,
            Some(_) | None => Self::Cp858,
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Cp858 => 19,
            Self::Cp1252 => 16,
        }
    }

    /// Returns the byte of a character; what the table lacks is printed as a question mark.
    fn byte(self, letter: char) -> u8 {
        let places = match letter {
            'ä' => (0x84, 0xe4),
            'ö' => (0x94, 0xf6),
            'ü' => (0x81, 0xfc),
            'Ä' => (0x8e, 0xc4),
            'Ö' => (0x99, 0xd6),
            'Ü' => (0x9a, 0xdc),
            'ß' => (0xe1, 0xdf),
            '€' => (0xd5, 0x80),
            other => {
                let plain = u8::try_from(other).ok().filter(u8::is_ascii).unwrap_or(b'?');
                (plain, plain)
            }
        };
        match self {
            Self::Cp858 => places.0,
            Self::Cp1252 => places.1,
        }
    }
}

/// Writes print jobs, one after the other.
pub(super) fn stream(receipts: &[Receipt], zone: Tz) -> Vec<u8> {
    receipts.iter().flat_map(|receipt| job(receipt, zone)).collect()
}

/// Prints a receipt. A number without goods and without a slip opens the drawer only.
fn job(receipt: &Receipt, zone: Tz) -> Vec<u8> {
    let page = CodePage::of(receipt);
    let mut bytes = vec![ESC, b'@', ESC, b't', page.number()];
    let Some(lines) = paper::lines(receipt, zone) else {
        bytes.extend([ESC, b'p', 0, 25, 250]);
        return bytes;
    };
    for line in lines {
        let bold = line.starts_with("SUMME");
        if bold {
            bytes.extend([ESC, b'E', 1]);
        }
        bytes.extend(line.chars().map(|letter| page.byte(letter)));
        if bold {
            bytes.extend([ESC, b'E', 0]);
        }
        bytes.push(b'\n');
    }
    if receipt.counts {
        qr_code(&mut bytes, &payload(receipt));
    }
    bytes.extend([ESC, b'd', 4, GS, b'V', 66, 0]);
    bytes
}

/// What the code says: `V0`, till, kind, figures, transaction, counter, times, algorithm, signature
/// and key, with semicolons between (DSFinV-K, annex I).
fn payload(receipt: &Receipt) -> String {
    let at = receipt.ended_at.utc().format("%Y-%m-%dT%H:%M:%S.000Z");
    let number = fiscal::transaction(receipt);
    let fields = [
        "V0".to_owned(),
        format!("{}-{}", receipt.store, receipt.till),
        "Kassenbeleg-V1".to_owned(),
        fiscal::process_data(receipt),
        number.to_string(),
        (number * 2).to_string(),
        at.to_string(),
        at.to_string(),
        "ecdsa-plain-SHA256".to_owned(),
        "unixTime".to_owned(),
        fiscal::signature(receipt),
        fiscal::serial(receipt),
    ];
    fields.join(";")
}

/// Selects the model, the size and the correction, stores the text, prints it.
fn qr_code(bytes: &mut Vec<u8>, text: &str) {
    let parts: [&[u8]; 5] = [
        &[b'1', b'A', b'2', 0],
        &[b'1', b'C', 3],
        b"1E0",
        &[b"1P0", text.as_bytes()].concat(),
        b"1Q0",
    ];
    for part in parts {
        let length = u16::try_from(part.len()).expect("the text of a code is short");
        bytes.extend([GS, b'(', b'k']);
        bytes.extend(length.to_le_bytes());
        bytes.extend(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn umlauts_have_their_place_in_each_table() {
        let bytes = |page: CodePage| -> Vec<u8> {
            "Rückgeld ÄÖß €°".chars().map(|letter| page.byte(letter)).collect()
        };
        assert_eq!(bytes(CodePage::Cp858), b"R\x81ckgeld \x8e\x99\xe1 \xd5?");
        assert_eq!(bytes(CodePage::Cp1252), b"R\xfcckgeld \xc4\xd6\xdf \x80?");
    }

    #[test]
    fn a_code_says_its_length_in_two_bytes() {
        let mut bytes = Vec::new();
        qr_code(&mut bytes, &"x".repeat(300));
        let at = bytes.windows(3).position(|part| part == b"1P0").unwrap();
        assert_eq!(bytes[at - 5..at], [GS, b'(', b'k', 47, 1]);
    }
}
