//! What a file holds, summed up: a table for whoever looks whether a till's files are understood, and
//! the list of articles that are known by their text alone.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use shared::money::{Cents, Milli};
use shared::receipt::{Line, Receipt};
use shared::words::LineKind;

use crate::format::Item;

/// Articles without a number that are kept apart; a chain has fewer.
const UNMAPPED_MAX: usize = 100_000;

/// The sums of a file.
#[derive(Debug, Default)]
pub(super) struct Summary {
    receipts: u64,
    total: Cents,
    not_counted: BTreeMap<String, u64>,
    lines: BTreeMap<String, Sums>,
    adjustments: BTreeMap<String, Sums>,
    payments: BTreeMap<String, Sums>,
    cash_moves: BTreeMap<String, Sums>,
    movements: BTreeMap<String, Sums>,
    closings: u64,
    unmapped: BTreeMap<String, Sums>,
    unmapped_left_out: u64,
    refused: u64,
}

#[derive(Debug, Default)]
struct Sums {
    count: u64,
    quantity: Milli,
    amount: Cents,
}

impl Sums {
    fn add(&mut self, quantity: Milli, amount: Cents) {
        self.count += 1;
        self.quantity.0 += quantity.0;
        self.amount.0 += amount.0;
    }
}

impl Summary {
    /// Adds an item.
    pub(super) fn add(&mut self, item: &Item) {
        match item {
            Item::Receipt(receipt) if receipt.counts => self.add_sale(receipt),
            Item::Receipt(receipt) => {
                let reason = receipt.reason.as_ref().map_or("other", |reason| reason.as_str());
                *self.not_counted.entry(reason.to_owned()).or_default() += 1;
                for moved in &receipt.cash_moves {
                    let sums = self.cash_moves.entry(moved.kind.to_string()).or_default();
                    sums.add(Milli::ZERO, moved.cents);
                }
            }
            Item::Movement(movement) => {
                let sums = self.movements.entry(movement.kind.to_string()).or_default();
                sums.add(movement.quantity_milli, Cents::ZERO);
            }
            Item::Closing(_) => self.closings += 1,
            Item::Refused(_) => self.refuse(),
        }
    }

    /// Counts a refusal.
    pub(super) fn refuse(&mut self) {
        self.refused += 1;
    }

    fn add_sale(&mut self, receipt: &Receipt) {
        self.receipts += 1;
        self.total.0 += receipt.total_cents.0;
        for line in &receipt.lines {
            let name =
                if line.void { format!("{} void", line.kind) } else { line.kind.to_string() };
            self.lines.entry(name).or_default().add(line.quantity_milli, line.amount_cents);
            self.add_unmapped(line);
        }
        for adjustment in &receipt.adjustments {
            let sums = self.adjustments.entry(adjustment.kind.to_string()).or_default();
            sums.add(Milli::ZERO, adjustment.cents);
        }
        for payment in &receipt.payments {
            let sums = self.payments.entry(payment.kind.to_string()).or_default();
            sums.add(Milli::ZERO, payment.cents);
        }
    }

    fn add_unmapped(&mut self, line: &Line) {
        let key = line.article.as_str();
        let is_goods = matches!(line.kind, LineKind::Sale | LineKind::Return);
        if !is_goods || !key.starts_with("text:") {
            return;
        }
        if self.unmapped.len() >= UNMAPPED_MAX && !self.unmapped.contains_key(key) {
            self.unmapped_left_out += 1;
            return;
        }
        let sums = self.unmapped.entry(key.to_owned()).or_default();
        sums.add(line.quantity_milli, line.amount_cents);
    }

    /// Returns the articles that are known by their text alone, one a line.
    pub(super) fn unmapped(&self) -> String {
        let mut rows = Rows::default();
        rows.table("article", &self.unmapped, Of::Both);
        let mut text = rows.to_string();
        if self.unmapped_left_out > 0 {
            writeln!(text, "and {} lines of further articles", self.unmapped_left_out)
                .expect("writing to a String does not fail");
        }
        text
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not_counted: u64 = self.not_counted.values().sum();
        let mut rows = Rows::default();
        rows.add("receipts that count", self.receipts, ["", &self.total.to_string()]);
        rows.add("numbers without sale", not_counted, ["", ""]);
        for (reason, count) in &self.not_counted {
            rows.add(&format!("  {reason}"), count, ["", ""]);
        }
        rows.table("lines", &self.lines, Of::Both);
        rows.table("adjustments", &self.adjustments, Of::Amount);
        rows.table("payments", &self.payments, Of::Amount);
        rows.table("cash moves", &self.cash_moves, Of::Amount);
        rows.table("stock movements", &self.movements, Of::Quantity);
        rows.add("closings", self.closings, ["", ""]);
        rows.add("articles by text", self.unmapped.len(), ["", ""]);
        rows.add("refused pieces", self.refused, ["", ""]);
        write!(out, "{rows}")
    }
}

/// What a table's rows have beside their count.
#[derive(Debug, Clone, Copy)]
enum Of {
    Quantity,
    Amount,
    Both,
}

impl Of {
    fn figures<'a>(self, quantity: &'a str, amount: &'a str) -> [&'a str; 2] {
        match self {
            Self::Quantity => [quantity, ""],
            Self::Amount => ["", amount],
            Self::Both => [quantity, amount],
        }
    }
}

/// Rows whose columns are as wide as what stands in them, so that they fit a narrow terminal where
/// they can: a name, a count, a quantity, an amount.
#[derive(Debug, Default)]
struct Rows(Vec<[String; 4]>);

impl Rows {
    fn add(&mut self, name: &str, count: impl fmt::Display, figures: [&str; 2]) {
        let [quantity, amount] = figures.map(str::to_owned);
        self.0.push([name.to_owned(), count.to_string(), quantity, amount]);
    }

    fn table(&mut self, name: &str, sums: &BTreeMap<String, Sums>, of: Of) {
        if sums.is_empty() {
            return;
        }
        self.add(name, "count", of.figures("quantity", "amount"));
        for (key, Sums { count, quantity, amount }) in sums {
            let (quantity, amount) = (quantity.to_string(), amount.to_string());
            self.add(&format!("  {key}"), count, of.figures(&quantity, &amount));
        }
    }

    fn widths(&self) -> [usize; 4] {
        let width = |column: usize| self.0.iter().map(|row| row[column].chars().count()).max();
        [0, 1, 2, 3].map(|column| width(column).unwrap_or(0))
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [wide, count_wide, quantity_wide, amount_wide] = self.widths();
        for [name, count, quantity, amount] in &self.0 {
            let row = format!(
                "{name:<wide$} {count:>count_wide$} {quantity:>quantity_wide$} {amount:>amount_wide$}"
            );
            writeln!(out, "{}", row.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let mut rows = Rows::default();
        let mut sums = BTreeMap::<String, Sums>::new();
        sums.entry("sale".to_owned()).or_default().add(Milli(1500), Cents(-199));
        rows.add("receipts", 12, ["", "-1.99"]);
        rows.table("lines", &sums, Of::Both);
        rows.table("payments", &sums, Of::Amount);
        rows.table("nothing", &BTreeMap::new(), Of::Both);
        let wanted = "\
receipts    12           -1.99
lines    count quantity amount
  sale       1    1.500  -1.99
payments count          amount
  sale       1           -1.99
";
        assert_eq!(rows.to_string(), wanted);
    }
}
