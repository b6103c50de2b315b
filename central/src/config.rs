//! The TOML file, checked whole at load: every fault names its key and what would be right, all at
//! once. It never connects to anything.
//!
//! ```toml
//! clock_file = "clock.json"          # optional: a simulated clock; absent means the real one
//! [kafka]
//! brokers = "host:9093,host2:9093"
//! topic_prefix = "frischmarkt."      # default
//! group_prefix = "central"           # default; groups are <group_prefix>-<role>
//! instance = "central-0"             # optional static group member: a restart waits for no session to expire
//! ca = "ca.pem"
//! certificate = "central.pem"
//! key = "central.key"
//! admin_brokers = "host:9093"        # default: brokers
//! admin_certificate = "admin.pem"    # only `topics apply` needs these two
//! admin_key = "admin.key"
//! replication_factor = 3             # default
//! partitions = 12                    # default; never changed after creation
//! [postgres]
//! host = "localhost"
//! port = 5432                        # default
//! database = "frischmarkt"
//! user = "central"
//! password_file = "password"
//! ca = "ca.pem"
//! [lake]
//! path = "/var/lib/frischmarkt/lake" # a folder or s3://bucket/prefix
//! flush_seconds = 5                  # default
//! upkeep_minutes = 60                # default; between compactions, of the real clock
//! credentials_file = "lake.keys"     # optional: keys of the object store as AWS's own file has them,
//!                                    # profile "default"; absent means AWS_* of the environment
//! options = {}                       # further settings of the object store, see docs/operations.md
//! [judge]
//! oldest_business_day = "2017-01-01" # default: 400 days before a record's arrival
//! unknown_stores = "refuse"          # default; "add" lets a store's first good record add it
//! [reconcile]
//! every_minutes = 60                 # default; between comparisons of the role, of the real clock
//! [http]
//! listen = "127.0.0.1:9404"          # default
//! ```

mod reader;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use shared::time::{BusinessDay, Clock};
use shared::topics::PARTITIONS;

use reader::{Faults, Section};

/// How the names of options end that are secret.
const SECRETS: [&str; 4] =
    ["secret_access_key", "token", "access_key_id", "sse_customer_key_base64"];

/// Everything that the service must be told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The wall clock, real or simulated.
    pub clock: Clock,
    /// The backbone.
    pub kafka: KafkaConfig,
    /// The operational store.
    pub postgres: PostgresConfig,
    /// The warehouse.
    pub lake: LakeConfig,
    /// What the judge is told.
    pub judge: JudgeConfig,
    /// When the role compares.
    pub reconcile: ReconcileConfig,
    /// Where health and metrics are served.
    pub http: HttpConfig,
}

/// How Kafka is reached.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    /// Bootstrap brokers, `host:port` with commas between.
    pub brokers: String,
    /// What stands before each topic's name.
    pub topic_prefix: String,
    /// What stands before each consumer group's name.
    pub group_prefix: String,
    /// The static member's name in its groups.
    pub instance: Option<String>,
    /// Certificates of the authority that signed the brokers'.
    pub ca: PathBuf,
    /// Our certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Bootstrap brokers of the administrator.
    pub admin_brokers: String,
    /// The administrator's certificate and key; only `topics apply` needs them.
    pub admin: Option<AdminIdentity>,
    /// Copies of each partition.
    pub replication_factor: i16,
    /// Partitions of a topic that is created.
    pub partitions: i32,
}

/// The certificate and key of the administrator.
#[derive(Debug, Clone)]
pub struct AdminIdentity {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// How Postgres is reached.
#[derive(Debug, Clone)]
pub struct PostgresConfig {
    /// Host name, which its certificate must bear.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Database.
    pub database: String,
    /// Role.
    pub user: String,
    /// A file that holds the role's password on its first line.
    pub password_file: PathBuf,
    /// Certificates of the authority that signed the server's.
    pub ca: PathBuf,
}

/// Where the warehouse lies.
#[derive(Debug, Clone)]
pub struct LakeConfig {
    /// A folder or an `s3://` URL.
    pub path: String,
    /// Seconds between commits, of the real clock.
    pub flush_seconds: u64,
    /// Minutes between two rounds of compaction, of the real clock.
    pub upkeep_minutes: u64,
    /// A file with the keys of the object store.
    pub credentials_file: Option<PathBuf>,
    /// What else the object store wants to know; nothing secret.
    pub options: BTreeMap<String, String>,
}

/// What the judge is told.
#[derive(Debug, Clone)]
pub struct JudgeConfig {
    /// Business days before this one are refused; absent means 400 days before a record's arrival.
    pub oldest_business_day: Option<BusinessDay>,
    /// What happens to stores that are not in the registry.
    pub unknown_stores: UnknownStores,
}

/// What happens to a store that is not in the registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnknownStores {
    /// Its records are set aside.
    #[default]
    Refuse,
    /// Its first good record adds it.
    Add,
}

