//! A real Kafka broker, one node, KRaft, mutual TLS, every right by ACL. Runs from the jars that
//! `scripts/setup` has fetched; knows nothing of what travels through it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::authority::Credentials;
use crate::error::StackError;
use crate::process::{self, Daemon, Ending, words};
use crate::{files, wait};

pub mod admin;
pub mod rights;

use admin::Admin;

/// How long a start may take: 3 s on an idle machine, ten times that on a busy one, and more.
const START: Duration = Duration::from_secs(90);
/// Memory for the heap; by default the virtual machine would take a quarter of the computer's.
const HEAP: &str = "-Xmx384m";
/// The environment variable that names a folder with Kafka's jars.
const JARS: &str = "FRISCHMARKT_KAFKA";

/// The broker's ports on the loopback address. A client follows the address that its listener
/// advertises, so each link has a listener of its own that advertises the link.
#[derive(Debug, Clone, Copy)]
pub struct BrokerPorts {
    /// The listener that advertises itself.
    pub direct: u16,
    /// The listener behind the stores' link, and that link's port.
    pub edge: (u16, u16),
    /// The listener behind the centre's link, and that link's port.
    pub centre: (u16, u16),
    /// The listener of the controller.
    pub controller: u16,
}

/// A broker and the folder that it lives in.
#[derive(Debug)]
pub struct Broker {
    /// The folder with configuration, data and log.
    pub folder: PathBuf,
    /// Its process.
    pub daemon: Daemon,
    /// Its ports.
    pub ports: BrokerPorts,
    /// Its id of 22 characters.
    pub cluster_id: String,
    /// What it shows to its clients.
    pub identity: Credentials,
    /// What an administrator shows to it.
    pub admin: Credentials,
}

/// Returns the daemon of a broker with these files.
pub fn daemon(pid_file: PathBuf, log: PathBuf) -> Daemon {
    Daemon { name: "kafka", pid_file, log, ask: Signal::SIGTERM }
}

/// Returns what formats the storage before the broker's first start.
pub fn formatter(daemon: &Daemon) -> Daemon {
    daemon.helper("kafka-format")
}

/// Returns the folder with Kafka's jars, or says how to get them.
pub fn jars() -> Result<PathBuf, StackError> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let in_cache = |cache: PathBuf| cache.join("frischmarkt/kafka-4.3.1/libs");
    let folder = match (set(JARS), set("XDG_CACHE_HOME")) {
        (Some(folder), _) => PathBuf::from(folder),
        (None, Some(cache)) => in_cache(PathBuf::from(cache)),
        (None, None) => in_cache(std::env::home_dir().unwrap_or_default().join(".cache")),
    };
    if folder.join("kafka_2.13-4.3.1.jar").is_file() {
        return Ok(folder);
    }
    Err(StackError::wrong(format!("no Kafka 4.3.1 in {}: run `make setup`", folder.display())))
}

impl Broker {
    /// Writes configuration and storage where they are absent.
    pub async fn prepare(&self) -> Result<(), StackError> {
        files::create_folder(&self.folder)?;
        self.write_key_store()?;
        let properties = self.folder.join("server.properties");
        files::write(&properties, &self.properties())?;
        if self.folder.join("data/meta.properties").exists() {
            return Ok(());
        }
        let mut command = java(&["-XX:TieredStopAtLevel=1"])?;
        command.extend(words([&"kafka.tools.StorageTool", &"format", &"--ignore-formatted"]));
        command.extend(words([&"-t", &self.cluster_id, &"-c", &properties]));
        formatter(&self.daemon).run(&command).await
    }

