//! What is counted to compare one place with another: batches, receipts, lines, quantities and cents
//! per store and business day, or finer. Pure.

use std::collections::BTreeMap;
use std::fmt;

use shared::ids::StoreId;
use shared::minute::StoreMinute;
use shared::time::{BusinessDay, Timestamp};

/// What a sum is for. Finer parts are absent where the sum is for the whole day.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The store.
    pub store: String,
    /// The business day.
    pub day: BusinessDay,
    /// The minute.
    pub minute: Option<Timestamp>,
    /// The till; movements of stock have none.
    pub till: Option<String>,
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "store {} day {}", self.store, self.day)?;
        if let Some(minute) = self.minute {
            write!(out, " minute {minute}")?;
        }
        match &self.till {
            Some(till) => write!(out, " till {till}"),
            None => Ok(()),
        }
    }
}

/// How fine the sums are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grain {
    /// One sum per store and business day.
    Day,
    /// One sum per store, business day, minute and till.
    Till,
}

/// Which stores and days are counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// This store only.
    pub store: Option<StoreId>,
    /// This business day only.
    pub day: Option<BusinessDay>,
}

impl Scope {
    /// Returns true where a store and day are counted.
    pub fn holds(&self, store: &str, day: BusinessDay) -> bool {
        self.store.as_ref().is_none_or(|only| only.as_str() == store)
            && self.day.is_none_or(|only| only == day)
    }
}

/// The part of the rows that a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Lines sold.
    Sales,
    /// Totals of the tills.
    Tills,
    /// Movements of stock.
    Stock,
}

impl Part {
    /// All parts.
    pub const ALL: [Self; 3] = [Self::Sales, Self::Tills, Self::Stock];
}

/// The sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Figures {
    /// Batches with totals of tills.
    pub batches: i64,
    /// Receipts that count.
    pub receipts: i64,
    /// Sum of their totals.
    pub total_cents: i64,
    /// Lines sold.
    pub lines: i64,
    /// Their quantities in thousandths, whatever their units.
    pub quantity_milli: i64,
    /// Their amounts.
    pub amount_cents: i64,
    /// Movements of stock.
    pub movements: i64,
    /// Their quantities in thousandths.
    pub moved_milli: i64,
}

/// Sums by what they are for.
pub type FiguresByKey = BTreeMap<Key, Figures>;

impl Figures {
    /// What the sums are called, in the order of [`Figures::values`].
    pub const NAMES: [&'static str; 8] = [
        "batches",
        "receipts",
        "total_cents",
        "lines",
        "quantity_milli",
        "amount_cents",
        "movements",
        "moved_milli",
    ];

    /// Returns the sums in order.
    pub fn values(&self) -> [i64; 8] {
        [
            self.batches,
            self.receipts,
            self.total_cents,
            self.lines,
            self.quantity_milli,
            self.amount_cents,
            self.movements,
            self.moved_milli,
        ]
    }

    /// Makes the sums of one part from its three columns, as the queries give them.
    pub fn of_part(part: Part, columns: [i64; 3]) -> Self {
        let [first, second, third] = columns;
        let none = Self::default();
        match part {
            Part::Sales => {
                Self { lines: first, quantity_milli: second, amount_cents: third, ..none }
            }
            Part::Tills => Self { batches: first, receipts: second, total_cents: third, ..none },
            Part::Stock => Self { movements: first, moved_milli: second, ..none },
        }
    }

    /// Adds other sums. Every sum of a whole chain's year fits 64 bits.
    pub fn add(&mut self, other: &Self) {
        self.batches += other.batches;
        self.receipts += other.receipts;
        self.total_cents += other.total_cents;
        self.lines += other.lines;
        self.quantity_milli += other.quantity_milli;
        self.amount_cents += other.amount_cents;
        self.movements += other.movements;
        self.moved_milli += other.moved_milli;
    }
}

/// Adds one part of a batch to the sums.
pub fn add_batch(to: &mut FiguresByKey, batch: &StoreMinute, part: Part, grain: Grain) {
    let key = |till: Option<&str>| Key {
        store: batch.store.as_str().to_owned(),
        day: batch.business_day,
        minute: (grain == Grain::Till).then(|| batch.minute.start()),
        till: till.filter(|_| grain == Grain::Till).map(str::to_owned),
    };
    let mut add =
        |key: Key, columns| to.entry(key).or_default().add(&Figures::of_part(part, columns));
    match part {
        Part::Sales => {
            for row in &batch.sales {
                let columns = [count(row.lines), row.quantity_milli.0, row.amount_cents.0];
                add(key(Some(row.till.as_str())), columns);
            }
        }
        Part::Tills => {
            let mut seen = std::collections::BTreeSet::new();
            for row in &batch.tills {
                let key = key(Some(row.till.as_str()));
                let first = i64::from(seen.insert(key.clone()));
                add(key, [first, count(row.receipt_count), row.total_cents.0]);
            }
        }
        Part::Stock => {
            for row in &batch.stock {
                add(key(None), [1, row.quantity_milli.0, 0]);
            }
        }
    }
}

/// The judge accepts no count beyond 64 signed bits; one that is cannot equal any other place's.
fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_the_sum_of_its_tills_and_minutes() {
        let batch: StoreMinute = serde_json::from_str(include_str!(
            "../../shared/tests/shared/golden/store-minute.full.json"
        ))
        .unwrap();
        let (mut days, mut tills) = (FiguresByKey::new(), FiguresByKey::new());
        for part in Part::ALL {
            add_batch(&mut days, &batch, part, Grain::Day);
            add_batch(&mut tills, &batch, part, Grain::Till);
        }
        assert_eq!(days.len(), 1);
        let day = days.values().next().unwrap();
        assert_eq!(day.batches, 1);
        assert_eq!(day.movements, i64::try_from(batch.stock.len()).unwrap());
        let mut sum = Figures::default();
        tills.values().for_each(|one| sum.add(one));
        // A batch with several tills is one batch of the day, and one of each till.
        assert_eq!(Figures { batches: day.batches, ..sum }, *day);
    }

    #[test]
    fn a_key_says_where_it_is() {
        let key = Key {
            store: "10".to_owned(),
            day: "2026-11-23".parse().unwrap(),
            minute: Some("2026-11-23T09:41:00Z".parse().unwrap()),
            till: Some("3".to_owned()),
        };
        assert_eq!(key.to_string(), "store 10 day 2026-11-23 minute 2026-11-23T09:41:00Z till 3");
    }
}
