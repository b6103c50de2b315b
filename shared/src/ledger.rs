//! What became of every sequence of one stream: accepted, set aside, abandoned or missing. Pure.
//!
//! The centre keeps the same facts in its database; this type holds the rules. A sequence that was
//! accepted stays accepted. One that was set aside by a dead letter becomes fresh again when the
//! letter is replayed. Everything between 1 and the highest sequence seen that is none of these is
//! missing: a gap, which is recorded and waited for by nobody.

use std::collections::BTreeMap;

use crate::ids::Sequence;
use crate::ranges::Ranges;

/// A dead letter's number.
pub type DeadLetterId = i64;

/// What the ledger knows of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not seen.
    Missing,
    /// Counted.
    Accepted,
    /// Refused and kept as this dead letter.
    SetAside(DeadLetterId),
    /// Given up by the agent, which said so.
    Abandoned,
}

/// What a further record with a sequence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// To be judged by its content.
    Fresh,
    /// The same bytes again: counts nothing.
    Duplicate,
    /// Other bytes under a sequence that was counted: a restored or cloned buffer.
    Reused,
}

/// The ledger of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamLedger {
    accepted: Ranges,
    set_aside: BTreeMap<u64, DeadLetterId>,
    abandoned: Ranges,
}

impl StreamLedger {
    /// Returns a ledger that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells what became of a sequence.
    pub fn standing(&self, sequence: Sequence) -> Standing {
        let number = sequence.get();
        if self.accepted.contains(number) {
            Standing::Accepted
        } else if let Some(&letter) = self.set_aside.get(&number) {
            Standing::SetAside(letter)
        } else if self.abandoned.contains(number) {
            Standing::Abandoned
        } else {
            Standing::Missing
        }
    }

    /// Notes that a sequence counts. Only one that is missing or set aside can be accepted.
    pub fn accept(&mut self, sequence: Sequence) {
        let standing = self.standing(sequence);
        assert!(standing != Standing::Accepted, "sequence {sequence} is accepted once");
        self.set_aside.remove(&sequence.get());
        self.accepted.insert(sequence.get());
    }

    /// Notes that a sequence was refused; an accepted one stays accepted.
    pub fn set_aside(&mut self, sequence: Sequence, letter: DeadLetterId) {
        if self.standing(sequence) != Standing::Accepted {
            self.set_aside.insert(sequence.get(), letter);
        }
    }

    /// Notes that the agent gave up a range; what was accepted or set aside stays so.
    pub fn abandon(&mut self, first: Sequence, last: Sequence) {
        self.abandoned.insert_range(first.get(), last.get());
    }

    /// Returns the highest sequence that was seen, 0 where none was.
    pub fn highest(&self) -> u64 {
        let set_aside = self.set_aside.last_key_value().map(|(&number, _)| number);
        [self.accepted.last(), set_aside, self.abandoned.last()]
            .into_iter()
            .flatten()
            .max()
            .unwrap_or(0)
    }

    /// Returns the ranges below the highest sequence of which nothing is known.
    pub fn gaps(&self) -> Vec<(u64, u64)> {
        let mut known = self.accepted.clone();
        for &number in self.set_aside.keys() {
            known.insert(number);
        }
        for (first, last) in self.abandoned.iter() {
            known.insert_range(first, last);
        }
        known.missing_up_to(self.highest())
    }
}

/// Tells what a record is whose sequence has this standing, by the hash remembered for it.
pub fn arrival(standing: Standing, remembered: Option<&[u8; 32]>, hash: &[u8; 32]) -> Arrival {
    match standing {
        Standing::Missing | Standing::SetAside(_) | Standing::Abandoned => Arrival::Fresh,
        Standing::Accepted if remembered == Some(hash) => Arrival::Duplicate,
        Standing::Accepted => Arrival::Reused,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What arrives: a sequence with some bytes, which the rules may refuse.
    #[derive(Debug, Clone)]
    struct Record {
        sequence: u64,
        bytes: u8,
        refused: bool,
    }

    fn record() -> impl Strategy<Value = Record> {
        (1_u64..25, 0_u8..3, prop::bool::weighted(0.2))
            .prop_map(|(sequence, bytes, refused)| Record { sequence, bytes, refused })
    }

    /// The naive model: one map from sequence to the bytes that count, one to the letter.
    #[derive(Default)]
    struct Model {
        counted: BTreeMap<u64, u8>,
        letters: BTreeMap<u64, DeadLetterId>,
    }

    proptest! {
        /// Duplicates, gaps, any order and conflicts: the ledger says what the model says.
        #[test]
        fn the_ledger_agrees_with_a_naive_model(records in prop::collection::vec(record(), 0..120)) {
            let (mut ledger, mut model, mut letter) = (StreamLedger::new(), Model::default(), 0);
            for Record { sequence, bytes, refused } in records {
                let at = Sequence::new(sequence).unwrap();
                let hash = [bytes; 32];
                let remembered = model.counted.get(&sequence).map(|&bytes| [bytes; 32]);
                let found = arrival(ledger.standing(at), remembered.as_ref(), &hash);
                let expected = match model.counted.get(&sequence) {
                    None => Arrival::Fresh,
                    Some(&counted) if counted == bytes => Arrival::Duplicate,
                    Some(_) => Arrival::Reused,
                };
                prop_assert_eq!(found, expected);
                if found == Arrival::Fresh && !refused {
                    ledger.accept(at);
                    model.counted.insert(sequence, bytes);
                    model.letters.remove(&sequence);
                } else if found != Arrival::Duplicate {
                    letter += 1;
                    ledger.set_aside(at, letter);
                    if !model.counted.contains_key(&sequence) {
                        model.letters.insert(sequence, letter);
                    }
                }
            }
            let seen = |n: &u64| model.counted.contains_key(n) || model.letters.contains_key(n);
            let highest = (1..25).filter(seen).max().unwrap_or(0);
            prop_assert_eq!(ledger.highest(), highest);
            let gaps: Vec<u64> = ledger.gaps().into_iter().flat_map(|(a, b)| a..=b).collect();
            prop_assert_eq!(gaps, (1..=highest).filter(|n| !seen(n)).collect::<Vec<_>>());
            for number in 1..25 {
                let standing = ledger.standing(Sequence::new(number).unwrap());
                let expected = match (model.counted.get(&number), model.letters.get(&number)) {
                    (Some(_), _) => Standing::Accepted,
                    (None, Some(&letter)) => Standing::SetAside(letter),
                    (None, None) => Standing::Missing,
                };
                prop_assert_eq!(standing, expected);
            }
        }
    }

    #[test]
    fn an_abandoned_range_is_no_gap() {
        let mut ledger = StreamLedger::new();
        ledger.accept(Sequence::FIRST);
        ledger.accept(Sequence::new(5).unwrap());
        assert_eq!(ledger.gaps(), [(2, 4)]);
        ledger.abandon(Sequence::new(2).unwrap(), Sequence::new(3).unwrap());
        assert_eq!(ledger.gaps(), [(4, 4)]);
        assert_eq!(ledger.standing(Sequence::new(3).unwrap()), Standing::Abandoned);
    }
}
