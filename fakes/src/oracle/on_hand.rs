//! Stock on hand by a rule of its own: the last count, and what changed strictly later. Pure.
//!
//! A movement takes effect at its instant, the sales of a minute at the minute's end. Of two counts
//! at one instant the one with the larger id holds. An article that was never counted starts at 0.

use std::collections::BTreeMap;

use super::holdings::{Holdings, MovementKey, Name, Side, Stock, StockKey};

/// Microseconds of a minute.
const MINUTE: i64 = 60_000_000;

/// A count: when, under which id, and what was there. The later one is the larger one.
type Count = (i64, Name, i128);

/// Works out what a side's sales and movements leave on hand, and writes it down as its word.
pub(super) fn work_out(holdings: &mut Holdings, side: Side) {
    let counts = last_counts(holdings, side);
    let mut stock: BTreeMap<StockKey, i128> = BTreeMap::new();
    for (key, count) in &counts {
        stock.insert(key.clone(), count.2);
    }
    for (key, at, change) in changes(holdings, side) {
        let counted = counts.get(&key).map(|count| count.0);
        let on_hand = stock.entry(key).or_default();
        if counted.is_none_or(|counted| at > counted) {
            *on_hand += change;
        }
    }
    for (key, milli) in stock {
        holdings.set_on_hand(side, key, milli);
    }
}

fn last_counts(holdings: &Holdings, side: Side) -> BTreeMap<StockKey, Count> {
    let mut counts: BTreeMap<StockKey, Count> = BTreeMap::new();
    for (key, sides) in &holdings.movements {
        let sums = sides[side.index()];
        if &*key.kind == "count" && sums.movements > 0 {
            let count = (key.at, key.id.clone(), sums.quantity_milli);
            let last = counts.entry(article_of(key)).or_insert_with(|| count.clone());
            if *last < count {
                *last = count;
            }
        }
    }
    counts
}

fn changes(holdings: &Holdings, side: Side) -> Vec<(StockKey, i64, i128)> {
    let moved = holdings.movements.iter().filter(|(key, _)| changes_stock(&key.kind));
    let moved = moved.map(|(key, sides)| {
        let sums = sides[side.index()];
        (article_of(key), key.at, sums.quantity_milli, sums.movements)
    });
    let sold = holdings.rows.iter().filter(|(key, _)| key.stock == Stock::Moves);
    let sold = sold.map(|(key, sides)| {
        let sums = sides[side.index()];
        let article = StockKey {
            store: key.at.store.clone(),
            article: key.article.clone(),
            unit: key.unit.clone(),
        };
        (article, (key.at.minute * MINUTE) + MINUTE, -sums.quantity_milli, sums.lines)
    });
    let there = moved.chain(sold).filter(|change| change.3 > 0);
    there.map(|(key, at, change, _)| (key, at, change)).collect()
}

fn article_of(key: &MovementKey) -> StockKey {
    StockKey { store: key.store.clone(), article: key.article.clone(), unit: key.unit.clone() }
}

/// An announcement moves nothing, nor does a word that nobody knows yet; a count is no change.
fn changes_stock(kind: &str) -> bool {
    const CHANGES: [&str; 11] = [
        "delivery",
        "waste",
        "transfer_in",
        "transfer_out",
        "own_use",
        "supplier_return",
        "produced",
        "consumed",
        "blocked",
        "sale_other",
        "correction",
    ];
    CHANGES.contains(&kind)
}
