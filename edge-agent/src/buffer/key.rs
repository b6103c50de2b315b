//! The buffer's key: 64 hex digits in a file, from a systemd credential. Never printed.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why a file holds no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("cannot read the key file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It holds something else.
    #[error("the key file {0} must hold 64 hex digits and nothing else")]
    Content(PathBuf),
}

/// A raw key of 256 bits.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// Reads a key; white space around it is allowed.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
        let digits = text.trim();
        if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(KeyError::Content(path.to_owned()));
        }
        Ok(Self(digits.to_ascii_lowercase()))
    }

    /// Returns the key's bytes.
    pub(super) fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(self.0.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).expect("hex digits are text");
            *byte = u8::from_str_radix(digits, 16).expect("hex digits are a number");
        }
        bytes
    }

    /// Returns the key as SQLCipher takes a raw one.
    pub(super) fn pragma(&self) -> String {
        format!("x'{}'", self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Key(..)")
    }
}
