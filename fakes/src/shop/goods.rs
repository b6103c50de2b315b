//! Goods that move without a customer: deliveries, waste, counts, transfers.

use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use shared::ids::{Label, MovementId};
use shared::money::Milli;
use shared::receipt::StockMovement;
use shared::time::{Minute, Timestamp};
use shared::words::StockKind;

use super::assortment::Assortment;

/// What happens in a minute, how often in a hundred of them, and how many lines it has at most.
const EVENTS: [(StockKind, u32, u32); 5] = [
    (StockKind::Delivery, 8, 12),
    (StockKind::Waste, 12, 2),
    (StockKind::Count, 10, 4),
    (StockKind::TransferIn, 3, 2),
    (StockKind::TransferOut, 3, 2),
];

/// Moves the goods of a minute.
pub(crate) fn movements(
    dice: &mut ChaCha8Rng,
    assortment: &Assortment,
    minute: Minute,
) -> Vec<StockMovement> {
    let mut movements = Vec::new();
    for (kind, in_hundred, lines_max) in EVENTS {
        if dice.random_ratio(in_hundred, 100) {
            let at = moment(dice, minute, &kind);
            for line in 1..=dice.random_range(1..=lines_max) {
                movements.push(movement(dice, assortment, (&kind, at, line)));
            }
        }
    }
    movements.sort_by_key(|movement| movement.occurred_at);
    movements
}

/// Every other count lies on the minute's very start, where the minute before takes effect.
fn moment(dice: &mut ChaCha8Rng, minute: Minute, kind: &StockKind) -> Timestamp {
    if *kind == StockKind::Count && dice.random_ratio(1, 2) {
        return minute.start();
    }
    minute.start().plus(Duration::from_secs(dice.random_range(0..60)))
}

fn movement(
    dice: &mut ChaCha8Rng,
    assortment: &Assortment,
    (kind, at, line): (&StockKind, Timestamp, u32),
) -> StockMovement {
    let item = assortment.pick(dice);
    let most = if *kind == StockKind::Delivery { 96 } else { 6 };
    let magnitude = dice.random_range(1..=most) * 1000;
    let stamp = at.utc().format("%Y%m%dT%H%M%S");
    let id = MovementId::new(&format!("{kind}-{stamp}/{line}"));
    StockMovement {
        id: id.expect("a kind and a time make an id"),
        article: item.article.clone(),
        kind: kind.clone(),
        unit: item.unit.clone(),
        quantity_milli: Milli(magnitude * kind.sign()),
        occurred_at: at,
        order: None,
        counterparty: (*kind == StockKind::Delivery)
            .then(|| Label::new("4012345000009").expect("a number is a label")),
        reason: (*kind == StockKind::Waste).then(|| Label::new("expired").expect("a word")),
        best_before: None,
        lot: None,
    }
}
