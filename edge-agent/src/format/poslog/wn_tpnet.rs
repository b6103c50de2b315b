//! Diebold Nixdorf TP.net, POSLog 2.2.1 with the prefix `WN`. Every figure is absolute. A void is a
//! further line with `VoidFlag`, an immediate one has `CancelFlag` too; a line with
//! `WN:StatisticFlag` repeats for the statistics what stands elsewhere and counts nothing. Facts after
//! the vendor's own stylesheet; no file of a shop was ever read.

use shared::words::LineKind;

use super::record::Item;
use super::rules::{Direction, Mark, OwnKind, Rules, absolute, no_own_payment};

pub(super) const RULES: Rules =
    Rules { vendor: "wn-tpnet", direction, kind, payment: no_own_payment };

fn direction(mark: &Mark) -> Direction {
    if mark.flags.statistic {
        return Direction::Nothing;
    }
    // Alone, the flag would say of a line both that it stands and that it never did.
    if mark.flags.delete || (mark.flags.cancel && !mark.flags.void) {
        return Direction::Unknown;
    }
    absolute(mark)
}

/// A negative item is an article with a price below zero, whatever it stands for: no goods.
fn kind(item: &Item) -> OwnKind {
    match item.item_type.as_deref() {
        Some("NegativeItem") => OwnKind::Is(LineKind::Other),
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
                (flagged(Part::Sale, "v"), Direction::Minus),
                (flagged(Part::Sale, "vc"), Direction::Minus),
                (flagged(Part::Return, "v"), Direction::Plus),
                (flagged(Part::Sale, "c"), Direction::Unknown),
                (flagged(Part::Sale, "d"), Direction::Unknown),
                (flagged(Part::Sale, "s"), Direction::Nothing),
                (flagged(Part::Sale, "vcs"), Direction::Nothing),
                (Mark { amount: -1, ..mark(Part::Sale) }, Direction::Unknown),
                (Mark { standing: Standing::PostVoided, ..mark(Part::Sale) }, Direction::Minus),
                (Mark { standing: Standing::PostVoided, ..mark(Part::Change) }, Direction::Plus),
            ],
        );
    }
}
