//! The formats by name. A new one adds its module, a variant, and a line in each `match`.

use std::str::FromStr;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::dsfinvk::DsfinvkSettings;
use super::escpos::Escpos;
use super::poslog::Dialect;
use super::receipt_text::Profile;
use super::stock_csv::StockCsvSettings;
use super::{
    Context, Decoder, Framer, Refusal, dsfinvk, edifact, fiskaltrust, json, jsonl, poslog,
    receipt_text, square, stock_csv, telegram,
};

/// What a configuration or command line says of a format.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choice<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its dialect, where it has any.
    pub dialect: Option<&'a str>,
    /// The TOML text of its own settings, where it has any.
    pub settings: Option<&'a str>,
}

/// A format, with its dialect and settings where it has any.
#[derive(Debug, Clone)]
pub enum Format {
    /// ARTS POSLog XML in one of its dialects.
    Poslog(Dialect),
    /// Canonical receipts and movements, one JSON document a line.
    Jsonl,
    /// The journal of the fiskaltrust middleware, JSON.
    Fiskaltrust,
    /// Orders of the Square Orders API, JSON.
    Square,
    /// What a till sends to its printer.
    Escpos(Box<Escpos>),
    /// Receipts as plain text, laid out by a profile.
    ReceiptText(Arc<Profile>),
    /// The export of a till for the German tax office.
    Dsfinvk(Arc<DsfinvkSettings>),
    /// Stock movements as UN/EDIFACT messages.
    Edifact,
    /// Stock movements as rows of a table.
    StockCsv(Arc<StockCsvSettings>),
    /// Framed telegrams in a layout of their own.
    Telegram(Arc<telegram::Settings>),
}

/// A format that does not exist, or not so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// No format has this name.
    #[error("{found:?} is no format; known are {}", Format::NAMES.join(", "))]
    Unknown {
        /// The name.
        found: String,
    },
    /// The format has dialects and none is named, or one that it does not have.
    #[error("{what}; known dialects of {format} are {}", known.join(", "))]
    Dialect {
        /// The format.
        format: &'static str,
        /// What is wrong.
        what: String,
        /// Its dialects.
        known: &'static [&'static str],
    },
    /// The format has no dialects.
    #[error("{format} has no dialects, {found:?} is named")]
    NoDialects {
        /// The format.
        format: String,
        /// The dialect.
        found: String,
    },
    /// The format has no settings.
    #[error("{format} has no settings of its own, a file of them is named")]
    NoSettings {
        /// The format.
        format: String,
    },
    /// The format needs settings, or other ones.
    #[error("the settings of {format} are not usable: {why}")]
    Settings {
        /// The format.
        format: &'static str,
        /// Why, with the place in the file.
        why: String,
    },
}

impl Format {
    /// All formats, as a configuration names them.
    pub const NAMES: [&'static str; 10] = [
        "poslog",
        "jsonl",
        "fiskaltrust",
        "square",
        "escpos",
        "receipt-text",
        "dsfinvk",
        "edifact",
        "stock-csv",
        "telegram",
    ];

    /// Tells whether a folder of tables is one input of it.
    pub fn is_bundle(&self) -> bool {
        matches!(self, Self::Dsfinvk(_))
    }

    /// Finds a format by what is said of it.
    pub fn find(choice: Choice<'_>) -> Result<Self, FormatError> {
        match choice.name {
            "poslog" => {
                choice.without_settings()?;
                choice.dialect("poslog", Dialect::NAMES).map(Self::Poslog)
            }
            "jsonl" => choice.plain().map(|()| Self::Jsonl),
            "fiskaltrust" => choice.plain().map(|()| Self::Fiskaltrust),
            "square" => choice.plain().map(|()| Self::Square),
            "escpos" => choice.escpos().map(|escpos| Self::Escpos(Box::new(escpos))),
            "receipt-text" => choice.profile().map(|found| Self::ReceiptText(Arc::new(found))),
            "dsfinvk" => {
                choice.without_dialect()?;
                DsfinvkSettings::parse(choice.settings).map(Arc::new).map(Self::Dsfinvk)
            }
            "edifact" => choice.plain().map(|()| Self::Edifact),
            "stock-csv" => {
                choice.without_dialect()?;
                StockCsvSettings::parse(choice.settings).map(Arc::new).map(Self::StockCsv)
            }
            "telegram" => {
                choice.without_dialect()?;
                let format = "telegram";
                let why = "a file of them is needed".to_owned();
                let missing = FormatError::Settings { format, why };
                choice.settings.ok_or(missing).and_then(telegram::settings).map(Self::Telegram)
            }
            other => Err(FormatError::Unknown { found: other.chars().take(64).collect() }),
        }
    }

