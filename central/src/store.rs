//! What Postgres holds, by what it is for. This folder alone names tokio-postgres, its pool and
//! the migrations; everything in it is set-based, one transaction per consumed batch.

pub mod audit;
pub mod closings;
pub mod compared;
mod counted;
mod days;
pub mod dead_letters;
pub mod delivered;
pub mod digests;
mod health;
mod migrate;
pub mod numbers;
pub mod progress;
pub mod registry;
pub mod streams;
pub mod totals;
pub mod verdicts;
pub mod write;

use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::PostgresConfig;
use crate::tls::{self, TlsError};

pub use migrate::MigrateError;

/// Connections of one process: the writer, the lake's reader, health, and one to spare.
const CONNECTIONS_MAX: usize = 4;
/// How long connecting may take before it counts as an outage.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// How long sent bytes may stay unacknowledged before the connection counts as dead.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Settings of every session. A statement that takes a minute is a fault, not a load.
const SESSION: &str = "-c client_min_messages=warning -c statement_timeout=60s -c timezone=UTC \
    -c idle_in_transaction_session_timeout=60s";

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The password file cannot be read.
    #[error("cannot read the password file")]
    Password(#[source] std::io::Error),
    /// TLS cannot be set up.
    #[error("cannot set up TLS to Postgres")]
    Tls(#[source] TlsError),
    /// The pool cannot be made.
    #[error("cannot make the connection pool")]
    Pool(#[source] deadpool_postgres::BuildError),
    /// No connection can be had.
    #[error("cannot connect to Postgres")]
    Connect(#[source] PoolError),
    /// A statement failed.
    #[error("Postgres did not {what}{}", advice(source))]
    Statement {
        /// What was asked.
        what: &'static str,
        /// The cause.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The database answers too slowly to be waited for.
    #[error("Postgres did not {0} in time")]
    Late(&'static str),
    /// Another consumer moved this partition: ours is a zombie, or was overtaken by one.
    #[error("the stored offset of a partition is not the one that was read")]
    Overtaken,
}

impl StoreError {
    /// Returns a function that names what was asked.
    pub(crate) fn on(what: &'static str) -> impl Fn(tokio_postgres::Error) -> Self {
        move |source| Self::Statement { what, source }
    }

    /// Returns true where the same statement may succeed later: the connection, the load, an
    /// operator or the machine is at fault, not the data.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Late(_) | Self::Overtaken | Self::Password(_) => true,
            Self::Tls(_) | Self::Pool(_) => false,
            Self::Statement { source, .. } => match source.code() {
                Some(code) => is_transient_state(code),
                None => source.is_closed() || has_io_cause(source),
            },
        }
    }

    /// Returns the SQLSTATE and the server's own words, where the server spoke.
    pub fn server_words(&self) -> Option<String> {
        let Self::Statement { source, .. } = self else { return None };
        let error = source.as_db_error()?;
        Some(format!("SQLSTATE {}: {}", error.code().code(), error.message()))
    }
}

/// Returns what to do where the tables are not those of this release.
fn advice(error: &tokio_postgres::Error) -> &'static str {
    let missing =
        [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN, SqlState::INVALID_SCHEMA_NAME];
    if error.code().is_some_and(|code| missing.contains(code)) {
        " (its tables are not those of this release: run `central migrate`)"
    } else {
        ""
    }
}

/// Classes of SQLSTATE that speak of the connection, conflicts, resources, operators and the system.
fn is_transient_state(code: &SqlState) -> bool {
    ["08", "40", "53", "57", "58"].iter().any(|class| code.code().starts_with(class))
}

fn has_io_cause(error: &dyn std::error::Error) -> bool {
    let mut cause = error.source();
    while let Some(one) = cause {
        if one.is::<std::io::Error>() {
            return true;
        }
        cause = one.source();
    }
    false
}

/// A connection that is ours until it is dropped.
pub struct Connection(Object);

impl Connection {
    /// Closes the connection, whose state nobody knows after a failure.
    pub(crate) fn discard(self) {
        drop(Object::take(self.0));
    }
}

impl std::ops::Deref for Connection {
    type Target = tokio_postgres::Client;
    fn deref(&self) -> &tokio_postgres::Client {
        &self.0
    }
}

impl std::ops::DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut tokio_postgres::Client {
        &mut self.0
    }
}

/// The operational store.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
}

impl Store {
    /// Prepares connections; none is made before the first is needed.
    pub fn new(config: &PostgresConfig) -> Result<Self, StoreError> {
        let password =
            std::fs::read_to_string(&config.password_file).map_err(StoreError::Password)?;
        let mut settings = tokio_postgres::Config::new();
        settings
            .host(&config.host)
            .port(config.port)
            .dbname(&config.database)
            .user(&config.user)
            .password(password.lines().next().unwrap_or_default())
            .application_name("central")
            .options(SESSION)
            .ssl_mode(tokio_postgres::config::SslMode::Require)
            .connect_timeout(CONNECT_WAIT)
            .tcp_user_timeout(SILENCE_MAX)
            .keepalives_idle(SILENCE_MAX);
        let tls = MakeRustlsConnect::new(tls::trusting(&config.ca).map_err(StoreError::Tls)?);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_config(settings, tls, recycling))
            .max_size(CONNECTIONS_MAX)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECT_WAIT))
            .create_timeout(Some(CONNECT_WAIT))
            .recycle_timeout(Some(CONNECT_WAIT))
            .build()
            .map_err(StoreError::Pool)?;
        Ok(Self { pool })
    }

    /// Returns a connection.
    pub async fn connection(&self) -> Result<Connection, StoreError> {
        self.pool.get().await.map(Connection).map_err(StoreError::Connect)
    }

    /// Asks the server for its version, which proves that it can be reached.
    pub async fn ping(&self) -> Result<String, StoreError> {
        let connection = self.connection().await?;
        let row = connection
            .query_one("SELECT current_setting('server_version')", &[])
            .await
            .map_err(StoreError::on("answer"))?;
        Ok(row.get(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_connection_the_load_and_the_machine_are_worth_a_retry() {
        for (code, transient) in [
            ("08006", true),
            ("40001", true),
            ("40P01", true),
            ("53300", true),
            ("57P01", true),
            ("58030", true),
            ("23505", false),
            ("22003", false),
            ("42P01", false),
            ("XX000", false),
        ] {
            assert_eq!(is_transient_state(&SqlState::from_code(code)), transient, "{code}");
        }
    }
}
