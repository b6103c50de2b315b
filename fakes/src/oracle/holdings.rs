//! What truth, database and warehouse hold, side by side under the same keys. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use shared::ids::StoreId;

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// What was issued.
    Truth,
    /// The database.
    Postgres,
    /// The warehouse.
    Lake,
}

impl Side {
    /// All sides.
    pub const ALL: [Self; 3] = [Self::Truth, Self::Postgres, Self::Lake];

    /// Returns the name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Truth => "truth",
            Self::Postgres => "Postgres",
            Self::Lake => "lake",
        }
    }

    pub(super) fn index(self) -> usize {
        match self {
            Self::Truth => 0,
            Self::Postgres => 1,
            Self::Lake => 2,
        }
    }
}

/// A text that many keys share.
pub(super) type Name = Arc<str>;

/// Every text once: keys come by the million, their texts by the thousand.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<Name>);

impl Names {
    pub(super) fn get(&mut self, text: &str) -> Name {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let name: Name = text.into();
        self.0.insert(name.clone());
        name
    }
}

/// A till's minute within a business day; days and minutes count from 1970.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TillKey {
    pub(super) store: Name,
    pub(super) day: i32,
    pub(super) minute: i64,
    pub(super) till: Name,
}

/// What a till's minute sums up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct TillSums {
    pub(super) receipts: i128,
    pub(super) lines_cents: i128,
    pub(super) tax_added_cents: i128,
    pub(super) adjustment_cents: i128,
    pub(super) total_cents: i128,
    /// The same adjustments, as the rows of the articles carry them.
    pub(super) adjustment_share_cents: i128,
}

/// Lines alike of a till's minute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowKey {
    pub(super) at: TillKey,
    pub(super) article: Name,
    pub(super) kind: Name,
    pub(super) unit: Name,
    pub(super) void: Void,
    pub(super) stock: Stock,
}

/// Whether lines take back others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Void {
    No,
    Yes,
}

/// Whether lines move stock of the store's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stock {
    Stays,
    Moves,
}

/// What lines alike sum up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct RowSums {
    pub(super) lines: i128,
    pub(super) quantity_milli: i128,
    pub(super) amount_cents: i128,
    pub(super) discount_cents: i128,
}

/// A movement with everything that must arrive unchanged; its instant in microseconds from 1970.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MovementKey {
    pub(super) store: Name,
    pub(super) at: i64,
    pub(super) id: Name,
    pub(super) article: Name,
    pub(super) kind: Name,
    pub(super) unit: Name,
}

/// How often a movement is there, and its quantity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct MovementSums {
    pub(super) movements: i128,
    pub(super) quantity_milli: i128,
}

/// An article's stock in a store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StockKey {
    pub(super) store: Name,
    pub(super) article: Name,
    pub(super) unit: Name,
}

/// What is on hand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct OnHand {
    pub(super) on_hand_milli: i128,
}

/// What each side says under one key.
pub(super) type Sides<V> = [V; 3];

/// Everything that the sides hold of some stores.
#[derive(Debug)]
pub(super) struct Holdings {
    names: Names,
    stores: BTreeSet<String>,
    pub(super) tills: BTreeMap<TillKey, Sides<TillSums>>,
    pub(super) rows: BTreeMap<RowKey, Sides<RowSums>>,
    pub(super) movements: BTreeMap<MovementKey, Sides<MovementSums>>,
    pub(super) stock: BTreeMap<StockKey, Sides<OnHand>>,
}

impl Holdings {
    pub(super) fn new(stores: &BTreeSet<StoreId>) -> Self {
        Self {
            names: Names::default(),
            stores: stores.iter().map(StoreId::to_string).collect(),
            tills: BTreeMap::new(),
            rows: BTreeMap::new(),
            movements: BTreeMap::new(),
            stock: BTreeMap::new(),
        }
    }

    /// Returns the stores that are compared now.
    pub(super) fn stores(&self) -> impl Iterator<Item = &str> {
        self.stores.iter().map(String::as_str)
    }

    /// Returns true where a store is compared now.
    pub(super) fn compares(&self, store: &str) -> bool {
        self.stores.contains(store)
    }

    /// Has the truth say of lines what another side does, in stores whose tills cannot say them as they
    /// were rung up. It keeps its own receipts, totals and movements.
    pub(super) fn leave_lines_to(&mut self, side: Side, stores: &BTreeSet<String>) {
        let (truth, other) = (Side::Truth.index(), side.index());
        for (key, said) in &mut self.tills {
            if stores.contains(&*key.store) {
                let TillSums { receipts, total_cents, .. } = said[truth];
                said[truth] = TillSums { receipts, total_cents, ..said[other] };
            }
        }
        for (key, said) in &mut self.rows {
            if stores.contains(&*key.at.store) {
                said[truth] = said[other];
            }
        }
    }

