//! Each way of writing receipts down is read again by a few lines of its own, which know the vendor's
//! convention and nothing of the writer: what they make of the text alone must be what was rung up.

use std::collections::{BTreeMap, BTreeSet};

use fakes::shop::Country;
use fakes::till::projection::{Carries, figures};
use fakes::till::{Content, Dialect};
use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::Value;
use shared::money::{Cents, Milli};
use shared::receipt::Receipt;
use shared::words::{LineKind, NotCounted};

use super::shop::{plan, play};

const SEEDS: [u64; 3] = [3, 17, 4711];
const ZONE: chrono_tz::Tz = chrono_tz::Europe::Berlin;

#[allow(clippy::print_stdout, reason = "a failing seed has to be known")]
fn receipts(seed: u64) -> Vec<Receipt> {
    let played = play(&plan(Country::Germany, seed), 120);
    let receipts: Vec<Receipt> = played.into_iter().flat_map(|(_, one)| one.receipts).collect();
    println!("seed {seed}: {} receipts", receipts.len());
    receipts
}

fn counting(receipts: &[Receipt]) -> impl Iterator<Item = &Receipt> {
    receipts.iter().filter(|receipt| receipt.counts)
}

fn text(dialect: Dialect, receipts: &[Receipt]) -> String {
    String::from_utf8(dialect.file(receipts, ZONE)).unwrap()
}

/// A transaction as its elements stand: name, attributes and text, in their order.
type Elements = Vec<(String, BTreeMap<String, String>, String)>;

/// Reads every `Transaction`; the parser itself checks that each end fits its beginning.
fn transactions(text: &str) -> Vec<Elements> {
    let mut reader = Reader::from_str(text);
    let (mut all, mut open): (Vec<Elements>, Vec<usize>) = (Vec::new(), Vec::new());
    loop {
        match reader.read_event().unwrap() {
            Event::Start(tag) => {
                let name = tag.name().as_ref().to_owned();
                let attributes = tag.attributes().map(|one| {
                    let one = one.unwrap();
                    (one.key.as_ref().to_owned(), one.value.to_string())
                });
                if name == "Transaction" {
                    all.push(Vec::new());
                }
                if let Some(last) = all.last_mut() {
                    open.push(last.len());
                    last.push((name, attributes.collect(), String::new()));
                }
            }
            Event::Text(text) => {
                if let (Some(last), Some(at)) = (all.last_mut(), open.last()) {
                    last[*at].2.push_str(&text);
                }
            }
            Event::End(_) => {
                open.pop();
            }
            Event::Eof => return all,
            Event::Empty(_)
            | Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_)
            | Event::GeneralRef(_) => {}
        }
    }
}

fn value<'a>(elements: &'a Elements, name: &str) -> Option<&'a str> {
    elements.iter().find(|element| element.0 == name).map(|element| element.2.as_str())
}

/// One line of a transaction by its own figures: what it brings, and whether it counts.
#[derive(Debug)]
struct Item {
    flags: BTreeMap<String, String>,
    returned: bool,
    deposit: bool,
    amount: Cents,
    quantity: Milli,
    discount: bool,
}

fn cents(text: &str) -> Cents {
    Cents::parse(text).unwrap()
}

fn items(elements: &Elements) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let mut flags = BTreeMap::new();
    for (name, attributes, text) in elements {
        match name.as_str() {
            "LineItem" => flags = attributes.clone(),
            "Sale" | "Return" | "Discount" => items.push(Item {
                flags: flags.clone(),
                returned: name == "Return",
                deposit: attributes.get("ItemType").is_some_and(|kind| kind.starts_with("Deposit")),
                amount: Cents::ZERO,
                quantity: Milli::ZERO,
                discount: name == "Discount",
            }),
            "ExtendedAmount" => items.last_mut().unwrap().amount = cents(text),
            "Quantity" => items.last_mut().unwrap().quantity = Milli::parse(text).unwrap(),
            "Amount" => {
                if let Some(item) = items.last_mut().filter(|item| item.discount) {
                    // A tender's amount comes behind all discounts and must not replace one.
                    if item.amount == Cents::ZERO {
                        item.amount = cents(text);
                    }
                }
            }
            _ => {}
        }
    }
    items
}

