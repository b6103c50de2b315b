//! Where the places differ. Pure.

use std::collections::BTreeSet;

use serde::Serialize;
use shared::time::BusinessDay;

use crate::figures::{Figures, FiguresByKey, Key};

/// What each place holds.
#[derive(Debug, Default)]
pub(super) struct Sides {
    /// The accepted batches in the topic.
    pub(super) kafka: FiguresByKey,
    /// The views.
    pub(super) postgres: FiguresByKey,
    /// The tables.
    pub(super) lake: FiguresByKey,
    /// Stores' days that the topic no longer holds whole: there it is not compared.
    pub(super) forgotten: BTreeSet<(String, BusinessDay)>,
}

/// One figure at one place that is not the same everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Store, day, and where it could be found minute and till.
    pub place: String,
    /// Which figure.
    pub figure: &'static str,
    /// What the topic says; nothing where it no longer holds the day.
    pub kafka: Option<i64>,
    /// What the views say.
    pub postgres: i64,
    /// What the tables say.
    pub lake: i64,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kafka = self.kafka.map_or_else(|| "no longer there".to_owned(), |n| n.to_string());
        let Self { place, figure, postgres, lake, .. } = self;
        write!(out, "{place}: {figure} kafka {kafka}, postgres {postgres}, lake {lake}")
    }
}

impl Sides {
    /// Returns the keys at which not all places say the same, in order.
    pub(super) fn differing(&self) -> Vec<Key> {
        let keys: BTreeSet<&Key> =
            self.kafka.keys().chain(self.postgres.keys()).chain(self.lake.keys()).collect();
        keys.into_iter().filter(|key| !self.agree(key)).cloned().collect()
    }

    /// Returns every figure that differs at a key.
    pub(super) fn differences(&self, key: &Key) -> Vec<Difference> {
        let (kafka, postgres, lake) =
            (self.kafka(key), at(&self.postgres, key), at(&self.lake, key));
        let kafka = kafka.map(|figures| figures.values());
        let (postgres, lake) = (postgres.values(), lake.values());
        let one = |n: usize| Difference {
            place: key.to_string(),
            figure: Figures::NAMES[n],
            kafka: kafka.map(|values| values[n]),
            postgres: postgres[n],
            lake: lake[n],
        };
        let differs = |found: &Difference| {
            found.postgres != found.lake || found.kafka.is_some_and(|kafka| kafka != found.postgres)
        };
        (0..Figures::NAMES.len()).map(one).filter(differs).collect()
    }

    fn agree(&self, key: &Key) -> bool {
        let postgres = at(&self.postgres, key);
        postgres == at(&self.lake, key) && self.kafka(key).is_none_or(|kafka| kafka == postgres)
    }

    fn kafka(&self, key: &Key) -> Option<Figures> {
        let forgotten = self.forgotten.contains(&(key.store.clone(), key.day));
        (!forgotten).then(|| at(&self.kafka, key))
    }
}

/// Returns the sum over all keys.
pub(super) fn total(figures: &FiguresByKey) -> Figures {
    let mut total = Figures::default();
    figures.values().for_each(|one| total.add(one));
    total
}

fn at(figures: &FiguresByKey, key: &Key) -> Figures {
    figures.get(key).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(store: &str) -> Key {
        Key {
            store: store.to_owned(),
            day: "2026-11-23".parse().unwrap(),
            minute: None,
            till: None,
        }
    }

    fn cents(amount_cents: i64) -> Figures {
        Figures { lines: 1, amount_cents, ..Figures::default() }
    }

    #[test]
    fn a_figure_that_differs_is_told_with_its_place() {
        let mut sides = Sides::default();
        for (store, lake) in [("1", 398), ("2", 397)] {
            sides.kafka.insert(key(store), cents(398));
            sides.postgres.insert(key(store), cents(398));
            sides.lake.insert(key(store), cents(lake));
        }
        assert_eq!(sides.differing(), [key("2")]);
        let told: Vec<String> =
            sides.differences(&key("2")).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            ["store 2 day 2026-11-23: amount_cents kafka 398, postgres 398, lake 397"]
        );
        assert_eq!(total(&sides.lake).amount_cents, 795);
    }

    #[test]
    fn what_is_in_one_place_only_differs() {
        let mut sides = Sides::default();
        sides.lake.insert(key("1"), cents(5));
        assert_eq!(sides.differing(), [key("1")]);
        assert_eq!(sides.differences(&key("1")).len(), 2);
    }

    #[test]
    fn a_day_that_the_topic_forgot_is_compared_between_the_others() {
        let mut sides = Sides::default();
        sides.postgres.insert(key("1"), cents(5));
        sides.lake.insert(key("1"), cents(5));
        sides.forgotten.insert(("1".to_owned(), key("1").day));
        assert_eq!(sides.differing(), []);
        sides.lake.insert(key("1"), cents(6));
        let [only] = sides.differences(&key("1")).try_into().unwrap();
        assert_eq!((only.kafka, only.postgres, only.lake), (None, 5, 6));
    }
}
