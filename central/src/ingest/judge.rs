//! Joins the judge with what the store knows: what to look up, and the verdicts in the order of
//! arrival, where what an earlier record of the same batch changed is known to the later ones. Pure.

use std::collections::{BTreeMap, BTreeSet};

use shared::ids::{MovementId, StoreId};
use shared::ledger::Standing;
use shared::minute::StoreMinute;
use shared::wire::REPLAY_HEADER;

use super::batch::Item;
use crate::store::write::{Changes, Judged, Known, Letter, Outcome, Place, Replay};
use crate::validate::delivered::Delivered;
use crate::validate::memory::speak_of_the_agent;
use crate::validate::registry::{Mark, Registered, UnknownStores};
use crate::validate::{Claim, Reasons, Remembered, Verdict, verdict};

/// What is known before the first record of a batch is judged, and then after each.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// What became of each place.
    pub(crate) places: BTreeMap<Place, Known>,
    /// The stores that are known.
    pub(crate) stores: BTreeMap<StoreId, Registered>,
    /// What happens to the others.
    pub(crate) unknown_stores: UnknownStores,
    /// Receipts that were delivered before.
    pub(crate) receipts: BTreeMap<StoreId, Delivered>,
    /// Stock movements that were delivered before.
    pub(crate) movements: BTreeSet<(StoreId, MovementId)>,
    /// Records that are dead letters which came again, by their index.
    pub(crate) letters: BTreeMap<usize, i64>,
}

/// What was decided on one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) verdict: Verdict,
    /// The dead letter that has the very same bytes.
    pub(crate) letter: Option<i64>,
}

/// Returns the places that a batch claims, each once.
pub(crate) fn places(items: &[Item]) -> Vec<Place> {
    let claims: BTreeSet<&Claim> =
        items.iter().filter_map(|item| item.content.claim.as_ref()).collect();
    claims.into_iter().map(place).collect()
}

/// Returns the stores in whose name the records of a batch speak.
pub(crate) fn stores(items: &[Item]) -> BTreeSet<StoreId> {
    let claims = items.iter().filter_map(|item| item.content.claim.as_ref());
    claims.map(|claim| claim.store.clone()).collect()
}

/// Returns the batches whose receipts and movements are looked up.
pub(crate) fn readable(items: &[Item]) -> Vec<&StoreMinute> {
    items.iter().filter_map(|item| item.content.batch.as_ref()).collect()
}

/// Returns the stock movements that a batch brings.
pub(crate) fn movements(items: &[Item]) -> BTreeSet<(StoreId, MovementId)> {
    let each = |batch: &'_ StoreMinute| {
        let ids: Vec<_> =
            batch.stock.iter().map(|one| (batch.store.clone(), one.id.clone())).collect();
        ids
    };
    readable(items).into_iter().flat_map(each).collect()
}

/// Returns the records that say to be the replay of a dead letter. The last such header counts: a
/// replay adds it behind all that the letter had.
pub(crate) fn replays(items: &[Item]) -> Vec<Replay<'_>> {
    items.iter().enumerate().filter_map(replay).collect()
}

fn replay((record, item): (usize, &Item)) -> Option<Replay<'_>> {
    let ((name, value), headers) = item.record.headers.split_last()?;
    let letter = std::str::from_utf8(value).ok()?.parse().ok()?;
    let (key, body) = (item.record.key.as_deref(), item.record.body.as_deref());
    (name == REPLAY_HEADER).then_some(Replay { record, letter, key, headers, body })
}

fn place(claim: &Claim) -> Place {
    let sequence = i64::try_from(claim.sequence.get()).expect("a sequence is below 2^53");
    Place { store: claim.store.clone(), stream: claim.stream, sequence }
}

/// Decides on every record of a batch, and tells what that changes in the registry.
pub(crate) fn decide(items: &[Item], memory: Memory) -> (Vec<Decision>, Changes) {
    let mut judging = Judging::new(memory);
    let decisions = items.iter().enumerate().map(|one| judging.decide(one)).collect();
    (decisions, judging.changes())
}