/// Signs an item as the vendor means it, by the table of sign conventions.
fn signed(dialect: Dialect, item: &Item) -> (Cents, Milli) {
    if item.flags.get("WN:StatisticFlag").is_some_and(|value| value == "true") {
        return (Cents::ZERO, Milli::ZERO);
    }
    let flag = |name: &str| item.flags.get(name).is_some_and(|value| value == "true");
    let by_flags = item.returned != flag("VoidFlag");
    let minus = if dialect == Dialect::Roqqio { item.quantity < Milli::ZERO } else { by_flags };
    if item.discount {
        return (-item.amount, Milli::ZERO);
    }
    if dialect == Dialect::Visma && flag("CancelFlag") {
        return (Cents::ZERO, Milli::ZERO);
    }
    let quantity = item.quantity.abs();
    if minus { (-item.amount, -quantity) } else { (item.amount, quantity) }
}

/// What a `TenderControlTransaction` puts into the drawer; what takes out has another name, no sign.
fn drawer(elements: &Elements) -> Cents {
    let mut cash = Cents::ZERO;
    let mut sign = 0;
    for (name, _, text) in elements {
        match name.as_str() {
            "PaidIn" | "TenderLoan" => sign = 1,
            "PaidOut" | "SafeDrop" => sign = -1,
            "Amount" => cash.0 += sign * cents(text).0,
            _ => {}
        }
    }
    cash
}

const VENDORS: [Dialect; 5] =
    [Dialect::WnTpnet, Dialect::Roqqio, Dialect::Visma, Dialect::Gk, Dialect::V6];

#[test]
fn every_vendors_lines_make_its_grand_totals_by_its_own_signs() {
    for (seed, dialect) in SEEDS.into_iter().flat_map(|seed| VENDORS.map(|one| (seed, one))) {
        let receipts = receipts(seed);
        let read = transactions(&text(dialect, &receipts));
        assert_eq!(read.len(), receipts.len(), "{dialect:?}");
        for (elements, receipt) in read.iter().zip(&receipts) {
            assert_eq!(value(elements, "SequenceNumber").unwrap(), receipt.receipt.as_str());
            let retail = elements.iter().find(|element| element.0 == "RetailTransaction");
            let Some((_, attributes, _)) = retail else {
                assert!(matches!(receipt.reason, Some(NotCounted::Control | NotCounted::CashMove)));
                assert_eq!(drawer(elements), receipt.cash_moves.iter().map(|one| one.cents).sum());
                continue;
            };
            let post_voided = attributes["TransactionStatus"] == "PostVoided";
            let finished = post_voided || attributes["TransactionStatus"] == "Finished";
            let training = elements[0].1.contains_key("TrainingModeFlag");
            assert_eq!(receipt.counts, finished && !training);
            let total = elements.iter().find(|element| {
                element.1.get("TotalType").is_some_and(|kind| kind == "TransactionGrandAmount")
            });
            let total = cents(&total.unwrap().2);
            assert_eq!(total, receipt.total_cents);
            let parts = items(elements);
            let signed = |item: &Item| match (signed(dialect, item), post_voided) {
                (figures, false) => figures,
                // It repeats the lines of the receipt that it takes back.
                ((cents, milli), true) => (-cents, -milli),
            };
            let link = elements.iter().position(|element| element.0 == "TransactionLink");
            assert_eq!(link.is_some(), post_voided);
            let named = link.map(|at| elements[at..].iter().find(|one| one.0 == "SequenceNumber"));
            let named = named.flatten().map(|(_, _, number)| number.as_str());
            let other = receipt.refers_to.as_ref().map(|other| other.receipt.as_str());
            assert_eq!(named, other);
            let made: Cents = parts.iter().map(|item| signed(item).0).sum();
            assert_eq!(made, total, "{dialect:?} {elements:?}");
            let goods = |deposit| {
                let wanted = parts.iter().filter(|item| item.deposit == deposit);
                wanted.map(|item| signed(item).1.0).sum::<i64>()
            };
            let rung = |deposit| {
                let lines = receipt.lines.iter().filter(|line| {
                    let kinds = [LineKind::Deposit, LineKind::DepositRefund];
                    kinds.contains(&line.kind) == deposit
                });
                lines.map(|line| line.quantity_milli.0).sum::<i64>()
            };
            assert_eq!([goods(true), goods(false)], [rung(true), rung(false)]);
        }
    }
}

