//! Receipts as a till's closing exports them to the tax office: a folder of tables with semicolons
//! and commas, and an index. Only what is no sale beside the sales; personal fields stay empty.

mod tables;

use std::collections::BTreeMap;

use chrono_tz::Tz;
use shared::ids::TillId;
use shared::money::{Cents, Milli};
use shared::receipt::{CashMove, Line, Receipt};
use shared::time::Timestamp;
use shared::words::{LineKind, NotCounted, PaymentKind, Unit};

use super::fiscal;
use crate::shop::is_receipt_void;
use tables::TABLES;

/// A closing's key: till, time, number.
type Closing = [String; 3];

/// Writes the closing of every till as a folder: names of files and their bytes. `closed_at` names
/// the closing; its minute is the closing's number, so that no two closings of a till share one.
pub(super) fn folder(
    receipts: &[Receipt],
    zone: Tz,
    closed_at: Timestamp,
) -> Vec<(String, Vec<u8>)> {
    let mut tills: BTreeMap<&TillId, Vec<&Receipt>> = BTreeMap::new();
    for receipt in receipts {
        tills.entry(&receipt.till).or_default().push(receipt);
    }
    let mut export = Export { zone, rows: BTreeMap::new() };
    for receipts in tills.into_values() {
        export.closing(&receipts, closed_at);
    }
    export.files()
}

struct Export {
    zone: Tz,
    rows: BTreeMap<&'static str, Vec<Vec<String>>>,
}

impl Export {
    fn files(mut self) -> Vec<(String, Vec<u8>)> {
        let mut files = vec![("index.xml".to_owned(), tables::index().into_bytes())];
        for table in TABLES {
            let rows = self.rows.remove(table.file).unwrap_or_default();
            let mut text = table.header().join(";");
            text.push_str("\r\n");
            for row in rows {
                assert_eq!(row.len(), table.header().len(), "a row fits its table {}", table.file);
                let cells: Vec<String> = row.iter().map(|cell| quoted(cell)).collect();
                text.push_str(&cells.join(";"));
                text.push_str("\r\n");
            }
            files.push((table.file.to_owned(), text.into_bytes()));
        }
        files
    }

    fn row(&mut self, file: &'static str, key: &[String], cells: Vec<String>) {
        let row = key.iter().cloned().chain(cells).collect();
        self.rows.entry(file).or_default().push(row);
    }

    fn closing(&mut self, receipts: &[&Receipt], closed_at: Timestamp) {
        let Some(first) = receipts.first() else { return };
        let key: Closing = [
            format!("{}-{}", first.store, first.till),
            self.stamp(closed_at),
            (closed_at.unix_millis() / 60_000).to_string(),
        ];
        self.masters(&key, first);
        for receipt in receipts {
            self.receipt(&key, receipt);
            self.reference(&key, receipt, receipts);
        }
        let entering = receipts.iter().copied().filter(|one| bon_type(one).0 == "Beleg");
        self.totals(&key, receipts, &entering.collect::<Vec<_>>());
    }

