//! Has this receipt number been counted? Pure. A till numbers its receipts within a series; where
//! the counter falls back while time goes on, a new spell of the series begins.

use shared::ranges::Ranges;
use shared::time::Timestamp;

/// The numbers between two resets of a till's counter within a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spell {
    /// 1 for the first.
    pub(super) spell: u32,
    /// Numbers seen.
    pub(super) ranges: Ranges,
    /// The number of the receipt that ended last.
    pub(super) last_number: u64,
    /// When the first receipt ended.
    pub(super) first_at: Timestamp,
    /// When the last receipt ended.
    pub(super) last_at: Timestamp,
}

/// How the content of a receipt compares with what was counted under its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// The same.
    Same,
    /// Something else.
    Other,
    /// The hash is past its horizon.
    Forgotten,
}

/// What a receipt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// New, in this spell.
    New(u32),
    /// A second copy.
    Duplicate,
    /// Another receipt under the same number.
    Conflict,
}

impl Spell {
    /// Begins a spell with its first receipt.
    pub(super) fn begin(spell: u32, number: u64, at: Timestamp) -> Self {
        let ranges = Ranges::from_iter([number]);
        Self { spell, ranges, last_number: number, first_at: at, last_at: at }
    }

    /// Adds a receipt.
    pub(super) fn add(&mut self, number: u64, at: Timestamp) {
        let fresh = self.ranges.insert(number);
        assert!(fresh, "a number counts once in its spell");
        self.first_at = self.first_at.min(at);
        if at >= self.last_at {
            (self.last_number, self.last_at) = (number, at);
        }
    }

    fn falls_back(&self, number: u64, at: Timestamp) -> bool {
        number < self.last_number && at > self.last_at
    }
}

/// Tells what a receipt is. `spells` are those of its till and series in order; `compare` tells how
/// its content compares with what was counted under its number in a spell.
pub(super) fn standing(
    spells: &[Spell],
    number: u64,
    at: Timestamp,
    mut compare: impl FnMut(u32) -> Content,
) -> Standing {
    let Some(latest) = spells.last() else { return Standing::New(1) };
    let found: Vec<(u32, Content)> = spells
        .iter()
        .filter(|spell| spell.ranges.contains(number))
        .map(|spell| (spell.spell, compare(spell.spell)))
        .collect();
    if found.iter().any(|&(_, content)| content == Content::Same) {
        return Standing::Duplicate;
    }
    let own = spells.iter().rev().find(|spell| spell.first_at <= at).unwrap_or(&spells[0]);
    match found.iter().find(|&&(spell, _)| spell == own.spell) {
        None => Standing::New(own.spell),
        Some(_) if latest.falls_back(number, at) => Standing::New(latest.spell + 1),
        Some((_, Content::Forgotten)) => Standing::Duplicate,
        Some((_, Content::Other | Content::Same)) => Standing::Conflict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u32) -> Timestamp {
        format!("2026-11-23T09:41:{second:02}Z").parse().unwrap()
    }

    fn counted(receipts: &[(u64, u32)]) -> Vec<Spell> {
        let mut spell = Spell::begin(1, receipts[0].0, at(receipts[0].1));
        receipts[1..].iter().for_each(|&(number, second)| spell.add(number, at(second)));
        vec![spell]
    }

    #[test]
    fn a_number_counts_once_whatever_its_order() {
        let spells = counted(&[(5, 1), (7, 3)]);
        let never = |_| panic!("nothing to compare with");
        assert_eq!(standing(&[], 5, at(1), never), Standing::New(1));
        assert_eq!(standing(&spells, 6, at(2), never), Standing::New(1));
        assert_eq!(standing(&spells, 4, at(0), never), Standing::New(1));
        assert_eq!(standing(&spells, 5, at(1), |_| Content::Same), Standing::Duplicate);
        assert_eq!(standing(&spells, 5, at(1), |_| Content::Forgotten), Standing::Duplicate);
        assert_eq!(standing(&spells, 5, at(1), |_| Content::Other), Standing::Conflict);
        assert_eq!(standing(&spells, 7, at(9), |_| Content::Other), Standing::Conflict);
    }

    #[test]
    fn numbers_that_fall_while_times_rise_begin_a_new_spell() {
        let mut spells = counted(&[(5, 1), (7, 3)]);
        for content in [Content::Other, Content::Forgotten] {
            assert_eq!(standing(&spells, 5, at(9), |_| content), Standing::New(2));
        }
        spells.push(Spell::begin(2, 5, at(9)));
        let never = |_| panic!("nothing to compare with");
        assert_eq!(standing(&spells, 6, at(10), never), Standing::New(2));
        assert_eq!(standing(&spells, 6, at(2), never), Standing::New(1));
        let of_second = |spell| if spell == 2 { Content::Same } else { Content::Other };
        assert_eq!(standing(&spells, 5, at(9), of_second), Standing::Duplicate);
        assert_eq!(standing(&spells, 7, at(11), |_| Content::Other), Standing::New(2));
    }
}
