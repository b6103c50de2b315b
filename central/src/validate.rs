//! A record becomes accepted, duplicate, or refused with every reason. Pure, total and
//! deterministic: the same record against the same ledger always gets the same verdict, so that
//! reading again after a restore decides nothing differently. It never looks at a clock: what is
//! too new or too old is measured against the broker's append time.
//!
//! The judgement has two steps. [`content`] needs the record alone. [`verdict`] adds what the
//! ledger knows of the sequence, the registry of the store, and what was delivered before.

pub mod delivered;
mod envelope;
pub mod memory;
pub mod registry;
pub mod rules;
mod told;

use std::collections::BTreeSet;
use std::fmt::Display;

use serde::Serialize;
use shared::ids::{MovementId, Sequence, StoreId, StreamId};
use shared::ledger::{Arrival, Standing, arrival};
use shared::minute::StoreMinute;
use shared::time::{BusinessDay, Timestamp};
use shared::wire::{RecordId, record_hash};

use delivered::Delivered;
use registry::{Registered, UnknownStores};
use rules::Subject;

/// Characters of a reason; a message may quote what came, but not all of it.
const SAYS_CHARS_MAX: usize = 300;
/// Reasons of one record; a batch with a thousand wrong rows is as refused as one with a hundred.
const REASONS_MAX: usize = 100;

/// A record as the judge sees it.
#[derive(Debug, Clone, Copy)]
pub struct Submission<'a> {
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The headers in order.
    pub headers: &'a [(String, Vec<u8>)],
    /// The body.
    pub body: Option<&'a [u8]>,
    /// When the broker took it.
    pub appended_at: Timestamp,
}

/// Why a record is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The rule, a word that never changes.
    pub rule: &'static str,
    /// The place in `{"key", "headers", "body"}`, as a JSON pointer.
    pub at: String,
    /// What is wrong, for people.
    pub says: String,
}

/// All reasons found so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reasons(Vec<Reason>);

impl Reasons {
    /// Adds a reason; characters that a database refuses are written as escapes.
    pub fn add(&mut self, rule: &'static str, at: impl Display, says: impl Display) {
        if self.0.len() < REASONS_MAX {
            let (at, says) = (readable(&at.to_string()), readable(&says.to_string()));
            self.0.push(Reason { rule, at, says });
        }
    }

    /// Returns true where nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the reasons.
    pub fn as_slice(&self) -> &[Reason] {
        &self.0
    }
}

/// Writes control characters as escapes and cuts what is long.
fn readable(text: &str) -> String {
    let readable = text.chars().flat_map(|found| {
        let escape = found.is_control().then(|| found.escape_default());
        let plain = (!found.is_control()).then_some(found);
        escape.into_iter().flatten().chain(plain)
    });
    readable.take(SAYS_CHARS_MAX).collect()
}

/// Whose record it is and which place it claims, where key, headers and body agree on that.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// The store.
    pub store: StoreId,
    /// The stream.
    pub stream: StreamId,
    /// The place in it.
    pub sequence: Sequence,
}

/// What a record alone shows.
#[derive(Debug, Clone)]
pub struct Content {
    /// SHA-256 of `ce_id`, a zero byte and the body.
    pub hash: [u8; 32],
    /// Whose it is; nothing where key, headers and body contradict each other.
    pub claim: Option<Claim>,
    /// The body, where it can be read.
    pub batch: Option<StoreMinute>,
    /// Why it is refused.
    pub reasons: Reasons,
}

/// What the judge is told beside the record.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Business days before this one are refused; absent means 400 days before the append time.
    pub oldest_business_day: Option<BusinessDay>,
}

/// What the centre remembers about a record's place and parts.
#[derive(Debug, Clone)]
pub struct Remembered<'a> {
    /// What the ledger says of the sequence.
    pub standing: Standing,
    /// The hash that was accepted for it.
    pub hash: Option<[u8; 32]>,
    /// The store, where it is known.
    pub store: Option<&'a Registered>,
    /// What happens where it is not.
    pub unknown_stores: UnknownStores,
    /// Receipts of this store that were delivered before.
    pub receipts: &'a Delivered,
    /// Stock movements of this store that were delivered before.
    pub movements: &'a BTreeSet<MovementId>,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It counts.
    Accepted,
    /// The same bytes again: it counts nothing.
    Duplicate,
    /// It is set aside, with every reason.
    Refused(Reasons),
}

/// Judges what the record alone shows.
pub fn content(submission: &Submission<'_>, limits: &Limits) -> Content {
    let mut reasons = Reasons::default();
    let named = envelope::headers(submission, &mut reasons);
    let body = submission.body.unwrap_or_default();
    let hash = record_hash(named.id_text.unwrap_or_default(), body);
    let batch = envelope::schema(submission.body, &mut reasons);
    let claim = claim(&named, batch.as_ref());
    if let Some(batch) = &batch {
        let subject = Subject { batch, named: &named, at: submission.appended_at, limits };
        for rule in rules::ALL {
            rule(&subject, &mut reasons);
        }
    }
    Content { hash, claim, batch, reasons }
}