/// The memory as the judge wants it, and what has changed in it.
struct Judging {
    memory: Memory,
    movements: BTreeMap<StoreId, BTreeSet<MovementId>>,
    changes: Changes,
    /// Stores whose breaker remembers something else than before.
    marked: BTreeSet<StoreId>,
}

impl Judging {
    fn new(mut memory: Memory) -> Self {
        let mut movements: BTreeMap<StoreId, BTreeSet<MovementId>> = BTreeMap::new();
        for (store, id) in std::mem::take(&mut memory.movements) {
            movements.entry(store).or_default().insert(id);
        }
        Self { memory, movements, changes: Changes::default(), marked: BTreeSet::new() }
    }

    fn decide(&mut self, (index, item): (usize, &Item)) -> Decision {
        let place = item.content.claim.as_ref().map(place);
        let known = place.as_ref().and_then(|place| self.memory.places.get(place)).copied();
        let known = known.unwrap_or(NEVER_SEEN);
        let verdict = self.judge(item, &known);
        let replayed = self.memory.letters.get(&index).copied();
        let same = match known.standing {
            Standing::SetAside(letter) if known.aside == Some(item.content.hash) => Some(letter),
            Standing::SetAside(_)
            | Standing::Missing
            | Standing::Accepted
            | Standing::Abandoned => None,
        };
        if verdict == Verdict::Accepted {
            self.learn(item, place);
        }
        // A replay is an operator's doing and says nothing of the agent.
        if replayed.is_none() {
            self.mark(item, &verdict);
        }
        Decision { verdict, letter: replayed.or(same) }
    }

    fn judge(&self, item: &Item, known: &Known) -> Verdict {
        let (no_receipts, no_movements) = (Delivered::default(), BTreeSet::new());
        let claim = item.content.claim.as_ref();
        let store = item.content.batch.as_ref().map(|batch| &batch.store);
        let remembered = Remembered {
            standing: known.standing,
            hash: known.hash,
            store: claim.and_then(|claim| self.memory.stores.get(&claim.store)),
            unknown_stores: self.memory.unknown_stores,
            receipts: store.and_then(|one| self.memory.receipts.get(one)).unwrap_or(&no_receipts),
            movements: store.and_then(|one| self.movements.get(one)).unwrap_or(&no_movements),
        };
        verdict(&item.content, &remembered)
    }

    /// Lets the records behind one that counts know of it.
    fn learn(&mut self, item: &Item, place: Option<Place>) {
        let (Some(place), Some(batch)) = (place, &item.content.batch) else { return };
        let store = self.memory.stores.entry(place.store.clone()).or_insert_with(|| {
            self.changes.added.insert(place.store.clone());
            Registered::since_ever()
        });
        if store.active_stream.is_none() {
            store.active_stream = Some(place.stream);
            self.changes.activated.insert(place.store.clone(), place.stream);
        }
        self.memory.receipts.entry(place.store.clone()).or_default().add(batch);
        let ids = batch.stock.iter().map(|one| one.id.clone());
        self.movements.entry(place.store.clone()).or_default().extend(ids);
        let hash = Some(item.content.hash);
        self.memory.places.insert(place, Known { standing: Standing::Accepted, hash, aside: None });
    }

    /// Tells the store's breaker of a verdict that speaks of the store's agent.
    fn mark(&mut self, item: &Item, verdict: &Verdict) {
        let Some(claim) = &item.content.claim else { return };
        let Some(store) = self.memory.stores.get_mut(&claim.store) else { return };
        let mark = match verdict {
            Verdict::Accepted => Mark::Good,
            Verdict::Duplicate => return,
            Verdict::Refused(reasons) if speak_of_the_agent(reasons) => Mark::Bad,
            Verdict::Refused(_) => return,
        };
        let before = store.breaker;
        store.breaker.note(mark);
        if store.breaker != before {
            self.marked.insert(claim.store.clone());
        }
    }

