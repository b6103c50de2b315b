//! JSON Lines: canonical receipts and movements as they stand.

use serde::Serialize;
use shared::receipt::{Receipt, StockMovement};

/// Tells a movement from a receipt.
#[derive(Serialize)]
struct Wrapped<'a> {
    movement: &'a StockMovement,
}

pub(super) fn file(receipts: &[Receipt]) -> Vec<u8> {
    lines(receipts.iter())
}

pub(super) fn stock_file(movements: &[StockMovement]) -> Vec<u8> {
    lines(movements.iter().map(|movement| Wrapped { movement }))
}

fn lines<T: Serialize>(values: impl Iterator<Item = T>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in values {
        bytes.extend(shared::wire::encode(&value));
        bytes.push(b'\n');
    }
    bytes
}
