//! TLS of a line: we know the till by its authority, or it knows us. Verification is never turned off.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::config::{ClientTls, ServerTls};

/// Returns what makes a connection to a till safe, and the name that the till must have.
pub(super) fn connector(tls: &ClientTls) -> io::Result<(TlsConnector, ServerName<'static>)> {
    let name = ServerName::try_from(tls.server_name.clone()).map_err(io::Error::other)?;
    let mut roots = RootCertStore::empty();
    for authority in certificates(&tls.ca)? {
        roots.add(authority).map_err(io::Error::other)?;
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((TlsConnector::from(Arc::new(config)), name))
}

/// Returns what makes a till's connection to us safe.
pub(super) fn acceptor(tls: &ServerTls) -> io::Result<TlsAcceptor> {
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(io::Error::other)?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(certificates(&tls.certificate)?, key)
        .map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = read.map_err(io::Error::other)?;
    if found.is_empty() {
        return Err(io::Error::other(format!("{} holds no certificate", path.display())));
    }
    Ok(found)
}

/// The provider is named: with two of them in the graph there is no default.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
