//! The files that others read: `stack.env`, the centre's and the agents' configurations. They work
//! as they stand, with absolute paths.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use shared::time::Simulation;

use super::layout::Layout;
use super::spec::StoreSpec;
use super::state::State;
use crate::authority::Credentials;
use crate::broker::rights::{CENTRAL_GROUPS, PREFIX};
use crate::error::StackError;
use crate::postgres::{DATABASE, ROLE};
use crate::till::Dialect;
use crate::{broker, files};

/// Days before this one are set aside; the oldest real file is younger.
const OLDEST_BUSINESS_DAY: &str = "2017-01-01";
/// How long the warehouse gathers rows before it commits.
const FLUSH_SECONDS: u32 = 2;

/// What `stack.env` says.
#[derive(Debug, Clone)]
pub struct Env {
    /// The stack's folder.
    pub dir: PathBuf,
    /// The broker without a link, as `host:port`.
    pub kafka_brokers: String,
    /// The folder with Kafka's jars.
    pub kafka_libs: PathBuf,
    /// What an administrator shows to the broker.
    pub admin: Credentials,
    /// What the centre shows to the broker.
    pub central: Credentials,
    /// What the fakes show to the broker.
    pub fakes: Credentials,
    /// The service's database without a link, as psql takes it.
    pub database_url: String,
    /// The warehouse's folder.
    pub lake: PathBuf,
    /// The object store, once it was started.
    pub s3_endpoint: String,
}

impl Env {
    /// Returns what the file of this stack says.
    pub fn of(layout: &Layout, state: &State) -> Result<Self, StackError> {
        Ok(Self {
            dir: layout.dir().to_owned(),
            kafka_brokers: local(state.ports.kafka),
            kafka_libs: broker::jars()?,
            admin: layout.credentials("admin"),
            central: layout.credentials("central"),
            fakes: layout.credentials("fakes"),
            database_url: database_url(layout, state, DATABASE),
            lake: layout.lake(),
            s3_endpoint: format!("http://{}", local(state.ports.s3)),
        })
    }

    /// Returns the text of the file: one assignment a line, every value quoted for sh.
    pub fn to_shell(&self) -> String {
        let path = |path: &Path| path.display().to_string();
        let values = [
            ("STACK_DIR", path(&self.dir)),
            ("KAFKA_BROKERS", self.kafka_brokers.clone()),
            ("KAFKA_LIBS", path(&self.kafka_libs)),
            ("KAFKA_CA", path(&self.admin.ca)),
            ("ADMIN_CERT", path(&self.admin.certificate)),
            ("ADMIN_KEY", path(&self.admin.key)),
            ("CENTRAL_CERT", path(&self.central.certificate)),
            ("CENTRAL_KEY", path(&self.central.key)),
            ("FAKES_CERT", path(&self.fakes.certificate)),
            ("FAKES_KEY", path(&self.fakes.key)),
            ("DATABASE_URL", self.database_url.clone()),
            ("LAKE", path(&self.lake)),
            ("S3_ENDPOINT", self.s3_endpoint.clone()),
        ];
        values.iter().fold(String::new(), |mut text, (name, value)| {
            writeln!(text, "{name}={}", quoted(value)).expect("a string takes any text");
            text
        })
    }
}

/// Returns the URL of a database of this stack, without a link, as psql takes it.
pub fn database_url(layout: &Layout, state: &State, database: &str) -> String {
    let ca = percent_encoded(&layout.credentials("central").ca.display().to_string());
    let (password, port) = (&state.password, state.ports.postgres);
    format!(
        "postgresql://{ROLE}:{password}@localhost:{port}/{database}?sslmode=verify-full&sslrootcert={ca}"
    )
}

