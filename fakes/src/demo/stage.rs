//! The demo's stage: the stack, the centre, three agents, three shops, and the hand that breaks them.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use shared::time::{Clock, Simulation, Timestamp};
use tokio::time::Instant;

use super::Options;
use super::measure::{Disturbance, Memory};
use super::programs::{Place, Running};
use super::script::{Fault, Length};

/// The stores: id, what their tills write, and the zone they lie in.
pub(crate) const STORES: [(&str, &str); 3] = [
    ("0101", "0101:poslog/fakes:Europe/Berlin"),
    ("0102", "0102:poslog/ncr-acs:America/New_York"),
    (LATE_STORE, "0103:jsonl:Europe/Berlin"),
];
/// Grace of the agents in simulated seconds, as their configuration has it by default.
pub(crate) const GRACE_SECONDS: u64 = 5;
/// The store with the till whose files come late.
pub(crate) const LATE_STORE: &str = "0103";
/// The store whose agent dies.
const VICTIM: usize = 0;
/// How long everything may take to be as before once a fault is over, in real time.
const RECOVERY: Duration = Duration::from_secs(8);
/// How often the oracle is asked while the backlog drains; it reads the whole lake.
const ASK_EVERY: Duration = Duration::from_secs(3);

/// Everything that runs.
pub(crate) struct Stage {
    place: Place,
    simulation: Simulation,
    centre: Option<Running>,
    agents: Vec<Option<Running>>,
    shops: Vec<Running>,
    memory: Memory,
    broken_since: Option<Timestamp>,
    disturbances: Vec<Disturbance>,
    asked: Option<Instant>,
    message: String,
}

impl Stage {
    /// Puts up the stack, makes tables and topics, starts the centre and the agents.
    pub(crate) async fn prepare(options: &Options, length: Length) -> anyhow::Result<Self> {
        let dir = std::path::absolute(&options.dir).context("the folder's path is not usable")?;
        let programs = std::path::absolute(&options.programs)?;
        let place = Place { dir, programs };
        place.run("fakes", &["stack", "down", "--dir", &place.dir.to_string_lossy()]).await?;
        let stores = STORES.map(|(_, spec)| spec).join(",");
        let start = super::simulation_start(length).to_string();
        let speed = length.speed.to_string();
        let dir = place.dir.to_string_lossy().into_owned();
        let up = [
            "stack",
            "up",
            "--dir",
            &dir,
            "--stores",
            &stores,
            "--sim-start",
            &start,
            "--speed",
            &speed,
        ];
        place.run("fakes", &up).await?;
        std::fs::create_dir_all(place.at("log"))?;
        let mut stage = Self {
            simulation: read_simulation(&place)?,
            place,
            centre: None,
            agents: STORES.iter().map(|_| None).collect(),
            shops: Vec::new(),
            memory: Memory::default(),
            broken_since: None,
            disturbances: Vec::new(),
            asked: None,
            message: String::new(),
        };
        match stage.raise().await {
            Ok(()) => Ok(stage),
            Err(error) => {
                stage.take_down().await?;
                Err(error)
            }
        }
    }

    async fn raise(&mut self) -> anyhow::Result<()> {
        let config = self.central_config();
        self.place.run("central", &["--config", &config, "migrate"]).await?;
        let stores: Vec<&str> = STORES.iter().flat_map(|(id, _)| ["--store", id]).collect();
        let apply = [&["--config", &config, "topics", "apply"], stores.as_slice()].concat();
        self.place.run("central", &apply).await?;
        self.start_centre()?;
        for index in 0..STORES.len() {
            self.start_agent(index)?;
        }
        Ok(())
    }

    /// Starts the shops, one process a store.
    pub(crate) fn open_shops(&mut self, length: Length) -> anyhow::Result<()> {
        let (dir, minutes) = (self.dir(), length.minutes.to_string());
        for (seed, (id, _)) in (1_u32..).zip(STORES) {
            let seed = seed.to_string();
            let mut arguments = vec![
                "store",
                "--dir",
                &dir,
                "--store",
                id,
                "--minutes",
                &minutes,
                "--seed",
                &seed,
                "--receipts-per-minute",
                "6",
            ];
            if id != LATE_STORE {
                arguments.push("--no-late-till");
            }
            let shop = self.place.start(&format!("shop-{id}"), "fakes", &arguments)?;
            self.shops.push(shop);
        }
        Ok(())
    }

