//! Telegrams in every frame: whole ones are read once, whatever is done to their bytes, and what is
//! not read is set aside; no byte is lost.

use edge_agent::format::{Choice, Form, Format, FormatError, Framed, Item, Unit};

use crate::reading::{context, data};

const CHECKS: [&str; 7] =
    ["none", "xor", "xor-with-stx", "xor-without-etx", "xor-hex", "sum", "sum-hex"];
const FRAMINGS: [&str; 2] = ["stx-etx", "3964r"];
const ENCODINGS: [(&str, &[u8]); 4] =
    [("ascii", b"Muesli"), ("cp437", b"M\x81sli"), ("din66003", b"M}sli"), ("latin1", b"M\xFCsli")];

/// Every frame there is, with the bytes of three receipts in it.
fn frames() -> impl Iterator<Item = (String, Format, Vec<Vec<u8>>)> {
    let checks = move |framing| CHECKS.map(move |check| (framing, check));
    let all = FRAMINGS.into_iter().flat_map(checks);
    all.flat_map(|(framing, check)| ENCODINGS.map(|encoding| (framing, check, encoding))).map(
        |(framing, check, (encoding, word))| {
            let format = layout(framing, check, encoding);
            let receipts = [1, 2, 3].map(|number| {
                let start = format!("K;3;{number};23.11.26;10:41:0{number};V\rP;");
                let end = format!(" {number};1;ST;1,0{number};A;V\rS;1,0{number}");
                let content = [start.as_bytes(), word, end.as_bytes()].concat();
                wrap(framing, check, &content)
            });
            (format!("{framing} {check} {encoding}"), format, receipts.to_vec())
        },
    )
}

#[test]
fn every_frame_is_read_in_every_encoding_and_cut_at_every_byte() {
    for (name, format, telegrams) in frames() {
        let bytes = telegrams.concat();
        let whole = read(&format, &[&bytes]);
        assert_eq!(whole.numbers, ["1", "2", "3"], "{name}");
        assert_eq!(whole.forms, [Form::Sound; 3], "{name}");
        assert_eq!(whole.refused.len(), 0, "{name}");
        for cut in 0..=bytes.len() {
            let found = read(&format, &[&bytes[..cut], &bytes[cut..]]);
            assert_eq!(found.numbers, whole.numbers, "{name} cut at {cut}");
        }
    }
}

#[test]
fn a_telegram_that_is_damaged_at_any_byte_is_set_aside_and_its_neighbours_are_read() {
    for (name, format, telegrams) in frames().filter(|(name, _, _)| !name.contains("none")) {
        for at in 0..telegrams[1].len() {
            for flip in [0x01, 0x11, 0x20, 0x80] {
                let mut damaged = telegrams[1].clone();
                damaged[at] ^= flip;
                // Its case means nothing to a hexadecimal digit.
                if damaged[at].eq_ignore_ascii_case(&telegrams[1][at]) {
                    continue;
                }
                // The sender waits for an answer; a silence ends what has no end.
                let found = read(&format, &[&telegrams[0], &damaged, b"", &telegrams[2]]);
                assert_eq!(found.numbers, ["1", "3"], "{name} {flip:02x} at {at}");
                assert!(found.bytes_of_refused() > 0, "{name} {flip:02x} at {at}");
                let sent: usize = telegrams.iter().map(Vec::len).sum();
                // Handshake bytes between telegrams are nothing.
                assert!(found.bytes + 4 >= sent, "{name}: {} of {sent}", found.bytes);
            }
        }
    }
}

#[test]
fn a_telegram_that_breaks_off_is_set_aside_and_the_whole_one_is_read() {
    for (name, format, telegrams) in frames() {
        for cut in 0..telegrams[1].len() {
            let found = read(&format, &[&telegrams[1][..cut], b"", &telegrams[1], &telegrams[2]]);
            assert_eq!(found.numbers, ["2", "3"], "{name} broken at {cut}");
            // A lone STX asks whether anybody listens.
            assert_eq!(found.refused.len(), usize::from(cut > 1), "{name} broken at {cut}");
        }
    }
}

