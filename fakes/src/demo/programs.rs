//! The programs of the demo as processes: the centre, an agent and a shop per store. Each writes
//! its log into the stack's folder. Ends only what it started.

use std::fs::File;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

/// How long a program may take to leave when it is asked.
const LEAVES_WITHIN: Duration = Duration::from_secs(20);

/// Where programs and stack lie.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    pub(crate) programs: PathBuf,
}

impl Place {
    /// Returns a path within the stack's folder.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Returns a program's path.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// Runs a program to its end and returns what it printed; fails with its own words.
    pub(crate) async fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let (status, out, error) = self.try_run(program, arguments).await?;
        anyhow::ensure!(
            status.success(),
            "{program} {} ended with {status}:\n{out}{error}",
            arguments.join(" ")
        );
        Ok(out)
    }

    /// Runs a program to its end and returns how it ended and what it printed.
    pub(crate) async fn try_run(
        &self,
        program: &str,
        arguments: &[&str],
    ) -> anyhow::Result<(ExitStatus, String, String)> {
        let done = Command::new(self.program(program))
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("cannot start {}", self.program(program).display()))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((done.status, text(&done.stdout), text(&done.stderr)))
    }

    /// Starts a program that runs on.
    pub(crate) fn start(
        &self,
        name: &str,
        program: &str,
        arguments: &[&str],
    ) -> anyhow::Result<Running> {
        let path = self.at("log").join(format!("{name}.log"));
        let log = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let child = Command::new(self.program(program))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program(program).display()))?;
        Ok(Running { name: name.to_owned(), log: path, child })
    }
}

/// A program that runs; it is killed when this is dropped.
pub(crate) struct Running {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Running {
    /// Returns the process id while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Fails where the program has ended by itself.
    pub(crate) fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!(
                "{} ended by itself with {status}; its log is {}",
                self.name,
                self.log.display()
            ),
        }
    }

    /// Kills the program at once, as by a power cut.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("cannot kill {}", self.name))
    }

    /// Waits until the program has ended by itself, and fails where it failed.
    pub(crate) async fn finish(mut self) -> anyhow::Result<()> {
        let status = self.child.wait().await?;
        anyhow::ensure!(
            status.success(),
            "{} ended with {status}; its log is {}",
            self.name,
            self.log.display()
        );
        Ok(())
    }

    /// Asks the program to leave, and kills it where it stays.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.child.id() {
            kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGTERM)
                .with_context(|| format!("cannot signal {}", self.name))?;
        }
        match tokio::time::timeout(LEAVES_WITHIN, self.child.wait()).await {
            Ok(status) => {
                let status = status?;
                anyhow::ensure!(
                    status.success(),
                    "{} left with {status}; log: {}",
                    self.name,
                    self.log.display()
                );
                Ok(())
            }
            Err(_) => {
                self.child.kill().await?;
                anyhow::bail!(
                    "{} did not leave within {LEAVES_WITHIN:?}; log: {}",
                    self.name,
                    self.log.display()
                )
            }
        }
    }
}
