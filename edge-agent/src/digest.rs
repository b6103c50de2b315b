//! SHA-256, as the buffer compares contents and a source recognises a file it has read before.

use sha2::{Digest as _, Sha256};

/// A hash that grows with its bytes; a copy goes on by itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Digest(Sha256);

impl Digest {
    /// Adds bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the hash of all bytes so far.
    pub(crate) fn value(&self) -> [u8; 32] {
        self.0.clone().finalize().into()
    }

    /// Returns the hash as hex digits.
    pub(crate) fn hex(&self) -> String {
        use std::fmt::Write;
        self.value().iter().fold(String::with_capacity(64), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a String does not fail");
            text
        })
    }
}

/// Returns the hash of some bytes.
pub(crate) fn of(bytes: &[u8]) -> [u8; 32] {
    let mut digest = Digest::default();
    digest.update(bytes);
    digest.value()
}