#[test]
fn vendors_write_voids_signs_and_clocks_as_the_notes_have_them() {
    let receipts = receipts(17);
    let voids = counting(&receipts).flat_map(|one| &one.lines).filter(|line| line.void).count();
    assert!(voids > 10, "{voids}");
    for dialect in VENDORS {
        let text = text(dialect, &receipts);
        let read = transactions(&text);
        let all: Vec<Item> = read.iter().flat_map(items).collect();
        let flagged = |name: &str| {
            let set = |item: &&Item| item.flags.get(name).is_some_and(|value| value == "true");
            all.iter().filter(set).count()
        };
        let negative = all.iter().filter(|item| item.quantity < Milli::ZERO).count();
        if dialect == Dialect::Roqqio {
            assert!(negative > 10 && flagged("VoidFlag") == 0);
        } else if dialect == Dialect::Visma {
            assert!(negative == 0 && flagged("VoidFlag") == 0 && flagged("CancelFlag") > 10);
            let mut goods = all.iter().filter(|item| !item.discount);
            assert!(goods.all(|item| item.flags.contains_key("CancelFlag")));
        } else {
            assert!(negative == 0 && flagged("VoidFlag") >= voids);
        }
        let twins = all.iter().filter(|item| item.flags.contains_key("WN:StatisticFlag")).count();
        assert_eq!(twins > 5, dialect == Dialect::WnTpnet, "{dialect:?}");
        assert!(all.iter().all(|item| item.amount >= Cents::ZERO));
        let ended = read.iter().map(|one| value(one, "EndDateTime").unwrap()).next().unwrap();
        let morning = if dialect == Dialect::Roqqio { "T08:" } else { "T09:" };
        assert!(ended.contains(morning), "{dialect:?} {ended}");
    }
}

/// Takes commands out of a print stream by their lengths, and says which code page holds.
fn slips(bytes: &[u8]) -> Vec<(String, Option<String>)> {
    let (mut slips, mut text, mut code) = (Vec::new(), String::new(), None);
    let (mut at, mut page) = (0, 0);
    while at < bytes.len() {
        let skip = match &bytes[at..] {
            [0x1b, b'@', ..] => 2,
            [0x1b, b't', number, ..] => {
                page = *number;
                3
            }
            [0x1b, b'E' | b'd', _, ..] => 3,
            [0x1b, b'p', _, _, _, ..] => 5,
            [0x1d, b'V', 66, _, ..] => {
                slips.push((std::mem::take(&mut text), code.take()));
                4
            }
            [0x1d, b'(', b'k', low, high, data @ ..] => {
                let length = usize::from(*low) + 256 * usize::from(*high);
                if let Some(stored) = data[..length].strip_prefix(b"1P0") {
                    code = Some(String::from_utf8(stored.to_vec()).unwrap());
                }
                5 + length
            }
            [0x1b | 0x1d, ..] => panic!("an unknown command at {at}"),
            [byte, ..] => {
                text.push(letter(*byte, page));
                1
            }
            [] => unreachable!(),
        };
        at += skip;
    }
    assert!(text.is_empty(), "every slip is cut");
    slips
}

fn letter(byte: u8, page: u8) -> char {
    let umlauts: [(u8, u8, char); 7] = [
        (0x84, 0xe4, 'ä'),
        (0x94, 0xf6, 'ö'),
        (0x81, 0xfc, 'ü'),
        (0x8e, 0xc4, 'Ä'),
        (0x99, 0xd6, 'Ö'),
        (0x9a, 0xdc, 'Ü'),
        (0xe1, 0xdf, 'ß'),
    ];
    let found = umlauts.iter().find(|one| if page == 19 { one.0 == byte } else { one.1 == byte });
    found.map_or_else(|| char::from(byte), |one| one.2)
}

/// Reads an amount that is printed with a comma.
fn printed(text: &str) -> Cents {
    cents(&text.replace('.', "").replace(',', "."))
}

