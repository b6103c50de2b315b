//! What a till's bytes mean: our own small files beside what they hold, whatever the chunks, whatever
//! the damage. The files under `tests/data` stand beside `.receipts`: what `decode` prints, refusals
//! in between. `BLESS=1` writes those anew, for a reader to judge.

use std::process::Command;

use edge_agent::format::{Choice, Format, Framed, Item, UNIT_BYTES_MAX, Unit};
use proptest::prelude::*;
use shared::ids::StoreId;
use shared::receipt::Receipt;
use shared::time::Minute;

use crate::reading::{FAMILIES, context, data, find, frame, print, receipts, refused};

#[test]
fn every_file_holds_what_stands_beside_it() {
    let mut seen = 0;
    for family in FAMILIES {
        let format = family.format();
        for file in family.files() {
            let printed = print(&format, &family.context(), &std::fs::read(&file).unwrap());
            let beside = file.with_extension("receipts");
            if std::env::var_os("BLESS").is_some() {
                std::fs::write(&beside, &printed).unwrap();
            }
            let wanted = std::fs::read_to_string(&beside).unwrap();
            for (at, (found, wanted)) in printed.lines().zip(wanted.lines()).enumerate() {
                assert_eq!(found, wanted, "{} line {}", beside.display(), at + 1);
            }
            assert_eq!(printed.lines().count(), wanted.lines().count(), "{}", beside.display());
            seen += 1;
        }
    }
    assert!(seen >= 8, "only {seen} files were found");
}

#[test]
fn nothing_personal_leaves_the_decoder() {
    let format = find("poslog", Some("ncr-acs")).unwrap();
    let bytes = std::fs::read(data("poslog/ncr-acs/receipts.xml")).unwrap();
    let printed = print(&format, &context("9", chrono_tz::America::New_York), &bytes);
    for secret in ["Never Shown", "SECRET", "GROCERY"] {
        assert!(String::from_utf8_lossy(&bytes).contains(secret));
        assert!(!printed.contains(secret), "{secret} stands in {printed}");
    }
    let bytes = std::fs::read(data("jsonl/lines.jsonl")).unwrap();
    let printed = print(&Format::Jsonl, &context("10", chrono_tz::Europe::Berlin), &bytes);
    assert!(!printed.contains("loyalty 12345"));
    for (name, file, store) in
        [("fiskaltrust", "journal.json", "10"), ("square", "orders.json", "L1")]
    {
        let bytes = std::fs::read(data(name).join(file)).unwrap();
        assert!(String::from_utf8_lossy(&bytes).contains("SECRET"));
        let context = context(store, chrono_tz::Europe::Berlin);
        let printed = print(&find(name, None).unwrap(), &context, &bytes);
        assert!(printed.contains("\"counts\":true") && !printed.contains("SECRET"), "{printed}");
    }
    let bytes = std::fs::read(data("escpos/rewe/sale.bin")).unwrap();
    let format = find("escpos", Some("rewe")).unwrap();
    let printed = print(&format, &context("10", chrono_tz::Europe::Berlin), &bytes);
    for secret in ["353535", "0134 0000", "955002", "BBBB"] {
        assert!(String::from_utf8_lossy(&bytes).contains(secret));
        assert!(!printed.contains(secret), "{secret} stands in {printed}");
    }
}

#[test]
fn a_foreign_file_of_any_size_is_refused_in_bounded_pieces_that_hold_all_of_it() {
    let foreign = "neither <XML> nor JSON ".repeat(400_000);
    for format in [find("poslog", Some("fakes")).unwrap(), Format::Jsonl, Format::Square] {
        let framed = frame(&format, foreign.as_bytes(), 64 << 10);
        let pieces: Vec<&Unit> = framed.iter().map(refused).collect();
        assert!(pieces.len() < 20, "{} pieces", pieces.len());
        assert!(pieces.iter().all(|piece| piece.bytes.len() <= UNIT_BYTES_MAX));
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes.clone()).collect();
        assert!(bytes == foreign.as_bytes(), "bytes are missing");
    }
}