/// An unreadable body is taken at its headers' word; a readable one must agree with them.
fn claim(named: &envelope::Named<'_>, batch: Option<&StoreMinute>) -> Option<Claim> {
    let (Some(key), Some(source), Some(id)) = (&named.key, &named.source, named.id) else {
        return None;
    };
    let claim = Claim { store: key.clone(), stream: id.stream, sequence: id.sequence };
    let agrees = batch.is_none_or(|batch| {
        let place = RecordId { stream: batch.stream, sequence: batch.sequence };
        batch.store == *key && place == id
    });
    (key == source && agrees).then_some(claim)
}

/// Adds what is remembered and decides. A record that repeats an accepted one byte for byte is a
/// duplicate whatever the rules say of it today.
pub fn verdict(content: &Content, remembered: &Remembered<'_>) -> Verdict {
    let mut reasons = content.reasons.clone();
    if let Some(claim) = &content.claim {
        let arrival = arrival(remembered.standing, remembered.hash.as_ref(), &content.hash);
        if arrival == Arrival::Duplicate && content.batch.is_some() {
            return Verdict::Duplicate;
        }
        memory::sequence(arrival, claim, &mut reasons);
        memory::registry(content, claim, remembered, &mut reasons);
    }
    memory::receipts(content, remembered, &mut reasons);
    memory::movements(content, remembered, &mut reasons);
    if reasons.is_empty() && content.claim.is_some() {
        Verdict::Accepted
    } else {
        assert!(!reasons.is_empty(), "without a claim some rule has spoken");
        Verdict::Refused(reasons)
    }
}

#[cfg(test)]
mod tests {
    use shared::wire::encode;

    use super::registry::StoreState;
    use super::*;
    use crate::validate::rules::tests::{batch, record};

    /// What a centre may know of a store.
    #[derive(Clone)]
    struct Memory {
        store: Option<Registered>,
        unknown_stores: UnknownStores,
        receipts: Delivered,
        movements: BTreeSet<MovementId>,
    }

    impl Memory {
        /// A store that is open and has delivered nothing.
        fn empty() -> Self {
            Self {
                store: Some(Registered::since_ever()),
                unknown_stores: UnknownStores::Refuse,
                receipts: Delivered::default(),
                movements: BTreeSet::new(),
            }
        }

        fn of(&self, standing: Standing, hash: Option<[u8; 32]>) -> Remembered<'_> {
            Remembered {
                standing,
                hash,
                store: self.store.as_ref(),
                unknown_stores: self.unknown_stores,
                receipts: &self.receipts,
                movements: &self.movements,
            }
        }

