//! GK POS Server, POSLog 3 with the prefix `SES`. No file was ever found: what the standard means is
//! read, figures absolute, a void a further line with `VoidFlag`; the vendor's own words are kept as
//! kind `other`, and whatever does not add up is refused.

use super::record::Item;
use super::rules::{Direction, Mark, OwnKind, Rules, absolute, no_own_payment};

pub(super) const RULES: Rules = Rules { vendor: "gk", direction, kind, payment: no_own_payment };

fn direction(mark: &Mark) -> Direction {
    let flags = mark.flags;
    if flags.statistic || (flags.void && (flags.cancel || flags.delete)) {
        return Direction::Unknown;
    }
    if flags.cancel || flags.delete { Direction::Nothing } else { absolute(mark) }
}

fn kind(_: &Item) -> OwnKind {
    OwnKind::Standard
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
                (flagged(Part::Sale, "c"), Direction::Nothing),
                (flagged(Part::Sale, "d"), Direction::Nothing),
                (flagged(Part::Sale, "vc"), Direction::Unknown),
                (flagged(Part::Sale, "s"), Direction::Unknown),
                (Mark { amount: -1, ..mark(Part::Tender) }, Direction::Unknown),
                (Mark { standing: Standing::PostVoided, ..mark(Part::Sale) }, Direction::Minus),
            ],
        );
    }
}
