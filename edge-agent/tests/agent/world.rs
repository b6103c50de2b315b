//! A store's box for one test: a folder with tills, a key, certificates and a configuration; the
//! agent as a process of its own; and what its buffer holds, read as anyone may.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use edge_agent::buffer::inspect::Inspector;
use edge_agent::buffer::{BufferError, Key};
use edge_agent::status::Report;
use fakes::authority::{Authority, Credentials};
use fakes::wait;
use shared::minute::StoreMinute;
use shared::receipt::Receipt;
use tempfile::TempDir;

/// How long anything may take on a loaded machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// The box. Its folder vanishes with it.
pub(crate) struct World {
    folder: TempDir,
    /// What the agent's command stands behind.
    behind: Vec<String>,
}

/// How the broker is reached.
pub(crate) struct Broker {
    pub(crate) brokers: String,
    pub(crate) topic_prefix: String,
    pub(crate) credentials: Credentials,
}

/// A running agent; killed when dropped.
pub(crate) struct Agent(Child);

impl World {
    /// Makes a box whose broker is never there.
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let authority = Authority::open(&folder.path().join("ca"), "test authority").unwrap();
        let credentials = authority.client("store-10").unwrap();
        let brokers = "127.0.0.1:1".to_owned();
        let broker = Broker { brokers, topic_prefix: "frischmarkt.".to_owned(), credentials };
        Self::of(folder, "10", &broker)
    }

    /// Makes such a box whose agent does not hold old minutes for long.
    pub(crate) fn quick() -> Self {
        let world = Self::new();
        let config = std::fs::read_to_string(world.path("edge.toml")).unwrap();
        std::fs::write(world.path("edge.toml"), format!("holding_seconds = 1\n{config}")).unwrap();
        world
    }

    /// Makes a box of a store with a broker.
    pub(crate) fn with_broker(store: &str, broker: &Broker) -> Self {
        Self::of(TempDir::new().unwrap(), store, broker)
    }

    /// Takes a folder for a box that holds all that one needs.
    pub(crate) fn over(folder: TempDir) -> Self {
        Self { folder, behind: Vec::new() }
    }

    fn of(folder: TempDir, store: &str, broker: &Broker) -> Self {
        let world = Self { folder, behind: Vec::new() };
        std::fs::create_dir(world.path("tills")).unwrap();
        world.write_key("buffer.key", "5a");
        world.configure(store, broker, "");
        world
    }

    /// Writes a key that its owner alone may read.
    pub(crate) fn write_key(&self, name: &str, digits: &str) {
        let path = self.path(name);
        std::fs::write(&path, digits.repeat(32)).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes the configuration; `more` follows the source's keys.
    pub(crate) fn configure(&self, store: &str, broker: &Broker, more: &str) {
        let Broker { brokers, topic_prefix, credentials } = broker;
        let text = |path: &Path| path.display().to_string();
        let config = format!(
            r#"
store = "{store}"
state_folder = "."
oldest_business_day = "2017-01-01"
first_box = true
[buffer]
path = "buffer.db"
key_file = "buffer.key"
[kafka]
brokers = "{brokers}"
topic_prefix = "{topic_prefix}"
ca = "{}"
certificate = "{}"
key = "{}"
[[sources]]
name = "tills"
kind = "directory"
path = "tills"
format = "jsonl"
poll_millis = 100
{more}
"#,
            text(&credentials.ca),
            text(&credentials.certificate),
            text(&credentials.key),
        );
        std::fs::write(self.path("edge.toml"), config).unwrap();
    }

    /// Runs the agent by a command that becomes it, such as `env NAME=value`.
    pub(crate) fn run_behind(&mut self, command: &[String]) {
        self.behind = command.to_vec();
    }

    /// Adds a key that belongs to no section.
    pub(crate) fn configure_top(&self, line: &str) {
        let config = std::fs::read_to_string(self.path("edge.toml")).unwrap();
        std::fs::write(self.path("edge.toml"), format!("{line}\n{config}")).unwrap();
    }

    /// Adds keys to the source.
    pub(crate) fn configure_source(&self, more: &str) {
        let mut config = std::fs::read_to_string(self.path("edge.toml")).unwrap();
        config.push_str(more);
        std::fs::write(self.path("edge.toml"), config).unwrap();
    }

    /// Changes keys of the configuration.
    pub(crate) fn reconfigure(&self, change: impl FnOnce(String) -> String) {
        let config = std::fs::read_to_string(self.path("edge.toml")).unwrap();
        std::fs::write(self.path("edge.toml"), change(config)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Renames a file into the tills' folder, as a till does.
    pub(crate) fn drop_file(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path("arriving"), bytes).unwrap();
        std::fs::rename(self.path("arriving"), self.path("tills").join(name)).unwrap();
    }

    /// Starts the agent and waits until it has written its status.
    pub(crate) async fn agent(&self) -> Agent {
        let agent = self.start();
        self.until("the agent is up", |report| report.pid == agent.0.id()).await;
        agent
    }

    /// Starts the agent.
    pub(crate) fn start(&self) -> Agent {
        self.start_with(|_| {})
    }

    /// Starts the agent with more in its environment.
    pub(crate) fn start_among(&self, environment: &[(&str, String)]) -> Agent {
        self.start_with(|command| {
            command.envs(environment.iter().map(|(name, value)| (name, value)));
        })
    }

    /// Starts the agent in a way of its own.
    pub(crate) fn start_with(&self, prepare: impl FnOnce(&mut Command)) -> Agent {
        let log = std::fs::File::options().create(true).append(true).open(self.path("log"));
        let mut command = self.command(&["run"]);
        command.stdout(Stdio::null()).stderr(log.unwrap());
        prepare(&mut command);
        Agent(command.spawn().unwrap())
    }

    /// Runs a command of the agent to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that prints JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.run(arguments);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{arguments:?}: {error}: {}", String::from_utf8_lossy(&output.stderr))
        })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let words = self.behind.iter().map(String::as_str);
        let mut words = words.chain([env!("CARGO_BIN_EXE_edge-agent")]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).arg("--config").arg(self.path("edge.toml")).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    /// Returns the memory of its own that the running agent holds.
    pub(crate) fn memory_kib(&self) -> u64 {
        let pid = edge_agent::status::read(self.folder.path()).unwrap().pid;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Waits until the status says so.
    pub(crate) async fn until(&self, what: &str, is_so: impl FnMut(&Report) -> bool) {
        self.until_within(SOON, what, is_so).await;
    }

    /// Waits so long until the status says so.
    pub(crate) async fn until_within(
        &self,
        within: Duration,
        what: &str,
        mut is_so: impl FnMut(&Report) -> bool,
    ) {
        let look = async || match edge_agent::status::read(self.folder.path()) {
            Ok(report) if is_so(&report) => Ok(()),
            Ok(report) => Err(format!("{report:?}")),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = wait::until(what, within, look).await {
            panic!("{error}\n{}", std::fs::read_to_string(self.path("log")).unwrap_or_default());
        }
    }

    /// Waits until the batches hold this many receipts of this total.
    pub(crate) async fn until_cut(&self, receipts: u64, cents: i64) {
        let look = async || {
            let seen = sums(&self.batches());
            if seen == (receipts, cents) { Ok(()) } else { Err(format!("{seen:?}")) }
        };
        if let Err(error) = wait::until("the batches are cut", SOON, look).await {
            panic!("{error}\n{}", std::fs::read_to_string(self.path("log")).unwrap_or_default());
        }
    }

    /// Waits until the batches say that they hold this, also of a buffer that is only being made.
    pub(crate) async fn until_summed(&self, receipts: i64, cents: i64) {
        let look = async || {
            let sums = self.inspector().ok_or("no buffer")?.batch_sums();
            let sums = sums.map_err(|error| error.to_string())?;
            let seen = (sums.receipts, sums.total_cents);
            if seen == (receipts, cents) { Ok(()) } else { Err(format!("{seen:?}")) }
        };
        if let Err(error) = wait::until("the batches are cut", SOON, look).await {
            panic!("{error}\n{}", std::fs::read_to_string(self.path("log")).unwrap_or_default());
        }
    }

    /// Waits until so many units are set aside, and returns their reasons.
    pub(crate) async fn until_set_aside(&self, count: usize) -> Vec<String> {
        let what = format!("{count} units are set aside");
        wait::until(&what, SOON, async || {
            let units = self.inspector().map_or_else(Vec::new, |it| it.set_aside(100).unwrap());
            let reasons: Vec<String> = units.into_iter().map(|unit| unit.reason).collect();
            if reasons.len() == count { Ok(reasons) } else { Err(format!("{reasons:?}")) }
        })
        .await
        .unwrap()
    }

    /// Returns all batches in the buffer, the oldest first.
    pub(crate) fn batches(&self) -> Vec<StoreMinute> {
        let Some(inspector) = self.inspector() else { return Vec::new() };
        let mut listed = inspector.list(u32::MAX).unwrap();
        listed.reverse();
        let body = |sequence| inspector.show(sequence).unwrap().unwrap().body;
        listed.iter().map(|it| serde_json::from_value(body(it.sequence)).unwrap()).collect()
    }

    /// Returns a reader of the buffer; nothing where there is no buffer yet.
    pub(crate) fn inspector(&self) -> Option<Inspector> {
        let key = Key::from_file(&self.path("buffer.key")).unwrap();
        Inspector::open(&self.path("buffer.db"), &key).ok()
    }
}

impl Agent {
    /// Kills it as a power cut does.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Tells whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// Tells it to end and waits until it has.
    pub(crate) async fn stop(mut self) -> ExitStatus {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.ended().await
    }

    /// Waits until it ends.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let look = async || self.0.try_wait().unwrap().ok_or_else(|| "it runs".to_owned());
        wait::until("the agent has ended", SOON, look).await.unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already; either way none is left behind.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns receipts and their total over batches.
pub(crate) fn sums(batches: &[StoreMinute]) -> (u64, i64) {
    let tills = || batches.iter().flat_map(|batch| &batch.tills);
    (tills().map(|till| till.receipt_count).sum(), tills().map(|till| till.total_cents.0).sum())
}

/// Returns a receipt of one line that ended at a time, such as `09:41:07` of a past day.
pub(crate) fn receipt(till: &str, number: u32, time: &str, cents: i64) -> Receipt {
    let json = format!(
        r#"{{"store":"10","till":"{till}","series":"2026-03-02","receipt":"{number}",
        "business_day":"2026-03-02","ended_at":"2026-03-02T{time}Z","counts":true,
        "lines":[{{"position":1,"article":"own:x:{}","kind":"sale","unit":"pcs",
        "quantity_milli":1000,"amount_cents":{cents}}}],"total_cents":{cents},
        "payments":[{{"kind":"cash","cents":{cents}}}]}}"#,
        number % 7
    );
    serde_json::from_str(&json).unwrap()
}

/// Opens what was closed a moment ago. A child that another test starts holds all locks of this process
/// until it becomes its own program.
pub(crate) fn unlocked<T>(mut open: impl FnMut() -> Result<T, BufferError>) -> T {
    for _ in 0..1_000_000 {
        match open() {
            Err(BufferError::Taken(_)) => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
    panic!("the buffer stays locked");
}

/// Returns receipts as a till writes them, one a line.
pub(crate) fn lines<'a>(receipts: impl IntoIterator<Item = &'a Receipt>) -> String {
    let line = |receipt| serde_json::to_string(receipt).unwrap() + "\n";
    receipts.into_iter().map(line).collect()
}
