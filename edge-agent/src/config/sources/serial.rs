//! The keys of a source of kind `serial`, beside those of every line (`line.rs`).
//!
//! ```toml
//! device = "/dev/serial/by-id/..."   # required: a name that stays when the adapter is plugged again
//! baud = 9600
//! framing = "8N1"                    # or "7E1", "8E1", "7O1"
//! flow = "none"                      # or "software", "hardware"
//! ```

use std::path::PathBuf;

use super::line::{self, LineConfig};
use crate::config::Section;

/// A serial port.
#[derive(Debug, Clone)]
pub struct SerialConfig {
    /// The device.
    pub device: PathBuf,
    /// Bits a second.
    pub baud: u32,
    /// How a byte is sent.
    pub framing: SerialFraming,
    /// How a sender is made to wait.
    pub flow: Flow,
    /// How it is answered.
    pub line: LineConfig,
}

/// Data bits and parity; there is always one stop bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SerialFraming {
    /// Eight bits, no parity.
    Bits8None,
    /// Seven bits, even parity.
    Bits7Even,
    /// Eight bits, even parity.
    Bits8Even,
    /// Seven bits, odd parity.
    Bits7Odd,
}

/// How a sender is made to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Not at all.
    None,
    /// By XON and XOFF.
    Software,
    /// By RTS and CTS.
    Hardware,
}

pub(super) fn read(section: &mut Section) -> Option<SerialConfig> {
    let device = section.required_path("device", "a serial device");
    let baud = u32::try_from(section.number("baud", 9600, 300..=921_600)).unwrap_or(9600);
    let framing = match section.text("framing").as_deref() {
        None | Some("8N1") => SerialFraming::Bits8None,
        Some("7E1") => SerialFraming::Bits7Even,
        Some("8E1") => SerialFraming::Bits8Even,
        Some("7O1") => SerialFraming::Bits7Odd,
        Some(other) => {
            section.fault("framing", format!("{other:?} is none of 8N1, 7E1, 8E1, 7O1"));
            SerialFraming::Bits8None
        }
    };
    let flow = match section.text("flow").as_deref() {
        None | Some("none") => Flow::None,
        Some("software") => Flow::Software,
        Some("hardware") => Flow::Hardware,
        Some(other) => {
            section.fault("flow", format!("{other:?} is none of none, software, hardware"));
            Flow::None
        }
    };
    let line = line::read(section);
    Some(SerialConfig { device: device?, baud, framing, flow, line })
}