    fn stamp(&self, at: Timestamp) -> String {
        at.utc().with_timezone(&self.zone).format("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }

    /// What does not change from receipt to receipt.
    fn masters(&mut self, key: &Closing, first: &Receipt) {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let address = ["Marktstr. 1", "12345", "Musterstadt", "DEU"];
        let location = [&["Frischmarkt"], &address[..], &["DE123456789"]].concat();
        self.row("location.csv", key, words(&location));
        let serial = format!("KASSE-{}", first.till);
        let register = ["Frischmarkt", "Till", &serial, "fakes", "1", "EUR", "0"];
        self.row("cashregister.csv", key, words(&register));
        let device = fiscal::serial(first);
        let tse = ["1", &device, "ecdsa-plain-SHA256", "unixTime", "UTF-8", &device, "", ""];
        self.row("tse.csv", key, words(&tse));
        self.row("vat.csv", key, words(&["1", "19,00", "Allgemeiner Steuersatz"]));
        self.row("vat.csv", key, words(&["2", "7,00", "Ermäßigter Steuersatz"]));
    }

    fn receipt(&mut self, key: &Closing, receipt: &Receipt) {
        let id = bon_id(receipt);
        let (kind, name) = bon_type(receipt);
        let at = self.stamp(receipt.ended_at);
        let mut cells = vec![id.clone(), receipt.receipt.to_string(), kind.into(), name.into()];
        let void = u8::from(is_receipt_void(receipt)).to_string();
        let moved: Cents = receipt.cash_moves.iter().map(|moved| moved.cents).sum();
        let total = Cents(receipt.total_cents.0 + moved.0);
        cells.extend([receipt.till.to_string(), void, at.clone(), at.clone()]);
        cells.extend(["91".into(), String::new(), comma(total.0, 2)]);
        cells.extend(std::iter::repeat_n(String::new(), 8));
        cells.push(String::new());
        self.row("transactions.csv", key, cells);
        for vat in &receipt.vat {
            let amounts = [vat.gross_cents, vat.net_cents, vat.tax_cents];
            let mut cells = vec![id.clone(), vat.key.to_string()];
            cells.extend(amounts.map(|cents| comma(cents.0 * 1000, 5)));
            self.row("transactions_vat.csv", key, cells);
        }
        for line in &receipt.lines {
            self.line(key, &id, line);
        }
        self.rebates(key, &id, receipt);
        for (moved, position) in receipt.cash_moves.iter().zip(1_u32..) {
            self.moved(key, [&id, &position.to_string()], moved);
        }
        for (kind, cents) in paid(receipt) {
            let amount = comma(cents.0, 2);
            let cells =
                vec![id.clone(), kind.into(), kind.into(), "EUR".into(), amount.clone(), amount];
            self.row("datapayment.csv", key, cells);
        }
        if receipt.counts {
            let number = fiscal::transaction(receipt);
            let mut cells = vec![id, "1".into(), number.to_string(), at.clone(), at];
            cells.extend(["Kassenbeleg-V1".into(), (number * 2).to_string()]);
            cells.extend([
                fiscal::signature(receipt),
                String::new(),
                fiscal::process_data(receipt),
            ]);
            self.row("transactions_tse.csv", key, cells);
        }
    }

    /// Names the receipt that is taken back, where it is of the same closing: else its number is not
    /// known here.
    fn reference(&mut self, key: &Closing, receipt: &Receipt, all: &[&Receipt]) {
        let Some(named) = &receipt.refers_to else { return };
        let other = all.iter().find(|other| {
            let of = (&other.till, &other.series, &other.receipt);
            other.counts && of == (&named.till, &named.series, &named.receipt)
        });
        let Some(other) = other else { return };
        let mut cells = vec![bon_id(receipt), String::new(), "Transaktion".into()];
        cells.extend([String::new(), self.stamp(other.ended_at)]);
        cells.extend([key[0].clone(), key[2].clone(), bon_id(other)]);
        self.row("references.csv", key, cells);
    }

    /// Money put into the drawer or taken out is a line without goods and without VAT.
    fn moved(&mut self, key: &Closing, [id, position]: [&str; 2], moved: &CashMove) {
        let case = cash_case(moved);
        let mut cells = vec![id.to_owned(), position.to_owned(), String::new(), case.into()];
        cells.extend(["", case, "", "0", "0", "0", "", "", "", ""].map(String::from));
        cells.extend(["1,000", "1,000", "Stk"].map(String::from));
        cells.push(comma(moved.cents.0 * 1000, 5));
        self.row("lines.csv", key, cells);
        self.line_vat(key, [id, position, "5"], moved.cents);
    }

    fn line(&mut self, key: &Closing, id: &str, line: &Line) {
        let position = line.position.to_string();
        let vat = line.vat_key.as_ref().map_or("5", |key| key.as_str()).to_owned();
        let gtin = line.article.as_str();
        let mut cells = vec![id.to_owned(), position.clone(), String::new()];
        cells.extend([format!("Artikel \"{gtin}\""), String::new(), case(&line.kind).into()]);
        cells.extend([String::new(), "0".into(), u8::from(line.void).to_string(), "0".into()]);
        cells
            .extend([gtin.trim_start_matches('0').to_owned(), gtin.trim_start_matches('0').into()]);
        cells.extend([String::new(), String::new(), comma(line.quantity_milli.0, 3)]);
        cells.extend([comma(1000, 3), unit(&line.unit).to_owned(), piece_price(line)]);
        self.row("lines.csv", key, cells);
        self.line_vat(key, [id, &position, &vat], line.amount_cents);
        if line.discount_cents != Cents::ZERO {
            let regular = Cents(line.amount_cents.0 + line.discount_cents.0);
            for (kind, cents) in [("base_amount", regular), ("discount", -line.discount_cents)] {
                let mut cells = vec![id.to_owned(), position.clone(), kind.to_owned(), vat.clone()];
                cells.extend(split(&vat, cents));
                self.row("itemamounts.csv", key, cells);
            }
        }
    }

    fn line_vat(&mut self, key: &Closing, [id, position, vat]: [&str; 3], cents: Cents) {
        let mut cells = vec![id.to_owned(), position.to_owned(), vat.to_owned()];
        cells.extend(split(vat, cents));
        self.row("lines_vat.csv", key, cells);
    }

    /// What the whole receipt costs less are lines of their own, one a VAT key.
    fn rebates(&mut self, key: &Closing, id: &str, receipt: &Receipt) {
        let last = receipt.lines.last().map_or(0, |line| line.position);
        for (part, position) in receipt.adjustments.iter().zip(last + 1..) {
            let position = position.to_string();
            let vat = part.vat_key.as_ref().map_or("5", |key| key.as_str());
            let mut cells = vec![id.to_owned(), position.clone(), String::new()];
            cells.extend(
                ["Mitarbeiterrabatt 5%", "", "Rabatt", "Mitarbeiterrabatt"].map(String::from),
            );
            cells
                .extend(["0", "0", "0", "", "", "", "", "1,000", "1,000", "Stk"].map(String::from));
            cells.push(comma(part.cents.0 * 1000, 5));
            self.row("lines.csv", key, cells);
            self.line_vat(key, [id, &position, vat], part.cents);
        }
    }

    /// The day's totals, of what counts only.
    fn totals(&mut self, key: &Closing, all: &[&Receipt], counting: &[&Receipt]) {
        let mut cases: BTreeMap<(&str, String), Cents> = BTreeMap::new();
        let mut kinds: BTreeMap<&str, Cents> = BTreeMap::new();
        for receipt in counting {
            let lines = receipt.lines.iter();
            let lines = lines.map(|line| (case(&line.kind), &line.vat_key, line.amount_cents));
            let parts = receipt.adjustments.iter();
            let parts = parts.map(|part| ("Rabatt", &part.vat_key, part.cents));
            let moves = receipt.cash_moves.iter();
            let moves = moves.map(|moved| (cash_case(moved), &None, moved.cents));
            for (case, vat, cents) in lines.chain(parts).chain(moves) {
                let vat = vat.as_ref().map_or("5", |key| key.as_str()).to_owned();
                cases.entry((case, vat)).or_default().0 += cents.0;
            }
            for (kind, cents) in paid(receipt) {
                kinds.entry(kind).or_default().0 += cents.0;
            }
        }
        for ((case, vat), cents) in cases {
            let mut cells = vec![case.to_owned(), String::new(), "0".to_owned(), vat.clone()];
            cells.extend(split(&vat, cents));
            self.row("businesscases.csv", key, cells);
        }
        let cash = kinds.get("Bar").copied().unwrap_or_default();
        let sum: Cents = kinds.values().copied().sum();
        for (kind, cents) in kinds {
            self.row("payment.csv", key, vec![kind.into(), kind.into(), comma(cents.0, 2)]);
        }
        self.row("cash_per_currency.csv", key, vec!["EUR".to_owned(), comma(cash.0, 2)]);
        let (Some(first), Some(last)) = (all.first(), all.last()) else { return };
        let mut cells = vec![first.business_day.to_string(), "2.4".to_owned()];
        cells.extend([bon_id(first), bon_id(last)]);
        cells.extend(
            ["Frischmarkt", "Marktstr. 1", "12345", "Musterstadt", "DEU"].map(String::from),
        );
        cells.extend(["123/456/7890", "DE123456789"].map(String::from));
        cells.extend([comma(sum.0, 2), comma(cash.0, 2)]);
        self.row("cashpointclosing.csv", key, cells);
    }
}

/// A parked receipt and its end may share a number, never an id.
fn bon_id(receipt: &Receipt) -> String {
    format!("{}-{}-{}", receipt.store, receipt.till, fiscal::transaction(receipt))
}

fn bon_type(receipt: &Receipt) -> (&'static str, &'static str) {
    match &receipt.reason {
        None | Some(NotCounted::CashMove) => ("Beleg", ""),
        Some(NotCounted::Training) => ("AVTraining", ""),
        Some(NotCounted::Aborted) => ("AVBelegabbruch", ""),
        Some(NotCounted::Suspended) => ("AVSonstige", "Geparkt"),
        Some(
            NotCounted::Control
            | NotCounted::NoSale
            | NotCounted::Reprint
            | NotCounted::Other
            | NotCounted::Unknown(_),
        ) => ("AVSonstige", "Abmeldung"),
    }
}

/// The business case of cash that moves without a sale.
fn cash_case(moved: &CashMove) -> &'static str {
    match moved.kind.as_str() {
        "float" => "Anfangsbestand",
        "drop" => "Geldtransit",
        "paid_in" => "Einzahlung",
        _ => "Auszahlung",
    }
}

fn case(kind: &LineKind) -> &'static str {
    match kind {
        LineKind::Deposit => "Pfand",
        LineKind::DepositRefund => "PfandRueckzahlung",
        LineKind::Tip => "TrinkgeldAN",
        LineKind::VoucherSale => "MehrzweckgutscheinKauf",
        LineKind::Prepayment => "Anzahlungseinstellung",
        LineKind::Receivable => "Forderungsentstehung",
        LineKind::Sale
        | LineKind::Return
        | LineKind::Donation
        | LineKind::Fee
        | LineKind::Other
        | LineKind::Unknown(_) => "Umsatz",
    }
}

