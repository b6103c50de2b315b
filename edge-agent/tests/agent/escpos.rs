//! Print streams and receipt texts: real receipts of a German chain cent by cent against two readers
//! of other languages, and the streams of three vendors' test suites.

use std::path::Path;

use edge_agent::format::escpos::{PrintFault, Printer, print};
use edge_agent::format::{Choice, Format, Framed};
use shared::money::{Cents, Milli};
use shared::receipt::Receipt;

use crate::reading::{context, find, frame, print as print_items, receipts, shared_folder};

const BERLIN: chrono_tz::Tz = chrono_tz::Europe::Berlin;

/// Text, kind, quantity, amount, VAT rate; discounts are adjustments and have no quantity.
type Row = (String, String, Option<i64>, i64, u32);

/// The codes that the samples' maker put in are made up: their totals are another receipt's.
fn stream_format() -> Format {
    let settings = Some("profile = \"rewe\"\ntse = \"ignored\"");
    Format::find(Choice { name: "escpos", dialect: None, settings }).unwrap()
}

#[test]
fn real_receipts_are_read_to_the_cent_from_text_and_from_the_printer_alike() {
    let Some(data) = shared_folder("data") else { return };
    let text = data.join("pos/receipt-text/rewe-ebon");
    let streams = data.join("pos/escpos/derived-rewe-python-escpos");
    let published = published(&data.join("retail/rewe_ebons/lines.csv"));
    let figures = [(1, 10, 1305, "933"), (2, 32, 5627, "871"), (3, 31, 5027, "2399")];
    let mut discounts = 0;
    for (number, rows, total, bon) in figures {
        let texts = std::fs::read(text.join(format!("text-layout/{number}.txt"))).unwrap();
        let bytes = std::fs::read(streams.join(format!("{number}.bin"))).unwrap();
        let format = find("receipt-text", Some("rewe")).unwrap();
        let mut of_text = receipts(&format, &context("0449", BERLIN), &texts);
        let of_stream = receipts(&stream_format(), &context("0449", BERLIN), &bytes);
        assert_eq!(of_text, of_stream, "receipt {number}");
        let receipt = of_text.remove(0);
        assert!(of_text.is_empty());
        assert_eq!((receipt.total_cents, receipt.receipt.as_str()), (Cents(total), bon));
        let found = of_receipt(&receipt);
        assert_eq!(found.len(), rows);
        let wanted: Vec<Row> = published
            .iter()
            .filter(|(of, _)| of.ends_with(bon))
            .map(|(_, row)| row.clone())
            .collect();
        assert_eq!(found, wanted, "receipt {number}");
        discounts += receipt.adjustments.len();
        let oracle = std::fs::read(text.join(format!("oracle-json/{number}.json"))).unwrap();
        against_oracle(&receipt, &serde_json::from_slice(&oracle).unwrap());
    }
    assert_eq!(discounts, 6);
}

#[test]
fn a_code_that_contradicts_the_paper_sets_the_receipt_aside() {
    let Some(folder) = shared_folder("data/pos/escpos/derived-rewe-python-escpos") else { return };
    let format = find("escpos", Some("rewe")).unwrap();
    let bytes = std::fs::read(folder.join("1.bin")).unwrap();
    let printed = print_items(&format, &context("0449", BERLIN), &bytes);
    assert!(printed.contains("the TSE code says"), "{printed}");
}

#[test]
fn vendors_own_streams_leave_their_text_and_no_command() {
    let Some(folder) = shared_folder("data/pos/escpos") else { return };
    let mut seen = 0;
    for name in
        ["escpos-php", "escpos-tools", "esc-pos-preview-tools", "derived-rewe-python-escpos"]
    {
        for entry in std::fs::read_dir(folder.join(name)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|ending| ending != "bin") {
                continue;
            }
            let printed = print(&std::fs::read(&path).unwrap(), &Printer::epson());
            let strayed = printed.lines.iter().any(|line| line.chars().any(char::is_control));
            assert!(!strayed, "{}: {:?}", path.display(), printed.lines);
            let commands =
                matches!(printed.fault, Some(PrintFault::Command { .. } | PrintFault::Unfinished));
            assert!(!commands, "{}: {:?}", path.display(), printed.fault);
            seen += 1;
        }
    }
    assert_eq!(seen, 19);
    for (path, wanted) in [
        ("esc-pos-preview-tools/minimal.bin", ["Hello, World!", "This is a test."].as_slice()),
        (
            "esc-pos-preview-tools/formatting.bin",
            &[
                "LEFT ALIGNED",
                "CENTER ALIGNED",
                "RIGHT ALIGNED",
                "Bold text",
                "Bold + Underline",
                "Normal + Underline",
                "Normal text",
                "Normal size",
                "Wide",
                "Tall",
                "Double",
            ],
        ),
    ] {
        assert_eq!(lines(&folder.join(path)), wanted, "{path}");
    }
    for (path, wanted) in [
        ("esc-pos-preview-tools/receipt.bin", ["THERMAL PRINTER TEST", "TOTAL: $41.49"].as_slice()),
        ("escpos-tools/receipt-with-logo.bin", &["ExampleMart Ltd.", "SALES INVOICE"]),
        (
            "escpos-php/character-encodings.bin",
            &[
                "Quizdeltagerne spiste jordbær med fløde, mens cirkusklovnen Wolther spillede på xylofon.",
                "Falsches Üben von Xylophonmusik quält jeden größeren Zwerg.",
            ],
        ),
    ] {
        let found = lines(&folder.join(path));
        for line in wanted {
            assert!(found.iter().any(|other| other == line), "{path}: {line} is not in {found:#?}");
        }
    }
    let logo = lines(&folder.join("escpos-tools/receipt-with-logo.bin"));
    let items = logo.iter().filter(|line| {
        ["Example item #1", "Another thing", "Something else", "A final item"]
            .iter()
            .any(|item| line.starts_with(item))
    });
    assert_eq!(items.count(), 4, "{logo:#?}");
}

