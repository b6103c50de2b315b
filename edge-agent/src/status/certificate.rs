//! How long the store's certificate is valid.

use std::path::Path;

use shared::time::Timestamp;
use x509_parser::pem::parse_x509_pem;

/// Returns the days until a certificate expires, negative where it has; nothing where it cannot be read.
pub(super) fn days_left(certificate: &Path, now: Timestamp) -> Option<i64> {
    let bytes = std::fs::read(certificate).ok()?;
    let (_, pem) = parse_x509_pem(&bytes).ok()?;
    let expires = pem.parse_x509().ok()?.validity().not_after.timestamp();
    Some((expires - now.unix_millis() / 1000).div_euclid(86_400))
}
