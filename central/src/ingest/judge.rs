//! Joins the judge with what the store knows: which places to look up, and the verdicts in the order
//! of arrival, where what an earlier record of the same batch changed is known to the later ones. Pure.

use std::collections::{BTreeMap, BTreeSet};

use shared::ids::{MovementId, StoreId};
use shared::ledger::Standing;

use super::batch::Item;
use crate::store::write::{Judged, Known, Letter, Outcome, Place};
use crate::validate::{Claim, Reasons, Remembered, Verdict, verdict};

/// Returns the places that a batch claims, each once.
pub(crate) fn places(items: &[Item]) -> Vec<Place> {
    let claims: BTreeSet<&Claim> =
        items.iter().filter_map(|item| item.content.claim.as_ref()).collect();
    claims.into_iter().map(place).collect()
}

/// Returns the stock movements that a batch brings.
pub(crate) fn movements(items: &[Item]) -> BTreeSet<(StoreId, MovementId)> {
    let batches = items.iter().filter_map(|item| item.content.batch.as_ref());
    let each = |batch: &'_ shared::minute::StoreMinute| {
        let ids: Vec<_> =
            batch.stock.iter().map(|one| (batch.store.clone(), one.id.clone())).collect();
        ids
    };
    batches.flat_map(each).collect()
}

fn place(claim: &Claim) -> Place {
    let sequence = i64::try_from(claim.sequence.get()).expect("a sequence is below 2^53");
    Place { store: claim.store.clone(), stream: claim.stream, sequence }
}

/// Decides on every record of a batch.
pub(crate) fn verdicts(
    items: &[Item],
    mut known: BTreeMap<Place, Known>,
    delivered: BTreeSet<(StoreId, MovementId)>,
) -> Vec<Verdict> {
    let mut movements: BTreeMap<StoreId, BTreeSet<MovementId>> = BTreeMap::new();
    for (store, id) in delivered {
        movements.entry(store).or_default().insert(id);
    }
    let none = BTreeSet::new();
    let mut decided = Vec::with_capacity(items.len());
    for item in items {
        let place = item.content.claim.as_ref().map(place);
        let memory = place.as_ref().and_then(|place| known.get(place)).copied();
        let Known { standing, hash } = memory.unwrap_or(NEVER_SEEN);
        let store = item.content.batch.as_ref().map(|batch| &batch.store);
        let delivered = store.and_then(|store| movements.get(store)).unwrap_or(&none);
        let verdict = verdict(&item.content, &Remembered { standing, hash, movements: delivered });
        if let (Verdict::Accepted, Some(place), Some(batch)) =
            (&verdict, place, &item.content.batch)
        {
            let hash = Some(item.content.hash);
            known.insert(place, Known { standing: Standing::Accepted, hash });
            let ids = batch.stock.iter().map(|one| one.id.clone());
            movements.entry(batch.store.clone()).or_default().extend(ids);
        }
        decided.push(verdict);
    }
    decided
}

const NEVER_SEEN: Known = Known { standing: Standing::Missing, hash: None };

/// Puts a record and its verdict into the form that the store keeps.
pub(crate) fn judged<'a>(item: &'a Item, verdict: &Verdict) -> Judged<'a> {
    let outcome = match verdict {
        Verdict::Accepted => Outcome::Accepted,
        Verdict::Duplicate => Outcome::Duplicate,
        Verdict::Refused(reasons) => Outcome::Refused(letter(item, reasons)),
    };
    Judged {
        partition: item.record.partition,
        offset: item.record.offset,
        hash: item.content.hash,
        place: item.content.claim.as_ref().map(place),
        batch: item.content.batch.as_ref(),
        outcome,
    }
}

fn letter<'a>(item: &'a Item, reasons: &Reasons) -> Letter<'a> {
    Letter {
        key: item.record.key.as_deref(),
        headers: &item.record.headers,
        body: item.record.body.as_deref(),
        appended_at: item.record.appended_at,
        reasons: serde_json::to_value(reasons.as_slice()).expect("reasons are plain texts"),
    }
}

/// Names a verdict for counters.
pub(crate) fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Accepted => "accepted",
        Verdict::Duplicate => "duplicate",
        Verdict::Refused(_) => "refused",
    }
}

#[cfg(test)]
mod tests {
    use shared::minute::StoreMinute;

    use super::*;
    use crate::kafka::Record;
    use crate::validate::rules::tests::{batch, record};
    use crate::validate::{Limits, content};

    fn item(batch: &StoreMinute) -> Item {
        let owned = record(batch);
        let content = content(&owned.submission(), &Limits::default());
        let record = Record {
            partition: 0,
            offset: 0,
            appended_at: owned.at,
            key: owned.key,
            headers: owned.headers,
            body: owned.body,
        };
        Item { record, content }
    }

    #[test]
    fn a_batch_knows_what_its_own_earlier_records_did() {
        let first = batch();
        let mut next = batch();
        next.sequence = next.sequence.next();
        let mut reused = batch();
        reused.stock.clear();
        let items = [item(&first), item(&first), item(&next), item(&reused)];
        let words: Vec<&str> =
            verdicts(&items, BTreeMap::new(), BTreeSet::new()).iter().map(word).collect();
        // The third brings a movement that the first has brought, the fourth other bytes.
        assert_eq!(words, ["accepted", "duplicate", "refused", "refused"]);
        assert_eq!(places(&items).len(), 2);
        assert_eq!(movements(&items).len(), 1);
    }
}
