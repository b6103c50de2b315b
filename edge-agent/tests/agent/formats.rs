//! What a till's bytes mean: our own small files beside what they hold, whatever the chunks, whatever
//! the damage. The files under `tests/data` stand beside `.receipts`: what `decode` prints, refusals
//! in between. `BLESS=1` writes those anew, for a reader to judge.

use std::path::{Path, PathBuf};
use std::process::Command;

use edge_agent::format::{Context, Format, Framed, Item, UNIT_BYTES_MAX, Unit};
use proptest::prelude::*;
use shared::ids::StoreId;
use shared::receipt::Receipt;
use shared::time::Minute;

/// Folder under `tests/data`, format, dialect, store and zone of its files.
const FAMILIES: [(&str, &str, Option<&str>, &str, chrono_tz::Tz); 3] = [
    ("poslog/fakes", "poslog", Some("fakes"), "0010", chrono_tz::Europe::Berlin),
    ("poslog/ncr-acs", "poslog", Some("ncr-acs"), "9", chrono_tz::America::New_York),
    ("jsonl", "jsonl", None, "10", chrono_tz::Europe::Berlin),
];

#[test]
fn every_file_holds_what_stands_beside_it() {
    let mut seen = 0;
    for (folder, name, dialect, store, zone) in FAMILIES {
        let format = Format::find(name, dialect).unwrap();
        for file in files(folder) {
            let printed = print(format, &context(store, zone), &std::fs::read(&file).unwrap());
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
    let format = Format::find("poslog", Some("ncr-acs")).unwrap();
    let bytes = std::fs::read(data("poslog/ncr-acs/receipts.xml")).unwrap();
    let printed = print(format, &context("9", chrono_tz::America::New_York), &bytes);
    for secret in ["Never Shown", "SECRET", "GROCERY"] {
        assert!(String::from_utf8_lossy(&bytes).contains(secret));
        assert!(!printed.contains(secret), "{secret} stands in {printed}");
    }
    let bytes = std::fs::read(data("jsonl/lines.jsonl")).unwrap();
    let printed = print(Format::Jsonl, &context("10", chrono_tz::Europe::Berlin), &bytes);
    assert!(!printed.contains("loyalty 12345"));
}

#[test]
fn elements_that_stand_too_deep_and_texts_that_are_too_long_are_refused() {
    let good = poslog_unit("<Other>deep</Other>");
    let deep = poslog_unit(&format!("{}{}", "<a>".repeat(70), "</a>".repeat(70)));
    let long = poslog_unit("").replace("<ItemID>", &format!("<ItemID>{}", "9".repeat(5000)));
    let unread = poslog_unit(&format!("<Other>{}</Other>", "9".repeat(500_000)));
    let huge = poslog_unit(&format!("<Other>{}</Other>", "9".repeat(UNIT_BYTES_MAX)));
    let file = format!("<POSLog>{good}{deep}{long}{unread}{huge}{good}</POSLog>");
    let format = Format::find("poslog", Some("fakes")).unwrap();
    let context = context("10", chrono_tz::Europe::Berlin);
    let printed = print(format, &context, file.as_bytes());
    let starts: Vec<&str> = printed.lines().map(|line| line.split(": ").last().unwrap()).collect();
    assert_eq!(printed.lines().filter(|line| line.contains("\"counts\":true")).count(), 3);
    for reason in [
        "elements stand more than 64 deep",
        "a text is longer than 4096 bytes",
        "a Transaction of more than 4 MiB",
        "no Transaction stands here",
    ] {
        assert!(starts.contains(&reason), "{reason} is not in {starts:?}");
    }
}

#[test]
fn a_foreign_file_of_any_size_is_refused_in_bounded_pieces_that_hold_all_of_it() {
    let foreign = "neither <XML> nor JSON ".repeat(400_000);
    for format in [Format::find("poslog", Some("fakes")).unwrap(), Format::Jsonl] {
        let framed = frame(format, foreign.as_bytes(), 64 << 10);
        let pieces: Vec<&Unit> = framed.iter().map(refused).collect();
        assert!(pieces.len() < 20, "{} pieces", pieces.len());
        assert!(pieces.iter().all(|piece| piece.bytes.len() <= UNIT_BYTES_MAX));
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes.clone()).collect();
        assert!(bytes == foreign.as_bytes(), "bytes are missing");
    }
}

#[test]
fn reading_resumes_at_the_position_as_if_it_had_never_stopped() {
    for (folder, name, dialect, _, _) in FAMILIES {
        let format = Format::find(name, dialect).unwrap();
        for file in files(folder) {
            let bytes = std::fs::read(&file).unwrap();
            let whole = frame(format, &bytes, bytes.len().max(1));
            for cut in (0..bytes.len()).step_by(211) {
                let mut framer = format.framer(0);
                let mut found = framer.push(&bytes[..cut]);
                let position = usize::try_from(framer.position()).unwrap();
                let mut resumed = format.framer(framer.position());
                found.extend(resumed.push(&bytes[position..]));
                found.extend(resumed.finish());
                assert_eq!(found, whole, "{} cut at {cut}", file.display());
            }
        }
    }
}

#[test]
fn an_end_mark_tells_a_whole_file_from_one_that_is_still_being_written() {
    let poslog = Format::find("poslog", Some("fakes")).unwrap();
    for (format, bytes, complete) in [
        (poslog, "<POSLog></POSLog>\n", true),
        (poslog, "<POSLog><Transaction/></POSLog>", true),
        (poslog, "<POSLog><Transaction/>", false),
        (poslog, "<POSLog></POSLog><POSLog>", false),
        (poslog, "<POSLog></POSLog>rest", false),
        (poslog, "", false),
        (Format::Jsonl, "{}\n", true),
        (Format::Jsonl, "{}\n{", false),
    ] {
        let mut framer = format.framer(0);
        framer.push(bytes.as_bytes());
        assert_eq!(framer.complete(), complete, "{bytes}");
    }
}

/// What the seeded shop issues is what the decoders read back, in every dialect.
#[test]
fn what_the_fakes_write_is_read_back_to_the_cent() {
    use fakes::shop::{Assortment, Country, Plan, Shop, minutes_from};
    use fakes::till::Dialect;
    let cases = [
        (Dialect::PoslogFakes, Format::find("poslog", Some("fakes")), Country::Germany),
        (Dialect::NcrAcs, Format::find("poslog", Some("ncr-acs")), Country::America),
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
        let read = receipts(format.unwrap(), &context("0010", zone), &dialect.file(&issued, zone));
        assert_eq!(read.len(), issued.len(), "{dialect:?}");
        for (read, issued) in read.iter().zip(&issued) {
            assert_eq!(essence(read), essence(issued), "{dialect:?}");
        }
    }
}

#[test]
fn decode_tells_by_its_exit_status_what_became_of_the_file() {
    let data = |name: &str| data(name).display().to_string();
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
        (vec!["--format", "csv", "x"], 2, "poslog, jsonl"),
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

/// The export of a real grocer, against tables that a reader of another language made of it.
#[test]
fn the_real_ncr_acs_export_is_read_line_by_line_and_to_the_cent() {
    let Some(folder) = shared_folder("data/pos/poslog/ncr-acs-grocery") else { return };
    let format = Format::find("poslog", Some("ncr-acs")).unwrap();
    let bytes = std::fs::read(folder.join("POSLog.redacted.xml")).unwrap();
    let all = receipts(format, &context("9", chrono_tz::America::New_York), &bytes);
    let (read, control): (Vec<Receipt>, Vec<Receipt>) = all.into_iter().partition(|r| r.counts);

    let lines: i64 = read.iter().map(|r| r.lines.len() as i64).sum();
    let cents: i64 = read.iter().map(|r| r.total_cents.0).sum();
    let milli: i64 = read.iter().flat_map(|r| &r.lines).map(|line| line.quantity_milli.0).sum();
    assert_eq!((read.len(), lines, cents, milli), (42, 552, 264_372, 650_150));
    assert_eq!(control.len(), 9, "numbers of control transactions");
    let unexplained =
        read.iter().filter(|r| r.adjustments.iter().any(|a| a.kind.as_str() == "unexplained"));
    assert_eq!(unexplained.count(), 0);
    assert_eq!(read.iter().filter(|r| r.adjustment_cents.0 != 0).count(), 11);
    for receipt in &read {
        assert_eq!(receipt.check_sums(), Ok(()));
        let shares: i64 = receipt.lines.iter().map(|line| line.adjustment_share_cents.0).sum();
        assert_eq!(shares, receipt.adjustment_cents.0);
    }
    assert_eq!(of_golden_lines(&read), table(&folder.join("golden_lines.csv"), golden_line));
    assert_eq!(
        of_golden_receipts(&read),
        table(&folder.join("golden_receipts.csv"), golden_receipt)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn chunks_of_any_size_give_the_same_units(
        (family, which) in (0..FAMILIES.len(), any::<prop::sample::Index>()),
        sizes in prop::collection::vec(1_usize..700, 1..40),
    ) {
        let (folder, name, dialect, _, _) = FAMILIES[family];
        let format = Format::find(name, dialect).unwrap();
        let bytes = std::fs::read(which.get(&files(folder))).unwrap();
        let whole = frame(format, &bytes, bytes.len());
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
        let (folder, name, dialect, store, zone) = FAMILIES[family];
        let format = Format::find(name, dialect).unwrap();
        let mut bytes = std::fs::read(which.get(&files(folder))).unwrap();
        for (at, byte, how) in damage {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        let mut end = 0;
        let mut decoder = format.decoder(context(store, zone));
        for framed in frame(format, &bytes, 1000) {
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

type GoldenLine = (String, String, String, bool, String, i64, i64);
type GoldenReceipt = (String, String, usize, usize, i64, i64, i64);

/// The one refund of empties stands in the file with a positive quantity; it came in.
fn golden_line(row: &csv::StringRecord) -> GoldenLine {
    let milli: i64 = row[12].parse().unwrap();
    let milli = if &row[7] == "acs:NegativeItem" || row[7].ends_with("}NegativeItem") {
        -milli
    } else {
        milli
    };
    let text = |at: usize| row[at].to_owned();
    (text(1), text(2), text(5), &row[8] == "True", text(10), milli, row[13].parse().unwrap())
}

fn of_golden_lines(read: &[Receipt]) -> Vec<GoldenLine> {
    let lines =
        read.iter().flat_map(|receipt| receipt.lines.iter().map(move |line| (receipt, line)));
    let row = |(receipt, line): (&Receipt, &shared::receipt::Line)| {
        let position = line.position.to_string();
        let (till, number) = (receipt.till.to_string(), receipt.receipt.to_string());
        let (milli, cents) = (line.quantity_milli.0, line.amount_cents.0);
        (till, number, position, line.void, line.article.to_string(), milli, cents)
    };
    lines.map(row).collect()
}

fn golden_receipt(row: &csv::StringRecord) -> GoldenReceipt {
    let number = |at: usize| row[at].parse::<i64>().unwrap();
    let count = |at: usize| row[at].parse::<usize>().unwrap();
    (row[1].to_owned(), row[2].to_owned(), count(6), count(7), number(9), number(10), number(11))
}

fn of_golden_receipts(read: &[Receipt]) -> Vec<GoldenReceipt> {
    let row = |receipt: &Receipt| {
        let voids = receipt.lines.iter().filter(|line| line.void).count();
        let (till, number) = (receipt.till.to_string(), receipt.receipt.to_string());
        let lines = receipt.lines_cents().unwrap().0;
        let (total, tax) = (receipt.total_cents.0, receipt.tax_added_cents.0);
        (till, number, receipt.lines.len(), voids, lines, total, tax)
    };
    read.iter().map(row).collect()
}

fn table<T>(path: &Path, row: fn(&csv::StringRecord) -> T) -> Vec<T> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    reader.records().map(|record| row(&record.unwrap())).collect()
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

fn poslog_unit(extra: &str) -> String {
    format!(
        "<Transaction><RetailStoreID>10</RetailStoreID><WorkstationID>3</WorkstationID><SequenceNumber>1</SequenceNumber>\
         <EndDateTime>2026-11-23T10:41:07</EndDateTime>{extra}<RetailTransaction><LineItem><SequenceNumber>1</SequenceNumber>\
         <Sale><ItemID>04012345678901</ItemID><ExtendedAmount>1.99</ExtendedAmount><Quantity>1</Quantity></Sale></LineItem>\
         <Total TotalType=\"TransactionGrandAmount\">1.99</Total></RetailTransaction></Transaction>"
    )
}

fn context(store: &str, zone: chrono_tz::Tz) -> Context {
    let business_day_cut = chrono::NaiveTime::from_hms_opt(3, 0, 0).unwrap();
    Context { store: Some(StoreId::new(store).unwrap()), pos_store: None, zone, business_day_cut }
}

fn frame(format: Format, bytes: &[u8], chunk: usize) -> Vec<Framed> {
    let mut framer = format.framer(0);
    let mut found = Vec::new();
    for part in bytes.chunks(chunk) {
        found.extend(framer.push(part));
    }
    found.extend(framer.finish());
    found
}

fn refused(framed: &Framed) -> &Unit {
    match framed {
        Framed::Refused { unit, .. } => unit,
        Framed::Unit(unit) => panic!("a unit at {}", unit.start),
    }
}

/// Prints as `decode` does, refusals in between.
fn print(format: Format, context: &Context, bytes: &[u8]) -> String {
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
            Ok(items) => items.iter().map(json).collect(),
            Err(reason) => vec![format!("refused bytes {}..{}: {reason}", unit.start, unit.end)],
        };
        out.extend(lines.iter().map(|line| format!("{line}\n")));
    }
    out
}

fn json(item: &Item) -> String {
    match item {
        Item::Receipt(receipt) => serde_json::to_string(receipt).unwrap(),
        Item::Movement(movement) => serde_json::json!({ "movement": movement }).to_string(),
    }
}

/// Reads receipts of which none may be refused.
fn receipts(format: Format, context: &Context, bytes: &[u8]) -> Vec<Receipt> {
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
            }
        }
    }
    found
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data(folder)).unwrap().map(|entry| entry.unwrap().path());
    let is_till_file = |path: &PathBuf| {
        path.extension().is_some_and(|ending| ending == "xml" || ending == "jsonl")
    };
    let mut found: Vec<PathBuf> = entries.filter(is_till_file).collect();
    found.sort();
    found
}

/// Third-party samples lie beside the repository; where they are absent their tests say so.
fn shared_folder(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var_os("FRISCHMARKT_SHARED").map_or_else(beside, PathBuf::from);
    let folder = shared.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {} is absent", folder.display());
    None
}
