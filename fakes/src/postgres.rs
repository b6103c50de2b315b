//! A real Postgres server: TLS only, passwords by SCRAM, no socket but loopback. As root it runs as
//! Postgres' own user, since it refuses to be root.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{Uid, User, chown};
use tokio::time::Instant;

use crate::authority::Credentials;
use crate::error::StackError;
use crate::process::{Daemon, Ending, words};
use crate::{files, wait};

pub mod client;
pub mod standby;

use client::Access;

/// How long a start may take: 1 s on an idle machine; a recovery after a kill takes longer.
const START: Duration = Duration::from_secs(60);
/// How long after a kill the old server may seem to run: until its children have let go of its
/// memory, and until init has collected it.
const AFTERLIFE: Duration = Duration::from_secs(30);
/// The oldest version that is supported.
const VERSION_MIN: u32 = 15;
/// The role that owns the service's database.
pub const ROLE: &str = "central";
/// The service's database.
pub const DATABASE: &str = "frischmarkt";
/// The user that Debian's package makes for the server.
const SYSTEM_USER: &str = "postgres";

/// Whether a commit reaches the disk before it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It does.
    Kept,
    /// It does not: for tests, where the machine itself does not die.
    Waived,
}

/// A server and the folder that it lives in.
#[derive(Debug)]
pub struct Postgres {
    /// The folder with data and key.
    pub folder: PathBuf,
    /// Its process.
    pub daemon: Daemon,
    /// Its port on the loopback address.
    pub port: u16,
    /// What it shows to its clients.
    pub identity: Credentials,
    /// The superuser's password.
    pub superuser_password: String,
    /// The service role's password.
    pub password: String,
    /// Whether commits are synced.
    pub durability: Durability,
}

/// Returns the daemon of a server with these files; it is asked for a fast shutdown.
pub fn daemon(pid_file: PathBuf, log: PathBuf) -> Daemon {
    Daemon { name: "postgres", pid_file, log, ask: Signal::SIGINT }
}

/// Returns what makes the cluster before the server's first start.
pub fn maker(daemon: &Daemon) -> Daemon {
    daemon.helper("initdb")
}

/// Returns the folder with the newest installed server's programs, or says how to get one.
pub fn programs() -> Result<PathBuf, StackError> {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let versions = installed.filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        entry.path().join("bin/postgres").is_file().then(|| (version, entry.path().join("bin")))
    });
    match versions.max() {
        Some((version, folder)) if version >= VERSION_MIN => Ok(folder),
        Some((version, _)) => Err(StackError::wrong(format!(
            "Postgres {version} is too old, {VERSION_MIN} is needed: run `make setup`"
        ))),
        None => Err(StackError::wrong("no Postgres in /usr/lib/postgresql: run `make setup`")),
    }
}

impl Postgres {
    /// Makes the cluster where it is absent and writes its settings.
    pub async fn prepare(&self) -> Result<(), StackError> {
        let data = self.folder.join("data");
        files::create_folder_with_mode(&self.folder, 0o700)?;
        self.hand_over(&self.folder)?;
        require_reachable(&self.folder)?;
        if !self.folder.join("initialised").exists() {
            self.initialise(&data).await?;
        }
        self.hand_over_file("server.key", &files::read(&self.identity.key)?)?;
        self.hand_over_file("server.pem", &files::read(&self.identity.certificate)?)?;
        self.hand_over_file("data/postgresql.auto.conf", &self.settings())?;
        self.hand_over_file("data/pg_hba.conf", HBA)
    }

    /// A cluster whose making was interrupted is made anew: nothing was in it.
    async fn initialise(&self, data: &Path) -> Result<(), StackError> {
        maker(&self.daemon).stop(Ending::Asked).await?;
        if data.exists() {
            std::fs::remove_dir_all(data).map_err(StackError::path("remove", data))?;
        }
        self.hand_over_file("superuser.password", &self.superuser_password)?;
        let mut command = self.as_its_user("initdb")?;
        command.extend(words([&"--pgdata", &data, &"--username=postgres", &"--encoding=UTF8"]));
        command.extend(words([&"--locale=C", &"--auth=scram-sha-256", &"--no-sync"]));
        command.extend(words([&"--pwfile", &self.folder.join("superuser.password")]));
        maker(&self.daemon).run(&command).await?;
        files::write(&self.folder.join("initialised"), "")
    }

