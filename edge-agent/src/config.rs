//! The TOML file, checked whole at load: every fault is told at once, with its file, its key and
//! what would be right. It opens no database and reaches no network.
//!
//! ```toml
//! store = "0417"                     # required: the store's technical id
//! state_folder = "/var/lib/edge"     # required: status.json lies here
//! zone = "Europe/Berlin"             # the till's local time
//! business_day_cut = "03:00"         # where a new business day begins, local time
//! oldest_business_day = "2017-01-01" # default: today - 400 days
//! pos_store = "417"                  # the id inside the till's files; default: `store`, zeros aside
//! first_box = false                  # true: nothing counted this store's receipts before
//! grace_seconds = 5                  # how long a minute stays open after its end
//! holding_seconds = 10               # how long minutes that are over wait for more of their receipts
//! clock_file = "clock.json"          # only in fake mode
//! machine_id_file = "/etc/machine-id" # binds the buffer to the machine; empty: not bound
//! log = "text"                       # or "json"
//! [buffer]
//! path = "buffer.db"                 # required
//! key_file = "buffer.key"            # 64 hex digits, mode 600; default: systemd's credential of this name
//! counter_file = "buffer.db.counter" # default; on another disk it sees through one rolled back whole
//! quota_bytes = 2147483648           # what the database may take of the disk; its log comes on top
//! reserve_bytes = 16777216           # part of these kept for closing minutes and for printers' copies
//! [kafka]
//! brokers = "broker:9093"            # required
//! topic_prefix = "frischmarkt."
//! bytes_per_second = 0               # what may go out in a second before compression; 0: all
//! ca = "ca.pem"                      # required, as are the two below
//! certificate = "store.pem"
//! key = "store.key"                  # these are watched: a new pair is used without a restart
//! client_ca = "clients.pem"          # the authority of `certificate`; default: `ca`
//! [[sources]]                        # at least one
//! name = "tills"                     # required, unique
//! kind = "directory"                 # required; the keys of each kind stand in config/sources/
//! format = "poslog"                  # required
//! dialect = "ncr-acs"                # where the format has dialects
//! settings = "poslog.toml"           # where the format has settings of its own
//! role = "counts"                    # or "backfill", "closings": another source counts its tills
//! ```
//!
//! `centre_certificate` names the certificate of whoever signs the centre's files for `restore`.
//! `articles_file` names the table of the chain's article numbers, `customer_key_file` the key of
//! customers' pseudonyms (64 hex digits); without it no customer leaves a decoder.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveTime;
use chrono_tz::Tz;
use shared::ids::StoreId;
use shared::time::{BusinessDay, Clock};

mod section;
mod sources;

pub use sources::{
    Answer, BundleConfig, ClientTls, CursorKind, DirectoryConfig, FakeConfig, Flow, Hold,
    HttpConfig, LineConfig, Names, Reach, Role, SerialConfig, SerialFraming, ServerTls,
    SourceConfig, TcpConfig, TcpMode,
};

use crate::format::article::Articles;
use crate::format::pseudonym::Pseudonyms;
use section::Section;

/// The name under which systemd hands the buffer's key over.
const KEY_CREDENTIAL: &str = "buffer.key";

/// What the buffer may take where nothing is said: two months without a line at a large store.
const QUOTA_BYTES: u64 = 2 << 30;

/// The least quota: the largest batch and its rows must fit several times.
const QUOTA_BYTES_LEAST: u64 = 8 << 20;

/// What is kept for what cannot wait where nothing is said, of a small quota a quarter.
const RESERVE_BYTES: u64 = 16 << 20;

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The store.
    pub store: StoreId,
    /// The store's id inside the till's files.
    pub pos_store: Option<String>,
    /// Zone of the till's clock.
    pub zone: Tz,
    /// Local time at which a business day begins.
    pub business_day_cut: NaiveTime,
    /// Receipts of earlier days are set aside; nothing where the default holds, which moves with today.
    pub oldest_business_day: Option<BusinessDay>,
    /// Whether nothing counted this store's receipts before this buffer.
    pub first_box: bool,
    /// How long a minute stays open after its end.
    pub grace: Duration,
    /// How long minutes that are over wait for more of their receipts.
    pub holding: Duration,
    /// The clock, simulated in fake mode.
    pub clock: Clock,
    /// Where status files lie.
    pub state_folder: PathBuf,
    /// The certificate of whoever signs what the centre hands over as a file.
    pub centre_certificate: Option<PathBuf>,
    /// What binds the buffer to a machine; nothing where it is not bound.
    pub machine_id: Option<String>,
    /// How log lines look.
    pub log: shared::log::Format,
    /// The buffer.
    pub buffer: BufferConfig,
    /// The broker.
    pub kafka: KafkaConfig,
    /// How the chain's article numbers are built.
    pub articles: Arc<Articles>,
    /// What makes customers' numbers unreadable.
    pub pseudonyms: Option<Arc<Pseudonyms>>,
    /// The sources.
    pub sources: Vec<SourceConfig>,
}

