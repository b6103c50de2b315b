//! ROQQIO (Futura), POSLog 6 with the prefix `fu`. The quantity is signed and decides the direction,
//! amounts are absolute; `fu:SalesMode` must agree with it. Voided lines are absent, so a flag on a
//! line is not explained. Amounts have three decimals.

use shared::words::LineKind;

use super::record::Item;
use super::rules::{
    Direction, Mark, Mode, OwnKind, Part, Rules, Standing, absolute, no_own_payment,
};

pub(super) const RULES: Rules =
    Rules { vendor: "roqqio", direction, kind, payment: no_own_payment };

fn direction(mark: &Mark) -> Direction {
    let flags = mark.flags;
    if flags.void || flags.cancel || flags.delete || flags.statistic {
        return Direction::Unknown;
    }
    match mark.part {
        Part::Sale => goods(mark),
        // Empties give money back by their item type, whatever the mode says.
        Part::Return if mark.quantity == -1 => goods(&Mark { mode: Mode::Unsaid, ..*mark }),
        Part::Return => Direction::Unknown,
        Part::Tender | Part::Refund | Part::Change | Part::Discount | Part::Signed => {
            absolute(mark)
        }
    }
}

fn goods(mark: &Mark) -> Direction {
    let direction = match (mark.mode, mark.quantity) {
        (Mode::Normal | Mode::Unsaid, 0 | 1) => Direction::Plus,
        (Mode::Return | Mode::Unsaid, -1) => Direction::Minus,
        (Mode::Normal | Mode::Return | Mode::Unsaid | Mode::Unknown, _) => Direction::Unknown,
    };
    match (mark.amount, mark.standing) {
        (-1, _) => Direction::Unknown,
        (_, Standing::Own) => direction,
        (_, Standing::PostVoided) => direction.reversed(),
    }
}

fn kind(item: &Item) -> OwnKind {
    match item.line_type.as_deref() {
        None | Some("ITEM_SALE") => OwnKind::Standard,
        Some("VOUCHER_SALE") => OwnKind::Is(LineKind::VoucherSale),
        Some(_) => OwnKind::Is(LineKind::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::tables::{flagged, holds, mark};
    use super::*;

    #[test]
    fn the_table_of_directions_holds() {
        let sale = |mode, quantity| Mark { mode, quantity, ..mark(Part::Sale) };
        holds(
            direction,
            &[
                (sale(Mode::Normal, 1), Direction::Plus),
                (sale(Mode::Unsaid, 1), Direction::Plus),
                (sale(Mode::Return, -1), Direction::Minus),
                (sale(Mode::Unsaid, -1), Direction::Minus),
                (sale(Mode::Normal, -1), Direction::Unknown),
                (sale(Mode::Return, 1), Direction::Unknown),
                (sale(Mode::Unknown, 1), Direction::Unknown),
                (Mark { amount: -1, ..sale(Mode::Return, -1) }, Direction::Unknown),
                (
                    Mark { standing: Standing::PostVoided, ..sale(Mode::Normal, 1) },
                    Direction::Minus,
                ),
                (
                    Mark { standing: Standing::PostVoided, ..sale(Mode::Return, -1) },
                    Direction::Plus,
                ),
                (mark(Part::Return), Direction::Unknown),
                (Mark { quantity: -1, ..mark(Part::Return) }, Direction::Minus),
                (flagged(Part::Sale, "v"), Direction::Unknown),
                (flagged(Part::Sale, "c"), Direction::Unknown),
                (mark(Part::Refund), Direction::Minus),
                (mark(Part::Change), Direction::Minus),
            ],
        );
    }
}
