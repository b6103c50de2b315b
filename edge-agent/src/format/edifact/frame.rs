//! One interchange is one unit, from its UNA or UNB to its UNZ: the counts and references at its end
//! are part of what is checked. Line breaks between segments are nothing.

use super::super::held::Held;
use super::super::{Framed, Framer, GARBAGE_BYTES_MAX, UNIT_BYTES_MAX};

const ADVICE: &[u8] = b"UNA";
const ADVICE_BYTES: usize = 9;
const HEADER: &[u8] = b"UNB";
const TRAILER: &[u8] = b"UNZ";
const NO_INTERCHANGE: &str = "no interchange begins here with UNA or UNB";
const NO_END: &str = "an interchange without its UNZ";
const TOO_LARGE: &str = "an interchange of more than 4 MiB";

/// Where the reading of an interchange stands.
#[derive(Debug, Clone, Copy)]
struct Scan {
    /// Bytes already looked at.
    seen: usize,
    /// Where the present segment begins.
    segment: usize,
    /// The byte before was a release character.
    released: bool,
    release: u8,
    terminator: u8,
}

/// The framer of interchanges.
#[derive(Debug)]
pub struct EdifactFramer {
    held: Held,
    scan: Option<Scan>,
    position: u64,
}

impl EdifactFramer {
    /// Makes a framer whose first byte stands at the offset `start`: 0 or the end of an interchange.
    pub fn new(start: u64) -> Self {
        Self { held: Held::new(start), scan: None, position: start }
    }

    fn refuse(&mut self, length: usize, reason: &str) -> Framed {
        self.scan = None;
        let refused = self.held.refuse(length, reason);
        self.position = self.held.start();
        refused
    }

    /// Takes the next piece out; nothing where more bytes are needed to tell.
    fn next(&mut self) -> Option<Framed> {
        if self.scan.is_none() && !self.begins() {
            return self.garbage();
        }
        let (mut scan, bytes) = (self.scan?, self.held.bytes());
        while let Some(&byte) = bytes.get(scan.seen) {
            if scan.seen >= UNIT_BYTES_MAX {
                return Some(self.refuse(UNIT_BYTES_MAX, TOO_LARGE));
            }
            scan.seen += 1;
            if scan.released {
                scan.released = false;
            } else if byte == scan.release {
                scan.released = true;
            } else if byte == scan.terminator {
                let blanks = bytes[scan.segment..].iter().take_while(|b| b.is_ascii_whitespace());
                let segment = scan.segment + blanks.count();
                let tag = &bytes[segment..scan.seen];
                if tag.starts_with(TRAILER) {
                    return Some(self.unit(scan.seen));
                }
                // The first segment of this interchange is its own header.
                if segment > ADVICE_BYTES * 2 && is_start(tag) {
                    return Some(self.refuse(segment, NO_END));
                }
                scan.segment = scan.seen;
            }
        }
        self.scan = Some(scan);
        None
    }

    /// Begins an interchange where the bytes held do.
    fn begins(&mut self) -> bool {
        let bytes = self.held.bytes();
        if !is_start(bytes) || (bytes.starts_with(ADVICE) && bytes.len() < ADVICE_BYTES) {
            return false;
        }
        self.scan = Some(if bytes.starts_with(ADVICE) {
            let (release, terminator) = (bytes[6], bytes[8]);
            let (seen, segment) = (ADVICE_BYTES, ADVICE_BYTES);
            Scan { seen, segment, released: false, release, terminator }
        } else {
            Scan { seen: 0, segment: 0, released: false, release: b'?', terminator: b'\'' }
        });
        true
    }

    /// Drops blanks and refuses what stands before the next interchange.
    fn garbage(&mut self) -> Option<Framed> {
        let bytes = self.held.bytes();
        let blanks = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if blanks > 0 {
            drop(self.held.take(blanks));
            return self.next();
        }
        if is_start(bytes) {
            return None;
        }
        // Looked at in the same windows whatever the chunks.
        let window = &bytes[..bytes.len().min(GARBAGE_BYTES_MAX + HEADER.len() - 1)];
        let starts = window.windows(HEADER.len()).position(is_start);
        match starts {
            Some(at) => Some(self.refuse(at, NO_INTERCHANGE)),
            None if bytes.len() >= GARBAGE_BYTES_MAX + HEADER.len() => {
                Some(self.refuse(GARBAGE_BYTES_MAX, NO_INTERCHANGE))
            }
            None => None,
        }
    }

    fn unit(&mut self, length: usize) -> Framed {
        self.scan = None;
        let unit = self.held.take(length);
        self.position = self.held.start();
        Framed::Unit(unit)
    }
}

impl Framer for EdifactFramer {
    fn push(&mut self, chunk: &[u8]) -> Vec<Framed> {
        self.held.extend(chunk);
        std::iter::from_fn(|| self.next()).collect()
    }

    fn finish(&mut self) -> Option<Framed> {
        if self.held.bytes().trim_ascii().is_empty() {
            self.held.skip();
            return None;
        }
        let reason = if self.scan.is_some() { NO_END } else { NO_INTERCHANGE };
        Some(self.refuse(self.held.len(), reason))
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn complete(&self) -> bool {
        self.position > 0 && self.held.bytes().trim_ascii().is_empty()
    }
}

fn is_start(bytes: &[u8]) -> bool {
    bytes.starts_with(ADVICE) || bytes.starts_with(HEADER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_those_of_the_advice_and_released_ones_end_nothing() {
        let bytes =
            b"\r\nUNA:+,! ~\r\nUNB+UNOC:3+A!~UNZ+B~UNZ+1+7~\nUNB+UNOA'FTX+?'UNZ'\r\nUNZ+1'x";
        let mut framer = EdifactFramer::new(0);
        let found = framer.push(bytes);
        let units: Vec<String> = found
            .iter()
            .map(|framed| match framed {
                Framed::Unit(unit) => String::from_utf8_lossy(&unit.bytes).into_owned(),
                Framed::Refused { reason, .. } => panic!("{reason}"),
            })
            .collect();
        assert_eq!(units.len(), 2, "{units:?}");
        assert!(units[0].starts_with("UNA") && units[0].ends_with("UNZ+1+7~"));
        assert!(units[1].ends_with("UNZ+1'"));
        assert!(!framer.complete() && framer.finish().is_some());
    }

    #[test]
    fn an_interchange_without_its_end_does_not_swallow_the_next() {
        let mut framer = EdifactFramer::new(0);
        let found = framer.push(b"UNB+UNOA:3+A+B'UNH+1'\nUNB+UNOA:3+A+B'UNZ+0+1'");
        assert!(
            matches!(&found[0], Framed::Refused { unit, .. } if unit.bytes.ends_with(b"UNH+1'\n"))
        );
        assert!(matches!(&found[1], Framed::Unit(unit) if unit.bytes.ends_with(b"UNZ+0+1'")));
    }
}
