//! A customer's number becomes a keyed pseudonym before anything is written down: the same number
//! gives the same pseudonym, and without the key neither leads back to the other.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use shared::ids::Label;

/// Bytes of the key.
pub const KEY_BYTES: usize = 32;

/// Bytes of the code that a pseudonym shows: no two customers of a chain share 128 bits.
const SHOWN_BYTES: usize = 16;

/// A key that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it must be 64 hex digits")]
pub struct PseudonymKeyError;

/// What makes pseudonyms.
#[derive(Clone)]
pub struct Pseudonyms([u8; KEY_BYTES]);

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Pseudonyms(..)")
    }
}

impl Pseudonyms {
    /// Reads the key from its hex digits, blanks around them aside.
    pub fn parse(text: &str) -> Result<Self, PseudonymKeyError> {
        let digits = text.trim().as_bytes();
        if digits.len() != KEY_BYTES * 2 {
            return Err(PseudonymKeyError);
        }
        let mut key = [0; KEY_BYTES];
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| PseudonymKeyError)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| PseudonymKeyError)?;
        }
        Ok(Self(key))
    }

    /// Returns a customer's pseudonym: HMAC-SHA-256 (RFC 2104) of the number, the first 128 bits.
    pub fn of(&self, number: &str) -> Option<Label> {
        let number = number.trim();
        if number.is_empty() {
            return None;
        }
        let mut code = Hmac::<Sha256>::new_from_slice(&self.0).expect("any length is a key");
        code.update(number.as_bytes());
        let code = code.finalize().into_bytes();
        let text = code[..SHOWN_BYTES].iter().fold("p1:".to_owned(), |mut text, byte| {
            use std::fmt::Write as _;
            write!(text, "{byte:02x}").expect("writing to a String does not fail");
            text
        });
        Some(Label::new(&text).expect("hex digits are a label"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_has_the_same_pseudonym_and_another_key_another_one() {
        let one = Pseudonyms::parse(&"0b".repeat(32)).unwrap();
        let two = Pseudonyms::parse(&"0c".repeat(32)).unwrap();
        let pseudonym = one.of(" 4711 ").unwrap();
        assert_eq!(Some(&pseudonym), one.of("4711").as_ref());
        assert_ne!(Some(&pseudonym), two.of("4711").as_ref());
        assert!(pseudonym.as_str().starts_with("p1:") && pseudonym.as_str().len() == 35);
        assert_eq!(one.of("  "), None);
    }

    #[test]
    fn the_code_is_that_of_rfc_4231() {
        // Test case 2 has the key "Jefe"; RFC 2104 pads a short key with zeros.
        let key = format!("{:0<64}", "4a656665");
        let pseudonyms = Pseudonyms::parse(&key).unwrap();
        let found = pseudonyms.of("what do ya want for nothing?").unwrap();
        assert_eq!(found.as_str(), "p1:5bdcc146bf60754e6a042426089575c7");
    }

    #[test]
    fn what_is_no_key_is_refused_and_a_key_is_never_printed() {
        for text in ["", "0b", &"0g".repeat(32), &"0b".repeat(33)] {
            assert!(Pseudonyms::parse(text).is_err(), "{text}");
        }
        let printed = format!("{:?}", Pseudonyms::parse(&"0b".repeat(32)).unwrap());
        assert_eq!(printed, "Pseudonyms(..)");
    }
}
