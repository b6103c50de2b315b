//! The agent at work: joins source, format, aggregate, buffer and ship by bounded channels, and
//! ends them in that order.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::Context as _;
use shared::time::Timestamp;
use shared::topics::Topic;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::aggregate::Rules;
use crate::buffer::{self, Buffer, BufferError, Key};
use crate::config::{Config, DirectoryConfig, Reach, SourceConfig};
use crate::format::Context;
use crate::ship::{self, Link, Shipper};
use crate::source::directory::{self, Directory};
use crate::source::serial::Serial;
use crate::source::tcp::Tcp;
use crate::status::{Keeper, Through};

mod closing;
mod intake;

use closing::Closer;
use intake::Intaker;

/// Notices that wait for the closer: some chunks per source; a source that is faster than the
/// buffer waits here.
const NOTICES_MAX: usize = 64;

/// Share of the grace that a receipt may wait for others: it still joins its minute in time.
const GATHER_SHARE: u32 = 5;

/// Status records that wait to be sent: the latest one.
const STATUSES_MAX: usize = 1;

/// Runs the agent until `shutdown` ends. Whatever was read is committed when this returns.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let (buffer, writer) = open_buffer(&config)?;
    let figures = buffer.figures().await.context("cannot read the buffer")?;
    tracing::info!(
        store = %config.store, stream = %figures.stream, highest_sequence = figures.highest_sequence,
        backlog = figures.backlog, version = env!("CARGO_PKG_VERSION"), "the agent starts"
    );
    let (stop_sources, sources_stop) = watch::channel(false);
    let (stop_rest, rest_stop) = watch::channel(false);
    let (notices, notices_rx) = mpsc::channel(NOTICES_MAX);
    let (through_tx, through) = watch::channel(Through::new(&config.sources));
    let (cut_tx, cut) = watch::channel(figures.highest_sequence);
    let (link_tx, link) = watch::channel(Link::Idle);
    let (statuses, statuses_rx) = mpsc::channel(STATUSES_MAX);
    let beat = Arc::new(AtomicU64::new(0));

    let mut sources = JoinSet::new();
    let watch = directory::Watch::default();
    for (index, source) in config.sources.iter().enumerate() {
        let stop = sources_stop.clone();
        let intaker = intaker(&config, source, (&buffer, figures.created_at), stop);
        let marks = buffer.marks(source.name.clone()).await?;
        let notices = (index, notices.clone());
        let reach = (&config, &source.reach, &watch);
        start(&mut sources, (intaker, notices), reach, marks);
    }
    drop(notices);
    let mut rest = JoinSet::new();
    let closer = Closer::new(&config, buffer.clone(), (through_tx, cut_tx), Arc::clone(&beat));
    rest.spawn(closer.run(notices_rx));
    let settings = broker_settings(&config);
    let (clock, shipped) = (config.clock, buffer.clone());
    let shipper =
        Shipper { buffer: shipped, settings: settings.clone(), clock, cut, link: link_tx };
    rest.spawn(shipper.run(rest_stop.clone()));
    rest.spawn(async {
        ship::announce(settings, statuses_rx).await;
        Ok(())
    });
    let keeper = Keeper::new(&config, buffer.clone(), (through, link), statuses).beating(beat);
    rest.spawn(keeper.run(rest_stop));
    drop(buffer);

    let ended = tokio::select! {
        () = shutdown => Ok(()),
        ended = sources.join_next() => Err(ended),
        ended = rest.join_next() => Err(ended),
    };
    tracing::info!("the agent ends: sources first, then what is under way");
    stop_sources.send_replace(true);
    let outcome = finish(sources).await;
    stop_rest.send_replace(true);
    let outcome = outcome.and(finish(rest).await);
    tokio::task::spawn_blocking(move || writer.join()).await.context("the writer did not end")?;
    match ended {
        Ok(()) => outcome.context("the agent did not end well"),
        Err(ended) => {
            outcome.and(flatten(ended)).context("a part of the agent has ended by itself")
        }
    }
}

