//! The keys that every line to a till has, be it a socket or a serial port: whether it is answered,
//! and when it is taken for silent.
//!
//! ```toml
//! answer = "none"                    # or "ack-nak", "3964r": only for telegrams of that framing
//! hold = false                       # true: NAK while the disk takes nothing
//! idle_millis = 2000                 # silence after which what was begun is taken for ended
//! ```

use std::time::Duration;

use crate::config::Section;
use crate::format::Format;
use crate::format::telegram::Framing;

/// How a line is answered, and when it is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineConfig {
    /// How a telegram is answered.
    pub answer: Answer,
    /// What the till hears while the disk takes nothing.
    pub hold: Hold,
    /// Silence after which what was begun is taken for ended.
    pub quiet: Duration,
}

/// How a telegram is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Never: not a byte is written.
    None,
    /// ACK once it is on disk, NAK where it came damaged.
    AckNak,
    /// The same by 3964R: DLE to its STX at once, DLE once it is on disk, NAK where it came damaged.
    Dust3964r,
}

/// What the till hears while the disk takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Nothing: it waits, or sends again.
    Silent,
    /// NAK.
    Nak,
}

pub(super) fn read(section: &mut Section) -> LineConfig {
    let answer = match section.text("answer").as_deref() {
        None | Some("none") => Answer::None,
        Some("ack-nak") => Answer::AckNak,
        Some("3964r") => Answer::Dust3964r,
        Some(other) => {
            let what = format!("{other:?} is none of \"none\", \"ack-nak\", \"3964r\"");
            section.fault("answer", what);
            Answer::None
        }
    };
    let hold = if section.flag("hold").unwrap_or(false) { Hold::Nak } else { Hold::Silent };
    if hold == Hold::Nak && answer == Answer::None {
        section.fault("hold", "needs an answer other than \"none\"".to_owned());
    }
    let quiet = Duration::from_millis(section.number("idle_millis", 2000, 20..=600_000));
    LineConfig { answer, hold, quiet }
}

/// Notes where a format cannot be answered so.
pub(super) fn check(section: &mut Section, line: LineConfig, format: &Format) {
    let fits = match (line.answer, format) {
        (Answer::None, _) => true,
        (Answer::AckNak, Format::Telegram(settings)) => settings.framing() == Framing::StxEtx,
        (Answer::Dust3964r, Format::Telegram(settings)) => {
            settings.framing() == Framing::Dust3964r && settings.is_proved()
        }
        (
            Answer::AckNak | Answer::Dust3964r,
            Format::Poslog(_)
            | Format::Jsonl
            | Format::Fiskaltrust
            | Format::Square
            | Format::Escpos(_)
            | Format::ReceiptText(_)
            | Format::Dsfinvk(_)
            | Format::Edifact
            | Format::StockCsv(_),
        ) => false,
    };
    if !fits {
        let what = "\"ack-nak\" goes with telegrams of framing \"stx-etx\", \"3964r\" with those of \
                    framing \"3964r\" that have a bcc; any other format is never answered";
        section.fault("answer", what.to_owned());
    }
}
