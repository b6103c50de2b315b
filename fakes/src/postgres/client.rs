//! Connections to a stack's Postgres. The only file here that names `tokio_postgres`; what a
//! question means is up to whoever asks it.

use std::path::PathBuf;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{DATABASE, ROLE};
use crate::error::StackError;
use crate::tls;

/// What a client needs to get in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The port on this machine.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The role.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The certificate of the authority that the server's one comes from.
    pub ca: PathBuf,
}

/// Connects over verified TLS. The connection lives as long as the client.
pub async fn connect(access: &Access) -> Result<Client, StackError> {
    let mut config = Config::new();
    config
        .host(tls::HOST)
        .port(access.port)
        .dbname(&access.database)
        .user(&access.user)
        .password(&access.password)
        .ssl_mode(tokio_postgres::config::SslMode::Require);
    let tls = MakeRustlsConnect::new(tls::trusting(&access.ca)?);
    let failed = StackError::foreign(format!("cannot connect to Postgres on port {}", access.port));
    let (client, connection) = config.connect(tls).await.map_err(failed)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = crate::error::causes(&error), "a Postgres connection ended");
        }
    });
    Ok(client)
}

/// Makes the service's role, which may make databases, and its database, where they are absent.
pub(super) async fn create_role_and_database(
    superuser: &Access,
    password: &str,
) -> Result<(), StackError> {
    let client = connect(superuser).await?;
    let role = format!("CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{}'", doubled(password));
    unless_there(&client, &role, &SqlState::DUPLICATE_OBJECT).await?;
    let database = format!("CREATE DATABASE {DATABASE} OWNER {ROLE}");
    unless_there(&client, &database, &SqlState::DUPLICATE_DATABASE).await
}

async fn unless_there(
    client: &Client,
    statement: &str,
    there: &SqlState,
) -> Result<(), StackError> {
    match client.batch_execute(statement).await {
        Ok(()) => Ok(()),
        Err(error) if error.code() == Some(there) => Ok(()),
        Err(error) => Err(StackError::foreign("Postgres refused role or database")(error)),
    }
}

/// Makes a database of this name, which must be a plain identifier.
pub async fn create_database(access: &Access, name: &str) -> Result<(), StackError> {
    let failed = StackError::foreign(format!("cannot make the database {name}"));
    let statement = format!("CREATE DATABASE \"{name}\"");
    connect(access).await?.batch_execute(&statement).await.map_err(failed)
}

/// Drops a database with everyone in it.
pub async fn drop_database(access: &Access, name: &str) -> Result<(), StackError> {
    let failed = StackError::foreign(format!("cannot drop the database {name}"));
    let statement = format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)");
    connect(access).await?.batch_execute(&statement).await.map_err(failed)
}

fn doubled(text: &str) -> String {
    text.replace('\'', "''")
}
