//! Where everything of a stack lies in its folder.

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use shared::ids::StoreId;
use shared::topics::store_principal;

use crate::authority::{self, Credentials};
use crate::process::Daemon;
use crate::{broker, postgres, s3};

/// The paths of a stack's folder.
#[derive(Debug, Clone)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// Returns the layout of an absolute folder.
    pub fn of(dir: PathBuf) -> Self {
        assert!(dir.is_absolute(), "a server's folder must not depend on where it is started");
        Self { dir }
    }

    /// Returns the stack's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns a path within the folder.
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Returns the file that makes a folder a stack's.
    pub fn marker(&self) -> PathBuf {
        self.at(".frischmarkt-stack")
    }

    /// Returns the file with ports, stores and passwords.
    pub fn state(&self) -> PathBuf {
        self.at("run/stack.json")
    }

    /// Returns the simulated clock's file, which exists in fake mode only.
    pub fn clock(&self) -> PathBuf {
        self.at("clock.json")
    }

    /// Returns the file that shells source.
    pub fn env(&self) -> PathBuf {
        self.at("stack.env")
    }

    /// Returns the warehouse's folder.
    pub fn lake(&self) -> PathBuf {
        self.at("lake")
    }

    /// Returns the file with the centre's database password.
    pub fn password(&self) -> PathBuf {
        self.at("central.password")
    }

    /// Returns the authority's folder.
    pub fn certificates(&self) -> PathBuf {
        self.at("certificates")
    }

    /// Returns what this common name shows, whether issued yet or not.
    pub fn credentials(&self, name: &str) -> Credentials {
        authority::credentials(&self.certificates(), name)
    }

    /// Returns what a store shows.
    pub fn store_credentials(&self, store: &StoreId) -> Credentials {
        self.credentials(&store_principal(store))
    }

    /// Returns the folder into which a store's tills write.
    pub fn tills(&self, store: &StoreId) -> PathBuf {
        self.dir.join("tills").join(store.as_str())
    }

    /// Returns the folder into which a store's stock documents come, as JSON Lines.
    pub fn stock(&self, store: &StoreId) -> PathBuf {
        self.dir.join("stock").join(store.as_str())
    }

    /// Returns the folder in which a store's agent keeps its state.
    pub fn edge(&self, store: &StoreId) -> PathBuf {
        self.dir.join("edge").join(store.as_str())
    }

    /// Returns the settings of a store's tills, where their format needs some.
    pub fn till_settings(&self, store: &StoreId) -> PathBuf {
        self.edge(store).join("tills.toml")
    }

    /// Returns a store's agent configuration.
    pub fn edge_config(&self, store: &StoreId) -> PathBuf {
        self.at(&format!("edge-{store}.toml"))
    }

    /// Returns the centre's configuration.
    pub fn central_config(&self) -> PathBuf {
        self.at("central.toml")
    }

    /// Returns the broker's process.
    pub fn kafka(&self) -> Daemon {
        broker::daemon(self.at("run/kafka.pid"), self.at("run/kafka.log"))
    }

    /// Returns the database's process.
    pub fn postgres(&self) -> Daemon {
        postgres::daemon(self.at("run/postgres.pid"), self.at("run/postgres.log"))
    }

    /// Returns the object store's process.
    pub fn s3(&self) -> Daemon {
        s3::daemon(self.at("run/s3.pid"), self.at("run/s3.log"))
    }

    /// Returns the links' process.
    pub fn links(&self) -> Daemon {
        let (pid_file, log) = (self.at("run/links.pid"), self.at("run/links.log"));
        Daemon { name: "links", pid_file, log, ask: Signal::SIGTERM }
    }
}
