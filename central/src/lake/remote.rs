//! What an object store must be told: its settings, checked by name, and its keys, which stand in a
//! file of their own or in the environment. A failure says what to look at.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use object_store::Error;
use object_store::aws::AmazonS3ConfigKey;

/// What holds where nothing else is said: the lake tries again by itself, so a request that fails
/// need not be repeated for minutes first.
const DEFAULTS: [(&str, &str); 4] =
    [("connect_timeout", "5s"), ("timeout", "30s"), ("max_retries", "3"), ("retry_timeout", "30s")];
/// Settings of the layers around the store's own client.
const OF_LAYERS: [&str; 6] = [
    "max_retries",
    "retry_timeout",
    "init_backoff",
    "max_backoff",
    "concurrency_limit",
    "certificate_path",
];
/// The keys of a credentials file.
const OF_FILE: [&str; 3] = ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"];
/// The profile that is read; a file without any has the same.
const PROFILE: &str = "[default]";

/// Why an object store is not asked at all.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A setting that nobody knows, which would be passed over in silence.
    #[error("lake.options.{0} is no setting of an object store")]
    Unknown(String),
    /// The file with the keys cannot be read.
    #[error("cannot read the credentials {}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Others may read the keys.
    #[error("{} has mode {mode:03o}: others may read the keys; `chmod 600` it", file.display())]
    Open {
        /// The file.
        file: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A line that says nothing known.
    #[error(
        "line {line} of the credentials {} is none of aws_access_key_id, aws_secret_access_key and \
         aws_session_token, with `=` and its value",
        file.display()
    )]
    Line {
        /// The file.
        file: PathBuf,
        /// The line's number.
        line: usize,
    },
    /// Nobody has said who asks.
    #[error(
        "there are no credentials for the store at {0}: name a lake.credentials_file, or set \
         AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
    )]
    NoCredentials(String),
}

/// Returns everything that the store's client must be told. Where it asks a store of one's own, the
/// keys must be known by now: the client would else look for them at addresses of Amazon's machines.
pub(super) fn settings(
    options: &BTreeMap<String, String>,
    credentials_file: Option<&Path>,
) -> Result<BTreeMap<String, String>, SettingsError> {
    let mut settings = BTreeMap::new();
    for (name, value) in options {
        let plain = plain(name);
        if !OF_LAYERS.contains(&plain.as_str()) && plain.parse::<AmazonS3ConfigKey>().is_err() {
            return Err(SettingsError::Unknown(name.clone()));
        }
        settings.insert(plain, value.clone());
    }
    if let Some(file) = credentials_file {
        settings.extend(read_credentials(file)?);
    }
    for (name, value) in DEFAULTS {
        let known = settings.contains_key(name) || settings.contains_key(&format!("aws_{name}"));
        if !known {
            settings.insert(name.to_owned(), value.to_owned());
        }
    }
    let said = said_of(&settings, &|name| std::env::var(name).ok());
    match said.endpoint {
        Some(endpoint) if !said.identity => Err(SettingsError::NoCredentials(endpoint)),
        Some(_) | None => Ok(settings),
    }
}

/// Names are known in lower case alone.
fn plain(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// What settings and environment say of where the store is and who asks.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    endpoint: Option<String>,
    identity: bool,
}

fn said_of(
    settings: &BTreeMap<String, String>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Said {
    let find = |wanted: AmazonS3ConfigKey| {
        let key_of = |name: &str| name.parse::<AmazonS3ConfigKey>().ok();
        let set = settings.iter().find(|(name, _)| key_of(name) == Some(wanted));
        let value = set.map(|(_, value)| value.clone());
        value.or_else(|| environment(&wanted.as_ref().to_ascii_uppercase()))
    };
    // Whoever sets one of these has said how the keys are come by.
    let ways = [
        AmazonS3ConfigKey::AccessKeyId,
        AmazonS3ConfigKey::WebIdentityTokenFile,
        AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
        AmazonS3ConfigKey::ContainerCredentialsFullUri,
        AmazonS3ConfigKey::MetadataEndpoint,
        AmazonS3ConfigKey::SkipSignature,
    ];
    let environment_endpoint = || environment("AWS_ENDPOINT_URL");
    let endpoint = find(AmazonS3ConfigKey::S3Endpoint)
        .or_else(|| find(AmazonS3ConfigKey::Endpoint))
        .or_else(environment_endpoint);
    Said { endpoint, identity: ways.into_iter().any(|way| find(way).is_some()) }
}

/// Returns the address that is asked, for people.
pub(super) fn endpoint(settings: &BTreeMap<String, String>) -> String {
    let said = said_of(settings, &|name| std::env::var(name).ok());
    said.endpoint.unwrap_or_else(|| "Amazon's address of its region".to_owned())
}

fn read_credentials(file: &Path) -> Result<BTreeMap<String, String>, SettingsError> {
    let failed = |source| SettingsError::File { file: file.to_owned(), source };
    let mode = std::fs::metadata(file).map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(SettingsError::Open { file: file.to_owned(), mode });
    }
    let text = std::fs::read_to_string(file).map_err(failed)?;
    parse_credentials(&text).map_err(|line| SettingsError::Line { file: file.to_owned(), line })
}

