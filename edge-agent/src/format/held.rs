//! The bytes that a framer holds back, with the offsets at which they stand.

use super::{Framed, Refusal, Unit};

/// Bytes read but not yet handed on.
#[derive(Debug)]
pub(super) struct Held {
    start: u64,
    bytes: Vec<u8>,
}

impl Held {
    /// Holds nothing; the next byte stands at `start`.
    pub(super) fn new(start: u64) -> Self {
        Self { start, bytes: Vec::new() }
    }

    /// Adds bytes behind those held.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns how many bytes are held.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the offset of the first byte held, or of the next one.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Returns the bytes held.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes the first `length` bytes out.
    pub(super) fn take(&mut self, length: usize) -> Unit {
        let rest = self.bytes.split_off(length);
        let bytes = std::mem::replace(&mut self.bytes, rest);
        let start = self.start;
        self.start += bytes.len() as u64;
        Unit { start, end: self.start, bytes }
    }

    /// Takes all bytes out and forgets them.
    pub(super) fn skip(&mut self) {
        self.start += self.bytes.len() as u64;
        self.bytes.clear();
    }

    /// Takes the first `length` bytes out as refused.
    pub(super) fn refuse(&mut self, length: usize, reason: &str) -> Framed {
        Framed::Refused { unit: self.take(length), reason: Refusal::new(reason) }
    }
}
