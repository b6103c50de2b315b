//! TLS for everything that is not librdkafka: who we trust and who we are. The only file that
//! names rustls, and the one that signs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore};

/// A finished set-up.
pub(crate) type ClientTls = ClientConfig;

/// Why a TLS set-up cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be read.
    #[error("cannot read {}", file.display())]
    Pem {
        /// The file.
        file: PathBuf,
        /// The cause.
        #[source]
        source: pem::Error,
    },
    /// What the files hold cannot be used.
    #[error("cannot use {}", file.display())]
    Use {
        /// The file.
        file: PathBuf,
        /// The cause.
        #[source]
        source: rustls::Error,
    },
}

/// Why nothing is signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The key cannot be read.
    #[error("cannot read {}", file.display())]
    Pem {
        /// The file.
        file: PathBuf,
        /// The cause.
        #[source]
        source: pem::Error,
    },
    /// The key is of another kind.
    #[error("{} is no ECDSA P-256 key in PKCS#8 form", .0.display())]
    Kind(PathBuf),
    /// There is no randomness.
    #[error("nothing could be signed")]
    Signing,
}

/// Signs bytes by ECDSA P-256 with SHA-256, in ASN.1 form.
pub(crate) fn sign(key: &Path, bytes: &[u8]) -> Result<Vec<u8>, SignError> {
    let pem = |source| SignError::Pem { file: key.to_owned(), source };
    let secret = PrivatePkcs8KeyDer::from_pem_file(key).map_err(pem)?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, secret.secret_pkcs8_der());
    let pair = pair.map_err(|_| SignError::Kind(key.to_owned()))?;
    let signature = pair.sign(&SystemRandom::new(), bytes).map_err(|_| SignError::Signing)?;
    Ok(signature.as_ref().to_vec())
}

/// Returns a set-up that trusts one authority and shows no certificate.
pub(crate) fn trusting(ca: &Path) -> Result<ClientTls, TlsError> {
    Ok(builder(ca)?.with_no_client_auth())
}

/// Returns a set-up that trusts one authority and shows our certificate.
pub(crate) fn mutual(ca: &Path, certificate: &Path, key: &Path) -> Result<ClientTls, TlsError> {
    let chain = certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key)
        .map_err(|source| TlsError::Pem { file: key.to_owned(), source })?;
    builder(ca)?
        .with_client_auth_cert(chain, secret)
        .map_err(|source| TlsError::Use { file: certificate.to_owned(), source })
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn builder(ca: &Path) -> Result<Builder, TlsError> {
    let fault = |source| TlsError::Use { file: ca.to_owned(), source };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(fault)?;
    }
    // Two providers are in the graph, so the default one is ambiguous.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(fault)?;
    Ok(versions.with_root_certificates(roots))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault = |source| TlsError::Pem { file: file.to_owned(), source };
    CertificateDer::pem_file_iter(file).map_err(fault)?.collect::<Result<_, _>>().map_err(fault)
}
