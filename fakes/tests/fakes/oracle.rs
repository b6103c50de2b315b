//! The oracle says EXACT where everything is there, and finds each kind of planted difference.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use fakes::oracle::{Places, Report, verify};
use fakes::postgres::client;
use fakes::shop::{Country, ShopMinute};
use fakes::stack::Stack;
use fakes::truth::{Entry, Ledger};
use shared::receipt::{Receipt, StockMovement};
use shared::time::{Minute, Timestamp};

use super::shop::{plan, play};

/// What the service would keep, as plain tables under the names of its views.
const TABLES: &str = "CREATE SCHEMA v1;
    CREATE TABLE v1.tills (store text, business_day date, minute timestamptz, till text,
        receipt_count bigint, lines_cents bigint, tax_added_cents bigint, adjustment_cents bigint,
        total_cents bigint);
    CREATE TABLE v1.sales (store text, business_day date, minute timestamptz, till text,
        article text, kind text, unit text, void boolean, seller text, restock boolean,
        lines bigint, quantity_milli bigint, amount_cents bigint, discount_cents bigint,
        adjustment_share_cents bigint);
    CREATE TABLE v1.stock_movements (store text, occurred_at timestamptz, id text, article text,
        kind text, unit text, quantity_milli bigint);
    CREATE TABLE v1.stock (store text, article text, unit text, on_hand_milli bigint);";

/// A difference to plant, how to heal it, and what is then said of it.
const PLANTED: [(&str, &str, &str); 7] = [
    (
        "UPDATE v1.tills SET receipt_count = receipt_count + 1 WHERE till = '1'",
        "UPDATE v1.tills SET receipt_count = receipt_count - 1 WHERE till = '1'",
        "receipts ",
    ),
    (
        "UPDATE v1.tills SET tax_added_cents = 1 WHERE till = '1'",
        "UPDATE v1.tills SET tax_added_cents = 0 WHERE till = '1'",
        "tax_added_cents 1",
    ),
    (
        "UPDATE v1.sales SET amount_cents = amount_cents + 1 WHERE kind = 'deposit'",
        "UPDATE v1.sales SET amount_cents = amount_cents - 1 WHERE kind = 'deposit'",
        "amount_cents ",
    ),
    (
        "UPDATE v1.sales SET adjustment_share_cents = adjustment_share_cents + 1",
        "UPDATE v1.sales SET adjustment_share_cents = adjustment_share_cents - 1",
        "adjustment_share_cents ",
    ),
    (
        "UPDATE v1.stock_movements SET quantity_milli = quantity_milli + 1000",
        "UPDATE v1.stock_movements SET quantity_milli = quantity_milli - 1000",
        "quantity_milli ",
    ),
    (
        "UPDATE v1.stock SET on_hand_milli = on_hand_milli + 1",
        "UPDATE v1.stock SET on_hand_milli = on_hand_milli - 1",
        "on_hand_milli ",
    ),
    (
        "UPDATE v1.sales SET minute = minute + interval '1 hour'",
        "UPDATE v1.sales SET minute = minute - interval '1 hour'",
        "",
    ),
];

#[tokio::test]
async fn a_difference_of_each_kind_is_found_and_none_where_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let database = Stack::shared().database_for("oracle").await.unwrap();
    let played = play(&plan(Country::Germany, 5), 60);
    note(folder.path(), &played);
    let lake = folder.path().join("lake");
    fill_lake(&lake, &played);
    let client = client::connect(database.access()).await.unwrap();
    client.batch_execute(TABLES).await.unwrap();
    client.batch_execute(&inserts(&played)).await.unwrap();
    let access = Some(database.access().clone());
    let places =
        Places { dir: folder.path().to_owned(), database: access, lake: Some(lake.clone()) };

    let report = verify(&places).await.unwrap();
    assert!(report.is_exact(), "{:#?}", report.differences);
    assert_eq!(report.totals[0].1, report.totals[1].1);
    assert_eq!(report.totals[0].1, report.totals[2].1);
    assert!(report.totals[0].1.receipts > 100 && report.totals[0].1.movements > 10);

    for (plant, heal, said) in PLANTED {
        client.batch_execute(plant).await.unwrap();
        let report = verify(&places).await.unwrap();
        assert!(!report.is_exact(), "{plant}");
        assert!(only_postgres_differs(&report, said), "{plant}: {:#?}", report.differences);
        client.batch_execute(heal).await.unwrap();
    }
    assert!(verify(&places).await.unwrap().is_exact());

    let stranger = "INSERT INTO v1.stock VALUES ('999', 'x', 'pcs', 1)";
    client.batch_execute(stranger).await.unwrap();
    let report = verify(&places).await.unwrap();
    assert!(report.is_exact() && report.not_compared.contains("999"));

    let removed = "{\"remove\":{\"path\":\"part%2D0.parquet\",\"dataChange\":true}}\n";
    fs::write(lake.join("sales/_delta_log/00000000000000000001.json"), removed).unwrap();
    let report = verify(&places).await.unwrap();
    assert_eq!(report.totals[2].1.lines, 0);
    assert!(report.difference_count > 1000 && report.differences.len() == 20);

    fs::write(folder.path().join("truth/b.jsonl"), "no entry\n").unwrap();
    let error = verify(&places).await.unwrap_err().chain();
    assert!(error.contains("the truth cannot be read") && error.contains("line 1"), "{error}");
}

