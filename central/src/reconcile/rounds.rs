//! Which days a round of the comparison looks at. Pure: what changed and what was found goes in.

use std::collections::BTreeSet;

use shared::time::BusinessDay;

use crate::store::totals::Cut;

/// A topic's id, and per partition the first offset that was not judged when a comparison began.
pub(super) type Judged = (String, Cut);

/// The rounds so far.
#[derive(Debug)]
pub(super) struct Rounds {
    /// Each so many-th round compares all days.
    full_every: u64,
    last: Option<Last>,
}

/// The last round that found nothing wrong.
#[derive(Debug)]
struct Last {
    judged: Judged,
    /// Rounds since all days were compared.
    since_full: u64,
}

/// What a round compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Round {
    /// Everything.
    All,
    /// These days.
    Days(BTreeSet<BusinessDay>),
    /// Nothing: no day got rows.
    Nothing,
}

impl Rounds {
    pub(super) fn new(full_every: u64) -> Self {
        Self { full_every, last: None }
    }

    /// Returns since when the days are asked for that got rows; nothing where all are compared.
    pub(super) fn since(&self) -> Option<&Judged> {
        let last = self.last.as_ref().filter(|last| last.since_full + 1 < self.full_every);
        last.map(|last| &last.judged)
    }

    /// Returns what the next round compares, of the days that got rows since then; nothing is known
    /// of them where nobody was asked, or where nobody can tell.
    pub(super) fn next(changed: Option<BTreeSet<BusinessDay>>) -> Round {
        match changed {
            None => Round::All,
            Some(days) if days.is_empty() => Round::Nothing,
            Some(days) => Round::Days(days),
        }
    }

    /// Notes a round that came to its end; `judged` is where it ended, if it found nothing wrong. What
    /// differs is looked for everywhere, until it is gone.
    pub(super) fn note(&mut self, round: &Round, judged: Option<Judged>) {
        let since_full = self.last.as_ref().map_or(0, |last| last.since_full);
        self.last = match (round, judged) {
            (Round::All, Some(judged)) => Some(Last { judged, since_full: 0 }),
            (Round::Days(_), Some(judged)) => Some(Last { judged, since_full: since_full + 1 }),
            (Round::All | Round::Days(_), None) => None,
            (Round::Nothing, _) => {
                let last = self.last.take();
                last.map(|last| Last { since_full: since_full + 1, ..last })
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(offset: i64) -> Judged {
        ("topic".to_owned(), Cut::from([(0, offset)]))
    }

    fn days(days: &[&str]) -> Option<BTreeSet<BusinessDay>> {
        Some(days.iter().map(|day| day.parse().unwrap()).collect())
    }

    /// Lives through a round in which these days had got rows; tells what it compared.
    fn live(
        rounds: &mut Rounds,
        changed: &[&str],
        found: Option<Judged>,
    ) -> (Option<Judged>, Round) {
        let since = rounds.since().cloned();
        let round = Rounds::next(since.as_ref().and_then(|_| days(changed)));
        rounds.note(&round, found);
        (since, round)
    }

    #[test]
    fn all_days_come_first_and_then_those_that_got_rows_since_the_last_round() {
        let mut rounds = Rounds::new(24);
        assert_eq!(live(&mut rounds, &[], Some(judged(5))), (None, Round::All));
        let (since, round) = live(&mut rounds, &["2026-11-23"], Some(judged(9)));
        assert_eq!(since, Some(judged(5)));
        assert_eq!(round, Rounds::next(days(&["2026-11-23"])));
        // A round without news moves nothing.
        assert_eq!(live(&mut rounds, &[], None), (Some(judged(9)), Round::Nothing));
        assert_eq!(rounds.since(), Some(&judged(9)));
    }

    #[test]
    fn every_so_many_th_round_compares_all_days_also_where_little_changes() {
        for changed in [&["2026-11-23"][..], &[]] {
            let mut rounds = Rounds::new(4);
            let full = |_| live(&mut rounds, changed, Some(judged(5))).1 == Round::All;
            let full: Vec<bool> = (0..9).map(full).collect();
            let once_in_four = [true, false, false, false, true, false, false, false, true];
            assert_eq!(full, once_in_four, "{changed:?}");
        }
        let mut always = Rounds::new(1);
        assert!((0..3).all(|_| live(&mut always, &[], Some(judged(5))).1 == Round::All));
    }

    #[test]
    fn after_a_difference_all_days_are_compared_until_it_is_gone() {
        let mut rounds = Rounds::new(24);
        live(&mut rounds, &[], Some(judged(5)));
        assert!(matches!(live(&mut rounds, &["2026-11-23"], None).1, Round::Days(_)));
        assert_eq!(live(&mut rounds, &["2026-11-23"], None).1, Round::All);
        assert_eq!(live(&mut rounds, &[], Some(judged(7))).1, Round::All);
        assert_eq!(live(&mut rounds, &[], None), (Some(judged(7)), Round::Nothing));
    }

    #[test]
    fn where_nobody_can_tell_what_changed_all_days_are_compared() {
        let mut rounds = Rounds::new(24);
        live(&mut rounds, &[], Some(judged(5)));
        assert!(rounds.since().is_some());
        let round = Rounds::next(None);
        assert_eq!(round, Round::All);
        rounds.note(&round, Some(("anew".to_owned(), Cut::new())));
        assert_eq!(rounds.since(), Some(&("anew".to_owned(), Cut::new())));
    }
}