    /// Starts the broker where it is not alive, returns once it answers, and tells whether it was
    /// started. One that was killed a moment ago may still be found alive at the first look.
    pub async fn start(&self) -> Result<bool, StackError> {
        let mut command = java(&["-Xms128m", HEAP])?;
        command.extend(words([&"kafka.Kafka", &self.folder.join("server.properties")]));
        let BrokerPorts { direct, edge, centre, controller } = self.ports;
        let ports = [direct, edge.0, centre.0, controller];
        let mut spawned = false;
        let answered = wait::until("Kafka answers", START, async || {
            match (self.daemon.alive(), spawned) {
                (Some(_), _) => {}
                (None, true) => return Ok(Err(self.ended())),
                (None, false) => match self.daemon.spawn_on(&ports, &command).await {
                    Ok(_) => spawned = true,
                    Err(error) => return Ok(Err(error)),
                },
            }
            match self.look().await {
                Ok(()) => Ok(Ok(())),
                Err(error) => Err(error.chain()),
            }
        });
        answered.await.map_err(StackError::foreign("Kafka does not come up"))??;
        Ok(spawned)
    }

    async fn look(&self) -> Result<(), StackError> {
        let look = async {
            Admin::connect(self.ports.direct, &self.admin).await?.brokers().await.map(drop)
        };
        let seen = tokio::time::timeout(wait::LOOK, look).await;
        seen.map_err(StackError::foreign("Kafka takes connections and says nothing"))?
    }

    fn ended(&self) -> StackError {
        StackError::ended("Kafka", files::tail(&self.daemon.log, 12))
    }

    /// Ends the broker where it is alive and returns whether it was.
    pub async fn stop(&self, how: Ending) -> Result<bool, StackError> {
        self.daemon.stop(how).await
    }

    /// Kafka takes key and certificate from one PEM file.
    fn write_key_store(&self) -> Result<(), StackError> {
        let key = files::read(&self.identity.key)?;
        let certificate = files::read(&self.identity.certificate)?;
        files::write_private(&self.folder.join("broker.pem"), &format!("{key}{certificate}"))
    }

    fn properties(&self) -> String {
        let BrokerPorts { direct, edge, centre, controller } = self.ports;
        let key_store = escaped(&self.folder.join("broker.pem"));
        let trust_store = escaped(&self.identity.ca);
        let data = escaped(&self.folder.join("data"));
        format!(
            "{FIXED}\
             listeners=SSL://127.0.0.1:{direct},EDGE://127.0.0.1:{},CENTRE://127.0.0.1:{},\
             CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=SSL://localhost:{direct},EDGE://localhost:{},\
             CENTRE://localhost:{}\n\
             controller.quorum.voters=1@localhost:{controller}\n\
             ssl.keystore.location={key_store}\n\
             ssl.truststore.location={trust_store}\n\
             log.dirs={data}\n",
            edge.0, centre.0, edge.1, centre.1,
        )
    }
}

/// What is the same in every stack. The session settings bring a killed broker's port back in 4 s
/// instead of 13; the controller's listener too asks for a certificate, so that nobody is anonymous.
const FIXED: &str = "\
process.roles=broker,controller
node.id=1
listener.security.protocol.map=SSL:SSL,EDGE:SSL,CENTRE:SSL,CONTROLLER:SSL
controller.listener.names=CONTROLLER
inter.broker.listener.name=SSL
ssl.client.auth=required
ssl.keystore.type=PEM
ssl.truststore.type=PEM
ssl.principal.mapping.rules=RULE:^CN=(.*?)$/$1/,DEFAULT
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:broker;User:admin
auto.create.topics.enable=false
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
";

fn java(options: &[&str]) -> Result<Vec<OsString>, StackError> {
    let program = process::find_program("java")
        .ok_or_else(|| StackError::wrong("no java on the search path: run `make setup`"))?;
    let mut class_path = jars()?.into_os_string();
    class_path.push("/*");
    let mut command = words([&program, &"-XX:+UseSerialGC"]);
    command.extend(options.iter().map(OsString::from));
    command.extend(words([&"-Dorg.slf4j.simpleLogger.showDateTime=true", &"-cp", &class_path]));
    Ok(command)
}

/// A properties file reads a backslash as an escape.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\")
}
