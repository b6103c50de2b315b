//! The agent at work: joins source, format, aggregate, buffer and ship by bounded channels, and
//! ends them in that order.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::Context as _;
use shared::delivered::Delivered;
use shared::time::Timestamp;
use shared::topics::Topic;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::aggregate::{Oldest, Rules};
use crate::buffer::{self, Buffer, BufferError, Figures, Kept, Remembered, Supply};
use crate::config::{Config, DirectoryConfig, Flow, Reach, Role, SourceConfig, TcpMode};
use crate::control::{Answer, Request};
use crate::format::{Context, Format};
use crate::ship::{self, Link, Shipper, Watcher};
use crate::source::directory::{self, Directory, Disk, Marks, Recall};
use crate::source::fake::Fake;
use crate::source::http::Http;
use crate::source::serial::Serial;
use crate::source::tcp::Tcp;
use crate::status::{Keeper, Seen, Through};

mod closing;
mod control;
mod intake;
mod opening;
mod patience;
mod time;

use closing::{Closer, Notice, Told};
use control::Desk;
use intake::Intaker;
use opening::{open_buffer, past_buffers};
use patience::insist;
use time::Timekeeper;

pub(crate) use opening::{binding, buffer_settings};

/// Notices that wait for the closer: some chunks per source; a source that is faster than the
/// buffer waits here.
const NOTICES_MAX: usize = 64;

/// Share of the grace that a receipt may wait for others: it still joins its minute in time.
const GATHER_SHARE: u32 = 5;

/// Days back from today that are accepted where nothing is configured: as long as receipt keys are kept.
const OLDEST_DAYS: u64 = 400;

/// The name of the source that `backfill` hands receipts to; no configured source has it.
const BACKFILL: &str = "backfill";

/// How often its folder is looked at.
const BACKFILL_POLL: Duration = Duration::from_secs(10);

/// Marks that are read from the buffer at once, when a folder's files are made known.
const MARKS_PAGE: u32 = 256;

/// Runs the agent until `shutdown` ends. Whatever was read is committed when this returns.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let mut config = with_backfill(config)?;
    let mut shutdown = std::pin::pin!(shutdown);
    let (buffer, writer, figures, kept) = tokio::select! {
        opened = patience::open(&config) => opened?,
        () = &mut shutdown => return Ok(()),
    };
    config.first_box &= !figures.counted_before;
    let (stop_sources, sources_stop) = watch::channel(false);
    let (stop_rest, rest_stop) = watch::channel(false);
    let (notices, notices_rx) = mpsc::channel(NOTICES_MAX);
    let (through_tx, through) = watch::channel(Through::new(&config.sources));
    let (cut_tx, cut) = watch::channel(figures.highest_sequence);
    let (made_tx, when) = When::start(&config, &figures, &kept);
    let beat = Arc::new(AtomicU64::new(0));

    let mut sources = JoinSet::new();
    let to = (&sources_stop, &notices);
    tokio::select! {
        started = start_sources(&config, (&buffer, &when), to, &mut sources) => started?,
        () = &mut shutdown => return Ok(()),
    }
    let (resent_tx, resent) = watch::channel(0);
    let desk = Desk {
        config: config.clone(),
        buffer: buffer.clone(),
        when: when.clone(),
        resent: resent_tx,
        notices,
        stop: sources_stop,
    };
    sources.spawn(desk.run());
    let mut rest = JoinSet::new();
    let told = Told { through: through_tx, cut: cut_tx, made: made_tx, beat: Arc::clone(&beat) };
    let closer = Closer::new(&config, buffer.clone(), when.time.clone(), told);
    rest.spawn(closer.run(notices_rx));
    let (past, mut writers) = past_buffers(&config).await?;
    let heard = Heard { through, cut, resent, beat, time: when.time };
    start_shipping(&config, (&buffer, past), heard, &rest_stop, &mut rest);
    drop(buffer);

    let ended = tokio::select! {
        () = &mut shutdown => Ok(()),
        ended = sources.join_next() => Err(ended),
        ended = rest.join_next() => Err(ended),
    };
    tracing::info!("the agent ends: sources first, then what is under way");
    stop_sources.send_replace(true);
    let outcome = finish(sources).await;
    stop_rest.send_replace(true);
    let outcome = outcome.and(finish(rest).await);
    writers.push(writer);
    let join = move || writers.into_iter().for_each(buffer::Writer::join);
    tokio::task::spawn_blocking(join).await.context("the writer did not end")?;
    match ended {
        Ok(()) => outcome.context("the agent did not end well"),
        Err(ended) => {
            outcome.and(flatten(ended)).context("a part of the agent has ended by itself")
        }
    }
}

