//! The outside world of the product in one folder: a real broker, a real database, an authority,
//! links between them, and ready configurations. Every step can be done again, so that a start that
//! was interrupted anywhere is finished by the next one. Knows nothing of receipts.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Uid;
use shared::ids::StoreId;
use shared::time::{Clock, Simulation, Timestamp};
use shared::topics::{PARTITIONS, Topic, store_principal};

use crate::authority::{Authority, Credentials};
use crate::broker::admin::{Admin, NewTopic};
use crate::broker::rights::{self, PREFIX};
use crate::broker::{Broker, BrokerPorts};
use crate::error::StackError;
use crate::link::control::{self, LinkName, Order};
use crate::postgres::client::Access;
use crate::postgres::{DATABASE, Durability, Postgres, ROLE};
use crate::process::{Daemon, Ending, words};
use crate::s3::S3;
use crate::{broker, files, postgres, wait};

pub mod configs;
pub mod layout;
pub mod own;
pub mod spec;
pub mod state;

use configs::Env;
use layout::Layout;
use spec::StoreSpec;
use state::{Ports, Purpose, State};

/// How long the links may take to open their ports.
const LINKS_START: Duration = Duration::from_secs(20);
/// Starts of a new stack, each with other ports where one was taken.
const STARTS_MAX: usize = 3;
/// The common name of the authority.
const AUTHORITY: &str = "Frischmarkt fakes";

/// How a stack is to be put up.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its folder.
    pub dir: PathBuf,
    /// Stores that it shall have.
    pub stores: Vec<StoreSpec>,
    /// Where simulated time begins, and how many times faster it runs.
    pub simulation: Option<(Timestamp, u32)>,
    /// What it is for; an existing stack keeps its purpose.
    pub purpose: Purpose,
    /// The program that serves the links in a process of its own, or nothing where the caller
    /// serves them.
    pub links_by: Option<PathBuf>,
}

/// What `up` has done.
#[derive(Debug)]
pub struct Raised {
    /// The stack.
    pub stack: Stack,
    /// The servers that were started, by name.
    pub started: Vec<&'static str>,
    /// The stores that were added.
    pub added: Vec<StoreId>,
}

/// A server of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// The broker.
    Kafka,
    /// The database.
    Postgres,
    /// The object store, which is not there before somebody starts it.
    S3,
}

/// A stack that stands in a folder.
#[derive(Debug)]
pub struct Stack {
    layout: Layout,
    state: State,
}

/// Puts a stack up in a folder, or what is missing of it.
pub async fn up(plan: &Plan) -> Result<Raised, StackError> {
    let layout = claim(&plan.dir)?;
    let _lock = lock(&layout)?;
    let known = State::load(&layout)?;
    let fresh = known.is_none();
    let mut state = known.map_or_else(|| State::new(plan.purpose), Ok)?;
    let added = state.add(&plan.stores)?;
    state.save(&layout)?;
    let mut stack = Stack { layout, state };
    let started = stack.start_all(plan.links_by.as_deref(), fresh).await?;
    stack.grant_and_create().await?;
    stack.set_clock(plan.simulation)?;
    configs::write(&stack.layout, &stack.state)?;
    let added = if fresh { Vec::new() } else { added };
    Ok(Raised { stack, started, added })
}

/// Takes a stack down and removes its folder; returns whether there was one.
pub async fn down(dir: &Path) -> Result<bool, StackError> {
    if !dir.exists() {
        return Ok(false);
    }
    let layout = Layout::of(canonical(dir)?);
    if !layout.marker().exists() {
        return Err(StackError::wrong(format!("{} is no stack's folder", layout.dir().display())));
    }
    let _lock = lock(&layout)?;
    // Their data goes with the folder, so these need not tidy up; Postgres holds shared memory.
    for daemon in [broker::formatter(&layout.kafka()), layout.kafka(), layout.s3()] {
        daemon.stop(Ending::Killed).await?;
    }
    let maker = postgres::maker(&layout.postgres());
    for daemon in [layout.links(), maker, layout.postgres()] {
        daemon.stop(Ending::Asked).await?;
    }
    postgres::release_memory(&layout.at("postgres")).await?;
    remove(&layout)?;
    Ok(true)
}

