//! Stock on hand against a model that is as plain as the rule: the last count, and everything
//! strictly later than it, whatever order it came in.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shared::ids::Sequence;
use shared::minute::StoreMinute;
use shared::time::Timestamp;
use shared::words::{StockEffect, StockKind};

use crate::ingest_world::{Running, World};

/// On hand, and the last count, by article and unit.
type OnHand = BTreeMap<(String, String), (i64, Option<i64>)>;

#[tokio::test(flavor = "multi_thread")]
async fn stock_is_the_last_count_and_what_is_later_whatever_comes_late() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let world = World::new("stock").await;
    let mut batches: Vec<StoreMinute> =
        (1..=40).map(|sequence| random_batch(&world, sequence, &mut chance)).collect();
    batches.shuffle(&mut chance);
    let running = Running::start(&world.config);
    // In parts, so that late counts meet stock that is there already.
    for (n, part) in batches.chunks(8).enumerate() {
        for batch in part {
            world.send(batch).await;
        }
        world.until_judged((n as i64 + 1) * 8).await;
        assert_eq!(on_hand(&world).await, model(&batches[..(n + 1) * 8]), "seed {seed}, part {n}");
    }
    assert_eq!(world.verdicts().await, "accepted 40");
    running.stop().await;
}

fn random_batch(world: &World, sequence: u64, chance: &mut ChaCha8Rng) -> StoreMinute {
    let mut batch = world.batch("10", 1);
    batch.sequence = Sequence::new(sequence).unwrap();
    batch.losses.clear();
    batch.minute = world.base.plus(Duration::from_secs(60 * chance.random_range(0..6))).minute();
    let row = batch.sales[0].clone();
    batch.sales.clear();
    batch.tills.clear();
    for _ in 0..chance.random_range(0..3) {
        let mut sale = row.clone();
        sale.article = article(chance);
        sale.void = false;
        let (kind, quantity, restock, seller) = [
            ("sale", 1_000, None, None),
            ("sale", 1_000, None, Some("lottery")),
            ("return", -1_000, Some(true), None),
            ("return", -1_000, Some(false), None),
            ("deposit", 1_000, None, None),
        ][chance.random_range(0..5)];
        sale.kind = shared::words::LineKind::new(kind).unwrap();
        sale.quantity_milli.0 = quantity * chance.random_range(1..9);
        sale.restock = restock;
        sale.seller = seller.map(|seller| seller.parse().unwrap());
        sale.amount_cents.0 = 0;
        sale.adjustment_share_cents.0 = 0;
        batch.sales.push(sale);
    }
    if !batch.sales.is_empty() {
        batch.tills = serde_json::from_value(serde_json::json!([{
            "till": row.till, "series": "s", "channel": "till", "receipts": [[sequence, sequence]],
            "receipt_count": 1, "lines_cents": 0, "tax_added_cents": 0, "adjustment_cents": 0,
            "total_cents": 0}]))
        .unwrap();
    }
    let model = batch.stock[0].clone();
    batch.stock.clear();
    for line in 0..chance.random_range(0..4) {
        let mut movement = model.clone();
        movement.id =
            format!("M{}-{sequence}/{line}", chance.random_range(0..1_000)).parse().unwrap();
        movement.article = article(chance);
        let words = ["count", "count", "delivery", "waste", "announced", "correction", "new_word"];
        movement.kind = StockKind::new(words[chance.random_range(0..words.len())]).unwrap();
        let quantity = 500 * chance.random_range(1..20);
        movement.quantity_milli.0 = if movement.kind.sign() < 0 { -quantity } else { quantity };
        // Few instants, so that counts meet changes and each other at the same one.
        let later = Duration::from_secs(30 * chance.random_range(0..14));
        movement.occurred_at = world.base.plus(later);
        batch.stock.push(movement);
    }
    batch
}

fn article(chance: &mut ChaCha8Rng) -> shared::ids::Article {
    let articles = ["04012345678901", "own:x:1", "plu:4011"];
    articles[chance.random_range(0..articles.len())].parse().unwrap()
}

fn model(batches: &[StoreMinute]) -> OnHand {
    let mut counts: BTreeMap<(String, String), (Timestamp, String, i64)> = BTreeMap::new();
    let mut changes: Vec<((String, String), Timestamp, i64)> = Vec::new();
    for batch in batches {
        for sale in batch.sales.iter().filter(|sale| sale.moves_stock()) {
            let key = (sale.article.to_string(), sale.unit.to_string());
            changes.push((key, batch.minute.end(), -sale.quantity_milli.0));
        }
        for movement in &batch.stock {
            let key = (movement.article.to_string(), movement.unit.to_string());
            match movement.kind.effect() {
                StockEffect::None => {}
                StockEffect::Change => {
                    changes.push((key, movement.occurred_at, movement.quantity_milli.0));
                }
                StockEffect::Count => {
                    let count =
                        (movement.occurred_at, movement.id.to_string(), movement.quantity_milli.0);
                    let last = counts.entry(key).or_insert_with(|| count.clone());
                    if (&count.0, &count.1) > (&last.0, &last.1) {
                        *last = count;
                    }
                }
            }
        }
    }
    let mut on_hand: OnHand = BTreeMap::new();
    for (key, (_, _, counted)) in &counts {
        on_hand.insert(key.clone(), (*counted, Some(*counted)));
    }
    for (key, at, change) in changes {
        let counted = counts.get(&key);
        let entry = on_hand.entry(key).or_default();
        if counted.is_none_or(|(counted_at, ..)| at > *counted_at) {
            entry.0 += change;
        }
    }
    on_hand
}

async fn on_hand(world: &World) -> OnHand {
    let sql = "SELECT article, unit, on_hand_milli, counted_milli FROM v1.stock";
    let rows = world.sql.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| ((row.get(0), row.get(1)), (row.get(2), row.get(3)))).collect()
}
