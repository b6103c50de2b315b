//! What the start needs of the buffer, however long the disk takes nothing: an agent that ended for
//! that would hold back nobody and tell nobody.

use std::time::Duration;

use anyhow::Context as _;
use shared::backoff::Backoff;
use shared::log::Chain;
use tokio::time::sleep;

use crate::buffer::{Buffer, BufferError, Figures, Kept, Writer};
use crate::config::Config;

use super::opening::{Copy, open_buffer};

/// Pauses between two tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Does something with the buffer until the disk lets it.
pub(super) async fn insist<T, F>(call: impl Fn() -> F) -> Result<T, BufferError>
where
    F: Future<Output = Result<T, BufferError>>,
{
    let mut backoff = Backoff::new(PAUSES.0, PAUSES.1, 1);
    loop {
        match call().await {
            Err(error) if error.is_of_the_disk() => {
                tracing::error!(error = %Chain(&error), "the agent waits for its disk");
                sleep(backoff.next_wait()).await;
            }
            outcome => return outcome,
        }
    }
}

/// Opens the buffer and asks it where it stands.
pub(super) async fn open(config: &Config) -> anyhow::Result<(Buffer, Writer, Figures, Kept)> {
    let (buffer, writer) =
        insist(|| std::future::ready(open_buffer(config, Copy::BeginsAnew))).await?;
    let figures = insist(|| buffer.figures()).await.context("cannot read the buffer")?;
    let kept = insist(|| buffer.kept()).await.context("cannot read the buffer")?;
    let names: Vec<String> = config.sources.iter().map(|source| source.name.clone()).collect();
    insist(|| buffer.keep_sources(names.clone())).await?;
    tracing::info!(
        store = %config.store, stream = %figures.stream, highest_sequence = figures.highest_sequence,
        backlog = figures.backlog, version = env!("CARGO_PKG_VERSION"), "the agent starts"
    );
    Ok((buffer, writer, figures, kept))
}
