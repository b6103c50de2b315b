//! Which line of a receipt takes back which, for tills that write no further line for it.

use shared::receipt::Line;

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stands.
    Stands,
    /// A later line takes it back.
    TakenBack,
    /// It takes back an earlier line.
    TakesBack {
        /// True where it is the line right before.
        at_once: bool,
    },
}

/// Pairs each voiding line with the latest line that it reverses exactly.
pub(super) fn fates(lines: &[Line]) -> Vec<Fate> {
    let mut fates = vec![Fate::Stands; lines.len()];
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.void) {
        let reversed = |earlier: &usize| {
            let other = &lines[*earlier];
            fates[*earlier] == Fate::Stands && !other.void && reverses(line, other)
        };
        let earlier = (0..at).rev().find(reversed);
        if let Some(earlier) = earlier {
            fates[earlier] = Fate::TakenBack;
            fates[at] = Fate::TakesBack { at_once: earlier + 1 == at };
        }
    }
    fates
}

fn reverses(void: &Line, other: &Line) -> bool {
    void.article == other.article
        && void.kind == other.kind
        && void.quantity_milli == -other.quantity_milli
        && void.amount_cents == -other.amount_cents
        && void.discount_cents == -other.discount_cents
}