/// Starts to take a source in.
fn start(
    sources: &mut JoinSet<Result<(), BufferError>>,
    (intaker, notices): (Intaker, (usize, mpsc::Sender<closing::Notice>)),
    (config, reach, watch): (&Config, &Reach, &directory::Watch),
    marks: Vec<(String, String)>,
) {
    match reach {
        Reach::Directory(reach) => {
            let settings = directory_settings(config, reach);
            let directory = Directory::new(settings, marks, watch.clone());
            sources.spawn(intaker.run(directory, notices));
        }
        Reach::Tcp(reach) => {
            sources.spawn(intaker.run(Tcp::new(reach.clone(), marks, config.clock), notices));
        }
        Reach::Serial(reach) => {
            let serial = Serial::new(reach.clone(), marks, config.clock);
            sources.spawn(intaker.run(serial, notices));
        }
    }
}

/// Opens the buffer of a configuration, or makes it.
fn open_buffer(config: &Config) -> anyhow::Result<(Buffer, buffer::Writer)> {
    std::fs::create_dir_all(&config.state_folder)
        .with_context(|| format!("cannot make {}", config.state_folder.display()))?;
    let settings = buffer::Settings {
        path: config.buffer.path.clone(),
        key: Key::from_file(&config.buffer.key_file)?,
        machine_id: config.machine_id.clone(),
        now: config.clock.now(),
    };
    Ok(Buffer::open(settings)?)
}

fn intaker(
    config: &Config,
    source: &SourceConfig,
    (buffer, created_at): (&Buffer, Timestamp),
    stop: watch::Receiver<bool>,
) -> Intaker {
    let context = Context {
        store: Some(config.store.clone()),
        pos_store: config.pos_store.clone(),
        zone: config.zone,
        business_day_cut: config.business_day_cut,
        articles: Arc::clone(&config.articles),
        pseudonyms: config.pseudonyms.clone(),
    };
    let rules = Rules {
        store: config.store.clone(),
        oldest_business_day: config.oldest_business_day,
        zone: config.zone,
        business_day_cut: config.business_day_cut,
        counted_since: (!config.first_box).then_some(created_at),
    };
    Intaker {
        name: source.name.clone(),
        format: source.format.clone(),
        decoder: source.format.decoder(context),
        rules,
        clock: config.clock,
        buffer: buffer.clone(),
        stop,
    }
}

fn directory_settings(config: &Config, reach: &DirectoryConfig) -> directory::Settings {
    directory::Settings {
        path: reach.path.clone(),
        processed_folder: reach.processed_folder.clone(),
        poll: reach.poll,
        tail: reach.tail,
        gather: config.clock.real_span(config.grace / GATHER_SHARE),
        clock: config.clock,
    }
}

/// Returns how a configuration's broker is reached.
pub fn broker_settings(config: &Config) -> ship::Settings {
    ship::Settings {
        store: config.store.clone(),
        brokers: config.kafka.brokers.clone(),
        topic_prefix: config.kafka.topic_prefix.clone(),
        topic: Topic::StoreMinutes,
        ca: config.kafka.ca.clone(),
        certificate: config.kafka.certificate.clone(),
        key: config.kafka.key.clone(),
    }
}

type Ended = Option<Result<Result<(), BufferError>, tokio::task::JoinError>>;

async fn finish(mut tasks: JoinSet<Result<(), BufferError>>) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    while let Some(ended) = tasks.join_next().await {
        outcome = outcome.and(flatten(Some(ended)));
    }
    outcome
}

fn flatten(ended: Ended) -> anyhow::Result<()> {
    match ended {
        Some(Ok(Ok(()))) | None => Ok(()),
        Some(Ok(Err(error))) => Err(error.into()),
        Some(Err(error)) => Err(error.into()),
    }
}
