//! `run`: the agent itself, until it is told to stop.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
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

/// The exit status of a program that was interrupted, as shells have it.
const INTERRUPTED: i32 = 130;

/// What glibc's allocator is told. It gives every thread an arena and keeps what was freed: with
/// one arena that gives back, a store's agent holds 5 MiB of its own after an outage, without 12.
const ALLOCATOR: [(&str, &str); 2] =
    [("MALLOC_ARENA_MAX", "1"), ("MALLOC_TRIM_THRESHOLD_", "65536")];

pub(super) fn run(config: Config) -> anyhow::Result<ExitCode> {
    frugally();
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
            // Whoever asks a second time from a keyboard will not wait: nothing is lost by that.
            tokio::spawn(async move {
                if interrupted.recv().await.is_some() {
                    tracing::warn!(
                        "the agent ends at once: what it had not committed is read again"
                    );
                    std::process::exit(INTERRUPTED);
                }
            });
        };
        crate::run::run(config, shutdown).await
    });
    runtime.shutdown_timeout(FAREWELL);
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Starts this program anew in its own process where the allocator has not been told: it reads the
/// environment before `main`, once. Whoever sets the variables decides.
fn frugally() {
    if ALLOCATOR.iter().any(|(name, _)| std::env::var_os(name).is_some()) {
        return;
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let mut again = Command::new("/proc/self/exe");
    again.arg0(name).args(arguments).envs(ALLOCATOR);
    // It returns only where it failed; without /proc the agent is as good, and larger.
    let error = again.exec();
    tracing::debug!(%error, "the allocator keeps its own settings");
}
