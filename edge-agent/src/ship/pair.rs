//! The certificate and the key that a store shows to the broker, and whether they are good. Pure: bytes
//! and time go in. A pair is used with the bytes that were judged; its files may change meanwhile.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use shared::ids::StoreId;
use shared::time::Timestamp;
use shared::topics::store_principal;

/// Bytes of a PEM file: a chain of some certificates takes ten thousand.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// Where the files lie.
#[derive(Debug, Clone)]
pub struct Files {
    /// The authority of the broker's certificate.
    pub ca: PathBuf,
    /// The store's certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// The store's key.
    pub key: PathBuf,
    /// The authority of the stores' certificates, where it is another than the broker's.
    pub client_ca: Option<PathBuf>,
}

/// What is wrong with a pair.
#[derive(Debug, thiserror::Error)]
pub enum PairFault {
    /// A file cannot be read.
    #[error("{key} cannot be read: {path}")]
    Read {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file holds something else.
    #[error("{0} does not hold what it must, in PEM")]
    Content(&'static str),
    /// The key is of another certificate.
    #[error("kafka.key is not the key of kafka.certificate")]
    Mismatch,
    /// The certificate is of somebody else.
    #[error("kafka.certificate is of {found:?}, this store's is of {wanted:?}")]
    OtherStore {
        /// Its subject.
        found: String,
        /// The subject that it must have.
        wanted: String,
    },
    /// It is not valid any more.
    #[error("this store's certificate expired at {0} (kafka.certificate)")]
    Expired(Timestamp),
    /// It is not valid yet.
    #[error("this store's certificate is not valid before {0} (kafka.certificate)")]
    NotYet(Timestamp),
    /// Another authority has issued it.
    #[error(
        "kafka.certificate was not issued by the authority of kafka.client_ca, or of kafka.ca where \
         that is not set"
    )]
    Foreign,
    /// Anything else that TLS finds.
    #[error("kafka.certificate cannot be used")]
    Unusable(#[source] rustls::Error),
}

/// What the files held at one moment.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The authorities that the broker is known by, PEM.
    pub(super) ca: String,
    /// The store's certificate and those above it, PEM.
    pub(super) certificate: String,
    /// The store's key, PEM.
    pub(super) key: String,
    /// The authorities of stores, PEM.
    client_ca: String,
}

/// When a certificate is valid, and of whom it is.
struct About {
    subject: String,
    begins: Timestamp,
    expires: Timestamp,
}

impl fmt::Debug for Pair {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Pair(expires {:?})", self.expires())
    }
}

impl Pair {
    /// Reads the files as they are now.
    pub fn read(files: &Files) -> Result<Self, PairFault> {
        let ca = text("kafka.ca", &files.ca)?;
        Ok(Self {
            client_ca: match &files.client_ca {
                Some(path) => text("kafka.client_ca", path)?,
                None => ca.clone(),
            },
            ca,
            certificate: text("kafka.certificate", &files.certificate)?,
            key: text("kafka.key", &files.key)?,
        })
    }

    /// Returns when the certificate expires, where it can be read.
    pub fn expires(&self) -> Option<Timestamp> {
        let chain = certificates("kafka.certificate", &self.certificate).ok()?;
        about(chain.first()?).ok().map(|about| about.expires)
    }

    /// Judges whether the pair may be used by a store at a time.
    pub fn judge(&self, store: &StoreId, now: Timestamp) -> Result<(), PairFault> {
        let authorities = certificates("kafka.ca", &self.ca)?;
        assert!(!authorities.is_empty(), "a file without a certificate is a fault");
        let chain = certificates("kafka.certificate", &self.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|_| PairFault::Content("kafka.key"))?;
        let (own, above) = chain.split_first().ok_or(PairFault::Content("kafka.certificate"))?;
        CertifiedKey::from_der(chain.clone(), key, &provider()).map_err(unusable)?;
        let (about, wanted) = (about(own)?, format!("CN={}", store_principal(store)));
        if about.subject != wanted {
            return Err(PairFault::OtherStore { found: about.subject, wanted });
        }
        if now > about.expires {
            return Err(PairFault::Expired(about.expires));
        }
        if now < about.begins {
            return Err(PairFault::NotYet(about.begins));
        }
        self.judge_chain(own, above, now)
    }