#[test]
fn silence_is_the_end_of_a_receipt_that_is_not_cut() {
    let bytes = std::fs::read(crate::reading::data("escpos/rewe/two-in-one.bin")).unwrap();
    let format = find("escpos", Some("rewe")).unwrap();
    let whole = frame(&format, &bytes, 100);
    let mut framer = format.framer(0);
    let second = bytes.windows(2).enumerate().filter(|(_, two)| two == b"\x1B@").nth(1).unwrap().0;
    assert_eq!(framer.push(&bytes[..second]), []);
    let first = framer.quiet();
    assert!(matches!(&first[..], [Framed::Unit(unit)] if unit.bytes == bytes[..second]));
    assert_eq!(framer.push(&bytes[second..]).len(), 1);
    assert_eq!(whole.len(), 2, "without silence the two are one");
}

fn lines(path: &Path) -> Vec<String> {
    let printed = print(&std::fs::read(path).unwrap(), &Printer::epson());
    let trimmed = printed.lines.iter().map(|line| line.trim().to_owned());
    trimmed.filter(|line| !line.is_empty()).collect()
}

fn published(path: &Path) -> Vec<(String, Row)> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let rows = reader.records().map(|record| {
        let row = record.unwrap();
        let amount: i64 = row[9].parse().unwrap();
        let milli: i64 = row[7].parse().unwrap();
        let milli = if amount < 0 { -milli } else { milli };
        let kind = match &row[11] {
            "deposit_return" => "deposit_refund",
            "discount" => "employee",
            other => other,
        };
        let milli = (kind != "employee").then_some(milli);
        // The price behind a deposit's name is no part of its name.
        let text = row[5].strip_suffix(" 0,48 EUR").unwrap_or(&row[5]);
        let text = if kind == "employee" { "" } else { text };
        let rate = if &row[10] == "A" { 1900 } else { 700 };
        (row[3].to_owned(), (text.to_owned(), kind.to_owned(), milli, amount, rate))
    });
    rows.collect()
}

fn of_receipt(receipt: &Receipt) -> Vec<Row> {
    let line = |line: &shared::receipt::Line| {
        let text = line.text.as_ref().unwrap().to_string();
        assert_eq!(line.article.as_str(), format!("text:store:{text}"));
        let Milli(milli) = line.quantity_milli;
        (text, line.kind.to_string(), Some(milli), line.amount_cents.0, line.vat_bp.unwrap())
    };
    let off = |off: &shared::receipt::Adjustment| {
        let rate = if off.vat_key.as_ref().unwrap().as_str() == "1" { 1900 } else { 700 };
        (String::new(), off.kind.to_string(), None, off.cents.0, rate)
    };
    receipt.lines.iter().map(line).chain(receipt.adjustments.iter().map(off)).collect()
}

fn against_oracle(receipt: &Receipt, oracle: &serde_json::Value) {
    let cents = |value: &serde_json::Value| Cents::parse(&value.to_string()).unwrap();
    assert_eq!(receipt.total_cents, cents(&oracle["total"]));
    let items = oracle["items"].as_array().unwrap();
    assert_eq!(items.len(), receipt.lines.len() + receipt.adjustments.len());
    for (line, item) in receipt.lines.iter().zip(items) {
        assert_eq!(line.amount_cents, cents(&item["subTotal"]), "{item}");
        let milli = Milli::parse(&item["amount"].to_string()).unwrap();
        assert_eq!(line.quantity_milli.abs(), milli, "{item}");
    }
    for (letter, vat) in ["A", "B"].iter().zip(&receipt.vat) {
        let row = &oracle["taxDetails"][letter];
        let said = (cents(&row["net"]), cents(&row["tax"]), cents(&row["gross"]));
        assert_eq!((vat.net_cents, vat.tax_cents, vat.gross_cents), said);
    }
    assert_eq!(receipt.vat.len(), 2);
    assert_eq!(
        receipt.ended_at.to_string(),
        oracle["datetime_utc"].as_str().unwrap().replace("+00:00", "Z")
    );
    let paid = receipt.payments.iter().filter(|paid| paid.cents.0 > 0).map(|paid| paid.cents);
    let given: Vec<Cents> =
        oracle["given"].as_array().unwrap().iter().map(|given| cents(&given["value"])).collect();
    assert_eq!(paid.collect::<Vec<_>>(), given);
}