impl std::str::FromStr for UnknownStores {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "add" => Ok(Self::Add),
            _ => Err("is no word of ours"),
        }
    }
}

/// When the role compares.
#[derive(Debug, Clone, Copy)]
pub struct ReconcileConfig {
    /// Minutes between two comparisons, of the real clock.
    pub every_minutes: u64,
    /// Every so many-th compares all days, the others those that changed.
    pub full_every_rounds: u64,
}

/// Where health and metrics are served.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Address and port.
    pub listen: SocketAddr,
}

/// Why a configuration cannot be used. All of them end the program with status 2.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{} is not TOML: {fault}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// What the parser says, with line and column.
        fault: String,
    },
    /// Keys are missing, unknown or wrong; one line each.
    #[error("{} has {} fault(s):\n{}", file.display(), faults.len(), faults.join("\n"))]
    Faults {
        /// The file.
        file: PathBuf,
        /// One line a fault: key, what is wrong, what would be right.
        faults: Vec<String>,
    },
}

impl Config {
    /// Reads and checks a file; relative paths in it start at its folder.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| ConfigError::Read { file: file.to_owned(), source })?;
        let table: toml::Table = text.parse().map_err(|fault: toml::de::Error| {
            ConfigError::Syntax { file: file.to_owned(), fault: fault.to_string() }
        })?;
        let mut faults = Faults::default();
        let folder = file.parent().unwrap_or(Path::new(""));
        let config = read(Section::root(table, folder), &mut faults);
        match (config, faults.into_lines()) {
            (Some(config), lines) if lines.is_empty() => Ok(config),
            (_, faults) => Err(ConfigError::Faults { file: file.to_owned(), faults }),
        }
    }
}

/// Reads all sections before it gives up on any, so that every fault is told at once.
fn read(mut root: Section, faults: &mut Faults) -> Option<Config> {
    let clock = read_clock(&mut root, faults);
    let kafka = read_kafka(root.section("kafka", faults), faults);
    let postgres = read_postgres(root.section("postgres", faults), faults);
    let lake = read_lake(root.section("lake", faults), faults);
    let judge = read_judge(root.optional_section("judge", faults), faults);
    let reconcile = read_reconcile(root.optional_section("reconcile", faults), faults);
    let http = read_http(root.optional_section("http", faults), faults);
    root.finish(faults);
    Some(Config {
        clock: clock?,
        kafka: kafka?,
        postgres: postgres?,
        lake: lake?,
        judge: judge?,
        reconcile: reconcile?,
        http: http?,
    })
}

fn read_clock(root: &mut Section, faults: &mut Faults) -> Option<Clock> {
    let Some(file) = root.optional_text("clock_file", faults)? else {
        return Some(Clock::real());
    };
    match Clock::from_file(&root.path(&file)) {
        Ok(clock) => Some(clock),
        Err(error) => {
            let chain = shared::log::Chain(&error).to_string();
            faults.add(&root.key("clock_file"), &chain, "a file such as the stack's clock.json");
            None
        }
    }
}

