//! Sets of numbers kept as ranges: receipt numbers of a till, sequences of a stream.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// A set of numbers as closed ranges `[first, last]`, sorted, apart from each other by at least one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Returns the empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a number; returns true where it was not there before.
    pub fn insert(&mut self, number: u64) -> bool {
        let at = self.0.partition_point(|&(_, last)| last < number);
        if self.0.get(at).is_some_and(|&(first, _)| first <= number) {
            return false;
        }
        let joins_left = at > 0 && self.0[at - 1].1.checked_add(1) == Some(number);
        let joins_right =
            number.checked_add(1).is_some_and(|n| self.0.get(at).is_some_and(|r| r.0 == n));
        match (joins_left, joins_right) {
            (true, true) => {
                self.0[at - 1].1 = self.0[at].1;
                self.0.remove(at);
            }
            (true, false) => self.0[at - 1].1 = number,
            (false, true) => self.0[at].0 = number,
            (false, false) => self.0.insert(at, (number, number)),
        }
        true
    }

    /// Adds all numbers from `first` to `last`.
    pub fn insert_range(&mut self, first: u64, last: u64) {
        assert!(first <= last, "a range starts before it ends");
        let from = self.0.partition_point(|&(_, l)| l < first.saturating_sub(1));
        let to = self.0.partition_point(|&(f, _)| f <= last.saturating_add(1));
        let merged =
            self.0[from..to].iter().fold((first, last), |m, r| (m.0.min(r.0), m.1.max(r.1)));
        self.0.splice(from..to, [merged]);
    }

    /// Returns true where the number is in the set.
    pub fn contains(&self, number: u64) -> bool {
        let at = self.0.partition_point(|&(_, last)| last < number);
        self.0.get(at).is_some_and(|&(first, _)| first <= number)
    }

    /// Returns how many numbers the set holds.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// Returns the largest number.
    pub fn last(&self) -> Option<u64> {
        self.0.last().map(|&(_, last)| last)
    }

    /// Returns true where the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the ranges in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }

    /// Returns what is missing between 1 and `last`.
    pub fn missing_up_to(&self, last: u64) -> Vec<(u64, u64)> {
        let mut missing = Vec::new();
        let mut next = 1;
        for (first, end) in self.iter().take_while(|&(first, _)| first <= last) {
            if first > next {
                missing.push((next, first - 1));
            }
            next = end.saturating_add(1);
        }
        if next <= last {
            missing.push((next, last));
        }
        missing
    }
}

impl FromIterator<u64> for Ranges {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        let mut ranges = Self::new();
        for number in numbers {
            ranges.insert(number);
        }
        ranges
    }
}

impl<'de> Deserialize<'de> for Ranges {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut ranges = Self::new();
        let mut previous: Option<u64> = None;
        for (first, last) in Vec::<(u64, u64)>::deserialize(from)? {
            if first > last || previous.is_some_and(|previous| first <= previous) {
                return Err(serde::de::Error::custom(
                    "ranges must be [first, last], sorted, apart",
                ));
            }
            previous = Some(last);
            ranges.insert_range(first, last);
        }
        Ok(ranges)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_hold_what_a_plain_set_holds(
            numbers in prop::collection::vec(0_u64..60, 0..80),
            spans in prop::collection::vec((0_u64..60, 0_u64..8), 0..6),
        ) {
            let mut ranges: Ranges = numbers.iter().copied().collect();
            let mut plain: BTreeSet<u64> = numbers.into_iter().collect();
            for (first, length) in spans {
                ranges.insert_range(first, first + length);
                plain.extend(first..=first + length);
            }
            prop_assert_eq!(ranges.count(), plain.len() as u64);
            prop_assert_eq!(ranges.last(), plain.last().copied());
            for number in 0..70 {
                prop_assert_eq!(ranges.contains(number), plain.contains(&number));
            }
            let missing: Vec<u64> =
                ranges.missing_up_to(65).into_iter().flat_map(|(first, last)| first..=last).collect();
            prop_assert_eq!(missing, (1..=65).filter(|n| !plain.contains(n)).collect::<Vec<_>>());
            let apart = ranges.iter().zip(ranges.iter().skip(1)).all(|(a, b)| a.1 + 1 < b.0);
            prop_assert!(apart);
            let json = serde_json::to_string(&ranges).unwrap();
            prop_assert_eq!(serde_json::from_str::<Ranges>(&json).unwrap(), ranges);
        }
    }

    #[test]
    fn ranges_out_of_order_are_refused() {
        assert!(serde_json::from_str::<Ranges>("[[5,4]]").is_err());
        assert!(serde_json::from_str::<Ranges>("[[5,6],[6,7]]").is_err());
        assert_eq!(serde_json::from_str::<Ranges>("[[1,2],[3,4]]").unwrap().count(), 4);
    }
}
