//! Rules about what an agent tells beside its rows: sums of its days, sequences that it has lost.

use std::collections::BTreeSet;

use super::Reasons;
use super::rules::{COUNT_MAX, FIGURE_MAX, Subject};

/// A day's sum begins no later than the batch that tells it, has figures that a store can have, and
/// is told once.
pub(super) fn digests(subject: &Subject<'_>, reasons: &mut Reasons) {
    let mut told = BTreeSet::new();
    for (n, digest) in subject.batch.digests.iter().enumerate() {
        let at = |name: &str| format!("/body/digests/{n}/{name}");
        let name = format!("the sum of till {}, day {}", digest.till, digest.business_day);
        if digest.first_sequence > subject.batch.sequence {
            let says = format_args!("{name} begins at {}", digest.first_sequence);
            reasons.add("digest", at("first_sequence"), says);
        }
        if digest.receipts > COUNT_MAX {
            let says = format_args!("{name} counts {}", digest.receipts);
            reasons.add("count", at("receipts"), says);
        }
        if digest.cents.0.unsigned_abs() > FIGURE_MAX {
            let says = format_args!("{} is beyond {FIGURE_MAX}", digest.cents.0);
            reasons.add("figure", at("cents"), says);
        }
        let key = (&digest.till, &digest.series, digest.business_day, digest.first_sequence);
        if !told.insert(key) {
            reasons.add("digest", at("till"), format_args!("{name} is told twice"));
        }
    }
}

/// What is given up lies before the batch that says so.
pub(super) fn abandoned(subject: &Subject<'_>, reasons: &mut Reasons) {
    let batch = subject.batch;
    let first = batch.abandoned.iter().next().map(|(first, _)| first);
    let ahead = batch.abandoned.last().is_some_and(|last| last >= batch.sequence.get());
    if ahead || first == Some(0) {
        let says = "what is given up lies not between 1 and this batch";
        reasons.add("abandoned", "/body/abandoned", format_args!("{says}"));
    }
}

#[cfg(test)]
mod tests {
    use shared::digest::DayDigest;
    use shared::ids::Sequence;
    use shared::minute::StoreMinute;
    use shared::ranges::Ranges;

    use super::super::Limits;
    use super::super::envelope::Named;
    use super::*;

    fn told() -> StoreMinute {
        let text = include_str!("../../../shared/tests/shared/golden/store-minute.told.json");
        serde_json::from_str(text).unwrap()
    }

    fn refusals(batch: &StoreMinute) -> Vec<(&'static str, String)> {
        let mut reasons = Reasons::default();
        let named = Named { key: None, source: None, id: None, id_text: None };
        let at = "2026-11-23T05:00:00Z".parse().unwrap();
        let limits = Limits::default();
        let subject = Subject { batch, named: &named, at, limits: &limits };
        digests(&subject, &mut reasons);
        abandoned(&subject, &mut reasons);
        reasons.as_slice().iter().map(|one| (one.rule, one.at.clone())).collect()
    }

    #[test]
    fn what_an_agent_tells_is_taken() {
        assert_eq!(refusals(&told()), []);
    }

    #[test]
    fn figures_that_no_store_has_are_refused_and_so_is_a_sum_that_is_told_twice() {
        type Change = fn(&mut DayDigest);
        let change: [(Change, &str, &str); 3] = [
            (|one| one.first_sequence = Sequence::new(81_002).unwrap(), "digest", "first_sequence"),
            (|one| one.receipts = COUNT_MAX + 1, "count", "receipts"),
            (|one| one.cents.0 = i64::MIN, "figure", "cents"),
        ];
        for (change, rule, at) in change {
            let mut batch = told();
            change(&mut batch.digests[0]);
            assert_eq!(refusals(&batch), [(rule, format!("/body/digests/0/{at}"))]);
        }
        let mut batch = told();
        batch.digests.extend(told().digests);
        assert_eq!(refusals(&batch), [("digest", "/body/digests/1/till".to_owned())]);
    }

    #[test]
    fn nothing_from_the_batch_on_is_given_up() {
        for number in [0, 81_001, u64::MAX] {
            let mut batch = told();
            batch.abandoned = Ranges::from_iter([number]);
            assert_eq!(refusals(&batch), [("abandoned", "/body/abandoned".to_owned())]);
        }
    }
}
