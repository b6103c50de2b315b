//! Whatever a till sends, a decoder neither panics nor loops nor holds more than its bound. Each target
//! takes raw bytes, and our own files with damage done to them. `make test` runs every target for a
//! moment, `make fuzz SECONDS=n` every one for so long.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails and tells by them")]
#![allow(dead_code, reason = "the agent's tests use the rest of `reading`")]

use std::time::Duration;

use edge_agent::format::{Framed, Item, Unit};

use reading::{FAMILIES, Family};

#[path = "../../tests/agent/reading.rs"]
mod reading;

/// Inputs that one target reads in `make test`: about a second in a debug build.
const INPUTS: usize = 2000;

/// Bytes of a refused piece or a unit, whatever the format: archives are the largest.
const HELD_MOST: usize = 80 << 20;

macro_rules! targets {
    ($($name:ident: $folder:literal,)+) => {
        $(
            #[test]
            fn $name() {
                let family = family($folder);
                let target = bolero::check!();
                match seconds() {
                    Some(span) => target.with_test_time(span).for_each(|input| fuzz(family, input)),
                    None => target.with_iterations(INPUTS).for_each(|input| fuzz(family, input)),
                }
            }
        )+

        #[test]
        fn every_family_is_a_target() {
            let targets = [$($folder),+];
            for family in FAMILIES {
                assert!(targets.contains(&family.folder), "{} has no target", family.folder);
            }
            assert_eq!(targets.len(), FAMILIES.len());
        }
    };
}

targets! {
    fuzz_jsonl: "jsonl",
    fuzz_poslog_fakes: "poslog/fakes",
    fuzz_poslog_ncr_acs: "poslog/ncr-acs",
    fuzz_poslog_wn_tpnet: "poslog/wn-tpnet",
    fuzz_poslog_roqqio: "poslog/roqqio",
    fuzz_poslog_visma: "poslog/visma",
    fuzz_poslog_gk: "poslog/gk",
    fuzz_poslog_v6: "poslog/v6",
    fuzz_fiskaltrust: "fiskaltrust",
    fuzz_square: "square",
    fuzz_escpos_rewe: "escpos/rewe",
    fuzz_escpos_star: "escpos/star",
    fuzz_receipt_text_rewe: "receipt-text/rewe",
    fuzz_receipt_text_lidl: "receipt-text/lidl",
    fuzz_receipt_text_edeka: "receipt-text/edeka",
    fuzz_dsfinvk: "dsfinvk",
    fuzz_edifact: "edifact",
    fuzz_stock_csv: "stock-csv",
    fuzz_telegram_whole: "telegram/whole",
    fuzz_telegram_joined: "telegram/joined",
}

/// Returns how long a target runs, where `FUZZ_SECONDS` says so.
fn seconds() -> Option<Duration> {
    let text = std::env::var("FUZZ_SECONDS").ok()?;
    Some(Duration::from_secs(text.parse().expect("FUZZ_SECONDS is a number of seconds")))
}

fn family(folder: &str) -> &'static Family {
    FAMILIES.iter().find(|family| family.folder == folder).expect("the target names a family")
}

/// The first byte chooses: raw bytes, or one of our own files with damage.
fn fuzz(family: &Family, input: &[u8]) {
    let Some((&choice, rest)) = input.split_first() else { return };
    let files = family.files();
    if choice.is_multiple_of(2) || files.is_empty() {
        return read(family, rest);
    }
    let mut bytes = std::fs::read(&files[usize::from(choice) / 2 % files.len()]).unwrap();
    for damage in rest.chunks_exact(4) {
        harm(&mut bytes, [damage[0], damage[1], damage[2], damage[3]]);
    }
    read(family, &bytes);
}

/// Changes, removes, doubles or inserts something somewhere.
fn harm(bytes: &mut Vec<u8>, [how, high, low, byte]: [u8; 4]) {
    if bytes.is_empty() {
        return;
    }
    let at = usize::from(u16::from_be_bytes([high, low])) % bytes.len();
    match how % 6 {
        0 => bytes[at] = byte,
        1 => drop(bytes.remove(at)),
        2 => bytes.insert(at, byte),
        3 => bytes.truncate(at),
        4 => {
            let end = (at + usize::from(byte)).min(bytes.len());
            drop(bytes.drain(at..end));
        }
        _ => {
            let end = (at + usize::from(byte)).min(bytes.len());
            let twice = bytes[at..end].to_vec();
            bytes.splice(at..at, twice);
        }
    }
}

fn read(family: &Family, bytes: &[u8]) {
    let format = family.format();
    let (mut framer, mut decoder) = (format.framer(0), format.decoder(family.context()));
    let mut end = 0;
    let mut take = |framed: Framed| {
        let unit = match &framed {
            Framed::Unit(unit) | Framed::Refused { unit, .. } => unit,
        };
        check_place(unit, bytes, &mut end);
        let Framed::Unit(unit) = framed else { return };
        for item in decoder.decode(&unit).into_iter().flatten() {
            if let Item::Receipt(receipt) = item {
                assert_eq!(receipt.check_sums(), Ok(()));
            }
        }
    };
    for chunk in bytes.chunks(997) {
        framer.push(chunk).into_iter().for_each(&mut take);
    }
    framer.quiet().into_iter().for_each(&mut take);
    framer.finish().into_iter().for_each(&mut take);
    assert!(framer.position() <= bytes.len() as u64);
}

/// Every piece lies where it says, behind the one before it, and within its bound.
fn check_place(unit: &Unit, bytes: &[u8], end: &mut u64) {
    assert!(unit.start >= *end && unit.end - unit.start == unit.bytes.len() as u64);
    let start = usize::try_from(unit.start).unwrap();
    assert!(bytes[start..].starts_with(&unit.bytes));
    assert!(unit.bytes.len() <= HELD_MOST);
    *end = unit.end;
}
