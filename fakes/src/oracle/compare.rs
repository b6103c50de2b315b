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
    /// Stores whose tills cannot say a line as it was rung up: their lines are compared among the other
    /// sides, their receipts and totals with the truth.
    pub lines_untold: BTreeSet<String>,
}

impl Report {
    pub(super) fn new(sides: Vec<Side>) -> Self {
        Self {
            totals: sides.iter().map(|&side| (side, Totals::default())).collect(),
            sides,
            difference_count: 0,
            differences: Vec::new(),
            not_compared: BTreeSet::new(),
            lines_untold: BTreeSet::new(),
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

#[cfg(test)]
mod tests {
    use super::super::holdings::{
        MovementFact, MovementSums, Place, RowFact, RowSums, TillFact, TillSums,
    };
    use super::*;

    const PLACE: Place<'static> = Place { store: "10", day: 20_780, minute: 29_923_781, till: "3" };

    fn holdings() -> Holdings {
        let mut holdings = Holdings::new(&BTreeSet::new());
        for side in Side::ALL {
            let sums = TillSums { receipts: 2, total_cents: 500, ..TillSums::default() };
            holdings.add_till(side, &TillFact { place: PLACE, sums });
            holdings.add_row(side, &row("sale", 2000));
            holdings.add_movement(side, &movement("count", ("C/1", 0), 10_000));
            holdings.add_movement(side, &movement("delivery", ("D/1", 1), 5000));
        }
        let key = holdings.stock_key("10", "04012345678901", "pcs");
        // The sale takes effect at its minute's end, long after the count.
        holdings.set_on_hand(Side::Postgres, key, 13_000);
        holdings
    }

    fn row(kind: &'static str, quantity_milli: i128) -> RowFact<'static> {
        RowFact {
            place: PLACE,
            article: "04012345678901",
            kind,
            unit: "pcs",
            void: false,
            seller: None,
            restock: None,
            sums: RowSums { lines: 1, quantity_milli, amount_cents: 398, discount_cents: 0 },
        }
    }

    fn movement(
        kind: &'static str,
        (id, at): (&'static str, i64),
        quantity_milli: i128,
    ) -> MovementFact<'static> {
        let sums = MovementSums { movements: 1, quantity_milli };
        MovementFact { store: "10", at, id, article: "04012345678901", kind, unit: "pcs", sums }
    }

    #[test]
    fn lines_that_a_till_cannot_say_are_the_other_sides_and_its_receipts_are_its_own() {
        let untold = BTreeSet::from(["10".to_owned()]);
        let all = |holdings: &mut Holdings| holdings.leave_lines_to(Side::Postgres, &untold);
        let other_lines = |holdings: &mut Holdings| {
            holdings.add_row(Side::Truth, &row("return", -1000));
            let sums = TillSums { lines_cents: 7, adjustment_cents: -7, ..TillSums::default() };
            holdings.add_till(Side::Truth, &TillFact { place: PLACE, sums });
        };
        assert!(!outcome(other_lines).is_exact());
        assert!(
            outcome(|holdings| {
                other_lines(holdings);
                all(holdings);
            })
            .is_exact()
        );
        for sums in [
            TillSums { receipts: 1, ..TillSums::default() },
            TillSums { total_cents: 1, ..TillSums::default() },
        ] {
            let found = outcome(|holdings| {
                holdings.add_till(Side::Truth, &TillFact { place: PLACE, sums });
                all(holdings);
            });
            assert_eq!(found.difference_count, 1, "{sums:?}");
        }
        let lake = outcome(|holdings| {
            holdings.add_row(Side::Lake, &row("return", -1000));
            all(holdings);
        });
        assert!(!lake.is_exact());
    }

    fn outcome(plant: impl FnOnce(&mut Holdings)) -> Report {
        let (mut holdings, mut report) = (holdings(), Report::new(Side::ALL.to_vec()));
        plant(&mut holdings);
        add(&mut report, holdings);
        report
    }

    #[test]
    fn what_all_sides_say_alike_is_exact() {
        let report = outcome(|_| {});
        assert!(report.is_exact(), "{:?}", report.differences);
        let totals = report.totals[2].1;
        assert_eq!((totals.receipts, totals.lines, totals.on_hand_milli), (2, 1, 13_000));
    }

    #[test]
    fn a_receipt_too_few_is_found_where_it_is() {
        let report = outcome(|holdings| {
            let sums = TillSums { receipts: -1, total_cents: -1, ..TillSums::default() };
            holdings.add_till(Side::Lake, &TillFact { place: PLACE, sums });
        });
        assert_eq!(report.difference_count, 1);
        let found = &report.differences[0];
        assert_eq!(found.store, "10");
        assert_eq!(found.place, "till 3 at 2026-11-23T09:41:00Z (business day 2026-11-23)");
        let same = "receipts 2, total_cents 500";
        assert_eq!(found.said, [same, same, "receipts 1, total_cents 499"]);
    }

    #[test]
    fn a_line_under_another_kind_differs_twice_and_in_stock() {
        let report = outcome(|holdings| {
            let mut less = row("sale", -2000);
            less.sums =
                RowSums { lines: -1, quantity_milli: -2000, amount_cents: -398, discount_cents: 0 };
            holdings.add_row(Side::Lake, &less);
            holdings.add_row(Side::Lake, &row("deposit", 2000));
        });
        assert_eq!(report.difference_count, 3);
        assert!(report.differences[0].place.ends_with("article 04012345678901 (deposit, pcs)"));
        assert_eq!(report.differences[2].said[2], "on_hand_milli 15000");
    }

    #[test]
    fn a_movement_that_counts_twice_is_found_in_the_movements_and_in_stock() {
        let report = outcome(|holdings| {
            holdings.add_movement(Side::Truth, &movement("delivery", ("D/1", 1), 5000));
        });
        assert_eq!(report.difference_count, 2);
        assert!(report.differences[0].place.starts_with("movement D/1 (delivery of article"));
    }

    #[test]
    fn stock_that_the_database_keeps_wrongly_is_found() {
        let report = outcome(|holdings| {
            let key = holdings.stock_key("10", "04012345678901", "pcs");
            holdings.set_on_hand(Side::Postgres, key, 13_001);
        });
        assert_eq!(report.difference_count, 1);
        assert_eq!(report.differences[0].place, "stock on hand of article 04012345678901 in pcs");
    }

    #[test]
    fn of_two_counts_at_one_instant_the_larger_id_holds_and_later_changes_add() {
        let count = |id, quantity| movement("count", (id, 60), quantity);
        let report = outcome(|holdings| {
            for side in Side::ALL {
                holdings.add_movement(side, &count("C/3", 7000));
                holdings.add_movement(side, &count("C/2", 9000));
                holdings.add_movement(side, &movement("waste", ("W/1", 60), -1000));
                holdings.add_movement(side, &movement("announced", ("A/1", 61), 9000));
            }
            let key = holdings.stock_key("10", "04012345678901", "pcs");
            holdings.set_on_hand(Side::Postgres, key, 5000);
        });
        assert!(report.is_exact(), "{:?}", report.differences);
    }
}