#[test]
fn a_printed_slip_adds_up_and_says_whose_it_is() {
    for seed in SEEDS {
        let receipts = receipts(seed);
        let printed_ones = receipts.iter().filter(|one| one.reason != Some(NotCounted::Control));
        let slips = slips(&Dialect::Escpos.file(&receipts, ZONE));
        assert_eq!(slips.len(), printed_ones.clone().count());
        for ((text, code), receipt) in slips.iter().zip(printed_ones) {
            if receipt.reason == Some(NotCounted::CashMove) {
                let moved = receipt.cash_moves[0].cents;
                let word = if moved < Cents::ZERO { "AUSZAHLUNG" } else { "EINZAHLUNG" };
                let amount = text.lines().find_map(|line| line.strip_prefix("BETRAG")).unwrap();
                assert_eq!(printed(amount.rsplit_once(' ').unwrap().1), moved.abs());
                assert!(text.contains(word) && code.is_none() && !text.contains("SUMME"), "{text}");
                continue;
            }
            assert_eq!(text.contains("STORNO"), receipt.refers_to.is_some());
            let (items, rest) = text.split_once("\n-----").unwrap();
            let (_, items) = items.split_once("EUR\n").unwrap();
            let mut made = Cents::ZERO;
            for line in items.lines().filter(|line| !line.contains(" x ")) {
                let line = line.trim_end_matches(" *");
                let (line, letter) = line.rsplit_once(' ').unwrap();
                assert!(["A", "B"].contains(&letter), "{line}");
                made.0 += printed(line.rsplit_once(' ').unwrap().1).0;
            }
            let sum = rest.lines().find_map(|line| line.strip_prefix("SUMME")).unwrap();
            assert_eq!(made, printed(sum.rsplit_once(' ').unwrap().1), "{text}");
            assert_eq!(made, receipt.total_cents);
            assert!(text.contains(&format!("Bon-Nr.:{}\n", receipt.receipt)));
            assert!(text.contains(&format!("Markt:10     Kasse:{} ", receipt.till)));
            assert!(text.contains("Marktstraße 1") && text.contains("für"), "{text}");
            assert_eq!(code.is_some(), receipt.counts);
            let marked = ["TRAINING", "ABBRUCH", "PARKBON"].iter().any(|word| text.contains(word));
            assert_eq!(marked, !receipt.counts);
            let Some(code) = code else { continue };
            let fields: Vec<&str> = code.split(';').collect();
            assert_eq!((fields.len(), fields[0]), (12, "V0"));
            let (_, figures) = fields[3].split_once('^').unwrap();
            let (gross, paid) = figures.split_once('^').unwrap();
            let gross: Cents = gross.split('_').map(cents).sum();
            let paid = paid.split('_').filter(|part| !part.is_empty());
            let paid: Cents = paid.map(|part| cents(part.split_once(':').unwrap().0)).sum();
            assert_eq!([gross, paid], [made, made], "{code}");
        }
    }
}

#[test]
fn a_quantity_line_makes_the_amount_above_it() {
    let receipts = receipts(3);
    let slips = slips(&Dialect::Escpos.file(&receipts, ZONE));
    let (mut weights, mut pieces) = (0, 0);
    for (text, _) in &slips {
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.windows(2).filter(|pair| pair[1].contains(" x ")) {
            let above = pair[0].trim_end_matches(" *").rsplit_once(' ').unwrap().0;
            let amount = printed(above.rsplit_once(' ').unwrap().1).0.abs();
            let words: Vec<&str> = pair[1].split_whitespace().collect();
            let price = printed(words[3]).0;
            if words[1] == "kg" {
                weights += 1;
                let milli = Milli::parse(&words[0].replace(',', ".")).unwrap().0;
                assert_eq!((milli * price + 500) / 1000, amount, "{pair:?}");
            } else {
                pieces += 1;
                assert_eq!(words[0].parse::<i64>().unwrap() * price, amount, "{pair:?}");
            }
        }
    }
    assert!(weights > 20 && pieces > 20, "{weights} {pieces}");
}

#[test]
fn a_copy_is_headed_as_one_and_carries_no_code() {
    let mut copy = counting(&receipts(3)).next().unwrap().clone();
    (copy.counts, copy.reason) = (false, Some(NotCounted::Reprint));
    let slips = slips(&Dialect::Escpos.file(&[copy], ZONE));
    assert!(slips[0].0.starts_with("*** DUPLIKAT ***") || slips[0].0.contains("DUPLIKAT"));
    assert_eq!(slips[0].1, None);
}