/// Where the buffer lies.
#[derive(Debug, Clone)]
pub struct BufferConfig {
    /// The database file.
    pub path: PathBuf,
    /// The file with its key.
    pub key_file: PathBuf,
    /// The file with the mark of what was handed over.
    pub counter_file: PathBuf,
    /// Bytes that it may take of the disk.
    pub quota_bytes: u64,
    /// Bytes of these that are kept for what cannot wait.
    pub reserve_bytes: u64,
}

/// How the broker is reached.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    /// Host and port, several separated by commas.
    pub brokers: String,
    /// What stands before a topic's name.
    pub topic_prefix: String,
    /// The authority of the broker's certificate.
    pub ca: PathBuf,
    /// The store's certificate.
    pub certificate: PathBuf,
    /// The store's key.
    pub key: PathBuf,
    /// The authority of the stores' certificates, where it is another than the broker's.
    pub client_ca: Option<PathBuf>,
    /// Bytes of batches that may go out in a second; nothing where all may.
    pub bytes_per_second: Option<u64>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key, such as `kafka.brokers`; empty where the file itself is meant.
    pub key: String,
    /// What is wrong and what would be right.
    pub what: String,
}

/// All that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    /// The file.
    pub file: PathBuf,
    /// The faults, in the order of the file's sections.
    pub faults: Vec<Fault>,
}

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        for (at, fault) in self.faults.iter().enumerate() {
            let line = if at == 0 { "" } else { "\n" };
            match fault.key.as_str() {
                "" => write!(out, "{line}{file}: {}", fault.what)?,
                key => write!(out, "{line}{file}: {key}: {}", fault.what)?,
            }
        }
        Ok(())
    }
}

impl Config {
    /// Reads and checks a file. Relative paths in it start at the file's own folder.
    pub fn load(file: &Path) -> Result<Self, Faults> {
        let of_file = |what: String| Faults {
            file: file.to_owned(),
            faults: vec![Fault { key: String::new(), what }],
        };
        let text = std::fs::read_to_string(file)
            .map_err(|error| of_file(format!("cannot be read: {error}")))?;
        let base = file.parent().filter(|base| !base.as_os_str().is_empty());
        let base = base.unwrap_or(Path::new("."));
        let mut root =
            Section::parse(&text, base).map_err(|error| of_file(format!("is no TOML: {error}")))?;
        let config = read(&mut root);
        let faults = root.finish();
        match config {
            Some(config) if faults.is_empty() => Ok(config),
            Some(_) | None => Err(Faults { file: file.to_owned(), faults }),
        }
    }
}

/// Reads every key before it gives up, so that all faults are found.
fn read(root: &mut Section) -> Option<Config> {
    let clock = clock(root);
    let oldest = root.parsed("oldest_business_day", "a date such as \"2017-01-01\"");
    let store = root.required("store", "the store's id such as \"0417\"");
    let pos_store = root.text("pos_store");
    let zone = root.parsed("zone", "an IANA zone such as \"Europe/Berlin\"");
    let cut = root.text("business_day_cut").unwrap_or_else(|| "03:00".to_owned());
    let cut_time = NaiveTime::parse_from_str(&cut, "%H:%M").ok();
    if cut_time.is_none() {
        root.fault("business_day_cut", format!("{cut:?} is no local time such as \"03:00\""));
    }
    let first_box = root.flag("first_box");
    let grace = root.seconds("grace_seconds", 5, 0..=50);
    let holding = root.seconds("holding_seconds", 10, 1..=110);
    let state_folder = root.required_path("state_folder", "a folder that the agent may write to");
    let centre_certificate = root.path("centre_certificate");
    let machine_id = machine_id(root);
    let log = log_format(root);
    let buffer = buffer(&mut root.section("buffer"));
    let kafka = kafka(&mut root.section("kafka"));
    let (articles, pseudonyms) = (articles(root), pseudonyms(root));
    let sources = sources::read(root);
    let clock = clock?;
    Some(Config {
        store: store?,
        pos_store,
        zone: zone.unwrap_or(Tz::Europe__Berlin),
        business_day_cut: cut_time?,
        oldest_business_day: oldest,
        first_box: first_box.unwrap_or(false),
        grace,
        holding,
        clock,
        state_folder: state_folder?,
        centre_certificate,
        machine_id,
        log,
        buffer: buffer?,
        kafka: kafka?,
        articles: articles?,
        pseudonyms: pseudonyms?,
        sources: sources?,
    })
}

