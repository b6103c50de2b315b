//! DSFinV-K: an export is the same as a zip and as a tar, its sums must agree, and what a bomb claims
//! is not believed.

use std::io::{Cursor, Write};
use std::path::Path;

use edge_agent::format::{Format, Framed, Item};

use crate::reading::{context, data, find, frame, print, shared_folder};

#[test]
fn the_tar_beside_the_folder_holds_it() {
    let tar = tar_of(&data("dsfinvk/two-closings"));
    let beside = data("dsfinvk/two-closings.tar");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&beside, &tar).unwrap();
    }
    assert!(std::fs::read(&beside).unwrap() == tar, "{} is another", beside.display());
}

#[test]
fn a_zip_holds_what_a_tar_holds() {
    let (format, context) = (dsfinvk(), context("10", chrono_tz::Europe::Berlin));
    let read = |bytes: &[u8]| {
        let printed = print(&format, &context, bytes);
        let told = printed.lines().map(|line| line.rsplit("refused bytes").next().unwrap());
        told.map(|line| {
            line.trim_start_matches(|c: char| " .".contains(c) || c.is_ascii_digit()).to_owned()
        })
        .collect::<Vec<_>>()
    };
    let folder = data("dsfinvk/two-closings");
    assert_eq!(read(&zip_of(&folder)), read(&tar_of(&folder)));
}

#[test]
fn nothing_personal_leaves_an_export() {
    let bytes = tar_of(&data("dsfinvk/two-closings"));
    assert!(String::from_utf8_lossy(&bytes).contains("Never; Shown"));
    let printed = print(&dsfinvk(), &context("10", chrono_tz::Europe::Berlin), &bytes);
    for secret in ["Never", "Shown", "C-77"] {
        assert!(!printed.contains(secret), "{secret} stands in {printed}");
    }
}

#[test]
fn a_closing_counts_whole_or_not_at_all_and_the_figures_are_named() {
    let bytes = tar_of(&data("dsfinvk/two-closings"));
    let mut decoder = dsfinvk().decoder(context("10", chrono_tz::Europe::Berlin));
    let mut framed = frame(&dsfinvk(), &bytes, 4096);
    let Some(Framed::Unit(unit)) = framed.pop() else { panic!("no unit") };
    let items = decoder.decode(&unit).unwrap();
    let mut sums = std::collections::BTreeMap::<String, i64>::new();
    let (mut closings, mut refusals) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Item::Receipt(receipt) => {
                *sums.entry(receipt.till.to_string()).or_default() += receipt.total_cents.0;
            }
            Item::Closing(closing) => {
                closings.push((closing.tills[0].to_string(), closing.total_cents.0));
            }
            Item::Refused(reason) => refusals.push(reason.to_string()),
            Item::Movement(movement) => panic!("{movement:?}"),
        }
    }
    // Receipt 9 of till K1, 0.99, is set aside; its closing still says so.
    assert_eq!(
        sums.into_iter().collect::<Vec<_>>(),
        [("K1".to_owned(), 125_146), ("K2".to_owned(), 285)]
    );
    assert_eq!(closings, [("K1".to_owned(), 125_245), ("K2".to_owned(), 285)]);
    let refusals = refusals.join("\n");
    for needle in [
        "receipt a9",
        "P_STORNO is 1",
        "closing 5 of K3",
        "lines make 1.00, its business cases 2.00",
    ] {
        assert!(refusals.contains(needle), "{needle} is not in {refusals}");
    }
}

#[test]
fn goods_for_own_use_leave_the_stock_where_the_settings_say_so() {
    let settings = "own_use = true\n[tills]\nK1 = \"1\"\n";
    let choice =
        edge_agent::format::Choice { name: "dsfinvk", dialect: None, settings: Some(settings) };
    let format = Format::find(choice).unwrap();
    let bytes = tar_of(&data("dsfinvk/two-closings"));
    let printed = print(&format, &context("10", chrono_tz::Europe::Berlin), &bytes);
    let moved: Vec<&str> = printed.lines().filter(|line| line.contains("\"movement\"")).collect();
    assert_eq!(moved.len(), 1);
    assert!(
        moved[0].contains("dsfinvk/1/2026-11-23/8/1") && moved[0].contains("-1000"),
        "{moved:?}"
    );
}

#[test]
fn damaged_archives_and_tables_are_refused_and_told() {
    let folder = data("dsfinvk/two-closings");
    let context = context("10", chrono_tz::Europe::Berlin);
    let changed = |name: &str, from: &str, to: &str| {
        let copy = tempfile::tempdir().unwrap();
        for (file, bytes) in files(&folder) {
            let text = String::from_utf8(bytes).unwrap();
            let text = if file == name { text.replacen(from, to, 1) } else { text };
            std::fs::write(copy.path().join(&file), text).unwrap();
        }
        print(&dsfinvk(), &context, &tar_of(copy.path()))
    };
    for (name, from, to, needle) in [
        ("transactions.csv", "BON_TYP", "TYP", "transactions.csv has no column BON_TYP"),
        ("lines_vat.csv", "3,98000", "3.98", "POS_BRUTTO \"3.98\" is no number"),
        ("lines_vat.csv", "a1;1;2", "a1;77;2", "lines_vat.csv names line 77 of receipt a1"),
        ("datapayment.csv", ";a2;", ";zz;", "datapayment.csv names receipt zz of closing 1000"),
        (
            "cashpointclosing.csv",
            "752,45",
            "752,46",
            "paid with 752.45, its Z_SE_ZAHLUNGEN is 752.46",
        ),
        ("index.xml", "<Media>", "<Media", "index.xml is not well formed"),
    ] {
        let printed = changed(name, from, to);
        assert!(printed.contains(needle), "{needle} is not in {printed}");
    }
    let zip = zip_of(&folder);
    let printed = print(&dsfinvk(), &context, &zip[..zip.len() - 30]);
    assert!(printed.contains("the zip is damaged"), "{printed}");
}

/// Receipts of real paper by the writer that real exports come from. It has no totals of its own, and
/// the paper's cash given and cashback stand in it as if they had been the price.
#[test]
fn what_the_derived_sample_holds_is_read_to_the_cent() {
    let Some(folder) = shared_folder("data/pos/dsfinvk/derived-pretix-writer") else { return };
    let printed = print(&dsfinvk(), &context("10", chrono_tz::Europe::Berlin), &tar_of(&folder));
    let receipts: Vec<serde_json::Value> = printed
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let read: Vec<(&str, i64, usize)> = receipts
        .iter()
        .map(|r| {
            (
                r["receipt"].as_str().unwrap(),
                r["total_cents"].as_i64().unwrap(),
                r["lines"].as_array().unwrap().len(),
            )
        })
        .collect();
    // 109 positions: those of the receipts set aside, 10 and 32, and the discounts, 8, are no lines.
    assert_eq!(read, [("3", 5027, 29), ("4", 3690, 14), ("5", 3944, 14)]);
    for needle in
        ["payments sum to 156.27, the total is 56.27", "payments sum to 20.05, the total is 13.05"]
    {
        assert!(printed.contains(needle), "{needle} is not in {printed}");
    }
}

fn dsfinvk() -> Format {
    find("dsfinvk", None).unwrap()
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                std::fs::read(&path).unwrap(),
            )
        })
        .collect();
    found.sort();
    found
}

fn tar_of(folder: &Path) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files(folder) {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, format!("export/{name}"), bytes.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

fn zip_of(folder: &Path) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files(folder) {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(&bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}
