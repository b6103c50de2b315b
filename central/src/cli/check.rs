//! `central check`: one line for each thing that must be reachable; status 1 if one is not.

use std::fmt::Display;
use std::process::ExitCode;

use shared::log::Chain;
use shared::topics::Topic;

use crate::cli::out;
use crate::config::{Config, KafkaConfig, LakeConfig};
use crate::kafka::admin::{Admin, AdminError};
use crate::lake::storage::{Storage, StorageError};
use crate::store::{MigrateError, Store};

pub(crate) async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    out::line("ok      configuration")?;
    let kafka = kafka(&config.kafka).await.map_err(|error| Chain(&error).to_string());
    let postgres = postgres(config).await.map_err(|error| Chain(&error).to_string());
    let lake = lake(&config.lake).await.map_err(|error| Chain(&error).to_string());
    let good = [say("kafka", kafka)?, say("postgres", postgres)?, say("lake", lake)?];
    Ok(if good.into_iter().all(|one| one) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn say<E: Display>(what: &str, found: Result<String, E>) -> std::io::Result<bool> {
    match found {
        Ok(fact) => out::line(format_args!("ok      {what}: {fact}")).map(|()| true),
        Err(error) => out::line(format_args!("FAILED  {what}: {error}")).map(|()| false),
    }
}

async fn kafka(config: &KafkaConfig) -> Result<String, AdminError> {
    let name = Topic::StoreMinutes.name(&config.topic_prefix);
    let facts = Admin::connect(config).await?.topics(std::slice::from_ref(&name)).await?;
    match facts.get(&name) {
        Some(facts) => {
            Ok(format!("{} answers, {name} has {} partitions", config.brokers, facts.partitions))
        }
        None => Err(AdminError::Refused {
            what: format!("topic {name}"),
            reason: "it is not there: run `central topics apply`".to_owned(),
        }),
    }
}

async fn postgres(config: &Config) -> Result<String, MigrateError> {
    let store = Store::new(&config.postgres).map_err(MigrateError::Store)?;
    let version = store.ping().await.map_err(MigrateError::Store)?;
    store.check_schema().await?;
    let place = &config.postgres;
    Ok(format!(
        "version {version} at {}:{}, database {} is up to date",
        place.host, place.port, place.database
    ))
}

/// The place is proved as the role does it at its start.
async fn lake(config: &LakeConfig) -> Result<String, StorageError> {
    Storage::of(config)?.prove().await?;
    Ok(format!("{} can be written, and gives a name only once", config.path))
}
