//! POSLog 6 as its schema means it and nothing else: figures absolute, `VoidFlag` on a further line
//! that takes an earlier one back, `CancelFlag` and `DeleteFlag` on a line that never counted. A
//! vendor's own item types are refused.

use super::record::Item;
use super::rules::{Direction, Mark, OwnKind, Rules, absolute, no_own_payment};

pub(super) const RULES: Rules =
    Rules { vendor: "poslog", direction, kind, payment: no_own_payment };

fn direction(mark: &Mark) -> Direction {
    let flags = mark.flags;
    if flags.statistic || (flags.void && (flags.cancel || flags.delete)) {
        return Direction::Unknown;
    }
    if flags.cancel || flags.delete { Direction::Nothing } else { absolute(mark) }
}

/// The schema's list of item types is closed.
fn kind(item: &Item) -> OwnKind {
    match item.item_type.as_deref() {
        None
        | Some(
            "Stock" | "Grade" | "Service" | "Alteration" | "Fee" | "FeeRefund" | "Deposit"
            | "DepositRefund" | "Tare" | "ItemCollection" | "Warranty",
        ) => OwnKind::Standard,
        Some(_) => OwnKind::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::tables::{flagged, holds, mark};
    use super::super::rules::{Part, Standing};
    use super::*;

    #[test]
    fn the_table_of_directions_holds() {
        holds(
            direction,
            &[
                (mark(Part::Sale), Direction::Plus),
                (mark(Part::Return), Direction::Minus),
                (flagged(Part::Sale, "v"), Direction::Minus),
                (flagged(Part::Return, "v"), Direction::Plus),
                (flagged(Part::Sale, "c"), Direction::Nothing),
                (flagged(Part::Sale, "d"), Direction::Nothing),
                (flagged(Part::Sale, "vd"), Direction::Unknown),
                (flagged(Part::Sale, "s"), Direction::Unknown),
                (Mark { quantity: -1, ..mark(Part::Sale) }, Direction::Unknown),
                (Mark { standing: Standing::PostVoided, ..mark(Part::Tender) }, Direction::Minus),
            ],
        );
    }

    #[test]
    fn a_vendors_own_item_type_is_refused() {
        let typed = |word: &str| Item { item_type: Some(word.to_owned()), ..Item::default() };
        assert_eq!(kind(&typed("Tare")), OwnKind::Standard);
        assert_eq!(kind(&typed("RXBag")), OwnKind::Refused);
    }
}
