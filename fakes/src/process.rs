//! Servers that outlive whoever started them: each in a session of its own, known by pid and start
//! time, so that a recycled pid is never hit. Never signals anything that it did not start.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::StackError;
use crate::{files, ports, wait};

/// The child writes its own pid and start time before it becomes the server: there is no moment in
/// which it runs unrecorded, whatever happens to its parent.
const RECORD: &str =
    r#"cut -d" " -f1,22 "/proc/$$/stat" >"$0.new" && mv "$0.new" "$0" && exec "$@""#;

/// How long a server may take to go when it is asked.
const KIND: Duration = Duration::from_secs(20);
/// How long the kernel may take to clear away a killed process.
const FORCED: Duration = Duration::from_secs(10);
/// How long a child may take to record itself on a loaded machine.
const RECORDED: Duration = Duration::from_secs(20);

/// How a process is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Asked first, killed when it does not go.
    Asked,
    /// Killed at once, as by a power cut.
    Killed,
}

/// A server as its pid file knows it.
#[derive(Debug, Clone)]
pub struct Daemon {
    /// The name for messages.
    pub name: &'static str,
    /// Where pid and start time are kept.
    pub pid_file: PathBuf,
    /// Where standard output and error go.
    pub log: PathBuf,
    /// What asks this server to go.
    pub ask: Signal,
}

/// A process that cannot be mistaken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// The process id.
    pub pid: i32,
    started: u64,
}

impl Daemon {
    /// Returns the recorded process where it is alive.
    pub fn alive(&self) -> Option<Process> {
        self.recorded().filter(|process| process.is_alive())
    }

    /// Returns a process that prepares something for this one: recorded beside it, with its log.
    pub fn helper(&self, name: &'static str) -> Self {
        let pid_file = self.pid_file.with_file_name(format!("{name}.pid"));
        Self { name, pid_file, log: self.log.clone(), ask: Signal::SIGTERM }
    }

    /// Starts the command where all its ports are free.
    pub async fn spawn_on(
        &self,
        ports: &[u16],
        command: &[OsString],
    ) -> Result<Process, StackError> {
        ports::until_free(self.name, ports).await?;
        self.spawn(command).await
    }

    /// Starts the command, detached, and returns once it has recorded itself.
    pub async fn spawn(&self, command: &[OsString]) -> Result<Process, StackError> {
        let mut child = self.launch(command)?;
        // Whoever stays long enough must collect the child, or it would stay as a zombie.
        std::thread::spawn(move || child.wait());
        wait::until("the process has recorded itself", RECORDED, async || {
            self.recorded().ok_or_else(|| files::tail(&self.log, 5))
        })
        .await
        .map_err(StackError::foreign(format!("cannot start {}", self.name)))
    }

    /// Runs the command to its end. One that an interrupted start has left behind is ended first,
    /// since both would write to the same place.
    pub async fn run(&self, command: &[OsString]) -> Result<(), StackError> {
        self.stop(Ending::Asked).await?;
        let mut child = self.launch(command)?;
        let failed = |source| StackError::System { what: self.cannot("watch"), source };
        let ended = tokio::task::spawn_blocking(move || child.wait());
        let status = ended.await.map_err(StackError::foreign(self.cannot("watch")))?;
        let status = status.map_err(failed)?;
        if status.success() {
            return Ok(());
        }
        let (name, log) = (self.name, files::tail(&self.log, 8));
        Err(StackError::wrong(format!("{name} failed ({status}); its log ends with:\n{log}")))
    }

    fn launch(&self, command: &[OsString]) -> Result<Child, StackError> {
        if let Err(error) = fs::remove_file(&self.pid_file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(StackError::path("replace", &self.pid_file)(error));
        }
        let log = File::options().create(true).append(true).open(&self.log);
        let mut log = log.map_err(StackError::path("write", &self.log))?;
        writeln!(log, "{}", files::STARTED).map_err(StackError::path("write", &self.log))?;
        let again = log.try_clone().map_err(StackError::path("write", &self.log))?;
        Command::new("setsid")
            .args(["sh", "-c", RECORD])
            .arg(&self.pid_file)
            .args(command)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(again)
            .spawn()
            .map_err(|source| StackError::System { what: self.cannot("start"), source })
    }

    fn cannot(&self, what: &str) -> String {
        format!("cannot {what} {}", self.name)
    }

    fn recorded(&self) -> Option<Process> {
        let text = fs::read_to_string(&self.pid_file).ok()?;
        let (pid, started) = text.trim().split_once(' ')?;
        Some(Process { pid: pid.parse().ok()?, started: started.parse().ok()? })
    }

    /// Ends the process where it is alive and returns whether it was.
    pub async fn stop(&self, how: Ending) -> Result<bool, StackError> {
        let Some(process) = self.alive() else { return Ok(false) };
        match how {
            Ending::Killed => process.end_with(Signal::SIGKILL, FORCED).await?,
            Ending::Asked => {
                if process.end_with(self.ask, KIND).await.is_err() {
                    process.end_with(Signal::SIGKILL, FORCED).await?;
                }
            }
        }
        Ok(true)
    }
}

impl Process {
    /// Returns true while this very process runs; a zombie does not run.
    pub fn is_alive(self) -> bool {
        let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", self.pid)) else { return false };
        // The name in parentheses may hold anything, so fields are counted from its end.
        let Some((_, fields)) = stat.rsplit_once(')') else { return false };
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let state = fields.first().copied().unwrap_or("X");
        let started = fields.get(19).and_then(|field| field.parse().ok());
        !matches!(state, "Z" | "X") && started == Some(self.started)
    }

    async fn end_with(self, signal: Signal, within: Duration) -> Result<(), StackError> {
        match kill(Pid::from_raw(self.pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => {
                let what = format!("cannot send {signal} to process {}", self.pid);
                return Err(StackError::System { what, source: errno.into() });
            }
        }
        wait::until("the process is gone", within, async || {
            if self.is_alive() { Err(format!("pid {} runs", self.pid)) } else { Ok(()) }
        })
        .await
        .map_err(StackError::foreign(format!("process {} does not end", self.pid)))
    }
}

/// Builds a command line of parts of any text type.
pub fn words<const N: usize>(parts: [&dyn AsRef<OsStr>; N]) -> Vec<OsString> {
    parts.iter().map(|part| part.as_ref().to_owned()).collect()
}

/// Returns the named program of the search path, or nothing.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
