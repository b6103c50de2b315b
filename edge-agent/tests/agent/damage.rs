//! Whatever a till sends, a decoder neither panics nor loops nor holds more than its bound, and finds
//! the same units however the bytes are split. Each family of our own files is a target: it reads raw
//! bytes, and the files with damage done to them. `make test` does so for a moment with bytes of
//! chance, `make fuzz SECONDS=n` for so long with bytes that an engine makes up which sees what code
//! they reach.

use edge_agent::format::{Format, Framed, Item, Unit};

use crate::reading::Family;

/// Bytes of a refused piece or a unit, whatever the format: archives are the largest.
const HELD_MOST: usize = 80 << 20;

/// Reads bytes with the framer and decoder of a family, and holds them to what every format promises.
pub(crate) fn read(family: &Family, bytes: &[u8]) {
    let format = family.format();
    let (mut framer, mut decoder) = (format.framer(0), format.decoder(family.context()));
    let mut found: Vec<Framed> = bytes.chunks(997).flat_map(|chunk| framer.push(chunk)).collect();
    check_splits(&format, bytes, &found);
    found.extend(framer.quiet());
    found.extend(framer.finish());
    assert!(framer.position() <= bytes.len() as u64);
    let mut end = 0;
    for framed in found {
        let unit = match &framed {
            Framed::Unit(unit) | Framed::Refused { unit, .. } => unit,
        };
        check_place(unit, bytes, &mut end);
        let Framed::Unit(unit) = framed else { continue };
        for item in decoder.decode(&unit).into_iter().flatten() {
            if let Item::Receipt(receipt) = item {
                assert_eq!(receipt.check_sums(), Ok(()));
            }
        }
    }
}

/// Chunks of another size give the same, and so does reading that is broken off and resumed. Where is
/// up to the bytes themselves, so that the same input is always read in the same way.
fn check_splits(format: &Format, bytes: &[u8], whole: &[Framed]) {
    let chance =
        bytes.iter().fold(bytes.len(), |sum, &byte| sum.wrapping_mul(31) ^ usize::from(byte));
    let mut framer = format.framer(0);
    let small: Vec<Framed> =
        bytes.chunks(1 + chance % 61).flat_map(|chunk| framer.push(chunk)).collect();
    assert_eq!(small, whole, "chunks of {}", 1 + chance % 61);
    let cut = chance % (bytes.len() + 1);
    let mut framer = format.framer(0);
    let mut found = framer.push(&bytes[..cut]);
    let position = usize::try_from(framer.position()).expect("it lies within the bytes");
    let mut resumed = format.framer(framer.position());
    resumed.remember(framer.memory());
    found.extend(resumed.push(&bytes[position..]));
    assert_eq!(found, whole, "cut at {cut}, resumed at {position}");
}

/// Every piece lies where it says, behind the one before it, and within its bound.
fn check_place(unit: &Unit, bytes: &[u8], end: &mut u64) {
    assert!(unit.start >= *end && unit.end - unit.start == unit.bytes.len() as u64);
    let start = usize::try_from(unit.start).expect("it lies within the bytes");
    assert!(bytes[start..].starts_with(&unit.bytes));
    assert!(unit.bytes.len() <= HELD_MOST);
    *end = unit.end;
}

#[cfg(test)]
mod targets {
    use proptest::prelude::*;

    use super::read;
    use crate::reading::{FAMILIES, Family};

    /// Inputs of each kind that a target reads: about half a second in a debug build.
    const INPUTS: u32 = 250;

    macro_rules! targets {
        ($($name:ident: $folder:literal,)+) => {
            proptest! {
                #![proptest_config(ProptestConfig::with_cases(INPUTS))]
                $(
                    #[test]
                    fn $name(
                        raw in prop::collection::vec(any::<u8>(), 0..300),
                        which in any::<prop::sample::Index>(),
                        damage in prop::collection::vec(any::<[u8; 4]>(), 1..12),
                    ) {
                        let family = family($folder);
                        read(family, &raw);
                        let mut bytes = std::fs::read(which.get(&family.files())).unwrap();
                        damage.into_iter().for_each(|damage| harm(&mut bytes, damage));
                        read(family, &bytes);
                    }
                )+
            }

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

    fn family(folder: &str) -> &'static Family {
        FAMILIES.iter().find(|family| family.folder == folder).expect("the target names a family")
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
}
