//! The latest status record on its way: by the producer of the batches, one at a time. Whatever becomes
//! of it never ends that producer, and no batch waits for it. One that is lost with its producer is
//! followed by the next one's, which says more.

use std::time::Duration;

use shared::log::Chain;
use shared::minute::StoreStatus;
use tokio::sync::watch;
use tokio::time::Instant;

use super::kafka::{KafkaFault, Outcome, Producer};

/// How long no record goes out after one that was refused: a refusal makes librdkafka number the
/// batches' requests anew, which should not happen every minute.
const REFUSED_PAUSE: Duration = Duration::from_secs(600);

/// Status records of one producer's life.
pub(super) struct Statuses {
    latest: watch::Receiver<Option<StoreStatus>>,
    is_under_way: bool,
    refused: Option<Instant>,
}

impl Statuses {
    /// Begins with a producer; what the receiver has not seen is sent.
    pub(super) fn new(latest: watch::Receiver<Option<StoreStatus>>) -> Self {
        Self { latest, is_under_way: false, refused: None }
    }

    /// Hands the latest record over, where it is new and none is under way.
    pub(super) fn send(&mut self, producer: &Producer) {
        let rests = self.refused.is_some_and(|at| at.elapsed() < REFUSED_PAUSE);
        if self.is_under_way || rests || !self.latest.has_changed().unwrap_or(false) {
            return;
        }
        let Some(status) = self.latest.borrow_and_update().clone() else { return };
        match producer.send_status(&status) {
            Ok(()) => self.is_under_way = true,
            Err(fault) if fault.is_full() => self.latest.mark_changed(),
            Err(fault) => self.refuse(&fault),
        }
    }

    /// Takes what became of the record.
    pub(super) fn settle(&mut self, outcome: Option<Outcome>) {
        let Some(outcome) = outcome else { return };
        self.is_under_way = false;
        match outcome {
            Outcome::Delivered => self.refused = None,
            Outcome::Failed(fault) => self.refuse(&fault),
        }
    }

    fn refuse(&mut self, fault: &KafkaFault) {
        tracing::warn!(fault = %Chain(fault), "the broker does not take the status record");
        self.refused = Some(Instant::now());
    }
}