/// What those who ship and tell hear from the others.
struct Heard {
    through: watch::Receiver<Through>,
    cut: watch::Receiver<u64>,
    resent: watch::Receiver<u64>,
    beat: Arc<AtomicU64>,
    time: Timekeeper,
}

/// Starts what ships the batches, what tells how the agent is, and what both show to the broker.
fn start_shipping(
    config: &Config,
    (buffer, past): (&Buffer, Vec<Buffer>),
    heard: Heard,
    stop: &watch::Receiver<bool>,
    rest: &mut JoinSet<Result<(), BufferError>>,
) {
    let time = heard.time;
    let (link_tx, link) = watch::channel(Link::Idle);
    let (statuses, latest) = watch::channel(None);
    let (watcher, identity) = Watcher::new(identity_files(config), config.store.clone());
    let shipper = Shipper {
        buffer: buffer.clone(),
        settings: broker_settings(config),
        identity: identity.clone(),
        now: Arc::new(move || time.stamp()),
        cut: heard.cut,
        resent: heard.resent,
        bytes_per_second: config.kafka.bytes_per_second,
        statuses: latest,
        link: link_tx,
    };
    rest.spawn(shipper.run_after(past, stop.clone()));
    let watch_stop = stop.clone();
    rest.spawn(async {
        watcher.run(watch_stop).await;
        Ok(())
    });
    let seen = Seen { through: heard.through, link, identity };
    let keeper = Keeper::new(config, buffer.clone(), seen, statuses).beating(heard.beat);
    rest.spawn(keeper.run(stop.clone()));
}

/// When the buffer was made, and what time it is.
#[derive(Clone)]
struct When {
    made: watch::Receiver<Timestamp>,
    time: Timekeeper,
}

impl When {
    /// Starts with what the buffer knows; the sender corrects when the buffer was made.
    fn start(config: &Config, figures: &Figures, kept: &Kept) -> (watch::Sender<Timestamp>, Self) {
        let (corrected, made) = watch::channel(figures.created_at);
        let time = Timekeeper::start(config.clock, kept.last_cut_at);
        (corrected, Self { made, time })
    }
}

/// Starts the sources, each where it stood when the agent last ended.
async fn start_sources(
    config: &Config,
    (buffer, when): (&Buffer, &When),
    (stop, notices): (&watch::Receiver<bool>, &mpsc::Sender<Notice>),
    sources: &mut JoinSet<Result<(), BufferError>>,
) -> anyhow::Result<()> {
    let watch = directory::Watch::default();
    for (index, source) in config.sources.iter().enumerate() {
        let intaker = intaker(config, source, (buffer, when), stop.clone());
        let notices = (index, notices.clone());
        match &source.reach {
            Reach::Directory(reach) => {
                let settings = directory_settings(config, reach);
                let marks = directory_marks(buffer, &source.name).await?;
                let directory = Directory::new(settings, marks, watch.clone());
                sources.spawn(intaker.run(directory, notices));
            }
            Reach::Http(reach) => {
                let marks = insist(|| buffer.marks(source.name.clone())).await?;
                let service = Http::new(reach.clone(), config.clock, marks);
                sources.spawn(intaker.run(service, notices));
            }
            Reach::Tcp(reach) => {
                let marks = insist(|| buffer.marks(source.name.clone())).await?;
                sources.spawn(intaker.run(Tcp::new(reach.clone(), marks, config.clock), notices));
            }
            Reach::Serial(reach) => {
                let marks = insist(|| buffer.marks(source.name.clone())).await?;
                let serial = Serial::new(reach.clone(), marks, config.clock);
                sources.spawn(intaker.run(serial, notices));
            }
            Reach::Fake(reach) => {
                tracing::warn!(source = %source.name, "receipts are invented: no till is read");
                let marks = insist(|| buffer.marks(source.name.clone())).await?;
                let shop = Fake::new(*reach, config.store.clone(), config.clock, &marks);
                sources.spawn(intaker.run(shop, notices));
            }
        }
    }
    Ok(())
}

