//! The centre of a run: the real program, which can be killed like any process, and further members
//! in this process that come and go.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use central::Role;
use central::config::Config;
use fakes::link::Link;
use fakes::wait;
use tokio::process::{Child, Command};

use crate::ingest_world::{Running, SOON, World};

/// Its name in the consumer groups.
const NAME: &str = "first";

/// The program of a run and how it is started.
pub(crate) struct Centre {
    config_file: PathBuf,
    log: PathBuf,
    child: Option<Child>,
    /// What carries the program's words to Postgres.
    pub(super) link: Link,
}

impl Centre {
    /// Prepares it; nothing runs yet.
    pub(super) async fn of(world: &World) -> Self {
        let port = world.database.access().port;
        let link = Link::start(([127, 0, 0, 1], port).into()).await.unwrap();
        let text = std::fs::read_to_string(&world.config_file).unwrap();
        let http = format!("listen = \"{}\"", world.config.http.listen);
        let text = text
            .replace(&format!("\nport = {port}\n"), &format!("\nport = {}\n", link.port()))
            .replace(&http, "listen = \"127.0.0.1:0\"")
            // A program that comes back under its name waits for no session of its own to expire.
            .replace("[kafka]\n", &format!("[kafka]\ninstance = \"{NAME}\"\n"));
        let config_file = world.folder.path().join("program.toml");
        std::fs::write(&config_file, text).unwrap();
        Self { config_file, log: world.folder.path().join("program.log"), child: None, link }
    }

    /// Starts the program with its roles.
    pub(crate) fn start(&mut self) {
        self.start_under(&[]);
    }

    /// Starts the program under others, which end in it.
    pub(super) fn start_under(&mut self, before: &[&str]) {
        assert!(self.child.is_none(), "it runs already");
        let program = env!("CARGO_BIN_EXE_central");
        let mut words = before.iter().copied().chain([program]);
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words)
            .arg("--config")
            .arg(&self.config_file)
            .args(["run", "--roles", "ingest,lake"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let (mut says, log) = (child.stderr.take().unwrap(), self.log.clone());
        // A pipe and not the file itself: a limit on the program's files must not silence it.
        tokio::spawn(async move {
            let mut file =
                tokio::fs::File::options().create(true).append(true).open(log).await.unwrap();
            tokio::io::copy(&mut says, &mut file).await.unwrap();
        });
        self.child = Some(child);
    }

    /// Starts a second one of the same roles and name in this process.
    pub(super) fn second(&self, world: &World) -> Running {
        let mut config: Config = world.config.clone();
        config.http.listen = ([127, 0, 0, 1], 0).into();
        config.kafka.instance = Some(NAME.to_owned());
        Running::start_roles(&config, BTreeSet::from([Role::Ingest, Role::Lake]))
    }

    /// Ends it by SIGKILL, wherever it stands.
    pub(crate) async fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        if let Some(ended) = child.try_wait().unwrap() {
            panic!("the program ended by itself with {ended}: {}", self.tail());
        }
        child.kill().await.unwrap();
    }

    /// Lets it live this long and kills it.
    pub(super) async fn kill_after(&mut self, lives: Duration) {
        let child = self.child.as_mut().expect("it runs");
        if let Ok(ended) = tokio::time::timeout(lives, child.wait()).await {
            panic!("the program ended by itself with {ended:?}: {}", self.tail());
        }
        self.kill().await;
    }

    /// Sends it a signal by name.
    pub(super) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.unwrap().success(), "{name} reaches it");
    }

    /// Returns the process' id.
    pub(super) fn pid(&self) -> u32 {
        self.child.as_ref().and_then(Child::id).expect("it runs")
    }

    /// Runs another command of the program and returns what it says.
    pub(super) async fn command(&self, words: &[&str]) -> String {
        let done = self.output(words).await;
        let (said, failed) =
            (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "central {words:?}: {said}{failed}");
        said.into_owned()
    }

    /// Runs another command of the program and returns what it says, however it ends.
    pub(super) async fn says(&self, words: &[&str]) -> String {
        String::from_utf8_lossy(&self.output(words).await.stdout).into_owned()
    }

    /// Runs another command of the program to its end.
    pub(super) async fn output(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_central"));
        command.arg("--config").arg(&self.config_file).args(words).stdin(Stdio::null());
        command.output().await.unwrap()
    }

    /// Returns how many of its lines hold this.
    pub(super) fn said(&self, what: &str) -> usize {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        said.lines().filter(|line| line.contains(what)).count()
    }

    /// Waits until it has said this more often than `before`.
    pub(super) async fn until_said(&self, what: &str, before: usize) {
        let told = wait::until(what, SOON, async || match self.said(what) {
            times if times > before => Ok(()),
            times => Err(format!("said {times} times")),
        });
        told.await.unwrap_or_else(|late| panic!("{late}: {}", self.tail()));
    }

    /// Returns the end of what it has said.
    pub(super) fn tail(&self) -> String {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

/// Starts a further member of the group, or one of another group that knows nothing of the first.
pub(super) fn member(world: &World, group: Option<&str>) -> Running {
    let mut config: Config = world.config.clone();
    config.http.listen = ([127, 0, 0, 1], 0).into();
    if let Some(group) = group {
        config.kafka.group_prefix = format!("{}{group}", config.kafka.group_prefix);
    }
    Running::start(&config)
}
