//! Brings the schema up to date. Migrations are numbered and never edited once released.

use refinery::{Migration, Runner};

use super::{Store, StoreError};

/// Every migration in order: its name and its SQL.
const MIGRATIONS: [(&str, &str); 3] = [
    ("V1__sales", include_str!("../../migrations/0001_sales.sql")),
    ("V2__registry", include_str!("../../migrations/0002_registry.sql")),
    ("V3__digests", include_str!("../../migrations/0003_digests.sql")),
];

/// Why the schema is not up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// No connection.
    #[error("cannot migrate")]
    Store(#[source] StoreError),
    /// A migration failed, or what was applied is not what this program carries.
    #[error("cannot migrate the schema")]
    Refinery(#[source] refinery::Error),
    /// The schema is not the one that this program needs.
    #[error("the schema is at version {found}, this program needs {needed}: run `central migrate`")]
    Behind {
        /// The version found; 0 where there is none.
        found: i32,
        /// The version needed.
        needed: i32,
    },
}

fn runner() -> Result<Runner, MigrateError> {
    let migrations = MIGRATIONS
        .iter()
        .map(|(name, sql)| Migration::unapplied(name, sql))
        .collect::<Result<Vec<_>, _>>()
        .map_err(MigrateError::Refinery)?;
    Ok(Runner::new(&migrations))
}

impl Store {
    /// Applies what is missing and returns the names of what was applied.
    pub async fn migrate(&self) -> Result<Vec<String>, MigrateError> {
        let mut connection = self.connection().await.map_err(MigrateError::Store)?;
        let client: &mut tokio_postgres::Client = &mut connection;
        let report = runner()?.run_async(client).await.map_err(MigrateError::Refinery)?;
        Ok(report.applied_migrations().iter().map(ToString::to_string).collect())
    }

    /// Checks that the schema is the one that this program needs.
    pub async fn check_schema(&self) -> Result<(), MigrateError> {
        let mut connection = self.connection().await.map_err(MigrateError::Store)?;
        let known = connection
            .query_one("SELECT to_regclass('refinery_schema_history') IS NOT NULL", &[])
            .await
            .map_err(|source| MigrateError::Store(StoreError::on("look for its schema")(source)))?;
        let needed = i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX);
        if !known.get::<_, bool>(0) {
            return Err(MigrateError::Behind { found: 0, needed });
        }
        let client: &mut tokio_postgres::Client = &mut connection;
        let applied = runner()?
            .get_last_applied_migration_async(client)
            .await
            .map_err(MigrateError::Refinery)?;
        let found = applied.map_or(0, |one| one.version());
        if found < needed { Err(MigrateError::Behind { found, needed }) } else { Ok(()) }
    }
}
