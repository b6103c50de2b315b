//! The service in the data centre: it consumes every store-minute, judges it once and stores what
//! counts, what does not, and how far it is, in one transaction. This page joins the parts.

pub mod cli;
pub mod config;
pub mod figures;
pub mod ingest;
pub mod kafka;
pub mod lake;
pub mod reconcile;
pub mod serve;
pub mod status;
pub mod store;
pub mod tls;
pub mod topics;
pub mod validate;

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use shared::log::Chain;
use tokio::sync::watch;
use tokio::task::JoinSet;

use config::Config;
use status::Status;
use store::Store;

/// How often the database is asked for what collectors want to know.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// What a process can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// Judges and stores.
    Ingest,
    /// Brings what counts into the warehouse.
    Lake,
    /// Compares all places again and again.
    Reconcile,
}

/// Runs the roles until `shutdown`, then lets each finish what it has in hand.
pub async fn run(
    config: Config,
    roles: BTreeSet<Role>,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let status = Arc::new(Status::new());
    let store = Store::new(&config.postgres).context("cannot prepare the store")?;
    let listener = serve::bind(config.http.listen).await?;
    tracing::info!(address = %config.http.listen, ?roles, "started");
    let (stop, stopped) = watch::channel(Stop::NotYet);
    let end = || ended(stopped.clone());
    // A task each: what is heavy in one role does not hold back another. All end with this set.
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let serving = serve::run(listener, Arc::clone(&status), end());
    tasks.spawn(async { serving.await.context("cannot serve health and metrics") });
    tasks.spawn(count(store.clone(), Arc::clone(&status), end()));
    for role in roles {
        let (config, store) = (config.clone(), store.clone());
        let (status, end) = (Arc::clone(&status), end());
        match role {
            Role::Ingest => tasks.spawn(async move {
                ingest::run(&config, store, status, end).await.context("the role ingest ended")
            }),
            Role::Lake => tasks.spawn(async move {
                lake::run(&config, store, status, end).await.context("the role lake ended")
            }),
            Role::Reconcile => tasks.spawn(async move {
                reconcile::role::run(&config, &status, end).await;
                Ok(())
            }),
        };
    }
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown, if *stop.borrow() == Stop::NotYet => {
                tracing::info!("finishing the work in hand");
                stop.send_replace(Stop::Now);
            }
            ended = tasks.join_next() => match ended {
                Some(done) => done.context("a role broke off")??,
                None => return Ok(()),
            },
        }
    }
}

/// Whether the process is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    NotYet,
    Now,
}

/// Waits until the process is to end.
async fn ended(mut stopped: watch::Receiver<Stop>) {
    // An error means that the sender is gone, which is an end too.
    let _ = stopped.wait_for(|stop| *stop == Stop::Now).await;
}

/// Keeps the figures that only the database knows.
async fn count(
    store: Store,
    status: Arc<Status>,
    end: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let mut end = pin!(end);
    loop {
        match store.counts().await {
            Ok(counts) => {
                status.set_gaps(counts.gaps, counts.gap_oldest_seconds);
                status.set_set_aside(counts.dead_letters, counts.open_breakers);
            }
            Err(error) => tracing::debug!(error = %Chain(&error), "cannot count"),
        }
        tokio::select! {
            () = &mut end => return Ok(()),
            () = tokio::time::sleep(COUNT_EVERY) => {}
        }
    }
}
