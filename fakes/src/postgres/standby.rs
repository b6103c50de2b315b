//! A server that follows another one without holding it up, as a standby does that may lose the last
//! seconds: a copy of its files, and then whatever arrives of its log.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::client::{self, Access};
use super::{Postgres, daemon, release_memory};
use crate::error::StackError;
use crate::process::{Daemon, Ending, words};
use crate::{files, wait};

/// How long a copy of the files and the first start may take on a loaded machine.
const START: Duration = Duration::from_secs(120);

/// A standby and the folder that it lives in.
#[derive(Debug)]
pub struct Standby {
    folder: PathBuf,
    daemon: Daemon,
    superuser: Access,
}

impl Standby {
    /// Copies a running server into a new folder and follows it. It is reached over `upstream`, a port
    /// of the loopback address, so that whoever holds that port can cut the log off.
    pub async fn follow(
        primary: &Postgres,
        (upstream, port): (u16, u16),
        folder: PathBuf,
    ) -> Result<Self, StackError> {
        files::create_folder_with_mode(&folder, 0o700)?;
        primary.hand_over(&folder)?;
        let passwords = folder.join("passwords");
        let line = format!("*:*:*:*:{}\n", primary.superuser_password);
        files::write_private(&passwords, &line)?;
        primary.hand_over(&passwords)?;
        let beside = |ending: &str| {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            primary.daemon.pid_file.with_file_name(format!("{name}.{ending}"))
        };
        let daemon = daemon(beside("pid"), beside("log"));
        let from = format!(
            // No certificate of the user who happens to run this is looked for.
            "host=127.0.0.1 port={upstream} user=postgres sslmode=require sslcert={} passfile={}",
            folder.join("none").display(),
            passwords.display()
        );
        let mut copy = primary.as_its_user("pg_basebackup")?;
        copy.extend(words([&"--dbname", &from, &"--pgdata", &folder.join("data")]));
        copy.extend(words([&"--write-recovery-conf", &"--checkpoint=fast", &"--no-sync"]));
        let name = "pg_basebackup";
        let pid_file = beside("copy.pid");
        let copier = Daemon { name, pid_file, log: daemon.log.clone(), ask: Signal::SIGTERM };
        copier.run(&copy).await?;
        let superuser = Access { port, ..primary.superuser() };
        let standby = Self { folder, daemon, superuser };
        let mut serve = primary.as_its_user("postgres")?;
        serve.extend(words([&"-D", &standby.folder.join("data"), &"-c", &format!("port={port}")]));
        standby.daemon.spawn_on(&[port], &serve).await?;
        standby.until_answering().await?;
        Ok(standby)
    }

    async fn until_answering(&self) -> Result<(), StackError> {
        let answers = wait::until("the standby answers", START, async || {
            if self.daemon.alive().is_none() {
                let log = files::tail(&self.daemon.log, 8);
                return Ok(Err(StackError::ended("the standby", log)));
            }
            match tokio::time::timeout(wait::LOOK, client::connect(&self.superuser)).await {
                Ok(Ok(_)) => Ok(Ok(())),
                Ok(Err(error)) => Err(error.chain()),
                Err(_) => Err("it takes connections and says nothing".to_owned()),
            }
        });
        answers.await.map_err(StackError::foreign("the standby does not come up"))?
    }

    /// Returns its port.
    pub fn port(&self) -> u16 {
        self.superuser.port
    }

    /// Lets it be a server of its own, with whatever has arrived.
    pub async fn promote(&self) -> Result<(), StackError> {
        let client = client::connect(&self.superuser).await?;
        let promoted = client.batch_execute("SELECT pg_promote()").await;
        promoted.map_err(StackError::foreign("the standby was not promoted"))
    }

    /// Ends it and removes its folder.
    pub async fn remove(&self) -> Result<(), StackError> {
        self.daemon.stop(Ending::Asked).await?;
        release_memory(&self.folder).await?;
        if self.folder.exists() {
            let removed = std::fs::remove_dir_all(&self.folder);
            removed.map_err(StackError::path("remove", &self.folder))?;
        }
        Ok(())
    }
}
