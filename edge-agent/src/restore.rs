//! What the centre has of this store, read from a file that only the centre can have written. It
//! checks who signed it and whose it is; it changes nothing.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use shared::delivered::{Delivered, DeliveredError, FILE_BYTES_MAX, SignedDelivered};
use shared::ids::StoreId;
use x509_parser::pem::parse_x509_pem;

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It is larger than any that the centre writes.
    #[error("{0} is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge(PathBuf),
    /// The centre's certificate is none.
    #[error("{0} is not a certificate (PEM)")]
    Certificate(PathBuf),
    /// It is not such a file.
    #[error("{path} is not what the centre writes")]
    Content {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: DeliveredError,
    },
    /// Somebody else wrote it, or it was changed since.
    #[error("{0} was not signed by the centre, or was changed since")]
    Signature(PathBuf),
    /// It is of another store.
    #[error("{path} is of store {of}, this is store {own}")]
    OtherStore {
        /// The file.
        path: PathBuf,
        /// Its store.
        of: StoreId,
        /// This store.
        own: StoreId,
    },
}

/// Reads a file, and believes it where the holder of the certificate signed it for this store.
pub fn read(path: &Path, certificate: &Path, own: &StoreId) -> Result<Delivered, RestoreError> {
    let content = |source| RestoreError::Content { path: path.to_owned(), source };
    let signed = SignedDelivered::parse(&text(path)?).map_err(content)?;
    let pem = std::fs::read(certificate)
        .map_err(|source| RestoreError::Read { path: certificate.to_owned(), source })?;
    let point =
        public_key(&pem).ok_or_else(|| RestoreError::Certificate(certificate.to_owned()))?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
        .verify(&signed.signed_bytes(), &signed.signature)
        .map_err(|_| RestoreError::Signature(path.to_owned()))?;
    let delivered = signed.content().map_err(content)?;
    if delivered.store != *own {
        let (of, own) = (delivered.store, own.clone());
        return Err(RestoreError::OtherStore { path: path.to_owned(), of, own });
    }
    Ok(delivered)
}

fn text(path: &Path) -> Result<String, RestoreError> {
    let failed = |source| RestoreError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(RestoreError::TooLarge(path.to_owned()));
    }
    Ok(text)
}

/// Returns the public key of a certificate, as the curve's point.
fn public_key(pem: &[u8]) -> Option<Vec<u8>> {
    let (_, pem) = parse_x509_pem(pem).ok()?;
    Some(pem.parse_x509().ok()?.public_key().subject_public_key.data.to_vec())
}
