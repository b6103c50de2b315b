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
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use shared::log::Chain;
use tokio::sync::watch;

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
    let has = |role| roles.contains(&role);
    let (to_ingest, to_count) = (Arc::clone(&status), Arc::clone(&status));
    let done = tokio::try_join!(
        async {
            let serving = serve::run(listener, status, ended(stopped.clone()));
            serving.await.context("cannot serve health and metrics")
        },
        only(has(Role::Ingest).then(|| async {
            let end = ended(stopped.clone());
            let ingest = ingest::run(&config, store.clone(), to_ingest, end);
            ingest.await.context("the role ingest ended")
        })),
        only(has(Role::Lake).then(|| async {
            let lake = lake::run(&config, store.clone(), ended(stopped.clone()));
            lake.await.context("the role lake ended")
        })),
        async {
            tokio::select! {
                () = ended(stopped.clone()) => {}
                () = count(&store, &to_count) => {}
            }
            Ok(())
        },
        async {
            shutdown.await;
            tracing::info!("finishing the work in hand");
            stop.send_replace(Stop::Now);
            Ok(())
        },
    );
    done.map(|_| ())
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

/// Does the work of a role where it is one of ours.
async fn only(work: Option<impl Future<Output = anyhow::Result<()>>>) -> anyhow::Result<()> {
    match work {
        Some(work) => work.await,
        None => Ok(()),
    }
}

/// Keeps the figures that only the database knows.
async fn count(store: &Store, status: &Status) {
    loop {
        match store.counts().await {
            Ok(counts) => status.set_counts(counts.gaps, counts.dead_letters),
            Err(error) => tracing::debug!(error = %Chain(&error), "cannot count"),
        }
        tokio::time::sleep(COUNT_EVERY).await;
    }
}