/// The marker goes last: a removal that is interrupted can be taken up again.
fn remove(layout: &Layout) -> Result<(), StackError> {
    let entries = fs::read_dir(layout.dir()).map_err(StackError::path("list", layout.dir()))?;
    for entry in entries {
        let path = entry.map_err(StackError::path("list", layout.dir()))?.path();
        let removed = match path.is_dir() && !path.is_symlink() {
            _ if path == layout.marker() => Ok(()),
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        removed.map_err(StackError::path("remove", &path))?;
    }
    fs::remove_dir_all(layout.dir()).map_err(StackError::path("remove", layout.dir()))
}

/// Serves the links of a stack until cancelled.
pub async fn serve_links(dir: &Path) -> Result<(), StackError> {
    let ports = Stack::open(dir)?.state.ports;
    let links = [
        (LinkName::EdgeKafka, ports.edge_kafka_link, ports.kafka_edge),
        (LinkName::CentreKafka, ports.centre_kafka_link, ports.kafka_centre),
        (LinkName::CentrePostgres, ports.centre_postgres_link, ports.postgres),
    ];
    control::serve(ports.link_control, &links).await
}

impl Stack {
    /// Opens a stack that was put up in a folder.
    pub fn open(dir: &Path) -> Result<Self, StackError> {
        let layout = Layout::of(canonical(dir)?);
        match State::load(&layout)? {
            Some(state) => Ok(Self { layout, state }),
            None => Err(StackError::wrong(format!("there is no stack in {}", dir.display()))),
        }
    }

    /// Returns where everything lies.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns ports and stores.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Returns what `stack.env` says.
    pub fn env(&self) -> Result<Env, StackError> {
        Env::of(&self.layout, &self.state)
    }

    /// Returns the broker's address without a link.
    pub fn brokers(&self) -> String {
        configs::local(self.state.ports.kafka)
    }

    /// Returns the broker's address through the stores' link.
    pub fn edge_brokers(&self) -> String {
        configs::local(self.state.ports.edge_kafka_link)
    }

    /// Returns the broker's address through the centre's link.
    pub fn centre_brokers(&self) -> String {
        configs::local(self.state.ports.centre_kafka_link)
    }

    /// Returns the port of the object store, which answers once it was started.
    pub fn s3_port(&self) -> u16 {
        self.state.ports.s3
    }

    /// Returns what the centre needs to enter its database without a link.
    pub fn database(&self) -> Access {
        Access {
            port: self.state.ports.postgres,
            database: DATABASE.to_owned(),
            user: ROLE.to_owned(),
            password: self.state.password.clone(),
            ca: self.layout.credentials("central").ca,
        }
    }

    /// Returns the credentials that another authority, which nobody here trusts, has issued; they
    /// trust our own one, so that only they are refused.
    pub fn foreign_credentials(&self, common_name: &str) -> Result<Credentials, StackError> {
        let foreign = Authority::open(&self.layout.at("foreign"), "Foreign authority")?;
        let issued = foreign.client(common_name)?;
        Ok(Credentials { ca: self.layout.credentials("central").ca, ..issued })
    }

    /// Gives an order to a link and returns once it holds.
    pub async fn link(&self, name: LinkName, order: Order) -> Result<(), StackError> {
        control::give(self.state.ports.link_control, name, order).await
    }

    /// Starts a server where it is not alive, returns once it answers, and tells whether it was
    /// started.
    pub async fn start(&self, server: Server) -> Result<bool, StackError> {
        match server {
            Server::Kafka => self.broker().start().await,
            Server::Postgres => self.postgres().start().await,
            Server::S3 => S3 { daemon: self.layout.s3(), port: self.s3_port() }.start().await,
        }
    }

    /// Ends a server and returns whether it was alive.
    pub async fn stop(&self, server: Server, how: Ending) -> Result<bool, StackError> {
        match server {
            Server::Kafka => self.layout.kafka().stop(how).await,
            Server::Postgres => self.layout.postgres().stop(how).await,
            Server::S3 => self.layout.s3().stop(how).await,
        }
    }

    /// Adds stores with certificates, rights and configurations; returns those that are new.
    pub async fn add_stores(&mut self, stores: &[StoreSpec]) -> Result<Vec<StoreId>, StackError> {
        let _lock = lock(&self.layout)?;
        let added = self.state.add(stores)?;
        self.state.save(&self.layout)?;
        self.issue()?;
        self.grant_and_create().await?;
        configs::write(&self.layout, &self.state)?;
        Ok(added)
    }

    /// Returns the names of the servers that are not alive.
    pub fn dead(&self) -> Vec<&'static str> {
        self.daemons().iter().filter(|one| one.alive().is_none()).map(|one| one.name).collect()
    }

    fn daemons(&self) -> [Daemon; 3] {
        [self.layout.kafka(), self.layout.postgres(), self.layout.links()]
    }

    /// Between the choice of a port and its use another program may take it. A stack that nobody
    /// knows yet then takes other ports; those of an older one stand in files and stay.
    async fn start_all(
        &mut self,
        links_by: Option<&Path>,
        fresh: bool,
    ) -> Result<Vec<&'static str>, StackError> {
        for _ in 1..STARTS_MAX {
            match self.start_servers(links_by).await {
                Err(StackError::PortTaken { name, .. }) if fresh => {
                    tracing::info!(name, "a port was taken meanwhile; trying others");
                    for daemon in self.daemons() {
                        daemon.stop(Ending::Asked).await?;
                    }
                    self.state.ports = Ports::free()?;
                    self.state.save(&self.layout)?;
                }
                done => return done,
            }
        }
        self.start_servers(links_by).await
    }

    async fn start_servers(
        &self,
        links_by: Option<&Path>,
    ) -> Result<Vec<&'static str>, StackError> {
        self.issue()?;
        let (broker, postgres) = (self.broker(), self.postgres());
        let kafka = async {
            broker.prepare().await?;
            broker.start().await
        };
        let database = async {
            postgres.prepare().await?;
            postgres.start().await
        };
        let (kafka, database) = tokio::try_join!(kafka, database)?;
        let links = match links_by {
            Some(program) => self.start_links(program).await?,
            None => false,
        };
        let servers = [(kafka, "kafka"), (database, "postgres"), (links, "links")];
        Ok(servers.into_iter().filter(|one| one.0).map(|one| one.1).collect())
    }

    /// Starts the links' process where it is not alive and tells whether it was started.
    async fn start_links(&self, program: &Path) -> Result<bool, StackError> {
        let daemon = self.layout.links();
        let command = words([&program, &"link-serve", &"--dir", &self.layout.dir()]);
        let taken = self.state.ports;
        let ports = [
            taken.link_control,
            taken.edge_kafka_link,
            taken.centre_kafka_link,
            taken.centre_postgres_link,
        ];
        let mut spawned = false;
        wait::until("the links take orders", LINKS_START, async || {
            match (daemon.alive(), spawned) {
                (Some(_), _) => {}
                (None, true) => {
                    return Ok(Err(StackError::ended("links", files::tail(&daemon.log, 3))));
                }
                (None, false) => match daemon.spawn_on(&ports, &command).await {
                    Ok(_) => spawned = true,
                    Err(error) => return Ok(Err(error)),
                },
            }
            self.reach_links().await.map(Ok)
        })
        .await
        .map_err(StackError::foreign("the links do not come up"))??;
        Ok(spawned)
    }

    /// Returns once the links take orders, whoever serves them.
    async fn wait_for_links(&self) -> Result<(), StackError> {
        wait::until("the links take orders", LINKS_START, async || self.reach_links().await)
            .await
            .map_err(StackError::foreign("the links do not come up"))
    }

    async fn reach_links(&self) -> Result<(), String> {
        let port = self.state.ports.link_control;
        let reached = tokio::net::TcpStream::connect((crate::tls::HOST, port)).await;
        reached.map(drop).map_err(|error| error.to_string())
    }

    fn issue(&self) -> Result<(), StackError> {
        let authority = Authority::open(&self.layout.certificates(), AUTHORITY)?;
        authority.server("broker")?;
        authority.server("postgres")?;
        for name in ["admin", "central", "fakes"] {
            authority.client(name)?;
        }
        for store in &self.state.stores {
            authority.client(&store_principal(&store.id))?;
        }
        Ok(())
    }

    async fn grant_and_create(&self) -> Result<(), StackError> {
        let mut admin = self.admin().await?;
        let ids: Vec<StoreId> = self.state.stores.iter().map(|store| store.id.clone()).collect();
        let mut granted = rights::of_services();
        granted.extend(ids.iter().flat_map(rights::of_store));
        if self.state.purpose == Purpose::Tests {
            granted.extend(rights::in_tests(&ids));
        }
        admin.grant(&granted).await?;
        admin.create_topics(&topics(PREFIX, PARTITIONS)).await
    }

    /// Connects as an administrator of the broker.
    pub async fn admin(&self) -> Result<Admin, StackError> {
        Admin::connect(self.state.ports.kafka, &self.layout.credentials("admin")).await
    }

    /// The clock is set once: whoever reads it later must find the same time.
    fn set_clock(&self, wanted: Option<(Timestamp, u32)>) -> Result<(), StackError> {
        let Some((sim_start, speed)) = wanted else { return Ok(()) };
        let path = self.layout.clock();
        if path.exists() {
            let broken = StackError::foreign(format!("{} is no clock", path.display()));
            let set: Simulation = serde_json::from_str(&files::read(&path)?).map_err(broken)?;
            if (set.sim_start, set.speed) == (sim_start, speed) {
                return Ok(());
            }
            return Err(StackError::wrong(format!(
                "the stack's clock began at {} with speed {}; it cannot be set again",
                set.sim_start, set.speed
            )));
        }
        // The file that is written last tells that the first start was finished.
        if self.layout.env().exists() {
            return Err(StackError::wrong(
                "the stack runs in real time; it cannot be simulated now",
            ));
        }
        let simulation = Simulation { sim_start, real_start: Clock::real().now(), speed };
        configs::write_clock(&self.layout, &simulation)
    }

    fn broker(&self) -> Broker {
        let ports = self.state.ports;
        Broker {
            folder: self.layout.at("kafka"),
            daemon: self.layout.kafka(),
            ports: BrokerPorts {
                direct: ports.kafka,
                edge: (ports.kafka_edge, ports.edge_kafka_link),
                centre: (ports.kafka_centre, ports.centre_kafka_link),
                controller: ports.kafka_controller,
            },
            cluster_id: self.state.cluster_id.clone(),
            identity: self.layout.credentials("broker"),
            admin: self.layout.credentials("admin"),
        }
    }

    fn postgres(&self) -> Postgres {
        Postgres {
            folder: self.layout.at("postgres"),
            daemon: self.layout.postgres(),
            port: self.state.ports.postgres,
            identity: self.layout.credentials("postgres"),
            superuser_password: self.state.superuser_password.clone(),
            password: self.state.password.clone(),
            durability: match self.state.purpose {
                Purpose::Use => Durability::Kept,
                Purpose::Tests => Durability::Waived,
            },
        }
    }
}

