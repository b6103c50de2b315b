//! Visma Retail (Extenda), POSLog 6 with the prefix `VRExt`. Figures are absolute, `CancelFlag` stands
//! on every line: where it is true the line was taken off before it counted. No file shows a line
//! with `VoidFlag`, so such a flag is not explained.

use shared::words::LineKind;

use super::record::Item;
use super::rules::{Direction, Mark, OwnKind, Rules, absolute, no_own_payment};

pub(super) const RULES: Rules = Rules { vendor: "visma", direction, kind, payment: no_own_payment };

fn direction(mark: &Mark) -> Direction {
    let flags = mark.flags;
    if flags.void || flags.delete || flags.statistic {
        return Direction::Unknown;
    }
    if flags.cancel { Direction::Nothing } else { absolute(mark) }
}

/// A carrier bag has an item type of its own and is sold like any goods.
fn kind(item: &Item) -> OwnKind {
    match item.item_type.as_deref() {
        Some("RXBag") if item.returned => OwnKind::Is(LineKind::Return),
        Some("RXBag") => OwnKind::Is(LineKind::Sale),
        None | Some(_) => OwnKind::Standard,
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
                (flagged(Part::Sale, "c"), Direction::Nothing),
                (flagged(Part::Tender, "c"), Direction::Nothing),
                (flagged(Part::Sale, "v"), Direction::Unknown),
                (flagged(Part::Sale, "vc"), Direction::Unknown),
                (flagged(Part::Sale, "d"), Direction::Unknown),
                (Mark { quantity: -1, ..mark(Part::Sale) }, Direction::Unknown),
                (Mark { standing: Standing::PostVoided, ..mark(Part::Return) }, Direction::Plus),
            ],
        );
    }
}