fn unit(unit: &Unit) -> &str {
    match unit {
        Unit::Pieces => "Stk",
        Unit::Kilograms => "kg",
        Unit::Litres => "l",
        Unit::Metres => "m",
        Unit::Unknown(word) => word.as_str(),
    }
}

/// Change is taken off what was given: a till exports what it kept, and what else its drawer got.
fn paid(receipt: &Receipt) -> Vec<(&'static str, Cents)> {
    let mut kinds: BTreeMap<&'static str, Cents> = BTreeMap::new();
    for moved in &receipt.cash_moves {
        kinds.entry("Bar").or_default().0 += moved.cents.0;
    }
    for payment in &receipt.payments {
        let kind = match payment.kind {
            PaymentKind::Cash | PaymentKind::Change | PaymentKind::Cashback => "Bar",
            PaymentKind::Girocard => "ECKarte",
            PaymentKind::Credit => "Kreditkarte",
            PaymentKind::Mobile => "ElZahlungsdienstleister",
            PaymentKind::GiftCard => "Guthabenkarte",
            PaymentKind::Voucher
            | PaymentKind::DepositVoucher
            | PaymentKind::OnAccount
            | PaymentKind::Points
            | PaymentKind::Prepayment
            | PaymentKind::Other
            | PaymentKind::Unknown(_) => "Unbar",
        };
        kinds.entry(kind).or_default().0 += payment.cents.0;
    }
    kinds.into_iter().collect()
}

