//! Receipts that a store's tills have delivered, in any stream: a receipt counts once. Only receipts
//! that count are in it. A number without sale may come again as a receipt, because what was parked
//! under it is finished under it; a correction is no receipt.

use std::collections::{BTreeMap, BTreeSet};

use shared::ids::{ReceiptNumber, Series, TillId};
use shared::minute::StoreMinute;
use shared::ranges::Ranges;

/// The part of them that a batch could double.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivered {
    numbers: BTreeMap<(TillId, Series), Vec<Ranges>>,
    ids: BTreeSet<(TillId, Series, ReceiptNumber)>,
}

/// Receipts that came before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubled {
    /// Which element of `tills`.
    pub till: usize,
    /// Which list of it.
    pub list: &'static str,
    /// The first of them, as a text.
    pub first: String,
}

impl Delivered {
    /// Adds numbers.
    pub fn add_numbers(&mut self, till: TillId, series: Series, numbers: Ranges) {
        if !numbers.is_empty() {
            self.numbers.entry((till, series)).or_default().push(numbers);
        }
    }

    /// Adds a receipt that has no number.
    pub fn add_id(&mut self, till: TillId, series: Series, id: ReceiptNumber) {
        self.ids.insert((till, series, id));
    }

    /// Adds all receipts of a batch that counts.
    pub fn add(&mut self, batch: &StoreMinute) {
        for till in &batch.tills {
            let (name, series) = (&till.till, &till.series);
            self.add_numbers(name.clone(), series.clone(), till.receipts.clone());
            for id in &till.receipt_ids {
                self.add_id(name.clone(), series.clone(), id.clone());
            }
        }
    }

    /// Returns what a batch would double, at most one entry for each list of a till.
    pub fn doubled(&self, batch: &StoreMinute) -> Vec<Doubled> {
        let mut found = Vec::new();
        for (n, till) in batch.tills.iter().enumerate() {
            let place = (till.till.clone(), till.series.clone());
            let known = self.numbers.get(&place).into_iter().flatten();
            let first = known.filter_map(|known| first_common(known, &till.receipts)).min();
            let number =
                first.map(|first| Doubled { till: n, list: "receipts", first: first.to_string() });
            let (name, series) = place;
            let id = till.receipt_ids.iter().find(|id| {
                // A set of triples is asked by a triple; most stores have no such ids at all.
                !self.ids.is_empty()
                    && self.ids.contains(&(name.clone(), series.clone(), (*id).clone()))
            });
            let id =
                id.map(|id| Doubled { till: n, list: "receipt_ids", first: id.as_str().into() });
            found.extend(number.into_iter().chain(id));
        }
        found
    }
}

/// Returns the smallest number of both sets; walks each of them once.
fn first_common(one: &Ranges, other: &Ranges) -> Option<u64> {
    let (mut left, mut right) = (one.iter().peekable(), other.iter().peekable());
    while let (Some(&(a, b)), Some(&(c, d))) = (left.peek(), right.peek()) {
        if a <= d && c <= b {
            return Some(a.max(c));
        }
        if b < c {
            left.next();
        } else {
            right.next();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::validate::rules::tests::batch;

    #[test]
    fn a_receipt_is_doubled_within_its_till_and_series_only() {
        let mut delivered = Delivered::default();
        assert_eq!(delivered.doubled(&batch()), []);
        delivered.add(&batch());
        let found = delivered.doubled(&batch());
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((found[0].list, &*found[0].first), ("receipts", "933"));
        assert_eq!((found[1].list, &*found[1].first), ("receipt_ids", "A-1"));
        for (till, series) in [("4", "2026-11-23"), ("3", "2026-11-23/2")] {
            let mut other = batch();
            other.tills[0].till = till.parse().unwrap();
            other.tills[0].series = series.parse().unwrap();
            assert_eq!(delivered.doubled(&other), []);
        }
    }

    #[test]
    fn a_parked_number_may_be_finished_and_a_supplement_brings_others() {
        let mut delivered = Delivered::default();
        delivered.add(&batch());
        let mut finished = batch();
        finished.tills[0].receipts = [937].into_iter().collect();
        finished.tills[0].receipt_ids = vec!["A-2".parse().unwrap()];
        assert_eq!(delivered.doubled(&finished), []);
        finished.tills[0].receipts = [936, 937].into_iter().collect();
        assert_eq!(delivered.doubled(&finished)[0].first, "936");
    }

    proptest! {
        #[test]
        fn the_first_common_number_is_that_of_plain_sets(
            one in prop::collection::btree_set(0_u64..40, 0..20),
            other in prop::collection::btree_set(0_u64..40, 0..20),
        ) {
            let plain = one.intersection(&other).next().copied();
            let [one, other] = [one, other].map(|set| set.into_iter().collect::<Ranges>());
            prop_assert_eq!(first_common(&one, &other), plain);
        }
    }
}