    /// Makes a framer whose first byte stands at the offset `start`.
    pub fn framer(&self, start: u64) -> Box<dyn Framer> {
        match self {
            Self::Poslog(_) => Box::new(poslog::frame::PoslogFramer::new(start)),
            Self::Jsonl => Box::new(jsonl::JsonlFramer::new(start)),
            Self::Fiskaltrust => Box::new(json::ListFramer::new(fiskaltrust::LIST, start)),
            Self::Square => Box::new(json::ListFramer::new(square::LIST, start)),
            Self::Escpos(escpos) => escpos.framer(start),
            Self::ReceiptText(profile) => receipt_text::framer(Arc::clone(profile), start),
            Self::Dsfinvk(_) => Box::new(dsfinvk::frame::ArchiveFramer::new(start)),
            Self::Edifact => Box::new(edifact::frame::EdifactFramer::new(start)),
            Self::StockCsv(settings) => {
                Box::new(stock_csv::frame::StockCsvFramer::new(Arc::clone(settings), start))
            }
            Self::Telegram(settings) => {
                Box::new(telegram::TelegramFramer::new(Arc::clone(settings), start))
            }
        }
    }

    /// Makes a decoder for a store.
    pub fn decoder(&self, context: Context) -> Box<dyn Decoder> {
        match self {
            Self::Poslog(dialect) => Box::new(poslog::PoslogDecoder::new(*dialect, context)),
            Self::Jsonl => Box::new(jsonl::JsonlDecoder::new(context)),
            Self::Fiskaltrust => Box::new(fiskaltrust::FiskaltrustDecoder::new(context)),
            Self::Square => Box::new(square::SquareDecoder::new(context)),
            Self::Escpos(escpos) => escpos.decoder(context),
            Self::ReceiptText(profile) => receipt_text::decoder(Arc::clone(profile), context),
            Self::Dsfinvk(settings) => {
                Box::new(dsfinvk::DsfinvkDecoder::new(settings.as_ref().clone(), context))
            }
            Self::Edifact => Box::new(edifact::EdifactDecoder::new(context)),
            Self::StockCsv(settings) => {
                Box::new(stock_csv::StockCsvDecoder::new(Arc::clone(settings), context))
            }
            Self::Telegram(settings) => {
                Box::new(telegram::TelegramDecoder::new(Arc::clone(settings), context))
            }
        }
    }
}

impl Choice<'_> {
    /// Reads the dialect of a format that has several.
    fn dialect<D: FromStr>(
        &self,
        format: &'static str,
        known: &'static [&'static str],
    ) -> Result<D, FormatError> {
        let fault = |what| FormatError::Dialect { format, what, known };
        let Some(name) = self.dialect else {
            return Err(fault(format!("{format} needs a dialect")));
        };
        name.parse().map_err(|_| fault(format!("{name:?} is no dialect of {format}")))
    }

    /// Reads printer and profile: a built-in one by dialect, or settings.
    fn escpos(&self) -> Result<Escpos, FormatError> {
        let text = self.settings.unwrap_or("");
        let fault = |why| FormatError::Settings { format: "escpos", why };
        Escpos::new(settings("escpos", text)?, self.dialect).map_err(fault)
    }

    /// Reads the profile of plain text: a built-in one by dialect, or the settings are one.
    fn profile(&self) -> Result<Profile, FormatError> {
        let (format, known) = ("receipt-text", Profile::NAMES);
        match (self.dialect, self.settings) {
            (Some(name), None) => Profile::built_in(name).map_err(|error| FormatError::Dialect {
                format,
                what: error.to_string(),
                known,
            }),
            (None, Some(text)) => Profile::parse(text).map_err(|error| FormatError::Settings {
                format,
                why: Refusal::because(&error).reason,
            }),
            (None, None) | (Some(_), Some(_)) => {
                let what = "a dialect or a file of settings is needed, not both".to_owned();
                Err(FormatError::Dialect { format, what, known })
            }
        }
    }

    fn plain(&self) -> Result<(), FormatError> {
        self.without_settings()?;
        self.without_dialect()
    }

    fn without_dialect(&self) -> Result<(), FormatError> {
        match self.dialect {
            None => Ok(()),
            Some(found) => Err(FormatError::NoDialects {
                format: self.name.to_owned(),
                found: found.chars().take(64).collect(),
            }),
        }
    }

    fn without_settings(&self) -> Result<(), FormatError> {
        let format = self.name.to_owned();
        self.settings.map_or(Ok(()), |_| Err(FormatError::NoSettings { format }))
    }
}

/// Reads a format's own settings; an unknown key is for the type to refuse.
pub(super) fn settings<T: DeserializeOwned>(
    format: &'static str,
    text: &str,
) -> Result<T, FormatError> {
    toml::from_str(text).map_err(|error: toml::de::Error| FormatError::Settings {
        format,
        why: error.to_string().trim_end().replace('\n', " "),
    })
}
