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
        let mut text = String::new();
        table(&mut text, "article", &self.unmapped).expect("writing to a String does not fail");
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
        writeln!(
            out,
            "receipts that count   {:>10} {:>16}",
            self.receipts,
            self.total.to_string()
        )?;
        writeln!(out, "numbers without sale  {not_counted:>10}")?;
        for (reason, count) in &self.not_counted {
            writeln!(out, "  {reason:<20}{count:>10}")?;
        }
        table(out, "lines", &self.lines)?;
        table(out, "adjustments", &self.adjustments)?;
        table(out, "payments", &self.payments)?;
        table(out, "stock movements", &self.movements)?;
        writeln!(out, "closings              {:>10}", self.closings)?;
        writeln!(out, "articles by text only {:>10}", self.unmapped.len())?;
        writeln!(out, "refused pieces        {:>10}", self.refused)
    }
}

fn table(out: &mut impl fmt::Write, name: &str, rows: &BTreeMap<String, Sums>) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    let wide = rows.keys().map(|key| key.chars().count()).max().unwrap_or(0).max(20);
    writeln!(
        out,
        "{name:<width$}{:>10} {:>16} {:>16}",
        "count",
        "quantity",
        "amount",
        width = wide + 2
    )?;
    for (key, sums) in rows {
        let Sums { count, quantity, amount } = sums;
        // Their own format knows no width.
        let (quantity, amount) = (quantity.to_string(), amount.to_string());
        writeln!(out, "  {key:<wide$}{count:>10} {quantity:>16} {amount:>16}")?;
    }
    Ok(())
}