        fn of_nothing(&self) -> Remembered<'_> {
            self.of(Standing::Missing, None)
        }

        /// The rules that speak against the good record.
        fn rules(&self) -> Vec<(&'static str, String)> {
            let found = content(&record(&batch()).submission(), &Limits::default());
            match verdict(&found, &self.of_nothing()) {
                Verdict::Accepted => Vec::new(),
                Verdict::Duplicate => panic!("nothing was accepted before"),
                Verdict::Refused(reasons) => {
                    reasons.as_slice().iter().map(|one| (one.rule, one.at.clone())).collect()
                }
            }
        }
    }

    #[test]
    fn a_good_record_is_accepted_once_and_a_duplicate_after() {
        let good = record(&batch());
        let found = content(&good.submission(), &Limits::default());
        assert_eq!(found.reasons.as_slice(), []);
        let mut memory = Memory::empty();
        assert_eq!(verdict(&found, &memory.of_nothing()), Verdict::Accepted);
        memory.receipts.add(&batch());
        memory.movements.insert(MovementId::new("DESADV-7781/4").unwrap());
        // Not even a store that is gone since makes it anything else.
        memory.store = None;
        let seen = memory.of(Standing::Accepted, Some(found.hash));
        assert_eq!(verdict(&found, &seen), Verdict::Duplicate);
    }

    #[test]
    fn other_bytes_under_an_accepted_sequence_are_refused() {
        let found = content(&record(&batch()).submission(), &Limits::default());
        let memory = Memory::empty();
        let seen = memory.of(Standing::Accepted, Some([7; 32]));
        let Verdict::Refused(reasons) = verdict(&found, &seen) else { panic!("refused") };
        assert_eq!(reasons.as_slice()[0].rule, "sequence_reused");
    }

    #[test]
    fn a_sequence_that_was_set_aside_is_fresh_again() {
        let found = content(&record(&batch()).submission(), &Limits::default());
        let memory = Memory::empty();
        assert_eq!(verdict(&found, &memory.of(Standing::SetAside(7), None)), Verdict::Accepted);
    }

    #[test]
    fn only_a_known_store_that_is_open_at_that_minute_counts() {
        let minute = |text: &str| text.parse::<Timestamp>().unwrap().minute();
        let (batch_at, before) = (minute("2026-11-23T09:41:00Z"), minute("2026-11-23T09:40:00Z"));
        let after = minute("2026-11-23T09:42:00Z");
        let mut memory = Memory::empty();
        memory.store = None;
        assert_eq!(memory.rules(), [("store_unknown", "/key".to_owned())]);
        memory.unknown_stores = UnknownStores::Add;
        assert_eq!(memory.rules(), []);
        let at = || "/body/minute".to_owned();
        for (opened, changed, state, wanted) in [
            (after, after, StoreState::Open, vec![("before_opening", at())]),
            (before, after, StoreState::Open, vec![("store_not_open", at())]),
            (batch_at, batch_at, StoreState::Paused, vec![("store_not_open", at())]),
            (batch_at, batch_at, StoreState::Closed, vec![("store_not_open", at())]),
            (batch_at, batch_at, StoreState::Planned, vec![("store_not_open", at())]),
            (batch_at, batch_at, StoreState::Open, vec![]),
        ] {
            let mut store = Registered::since_ever();
            store.opened_at = opened;
            store.states = [(changed, state)].into();
            memory.store = Some(store);
            assert_eq!(memory.rules(), wanted, "opened {opened}, {state} from {changed}");
        }
    }

    #[test]
    fn another_stream_than_the_active_one_does_not_count() {
        let mut memory = Memory::empty();
        let mut store = Registered::since_ever();
        store.active_stream = Some(batch().stream);
        memory.store = Some(store.clone());
        assert_eq!(memory.rules(), []);
        store.active_stream = Some("01930b5e-7c00-7000-8000-000000000002".parse().unwrap());
        memory.store = Some(store);
        assert_eq!(memory.rules(), [("stream_not_active", "/body/stream".to_owned())]);
    }

    #[test]
    fn a_receipt_of_any_stream_does_not_count_again() {
        let mut memory = Memory::empty();
        let mut before = batch();
        before.stream = "01930b5e-7c00-7000-8000-000000000002".parse().unwrap();
        memory.receipts.add(&before);
        let places = ["/body/tills/0/receipts", "/body/tills/0/receipt_ids"];
        assert_eq!(memory.rules(), places.map(|at| ("receipt_known", at.to_owned())));
    }

    #[test]
    fn behind_an_open_breaker_nothing_counts() {
        let mut memory = Memory::empty();
        let mut store = Registered::since_ever();
        (0..20).for_each(|_| store.breaker.note(registry::Mark::Bad));
        memory.store = Some(store);
        assert_eq!(memory.rules(), [("breaker_open", "/key".to_owned())]);
    }

    #[test]
    fn a_known_movement_refuses_the_whole_batch() {
        let found = content(&record(&batch()).submission(), &Limits::default());
        let mut memory = Memory::empty();
        memory.movements.insert(MovementId::new("DESADV-7781/4").unwrap());
        let Verdict::Refused(reasons) = verdict(&found, &memory.of_nothing()) else {
            panic!("refused")
        };
        assert_eq!(reasons.as_slice()[0].rule, "movement_known");
    }

    #[test]
    fn an_unreadable_body_still_tells_its_place_by_its_headers() {
        let mut broken = record(&batch());
        broken.body = Some(b"{\"store\":".to_vec());
        let found = content(&broken.submission(), &Limits::default());
        assert_eq!(found.claim.map(|claim| claim.sequence.get()), Some(81234));
        assert_eq!(found.reasons.as_slice()[0].rule, "schema");
    }

    #[test]
    fn a_record_in_a_foreign_name_has_no_place_in_anybodys_ledger() {
        let mut forged = record(&batch());
        forged.key = Some(b"0001".to_vec());
        let found = content(&forged.submission(), &Limits::default());
        assert_eq!(found.claim, None);
        let memory = Memory::empty();
        assert!(matches!(verdict(&found, &memory.of_nothing()), Verdict::Refused(_)));
    }

    #[test]
    fn reasons_hold_nothing_that_a_database_refuses() {
        let mut reasons = Reasons::default();
        reasons.add("schema", "/body", "a\0b\n".repeat(200));
        assert!(reasons.as_slice()[0].says.starts_with("a\\u{0}b\\n"));
        assert_eq!(reasons.as_slice()[0].says.chars().count(), SAYS_CHARS_MAX);
        for _ in 0..1_000 {
            reasons.add("schema", "/body", "x");
        }
        assert_eq!(reasons.as_slice().len(), REASONS_MAX);
    }

    proptest::proptest! {
        /// Whatever bytes come, the judge answers, and answers the same again.
        #[test]
        fn no_bytes_can_bring_the_judge_down(
            key: Option<Vec<u8>>, body: Option<Vec<u8>>, value: Vec<u8>, cut in 0_usize..2_000,
        ) {
            let mut strange = record(&batch());
            strange.key = key.or(strange.key);
            strange.headers[1].1 = value;
            let whole = encode(&batch());
            strange.body = body.or_else(|| Some(whole[..cut.min(whole.len())].to_vec()));
            let first = content(&strange.submission(), &Limits::default());
            let memory = Memory::empty();
            let again = content(&strange.submission(), &Limits::default());
            proptest::prop_assert_eq!(
                verdict(&first, &memory.of_nothing()),
                verdict(&again, &memory.of_nothing())
            );
        }
    }
}