fn read_kafka(mut section: Section, faults: &mut Faults) -> Option<KafkaConfig> {
    let brokers = section.text("brokers", "host:port, with commas between", faults);
    let topic_prefix = section.text_or("topic_prefix", "frischmarkt.", faults);
    let group_prefix = section.text_or("group_prefix", "central", faults);
    let instance = section.optional_text("instance", faults);
    let ca = section.file("ca", "a PEM file", faults);
    let certificate = section.file("certificate", "a PEM file", faults);
    let key = section.file("key", "a PEM file", faults);
    let admin_brokers = section.optional_text("admin_brokers", faults);
    let admin = read_admin(&mut section, faults);
    let replication_factor = section.number("replication_factor", 1..=15, 3, faults);
    let partitions = section.number("partitions", 1..=10_000, PARTITIONS.into(), faults);
    section.finish(faults);
    let brokers = brokers?;
    Some(KafkaConfig {
        admin_brokers: admin_brokers?.unwrap_or_else(|| brokers.clone()),
        brokers,
        topic_prefix: topic_prefix?,
        group_prefix: group_prefix?,
        instance: instance?,
        ca: ca?,
        certificate: certificate?,
        key: key?,
        admin: admin?,
        replication_factor: i16::try_from(replication_factor?).ok()?,
        partitions: i32::try_from(partitions?).ok()?,
    })
}

fn read_admin(section: &mut Section, faults: &mut Faults) -> Option<Option<AdminIdentity>> {
    if !section.has("admin_certificate") && !section.has("admin_key") {
        return Some(None);
    }
    let certificate = section.file("admin_certificate", "a PEM file beside admin_key", faults);
    let key = section.file("admin_key", "a PEM file beside admin_certificate", faults);
    Some(Some(AdminIdentity { certificate: certificate?, key: key? }))
}

fn read_postgres(mut section: Section, faults: &mut Faults) -> Option<PostgresConfig> {
    let host = section.text("host", "a host name", faults);
    let port = section.number("port", 1..=65_535, 5432, faults);
    let database = section.text("database", "a database's name", faults);
    let user = section.text("user", "a role's name", faults);
    let password_file = section.file("password_file", "a file with the role's password", faults);
    let ca = section.file("ca", "a PEM file", faults);
    section.finish(faults);
    Some(PostgresConfig {
        host: host?,
        port: u16::try_from(port?).ok()?,
        database: database?,
        user: user?,
        password_file: password_file?,
        ca: ca?,
    })
}

fn read_lake(mut section: Section, faults: &mut Faults) -> Option<LakeConfig> {
    let path = section.text("path", "a folder or s3://bucket/prefix", faults);
    let flush_seconds = section.number("flush_seconds", 1..=3_600, 5, faults);
    let upkeep_minutes = section.number("upkeep_minutes", 1..=10_080, 60, faults);
    let credentials_file = if section.has("credentials_file") {
        let right = "a file in the form of AWS's credentials, mode 640 or 600";
        section.file("credentials_file", right, faults).map(Some)
    } else {
        Some(None)
    };
    let mut options = section.texts("options", faults);
    if let Some(options) = &mut options {
        if let Some(file) = options.get_mut("certificate_path") {
            *file = section.path(file).display().to_string();
        }
        refuse_secrets(&section.key("options"), options, faults);
    }
    let path = path.map(|path| section.place(&path));
    section.finish(faults);
    Some(LakeConfig {
        path: path?,
        flush_seconds: u64::try_from(flush_seconds?).ok()?,
        upkeep_minutes: u64::try_from(upkeep_minutes?).ok()?,
        credentials_file: credentials_file?,
        options: options?,
    })
}

/// This file is read by many; a secret stands in a file of its own or in the environment.
fn refuse_secrets(key: &str, options: &BTreeMap<String, String>, faults: &mut Faults) {
    for name in options.keys() {
        let plain = name.to_ascii_lowercase();
        if SECRETS.iter().any(|secret| plain.ends_with(secret)) {
            let right = "lake.credentials_file, or AWS_* of the environment";
            faults.add(&format!("{key}.{name}"), "is a secret, which does not stand here", right);
        }
    }
}

fn read_judge(mut section: Section, faults: &mut Faults) -> Option<JudgeConfig> {
    let oldest = section.optional_parsed("oldest_business_day", "a date: \"2017-01-01\"", faults);
    let unknown = section.optional_parsed("unknown_stores", "\"refuse\" or \"add\"", faults);
    section.finish(faults);
    Some(JudgeConfig { oldest_business_day: oldest?, unknown_stores: unknown?.unwrap_or_default() })
}

