//! `central run`: the roles until SIGTERM or Ctrl-C.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};

use crate::Role;
use crate::config::Config;

/// The roles that a word means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles(BTreeSet<Role>);

/// Reads `all` or role names with commas between.
pub(crate) fn parse_roles(text: &str) -> Result<Roles, String> {
    if text == "all" {
        return Ok(Roles(Role::value_variants().iter().copied().collect()));
    }
    text.split(',')
        .map(|word| Role::from_str(word.trim(), false))
        .collect::<Result<_, _>>()
        .map(Roles)
}

pub(crate) async fn run(config: Config, roles: Roles) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    crate::run(config, roles.0, shutdown).await?;
    Ok(ExitCode::SUCCESS)
}
