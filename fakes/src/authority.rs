//! A certificate authority for tests and demos: ECDSA P-256, keys as PKCS#8 PEM readable by their
//! owner only. It issues a name as often as it is asked to; it knows no revocation.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use chrono::{Datelike, NaiveDate, TimeDelta};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use shared::time::Clock;

use crate::error::StackError;
use crate::files;

/// Days a certificate is valid; a stack does not live longer.
const VALID_DAYS: i64 = 825;

/// What a client or server shows and trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The authority's certificate, PEM.
    pub ca: PathBuf,
    /// The own certificate, PEM.
    pub certificate: PathBuf,
    /// The own key, PKCS#8 PEM.
    pub key: PathBuf,
}

/// An authority that lives in a folder: `ca.pem`, `ca.key`, and `NAME.pem`, `NAME.key` for each
/// certificate it has issued.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Opens the authority in a folder, or founds it there under this common name.
    pub fn open(folder: &Path, common_name: &str) -> Result<Self, StackError> {
        let (certificate, key) = (folder.join("ca.pem"), folder.join("ca.key"));
        if !certificate.exists() {
            found(folder, common_name)?;
        }
        let key = KeyPair::from_pem(&files::read(&key)?)
            .map_err(StackError::foreign("the authority's key is broken"))?;
        let issuer = Issuer::from_ca_cert_pem(&files::read(&certificate)?, key)
            .map_err(StackError::foreign("the authority's certificate is broken"))?;
        Ok(Self { folder: folder.to_owned(), issuer })
    }

    /// Returns the path of the authority's own certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Returns the credentials of a client, issued at the first call. The subject is the common
    /// name and nothing else, as brokers map it to a principal.
    pub fn client(&self, common_name: &str) -> Result<Credentials, StackError> {
        self.issued(common_name, &[])
    }

    /// Returns the credentials of a server on this machine, issued at the first call.
    pub fn server(&self, common_name: &str) -> Result<Credentials, StackError> {
        self.issued(common_name, &["localhost", "127.0.0.1"])
    }

    /// Issues new credentials of a client into a folder, whatever lies there, valid from one day to
    /// another, both counted from today.
    pub fn renew(
        &self,
        common_name: &str,
        folder: &Path,
        days: RangeInclusive<i64>,
    ) -> Result<Credentials, StackError> {
        files::create_folder(folder)?;
        let ca = self.certificate();
        let to = Credentials { ca, ..credentials(folder, common_name) };
        let mut params = parameters(common_name, &[])?;
        validity(&mut params, (*days.start(), *days.end()));
        self.issue(&to, params)?;
        Ok(to)
    }

    fn issued(&self, name: &str, hosts: &[&str]) -> Result<Credentials, StackError> {
        let issued = credentials(&self.folder, name);
        if !issued.certificate.exists() {
            self.issue(&issued, parameters(name, hosts)?)?;
        }
        Ok(issued)
    }

    /// The key is written before the certificate: where the certificate is, both are.
    fn issue(&self, to: &Credentials, mut params: CertificateParams) -> Result<(), StackError> {
        let failed = || format!("cannot issue the certificate {}", to.certificate.display());
        let key = KeyPair::generate().map_err(StackError::foreign(failed()))?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !params.subject_alt_names.is_empty() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.use_authority_key_identifier_extension = true;
        let certificate =
            params.signed_by(&key, &self.issuer).map_err(StackError::foreign(failed()))?;
        files::write_private(&to.key, &key.serialize_pem())?;
        files::write(&to.certificate, &certificate.pem())
    }
}

/// Returns where the credentials of this name lie in an authority's folder.
pub fn credentials(folder: &Path, name: &str) -> Credentials {
    Credentials {
        ca: folder.join("ca.pem"),
        certificate: folder.join(format!("{name}.pem")),
        key: folder.join(format!("{name}.key")),
    }
}

fn found(folder: &Path, common_name: &str) -> Result<(), StackError> {
    let failed = || format!("cannot found the authority {common_name}");
    fs::create_dir_all(folder).map_err(StackError::path("create", folder))?;
    let key = KeyPair::generate().map_err(StackError::foreign(failed()))?;
    let mut params = parameters(common_name, &[])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).map_err(StackError::foreign(failed()))?;
    files::write_private(&folder.join("ca.key"), &key.serialize_pem())?;
    files::write(&folder.join("ca.pem"), &certificate.pem())
}

fn parameters(common_name: &str, hosts: &[&str]) -> Result<CertificateParams, StackError> {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut params = CertificateParams::new(hosts)
        .map_err(StackError::foreign(format!("{common_name} has a host name that is none")))?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    validity(&mut params, (-1, VALID_DAYS));
    Ok(params)
}

/// Sets the days between which a certificate is valid, counted from today.
fn validity(params: &mut CertificateParams, (first, last): (i64, i64)) {
    let today = Clock::real().now().utc().date_naive();
    let (first, last) = (today + TimeDelta::days(first), today + TimeDelta::days(last));
    params.not_before = date_time_ymd(first.year(), month(first), day(first));
    params.not_after = date_time_ymd(last.year(), month(last), day(last));
}

fn month(date: NaiveDate) -> u8 {
    u8::try_from(date.month()).expect("a month is at most 12")
}

fn day(date: NaiveDate) -> u8 {
    u8::try_from(date.day()).expect("a day is at most 31")
}