#[test]
fn a_telegram_that_breaks_off_into_the_next_one_costs_only_itself() {
    let (mut tried, mut fooled) = (0, 0);
    for (name, format, telegrams) in frames().filter(|(name, _, _)| !name.contains("none")) {
        for cut in 1..telegrams[1].len() {
            let found = read(&format, &[&telegrams[1][..cut], &telegrams[1], &telegrams[2]]);
            tried += 1;
            if found.numbers == ["3"] {
                // One check character in 256 fits by chance; then both are set aside as one.
                fooled += 1;
                assert!(found.bytes_of_refused() > telegrams[1].len(), "{name} broken at {cut}");
            } else {
                assert_eq!(found.numbers, ["2", "3"], "{name} broken at {cut}");
            }
        }
    }
    assert!(fooled * 100 < tried, "{fooled} of {tried}");
}

#[test]
fn junk_between_telegrams_is_set_aside_and_handshakes_are_nothing() {
    for (name, format, telegrams) in frames() {
        let parts: [&[u8]; 5] =
            [&telegrams[0], b"\x05\x04\x06\r\n", &telegrams[1], b"noise", &telegrams[2]];
        let found = read(&format, &parts);
        assert_eq!(found.numbers, ["1", "2", "3"], "{name}");
        let refused: Vec<&[u8]> =
            found.refused.iter().map(|(unit, _)| unit.bytes.as_slice()).collect();
        assert_eq!(refused, [b"noise"], "{name}");
    }
}

#[test]
fn data_may_hold_every_byte_in_3964r() {
    let format = Format::find(Choice {
        name: "telegram",
        dialect: None,
        settings: Some(&std::fs::read_to_string(data("telegram/joined/layout.toml")).unwrap()),
    })
    .unwrap();
    let all: Vec<u8> = (0..=255).collect();
    let drawer = wrap("3964r", "xor", &[b"D".as_slice(), &all, b"\x10\x03\x10\x10\x02"].concat());
    let found = read(&format, &[&drawer, &drawer]);
    assert_eq!((found.forms.len(), found.refused.len()), (2, 0));
}

#[test]
fn a_joined_receipt_counts_once_whatever_comes_again() {
    let (format, telegrams) = joined();
    for again in 0..telegrams.len() {
        let mut sent = telegrams.clone();
        sent.insert(again, telegrams[again].clone());
        let parts: Vec<&[u8]> = sent.iter().map(Vec::as_slice).collect();
        let found = read(&format, &parts);
        assert_eq!(found.numbers, ["41"], "telegram {again} came twice");
        assert_eq!(found.forms.len(), telegrams.len() + 1);
        assert_eq!(found.refused.len(), 0, "telegram {again} came twice");
    }
}

#[test]
fn a_joined_receipt_that_lacks_a_line_is_set_aside_with_all_its_bytes() {
    let (format, telegrams) = joined();
    for lacks in [1, 2] {
        let mut sent = telegrams.clone();
        sent.remove(lacks);
        let bytes = sent.concat();
        let found = read(&format, &[&bytes]);
        assert_eq!(found.numbers, [""; 0]);
        assert_eq!(found.refused[0].0.bytes, bytes);
        assert!(found.refused[0].1.contains("the total is"), "{}", found.refused[0].1);
    }
}

#[test]
fn a_receipt_that_never_ends_is_set_aside_in_bounded_pieces() {
    let (format, telegrams) = joined();
    let endless = [telegrams[0].clone(), telegrams[1].repeat(20_000)].concat();
    let found = read(&format, &[&endless]);
    assert!(found.refused.len() > 3);
    assert!(found.refused.iter().all(|(unit, _)| unit.bytes.len() <= 130 << 10));
    assert_eq!(found.bytes, endless.len());
    let stuck = [b"\x02".to_vec(), vec![b'x'; 1 << 20]].concat();
    let found = read(&layout("stx-etx", "xor", "ascii"), &[&stuck]);
    assert!(found.refused.iter().all(|(unit, _)| unit.bytes.len() <= 1 << 20));
    assert_eq!(found.bytes, stuck.len());
}

#[test]
fn settings_that_contradict_themselves_are_told() {
    let text = std::fs::read_to_string(data("telegram/joined/layout.toml")).unwrap();
    for (from, to, needle) in [
        ("position = [8, 3], article", "article", "position is needed"),
        ("\"3964r\"", "\"3964\"", "unknown variant"),
        ("vendor = \"kasse\"", "vendor = \"a:b\"", "vendor"),
        ("date = \"%d%m%y\"", "date = \"%Q\"", "date and time"),
        ("mark = \"L\"", "mark = \"H\"", "never reached"),
        ("mark = \"T\"", "mark = \"T\"\nwhat = 1", "unknown field"),
        ("amount = [8, 7]", "amount = 8", "where there is a separator"),
        ("role = \"total\"", "role = \"ignored\"", "a total"),
    ] {
        assert!(text.contains(from), "{from}");
        let text = text.replacen(from, to, 1);
        let choice = Choice { name: "telegram", dialect: None, settings: Some(&text) };
        let Err(FormatError::Settings { why, .. }) = Format::find(choice) else {
            panic!("{from} became {to} unseen")
        };
        assert!(why.contains(needle), "{why} lacks {needle}");
    }
    let choice = Choice { name: "telegram", dialect: None, settings: None };
    assert!(Format::find(choice).is_err());
}

