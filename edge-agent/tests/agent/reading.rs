//! How tests read bytes as `decode` does, and the table of our own files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use edge_agent::format::{Choice, Context, Format, FormatError, Framed, Item, Unit};
use shared::ids::StoreId;
use shared::receipt::Receipt;

/// A family of our own files: how they are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Family {
    /// The folder under `tests/data`.
    pub(crate) folder: &'static str,
    /// The format.
    pub(crate) format: &'static str,
    /// Its dialect.
    pub(crate) dialect: Option<&'static str>,
    /// The file under `tests/data` with the format's own settings.
    pub(crate) settings: Option<&'static str>,
    /// The store of its receipts.
    pub(crate) store: &'static str,
    /// The zone of its tills.
    pub(crate) zone: chrono_tz::Tz,
}

const GERMAN: Family = Family {
    folder: "jsonl",
    format: "jsonl",
    dialect: None,
    settings: None,
    store: "10",
    zone: chrono_tz::Europe::Berlin,
};

/// All families. Every general promise of formats is held against each.
pub(crate) const FAMILIES: &[Family] = &[
    GERMAN,
    Family {
        folder: "poslog/fakes",
        format: "poslog",
        dialect: Some("fakes"),
        store: "0010",
        ..GERMAN
    },
    Family {
        folder: "poslog/ncr-acs",
        format: "poslog",
        dialect: Some("ncr-acs"),
        store: "9",
        zone: chrono_tz::America::New_York,
        ..GERMAN
    },
    Family { folder: "fiskaltrust", format: "fiskaltrust", ..GERMAN },
    Family { folder: "square", format: "square", store: "L1", ..GERMAN },
    Family { folder: "escpos/rewe", format: "escpos", dialect: Some("rewe"), ..GERMAN },
    Family {
        folder: "escpos/star",
        format: "escpos",
        settings: Some("escpos/star.toml"),
        ..GERMAN
    },
    Family { folder: "receipt-text/rewe", format: "receipt-text", dialect: Some("rewe"), ..GERMAN },
    Family { folder: "receipt-text/lidl", format: "receipt-text", dialect: Some("lidl"), ..GERMAN },
    Family {
        folder: "receipt-text/edeka",
        format: "receipt-text",
        dialect: Some("edeka"),
        ..GERMAN
    },
    Family { folder: "dsfinvk", format: "dsfinvk", ..GERMAN },
    Family { folder: "edifact", format: "edifact", ..GERMAN },
    Family {
        folder: "stock-csv",
        format: "stock-csv",
        settings: Some("stock-csv/settings.toml"),
        ..GERMAN
    },
    Family {
        folder: "telegram/whole",
        format: "telegram",
        settings: Some("telegram/whole/layout.toml"),
        ..GERMAN
    },
    Family {
        folder: "telegram/joined",
        format: "telegram",
        settings: Some("telegram/joined/layout.toml"),
        ..GERMAN
    },
    Family {
        folder: "poslog/wn-tpnet",
        format: "poslog",
        dialect: Some("wn-tpnet"),
        store: "0010",
        ..GERMAN
    },
    Family {
        folder: "poslog/roqqio",
        format: "poslog",
        dialect: Some("roqqio"),
        store: "0010",
        ..GERMAN
    },
    Family {
        folder: "poslog/visma",
        format: "poslog",
        dialect: Some("visma"),
        store: "0010",
        ..GERMAN
    },
    Family { folder: "poslog/gk", format: "poslog", dialect: Some("gk"), store: "0010", ..GERMAN },
    Family { folder: "poslog/v6", format: "poslog", dialect: Some("v6"), store: "0010", ..GERMAN },
];

impl Family {
    /// Returns its format.
    pub(crate) fn format(&self) -> Format {
        let settings = self.settings.map(|name| std::fs::read_to_string(data(name)).unwrap());
        let (name, dialect) = (self.format, self.dialect);
        Format::find(Choice { name, dialect, settings: settings.as_deref() }).unwrap()
    }

    /// Returns what its decoder is told.
    pub(crate) fn context(&self) -> Context {
        context(self.store, self.zone)
    }