    /// Starts the server where it is not alive, returns once it answers and has role and database,
    /// and tells whether it was started. After a kill, the old server's children may hold its
    /// memory for a moment: a server that ends while it starts is started again.
    pub async fn start(&self) -> Result<bool, StackError> {
        let mut command = self.as_its_user("postgres")?;
        command.extend(words([&"-D", &self.folder.join("data")]));
        let mut spawned = None;
        wait::until("Postgres answers", START, async || {
            if self.daemon.alive().is_none() {
                let first = *spawned.get_or_insert_with(Instant::now);
                if first.elapsed() > AFTERLIFE {
                    return Ok(Err(self.ended()));
                }
                if let Err(error) = self.daemon.spawn_on(&[self.port], &command).await {
                    return Ok(Err(error));
                }
            }
            match tokio::time::timeout(wait::LOOK, client::connect(&self.superuser())).await {
                Ok(Ok(_)) => Ok(Ok(())),
                Ok(Err(error)) => Err(error.chain()),
                Err(_) => Err("it takes connections and says nothing".to_owned()),
            }
        })
        .await
        .map_err(StackError::foreign("Postgres does not come up"))??;
        client::create_role_and_database(&self.superuser(), &self.password).await?;
        Ok(spawned.is_some())
    }

    /// Ends the server where it is alive and returns whether it was.
    pub async fn stop(&self, how: Ending) -> Result<bool, StackError> {
        self.daemon.stop(how).await
    }

    fn ended(&self) -> StackError {
        StackError::ended("Postgres", files::tail(&self.daemon.log, 8))
    }

    fn superuser(&self) -> Access {
        Access {
            port: self.port,
            database: "postgres".to_owned(),
            user: "postgres".to_owned(),
            password: self.superuser_password.clone(),
            ca: self.identity.ca.clone(),
        }
    }

    fn settings(&self) -> String {
        let folder = self.folder.display().to_string().replace('\'', "''");
        let durability = match self.durability {
            Durability::Kept => "",
            Durability::Waived => "fsync = off\nfull_page_writes = off\n",
        };
        format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = ''\n\
             ssl = on\nssl_cert_file = '{folder}/server.pem'\nssl_key_file = '{folder}/server.key'\n\
             password_encryption = 'scram-sha-256'\nmax_connections = 150\n\
             timezone = 'UTC'\nlog_timezone = 'UTC'\n{durability}",
            self.port,
        )
    }

    fn as_its_user(&self, program: &str) -> Result<Vec<OsString>, StackError> {
        let program = programs()?.join(program);
        if !Uid::effective().is_root() {
            return Ok(words([&program]));
        }
        let (user, group) = (format!("--reuid={SYSTEM_USER}"), format!("--regid={SYSTEM_USER}"));
        Ok(words([&"setpriv", &user, &group, &"--init-groups", &program]))
    }

    fn hand_over_file(&self, name: &str, text: &str) -> Result<(), StackError> {
        let path = self.folder.join(name);
        files::write_private(&path, text)?;
        self.hand_over(&path)
    }

    fn hand_over(&self, path: &Path) -> Result<(), StackError> {
        if !Uid::effective().is_root() {
            return Ok(());
        }
        let user = User::from_name(SYSTEM_USER).ok().flatten().ok_or_else(|| {
            StackError::wrong(format!("no user {SYSTEM_USER} on this machine: run `make setup`"))
        })?;
        chown(path, Some(user.uid), Some(user.gid))
            .map_err(std::io::Error::from)
            .map_err(StackError::path("hand over", path))
    }
}

/// Gives back the shared memory of a server that was killed and not started again, as the server
/// itself has noted it: in the seventh line of its lock file, behind the key.
pub async fn release_memory(folder: &Path) -> Result<(), StackError> {
    let lock_file = folder.join("data/postmaster.pid");
    if !lock_file.exists() {
        return Ok(());
    }
    let noted = files::read(&lock_file)?;
    let Some(id) = noted.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) else {
        return Ok(());
    };
    let given_back = tokio::process::Command::new("ipcrm").args(["-m", id]).output().await;
    let given_back = given_back.map_err(StackError::foreign("cannot start ipcrm"))?;
    if !given_back.status.success() {
        tracing::debug!(id, "the killed Postgres held no shared memory any more");
    }
    Ok(())
}

/// Nobody comes in without TLS and a password.
const HBA: &str = "hostssl all all 127.0.0.1/32 scram-sha-256\n\
    hostssl replication postgres 127.0.0.1/32 scram-sha-256\n";

/// As root, the server's user must be able to walk down to the folder.
fn require_reachable(folder: &Path) -> Result<(), StackError> {
    if !Uid::effective().is_root() {
        return Ok(());
    }
    for above in folder.ancestors().skip(1) {
        let found = std::fs::metadata(above).map_err(StackError::path("look at", above))?;
        if found.permissions().mode() & 0o001 == 0 {
            return Err(StackError::wrong(format!(
                "{} may be entered by its owner only, so Postgres' user cannot reach {}: \
                 choose another folder, or `chmod o+x` that one",
                above.display(),
                folder.display()
            )));
        }
    }
    Ok(())
}
