//! Receipts as text: the example that the documents show is one that runs, and a text without what
//! every receipt has says what it lacks.

use std::path::Path;

use edge_agent::format::{Choice, Format};
use shared::money::{Cents, Milli};
use shared::words::PaymentKind;

use crate::reading::{context, find, print, receipts};

const BERLIN: chrono_tz::Tz = chrono_tz::Europe::Berlin;

#[test]
fn the_example_in_the_documents_is_read_as_they_say() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = std::fs::read_to_string(own.join("../docs/receipt-profiles.md")).unwrap();
    let (_, example) = document.split_once("## An example").unwrap();
    let (text, profile) = (fenced(example, "text"), fenced(example, "toml"));
    let choice = Choice { name: "receipt-text", dialect: None, settings: Some(profile) };
    let format = Format::find(choice).unwrap();
    let found = receipts(&format, &context("10", BERLIN), text.as_bytes());
    let [receipt] = found.as_slice() else { panic!("{} receipts", found.len()) };
    assert_eq!(
        (receipt.store.as_str(), receipt.till.as_str(), receipt.receipt.as_str()),
        ("10", "3", "933")
    );
    assert_eq!(receipt.ended_at.to_string(), "2026-11-23T09:41:00Z");
    let lines: Vec<_> = receipt
        .lines
        .iter()
        .map(|line| (line.article.as_str(), line.unit.to_string(), line.quantity_milli))
        .collect();
    assert_eq!(
        lines,
        [
            ("text:store:MILK", "pcs".to_owned(), Milli(1000)),
            ("text:store:APPLES", "kg".to_owned(), Milli(792)),
        ]
    );
    let amounts: Vec<Cents> = receipt.lines.iter().map(|line| line.amount_cents).collect();
    assert_eq!((amounts, receipt.total_cents), (vec![Cents(199), Cents(197)], Cents(396)));
    let paid: Vec<_> = receipt.payments.iter().map(|paid| (&paid.kind, paid.cents)).collect();
    assert_eq!(paid, [(&PaymentKind::Cash, Cents(500)), (&PaymentKind::Change, Cents(-104))]);
    let vat = &receipt.vat[0];
    assert_eq!((vat.bp, vat.net_cents, vat.tax_cents), (Some(700), Cents(370), Cents(26)));

    let copy = text.replacen("CORNER SHOP", "COPY", 1);
    let found = receipts(&format, &context("10", BERLIN), copy.as_bytes());
    assert!(!found[0].counts && found[0].total_cents == Cents::ZERO);
}

#[test]
fn a_receipt_that_lacks_what_every_receipt_has_is_set_aside_and_says_what() {
    let format = find("receipt-text", Some("rewe")).unwrap();
    let key = "  23.11.2026     10:41     Bon-Nr.:970\n Markt:0010     Kasse:3   Bed.:353535\n";
    let goods = "                                  EUR\nMILCH 3,5%                       1,99 B\n";
    let vat = "B=   7,0%  1,86  0,13  1,99\n";
    let total = "SUMME                   EUR      1,99\n";
    let (till, number) = ("  23.11.2026     10:41\n", " Markt:0010     Kasse:3   Bed.:353535\n");
    for (text, reason) in [
        (format!("{key}{goods}"), "its total is missing"),
        (format!("{key}{goods}--------\n"), "its total is missing"),
        (format!("{goods}{key}"), "line 3 among the goods is not understood"),
        (format!("{key}{total}{vat}"), "where its goods begin is not found"),
        (format!("{goods}{total}{vat}{number}"), "its receipt number is missing"),
        (format!("{goods}{total}{vat}"), "its till is missing"),
        (format!("{goods}{total}{vat}{till}"), "its till is missing"),
        (format!("{goods}{total}{key}"), "the VAT letter Label(\"B\") is not in its own table"),
    ] {
        let printed = print(&format, &context("0010", BERLIN), text.as_bytes());
        assert!(printed.starts_with("refused bytes 0..") && printed.lines().count() == 1);
        assert!(printed.contains(reason), "{reason} is not in {printed}of\n{text}");
    }
    let whole = format!("{goods}{total}{vat}{key}");
    assert_eq!(receipts(&format, &context("0010", BERLIN), whole.as_bytes()).len(), 1);
}

/// Returns what stands in the first block of this language.
fn fenced<'a>(document: &'a str, language: &str) -> &'a str {
    let (_, behind) = document.split_once(&format!("```{language}\n")).unwrap();
    behind.split_once("```").unwrap().0
}
