//! TLS as a client of the fakes: trusts one authority, shows one certificate or none. Never turns
//! verification off.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;

use crate::authority::Credentials;
use crate::error::StackError;

/// The name that every server of a stack has in its certificate.
pub const HOST: &str = "localhost";

/// Returns a configuration that trusts this authority and shows no certificate.
pub fn trusting(ca: &Path) -> Result<ClientConfig, StackError> {
    let builder = builder(ca)?;
    Ok(builder.with_no_client_auth())
}

/// Returns a configuration that shows these credentials.
pub fn showing(own: &Credentials) -> Result<ClientConfig, StackError> {
    let broken = |path: &Path| StackError::foreign(format!("{} holds no PEM", path.display()));
    let chain = CertificateDer::pem_file_iter(&own.certificate)
        .and_then(Iterator::collect)
        .map_err(broken(&own.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&own.key).map_err(broken(&own.key))?;
    builder(&own.ca)?.with_client_auth_cert(chain, key).map_err(StackError::foreign(format!(
        "key and certificate {} do not fit",
        own.certificate.display()
    )))
}

/// Returns the server name to verify against.
pub fn server_name() -> ServerName<'static> {
    ServerName::try_from(HOST).expect("the constant is a host name")
}

/// The provider is named: with two of them in the graph there is no default.
fn builder(
    ca: &Path,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, StackError> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(ca)
        .map_err(StackError::foreign(format!("{} holds no certificate", ca.display())))?;
    roots.add(authority).map_err(StackError::foreign("the authority's certificate is broken"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(StackError::foreign("no TLS version is usable"))?;
    Ok(builder.with_root_certificates(roots))
}