#[tokio::test]
async fn what_was_issued_and_is_nowhere_is_a_difference() {
    let folder = tempfile::tempdir().unwrap();
    note(folder.path(), &play(&plan(Country::Germany, 5), 3));
    let lake = Some(folder.path().join("lake"));
    let places = Places { dir: folder.path().to_owned(), database: None, lake };
    let report = verify(&places).await.unwrap();
    assert!(!report.is_exact());
    assert_eq!(report.totals[1].1.receipts, 0);
}

fn only_postgres_differs(report: &Report, said: &str) -> bool {
    let found = &report.differences;
    found.iter().all(|one| one.said[0] == one.said[2] && one.said[0] != one.said[1])
        && found.iter().any(|one| one.said[1].contains(said))
}

fn note(dir: &Path, played: &[(Minute, ShopMinute)]) {
    let mut ledger = Ledger::open(dir, "store-10").unwrap();
    for (_, minute) in played {
        let mut entries: Vec<Entry> = minute.receipts.iter().map(Entry::of_receipt).collect();
        let store = &plan(Country::Germany, 5).store;
        entries.extend(minute.movements.iter().map(|one| Entry::of_movement(store, one)));
        ledger.note(&entries).unwrap();
    }
}

fn counting(played: &[(Minute, ShopMinute)]) -> impl Iterator<Item = &Receipt> {
    played.iter().flat_map(|(_, minute)| &minute.receipts).filter(|receipt| receipt.counts)
}

fn movements(played: &[(Minute, ShopMinute)]) -> impl Iterator<Item = &StockMovement> {
    played.iter().flat_map(|(_, minute)| &minute.movements)
}

fn inserts(played: &[(Minute, ShopMinute)]) -> String {
    let mut sql = String::new();
    for receipt in counting(played) {
        let (day, minute, till) = (receipt.business_day, receipt.ended_at.minute(), &receipt.till);
        let place = format!("'10', '{day}', '{minute}', '{till}'");
        let sums = [
            receipt.lines_cents().unwrap(),
            receipt.tax_added_cents,
            receipt.adjustment_cents,
            receipt.total_cents,
        ];
        let sums = sums.map(|cents| cents.0.to_string()).join(", ");
        writeln!(sql, "INSERT INTO v1.tills VALUES ({place}, 1, {sums});").unwrap();
        for line in &receipt.lines {
            let figures = format!(
                "1, {}, {}, {}, {}",
                line.quantity_milli.0,
                line.amount_cents.0,
                line.discount_cents.0,
                line.adjustment_share_cents.0
            );
            let (article, kind, unit, void) = (&line.article, &line.kind, &line.unit, line.void);
            let what = format!("'{article}', '{kind}', '{unit}', {void}, NULL, NULL");
            writeln!(sql, "INSERT INTO v1.sales VALUES ({place}, {what}, {figures});").unwrap();
        }
    }
    for one in movements(played) {
        let (at, id, article, kind, unit) =
            (one.occurred_at, &one.id, &one.article, &one.kind, &one.unit);
        let quantity = one.quantity_milli.0;
        writeln!(
            sql,
            "INSERT INTO v1.stock_movements VALUES \
             ('10', '{at}', '{id}', '{article}', '{kind}', '{unit}', {quantity});"
        )
        .unwrap();
    }
    for ((article, unit), milli) in stock(played) {
        let row = format!("'10', '{article}', '{unit}', {milli}");
        writeln!(sql, "INSERT INTO v1.stock VALUES ({row});").unwrap();
    }
    sql
}

/// When; a change before a count; the count's id; article and unit; how much.
type Event = (Timestamp, u8, String, (String, String), i64);

