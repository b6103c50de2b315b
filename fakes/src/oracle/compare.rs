//! Who says what, and where they differ. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use shared::time::Timestamp;

use super::holdings::{Holdings, MovementKey, RowKey, Side, Sides, StockKey, TillKey, Void};
use super::on_hand;

/// Differences that are shown; more are counted only.
pub const DIFFERENCES_MAX: usize = 20;

/// What one side holds in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Receipts that count.
    pub receipts: i128,
    /// Lines.
    pub lines: i128,
    /// Quantities, whatever the unit.
    pub quantity_milli: i128,
    /// Sum of the lines' amounts.
    pub lines_cents: i128,
    /// Sum of the lines' discounts.
    pub discount_cents: i128,
    /// Tax on top.
    pub tax_added_cents: i128,
    /// Adjustments of whole receipts.
    pub adjustment_cents: i128,
    /// Sum of the receipts' totals.
    pub total_cents: i128,
    /// Movements of stock.
    pub movements: i128,
    /// Stock on hand of all articles, whatever the unit.
    pub on_hand_milli: i128,
}

/// A place where the sides differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The store.
    pub store: String,
    /// What differs and where, for people.
    pub place: String,
    /// What each side says, in the order of the report's sides.
    pub said: Vec<String>,
}

/// The outcome of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Who was compared.
    pub sides: Vec<Side>,
    /// What each side holds in all.
    pub totals: Vec<(Side, Totals)>,
    /// How many places differ.
    pub difference_count: u64,
    /// The first places that differ.
    pub differences: Vec<Difference>,
    /// Stores that nothing was issued for, and that therefore nothing is known of.
    pub not_compared: BTreeSet<String>,
}

impl Report {
    pub(super) fn new(sides: Vec<Side>) -> Self {
        Self {
            totals: sides.iter().map(|&side| (side, Totals::default())).collect(),
            sides,
            difference_count: 0,
            differences: Vec::new(),
            not_compared: BTreeSet::new(),
        }
    }

    /// Returns true where no side differs from another.
    pub fn is_exact(&self) -> bool {
        self.difference_count == 0
    }

    fn note<V: PartialEq + Serialize>(
        &mut self,
        said: &Sides<V>,
        place: impl FnOnce() -> (String, String),
    ) {
        let first = &said[self.sides.first().map_or(0, |side| side.index())];
        if self.sides.iter().all(|side| said[side.index()] == *first) {
            return;
        }
        self.difference_count += 1;
        if self.differences.len() < DIFFERENCES_MAX {
            let (store, place) = place();
            let said = self.sides.iter().map(|side| differing(said, *side)).collect();
            self.differences.push(Difference { store, place, said });
        }
    }
}

/// Writes the figures of a side that are not the same on all sides.
fn differing<V: Serialize>(said: &Sides<V>, side: Side) -> String {
    let figures = |value: &V| match serde_json::to_value(value) {
        Ok(serde_json::Value::Object(figures)) => figures,
        Ok(_) | Err(_) => serde_json::Map::new(),
    };
    let all: Vec<_> = said.iter().map(figures).collect();
    let own = &all[side.index()];
    let told = own
        .iter()
        .filter(|(name, figure)| all.iter().any(|other| other.get(name.as_str()) != Some(*figure)));
    told.map(|(name, figure)| format!("{name} {figure}")).collect::<Vec<_>>().join(", ")
}

/// Compares the holdings of some stores and adds the outcome.
pub(super) fn add(report: &mut Report, mut holdings: Holdings) {
    for side in [Side::Truth, Side::Lake] {
        // The database keeps stock itself; the others' is worked out from what they hold.
        if report.sides.contains(&side) {
            on_hand::work_out(&mut holdings, side);
        }
    }
    let mut totals: BTreeMap<Side, Totals> = report.totals.iter().copied().collect();
    for (side, sums) in &mut totals {
        add_totals(sums, &holdings, *side);
    }
    report.totals = totals.into_iter().collect();
    for (key, said) in &holdings.tills {
        report.note(said, || (key.store.to_string(), till_place(key)));
    }
    for (key, said) in &holdings.rows {
        report.note(said, || (key.at.store.to_string(), row_place(key)));
    }
    for (key, said) in &holdings.movements {
        report.note(said, || (key.store.to_string(), movement_place(key)));
    }
    for (key, said) in &holdings.stock {
        report.note(said, || (key.store.to_string(), stock_place(key)));
    }
}

fn add_totals(sums: &mut Totals, holdings: &Holdings, side: Side) {
    for sides in holdings.tills.values() {
        let till = sides[side.index()];
        sums.receipts += till.receipts;
        sums.tax_added_cents += till.tax_added_cents;
        sums.adjustment_cents += till.adjustment_cents;
        sums.total_cents += till.total_cents;
    }
    for sides in holdings.rows.values() {
        let row = sides[side.index()];
        sums.lines += row.lines;
        sums.quantity_milli += row.quantity_milli;
        sums.lines_cents += row.amount_cents;
        sums.discount_cents += row.discount_cents;
    }
    sums.movements +=
        holdings.movements.values().map(|said| said[side.index()].movements).sum::<i128>();
    sums.on_hand_milli +=
        holdings.stock.values().map(|said| said[side.index()].on_hand_milli).sum::<i128>();
}

fn till_place(key: &TillKey) -> String {
    format!("till {} at {} (business day {})", key.till, minute(key.minute), day(key.day))
}

fn row_place(key: &RowKey) -> String {
    let void = match key.void {
        Void::Yes => " voided",
        Void::No => "",
    };
    format!("{}, article {} ({}{void}, {})", till_place(&key.at), key.article, key.kind, key.unit)
}

fn movement_place(key: &MovementKey) -> String {
    let at = Timestamp::from_unix_millis(key.at.div_euclid(1000));
    let at = at.map_or_else(|| key.at.to_string(), |at| at.to_string());
    format!("movement {} ({} of article {} in {} at {at})", key.id, key.kind, key.article, key.unit)
}

fn stock_place(key: &StockKey) -> String {
    format!("stock on hand of article {} in {}", key.article, key.unit)
}

fn minute(number: i64) -> String {
    let at = number.checked_mul(60_000).and_then(Timestamp::from_unix_millis);
    at.map_or_else(|| number.to_string(), |at| at.to_string())
}

fn day(number: i32) -> String {
    let date = chrono::NaiveDate::from_epoch_days(number);
    date.map_or_else(|| number.to_string(), |date| date.to_string())
}