/// Returns all topics with this prefix.
fn topics(prefix: &str, partitions: i32) -> Vec<NewTopic> {
    let new = |topic: Topic| NewTopic {
        name: topic.name(prefix),
        partitions,
        settings: topic.settings(),
    };
    Topic::ALL.into_iter().map(new).collect()
}

/// Makes the folder a stack's, where it is one already or empty.
fn claim(dir: &Path) -> Result<Layout, StackError> {
    let existed = dir.exists();
    files::create_folder(dir)?;
    let layout = Layout::of(canonical(dir)?);
    if !layout.marker().exists() {
        let mut entries = fs::read_dir(dir).map_err(StackError::path("list", dir))?;
        if entries.next().is_some() {
            let what = format!("{} is not empty and no stack's folder", dir.display());
            return Err(StackError::Wrong(what));
        }
        files::write(
            &layout.marker(),
            "A stack of fakes lives here; `fakes stack down` removes it.\n",
        )?;
    }
    files::create_folder(&layout.at("run"))?;
    if !existed && Uid::effective().is_root() {
        // Postgres' own user has to pass through, whatever the umask is.
        files::create_folder_with_mode(layout.dir(), 0o755)?;
    }
    Ok(layout)
}

fn canonical(dir: &Path) -> Result<PathBuf, StackError> {
    dir.canonicalize().map_err(StackError::path("find", dir))
}

/// Only one at a time puts a stack up or takes it down; the lock ends with the process.
fn lock(layout: &Layout) -> Result<File, StackError> {
    files::create_folder(&layout.at("run"))?;
    let path = layout.at("run/lock");
    let file = File::create(&path).map_err(StackError::path("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StackError::wrong(format!(
            "another process is putting the stack in {} up or down",
            layout.dir().display()
        ))),
        Err(TryLockError::Error(error)) => Err(StackError::path("lock", &path)(error)),
    }
}
