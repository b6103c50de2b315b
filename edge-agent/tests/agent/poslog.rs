//! POSLog: a real grocer's export line by line, and what its XML may not do.

use std::path::Path;

use edge_agent::format::UNIT_BYTES_MAX;
use serde_json::Value;
use shared::receipt::Receipt;

use crate::reading::{context, find, print, receipts, shared_folder};

/// The export of a real grocer, against tables that a reader of another language made of it.
#[test]
fn the_real_ncr_acs_export_is_read_line_by_line_and_to_the_cent() {
    let Some(folder) = shared_folder("data/pos/poslog/ncr-acs-grocery") else { return };
    let format = find("poslog", Some("ncr-acs")).unwrap();
    let bytes = std::fs::read(folder.join("POSLog.redacted.xml")).unwrap();
    let all = receipts(&format, &context("9", chrono_tz::America::New_York), &bytes);
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

/// What stands beside sales, as the files' author means it: written by hand from the files, in the words
/// of the document, never from what the decoder prints.
#[test]
fn papers_cash_and_ends_of_a_day_are_what_the_vendors_files_say() {
    let movements = [
        ("32", "delivery", "ReceiveInventory-7781/4", 48_000, "pcs", Some("4012345000009")),
        ("33", "count", "InventoryCount-3/2026-11-23/33/1", 12_500, "kg", None),
        ("34", "transfer_out", "Transfer-T1/4", -6000, "pcs", Some("11")),
        ("35", "transfer_in", "Transfer-T2/4", 2000, "pcs", Some("11")),
        ("36", "supplier_return", "ReturnToVendor-R1/4", -3000, "pcs", Some("4012345000009")),
        ("37", "correction", "InventoryAdjustment-A1/4", -1000, "pcs", None),
        ("38", "waste", "InventoryLoss-L1/4", -4000, "pcs", None),
    ];
    let cash = [
        ("23", "paid_in", 5000),
        ("24", "paid_out", -1230),
        ("25", "float", 20_000),
        ("26", "drop", -40_000),
        ("27", "drop", -10_000),
    ];
    let reasons = [("20", "control"), ("21", "no_sale"), ("22", "reprint"), ("40", "control")];
    // Refused: a negative paid out, a negative loss, a transfer between two others, an order.
    let refused = [
        "the sign of Amount of a cash move",
        "the sign of Quantity of a paper",
        "the pair of stores of a Transfer",
        "a transaction of kind CustomerOrderTransaction",
    ];
    for (dialect, millis) in [("roqqio", ".214Z"), ("visma", "Z")] {
        let Beside { moved, drawer, closings, told, said } = beside(dialect, millis);
        assert_eq!(moved.len(), movements.len(), "{dialect}");
        for ((number, found), wanted) in moved.iter().zip(movements) {
            let (of, kind, id, milli, unit, party) = wanted;
            assert_eq!(
                (number.as_str(), &found["kind"], &found["id"]),
                (of, &kind.into(), &id.into())
            );
            assert_eq!((&found["quantity_milli"], &found["unit"]), (&milli.into(), &unit.into()));
            assert_eq!(found["counterparty"].as_str(), party, "{dialect} {id}");
        }
        let received = &moved[0].1;
        let of = |name: &str| received[name].as_str().unwrap();
        assert_eq!([of("order"), of("lot"), of("best_before")], ["4711", "L1", "2026-12-01"]);
        // A weight in the code is no part of the article; a loss says why.
        assert_eq!(moved[1].1["article"], "own:store:2212345");
        assert_eq!(
            (&moved[5].1["reason"], &moved[6].1["reason"]),
            (&"shelf".into(), &"spoilage".into())
        );
        let drawer: Vec<_> = drawer
            .iter()
            .map(|(number, one)| {
                (number.as_str(), one["kind"].as_str().unwrap(), one["cents"].as_i64().unwrap())
            })
            .collect();
        assert_eq!(drawer, cash, "{dialect}");
        for (number, reason) in reasons {
            assert!(told.contains(&(number.to_owned(), reason.to_owned())), "{dialect} {number}");
        }
        assert_eq!(told.len(), 19, "23 transactions, of which 4 are refused");
        assert_eq!(said.len(), refused.len());
        assert!(
            said.iter().zip(refused).all(|(said, reason)| said.starts_with(reason)),
            "{said:?}"
        );
        ends_of_the_day(&closings, millis);
    }
}

/// What a file says beside its sales, with the number of the transaction that says it.
#[derive(Default)]
struct Beside {
    moved: Vec<(String, Value)>,
    drawer: Vec<(String, Value)>,
    closings: Vec<Value>,
    /// Numbers that are no sale, and why.
    told: Vec<(String, String)>,
    /// What is refused, and why.
    said: Vec<String>,
}

fn beside(dialect: &str, millis: &str) -> Beside {
    let format = find("poslog", Some(dialect)).unwrap();
    let file = crate::reading::data(&format!("poslog/{dialect}/beside.xml"));
    let context = context("0010", chrono_tz::Europe::Berlin);
    let printed = print(&format, &context, &std::fs::read(file).unwrap());
    let mut last = String::new();
    let mut found = Beside::default();
    for line in printed.lines() {
        let Some(json) = line.starts_with('{').then(|| line.parse::<Value>().unwrap()) else {
            found.said.push(line.split_once(": ").unwrap().1.to_owned());
            continue;
        };
        if let Some(one) = json.get("movement") {
            assert_eq!(one["occurred_at"], format!("2026-11-23T09:{last}:07{millis}"));
            found.moved.push((last.clone(), one.clone()));
        } else if let Some(one) = json.get("closing") {
            found.closings.push(one.clone());
        } else {
            last = json["receipt"].as_str().unwrap().to_owned();
            found.told.push((last.clone(), json["reason"].as_str().unwrap().to_owned()));
            assert_eq!((&json["counts"], &json["total_cents"]), (&false.into(), &0.into()));
            for one in json.get("cash_moves").into_iter().flat_map(|it| it.as_array().unwrap()) {
                found.drawer.push((last.clone(), one.clone()));
            }
        }
    }
    found
}

/// 29.98 with 7 percent inside are 28.02 and 1.96; the end of the whole business names both tills and
/// no VAT, the bare end of a point of sale is a number only.
fn ends_of_the_day(closings: &[Value], millis: &str) {
    let [till, business] = closings else { panic!("{} closings", closings.len()) };
    assert_eq!(till["closing"], "2026-11-23/TillEOD/29");
    assert_eq!(till["closed_at"], format!("2026-11-23T09:29:07{millis}"));
    assert_eq!(till["opened_at"], "2026-11-23T09:00:00Z");
    assert_eq!(till["tills"], serde_json::json!(["3"]));
    assert_eq!(till["receipts"], serde_json::json!([[1, 28]]));
    assert_eq!(
        till["cases"],
        serde_json::json!([{"case": "Umsatz", "vat_key": "2", "gross": 2998, "net": 2802, "tax": 196}])
    );
    assert_eq!(
        till["payments"],
        serde_json::json!([{"kind": "cash", "cents": 2751}, {"kind": "credit", "cents": 247}])
    );
    assert_eq!(business["closing"], "2026-11-23/BusinessEOD/30");
    assert_eq!(business["tills"], serde_json::json!(["3", "4"]));
    for closing in closings {
        assert_eq!((&closing["total_cents"], &closing["source"]), (&2998.into(), &"poslog".into()));
    }
}

#[test]
fn elements_that_stand_too_deep_and_texts_that_are_too_long_are_refused() {
    let good = poslog_unit("<Other>deep</Other>");
    let deep = poslog_unit(&format!("{}{}", "<a>".repeat(70), "</a>".repeat(70)));
    let long = poslog_unit("").replace("<ItemID>", &format!("<ItemID>{}", "9".repeat(5000)));
    let unread = poslog_unit(&format!("<Other>{}</Other>", "9".repeat(500_000)));
    let huge = poslog_unit(&format!("<Other>{}</Other>", "9".repeat(UNIT_BYTES_MAX)));
    let file = format!("<POSLog>{good}{deep}{long}{unread}{huge}{good}</POSLog>");
    let format = find("poslog", Some("fakes")).unwrap();
    let context = context("10", chrono_tz::Europe::Berlin);
    let printed = print(&format, &context, file.as_bytes());
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

fn poslog_unit(extra: &str) -> String {
    format!(
        "<Transaction><RetailStoreID>10</RetailStoreID><WorkstationID>3</WorkstationID><SequenceNumber>1</SequenceNumber>\
         <EndDateTime>2026-11-23T10:41:07</EndDateTime>{extra}<RetailTransaction><LineItem><SequenceNumber>1</SequenceNumber>\
         <Sale><ItemID>04012345678901</ItemID><ExtendedAmount>1.99</ExtendedAmount><Quantity>1</Quantity></Sale></LineItem>\
         <Total TotalType=\"TransactionGrandAmount\">1.99</Total></RetailTransaction></Transaction>"
    )
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

/// A hundred copies of the real export in one stream: memory follows a receipt, not the file.
#[test]
fn a_large_file_needs_no_more_memory_than_a_small_one() {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let Some(folder) = shared_folder("data/pos/poslog/ncr-acs-grocery") else { return };
    let bytes = std::fs::read(folder.join("POSLog.redacted.xml")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_edge-agent"))
        .args(["decode", "--format", "poslog", "--dialect", "ncr-acs", "--store", "9", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    // One byte is taken once the program waits for the next: it is idle then.
    input.write_all(&bytes[..1]).unwrap();
    let idle = idle_memory(child.id());
    let mut most = idle;
    for copy in 0..100 {
        let rest = if copy == 0 { &bytes[1..] } else { &bytes[..] };
        input.write_all(rest).unwrap();
        most = most.max(memory(child.id(), "RssAnon"));
    }
    let peak = memory(child.id(), "VmHWM") - memory(child.id(), "RssFile");
    drop(input);
    assert!(child.wait().unwrap().success());
    let above = most.max(peak).saturating_sub(idle);
    eprintln!("idle {idle} KiB, at most {above} KiB above it");
    assert!(above <= 4 << 10, "{above} KiB above {idle} KiB");
}

/// Waits until the program sleeps in a read, and returns its anonymous memory then.
fn idle_memory(process: u32) -> u64 {
    let state = || std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let mut asleep = 0;
    while asleep < 200 {
        asleep = if state().contains("State:\tS") { asleep + 1 } else { 0 };
        std::thread::yield_now();
    }
    memory(process, "RssAnon")
}

/// Returns a figure of a process's memory, in KiB.
fn memory(process: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// A loyalty number leaves the decoder as a pseudonym, and only where a key is configured.
#[test]
fn a_customer_is_a_pseudonym_or_nobody() {
    use edge_agent::format::pseudonym::Pseudonyms;
    let key = std::sync::Arc::new(Pseudonyms::parse(&"0b".repeat(32)).unwrap());
    for dialect in ["wn-tpnet", "roqqio", "visma", "gk", "v6"] {
        let format = find("poslog", Some(dialect)).unwrap();
        let path = crate::reading::data(&format!("poslog/{dialect}/receipts.xml"));
        let bytes = std::fs::read(path).unwrap();
        let mut context = context("0010", chrono_tz::Europe::Berlin);
        let nobody = print(&format, &context, &bytes);
        assert!(!nobody.contains("\"customer\":\""), "{dialect}");
        context.pseudonyms = Some(std::sync::Arc::clone(&key));
        let printed = print(&format, &context, &bytes);
        let pseudonym = key.of("T220001293").unwrap();
        assert!(printed.contains(pseudonym.as_str()), "{dialect}");
        for secret in ["T220001293", "22000129", "6725", "Never Shown"] {
            assert!(!printed.contains(secret), "{dialect}: {secret}");
        }
    }
}
