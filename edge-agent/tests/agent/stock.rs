//! Stock files: the figures of samples that are documented elsewhere, what broken ones are told, and
//! rows whose header is another.

use edge_agent::format::edifact::{Message, inspect};
use edge_agent::format::{Choice, Format, FormatError, Framed};

use crate::reading::{context, data, find, frame, print, shared_folder};

/// Messages that move no stock are read by the same reader as those that do.
#[test]
fn orders_and_invoices_of_others_hold_the_documented_figures() {
    let Some(folder) = shared_folder("data/pos/edifact") else { return };
    let read = |name: &str| {
        // pydifact's file ends before its UNZ, staedi's counts three segments that it does not have.
        let text = String::from_utf8(std::fs::read(folder.join(name)).unwrap()).unwrap();
        let bytes = match name {
            "pydifact/order.edi" => format!("{text}UNZ+1+807'"),
            "staedi/orders-with-group.edi" => text.replace("UNT+21+1", "UNT+18+1"),
            _ => text,
        };
        let bytes = bytes.into_bytes();
        let framed = frame(&edifact(), &bytes, 64);
        let Some(Framed::Unit(unit)) = framed.first() else { panic!("{name}: no interchange") };
        inspect(&unit.bytes).unwrap_or_else(|reason| panic!("{name}: {reason}")).remove(0)
    };
    let orders = read("pydifact/order.edi");
    assert_eq!(
        quantities(&orders, "21"),
        [("5020436373085", 8000), ("5020436373108", 8000)].map(owned)
    );
    let orders = read("staedi/orders-with-group.edi");
    assert_eq!(quantities(&orders, "21"), [owned(("5400111864181", 288_000))]);
    assert_eq!(quantities(&orders, "59"), [owned(("5400111864181", 12_000))]);
    let orders = read("dfdlschemas-d03b/ORDERS_D.03B_Interchange.txt");
    let pieces: Vec<i64> = quantities(&orders, "1").into_iter().map(|(_, milli)| milli).collect();
    assert_eq!(pieces, [25_000, 25_000, 16_000, 10_000]);
    let invoice = read("staedi/invoic_d93a_una.edi");
    let cents: Vec<i64> = invoice.lines.iter().map(|line| line.amounts[0].1.0).collect();
    assert_eq!(cents, [75_000, 1990, 750]);
    assert_eq!(amounts(&invoice), [("79", 77_740), ("124", 12_438), ("128", 90_178)].map(owned));
    let invoice = read("dfdlschemas-d03b/INVOIC_D.03B_Interchange_with_UNA.txt");
    assert_eq!(quantities(&invoice, "47"), [("V0370246", 5000), ("", 2000)].map(owned));
    assert_eq!(amounts(&invoice)[..3], [("64", 10_095), ("67", 5050), ("86", 36_200)].map(owned));
    for (name, needle) in [
        ("staedi/invoic_d93a_una.edi", "message INVOIC moves no stock"),
        ("staedi/orders-with-group.edi", "segment 20 (UNT): it counts 21 segments, there are 18"),
    ] {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let printed = print(&edifact(), &context("10", chrono_tz::Europe::Berlin), &bytes);
        assert!(printed.contains(needle), "{printed}");
    }
    for name in ["pydifact/order.edi", "pydifact/order2.edi"] {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let printed = print(&edifact(), &context("10", chrono_tz::Europe::Berlin), &bytes);
        assert!(printed.contains("an interchange without its UNZ"), "{printed}");
    }
}

#[test]
fn a_broken_message_is_refused_with_its_segment_and_its_place() {
    let good = "UNB+UNOC:3+A+B+261123:0541+1'UNH+1+RECADV:D:96A:UN'BGM+632+W+9'DTM+50:20261123:102'\
                LIN+1++4012345678901:EN'QTY+48:2'UNT+6+1'UNZ+1+1'";
    assert!(inspect(good.as_bytes()).is_ok());
    for (from, to, needle) in [
        ("UNT+6", "UNT+7", "segment 7 (UNT): it counts 7 segments, there are 6"),
        ("UNT+6+1", "UNT+6+2", "segment 7 (UNT): its reference"),
        ("UNZ+1+1", "UNZ+2+1", "segment 8 (UNZ): it counts 2"),
        ("QTY+48:2", "QTY+48:zwei", "segment 6 (QTY): no number"),
        ("QTY+48:2", "QTY+48", "segment 6 (QTY): the number is missing"),
        ("BGM+632+W+9", "BGM+632", "segment 3 (BGM): the document's number is missing"),
        ("UNH+1+RECADV:D:96A:UN'", "", "segment 2 (BGM): it stands outside of a message"),
        ("UNT+6+1'", "", "segment 7 (UNZ): the message before it has no UNT"),
    ] {
        let refusal = inspect(good.replacen(from, to, 1).as_bytes()).unwrap_err().to_string();
        assert!(refusal.contains(needle), "{needle} is not in {refusal}");
    }
}

#[test]
fn a_file_with_another_header_is_refused_whole_and_read_again_from_its_start() {
    let text = std::fs::read(data("stock-csv/movements.csv")).unwrap();
    let swapped = [b"Pos;Beleg".as_slice(), &text[9..]].concat();
    let format = stock_csv(&settings()).unwrap();
    let mut framer = format.framer(0);
    let mut found = framer.push(&swapped);
    assert_eq!((framer.position(), framer.complete()), (0, false));
    found.extend(framer.finish());
    let bytes: Vec<u8> = found
        .iter()
        .flat_map(|framed| match framed {
            Framed::Refused { unit, reason } => {
                assert!(reason.to_string().contains("its header is not the columns"));
                unit.bytes.clone()
            }
            Framed::Unit(unit) => panic!("a unit at {}", unit.start),
        })
        .collect();
    assert!(bytes == swapped && framer.position() == 0);
}

#[test]
fn settings_that_contradict_themselves_are_refused() {
    for (from, to, needle) in [
        ("\"Menge\",", "\"Anzahl\",", "\"Menge\" must stand once in columns"),
        ("document = \"Beleg\"", "", "document and line, or key"),
        ("kind = \"Art\"", "", "kind: either one for all rows"),
        ("encoding = \"cp1252\"", "encoding = \"ebcdic\"", "ebcdic"),
        ("grouping = \".\"", "grouping = \",\"", "must be plain signs"),
        ("header = true", "headers = true", "headers"),
    ] {
        let error = stock_csv(&settings().replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(needle), "{needle} is not in {error}");
    }
    assert!(find("stock-csv", None).is_err());
}

fn edifact() -> Format {
    find("edifact", None).unwrap()
}

fn settings() -> String {
    std::fs::read_to_string(data("stock-csv/settings.toml")).unwrap()
}

fn stock_csv(settings: &str) -> Result<Format, FormatError> {
    Format::find(Choice { name: "stock-csv", dialect: None, settings: Some(settings) })
}

fn owned((code, figure): (&str, i64)) -> (String, i64) {
    (code.to_owned(), figure)
}

fn quantities(message: &Message, qualifier: &str) -> Vec<(String, i64)> {
    let of_line = |line: &edge_agent::format::edifact::MessageLine| {
        let found = line.quantities.iter().find(|(found, ..)| found == qualifier);
        (line.article.0.clone(), found.unwrap().1.0)
    };
    message.lines.iter().map(of_line).collect()
}

fn amounts(message: &Message) -> Vec<(String, i64)> {
    message.amounts.iter().map(|(qualifier, cents)| (qualifier.clone(), cents.0)).collect()
}