/// What reading has found.
#[derive(Default)]
struct Found {
    numbers: Vec<String>,
    refused: Vec<(Unit, String)>,
    forms: Vec<Form>,
    /// Bytes of all units.
    bytes: usize,
}

impl Found {
    fn bytes_of_refused(&self) -> usize {
        self.refused.iter().map(|(unit, _)| unit.bytes.len()).sum()
    }
}

/// Reads chunks; an empty one is a silence.
fn read(format: &Format, chunks: &[&[u8]]) -> Found {
    let mut framer = format.framer(0);
    let mut framed = Vec::new();
    let mut found = Found::default();
    for chunk in chunks {
        framed.extend(if chunk.is_empty() { framer.quiet() } else { framer.push(chunk) });
        found.forms.extend(framer.ended());
    }
    framed.extend(framer.finish());
    let mut decoder = format.decoder(context("10", chrono_tz::Europe::Berlin));
    for framed in framed {
        let (unit, read) = match framed {
            Framed::Unit(unit) => {
                let read = decoder.decode(&unit);
                (unit, read)
            }
            Framed::Refused { unit, reason } => (unit, Err(reason)),
        };
        found.bytes += unit.bytes.len();
        match read {
            Ok(items) => found.numbers.extend(items.into_iter().map(|item| match item {
                Item::Receipt(receipt) => receipt.receipt.to_string(),
                Item::Movement(_) | Item::Closing(_) => panic!("no receipt"),
            })),
            Err(reason) => found.refused.push((unit, reason.reason)),
        }
    }
    found
}

/// Returns our layout of whole receipts in another frame.
fn layout(framing: &str, check: &str, encoding: &str) -> Format {
    let text = std::fs::read_to_string(data("telegram/whole/layout.toml")).unwrap();
    let text = text
        .replace("\"stx-etx\"", &format!("{framing:?}"))
        .replace("bcc = \"xor\"", &format!("bcc = {check:?}"))
        .replace("\"cp437\"", &format!("{encoding:?}"));
    let choice = Choice { name: "telegram", dialect: None, settings: Some(&text) };
    Format::find(choice).unwrap()
}

/// Returns the layout of joined receipts and the telegrams of one.
fn joined() -> (Format, Vec<Vec<u8>>) {
    let text = std::fs::read_to_string(data("telegram/joined/layout.toml")).unwrap();
    let choice = Choice { name: "telegram", dialect: None, settings: Some(&text) };
    (Format::find(choice).unwrap(), crate::till::joined_receipt(41))
}

/// Frames a telegram, by a second reading of what the settings mean.
pub(crate) fn wrap(framing: &str, check: &str, content: &[u8]) -> Vec<u8> {
    let mut inner = Vec::new();
    for &byte in content {
        inner.push(byte);
        if framing == "3964r" && byte == 0x10 {
            inner.push(byte);
        }
    }
    let end: &[u8] = if framing == "3964r" { b"\x10\x03" } else { b"\x03" };
    let xor = |bytes: &[u8]| bytes.iter().fold(0_u8, |all, byte| all ^ byte);
    let body = [&inner, end].concat();
    let sum = body.iter().map(|&byte| u32::from(byte)).sum::<u32>() % 256;
    let trailer = match check {
        "none" => Vec::new(),
        "xor" => vec![xor(&body)],
        "xor-with-stx" => vec![xor(&body) ^ 2],
        "xor-without-etx" => vec![xor(&inner)],
        "xor-hex" => format!("{:02X}", xor(&body)).into_bytes(),
        "sum" => vec![u8::try_from(sum).unwrap()],
        "sum-hex" => format!("{sum:02X}").into_bytes(),
        other => panic!("{other}"),
    };
    [b"\x02".as_slice(), &body, &trailer].concat()
}
