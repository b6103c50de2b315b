//! Inputs that the fakes do not write, of the same receipts and movements: stock as a table and as
//! EDIFACT, telegrams of a till, orders of a service. Each as plain as its reader allows.

use chrono_tz::Tz;
use serde_json::{Value, json};
use shared::money::Cents;
use shared::receipt::{Line, Receipt, StockMovement};
use shared::words::{LineKind, Unit};

/// How the table is laid out.
pub(crate) const STOCK_CSV: &str = r#"
name = "wawi"
columns = ["Beleg", "EAN", "Menge", "ME", "Art", "Datum", "Zeit"]
header = true
encoding = "utf-8"
date = "%d.%m.%Y"
time = "%H:%M"
[kinds]
WE = { kind = "delivery" }
[map]
key = ["Beleg"]
gtin = "EAN"
quantity = "Menge"
unit = "ME"
kind = "Art"
date = "Datum"
time = "Zeit"
"#;

/// How the telegrams are laid out.
pub(crate) const TELEGRAM: &str = r#"
framing = "stx-etx"
bcc = "xor"
encoding = "latin1"
receipt = "telegram"
separator = ";"
record_end = "\r"
numbers = "comma"
sign = "trailing"
date = "%d.%m.%y"
time = "%H:%M:%S"
article = "scanned"
vendor = "kasse"
kinds = { V = "sale" }
units = { ST = "pcs" }
payments = { BAR = "cash" }
[vat]
B = { key = "2", bp = 700 }
[[records]]
role = "header"
mark = "K"
fields = { till = 1, receipt = 2, date = 3, time = 4, kind = 5 }
[[records]]
role = "line"
mark = "P"
fields = { article = 1, quantity = 2, unit = 3, amount = 4, vat = 5, kind = 6 }
[[records]]
role = "payment"
mark = "Z"
fields = { kind = 1, amount = 2 }
[[records]]
role = "total"
mark = "S"
fields = { amount = 1 }
"#;

/// Writes one row a movement.
pub(crate) fn stock_csv(movements: &[StockMovement]) -> Vec<u8> {
    let row = |(at, moved): (usize, &StockMovement)| {
        let when = moved.occurred_at.utc().format("%d.%m.%Y;%H:%M");
        let pieces = moved.quantity_milli.0.abs() / 1000 + 1;
        format!("B{at};{};{pieces};Stk;WE;{when}\n", gtin(moved.article.as_str()))
    };
    let rows: String = movements.iter().enumerate().map(row).collect();
    format!("Beleg;EAN;Menge;ME;Art;Datum;Zeit\n{rows}").into_bytes()
}

/// Writes one interchange of goods receipts, fifty lines each.
pub(crate) fn edifact(movements: &[StockMovement]) -> Vec<u8> {
    let mut text = "UNB+UNOC:3+4012345000009:14+4399999000010:14+261123:0541+I77'\n".to_owned();
    let messages = movements.chunks(50);
    let count = messages.len();
    for (at, lines) in messages.enumerate() {
        let when = lines[0].occurred_at.utc().format("%Y%m%d%H%M");
        let mut segments = vec![
            format!("UNH+{at}+RECADV:D:01B:UN:EAN004'"),
            format!("BGM+632+WE-{at}+9'"),
            format!("DTM+50:{when}:203'"),
            format!("RFF+ON:B-{at}'"),
            "NAD+SU+4012345000009::9'".to_owned(),
        ];
        for (position, moved) in lines.iter().enumerate() {
            let (article, pieces) = (gtin(moved.article.as_str()), moved.quantity_milli.0.abs());
            segments.push(format!("LIN+{}++{article}:SRV'", position + 1));
            segments.push(format!("QTY+194:{}'", pieces / 1000 + 1));
        }
        segments.push(format!("UNT+{}+{at}'", segments.len() + 1));
        text.extend(segments.into_iter().map(|segment| segment + "\n"));
    }
    text += &format!("UNZ+{count}+I77'\n");
    text.into_bytes()
}

/// Writes one telegram a receipt that counts; its lines are all sales of pieces.
pub(crate) fn telegrams(receipts: &[Receipt], zone: Tz) -> Vec<u8> {
    let frame = |receipt: &Receipt| {
        let when = receipt.ended_at.utc().with_timezone(&zone).format("%d.%m.%y;%H:%M:%S");
        let mut records = vec![format!("K;{};{};{when};V", receipt.till, receipt.receipt)];
        let mut total = Cents::ZERO;
        for line in &receipt.lines {
            let (article, amount) = (gtin(line.article.as_str()), line.amount_cents.abs());
            total = Cents(total.0 + amount.0);
            records.push(format!("P;{article};1;ST;{};B;V", comma(amount)));
        }
        records.push(format!("Z;BAR;{}", comma(total)));
        records.push(format!("S;{}", comma(total)));
        let mut bytes = vec![2];
        bytes.extend(records.join("\r").bytes());
        bytes.push(3);
        let check = bytes[1..].iter().fold(0, |check, byte| check ^ byte);
        bytes.push(check);
        bytes
    };
    receipts.iter().filter(|receipt| receipt.counts).flat_map(frame).collect()
}

/// Writes one page of orders.
pub(crate) fn orders(receipts: &[Receipt]) -> Vec<u8> {
    let counted = receipts.iter().filter(|receipt| receipt.counts && goods(receipt).count() > 0);
    let orders: Vec<Value> = counted.map(order).collect();
    json!({ "orders": orders }).to_string().into_bytes()
}

fn order(receipt: &Receipt) -> Value {
    let money = |cents: Cents| json!({ "amount": cents.0, "currency": "EUR" });
    let total = Cents(goods(receipt).map(|line| line.amount_cents.0).sum());
    let items = goods(receipt).enumerate().map(|(at, line)| {
        json!({
            "uid": format!("u{at}"), "name": "Brot", "quantity": "1",
            "catalog_object_id": line.article, "gross_sales_money": money(line.amount_cents),
            "total_money": money(line.amount_cents),
        })
    });
    let (till, number, day) = (&receipt.till, &receipt.receipt, &receipt.business_day);
    json!({
        "id": format!("O{till}x{number}x{day}"), "location_id": receipt.store, "version": 1,
        "state": "COMPLETED", "created_at": receipt.ended_at, "updated_at": receipt.ended_at,
        "closed_at": receipt.ended_at, "line_items": items.collect::<Vec<_>>(),
        "total_money": money(total), "tenders": [{ "type": "CARD", "amount_money": money(total) }],
    })
}

fn goods(receipt: &Receipt) -> impl Iterator<Item = &Line> {
    receipt.lines.iter().filter(|line| {
        line.kind == LineKind::Sale && line.unit == Unit::Pieces && line.amount_cents > Cents::ZERO
    })
}

/// Any 13 digits of an article: what is no GTIN is written as one.
fn gtin(article: &str) -> String {
    if article.len() == 14 && article.bytes().all(|digit| digit.is_ascii_digit()) {
        article[1..].to_owned()
    } else {
        "4012345678901".to_owned()
    }
}

fn comma(cents: Cents) -> String {
    format!("{},{:02}", cents.0 / 100, cents.0 % 100)
}