    fn judge_chain(
        &self,
        own: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<(), PairFault> {
        let mut roots = RootCertStore::empty();
        for authority in certificates("kafka.client_ca", &self.client_ca)? {
            roots.add(authority).map_err(PairFault::Unusable)?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|_| PairFault::Content("kafka.client_ca"))?;
        let since = u64::try_from(now.unix_millis()).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(Duration::from_millis(since));
        verifier.verify_client_cert(own, above, now).map(|_| ()).map_err(unusable)
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "TLS may find anything; these have words")]
fn unusable(error: rustls::Error) -> PairFault {
    use rustls::CertificateError;
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => PairFault::Mismatch,
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => PairFault::Foreign,
        other => PairFault::Unusable(other),
    }
}

fn certificates(key: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, PairFault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) | Err(_) => Err(PairFault::Content(key)),
    }
}

fn about(certificate: &CertificateDer<'_>) -> Result<About, PairFault> {
    let broken = || PairFault::Content("kafka.certificate");
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|_| broken())?;
    let at = |seconds: i64| seconds.checked_mul(1000).and_then(Timestamp::from_unix_millis);
    let validity = parsed.validity();
    Ok(About {
        subject: parsed.subject().to_string(),
        begins: at(validity.not_before.timestamp()).ok_or_else(broken)?,
        expires: at(validity.not_after.timestamp()).ok_or_else(broken)?,
    })
}

fn text(key: &'static str, path: &Path) -> Result<String, PairFault> {
    use std::io::Read;
    let failed = |source| PairFault::Read { key, path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    String::from_utf8(bytes).map_err(|_| PairFault::Content(key))
}

/// The provider is named: with two of them in the graph there is no default.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(test)]
mod tests {
    use fakes::authority::{Authority, Credentials};

    use super::*;

    struct Desk {
        folder: tempfile::TempDir,
        authority: Authority,
    }

    impl Desk {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let authority = Authority::open(&folder.path().join("ca"), "ours").unwrap();
            Self { folder, authority }
        }

        fn issued(&self, name: &str, days: std::ops::RangeInclusive<i64>) -> Credentials {
            let folder = self.folder.path().join(format!("{name}{}", days.end()));
            self.authority.renew(name, &folder, days).unwrap()
        }

        fn judged(&self, credentials: &Credentials) -> String {
            let files = Files {
                ca: credentials.ca.clone(),
                certificate: credentials.certificate.clone(),
                key: credentials.key.clone(),
                client_ca: None,
            };
            let now = shared::time::Clock::real().now();
            let judged =
                Pair::read(&files).and_then(|pair| pair.judge(&"10".parse().unwrap(), now));
            judged
                .map_or_else(|fault| shared::log::Chain(&fault).to_string(), |()| "good".to_owned())
        }
    }

    #[test]
    fn a_pair_is_good_or_says_what_is_wrong_with_it() {
        let desk = Desk::new();
        let good = desk.issued("store-10", -1..=30);
        assert_eq!(desk.judged(&good), "good");
        let other = desk.issued("store-11", -1..=30);
        let told = desk.judged(&other);
        assert!(told.contains("\"CN=store-11\", this store's is of \"CN=store-10\""), "{told}");
        let crossed = Credentials { key: other.key.clone(), ..good.clone() };
        assert_eq!(desk.judged(&crossed), "kafka.key is not the key of kafka.certificate");
        let told = desk.judged(&desk.issued("store-10", -9..=-2));
        assert!(told.starts_with("this store's certificate expired at "), "{told}");
        let told = desk.judged(&desk.issued("store-10", 2..=9));
        assert!(told.starts_with("this store's certificate is not valid before "), "{told}");
        let foreign = Authority::open(&desk.folder.path().join("foreign"), "another").unwrap();
        let foreign = foreign.client("store-10").unwrap();
        let told = desk.judged(&Credentials { ca: good.ca.clone(), ..foreign });
        assert!(told.contains("was not issued by the authority of kafka.client_ca"), "{told}");
        let crossed = Credentials { certificate: good.key.clone(), ..good.clone() };
        assert_eq!(desk.judged(&crossed), "kafka.certificate does not hold what it must, in PEM");
        let absent = Credentials { key: desk.folder.path().join("absent"), ..good };
        assert!(desk.judged(&absent).starts_with("kafka.key cannot be read: "));
    }
}