#[test]
fn reading_resumes_at_the_position_as_if_it_had_never_stopped() {
    for family in FAMILIES {
        let format = family.format();
        for file in family.files() {
            let bytes = std::fs::read(&file).unwrap();
            let whole = frame(&format, &bytes, bytes.len().max(1));
            for cut in (0..bytes.len()).step_by(211) {
                let mut framer = format.framer(0);
                let mut found = framer.push(&bytes[..cut]);
                let position = usize::try_from(framer.position()).unwrap();
                let mut resumed = format.framer(framer.position());
                resumed.remember(framer.memory());
                found.extend(resumed.push(&bytes[position..]));
                found.extend(resumed.finish());
                assert_eq!(found, whole, "{} cut at {cut}", file.display());
            }
        }
    }
}

#[test]
fn an_end_mark_tells_a_whole_file_from_one_that_is_still_being_written() {
    let poslog = find("poslog", Some("fakes")).unwrap();
    for (format, bytes, complete) in [
        (poslog.clone(), "<POSLog></POSLog>\n", true),
        (poslog.clone(), "<POSLog><Transaction/></POSLog>", true),
        (poslog.clone(), "<POSLog><Transaction/>", false),
        (poslog.clone(), "<POSLog></POSLog><POSLog>", false),
        (poslog.clone(), "<POSLog></POSLog>rest", false),
        (poslog.clone(), "", false),
        (Format::Jsonl, "{}\n", true),
        (Format::Jsonl, "{}\n{", false),
    ] {
        let mut framer = format.framer(0);
        framer.push(bytes.as_bytes());
        assert_eq!(framer.complete(), complete, "{bytes}");
    }
}

/// A stack configures an agent for every format of the fakes but telegrams, whose layout is not theirs.
#[test]
fn every_format_of_the_fakes_is_one_of_the_agent() {
    for dialect in fakes::till::Dialect::ALL {
        let (name, known) = (dialect.format(), dialect != fakes::till::Dialect::Telegram);
        let choice = Choice { name, dialect: dialect.dialect(), settings: dialect.settings() };
        assert_eq!(Format::find(choice).is_ok(), known, "{dialect:?}");
        assert_eq!(fakes::till::Dialect::named(name, dialect.dialect()), Some(dialect));
    }
}

/// What the seeded shop issues is what the decoders read back, in every dialect.
#[test]
fn what_the_fakes_write_is_read_back_to_the_cent() {
    use fakes::shop::{Assortment, Country, Plan, Shop, minutes_from};
    use fakes::till::Dialect;
    let cases = [
        (Dialect::PoslogFakes, find("poslog", Some("fakes")), Country::Germany),
        (Dialect::NcrAcs, find("poslog", Some("ncr-acs")), Country::America),
        (Dialect::Jsonl, Ok(Format::Jsonl), Country::Germany),
    ];
    for (dialect, format, country) in cases {
        let zone = chrono_tz::Europe::Berlin;
        let store = StoreId::new("0010").unwrap();
        let receipts_per_thousand_minutes = 20_000;
        let plan = Plan { store, zone, country, tills: 3, receipts_per_thousand_minutes, seed: 7 };
        let mut shop = Shop::new(plan, std::sync::Arc::new(Assortment::new(200, country)));
        let first: Minute = "2026-11-23T09:00:00Z".parse().unwrap();
        let minutes = minutes_from(first, 60).map(|minute| shop.minute(minute));
        let issued: Vec<Receipt> = minutes.flat_map(|minute| minute.receipts).collect();
        assert!(issued.len() > 500, "only {} receipts", issued.len());
        let read = receipts(&format.unwrap(), &context("0010", zone), &dialect.file(&issued, zone));
        assert_eq!(read.len(), issued.len(), "{dialect:?}");
        for (read, issued) in read.iter().zip(&issued) {
            assert_eq!(essence(read), essence(issued), "{dialect:?}");
        }
    }
}