/// Works stock out by walking through all events in the order of their times.
fn stock(played: &[(Minute, ShopMinute)]) -> BTreeMap<(String, String), i64> {
    let mut events: Vec<Event> = Vec::new();
    for one in movements(played) {
        let article = (one.article.to_string(), one.unit.to_string());
        let order = if one.kind.as_str() == "count" { 1 } else { 0 };
        events.push((one.occurred_at, order, one.id.to_string(), article, one.quantity_milli.0));
    }
    for receipt in counting(played) {
        for line in receipt.lines.iter().filter(|line| line.kind.moves_goods()) {
            let article = (line.article.to_string(), line.unit.to_string());
            let at = receipt.ended_at.minute().end();
            events.push((at, 0, String::new(), article, -line.quantity_milli.0));
        }
    }
    // What happens at a count's own instant is in the count already.
    events.sort();
    let mut stock = BTreeMap::new();
    for (_, order, _, article, milli) in events {
        let on_hand = stock.entry(article).or_insert(0);
        *on_hand = if order == 1 { milli } else { *on_hand + milli };
    }
    stock
}

fn fill_lake(lake: &Path, played: &[(Minute, ShopMinute)]) {
    let receipts: Vec<&Receipt> = counting(played).collect();
    let number = |of: fn(&Receipt) -> i64| numbers(receipts.iter().map(|one| of(one)));
    let tills = vec![
        ("store", texts(receipts.iter().map(|_| "10"))),
        ("till", texts(receipts.iter().map(|one| one.till.as_str()))),
        ("minute", number(|one| one.ended_at.minute().start().utc().timestamp_micros())),
        ("receipt_count", number(|_| 1)),
        ("lines_cents", number(|one| one.lines_cents().unwrap().0)),
        ("tax_added_cents", number(|one| one.tax_added_cents.0)),
        ("adjustment_cents", number(|one| one.adjustment_cents.0)),
        ("total_cents", number(|one| one.total_cents.0)),
    ];
    table(&lake.join("tills"), tills);
    let lines: Vec<_> =
        receipts.iter().flat_map(|one| one.lines.iter().map(move |line| (*one, line))).collect();
    let minutes = lines.iter().map(|(one, _)| one.ended_at.minute().start().utc());
    let sales = vec![
        ("store", texts(lines.iter().map(|_| "10"))),
        ("till", texts(lines.iter().map(|(one, _)| one.till.as_str()))),
        ("minute", numbers(minutes.map(|at| at.timestamp_micros()))),
        ("article", texts(lines.iter().map(|(_, line)| line.article.as_str()))),
        ("kind", texts(lines.iter().map(|(_, line)| line.kind.as_str()))),
        ("unit", texts(lines.iter().map(|(_, line)| line.unit.as_str()))),
        ("void", Arc::new(BooleanArray::from_iter(lines.iter().map(|(_, line)| Some(line.void))))),
        ("seller", Arc::new(StringArray::new_null(lines.len())) as ArrayRef),
        ("restock", Arc::new(BooleanArray::new_null(lines.len())) as ArrayRef),
        ("lines", numbers(lines.iter().map(|_| 1))),
        ("quantity_milli", numbers(lines.iter().map(|(_, line)| line.quantity_milli.0))),
        ("amount_cents", numbers(lines.iter().map(|(_, line)| line.amount_cents.0))),
        ("discount_cents", numbers(lines.iter().map(|(_, line)| line.discount_cents.0))),
        (
            "adjustment_share_cents",
            numbers(lines.iter().map(|(_, line)| line.adjustment_share_cents.0)),
        ),
    ];
    table(&lake.join("sales"), sales);
    let moved: Vec<&StockMovement> = movements(played).collect();
    let stock = vec![
        ("store", texts(moved.iter().map(|_| "10"))),
        ("id", texts(moved.iter().map(|one| one.id.as_str()))),
        ("article", texts(moved.iter().map(|one| one.article.as_str()))),
        ("kind", texts(moved.iter().map(|one| one.kind.as_str()))),
        ("unit", texts(moved.iter().map(|one| one.unit.as_str()))),
        ("occurred_at", numbers(moved.iter().map(|one| one.occurred_at.utc().timestamp_micros()))),
        ("quantity_milli", numbers(moved.iter().map(|one| one.quantity_milli.0))),
    ];
    table(&lake.join("stock_movements"), stock);
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn numbers(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

/// Writes a table of one file, with the path as a log may write it.
fn table(folder: &Path, columns: Vec<(&str, ArrayRef)>) {
    fs::create_dir_all(folder.join("_delta_log")).unwrap();
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = fs::File::create(folder.join("part-0.parquet")).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let add = "{\"protocol\":{\"minReaderVersion\":1,\"minWriterVersion\":2}}\n\
        {\"add\":{\"path\":\"part%2D0.parquet\",\"partitionValues\":{\"business_day\":\"2026-11-23\"},\
        \"size\":1,\"dataChange\":true}}\n";
    fs::write(folder.join("_delta_log/00000000000000000000.json"), add).unwrap();
}