fn read_reconcile(mut section: Section, faults: &mut Faults) -> Option<ReconcileConfig> {
    let every_minutes = section.number("every_minutes", 1..=10_080, 60, faults);
    let full_every_rounds = section.number("full_every_rounds", 1..=10_000, 24, faults);
    section.finish(faults);
    Some(ReconcileConfig {
        every_minutes: u64::try_from(every_minutes?).ok()?,
        full_every_rounds: u64::try_from(full_every_rounds?).ok()?,
    })
}

fn read_http(mut section: Section, faults: &mut Faults) -> Option<HttpConfig> {
    let listen = section.optional_parsed("listen", "\"127.0.0.1:9404\"", faults);
    section.finish(faults);
    Some(HttpConfig { listen: listen?.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 9404))) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [kafka]
        brokers = "localhost:9093"
        ca = "ca.pem"
        certificate = "c.pem"
        key = "c.key"
        [postgres]
        host = "localhost"
        database = "frischmarkt"
        user = "central"
        password_file = "password"
        ca = "ca.pem"
        [lake]
        path = "lake"
    "#;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        for name in ["ca.pem", "c.pem", "c.key", "password"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        let file = folder.path().join("central.toml");
        std::fs::write(&file, text).unwrap();
        Config::load(&file)
    }

    fn faults(text: &str) -> Vec<String> {
        match load(text) {
            Err(ConfigError::Faults { faults, .. }) => faults,
            other => panic!("expected faults, got {other:?}"),
        }
    }

    #[test]
    fn what_is_not_said_has_the_documented_default() {
        let config = load(GOOD).unwrap();
        assert_eq!(config.kafka.topic_prefix, "frischmarkt.");
        assert_eq!(config.kafka.admin_brokers, "localhost:9093");
        assert_eq!((config.kafka.replication_factor, config.kafka.partitions), (3, 12));
        assert_eq!(config.postgres.port, 5432);
        assert_eq!(config.http.listen.port(), 9404);
        assert_eq!(config.reconcile.every_minutes, 60);
        assert_eq!(config.judge.oldest_business_day, None);
        assert_eq!(config.judge.unknown_stores, UnknownStores::Refuse);
        assert!(Path::new(&config.lake.path).is_absolute());
    }

    #[test]
    fn every_fault_is_told_at_once_with_its_key_and_what_would_be_right() {
        let text = GOOD
            .replace("brokers = \"localhost:9093\"", "borkers = \"localhost:9093\"")
            .replace("\"c.key\"", "\"absent.key\"")
            .replace("host = \"localhost\"", "host = \"localhost\"\nport = 70000")
            + "[judge]\noldest_business_day = \"2017-13-01\"\nunknown_stores = \"x\"\n[http]\nlisten = 1\n[what]\n";
        let found = faults(&text).join("\n");
        for part in [
            "kafka.brokers: is missing",
            "kafka.borkers: is no key of ours",
            "kafka.key: ",
            "absent.key",
            "postgres.port: is 70000; right would be a number from 1 to 65535",
            "judge.oldest_business_day: ",
            "judge.unknown_stores: ",
            "http.listen: ",
            "what: is no key",
        ] {
            assert!(found.contains(part), "{part} is not among\n{found}");
        }
    }

    #[test]
    fn a_secret_in_the_file_is_refused_by_its_key_and_not_repeated() {
        let text = GOOD.replace(
            "path = \"lake\"",
            "path = \"s3://bucket/lake\"\noptions = { AWS_SECRET_ACCESS_KEY = \"s3cret\", region = \"x\" }",
        );
        let found = faults(&text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("lake.options.AWS_SECRET_ACCESS_KEY: is a secret"),
            "{found:?}"
        );
        assert!(!found[0].contains("s3cret"), "{found:?}");
        let absent = GOOD.replace("[lake]", "[lake]\ncredentials_file = \"keys\"");
        assert!(faults(&absent)[0].starts_with("lake.credentials_file: cannot read"));
    }

    #[test]
    fn a_clock_file_that_is_named_must_be_there() {
        let found = faults(&format!("clock_file = \"clock.json\"\n{GOOD}"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("clock_file: cannot read the clock file"), "{found:?}");
    }

    #[test]
    fn text_that_is_no_toml_is_named_with_its_line() {
        let error = load("[kafka\n").unwrap_err().to_string();
        assert!(error.contains("central.toml is not TOML") && error.contains("line 1"), "{error}");
    }
}
