//! What the store shows to the broker, and when that changes: the files are looked at every second, a
//! new pair is judged before it is used, and one that is no good changes nothing but the status.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::ids::StoreId;
use shared::log::Chain;
use shared::time::{Clock, Timestamp};
use tokio::sync::watch;
use tokio::time::sleep;

use super::pair::{Files, Pair, PairFault};
use crate::built;

/// How often the files are looked at.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// What the store shows to the broker.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// The pair in use; nothing where there was none to read.
    pub(super) pair: Option<Arc<Pair>>,
    /// What is wrong with it.
    fault: Option<String>,
    /// Why what lies in the files now is not used.
    refused: Option<String>,
}

/// What the status says of the certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// When the certificate in use expires.
    pub expires: Option<Timestamp>,
    /// What is wrong with it.
    pub fault: Option<String>,
    /// Why a newer one that lies there is not used.
    pub refused: Option<String>,
}

impl Identity {
    /// Returns what the status says.
    pub fn status(&self) -> CertificateStatus {
        let expires = self.pair.as_ref().and_then(|pair| pair.expires());
        CertificateStatus { expires, fault: self.fault.clone(), refused: self.refused.clone() }
    }

    /// Returns true where the other shows the same.
    pub(super) fn shows_what(&self, other: &Self) -> bool {
        match (&self.pair, &other.pair) {
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Names what is wrong with the own side before what the way to the broker says: a broker tells an
    /// expired certificate from none at all no better than a wrong clock does.
    pub(super) fn explain(&self, reason: String, now: Timestamp) -> String {
        let own = [built::clock_fault(now), self.fault.clone()];
        own.into_iter().flatten().chain([reason]).collect::<Vec<_>>().join("; ")
    }
}

impl CertificateStatus {
    /// Returns the days until the certificate expires, negative where it has.
    pub fn days_left(&self, now: Timestamp) -> Option<i64> {
        let millis = self.expires?.unix_millis() - now.unix_millis();
        Some(millis.div_euclid(86_400_000))
    }
}

/// What looks at the files.
pub struct Watcher {
    files: Files,
    store: StoreId,
    shown: watch::Sender<Identity>,
    /// What was seen at the last look and was no good: between two files of a pair that change one
    /// after the other every look would find fault.
    doubted: Option<Doubted>,
}

#[derive(PartialEq, Eq)]
enum Doubted {
    Pair(Box<Pair>),
    Unread(String),
}

impl Watcher {
    /// Reads the files and uses what is there: a bad pair is better tried than none.
    pub fn new(files: Files, store: StoreId) -> (Self, watch::Receiver<Identity>) {
        let (shown, seen) = watch::channel(Identity::default());
        let mut watcher = Self { files, store, shown, doubted: None };
        watcher.look(Clock::real().now());
        (watcher, seen)
    }

    /// Looks at the files until told to stop.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = sleep(LOOK_PAUSE) => self.look(Clock::real().now()),
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    fn look(&mut self, now: Timestamp) {
        let read = Pair::read(&self.files);
        let shown = self.shown.borrow().clone();
        if let Some(next) = self.next(&shown, read, now) {
            self.shown.send_replace(next);
        }
    }

    /// Returns what is shown from now on, where that changes.
    fn next(
        &mut self,
        shown: &Identity,
        read: Result<Pair, PairFault>,
        now: Timestamp,
    ) -> Option<Identity> {
        // A clock that is behind the program's own age tells nothing of what is valid.
        let now = now.max(built::at());
        let told = |fault: &PairFault| Chain(fault).to_string();
        let pair = match read {
            Ok(pair) => pair,
            Err(fault) if shown.pair.is_none() => {
                let fault = Some(told(&fault));
                return (fault != shown.fault).then(|| Identity { fault, ..shown.clone() });
            }
            Err(fault) => return self.doubt(shown, Doubted::Unread(told(&fault)), told(&fault)),
        };
        let judged = pair.judge(&self.store, now).map_err(|fault| told(&fault));
        match (&shown.pair, judged) {
            (Some(used), judged) if **used == pair => {
                self.doubted = None;
                let fault = judged.err();
                let same = shown.refused.is_none() && fault == shown.fault;
                (!same).then(|| Identity { pair: Some(Arc::clone(used)), fault, refused: None })
            }
            (Some(_), Err(fault)) => self.doubt(shown, Doubted::Pair(Box::new(pair)), fault),
            (used, judged) => {
                let (expires, fault) = (pair.expires(), judged.err());
                let expires = expires.map_or_else(|| "unknown".to_owned(), |at| at.to_string());
                match &fault {
                    Some(fault) => {
                        tracing::error!(%fault, "the certificate is no good; it is tried");
                    }
                    None if used.is_some() => tracing::info!(%expires, "a new certificate is used"),
                    None => tracing::info!(%expires, "the certificate is good"),
                }
                self.doubted = None;
                Some(Identity { pair: Some(Arc::new(pair)), fault, refused: None })
            }
        }
    }

    /// Refuses what was already seen at the last look, and waits for another look otherwise.
    fn doubt(&mut self, shown: &Identity, seen: Doubted, fault: String) -> Option<Identity> {
        let again = self.doubted.as_ref() == Some(&seen);
        self.doubted = Some(seen);
        if !again || shown.refused.as_ref() == Some(&fault) {
            return None;
        }
        tracing::error!(%fault, "the new certificate is refused; the old one stays in use");
        Some(Identity { refused: Some(fault), ..shown.clone() })
    }
}

#[cfg(test)]
mod tests {
    use fakes::authority::{Authority, Credentials};

    use super::*;

    #[test]
    fn a_bad_pair_changes_nothing_and_a_good_one_is_used_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(&folder.path().join("ca"), "ours").unwrap();
        let issued = |days| authority.renew("store-10", folder.path(), days).unwrap();
        let Credentials { ca, certificate, key } = issued(-1..=30);
        let files = Files { ca, certificate, key, client_ca: None };
        let (mut watcher, seen) = Watcher::new(files.clone(), "10".parse().unwrap());
        let first = seen.borrow().clone();
        assert_eq!((&first.fault, &first.refused), (&None, &None));
        let now = Clock::real().now();
        // Half of a new pair: one look may fall between its two files.
        let old = std::fs::read(&files.certificate).unwrap();
        issued(-1..=60);
        let new = std::fs::read(&files.certificate).unwrap();
        std::fs::write(&files.certificate, old).unwrap();
        watcher.look(now);
        assert!(seen.borrow().shows_what(&first) && seen.borrow().refused.is_none());
        watcher.look(now);
        assert!(seen.borrow().shows_what(&first));
        let refused = seen.borrow().refused.clone().unwrap();
        assert_eq!(refused, "kafka.key is not the key of kafka.certificate");
        std::fs::write(&files.certificate, new).unwrap();
        watcher.look(now);
        let second = seen.borrow().clone();
        assert!(!second.shows_what(&first) && second.refused.is_none());
        // Gone for good: told, and the pair in use stays.
        std::fs::remove_file(&files.key).unwrap();
        watcher.look(now);
        watcher.look(now);
        assert!(seen.borrow().shows_what(&second));
        assert!(seen.borrow().refused.clone().unwrap().starts_with("kafka.key cannot be read"));
    }

    #[test]
    fn a_certificate_that_expires_in_use_is_named_and_a_clock_of_1970_judges_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(&folder.path().join("ca"), "ours").unwrap();
        let Credentials { ca, certificate, key } =
            authority.renew("store-10", folder.path(), -30..=30).unwrap();
        let files = Files { ca, certificate, key, client_ca: None };
        let (mut watcher, seen) = Watcher::new(files, "10".parse().unwrap());
        let past: Timestamp = "1970-01-01T00:00:07Z".parse().unwrap();
        watcher.look(past);
        assert_eq!(seen.borrow().fault, None);
        let told = seen.borrow().explain("no answer".to_owned(), past);
        assert!(told.starts_with("the clock of this machine says 1970"), "{told}");
        let later = Clock::real().now().plus(Duration::from_secs(86_400 * 40));
        watcher.look(later);
        let told = seen.borrow().explain("no answer".to_owned(), later);
        assert!(told.starts_with("this store's certificate expired at "), "{told}");
        assert!(told.ends_with("; no answer"), "{told}");
        assert!(seen.borrow().status().days_left(later).unwrap() < 0);
        // The clock was wrong: nothing is wrong with the certificate.
        watcher.look(Clock::real().now());
        assert_eq!(seen.borrow().fault, None);
    }
}
