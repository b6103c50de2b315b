//! POSLog: a real grocer's export line by line, and what its XML may not do.

use std::path::Path;

use edge_agent::format::UNIT_BYTES_MAX;
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