    /// Waits until the shops have issued everything.
    pub(crate) async fn close_shops(&mut self) -> anyhow::Result<()> {
        for shop in self.shops.drain(..) {
            shop.finish().await?;
        }
        Ok(())
    }

    /// Breaks or mends something.
    pub(crate) async fn commit(&mut self, fault: Fault) -> anyhow::Result<()> {
        match fault {
            Fault::CutLine => {
                self.breaks();
                self.stack(&["link", "edge-kafka", "cut"]).await?;
            }
            Fault::HealLine => {
                self.stack(&["link", "edge-kafka", "heal"]).await?;
                self.mended();
            }
            Fault::StopBroker => {
                self.breaks();
                self.stack(&["stop", "kafka"]).await?;
            }
            Fault::StartBroker => {
                self.stack(&["start", "kafka"]).await?;
                self.mended();
            }
            Fault::StopPostgres => {
                self.breaks();
                self.stack(&["stop", "postgres"]).await?;
            }
            Fault::StartPostgres => {
                self.stack(&["start", "postgres"]).await?;
                self.mended();
            }
            Fault::KillAgent => {
                self.breaks();
                if let Some(agent) = self.agents[VICTIM].take() {
                    agent.kill().await?;
                }
            }
            Fault::StartAgent => {
                self.start_agent(VICTIM)?;
                self.mended();
            }
            Fault::KillCentre => {
                self.breaks();
                if let Some(centre) = self.centre.take() {
                    centre.kill().await?;
                }
            }
            Fault::StartCentre => {
                self.start_centre()?;
                self.mended();
            }
            Fault::ResendFile => self.resend_file()?,
        }
        Ok(())
    }

    /// Fails where a program has ended by itself, and takes the agents' memory.
    pub(crate) async fn watch(&mut self) -> anyhow::Result<()> {
        for running in self.agents.iter_mut().flatten().chain(self.centre.as_mut()) {
            running.check_alive()?;
        }
        for pid in self.agents.iter().flatten().filter_map(Running::pid) {
            self.memory = self.memory.max(Memory::of(pid).unwrap_or_default());
        }
        let issued = super::figures::issued_so_far(&self.place);
        let stored = super::figures::stored_so_far(&self.place).await;
        let stored = stored.map_or_else(|| "away".to_owned(), |receipts| receipts.to_string());
        self.message =
            format!("{}  issued {issued} receipts, in Postgres {stored}", self.clock_text());
        Ok(())
    }

    /// Asks the oracle whether all has arrived, not more often than it can answer.
    pub(crate) async fn arrived(&mut self) -> anyhow::Result<bool> {
        if self.asked.is_some_and(|asked| asked.elapsed() < ASK_EVERY) {
            return Ok(false);
        }
        let (status, _, _) = self.place.try_run("fakes", &["verify", "--dir", &self.dir()]).await?;
        self.asked = Some(Instant::now());
        Ok(status.success())
    }

    /// Stops agents and centre; the stack stays.
    pub(crate) async fn leave(&mut self) -> anyhow::Result<()> {
        for agent in self.agents.iter_mut().filter_map(Option::take) {
            agent.stop().await?;
        }
        if let Some(centre) = self.centre.take() {
            centre.stop().await?;
        }
        Ok(())
    }

    /// Ends everything and removes the folder.
    pub(crate) async fn take_down(&mut self) -> anyhow::Result<()> {
        self.shops.clear();
        self.agents.clear();
        self.centre = None;
        self.place.run("fakes", &["stack", "down", "--dir", &self.dir()]).await?;
        Ok(())
    }