fn articles(root: &mut Section) -> Option<Arc<Articles>> {
    let Some(text) = root.file_text("articles_file")? else { return Some(Arc::default()) };
    match Articles::parse(&text) {
        Ok(articles) => Some(Arc::new(articles)),
        Err(error) => {
            root.fault("articles_file", error.to_string());
            None
        }
    }
}

fn pseudonyms(root: &mut Section) -> Option<Option<Arc<Pseudonyms>>> {
    let Some(text) = root.file_text("customer_key_file")? else { return Some(None) };
    match Pseudonyms::parse(&text) {
        Ok(pseudonyms) => Some(Some(Arc::new(pseudonyms))),
        Err(error) => {
            root.fault("customer_key_file", error.to_string());
            None
        }
    }
}

fn clock(root: &mut Section) -> Option<Clock> {
    let Some(path) = root.path("clock_file") else { return Some(Clock::real()) };
    match Clock::from_file(&path) {
        Ok(clock) => Some(clock),
        Err(error) => {
            root.fault("clock_file", shared::log::Chain(&error).to_string());
            None
        }
    }
}

/// Reads the machine's id. One that is empty or missing binds nothing, as in containers.
fn machine_id(root: &mut Section) -> Option<String> {
    let configured = root.text("machine_id_file");
    let path = configured.as_deref().unwrap_or("/etc/machine-id");
    if path.is_empty() {
        return None;
    }
    let id = std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    if id.is_empty() && configured.is_some() {
        root.fault("machine_id_file", format!("{path} holds no id; \"\" binds to no machine"));
    }
    (!id.is_empty()).then_some(id)
}

fn log_format(root: &mut Section) -> shared::log::Format {
    match root.text("log").as_deref() {
        None | Some("text") => shared::log::Format::Text,
        Some("json") => shared::log::Format::Json,
        Some(other) => {
            root.fault("log", format!("{other:?} is neither \"text\" nor \"json\""));
            shared::log::Format::Text
        }
    }
}

fn buffer(section: &mut Section) -> Option<BufferConfig> {
    let path = section.required_path("path", "the buffer's file");
    let key_file = key_file(section, std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from));
    if let Some(parent) = path.as_deref().and_then(Path::parent).filter(|parent| !parent.is_dir()) {
        section.fault("path", format!("the folder {} is not there", parent.display()));
    }
    let quota_bytes = section.number("quota_bytes", QUOTA_BYTES, QUOTA_BYTES_LEAST..=1 << 42);
    let by_default = RESERVE_BYTES.min(quota_bytes / 4);
    let reserve_bytes = section.number("reserve_bytes", by_default, 0..=1 << 40);
    if reserve_bytes > quota_bytes / 2 {
        let what = format!("{reserve_bytes} is more than half of quota_bytes, {quota_bytes}");
        section.fault("reserve_bytes", what);
    }
    let counter_file = section.path("counter_file");
    let path = path?;
    let counter_file = counter_file.unwrap_or_else(|| {
        let mut name = path.clone().into_os_string();
        name.push(".counter");
        name.into()
    });
    Some(BufferConfig { path, key_file: key_file?, counter_file, quota_bytes, reserve_bytes })
}

/// Returns the file of the buffer's key: what is configured, else what systemd hands over. Others must
/// not read it; systemd lets a service's user in by an access list, which shows as the group's right.
fn key_file(section: &mut Section, credentials: Option<PathBuf>) -> Option<PathBuf> {
    let handed_over = credentials.as_ref().map(|folder| folder.join(KEY_CREDENTIAL));
    let path = match handed_over.filter(|path| path.is_file()) {
        Some(path) if section.text("key_file").is_none() => path,
        Some(_) | None => section.required_file("key_file", "a file with 64 hex digits")?,
    };
    let is_credential = credentials.is_some_and(|folder| path.starts_with(folder));
    let forbidden = if is_credential { 0o037 } else { 0o077 };
    let mode = std::fs::metadata(&path).map_or(0, |meta| meta.permissions().mode() & 0o777);
    if mode & forbidden != 0 {
        let what =
            format!("{} has mode {mode:03o}: others may read the buffer's key", path.display());
        section.fault("key_file", format!("{what}; `chmod 600` it"));
        return None;
    }
    Some(path)
}

fn optional_file(section: &mut Section, key: &str, right: &str) -> Option<Option<PathBuf>> {
    if section.text(key).is_none() {
        return Some(None);
    }
    section.required_file(key, right).map(Some)
}

