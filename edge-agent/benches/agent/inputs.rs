//! What the benches read: a seeded shop's receipts and movements as each till and stock system writes
//! them. The same seed gives the same bytes on every machine.

use std::io::{Cursor, Write as _};
use std::sync::Arc;

use chrono_tz::Tz;
use edge_agent::format::{Choice, Context, Format, Framed, Item, Refusal};
use fakes::shop::{Assortment, Country, Plan, Shop, minutes_from};
use fakes::till::{Content, Dialect, paper_file};
use shared::ids::StoreId;
use shared::receipt::{Receipt, StockMovement};
use shared::time::Minute;
use zip::write::SimpleFileOptions;

use crate::plain::Plain;
use crate::sheets;

/// What makes the shop's day.
pub(crate) const SEED: u64 = 4711;
/// Bytes that a directory source hands over at once.
pub(crate) const CHUNK: usize = 64 << 10;
/// Minutes of the shop in which stock moves.
const MINUTES: u32 = 7_200;
/// Movements of stock that are written for one receipt: both make files of about the same size.
const MOVEMENTS: usize = 6;

/// A format with bytes for it.
pub(crate) struct Input {
    /// Its name in tables.
    pub(crate) name: String,
    /// How it is read.
    pub(crate) format: Format,
    /// What its decoder is told.
    pub(crate) context: Context,
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
    /// The least that any reader of such bytes does.
    pub(crate) plain: Plain,
}

/// What was read of an input.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Receipts, movements and closings.
    pub(crate) items: usize,
    /// What was set aside.
    pub(crate) refused: usize,
    /// The last reason for it.
    pub(crate) why: Option<Refusal>,
}

impl Input {
    /// Reads it as the agent does, chunk by chunk.
    pub(crate) fn read(&self) -> Tally {
        let (mut framer, mut decoder) =
            (self.format.framer(0), self.format.decoder(self.context.clone()));
        let mut tally = Tally::default();
        let mut take = |framed: Framed| {
            let items = match framed {
                Framed::Refused { reason, .. } => vec![Item::Refused(reason)],
                Framed::Unit(unit) => {
                    decoder.decode(&unit).unwrap_or_else(|reason| vec![Item::Refused(reason)])
                }
            };
            for item in items {
                match item {
                    Item::Refused(reason) => {
                        tally.refused += 1;
                        tally.why = Some(reason);
                    }
                    Item::Receipt(_) | Item::Movement(_) | Item::Closing(_) => tally.items += 1,
                }
            }
        };
        for chunk in self.bytes.chunks(CHUNK) {
            framer.push(chunk).into_iter().for_each(&mut take);
        }
        framer.quiet().into_iter().for_each(&mut take);
        framer.finish().into_iter().for_each(&mut take);
        tally
    }
}

/// Plays the shop until it has rung up so many receipts.
pub(crate) fn receipts(country: Country, most: usize) -> Vec<Receipt> {
    let mut shop = shop(country, 25_000);
    let minutes = minutes_from(opening(), u32::MAX).map(|minute| shop.minute(minute));
    minutes.flat_map(|minute| minute.receipts).take(most).collect()
}

fn movements(most: usize) -> Vec<StockMovement> {
    let mut shop = shop(Country::Germany, 1_000);
    let played: Vec<StockMovement> = minutes_from(opening(), MINUTES)
        .flat_map(|minute| shop.minute(minute).movements)
        .take(most)
        .collect();
    assert!(!played.is_empty(), "the shop moves stock");
    played
}

fn opening() -> Minute {
    "2026-11-23T06:00:00Z".parse().expect("it is a minute")
}

fn shop(country: Country, receipts_per_thousand_minutes: u32) -> Shop {
    let (store, zone) = (store(), chrono_tz::Europe::Berlin);
    let plan = Plan { store, zone, country, tills: 4, receipts_per_thousand_minutes, seed: SEED };
    Shop::new(plan, Arc::new(Assortment::new(5_000, country)))
}

/// The store of all inputs.
pub(crate) fn store() -> StoreId {
    StoreId::new("10").expect("it is a store's id")
}

/// All inputs, each of about so many receipts: every format, and POSLog in each of its dialects.
pub(crate) fn all(count: usize) -> Vec<Input> {
    let german = receipts(Country::Germany, count);
    let american = receipts(Country::America, count);
    let zone = chrono_tz::Europe::Berlin;
    let till = |dialect: Dialect| dialect.file(&german, zone);
    let mut inputs: Vec<Input> = [
        ("fakes", Dialect::PoslogFakes),
        ("ncr-acs", Dialect::NcrAcs),
        ("wn-tpnet", Dialect::WnTpnet),
        ("roqqio", Dialect::Roqqio),
        ("visma", Dialect::Visma),
        ("gk", Dialect::Gk),
        ("v6", Dialect::V6),
    ]
    .into_iter()
    .map(|(name, dialect)| {
        let rung = if dialect == Dialect::NcrAcs { &american } else { &german };
        input(&format!("poslog/{name}"), dialect.file(rung, zone), Plain::Xml)
    })
    .collect();
    let moved = movements(MOVEMENTS * count);
    inputs.extend([
        input("fiskaltrust", till(Dialect::Fiskaltrust), Plain::Json),
        input("escpos/rewe", till(Dialect::Escpos), Plain::Text),
        input("receipt-text/rewe", paper_file(&german, zone), Plain::Text),
        input("dsfinvk", archive(&german, zone), Plain::Inflate),
        input("telegram", sheets::telegrams(&german, zone), Plain::Text),
        input("jsonl", till(Dialect::Jsonl), Plain::Json),
        input("square", sheets::orders(&german), Plain::Json),
        input("stock-csv", sheets::stock_csv(&moved), Plain::Csv),
        input("edifact", sheets::edifact(&moved), Plain::Segments),
    ]);
    inputs
}

/// An export of the tax office's form as a zip.
fn archive(receipts: &[Receipt], zone: Tz) -> Vec<u8> {
    let at = receipts.last().expect("there are receipts").ended_at;
    let Content::Folder(files) = Dialect::Dsfinvk.content(receipts, zone, at) else {
        panic!("the export is a folder")
    };
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Returns how an input of this name is read.
pub(crate) fn format(name: &str) -> Format {
    let (format, dialect) = name.split_once('/').unwrap_or((name, ""));
    let settings = match format {
        "stock-csv" => Some(sheets::STOCK_CSV),
        "telegram" => Some(sheets::TELEGRAM),
        _ => None,
    };
    let dialect = Some(dialect).filter(|text| !text.is_empty());
    Format::find(Choice { name: format, dialect, settings }).unwrap()
}

/// Makes an input of which all must be readable: a refusal costs less than what it stands for.
fn input(name: &str, bytes: Vec<u8>, plain: Plain) -> Input {
    let context = context(store(), chrono_tz::Europe::Berlin);
    let made = Input { name: name.to_owned(), format: format(name), context, bytes, plain };
    let tally = made.read();
    assert!(tally.items > 0 && tally.refused == 0, "{}: {tally:?}", made.name);
    made
}

/// Returns what a decoder of a store is told.
pub(crate) fn context(store: StoreId, zone: Tz) -> Context {
    Context {
        store: Some(store),
        pos_store: None,
        zone,
        business_day_cut: chrono::NaiveTime::from_hms_opt(3, 0, 0).expect("three o'clock exists"),
        articles: Arc::default(),
        pseudonyms: None,
    }
}
