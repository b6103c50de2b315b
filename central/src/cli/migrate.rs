//! `central migrate`: the schema is brought up to date, one line for each migration.

use std::process::ExitCode;

use crate::cli::out;
use crate::config::Config;
use crate::store::Store;

pub(crate) async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let applied = Store::new(&config.postgres)?.migrate().await?;
    for name in &applied {
        out::line(format_args!("applied {name}"))?;
    }
    if applied.is_empty() {
        out::line("the schema is up to date")?;
    }
    Ok(ExitCode::SUCCESS)
}
