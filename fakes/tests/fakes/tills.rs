//! What tills write can be read back, and nobody ever sees half a file.

use fakes::shop::Country;
use fakes::till::{self, Dialect};
use shared::money::Cents;
use shared::receipt::Receipt;

use super::shop::{plan, play};

fn receipts(country: Country) -> Vec<Receipt> {
    play(&plan(country, 3), 120).into_iter().flat_map(|(_, played)| played.receipts).collect()
}

#[test]
fn json_lines_are_the_receipts_themselves() {
    let receipts = receipts(Country::Germany);
    let file = Dialect::Jsonl.file(&receipts, chrono_tz::Europe::Berlin);
    let lines = file.split_inclusive(|&byte| byte == b'\n');
    let back: Vec<Receipt> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    assert_eq!(back, receipts);
}

#[test]
fn both_poslogs_are_whole_and_hold_every_transaction() {
    for (dialect, country) in
        [(Dialect::PoslogFakes, Country::Germany), (Dialect::NcrAcs, Country::America)]
    {
        let receipts = receipts(country);
        let file = dialect.file(&receipts, chrono_tz::Europe::Berlin);
        let text = String::from_utf8(file).unwrap();
        let leaves = leaves(&text);
        let values = |name: &str| -> Vec<&str> {
            leaves.iter().filter(|leaf| leaf.0 == name).map(|leaf| leaf.1).collect()
        };
        let links = receipts.iter().filter(|one| one.refers_to.is_some()).count();
        assert_eq!(values("WorkstationID").len(), receipts.len() + links);
        let totals = values("Total TotalType=\"TransactionGrandAmount\"");
        let totals: Cents = totals.iter().map(|text| Cents::parse(text).unwrap()).sum();
        let retail = receipts.iter().filter(|one| !one.lines.is_empty());
        assert_eq!(totals, retail.map(|receipt| receipt.total_cents).sum());
        let lines: usize = receipts.iter().map(|receipt| receipt.lines.len()).sum();
        assert_eq!(values("ItemID").len(), lines);
        assert!(values("EndDateTime")[0].starts_with("2026-11-23T09:"), "local time");
    }
}

#[test]
fn the_plain_dialect_signs_nothing_but_the_grand_total() {
    let file = Dialect::PoslogFakes.file(&receipts(Country::Germany), chrono_tz::UTC);
    let text = String::from_utf8(file).unwrap();
    let signed: Vec<_> = leaves(&text).into_iter().filter(|leaf| leaf.1.starts_with('-')).collect();
    assert!(signed.iter().all(|leaf| leaf.0 == "Total TotalType=\"TransactionGrandAmount\""));
}

#[test]
fn a_file_appears_whole_and_leaves_nothing_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let tills = folder.path().join("tills/10");
    till::put(&tills, "a.jsonl", b"one\n").unwrap();
    till::put(&tills, "a.jsonl", b"two\n").unwrap();
    assert_eq!(std::fs::read(tills.join("a.jsonl")).unwrap(), b"two\n");
    assert_eq!(std::fs::read_dir(&tills).unwrap().count(), 1);
}

/// Returns the elements that hold text, with their attributes; every end must fit its beginning.
fn leaves(text: &str) -> Vec<(&str, &str)> {
    let (mut open, mut leaves) = (Vec::new(), Vec::new());
    for part in text.split('<').skip(1).filter(|part| !part.starts_with('?')) {
        let (tag, value) = part.split_once('>').unwrap();
        match tag.strip_prefix('/') {
            Some(name) => {
                let begun: &str = open.pop().unwrap();
                assert_eq!(begun.split(' ').next().unwrap(), name);
            }
            None => {
                open.push(tag);
                if !value.trim().is_empty() {
                    leaves.push((tag, value));
                }
            }
        }
    }
    assert!(open.is_empty(), "{open:?} are not closed");
    leaves
}
