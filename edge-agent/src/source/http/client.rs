//! One question and its answer over HTTP. The answer is read into a bound; a redirect never leaves
//! its host, so that the secret header goes nowhere else; plain time-outs hold on every step.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, StatusCode, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};
use shared::time::Timestamp;

use crate::config::HttpConfig;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 3;

/// The longest wait that a service can ask for: a wrong date must not silence a store for a day.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("cannot read {}", file.display())]
    Pem {
        file: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error("no authority is trusted: {0}")]
    Roots(&'static str),
    #[error("the TLS set-up is not usable")]
    Tls(#[source] rustls::Error),
    #[error("the client cannot be made")]
    Client(#[source] reqwest::Error),
    #[error("cannot read the header's file {}", file.display())]
    Header {
        file: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the header's name or value is not usable")]
    HeaderValue,
    #[error("it does not answer")]
    Request(#[source] reqwest::Error),
    #[error(
        "its certificate is not one that is trusted here: does ca name its authority, url its name?"
    )]
    Stranger(#[source] reqwest::Error),
    #[error("the answer breaks off")]
    Body(#[source] reqwest::Error),
    #[error("the answer is larger than {0} bytes; raise page_bytes_max or ask for smaller pages")]
    TooLarge(usize),
    #[error(
        "it answers {status} and leads to {to}: put that into url, a secret follows nobody there"
    )]
    Elsewhere { status: StatusCode, to: String },
    #[error("it answers {status}")]
    Status { status: StatusCode, retry_after: Option<Duration> },
}

impl ClientError {
    /// Returns how long the service asks us to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Pem { .. }
            | Self::Roots(_)
            | Self::Tls(_)
            | Self::Client(_)
            | Self::Header { .. }
            | Self::HeaderValue
            | Self::Request(_)
            | Self::Stranger(_)
            | Self::Body(_)
            | Self::TooLarge(_)
            | Self::Elsewhere { .. } => None,
        }
    }

    /// Returns true where the service does not accept what was asked, such as a word it has forgotten.
    pub(super) fn is_refusal(&self) -> bool {
        let refused = [StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND, StatusCode::GONE];
        matches!(self, Self::Status { status, .. } if refused.contains(status))
    }
}

/// What a service answers.
#[derive(Debug)]
pub(super) enum Answer {
    /// A page.
    Page { bytes: Vec<u8>, etag: Option<String> },
    /// The same as before.
    NotModified,
}

/// What to ask.
pub(super) struct Question<'a> {
    pub(super) url: &'a str,
    pub(super) body: Option<&'a str>,
    pub(super) etag: Option<&'a str>,
    /// The time, for answers that name one at which to ask again.
    pub(super) now: Timestamp,
}

/// Makes a client.
pub(super) fn make(config: &HttpConfig) -> Result<Client, ClientError> {
    let policy = redirect::Policy::custom(|attempt| {
        let origin = attempt.previous().first().map(|url| url.origin());
        if origin != Some(attempt.url().origin()) || attempt.previous().len() > REDIRECTS_MAX {
            return attempt.stop();
        }
        attempt.follow()
    });
    Client::builder()
        .tls_backend_preconfigured(tls(config.ca.as_deref())?)
        .no_proxy()
        .redirect(policy)
        .connect_timeout(CONNECT_TIMEOUT.min(config.timeout))
        .timeout(config.timeout)
        .build()
        .map_err(ClientError::Client)
}