/// Writes what is absent, `stack.env` last; what exists stays as it is, since it may have been edited.
pub fn write(layout: &Layout, state: &State) -> Result<(), StackError> {
    files::write_private(&layout.password(), &format!("{}\n", state.password))?;
    files::create_folder(&layout.lake())?;
    for store in &state.stores {
        write_store(layout, state, store)?;
    }
    write_toml(&layout.central_config(), &Central::of(layout, state))?;
    files::write_private(&layout.env(), &Env::of(layout, state)?.to_shell())
}

/// Writes the simulated clock.
pub fn write_clock(layout: &Layout, simulation: &Simulation) -> Result<(), StackError> {
    let text = serde_json::to_string(simulation)
        .map_err(StackError::foreign("the simulated clock cannot be written"))?;
    files::write(&layout.clock(), &format!("{text}\n"))
}

fn write_store(layout: &Layout, state: &State, store: &StoreSpec) -> Result<(), StackError> {
    files::create_folder(&layout.tills(&store.id))?;
    files::create_folder(&layout.stock(&store.id))?;
    files::create_folder_with_mode(&layout.edge(&store.id), 0o700)?;
    let key = layout.edge(&store.id).join("buffer.key");
    if !key.exists() {
        files::write_private(&key, &random_key())?;
    }
    if let Some(settings) = store.format.settings() {
        files::write(&layout.till_settings(&store.id), settings)?;
    }
    write_toml(&layout.edge_config(&store.id), &Edge::of(layout, state, store))
}

fn write_toml(path: &Path, config: &impl Serialize) -> Result<(), StackError> {
    if path.exists() {
        return Ok(());
    }
    let text = toml::to_string(config)
        .map_err(StackError::foreign(format!("{} cannot be written", path.display())))?;
    files::write(path, &text)
}

/// Returns 64 hexadecimal digits.
fn random_key() -> String {
    let bytes: [u8; 32] = rand::random();
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes any text");
        text
    })
}

#[derive(Serialize)]
struct Edge {
    store: String,
    zone: &'static str,
    state_folder: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_file: Option<PathBuf>,
    oldest_business_day: &'static str,
    first_box: bool,
    buffer: Buffer,
    kafka: EdgeKafka,
    sources: [Source; 2],
}

#[derive(Serialize)]
struct Buffer {
    path: PathBuf,
    key_file: PathBuf,
}

