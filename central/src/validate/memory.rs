//! One small function per rule that needs memory: the ledger, the registry, what was delivered
//! before. Each adds every reason that it finds; none stops another.

use shared::ledger::Arrival;

use super::registry::{Registered, StoreState, UnknownStores};
use super::{Claim, Content, Reasons, Remembered};

/// Rules that say nothing of the record's own worth: it would count if the chain knew better.
const OF_THE_REGISTRY: [&str; 5] =
    ["store_unknown", "before_opening", "store_not_open", ANOTHER_BOX, "breaker_open"];
/// Rules that say that it counted before: a box reads old files again, or goes on from an old copy.
const COUNTED_BEFORE: [&str; 3] = ["sequence_reused", "receipt_known", "movement_known"];
/// The rule by which a store's other boxes are refused.
const ANOTHER_BOX: &str = "stream_not_active";

/// Tells whether what refuses a record speaks against the agent that delivers for its store: not
/// where another box has sent it, and not where it would be good, had it not counted before.
pub fn speak_of_the_agent(reasons: &Reasons) -> bool {
    let rules = || reasons.as_slice().iter().map(|one| one.rule);
    let is_harmless = |rule| OF_THE_REGISTRY.contains(&rule) || COUNTED_BEFORE.contains(&rule);
    !rules().any(|rule| rule == ANOTHER_BOX) && !rules().all(is_harmless)
}

/// A sequence that counted is never used for other bytes.
pub(super) fn sequence(arrival: Arrival, claim: &Claim, reasons: &mut Reasons) {
    if arrival == Arrival::Reused {
        reasons.add(
            "sequence_reused",
            "/body/sequence",
            format_args!(
                "stream {} sequence {} was accepted with other bytes: a restored or cloned buffer",
                claim.stream, claim.sequence
            ),
        );
    }
}

/// The store is known, open at that minute, and delivers by its active stream.
pub(super) fn registry(
    content: &Content,
    claim: &Claim,
    remembered: &Remembered<'_>,
    reasons: &mut Reasons,
) {
    match (remembered.store, remembered.unknown_stores) {
        (Some(store), _) => {
            state(content, claim, store, reasons);
            stream(claim, store, reasons);
            breaker(claim, store, reasons);
        }
        (None, UnknownStores::Add) => {}
        (None, UnknownStores::Refuse) => {
            let says = format_args!("store {} is not in the registry", claim.store);
            reasons.add("store_unknown", "/key", says);
        }
    }
}

fn state(content: &Content, claim: &Claim, store: &Registered, reasons: &mut Reasons) {
    const AT: &str = "/body/minute";
    let Some(minute) = content.batch.as_ref().map(|batch| batch.minute) else { return };
    if minute < store.opened_at {
        let says = format_args!(
            "minute {minute} is before the opening of store {} at {}",
            claim.store, store.opened_at
        );
        reasons.add("before_opening", AT, says);
        return;
    }
    match store.state_at(minute) {
        StoreState::Open => {}
        state @ (StoreState::Planned | StoreState::Paused | StoreState::Closed) => {
            let says = format_args!("store {} was {state} at {minute}", claim.store);
            reasons.add("store_not_open", AT, says);
        }
    }
}

fn stream(claim: &Claim, store: &Registered, reasons: &mut Reasons) {
    if let Some(active) = store.active_stream.filter(|active| *active != claim.stream) {
        let says = format_args!(
            "stream not active: {} is, this is {}: another box, or a copy of one",
            active, claim.stream
        );
        reasons.add(ANOTHER_BOX, "/body/stream", says);
    }
}

fn breaker(claim: &Claim, store: &Registered, reasons: &mut Reasons) {
    if store.breaker.is_open() {
        let says = format_args!(
            "the breaker of store {} is open: {} of its last records were bad",
            claim.store,
            store.breaker.bad()
        );
        reasons.add("breaker_open", "/key", says);
    }
}

/// A receipt that a till has delivered, in whatever stream, does not come again.
pub(super) fn receipts(content: &Content, remembered: &Remembered<'_>, reasons: &mut Reasons) {
    let Some(batch) = &content.batch else { return };
    for one in remembered.receipts.doubled(batch) {
        let till = &batch.tills[one.till];
        reasons.add(
            "receipt_known",
            format_args!("/body/tills/{}/{}", one.till, one.list),
            format_args!(
                "till {}, series {}: receipt {} was delivered before",
                till.till, till.series, one.first
            ),
        );
    }
}

/// A stock movement that was delivered does not come again.
pub(super) fn movements(content: &Content, remembered: &Remembered<'_>, reasons: &mut Reasons) {
    let stock = content.batch.iter().flat_map(|batch| &batch.stock);
    for (n, movement) in stock.enumerate() {
        if remembered.movements.contains(&movement.id) {
            reasons.add(
                "movement_known",
                format_args!("/body/stock/{n}/id"),
                format_args!("stock movement {:?} was delivered before", movement.id.as_str()),
            );
        }
    }
}