#[test]
fn a_journal_is_json_whose_requests_add_up() {
    for seed in SEEDS {
        let receipts = receipts(seed);
        let page: Value = serde_json::from_str(&text(Dialect::Fiskaltrust, &receipts)).unwrap();
        let items = page.as_array().unwrap();
        assert_eq!(items.len(), receipts.len());
        let mut rows = BTreeSet::new();
        for (item, receipt) in items.iter().zip(&receipts) {
            assert!(rows.insert((item["ftQueueId"].to_string(), item["ftQueueRow"].as_i64())));
            let request: Value = serde_json::from_str(item["request"].as_str().unwrap()).unwrap();
            let case = request["ftReceiptCase"].as_i64().unwrap();
            assert_eq!(case >> 48, 0x4445);
            let sale = case & 0xffff <= 1 && case & 0x2_0000 == 0;
            assert_eq!(sale, receipt.counts);
            let sum = |list: &str| -> i64 {
                let list = request[list].as_array().unwrap().iter();
                let amounts = list.map(|one| cents(&one["Amount"].to_string()).0);
                amounts.sum()
            };
            if !sale {
                continue;
            }
            assert_eq!(sum("cbChargeItems"), receipt.total_cents.0);
            assert_eq!(sum("cbPayItems"), receipt.total_cents.0);
            let goods = request["cbChargeItems"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|one| one["ftChargeItemCase"].as_i64().unwrap() & 0xf0 == 0);
            let goods: i64 =
                goods.map(|one| Milli::parse(&one["Quantity"].to_string()).unwrap().0).sum();
            let rung = receipt.lines.iter().filter(|line| line.kind.moves_goods());
            assert_eq!(goods, rung.map(|line| line.quantity_milli.0).sum::<i64>());
        }
    }
}

/// Reads a table by the names in its first line.
fn table(files: &[(String, Vec<u8>)], name: &str) -> Vec<BTreeMap<String, String>> {
    let (_, bytes) = files.iter().find(|(file, _)| file == name).unwrap();
    let mut reader = csv::ReaderBuilder::new().delimiter(b';').from_reader(bytes.as_slice());
    reader.deserialize().map(Result::unwrap).collect()
}

fn fine(text: &str) -> i64 {
    // Five decimals where a cent has two: the reader must see every one of them.
    let (whole, decimals) = text.split_once(',').unwrap();
    format!("{whole}{decimals}").parse().unwrap()
}

#[test]
fn an_exports_tables_agree_with_each_other_and_with_the_till() {
    for seed in SEEDS {
        let receipts = receipts(seed);
        let at = "2026-11-23T21:00:00Z".parse().unwrap();
        let Content::Folder(files) = Dialect::Dsfinvk.content(&receipts, ZONE, at) else {
            panic!("an export is a folder")
        };
        let index = String::from_utf8(files[0].1.clone()).unwrap();
        for (name, _) in &files[1..] {
            assert!(index.contains(&format!("<URL>{name}</URL>")));
        }
        let kinds = table(&files, "transactions.csv");
        assert_eq!(kinds.len(), receipts.len());
        let sales: BTreeMap<&str, &str> = kinds
            .iter()
            .filter(|row| row["BON_TYP"] == "Beleg")
            .map(|row| (row["BON_ID"].as_str(), row["UMS_BRUTTO"].as_str()))
            .collect();
        let moves = || receipts.iter().flat_map(|one| &one.cash_moves);
        assert_eq!(sales.len(), counting(&receipts).count() + moves().count());
        let moved: i64 = moves().map(|moved| moved.cents.0).sum();
        let mut made: BTreeMap<&str, i64> = BTreeMap::new();
        let taxed = table(&files, "lines_vat.csv");
        for row in &taxed {
            let parts = [&row["POS_NETTO"], &row["POS_UST"]].map(|part| fine(part));
            assert_eq!(parts[0] + parts[1], fine(&row["POS_BRUTTO"]));
            *made.entry(row["BON_ID"].as_str()).or_default() += fine(&row["POS_BRUTTO"]);
        }
        for (id, total) in &sales {
            let lines = made.get(id).copied().unwrap_or_default();
            assert_eq!(lines, fine(total) * 1000, "{id}");
        }
        let cases = table(&files, "businesscases.csv");
        let cases: i64 = cases.iter().map(|row| fine(&row["Z_UMS_BRUTTO"])).sum();
        let total: i64 = counting(&receipts).map(|one| one.total_cents.0).sum::<i64>() + moved;
        assert_eq!(cases, total * 1000);
        let paid = table(&files, "datapayment.csv");
        let paid: i64 = paid.iter().map(|row| fine(&row["BASISWAEH_BETRAG"])).sum();
        let closings = table(&files, "cashpointclosing.csv");
        let closed: i64 = closings.iter().map(|row| fine(&row["Z_SE_ZAHLUNGEN"])).sum();
        assert_eq!([paid, closed], [total, total]);
        assert_eq!(closings.len(), 3, "one closing a till");
        let stornos = kinds.iter().filter(|row| row["BON_STORNO"] == "1").count();
        let named = table(&files, "references.csv");
        assert!(stornos > 0 && named.len() == stornos, "{stornos} {}", named.len());
        for row in &named {
            let key = (row["REF_Z_KASSE_ID"].as_str(), row["REF_Z_NR"].as_str());
            assert_eq!(key, (row["Z_KASSE_ID"].as_str(), row["Z_NR"].as_str()));
            let turned = [&row["BON_ID"], &row["REF_BON_ID"]].map(|id| fine(sales[id.as_str()]));
            assert_eq!(turned[0], -turned[1]);
        }
        let voids = table(&files, "lines.csv");
        let voids = voids.iter().filter(|row| row["P_STORNO"] == "1");
        // A receipt that takes back another one turns the signs of its voids too.
        let turned = kinds.iter().filter(|row| row["BON_STORNO"] == "1");
        let turned: BTreeSet<&str> = turned.map(|row| row["BON_ID"].as_str()).collect();
        assert!(voids.clone().filter(|row| row["GV_TYP"] == "Umsatz").all(|row| {
            row["MENGE"].starts_with('-') != turned.contains(row["BON_ID"].as_str())
        }));
        assert!(voids.count() > 5);
    }
}