fn intaker(
    config: &Config,
    source: &SourceConfig,
    (buffer, when): (&Buffer, &When),
    stop: watch::Receiver<bool>,
) -> Intaker {
    let context = decoder_context(config);
    let rules = Rules {
        store: config.store.clone(),
        oldest: config.oldest_business_day.map_or(Oldest::DaysBack(OLDEST_DAYS), Oldest::Day),
        zone: config.zone,
        business_day_cut: config.business_day_cut,
        counted_since: None,
    };
    Intaker {
        name: source.name.clone(),
        role: source.role,
        supply: supply(&source.reach),
        format: source.format.clone(),
        decoder: source.format.decoder(context),
        rules,
        made: (!config.first_box).then(|| when.made.clone()),
        time: when.time.clone(),
        buffer: buffer.clone(),
        stop,
    }
}

/// Tells whether a source waits while there is no room. A printer's copy does not, nor does a serial
/// port that nobody can stop.
fn supply(reach: &Reach) -> Supply {
    match reach {
        Reach::Directory(_) | Reach::Http(_) | Reach::Fake(_) => Supply::Waits,
        Reach::Tcp(tcp) => match tcp.mode {
            TcpMode::Client(_) | TcpMode::Server(_) => Supply::Waits,
            TcpMode::Mirror | TcpMode::Proxy { .. } => Supply::Flows,
        },
        Reach::Serial(serial) => match (serial.flow, serial.line.answer) {
            (Flow::None, crate::config::Answer::None) => Supply::Flows,
            (Flow::None | Flow::Software | Flow::Hardware, _) => Supply::Waits,
        },
    }
}

/// Reads the marks of a folder's files page by page.
async fn directory_marks(buffer: &Buffer, source: &str) -> Result<Marks, BufferError> {
    let (mut marks, mut after) = (Marks::new(recall(buffer, source)), String::new());
    loop {
        let page = || buffer.marks_after(source.to_owned(), after.clone(), MARKS_PAGE);
        let page = insist(page).await?;
        let Some((last, _)) = page.last() else { return Ok(marks) };
        after = last.clone();
        marks.add(&page);
    }
}

/// Returns what reads the mark of one file.
fn recall(buffer: &Buffer, source: &str) -> Recall {
    let (buffer, source) = (buffer.clone(), source.to_owned());
    Box::new(move |feed| {
        let (buffer, source) = (buffer.clone(), source.clone());
        Box::pin(async move {
            // It fails only where the buffer is closed, and then nothing more is taken in.
            insist(|| buffer.mark(source.clone(), feed.clone())).await.ok().flatten()
        })
    })
}

/// Returns how a folder is read.
pub(crate) fn directory_settings(config: &Config, reach: &DirectoryConfig) -> directory::Settings {
    directory::Settings {
        path: reach.path.clone(),
        depth: reach.depth,
        names: reach.names.clone(),
        bundle: reach.bundle.clone(),
        processed_folder: reach.processed_folder.clone(),
        may_empty: reach.may_empty,
        disk: reach.network.map(|share| if share { Disk::Share("named") } else { Disk::Local }),
        poll: reach.poll,
        tail: reach.tail,
        gather: config.clock.real_span(config.grace / GATHER_SHARE),
        clock: config.clock,
    }
}