#[derive(Serialize)]
struct EdgeKafka {
    brokers: String,
    topic_prefix: &'static str,
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

#[derive(Serialize)]
struct Source {
    name: &'static str,
    kind: &'static str,
    path: PathBuf,
    format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dialect: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<PathBuf>,
    /// A folder of tables is one feed.
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<bool>,
}

impl Edge {
    fn of(layout: &Layout, state: &State, store: &StoreSpec) -> Self {
        let (folder, own) = (layout.edge(&store.id), layout.store_credentials(&store.id));
        Self {
            store: store.id.to_string(),
            zone: store.zone.name(),
            clock_file: clock_file(layout),
            oldest_business_day: OLDEST_BUSINESS_DAY,
            first_box: true,
            buffer: Buffer { path: folder.join("buffer.db"), key_file: folder.join("buffer.key") },
            state_folder: folder,
            kafka: EdgeKafka {
                brokers: local(state.ports.edge_kafka_link),
                topic_prefix: PREFIX,
                ca: own.ca,
                certificate: own.certificate,
                key: own.key,
            },
            sources: [
                Source {
                    name: "tills",
                    kind: "directory",
                    path: layout.tills(&store.id),
                    format: store.format.format(),
                    dialect: store.format.dialect(),
                    settings: store.format.settings().map(|_| layout.till_settings(&store.id)),
                    bundle: (store.format == Dialect::Dsfinvk).then_some(true),
                },
                Source {
                    name: "stock",
                    kind: "directory",
                    path: layout.stock(&store.id),
                    format: Dialect::Jsonl.format(),
                    dialect: None,
                    settings: None,
                    bundle: None,
                },
            ],
        }
    }
}

#[derive(Serialize)]
struct Central {
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_file: Option<PathBuf>,
    kafka: CentralKafka,
    postgres: Database,
    lake: Lake,
    judge: Judge,
    http: Http,
}

#[derive(Serialize)]
struct CentralKafka {
    brokers: String,
    topic_prefix: &'static str,
    group_prefix: &'static str,
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    admin_brokers: String,
    admin_certificate: PathBuf,
    admin_key: PathBuf,
    replication_factor: u8,
}

#[derive(Serialize)]
struct Database {
    host: &'static str,
    port: u16,
    database: &'static str,
    user: &'static str,
    password_file: PathBuf,
    ca: PathBuf,
}

#[derive(Serialize)]
struct Lake {
    path: PathBuf,
    flush_seconds: u32,
}

#[derive(Serialize)]
struct Judge {
    oldest_business_day: &'static str,
    unknown_stores: &'static str,
}

#[derive(Serialize)]
struct Http {
    listen: String,
}

impl Central {
    fn of(layout: &Layout, state: &State) -> Self {
        let (own, admin) = (layout.credentials("central"), layout.credentials("admin"));
        Self {
            clock_file: clock_file(layout),
            kafka: CentralKafka {
                brokers: local(state.ports.centre_kafka_link),
                topic_prefix: PREFIX,
                group_prefix: CENTRAL_GROUPS,
                ca: own.ca.clone(),
                certificate: own.certificate,
                key: own.key,
                admin_brokers: local(state.ports.kafka),
                admin_certificate: admin.certificate,
                admin_key: admin.key,
                replication_factor: 1,
            },
            postgres: Database {
                host: "localhost",
                port: state.ports.centre_postgres_link,
                database: DATABASE,
                user: ROLE,
                password_file: layout.password(),
                ca: own.ca,
            },
            lake: Lake { path: layout.lake(), flush_seconds: FLUSH_SECONDS },
            judge: Judge { oldest_business_day: OLDEST_BUSINESS_DAY, unknown_stores: "add" },
            http: Http { listen: format!("127.0.0.1:{}", state.ports.central_http) },
        }
    }
}

fn clock_file(layout: &Layout) -> Option<PathBuf> {
    Some(layout.clock()).filter(|path| path.exists())
}

/// Returns the address of a port of this machine by the name that its certificate has.
pub fn local(port: u16) -> String {
    format!("localhost:{port}")
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

fn percent_encoded(path: &str) -> String {
    path.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            _ => write!(text, "%{byte:02X}").expect("a string takes any text"),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::super::state::Purpose;
    use super::*;

    #[test]
    fn values_survive_the_shell_and_paths_the_url() {
        assert_eq!(quoted("a'b $c"), r"'a'\''b $c'");
        assert_eq!(percent_encoded("/tmp/ä b&c"), "/tmp/%C3%A4%20b%26c");
    }

    #[test]
    fn an_agent_is_told_what_its_tills_write() {
        let layout = Layout::of(PathBuf::from("/chain"));
        let state = State::new(Purpose::Use).unwrap();
        for (spec, wanted) in [
            ("9:escpos", "format = \"escpos\"\ndialect = \"rewe\"\n\n"),
            ("9:fiskaltrust", "format = \"fiskaltrust\"\n\n"),
            ("9:poslog/visma", "format = \"poslog\"\ndialect = \"visma\"\n\n"),
            (
                "9:dsfinvk",
                "format = \"dsfinvk\"\nsettings = \"/chain/edge/9/tills.toml\"\nbundle = true\n\n",
            ),
        ] {
            let edge = Edge::of(&layout, &state, &spec.parse().unwrap());
            let text = toml::to_string(&edge).unwrap();
            assert!(text.contains(wanted), "{spec}: {text}");
        }
    }

    #[test]
    fn a_buffer_key_is_64_digits_and_never_the_same() {
        assert_eq!(random_key().len(), 64);
        assert_ne!(random_key(), random_key());
    }
}