/// Reads the profile `default`; a wrong line is told by its number, since its text may be a secret.
fn parse_credentials(text: &str) -> Result<BTreeMap<String, String>, usize> {
    let mut found = BTreeMap::new();
    let mut ours = true;
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with('[') {
            ours = line == PROFILE;
            continue;
        }
        let (name, value) = line.split_once('=').ok_or(number)?;
        let (name, value) = (plain(name.trim()), value.trim());
        if ours && (!OF_FILE.contains(&name.as_str()) || value.is_empty()) {
            return Err(number);
        }
        if ours {
            found.insert(name, value.to_owned());
        }
    }
    Ok(found)
}

/// What a store's refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// There is no such bucket.
    NoBucket,
    /// The store does not let us.
    Denied,
    /// It is away or does not work; it may come back.
    Away,
}

/// Returns what a failure to write a name that nobody has yet means.
pub(super) fn meaning(error: &Error) -> Meaning {
    if matches!(error, Error::NotFound { .. }) {
        Meaning::NoBucket
    } else if matches!(
        error,
        // The last one is what no credentials are where Amazon's own ways to them were tried.
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } | Error::NotSupported { .. }
    ) {
        Meaning::Denied
    } else {
        Meaning::Away
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_profile_default_is_read_and_others_are_passed_over() {
        let text = "# ours\n[other]\nregion = x\n[default]\naws_access_key_id=AK\n\
                    AWS_SECRET_ACCESS_KEY = a=b/c+\n\n[third]\nwhat = ever\n";
        let wanted = texts(&[("aws_access_key_id", "AK"), ("aws_secret_access_key", "a=b/c+")]);
        assert_eq!(parse_credentials(text), Ok(wanted));
        for (text, line) in [
            ("aws_access_key_id = AK\nsecret = x", 2),
            ("aws_access_key_id", 1),
            ("\naws_secret_access_key =", 2),
        ] {
            assert_eq!(parse_credentials(text), Err(line), "{text}");
        }
    }

    #[test]
    fn a_setting_that_nobody_knows_is_refused_by_its_name() {
        let refused = settings(&texts(&[("endpont", "http://x")]), None).unwrap_err();
        assert!(refused.to_string().contains("lake.options.endpont"), "{refused}");
        let known = texts(&[("Region", "eu"), ("MAX_RETRIES", "9"), ("aws_allow_http", "true")]);
        let told = settings(&known, None).unwrap();
        assert_eq!(told["max_retries"], "9");
        assert_eq!(told["retry_timeout"], "30s");
        assert_eq!(told["region"], "eu");
    }

    #[test]
    fn whoever_asks_a_store_of_ones_own_must_be_known() {
        let nowhere = |_: &str| None;
        let endpoint = texts(&[("endpoint", "http://store")]);
        let said = said_of(&endpoint, &nowhere);
        assert_eq!(said, Said { endpoint: Some("http://store".to_owned()), identity: false });
        let by_environment = |name: &str| (name == "AWS_ACCESS_KEY_ID").then(|| "AK".to_owned());
        assert!(said_of(&endpoint, &by_environment).identity);
        assert!(
            said_of(&texts(&[("aws_role_arn", "x"), ("access_key_id", "AK")]), &nowhere).identity
        );
        assert_eq!(said_of(&texts(&[]), &nowhere).endpoint, None);
    }

    #[test]
    fn a_refusal_is_told_from_a_store_that_is_away() {
        let source = || "x".into();
        let (path, store) = ("lake".to_owned(), "S3");
        let missing = Error::NotFound { path: path.clone(), source: source() };
        assert_eq!(meaning(&missing), Meaning::NoBucket);
        let denied = Error::PermissionDenied { path, source: source() };
        assert_eq!(meaning(&denied), Meaning::Denied);
        assert_eq!(meaning(&Error::NotSupported { source: source() }), Meaning::Denied);
        assert_eq!(meaning(&Error::Generic { store, source: source() }), Meaning::Away);
    }

    #[test]
    fn keys_that_others_may_read_are_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "aws_access_key_id = AK\n").unwrap();
        let permissions = |mode| std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(file.path(), permissions(0o644)).unwrap();
        let refused = settings(&BTreeMap::new(), Some(file.path())).unwrap_err();
        assert!(refused.to_string().contains("mode 644"), "{refused}");
        std::fs::set_permissions(file.path(), permissions(0o640)).unwrap();
        let told = settings(&BTreeMap::new(), Some(file.path())).unwrap();
        assert_eq!(told["aws_access_key_id"], "AK");
    }
}