fn kafka(section: &mut Section) -> Option<KafkaConfig> {
    let brokers = section.required("brokers", "host:port, several separated by commas");
    let prefix = section.text("topic_prefix").unwrap_or_else(|| "frischmarkt.".to_owned());
    let ca = section.required_file("ca", "the PEM file of the broker's authority");
    let certificate =
        section.required_file("certificate", "the PEM file of the store's certificate");
    let key = section.required_file("key", "the PEM file of the store's key");
    let client_ca = optional_file(section, "client_ca", "the PEM file of the stores' authority");
    let bytes_per_second = section.number("bytes_per_second", 0, 0..=1 << 32);
    Some(KafkaConfig {
        bytes_per_second: (bytes_per_second > 0).then_some(bytes_per_second),
        brokers: brokers?,
        topic_prefix: prefix,
        ca: ca?,
        certificate: certificate?,
        key: key?,
        client_ca: client_ca?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, Faults> {
        let folder = tempfile::tempdir().unwrap();
        for name in ["buffer.key", "ca.pem", "store.pem", "store.key"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        chmod(&folder.path().join("buffer.key"), 0o600);
        let file = folder.path().join("edge.toml");
        std::fs::write(&file, text).unwrap();
        Config::load(&file)
    }

    fn chmod(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    const LEAST: &str = r#"
        store = "0417"
        state_folder = "."
        buffer = { path = "buffer.db", key_file = "buffer.key" }
        kafka = { brokers = "localhost:1", ca = "ca.pem", certificate = "store.pem", key = "store.key" }
        [[sources]]
        name = "tills"
        kind = "directory"
        path = "tills"
        format = "jsonl"
    "#;

    #[test]
    fn what_is_not_said_has_a_default() {
        let config = load(LEAST).unwrap();
        assert_eq!(config.zone, Tz::Europe__Berlin);
        assert_eq!(config.business_day_cut, NaiveTime::from_hms_opt(3, 0, 0).unwrap());
        assert_eq!((config.grace.as_secs(), config.holding.as_secs()), (5, 10));
        assert_eq!(config.kafka.topic_prefix, "frischmarkt.");
        assert!(!config.first_box && config.pseudonyms.is_none());
        assert_eq!((config.buffer.quota_bytes, config.buffer.reserve_bytes), (2 << 30, 16 << 20));
        let Reach::Directory(directory) = &config.sources[0].reach else {
            panic!("a folder is configured");
        };
        assert!(directory.processed_folder.is_none());
        assert_eq!(config.oldest_business_day, None);
    }

    #[test]
    fn the_buffers_key_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (own, handed) = (folder.path().join("own.key"), folder.path().join("credentials"));
        std::fs::create_dir(&handed).unwrap();
        std::fs::write(&own, "x").unwrap();
        std::fs::write(handed.join("buffer.key"), "x").unwrap();
        let look = |text: &str, mode: u32| {
            let mut section = Section::parse(text, folder.path()).unwrap();
            chmod(&own, mode);
            chmod(&handed.join("buffer.key"), mode);
            let found = key_file(&mut section, Some(handed.clone()));
            (found, section.finish().into_iter().map(|fault| fault.what).collect::<String>())
        };
        let named = "key_file = \"own.key\"";
        assert_eq!(look(named, 0o600), (Some(own.clone()), String::new()));
        let (found, told) = look(named, 0o640);
        assert!(found.is_none() && told.contains("has mode 640"), "{told}");
        assert!(told.contains("chmod 600"), "{told}");
        // An access list of systemd shows as the group's right to read; nobody else may.
        assert_eq!(look("", 0o440), (Some(handed.join("buffer.key")), String::new()));
        assert!(look("", 0o444).1.contains("has mode 444"));
    }

    #[test]
    fn every_fault_is_told_at_once_with_its_key() {
        let text = r#"
            store = "../1"
            zone = "Berlin"
            grace_seconds = "five"
            colour = "red"
            articles_file = "none.toml"
            clock_file = "none.json"
            buffer = { path = "buffer.db", key_file = "absent.key", size = 1, quota_bytes = 8388608, reserve_bytes = 4194305 }
            [[sources]]
            name = "tills"
            kind = "ftp"
            path = "tills"
            format = "csv"
            [[sources]]
            name = "more"
            kind = "directory"
            path = "tills"
            format = "jsonl"
            settings = "none.toml"
            processed = "move"
        "#;
        let faults = load(text).unwrap_err();
        let keys: Vec<&str> = faults.faults.iter().map(|fault| fault.key.as_str()).collect();
        for key in [
            "store",
            "zone",
            "grace_seconds",
            "colour",
            "clock_file",
            "state_folder",
            "buffer.key_file",
            "buffer.size",
            "buffer.reserve_bytes",
            "kafka",
            "sources[0].kind",
            "sources[0].format",
            "articles_file",
            "sources[1].settings",
            "sources[1].processed_folder",
        ] {
            assert!(keys.contains(&key), "{key} is not among {keys:?}");
        }
        let text = faults.to_string();
        assert!(text.contains("edge.toml: zone: \"Berlin\" is not an IANA zone"), "{text}");
    }
}
