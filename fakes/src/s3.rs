//! An S3-compatible object store: moto's server in a process of its own, everything in memory. It
//! honours put-if-absent, and looks at nobody's keys.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::Mutex;

use crate::error::StackError;
use crate::process::{Daemon, words};
use crate::{files, wait};

pub mod client;
pub mod proxy;

use client::Client;

/// How long a start may take: half a second on an idle machine.
const START: Duration = Duration::from_secs(60);
/// The environment variable that names the folder of the Python packages.
const PYTHON: &str = "FRISCHMARKT_PYTHON";
/// What a client may say who it is, as a credentials file has it.
pub const CREDENTIALS: &str =
    "[default]\naws_access_key_id = fakes\naws_secret_access_key = known-to-all\n";
/// The region that a client may name: a bucket of any other must name its own.
pub const REGION: &str = "us-east-1";

/// A store and its process.
#[derive(Debug)]
pub struct S3 {
    /// Its process.
    pub daemon: Daemon,
    /// Its port on the loopback address.
    pub port: u16,
}

/// Returns the daemon of a store with these files.
pub fn daemon(pid_file: PathBuf, log: PathBuf) -> Daemon {
    Daemon { name: "s3", pid_file, log, ask: Signal::SIGTERM }
}

/// Returns the Python with the packages of `scripts/setup`, or says how to get it.
pub fn python() -> Result<PathBuf, StackError> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let in_cache = |cache: PathBuf| cache.join("frischmarkt/python");
    let folder = match (set(PYTHON), set("XDG_CACHE_HOME")) {
        (Some(folder), _) => PathBuf::from(folder),
        (None, Some(cache)) => in_cache(PathBuf::from(cache)),
        (None, None) => in_cache(std::env::home_dir().unwrap_or_default().join(".cache")),
    };
    let program = folder.join("bin/python");
    if folder.join("installed.txt").is_file() && program.is_file() {
        return Ok(program);
    }
    let folder = folder.display();
    Err(StackError::wrong(format!("no Python packages in {folder}: run `make setup`")))
}

impl S3 {
    /// Starts the store where it is not alive, returns once it answers, and tells whether it was
    /// started. Several tasks may ask at once.
    pub async fn start(&self) -> Result<bool, StackError> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
        let _turn = ONE_AT_A_TIME.lock().await;
        let (python, port) = (python()?, self.port.to_string());
        let command = words([&python, &"-m", &"moto.server", &"-H", &"127.0.0.1", &"-p", &port]);
        let mut spawned = false;
        let answered = wait::until("the object store answers", START, async || {
            match (self.daemon.alive(), spawned) {
                (Some(_), _) => {}
                (None, true) => return Ok(Err(self.ended())),
                (None, false) => match self.daemon.spawn_on(&[self.port], &command).await {
                    Ok(_) => spawned = true,
                    Err(error) => return Ok(Err(error)),
                },
            }
            match Client::of(self.port).is_up().await {
                Ok(()) => Ok(Ok(())),
                Err(error) => Err(error.chain()),
            }
        });
        answered.await.map_err(StackError::foreign("the object store does not come up"))??;
        Ok(spawned)
    }

    fn ended(&self) -> StackError {
        StackError::ended("the object store", files::tail(&self.daemon.log, 12))
    }
}