    /// Returns its files, but for what they hold.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(data(self.folder)).unwrap();
        let is_till_file = |path: &PathBuf| {
            path.extension().is_some_and(|ending| ending != "receipts" && ending != "toml")
        };
        let mut found: Vec<PathBuf> =
            entries.map(|entry| entry.unwrap().path()).filter(is_till_file).collect();
        found.sort();
        found
    }
}

/// Returns what a decoder of a store is told.
pub(crate) fn context(store: &str, zone: chrono_tz::Tz) -> Context {
    let business_day_cut = chrono::NaiveTime::from_hms_opt(3, 0, 0).unwrap();
    Context {
        store: Some(StoreId::new(store).unwrap()),
        pos_store: None,
        zone,
        business_day_cut,
        articles: Arc::default(),
        pseudonyms: None,
    }
}

/// Cuts bytes into units, so many at once.
pub(crate) fn frame(format: &Format, bytes: &[u8], chunk: usize) -> Vec<Framed> {
    let mut framer = format.framer(0);
    let mut found = Vec::new();
    for part in bytes.chunks(chunk) {
        found.extend(framer.push(part));
    }
    found.extend(framer.finish());
    found
}

/// Returns the bytes that were refused.
pub(crate) fn refused(framed: &Framed) -> &Unit {
    match framed {
        Framed::Refused { unit, .. } => unit,
        Framed::Unit(unit) => panic!("a unit at {}", unit.start),
    }
}

/// Prints as `decode` does, refusals in between.
pub(crate) fn print(format: &Format, context: &Context, bytes: &[u8]) -> String {
    let mut decoder = format.decoder(context.clone());
    let mut out = String::new();
    for framed in frame(format, bytes, 500) {
        let (unit, read) = match framed {
            Framed::Unit(unit) => {
                let read = decoder.decode(&unit);
                (unit, read)
            }
            Framed::Refused { unit, reason } => (unit, Err(reason)),
        };
        let lines = match read {
            Ok(items) => items.iter().map(|item| json(&unit, item)).collect(),
            Err(reason) => vec![format!("refused bytes {}..{}: {reason}", unit.start, unit.end)],
        };
        out.extend(lines.iter().map(|line| format!("{line}\n")));
    }
    out
}

fn json(unit: &Unit, item: &Item) -> String {
    match item {
        Item::Receipt(receipt) => serde_json::to_string(receipt).unwrap(),
        Item::Movement(movement) => serde_json::json!({ "movement": movement }).to_string(),
        Item::Closing(closing) => serde_json::json!({ "closing": closing }).to_string(),
        Item::Refused(reason) => format!("refused bytes {}..{}: {reason}", unit.start, unit.end),
    }
}

/// Reads receipts of which none may be refused.
pub(crate) fn receipts(format: &Format, context: &Context, bytes: &[u8]) -> Vec<Receipt> {
    let mut decoder = format.decoder(context.clone());
    let mut found = Vec::new();
    for framed in frame(format, bytes, 64 << 10) {
        let items = match &framed {
            Framed::Unit(unit) => decoder.decode(unit).unwrap_or_else(|reason| {
                panic!("{reason}: {}", String::from_utf8_lossy(&unit.bytes))
            }),
            Framed::Refused { unit, reason } => panic!("{reason} at {}", unit.start),
        };
        for item in items {
            match item {
                Item::Receipt(receipt) => found.push(*receipt),
                Item::Movement(movement) => panic!("a movement: {movement:?}"),
                // What a till says of its own day is held against it elsewhere.
                Item::Closing(_) => {}
                Item::Refused(reason) => panic!("{reason}"),
            }
        }
    }
    found
}

/// Returns the path of one of our own files.
pub(crate) fn data(name: &str) -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The fuzz targets read the same files from a crate below this one.
    let agent = if own.ends_with("fuzz") { own.join("..") } else { own.to_owned() };
    agent.join("tests/data").join(name)
}

/// Third-party samples lie beside the repository; where they are absent their tests say so.
pub(crate) fn shared_folder(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var_os("FRISCHMARKT_SHARED").map_or_else(beside, PathBuf::from);
    let folder = shared.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {} is absent", folder.display());
    None
}

/// Finds a format without settings.
pub(crate) fn find(name: &str, dialect: Option<&str>) -> Result<Format, FormatError> {
    Format::find(Choice { name, dialect, settings: None })
}