/// The provider is named: with two of them in a graph there is no default.
fn tls(ca: Option<&Path>) -> Result<ClientConfig, ClientError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(file) => {
            let fault = |source| ClientError::Pem { file: file.to_owned(), source };
            for certificate in CertificateDer::pem_file_iter(file).map_err(fault)? {
                roots.add(certificate.map_err(fault)?).map_err(ClientError::Tls)?;
            }
            if roots.is_empty() {
                return Err(ClientError::Roots("the file of ca holds no certificate"));
            }
        }
        None => {
            // What the system trusts; a plain http service needs none.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ClientError::Tls)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Asks once.
pub(super) async fn ask(
    client: &Client,
    config: &HttpConfig,
    question: Question<'_>,
) -> Result<Answer, ClientError> {
    let method = if config.post { Method::POST } else { Method::GET };
    let mut request = client.request(method, question.url).headers(headers(config).await?);
    if let Some(etag) = question.etag {
        request = request.header(header::IF_NONE_MATCH, etag);
    }
    if let Some(body) = question.body {
        request = request.header(header::CONTENT_TYPE, "application/json").body(body.to_owned());
    }
    let mut response = request.send().await.map_err(|error| unanswered(error.without_url()))?;
    let status = response.status();
    if status == StatusCode::NOT_MODIFIED {
        return Ok(Answer::NotModified);
    }
    if status.is_redirection()
        && let Some(to) = response.headers().get(header::LOCATION)
    {
        let to = super::without_query(&String::from_utf8_lossy(to.as_bytes()));
        return Err(ClientError::Elsewhere { status, to });
    }
    if status != StatusCode::OK {
        let value = response.headers().get(header::RETRY_AFTER);
        let value = value.and_then(|value| value.to_str().ok());
        let retry_after = value.and_then(|text| retry_after(text, question.now));
        return Err(ClientError::Status { status, retry_after });
    }
    let etag = response.headers().get(header::ETAG).and_then(|value| value.to_str().ok());
    let etag = etag.map(str::to_owned);
    let mut bytes = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|error| ClientError::Body(error.without_url()))?
    {
        if bytes.len() + chunk.len() > config.page_bytes_max {
            return Err(ClientError::TooLarge(config.page_bytes_max));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Answer::Page { bytes, etag })
}

/// Tells a service that is not the one meant from one that does not answer.
fn unanswered(error: reqwest::Error) -> ClientError {
    let first: &(dyn std::error::Error + 'static) = &error;
    let mut causes = std::iter::successors(Some(first), |cause| cause.source());
    let is_stranger =
        causes.any(|cause| matches!(wrapped(cause), Some(rustls::Error::InvalidCertificate(_))));
    if is_stranger { ClientError::Stranger(error) } else { ClientError::Request(error) }
}

/// Returns the error of TLS that errors of input and output wrap; as causes they pass over it.
fn wrapped<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let inner = cause.downcast_ref::<std::io::Error>()?.get_ref()?;
    inner.downcast_ref::<rustls::Error>().or_else(|| wrapped(inner))
}

/// Reads the secret anew for every question, so that it can be replaced while the agent runs.
async fn headers(config: &HttpConfig) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::new();
    if let Some((name, file)) = &config.header {
        let text = tokio::fs::read_to_string(file).await;
        let text = text.map_err(|source| ClientError::Header { file: file.clone(), source })?;
        let name = HeaderName::try_from(name.as_str()).map_err(|_| ClientError::HeaderValue)?;
        let value = HeaderValue::try_from(text.trim()).map_err(|_| ClientError::HeaderValue)?;
        let mut value = value;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// Reads how long to wait: seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = DateTime::parse_from_rfc2822(text).ok()?;
            Timestamp::from_utc(at.to_utc()).since(now)
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_asks_for_patience_in_seconds_or_by_a_date_and_never_for_a_day() {
        let now: Timestamp = "2026-11-23T09:41:00Z".parse().unwrap();
        for (text, seconds) in [
            ("7", Some(7)),
            ("Mon, 23 Nov 2026 09:41:30 GMT", Some(30)),
            ("Mon, 23 Nov 2026 09:40:00 GMT", Some(0)),
            ("Tue, 24 Nov 2026 09:41:00 GMT", Some(3600)),
            ("86400", Some(3600)),
            ("soon", None),
        ] {
            assert_eq!(retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