/// Does what is asked in the place of an agent that does not run.
pub async fn in_its_place(config: Config, request: &Request) -> anyhow::Result<Answer> {
    let mut config = config;
    let (buffer, writer) = open_buffer(&config, opening::Copy::IsRefused)?;
    let figures = buffer.figures().await.context("cannot read the buffer")?;
    config.first_box &= !figures.counted_before;
    let kept = buffer.kept().await.context("cannot read the buffer")?;
    let (_, when) = When::start(&config, &figures, &kept);
    let done = control::carry_out(&config, &buffer, &when, request).await;
    drop(buffer);
    tokio::task::spawn_blocking(move || writer.join()).await.context("the writer did not end")?;
    Ok(done.map_or_else(Answer::Failed, |done| Answer::Done(done.into_words())))
}

/// Remembers what the centre has, on a box where no agent runs.
pub async fn remember(config: &Config, delivered: Delivered) -> anyhow::Result<Remembered> {
    let (buffer, writer) = open_buffer(config, opening::Copy::IsRefused)?;
    let done = buffer.remember_delivered(Arc::new(delivered), config.clock.now()).await;
    drop(buffer);
    tokio::task::spawn_blocking(move || writer.join()).await.context("the writer did not end")?;
    Ok(done?)
}

/// Returns what a configuration's decoders are told.
pub fn decoder_context(config: &Config) -> Context {
    Context {
        store: Some(config.store.clone()),
        pos_store: config.pos_store.clone(),
        zone: config.zone,
        business_day_cut: config.business_day_cut,
        articles: Arc::clone(&config.articles),
        pseudonyms: config.pseudonyms.clone(),
    }
}

/// Returns the folder where receipts are handed over that the counting source missed.
pub fn backfill_folder(config: &Config) -> PathBuf {
    config.state_folder.join("backfill")
}

/// Adds the source of what is handed over by hand. Its files move away when they are read.
fn with_backfill(mut config: Config) -> anyhow::Result<Config> {
    let path = backfill_folder(&config);
    let processed = config.state_folder.join("backfill-done");
    for folder in [&path, &processed] {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    config.sources.push(SourceConfig {
        name: BACKFILL.to_owned(),
        role: Role::Mapped,
        format: Format::Jsonl,
        reach: Reach::Directory(DirectoryConfig::emptied(path, processed, BACKFILL_POLL)),
    });
    Ok(config)
}

/// Returns how a configuration's broker is reached.
pub fn broker_settings(config: &Config) -> ship::Settings {
    ship::Settings {
        store: config.store.clone(),
        brokers: config.kafka.brokers.clone(),
        topic_prefix: config.kafka.topic_prefix.clone(),
        topic: Topic::StoreMinutes,
    }
}

/// Returns where what is shown to a configuration's broker lies.
pub fn identity_files(config: &Config) -> ship::Files {
    ship::Files {
        ca: config.kafka.ca.clone(),
        certificate: config.kafka.certificate.clone(),
        key: config.kafka.key.clone(),
        client_ca: config.kafka.client_ca.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Answer, Hold, LineConfig, TcpConfig};

    #[test]
    fn only_a_printers_copy_does_not_wait() {
        let (answer, hold) = (Answer::None, Hold::Silent);
        let line = LineConfig { answer, hold, quiet: BACKFILL_POLL };
        let printer = "10.0.0.9:9100".to_owned();
        for (mode, wanted) in [
            (TcpMode::Client(None), Supply::Waits),
            (TcpMode::Server(None), Supply::Waits),
            (TcpMode::Mirror, Supply::Flows),
            (TcpMode::Proxy { printer }, Supply::Flows),
        ] {
            let address = "127.0.0.1:1".to_owned();
            let reach = Reach::Tcp(TcpConfig { mode, address, line, read_timeout: BACKFILL_POLL });
            assert_eq!(supply(&reach), wanted, "{reach:?}");
        }
    }
}