#[test]
fn decode_tells_by_its_exit_status_what_became_of_the_file() {
    let data = |name: &str| data(name).display().to_string();
    let all = Format::NAMES.join(", ");
    for (arguments, status, needle) in [
        (
            vec!["--format", "poslog", "--dialect", "fakes", &data("poslog/fakes/receipts.xml")],
            0,
            "",
        ),
        (
            vec!["--format", "poslog", "--dialect", "fakes", &data("poslog/fakes/cut-off.xml")],
            1,
            "a Transaction without its end",
        ),
        (vec!["--format", "poslog", &data("poslog/fakes/receipts.xml")], 2, "ncr-acs, fakes"),
        (vec!["--format", "csv", "x"], 2, all.as_str()),
        (vec!["--format", "jsonl", "--zone", "Europe/Hamburg", "x"], 2, "--zone"),
        (vec!["--format", "jsonl", "/nowhere/at/all"], 1, "/nowhere/at/all"),
    ] {
        let out =
            Command::new(env!("CARGO_BIN_EXE_edge-agent")).arg("decode").args(&arguments).output();
        let out = out.unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(status), "{arguments:?} {said}");
        assert!(said.contains(needle), "{arguments:?} {said}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn chunks_of_any_size_give_the_same_units(
        (family, which) in (0..FAMILIES.len(), any::<prop::sample::Index>()),
        sizes in prop::collection::vec(1_usize..700, 1..40),
    ) {
        let (format, files) = (FAMILIES[family].format(), FAMILIES[family].files());
        let bytes = std::fs::read(which.get(&files)).unwrap();
        let whole = frame(&format, &bytes, bytes.len());
        let mut framer = format.framer(0);
        let (mut found, mut rest, mut sizes) = (Vec::new(), bytes.as_slice(), sizes.iter().cycle());
        while !rest.is_empty() {
            let size = (*sizes.next().unwrap()).min(rest.len());
            found.extend(framer.push(&rest[..size]));
            rest = &rest[size..];
        }
        found.extend(framer.finish());
        prop_assert_eq!(found, whole);
    }

    #[test]
    fn a_damaged_file_stops_nothing_and_every_piece_lies_where_it_says(
        (family, which) in (0..FAMILIES.len(), any::<prop::sample::Index>()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..12),
    ) {
        let (format, files) = (FAMILIES[family].format(), FAMILIES[family].files());
        let mut bytes = std::fs::read(which.get(&files)).unwrap();
        for (at, byte, how) in damage {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        let mut end = 0;
        let mut decoder = format.decoder(FAMILIES[family].context());
        for framed in frame(&format, &bytes, 1000) {
            let unit = match &framed {
                Framed::Unit(unit) | Framed::Refused { unit, .. } => unit,
            };
            prop_assert!(unit.start >= end && unit.end - unit.start == unit.bytes.len() as u64);
            let start = usize::try_from(unit.start).unwrap();
            prop_assert!(bytes[start..].starts_with(&unit.bytes));
            end = unit.end;
            if let Framed::Unit(unit) = framed {
                for item in decoder.decode(&unit).into_iter().flatten() {
                    if let Item::Receipt(receipt) = item {
                        prop_assert_eq!(receipt.check_sums(), Ok(()));
                    }
                }
            }
        }
    }
}

/// What of a receipt is issued and must come back; words that a dialect does not have are left out.
fn essence(receipt: &Receipt) -> impl PartialEq + std::fmt::Debug {
    let lines = receipt.lines.iter().filter(|_| receipt.counts).map(|line| {
        let figures = (line.quantity_milli, line.amount_cents, line.discount_cents);
        (line.article.clone(), line.kind.clone(), line.unit.clone(), line.void, figures)
    });
    let lines = lines.collect::<Vec<_>>();
    let amounts = receipt.counts.then_some((
        receipt.tax_added_cents,
        receipt.adjustment_cents,
        receipt.total_cents,
    ));
    let key = (
        receipt.store.clone(),
        receipt.till.clone(),
        receipt.series.clone(),
        receipt.receipt.clone(),
    );
    (key, receipt.business_day, receipt.ended_at, receipt.counts, lines, amounts)
}