#[test]
fn a_telegram_checks_out_and_holds_the_receipt() {
    for seed in SEEDS {
        let receipts = receipts(seed);
        let bytes = Dialect::Telegram.file(&receipts, ZONE);
        let mut rest = bytes.as_slice();
        for receipt in &receipts {
            let end = rest.iter().position(|&byte| byte == 3).unwrap();
            let check = rest[1..=end].iter().fold(0, |check, byte| check ^ byte);
            assert_eq!((rest[0], rest[end + 1]), (2, check));
            let text = std::str::from_utf8(&rest[1..end]).unwrap();
            rest = &rest[end + 2..];
            let fields: Vec<&str> = text.split(';').collect();
            assert_eq!([fields[0], *fields.last().unwrap()], ["FM1", "E"]);
            let (mut at, mut made) = (8, 0_i64);
            while fields[at] != "E" {
                let (length, amount) = match fields[at] {
                    "L" => (11, fields[at + 7]),
                    "A" => (4, fields[at + 3]),
                    "P" | "M" => (3, "0"),
                    "V" => (4, "0"),
                    other => panic!("a group {other:?}"),
                };
                made += amount.parse::<i64>().unwrap();
                at += length;
            }
            assert_eq!(made, fields[7].parse::<i64>().unwrap());
            assert_eq!(made, receipt.total_cents.0);
        }
        assert!(rest.is_empty());
    }
}

#[test]
fn a_projection_keeps_what_a_format_can_say_and_no_more() {
    let receipts = receipts(17);
    let whole = figures(&receipts, Carries::ALL);
    let total = |found: &BTreeMap<_, fakes::till::projection::Figures>| -> i64 {
        found.values().map(|one| one.total_cents.0).sum()
    };
    for dialect in Dialect::ALL {
        let carries = Carries::of(dialect);
        let found = figures(&receipts, carries);
        assert_eq!(found.len(), whole.len());
        assert_eq!(total(&found), total(&whole));
        for one in found.values() {
            let lines: i64 = one.lines.values().map(|(_, cents)| cents.0).sum();
            let paid: i64 = one.payments.values().map(|cents| cents.0).sum();
            assert_eq!(lines + one.adjustment_cents.0, one.total_cents.0, "{dialect:?}");
            assert_eq!(paid, one.total_cents.0, "{dialect:?}");
        }
        assert_eq!(found == whole, carries == Carries::ALL, "{dialect:?}");
        assert_eq!(carries.and(Carries::ALL), carries);
    }
}