/// Gross, net and tax with five decimals.
fn split(vat: &str, gross: Cents) -> [String; 3] {
    let bp = match vat {
        "1" => 1900,
        "2" => 700,
        _ => 0,
    };
    let fine = gross.0 * 1000;
    let net = super::super::shop::divided(fine * 10_000, 10_000 + bp);
    [fine, net, fine - net].map(|value| comma(value, 5))
}

/// What a unit cost after its discount, with five decimals and no sign.
fn piece_price(line: &Line) -> String {
    let Milli(milli) = line.quantity_milli.abs();
    let price = super::super::shop::divided(line.amount_cents.0.abs() * 1_000_000, milli.max(1));
    comma(price, 5)
}

/// Writes a number of 10^-`decimals` with a comma.
fn comma(value: i64, decimals: u32) -> String {
    let scale = 10_u64.pow(decimals);
    let sign = if value < 0 { "-" } else { "" };
    let (whole, rest) = (value.unsigned_abs() / scale, value.unsigned_abs() % scale);
    format!("{sign}{whole},{rest:0width$}", width = decimals as usize)
}

/// Text that holds a delimiter stands in quotes, its own quotes doubled.
fn quoted(cell: &str) -> String {
    match cell.contains([';', '"', '\r', '\n']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_a_comma_and_their_decimals() {
        assert_eq!([comma(-5, 2), comma(100_000, 5)], ["-0,05", "1,00000"]);
        assert_eq!(split("1", Cents(119)), ["1,19000", "1,00000", "0,19000"]);
    }

    #[test]
    fn a_text_with_quotes_is_closed_again() {
        assert_eq!(quoted("a;\"b\""), "\"a;\"\"b\"\"\"");
    }
}
