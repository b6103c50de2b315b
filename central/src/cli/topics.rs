//! `central topics apply`: one line for each topic and right.

use std::process::ExitCode;

use shared::ids::StoreId;

use crate::cli::out;
use crate::config::Config;
use crate::topics;

pub(crate) async fn apply(config: &Config, stores: &[StoreId]) -> anyhow::Result<ExitCode> {
    for step in topics::apply(&config.kafka, stores).await? {
        out::line(step)?;
    }
    Ok(ExitCode::SUCCESS)
}