    /// Says how to look around by hand.
    pub(crate) fn look_around(&self) -> String {
        let (dir, programs) = (self.dir(), self.place.programs.display());
        format!(
            "Look around (the broker and Postgres still run; `make clean-demo` removes all):\n\
             \x20 {programs}/edge-agent --config {dir}/edge-{LATE_STORE}.toml buffer stats\n\
             \x20 {programs}/fakes verify --dir {dir}\n\
             \x20 . {dir}/stack.env; psql \"$DATABASE_URL\" -c 'select store, sum(total_cents) from v1.tills group by 1'\n\
             \x20 python3 -c \"import polars\n\
             t = polars.scan_delta('{dir}/lake/sales')\n\
             print(t.group_by('store').agg(polars.col('amount_cents', 'lines').sum()).collect())\"   # pip install polars deltalake\n"
        )
    }

    /// Returns the simulated span since the start.
    pub(crate) fn simulated(&self) -> Duration {
        self.now().since(self.simulation.sim_start)
    }

    /// Returns the simulated time of day.
    pub(crate) fn clock_text(&self) -> String {
        self.now().utc().format("%H:%M").to_string()
    }

    pub(crate) fn message(&self) -> String {
        self.message.clone()
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn simulation(&self) -> Simulation {
        self.simulation
    }

    pub(crate) fn memory(&self) -> Memory {
        self.memory
    }

    pub(crate) fn disturbances(&self) -> &[Disturbance] {
        &self.disturbances
    }

    pub(crate) fn dir(&self) -> String {
        self.place.dir.to_string_lossy().into_owned()
    }

    pub(crate) fn central_config(&self) -> String {
        self.place.at("central.toml").to_string_lossy().into_owned()
    }

    pub(crate) fn edge_config(&self, store: &str) -> String {
        self.place.at(&format!("edge-{store}.toml")).to_string_lossy().into_owned()
    }

    fn now(&self) -> Timestamp {
        Clock::simulated(self.simulation).now()
    }

    fn start_centre(&mut self) -> anyhow::Result<()> {
        let config = self.central_config();
        let arguments = ["--config", &config, "run", "--roles", "ingest,lake"];
        self.centre = Some(self.place.start("central", "central", &arguments)?);
        Ok(())
    }

    fn start_agent(&mut self, index: usize) -> anyhow::Result<()> {
        let store = STORES[index].0;
        let config = self.edge_config(store);
        let agent = self.place.start(
            &format!("edge-{store}"),
            "edge-agent",
            &["--config", &config, "run"],
        )?;
        self.agents[index] = Some(agent);
        Ok(())
    }

    async fn stack(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let dir = self.dir();
        let all = [&["stack", arguments[0], "--dir", &dir], &arguments[1..]].concat();
        self.place.run("fakes", &all).await.map(drop)
    }

    fn breaks(&mut self) {
        self.broken_since = Some(Clock::real().now());
    }

    fn mended(&mut self) {
        let to = Clock::real().now().plus(RECOVERY);
        if let Some(from) = self.broken_since.take() {
            self.disturbances.push(Disturbance { from, to });
        }
    }

    /// Copies the oldest file of a till whole under another name, as a back office does that sends
    /// a day again.
    fn resend_file(&self) -> anyhow::Result<()> {
        let folder = self.place.at("tills").join(STORES[VICTIM].0);
        let oldest = oldest_file(&folder)?;
        let hidden = folder.join(".resent.tmp");
        std::fs::copy(&oldest, &hidden)?;
        let name = oldest.file_name().context("a file has a name")?.to_string_lossy().into_owned();
        std::fs::rename(&hidden, folder.join(format!("resent-{name}")))?;
        Ok(())
    }
}

fn oldest_file(folder: &Path) -> anyhow::Result<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !hidden && entry.file_type()?.is_file() {
            files.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    files.sort();
    let (_, oldest) = files.into_iter().next().context("no till has written a file yet")?;
    Ok(oldest)
}

fn read_simulation(place: &Place) -> anyhow::Result<Simulation> {
    let text = std::fs::read(place.at("clock.json")).context("the stack has no clock")?;
    serde_json::from_slice(&text).context("the stack's clock is not readable")
}