    fn changes(mut self) -> Changes {
        let changed = |name: StoreId| {
            let breaker = self.memory.stores.get(&name)?.breaker;
            Some((name, breaker))
        };
        self.changes.breakers = self.marked.into_iter().filter_map(changed).collect();
        self.changes
    }
}

const NEVER_SEEN: Known = Known { standing: Standing::Missing, hash: None, aside: None };

/// Puts a record and its verdict into the form that the store keeps.
pub(crate) fn judged<'a>(item: &'a Item, decision: &Decision) -> Judged<'a> {
    let outcome = match &decision.verdict {
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
        letter: decision.letter,
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
    use shared::ids::Sequence;

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

    /// A batch of another minute, with receipts and movements of its own.
    fn numbered(sequence: u64) -> StoreMinute {
        let mut batch = batch();
        batch.sequence = Sequence::new(sequence).unwrap();
        batch.stock[0].id = format!("D-{sequence}").parse().unwrap();
        let first = sequence * 10;
        batch.tills[0].receipts = (first..first + 4).collect();
        batch.tills[0].receipt_ids = vec![format!("A-{sequence}").parse().unwrap()];
        batch
    }

    fn bad(sequence: u64) -> StoreMinute {
        let mut batch = numbered(sequence);
        batch.tills[0].total_cents.0 += 1;
        batch
    }

    fn open() -> Memory {
        let store = batch().store;
        Memory { stores: [(store, Registered::since_ever())].into(), ..Memory::default() }
    }

    fn words(items: &[Item], memory: Memory) -> Vec<&'static str> {
        decide(items, memory).0.iter().map(|one| word(&one.verdict)).collect()
    }

    fn rules(decision: &Decision) -> Vec<&'static str> {
        match &decision.verdict {
            Verdict::Accepted | Verdict::Duplicate => Vec::new(),
            Verdict::Refused(reasons) => reasons.as_slice().iter().map(|one| one.rule).collect(),
        }
    }

    #[test]
    fn a_batch_knows_what_its_own_earlier_records_did() {
        let first = batch();
        let mut next = batch();
        next.sequence = next.sequence.next();
        let mut reused = numbered(5);
        reused.sequence = first.sequence;
        let items = [item(&first), item(&first), item(&next), item(&reused)];
        let (decisions, changes) = decide(&items, open());
        let words: Vec<&str> = decisions.iter().map(|one| word(&one.verdict)).collect();
        assert_eq!(words, ["accepted", "duplicate", "refused", "refused"]);
        assert_eq!(rules(&decisions[2]), ["receipt_known", "receipt_known", "movement_known"]);
        assert_eq!(rules(&decisions[3]), ["sequence_reused"]);
        assert_eq!(changes.activated, BTreeMap::from([(first.store.clone(), first.stream)]));
        assert_eq!((places(&items).len(), movements(&items).len()), (2, 2));
        assert_eq!(stores(&items), BTreeSet::from([first.store]));
    }

    #[test]
    fn the_first_stream_that_counts_is_the_active_one() {
        let mut other = numbered(2);
        other.stream = "01930b5e-7c00-7000-8000-000000000002".parse().unwrap();
        let mut first_is_bad = bad(1);
        first_is_bad.stream = "01930b5e-7c00-7000-8000-000000000003".parse().unwrap();
        let items = [item(&first_is_bad), item(&numbered(1)), item(&other), item(&numbered(3))];
        let (decisions, changes) = decide(&items, open());
        assert_eq!(rules(&decisions[2]), ["stream_not_active"]);
        assert_eq!(words(&items, open()), ["refused", "accepted", "refused", "accepted"]);
        assert_eq!(changes.activated, BTreeMap::from([(batch().store, batch().stream)]));
    }

    #[test]
    fn an_unknown_store_is_added_by_a_good_record_where_that_is_wanted() {
        let items = [item(&bad(1)), item(&numbered(2)), item(&numbered(3))];
        let (decisions, changes) = decide(&items, Memory::default());
        assert_eq!(rules(&decisions[1]), ["store_unknown"]);
        assert_eq!(changes, Changes::default());
        let adding = || Memory { unknown_stores: UnknownStores::Add, ..Memory::default() };
        assert_eq!(words(&items, adding()), ["refused", "accepted", "accepted"]);
        assert_eq!(decide(&items, adding()).1.added, BTreeSet::from([batch().store]));
        assert_eq!(decide(&items[..1], adding()).1, Changes::default());
    }

    #[test]
    fn twenty_bad_records_open_the_breaker_for_what_follows() {
        let mut items: Vec<Item> = (1..=20).map(|sequence| item(&bad(sequence))).collect();
        items.extend([item(&numbered(21)), item(&numbered(22))]);
        let (decisions, changes) = decide(&items, open());
        assert_eq!(rules(&decisions[19]), ["till_total", "payments"]);
        assert_eq!(rules(&decisions[20]), ["breaker_open"]);
        let breaker = changes.breakers[&batch().store];
        assert!(breaker.is_open() && breaker.bad() == 20);
        // What only the registry speaks against, and what an operator sends again, opens nothing.
        let mut memory = open();
        memory.letters = (0..20).map(|index| (index, 7)).collect();
        assert_eq!(decide(&items[..20], memory).1, Changes::default());
        let closed = Memory { stores: BTreeMap::new(), ..open() };
        assert_eq!(decide(&items[20..], closed).1, Changes::default());
    }

    /// A cloned box reads the same tills' files as the true one; a new one reads old files again.
    #[test]
    fn a_copy_that_sends_what_counted_before_opens_no_breaker() {
        let own = batch().stream;
        let other = "01930b5e-7c00-7000-8000-000000000002".parse().unwrap();
        for (stream, from, wanted) in
            [(other, 0, "stream_not_active receipt_known"), (own, 100, "receipt_known")]
        {
            let again = |sequence| {
                let mut batch = numbered(sequence);
                batch.stream = stream;
                batch.sequence = Sequence::new(from + sequence).unwrap();
                item(&batch)
            };
            let first = (1..=20).map(|sequence| item(&numbered(sequence)));
            let items: Vec<Item> =
                first.chain((1..=20).map(again)).chain([item(&numbered(50))]).collect();
            let (decisions, changes) = decide(&items, open());
            assert!(rules(&decisions[39]).join(" ").starts_with(wanted), "{:?}", decisions[39]);
            assert_eq!(decisions[40].verdict, Verdict::Accepted);
            assert!(changes.breakers.values().all(|one| !one.is_open() && one.bad() == 0));
        }
    }

    #[test]
    fn the_same_bytes_are_the_same_letter() {
        let items = [item(&bad(1)), item(&bad(2)), item(&numbered(3))];
        let mut memory = open();
        let aside = |item: &Item, hash| {
            let place = place(item.content.claim.as_ref().unwrap());
            (place, Known { standing: Standing::SetAside(7), hash: None, aside: Some(hash) })
        };
        memory.places = [aside(&items[0], items[0].content.hash), aside(&items[1], [0; 32])].into();
        memory.letters = BTreeMap::from([(2, 9)]);
        let letters: Vec<_> =
            decide(&items, memory).0.into_iter().map(|decision| decision.letter).collect();
        assert_eq!(letters, [Some(7), None, Some(9)]);
    }

    #[test]
    fn only_the_last_header_makes_a_replay() {
        let marked = |values: &[&str]| {
            let mut one = item(&batch());
            let header = |value: &&str| (REPLAY_HEADER.to_owned(), value.as_bytes().to_vec());
            one.record.headers.extend(values.iter().map(header));
            one
        };
        let mut hidden = marked(&["5"]);
        hidden.record.headers.push(("x".to_owned(), b"7".to_vec()));
        let items = [marked(&[]), marked(&["5"]), marked(&["5", "6"]), marked(&["x"]), hidden];
        let found: Vec<_> =
            replays(&items).iter().map(|one| (one.record, one.letter, one.headers.len())).collect();
        let own = item(&batch()).record.headers.len();
        assert_eq!(found, [(1, 5, own), (2, 6, own + 1)]);
    }
}
