//! Receipts as a till sends them to its printer: ESC/POS, or Star's line mode. Commands are stripped,
//! code pages read, and what stands on the paper goes through a receipt-text profile. A receipt whose
//! text is not certain is set aside.
//!
//! ```toml
//! printer = "epson"            # or "star", "citizen"
//! default_page = "cp437"       # the code page after power-on and ESC @
//! profile = "rewe"             # a built-in profile, or [layout] with a profile of its own
//! tse = "checked"              # or "ignored", where the till's QR codes are known to be wrong
//! silence = "ends"             # or "ends_before_reset", for tills that print while they scan
//! [code_pages]                 # numbers of ESC t that differ from the printer's usual ones
//! "6" = "cp858"
//! [drawn_characters]           # bytes at which the till draws a character of its own (ESC &)
//! "36" = "€"
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::receipt_text::{Profile, ReadFault, TextReader, Witness};
use super::{Context, Decoder, Framer, Item, Refusal, Unit};

mod command;
mod epson;
mod frame;
mod pages;
mod print;
mod qr;
mod star;

pub use pages::{CodePage, PageError};
pub use print::{PrintFault, Printer, Printout, print};

use frame::{EscposFramer, Silence};
use qr::QrError;

/// Everything that is set for a print stream.
#[derive(Debug, Clone)]
pub struct Escpos {
    printer: Printer,
    profile: Arc<Profile>,
    silence: Silence,
    tse: Tse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Tse {
    #[default]
    Checked,
    Ignored,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Model {
    #[default]
    Epson,
    Star,
    Citizen,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SilenceText {
    #[default]
    Ends,
    EndsBeforeReset,
}

/// The settings as they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    #[serde(default)]
    printer: Model,
    default_page: Option<String>,
    #[serde(default)]
    code_pages: BTreeMap<String, String>,
    #[serde(default)]
    drawn_characters: BTreeMap<String, char>,
    profile: Option<String>,
    layout: Option<Box<Profile>>,
    #[serde(default)]
    tse: Tse,
    #[serde(default)]
    silence: SilenceText,
}

impl Escpos {
    /// Makes the format of its settings and of the profile that a dialect names.
    pub(super) fn new(settings: Settings, dialect: Option<&str>) -> Result<Self, String> {
        let mut printer = match settings.printer {
            Model::Epson => Printer::epson(),
            Model::Star => Printer::star(),
            Model::Citizen => Printer::citizen(),
        };
        let page = |name: &str| CodePage::find(name).map_err(|error| error.to_string());
        if let Some(name) = &settings.default_page {
            printer.default_page = page(name)?;
        }
        for (number, name) in &settings.code_pages {
            let wrong = |_| format!("code_pages: {number:?} is no number from 0 to 255");
            printer.pages.insert(number.parse().map_err(wrong)?, page(name)?);
        }
        for (byte, &character) in &settings.drawn_characters {
            let wrong = |_| format!("drawn_characters: {byte:?} is no number from 0 to 255");
            printer.drawn.insert(byte.parse().map_err(wrong)?, character);
        }
        let names = [dialect, settings.profile.as_deref()];
        let profile = match (names, settings.layout) {
            ([None, None], Some(layout)) => layout.checked(),
            ([Some(name), None] | [None, Some(name)], None) => Profile::built_in(name),
            _ => return Err("one of dialect, profile and [layout] is needed".to_owned()),
        };
        let silence = match settings.silence {
            SilenceText::Ends => Silence::Ends,
            SilenceText::EndsBeforeReset => Silence::EndsBeforeReset,
        };
        let profile = Arc::new(profile.map_err(|error| Refusal::because(&error).reason)?);
        Ok(Self { printer, profile, silence, tse: settings.tse })
    }

    /// Makes a framer whose first byte stands at the offset `start`.
    pub(super) fn framer(&self, start: u64) -> Box<dyn Framer> {
        Box::new(EscposFramer::new(start, self.printer.language, self.silence))
    }

    /// Makes a decoder for a store.
    pub(super) fn decoder(&self, context: Context) -> Box<dyn Decoder> {
        let reader = TextReader::new(Arc::clone(&self.profile), context);
        Box::new(EscposDecoder { printer: self.printer.clone(), tse: self.tse, reader })
    }
}

/// Why a print stream is set aside.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("what it prints is not certain")]
    Print(#[source] PrintFault),
    #[error("its TSE code is not usable")]
    Qr(#[source] QrError),
    #[error("its text is no receipt")]
    Text(#[source] ReadFault),
}

#[derive(Debug)]
struct EscposDecoder {
    printer: Printer,
    tse: Tse,
    reader: TextReader,
}

impl EscposDecoder {
    fn items(&mut self, bytes: &[u8]) -> Result<Vec<Item>, Fault> {
        let printout = print(bytes, &self.printer);
        if let Some(fault) = printout.fault {
            return Err(Fault::Print(fault));
        }
        let witness: Option<Witness> = match self.tse {
            Tse::Checked => qr::witness(&printout.symbols).map_err(Fault::Qr)?,
            Tse::Ignored => None,
        };
        let lines: Vec<&str> = printout.lines.iter().map(String::as_str).collect();
        self.reader.items(&lines, witness).map_err(Fault::Text)
    }
}

impl Decoder for EscposDecoder {
    fn decode(&mut self, unit: &Unit) -> Result<Vec<Item>, Refusal> {
        self.items(&unit.bytes).map_err(|fault| Refusal::because(&fault))
    }
}