    /// Adds what a side says of a till's minute.
    pub(super) fn add_till(&mut self, side: Side, fact: &TillFact<'_>) {
        let key = self.till_key(&fact.place);
        let sums = &mut self.tills.entry(key).or_default()[side.index()];
        sums.receipts += fact.sums.receipts;
        sums.lines_cents += fact.sums.lines_cents;
        sums.tax_added_cents += fact.sums.tax_added_cents;
        sums.adjustment_cents += fact.sums.adjustment_cents;
        sums.total_cents += fact.sums.total_cents;
        sums.adjustment_share_cents += fact.sums.adjustment_share_cents;
    }

    /// Adds what a side says of lines alike.
    pub(super) fn add_row(&mut self, side: Side, fact: &RowFact<'_>) {
        let key = RowKey {
            at: self.till_key(&fact.place),
            article: self.names.get(fact.article),
            kind: self.names.get(fact.kind),
            unit: self.names.get(fact.unit),
            void: if fact.void { Void::Yes } else { Void::No },
            stock: stock_of(fact),
        };
        let sums = &mut self.rows.entry(key).or_default()[side.index()];
        sums.lines += fact.sums.lines;
        sums.quantity_milli += fact.sums.quantity_milli;
        sums.amount_cents += fact.sums.amount_cents;
        sums.discount_cents += fact.sums.discount_cents;
    }

    /// Adds what a side says of a movement of stock.
    pub(super) fn add_movement(&mut self, side: Side, fact: &MovementFact<'_>) {
        let key = MovementKey {
            store: self.names.get(fact.store),
            at: fact.at,
            id: self.names.get(fact.id),
            article: self.names.get(fact.article),
            kind: self.names.get(fact.kind),
            unit: self.names.get(fact.unit),
        };
        let sums = &mut self.movements.entry(key).or_default()[side.index()];
        sums.movements += fact.sums.movements;
        sums.quantity_milli += fact.sums.quantity_milli;
    }

    /// Notes what a side says is on hand.
    pub(super) fn set_on_hand(&mut self, side: Side, key: StockKey, milli: i128) {
        self.stock.entry(key).or_default()[side.index()] = OnHand { on_hand_milli: milli };
    }

    /// Makes the key of an article's stock.
    pub(super) fn stock_key(&mut self, store: &str, article: &str, unit: &str) -> StockKey {
        let names = &mut self.names;
        StockKey { store: names.get(store), article: names.get(article), unit: names.get(unit) }
    }

    fn till_key(&mut self, place: &Place<'_>) -> TillKey {
        TillKey {
            store: self.names.get(place.store),
            day: place.day,
            minute: place.minute,
            till: self.names.get(place.till),
        }
    }
}

/// Where and when: a till's minute.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) store: &'a str,
    pub(super) day: i32,
    pub(super) minute: i64,
    pub(super) till: &'a str,
}

/// What a side says of a till's minute.
#[derive(Debug)]
pub(super) struct TillFact<'a> {
    pub(super) place: Place<'a>,
    pub(super) sums: TillSums,
}

/// What a side says of lines alike.
#[derive(Debug)]
pub(super) struct RowFact<'a> {
    pub(super) place: Place<'a>,
    pub(super) article: &'a str,
    pub(super) kind: &'a str,
    pub(super) unit: &'a str,
    pub(super) void: bool,
    pub(super) seller: Option<&'a str>,
    pub(super) restock: Option<bool>,
    pub(super) sums: RowSums,
}

/// What a side says of a movement of stock.
#[derive(Debug)]
pub(super) struct MovementFact<'a> {
    pub(super) store: &'a str,
    pub(super) at: i64,
    pub(super) id: &'a str,
    pub(super) article: &'a str,
    pub(super) kind: &'a str,
    pub(super) unit: &'a str,
    pub(super) sums: MovementSums,
}

/// Only goods sold or taken back move stock, only our own, and what is thrown away comes back to no
/// shelf.
fn stock_of(fact: &RowFact<'_>) -> Stock {
    match (fact.kind, fact.seller, fact.restock) {
        ("sale", None, _) | ("return", None, None | Some(true)) => Stock::Moves,
        (_, _, _) => Stock::Stays,
    }
}
