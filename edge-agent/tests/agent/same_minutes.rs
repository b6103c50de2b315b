//! One shop, every format: what a seeded day says is the same whatever the till writes, as far as the
//! format can say it: sales, returns, lines and receipts that are taken back, receipts paid by two
//! means, cash that moves. The table of what each format can say stands in `fakes/src/till.rs`.

use std::collections::BTreeSet;

use edge_agent::format::{Choice, Format, FormatError, Framed, Item};
use fakes::shop::{Assortment, Country, Plan, Shop, minutes_from};
use fakes::till::projection::{Carries, figures};
use fakes::till::{Content, Dialect};
use shared::ids::StoreId;
use shared::receipt::Receipt;
use shared::time::Minute;
use shared::words::{NotCounted, PaymentKind};

use crate::reading::{context, find, receipts};

/// Minutes that are printed: some fifteen hundred receipts.
const PRINTED_MINUTES: u32 = 62;

#[test]
fn the_same_day_gives_the_same_minutes_in_every_format() {
    for (dialect, format) in [
        (Dialect::Jsonl, find("jsonl", None)),
        (Dialect::PoslogFakes, find("poslog", Some("fakes"))),
        (Dialect::NcrAcs, find("poslog", Some("ncr-acs"))),
        (Dialect::WnTpnet, find("poslog", Some("wn-tpnet"))),
        (Dialect::Roqqio, find("poslog", Some("roqqio"))),
        (Dialect::Visma, find("poslog", Some("visma"))),
        (Dialect::Gk, find("poslog", Some("gk"))),
        (Dialect::V6, find("poslog", Some("v6"))),
        (Dialect::Escpos, find("escpos", Some("rewe"))),
        (Dialect::Fiskaltrust, find("fiskaltrust", None)),
        (Dialect::Dsfinvk, dsfinvk()),
    ] {
        compare(dialect, &format.unwrap());
    }
}

/// A table at the receipt's end says what its letters mean: one that lacks a letter of a line would set
/// the whole receipt aside.
#[test]
fn nothing_that_the_fakes_print_is_set_aside() {
    let zone = chrono_tz::Europe::Berlin;
    let format = find("escpos", Some("rewe")).unwrap();
    let issued = played(Country::Germany, 25_000, PRINTED_MINUTES);
    let (mut framer, mut decoder) = (format.framer(0), format.decoder(context("0010", zone)));
    let mut framed = framer.push(&bytes(Dialect::Escpos, &issued, zone));
    framed.extend(framer.quiet());
    framed.extend(framer.finish());
    let (mut read, mut aside) = (0, Vec::new());
    for framed in framed {
        let Framed::Unit(unit) = framed else { panic!("{framed:?}") };
        match decoder.decode(&unit) {
            Ok(items) => items.into_iter().for_each(|item| match item {
                Item::Receipt(_) => read += 1,
                Item::Refused(why) => aside.push(why.reason),
                Item::Movement(_) | Item::Closing(_) => panic!("no receipt at {}", unit.start),
            }),
            Err(why) => aside.push(why.reason),
        }
    }
    // A drawer that opens prints nothing.
    let printed = issued.iter().filter(|one| one.reason != Some(NotCounted::Control)).count();
    assert_eq!((read, aside), (printed, Vec::new()));
    assert!(read > 1_400, "only {read} receipts");
}

fn compare(dialect: Dialect, format: &Format) {
    let zone = chrono_tz::Europe::Berlin;
    let country = if dialect == Dialect::NcrAcs { Country::America } else { Country::Germany };
    let issued = played(country, 6_000, 150);
    if country == Country::Germany {
        holds_all_that_happens(&issued);
    }
    let read = receipts(format, &context("0010", zone), &bytes(dialect, &issued, zone));
    let carries = Carries::of(dialect);
    let (wanted, found) = (figures(&issued, carries), figures(&read, carries));
    for (place, wanted) in &wanted {
        let found = found.get(place).cloned().unwrap_or_default();
        for (key, sums) in &wanted.lines {
            assert_eq!(found.lines.get(key), Some(sums), "{dialect:?} at {place:?}: {key:?}");
        }
        for (key, sums) in &found.lines {
            assert_eq!(wanted.lines.get(key), Some(sums), "{dialect:?} at {place:?}: {key:?}");
        }
        assert_eq!(found.payments, wanted.payments, "{dialect:?} at {place:?}");
        assert_eq!(found.cash_moves, wanted.cash_moves, "{dialect:?} at {place:?}");
        assert_eq!(found.taken_back, wanted.taken_back, "{dialect:?} at {place:?}");
        assert_eq!(&found, wanted, "{dialect:?} at {place:?}");
    }
    assert_eq!(found.len(), wanted.len(), "{dialect:?}");
    assert!(wanted.len() > 50, "{dialect:?}: only {} minutes", wanted.len());
}

/// An export names its tills by more than their number, but for one column.
fn dsfinvk() -> Result<Format, FormatError> {
    let settings = Dialect::Dsfinvk.settings();
    Format::find(Choice { name: "dsfinvk", dialect: None, settings })
}

/// Writes a day; a folder as the tar that a directory of exports is read as.
fn bytes(dialect: Dialect, issued: &[Receipt], zone: chrono_tz::Tz) -> Vec<u8> {
    let closed_at = "2026-11-23T21:00:00Z".parse().unwrap();
    let files = match dialect.content(issued, zone, closed_at) {
        Content::File(bytes) => return bytes,
        Content::Folder(files) => files,
    };
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, format!("export/{name}"), bytes.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

/// The comparison is worth what happens in the day that is compared.
fn holds_all_that_happens(issued: &[Receipt]) {
    let count = |what: &dyn Fn(&Receipt) -> bool| issued.iter().filter(|one| what(one)).count();
    let moved: BTreeSet<&str> =
        issued.iter().flat_map(|one| &one.cash_moves).map(|moved| moved.kind.as_str()).collect();
    assert_eq!(moved, BTreeSet::from(["drop", "float", "paid_in", "paid_out"]));
    assert!(count(&|one| one.reason == Some(NotCounted::CashMove)) > 3);
    assert!(count(&|one| one.refers_to.is_some()) > 3);
    let means = |one: &Receipt, kind: &PaymentKind| one.payments.iter().any(|p| p.kind == *kind);
    for other in [PaymentKind::Cash, PaymentKind::Credit] {
        let both = |one: &Receipt| means(one, &other) && means(one, &PaymentKind::Girocard);
        assert!(count(&both) > 3, "{other}");
    }
    assert!(count(&|one| one.lines.iter().any(|line| line.void)) > 3);
}

/// Plays a shop with so many receipts in a thousand minutes.
fn played(country: Country, receipts_per_thousand_minutes: u32, minutes: u32) -> Vec<Receipt> {
    let (store, zone) = (StoreId::new("0010").unwrap(), chrono_tz::Europe::Berlin);
    let plan = Plan { store, zone, country, tills: 3, receipts_per_thousand_minutes, seed: 4711 };
    let mut shop = Shop::new(plan, std::sync::Arc::new(Assortment::new(200, country)));
    let first: Minute = "2026-11-23T09:00:00Z".parse().unwrap();
    let minutes = minutes_from(first, minutes).map(|minute| shop.minute(minute));
    minutes.flat_map(|it| it.receipts).collect()
}
