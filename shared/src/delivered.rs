//! What the centre has of a store's receipts, as a file for a box whose buffer is gone: with it a till's
//! files can be read again and nothing counts twice. It holds numbers and minutes, no amounts and no
//! personal data.
//!
//! The file has two lines: the facts as JSON, and their signature. The signature (ECDSA P-256 with
//! SHA-256, ASN.1 form) covers [`DOMAIN`] and the first line's bytes as they stand, without its line
//! break. Who signs and who checks is not decided here.

use serde::{Deserialize, Serialize};

use crate::ids::{ReceiptNumber, Series, StoreId, StreamId, TillId};
use crate::ranges::Ranges;
use crate::time::{Minute, Timestamp};

/// What stands before the signed bytes, so that no other signature of the centre fits.
pub const DOMAIN: &[u8] = b"frischmarkt delivered receipts 1\n";

/// The name of the only kind of signature there is.
pub const ALGORITHM: &str = "ecdsa-p256-sha256";

/// Bytes that such a file may have: 400 days of a large store are a few megabytes.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// What the centre has of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// The store.
    pub store: StoreId,
    /// The stream that the store's batches came from last.
    #[serde(default)]
    pub stream: Option<StreamId>,
    /// When the centre wrote it.
    pub made_at: Timestamp,
    /// Per till and series.
    pub tills: Vec<DeliveredSeries>,
}

/// What the centre has of one till and series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveredSeries {
    /// The register.
    pub till: TillId,
    /// The series as batches name it.
    pub series: Series,
    /// Numbers of receipts that count.
    pub receipts: Ranges,
    /// Ids of receipts that count and are no numbers.
    #[serde(default)]
    pub receipt_ids: Vec<ReceiptNumber>,
    /// Numbers used for something else than a sale.
    #[serde(default)]
    pub numbers_without_sale: Ranges,
    /// The minute of the first of them.
    pub first_minute: Minute,
    /// The minute of the last of them.
    pub last_minute: Minute,
}

/// Why a file is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum DeliveredError {
    /// It has not two lines.
    #[error("it is not two lines, of which the second is the signature of the first")]
    Lines,
    /// The second line is no signature.
    #[error("its second line is not a signature of the kind {ALGORITHM}")]
    Signature,
    /// The first line does not say what was delivered.
    #[error("its first line does not say what was delivered")]
    Content(#[source] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct Signature {
    algorithm: String,
    signature: String,
}

/// A file that was taken apart. Nothing in it is to be believed before the signature is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedDelivered {
    line: String,
    /// The signature's bytes.
    pub signature: Vec<u8>,
}

impl Delivered {
    /// Returns the first line of its file.
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("our types have text keys and no failing parts")
    }
}

impl SignedDelivered {
    /// Puts a line and its signature together.
    pub fn new(line: String, signature: Vec<u8>) -> Self {
        Self { line, signature }
    }

    /// Takes a file's text apart.
    pub fn parse(text: &str) -> Result<Self, DeliveredError> {
        let (line, rest) = text.split_once('\n').ok_or(DeliveredError::Lines)?;
        let second = rest.strip_suffix('\n').unwrap_or(rest);
        if second.is_empty() || second.contains('\n') {
            return Err(DeliveredError::Lines);
        }
        let found: Signature =
            serde_json::from_str(second).map_err(|_| DeliveredError::Signature)?;
        let bytes = from_hex(&found.signature).filter(|_| found.algorithm == ALGORITHM);
        let signature = bytes.ok_or(DeliveredError::Signature)?;
        Ok(Self { line: line.to_owned(), signature })
    }

    /// Returns the bytes that the signature covers.
    pub fn signed_bytes(&self) -> Vec<u8> {
        [DOMAIN, self.line.as_bytes()].concat()
    }

    /// Returns what the file says; ask only when the signature is right.
    pub fn content(&self) -> Result<Delivered, DeliveredError> {
        serde_json::from_str(&self.line).map_err(DeliveredError::Content)
    }

    /// Returns the file's text.
    pub fn text(&self) -> String {
        let signature = self.signature.iter().map(|byte| format!("{byte:02x}")).collect();
        let second = Signature { algorithm: ALGORITHM.to_owned(), signature };
        let second = serde_json::to_string(&second).expect("texts are JSON");
        format!("{}\n{second}\n", self.line)
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let is_hex = digits.iter().all(u8::is_ascii_hexdigit) && digits.len().is_multiple_of(2);
    if is_hex { digits.chunks_exact(2).map(pair).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"store":"0417","stream":null,"made_at":"2026-11-23T10:00:00Z","tills":[{"till":"3","series":"2026-11-23","receipts":[[933,936]],"receipt_ids":["A-1"],"numbers_without_sale":[[937,937]],"first_minute":"2026-11-23T09:00:00Z","last_minute":"2026-11-23T09:41:00Z"}]}"#;

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let content: Delivered = serde_json::from_str(LINE).unwrap();
        assert_eq!(content.line(), LINE);
        let file = SignedDelivered::new(content.line(), vec![0x30, 0x00, 0xff]);
        let text = file.text();
        let second = r#"{"algorithm":"ecdsa-p256-sha256","signature":"3000ff"}"#;
        assert_eq!(text, format!("{LINE}\n{second}\n"));
        let again = SignedDelivered::parse(&text).unwrap();
        assert_eq!((again.content().unwrap(), &again), (content, &file));
        assert!(again.signed_bytes().starts_with(DOMAIN));
    }

    #[test]
    fn what_is_no_such_file_is_refused() {
        for text in ["", "{}", "{}\n", "{}\n{}\n", "{}\n{}\n{}\n"] {
            assert!(SignedDelivered::parse(text).is_err(), "{text:?}");
        }
        for (algorithm, signature) in [("rsa", "00"), (ALGORITHM, "0"), (ALGORITHM, "+f")] {
            let text =
                format!("{{}}\n{{\"algorithm\":\"{algorithm}\",\"signature\":\"{signature}\"}}\n");
            assert!(matches!(SignedDelivered::parse(&text), Err(DeliveredError::Signature)));
        }
        assert!(SignedDelivered::new("{}".to_owned(), Vec::new()).content().is_err());
    }
}
