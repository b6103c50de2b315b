//! `run`: the agent itself, until it is told to stop.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;

/// Threads for file operations: one reads, one waits for a folder that hangs.
const BLOCKING_THREADS: usize = 2;

/// How long such a thread is kept: the folder is looked at more seldom.
const THREAD_KEPT: Duration = Duration::from_millis(50);

/// How long a hanging folder holds the end up.
const FAREWELL: Duration = Duration::from_secs(1);

pub(super) fn run(config: Config) -> anyhow::Result<ExitCode> {
    shared::log::start(config.log);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(THREAD_KEPT)
        .build()
        .context("cannot start")?;
    let outcome = runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate()).context("cannot hear SIGTERM")?;
        let mut interrupted = signal(SignalKind::interrupt()).context("cannot hear SIGINT")?;
        let shutdown = async move {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
            }
        };
        crate::run::run(config, shutdown).await
    });
    runtime.shutdown_timeout(FAREWELL);
    outcome.map(|()| ExitCode::SUCCESS)
}
