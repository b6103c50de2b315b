//! How the agent is: a file that is written when there is news, a record that goes to the centre
//! every minute, and the watchdog of systemd, which is fed by progress alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::ids::StoreId;
use shared::log::Chain;
use shared::minute::{SourceStatus, StoreStatus};
use shared::time::{Clock, Minute, Timestamp};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::buffer::{Buffer, BufferError, time_unknown};
use crate::config::{Config, SourceConfig};
use crate::ship::{CertificateStatus, Identity, Link};

/// How often it is looked whether there is news for the file.
const FILE_PAUSE: Duration = Duration::from_secs(2);

/// How often the file is written, by the agent's clock, where nothing but figures has changed: they
/// change all day long, and each time costs the disk two pages.
const FIGURES_PAUSE: Duration = Duration::from_secs(10);

/// How often the file is written where nothing has changed.
const NEWS_MOST: Duration = Duration::from_secs(30);

/// How old the file of a running agent may be.
pub const FRESH: Duration = Duration::from_secs(45);

/// How long the keeper rests at least, however fast a simulated minute passes.
const PAUSE_LEAST: Duration = Duration::from_millis(200);

/// How often a record goes to the centre, by the agent's clock.
const RECORD_PAUSE: Duration = Duration::from_secs(60);

/// After this long a source that is down holds `complete through` back no more: it is named instead.
const SILENT_AFTER: Duration = Duration::from_secs(86_400);

/// How far each source is read.
#[derive(Debug, Clone)]
pub struct Through {
    /// Each with the time since which it is down, by a clock that only runs forward.
    sources: Vec<(SourceStatus, Option<Duration>)>,
    /// All minutes up to this one are read and cut.
    pub complete: Option<Minute>,
    /// Why our own clock is not believed.
    pub clock_error: Option<String>,
}

impl Through {
    /// Begins with sources of which nothing is known.
    pub fn new(sources: &[SourceConfig]) -> Self {
        let unread = |source: &SourceConfig| {
            let name = source.name.clone();
            (SourceStatus { name, up: false, through: None, error: None }, None)
        };
        let sources = sources.iter().map(unread).collect();
        Self { sources, complete: None, clock_error: None }
    }

    /// Notes that a source was read to its end.
    pub fn read(&mut self, source: usize, through: Minute) {
        let (status, down_since) = &mut self.sources[source];
        (status.up, status.error, *down_since) = (true, None, None);
        status.through = status.through.max(Some(through));
    }

    /// Notes that a source cannot be read; `now` is time that never jumps.
    pub fn down(&mut self, source: usize, error: String, now: Duration) {
        let (status, down_since) = &mut self.sources[source];
        (status.up, status.error) = (false, Some(error));
        down_since.get_or_insert(now);
    }

    /// Returns the minute up to which all sources are read that are not silent.
    pub fn read_through(&self, now: Duration) -> Option<Minute> {
        let silent = |since: &Option<Duration>| {
            since.is_some_and(|since| now.saturating_sub(since) > SILENT_AFTER)
        };
        let heard = self.sources.iter().filter(|(_, since)| !silent(since));
        heard.map(|(status, _)| status.through).min().flatten()
    }

    fn statuses(&self) -> Vec<SourceStatus> {
        self.sources.iter().map(|(status, _)| status.clone()).collect()
    }
}

/// What the status file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The agent's process.
    pub pid: u32,
    /// When it was written, by the real clock.
    pub written_at: Timestamp,
    /// The line to the broker.
    pub link: Link,
    /// Second copies that were dropped.
    pub duplicates: u64,
    /// What is shown to the broker.
    pub certificate: CertificateStatus,
    /// Bytes of the buffer that are in use, and how many may be.
    #[serde(default)]
    pub buffer_bytes: (u64, u64),
    /// What the centre is told.
    pub status: StoreStatus,
}

impl Report {
    /// Returns it without what changes by itself.
    fn without_time(&self) -> Self {
        let mut report = self.clone();
        report.written_at = time_unknown();
        report.status.at = time_unknown();
        report
    }

    /// Returns it without the figures that change all day long; what is left is news to a person.
    fn without_figures(&self) -> Self {
        let mut report = self.without_time();
        (report.duplicates, report.buffer_bytes.0) = (0, 0);
        let status = &mut report.status;
        (status.highest_sequence, status.backlog) = (0, status.backlog.min(1));
        status.complete_through = None;
        status.tills.clear();
        status.sources.iter_mut().for_each(|source| source.through = None);
        report
    }
}

/// Returns where a state folder's status file lies.
pub fn path(state_folder: &Path) -> PathBuf {
    state_folder.join("status.json")
}

/// Reads a status file.
pub fn read(state_folder: &Path) -> std::io::Result<Report> {
    Ok(serde_json::from_slice(&std::fs::read(path(state_folder))?)?)
}

/// What the keeper watches.
pub struct Seen {
    /// How far each source is read.
    pub through: watch::Receiver<Through>,
    /// The line to the broker.
    pub link: watch::Receiver<Link>,
    /// What is shown to the broker.
    pub identity: watch::Receiver<Identity>,
}

/// What keeps the status.
pub struct Keeper {
    store: StoreId,
    state_folder: PathBuf,
    clock: Clock,
    buffer: Buffer,
    seen: Seen,
    statuses: watch::Sender<Option<StoreStatus>>,
    quota_bytes: u64,
    beat: Arc<AtomicU64>,
    written: Option<(Report, Instant)>,
}

impl Keeper {
    /// Makes a keeper.
    pub fn new(
        config: &Config,
        buffer: Buffer,
        seen: Seen,
        statuses: watch::Sender<Option<StoreStatus>>,
    ) -> Self {
        Self {
            store: config.store.clone(),
            state_folder: config.state_folder.clone(),
            clock: config.clock,
            buffer,
            seen,
            statuses,
            quota_bytes: config.buffer.quota_bytes,
            beat: Arc::default(),
            written: None,
        }
    }

    /// Ties the watchdog to a counter that the agent's main loop raises.
    pub fn beating(self, beat: Arc<AtomicU64>) -> Self {
        Self { beat, ..self }
    }

    /// Keeps the status until told to stop, and writes it once more then.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), BufferError> {
        notify(&[sd_notify::NotifyState::Ready]);
        let mut last_beat = None;
        let mut next_record = Instant::now();
        loop {
            if let Some(report) = self.told().await? {
                if self.is_news(&report) {
                    self.write(&report);
                }
                let beat = self.beat.load(Ordering::Relaxed);
                if last_beat.replace(beat) != Some(beat) {
                    notify(&[sd_notify::NotifyState::Watchdog]);
                }
                if Instant::now() >= next_record {
                    next_record = Instant::now() + self.clock.real_span(RECORD_PAUSE);
                    // One that waits for the broker is overtaken: the next one says more.
                    self.statuses.send_replace(Some(report.status));
                }
            }
            let pause = FILE_PAUSE.min(next_record.saturating_duration_since(Instant::now()));
            tokio::select! {
                () = sleep(pause.max(PAUSE_LEAST)) => {}
                Ok(()) = self.seen.identity.changed() => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        notify(&[sd_notify::NotifyState::Stopping]);
        if let Some(report) = self.told().await? {
            self.write(&report);
        }
        Ok(())
    }

    /// Tells whether a report is to be written now.
    fn is_news(&self, report: &Report) -> bool {
        let Some((before, at)) = &self.written else { return true };
        let age = at.elapsed();
        let figures = age >= self.clock.real_span(FIGURES_PAUSE)
            && before.without_time() != report.without_time();
        age >= NEWS_MOST || figures || before.without_figures() != report.without_figures()
    }

    /// Returns how the agent is; nothing where the disk does not let the buffer answer.
    async fn told(&self) -> Result<Option<Report>, BufferError> {
        match self.report().await {
            Ok(report) => Ok(Some(report)),
            Err(BufferError::Closed) => Err(BufferError::Closed),
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the buffer tells no status");
                Ok(None)
            }
        }
    }

    async fn report(&self) -> Result<Report, BufferError> {
        let figures = self.buffer.figures().await?;
        let through = self.seen.through.borrow().clone();
        let real = Clock::real().now();
        let certificate = self.seen.identity.borrow().status();
        let status = StoreStatus {
            store: self.store.clone(),
            at: self.clock.now(),
            stream: figures.stream,
            highest_sequence: figures.highest_sequence,
            complete_through: through.complete,
            backlog: figures.backlog,
            quarantined: figures.quarantined,
            given_up: figures.given_up,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            certificate_days: certificate.days_left(real),
            clock_synchronised: clock_synchronised(),
            clock_error: through.clock_error.clone(),
            tills: figures.tills,
            sources: through.statuses(),
        };
        let link = self.seen.link.borrow().clone();
        Ok(Report {
            pid: std::process::id(),
            written_at: real,
            link,
            duplicates: figures.duplicates,
            certificate,
            buffer_bytes: (figures.used_bytes, self.quota_bytes),
            status,
        })
    }

    /// Writes the file whole or not at all. A disk that takes none is told of in the log.
    fn write(&mut self, report: &Report) {
        let (path, new) = (path(&self.state_folder), self.state_folder.join("status.json.tmp"));
        let bytes = serde_json::to_vec_pretty(report).expect("a report is plain data");
        let written = std::fs::write(&new, bytes).and_then(|()| std::fs::rename(&new, &path));
        match written {
            Ok(()) => self.written = Some((report.clone(), Instant::now())),
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the status file was not written");
            }
        }
    }
}

/// Tells systemd; without one this does nothing.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

/// Returns true where systemd's time daemon says that the clock is in step; nothing where it is not asked.
pub(crate) fn clock_synchronised() -> Option<bool> {
    let folder = Path::new("/run/systemd/timesync");
    folder.is_dir().then(|| folder.join("synchronized").exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DirectoryConfig, Reach, Role};
    use crate::format::Format;

    fn sources() -> Vec<SourceConfig> {
        ["tills", "stock"]
            .map(|name| SourceConfig {
                name: name.to_owned(),
                role: Role::Counts,
                format: Format::Jsonl,
                reach: Reach::Directory(DirectoryConfig {
                    path: PathBuf::new(),
                    depth: 1,
                    names: crate::config::Names::new(&["*".to_owned()], &[]).unwrap(),
                    may_empty: false,
                    network: None,
                    bundle: None,
                    processed_folder: None,
                    poll: FILE_PAUSE,
                    tail: FILE_PAUSE,
                }),
            })
            .to_vec()
    }

    #[test]
    fn all_sources_must_be_read_but_one_that_is_silent_for_a_day() {
        let minute = |text: &str| text.parse::<Minute>().unwrap();
        let mut through = Through::new(&sources());
        let now = Duration::from_secs(100);
        let hours = |hours: u64| now + Duration::from_secs(hours * 3600);
        through.read(0, minute("2026-11-23T09:42:00Z"));
        assert_eq!(through.read_through(now), None);
        through.read(1, minute("2026-11-23T09:40:00Z"));
        assert_eq!(through.read_through(now), Some(minute("2026-11-23T09:40:00Z")));
        through.down(1, "gone".to_owned(), now);
        through.down(1, "gone".to_owned(), hours(23));
        through.read(0, minute("2026-11-24T09:42:00Z"));
        assert_eq!(through.read_through(hours(24)), Some(minute("2026-11-23T09:40:00Z")));
        let later = hours(24) + Duration::from_secs(1);
        assert_eq!(through.read_through(later), Some(minute("2026-11-24T09:42:00Z")));
    }

    #[test]
    fn figures_and_times_alone_are_no_news() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let status: StoreStatus = serde_json::from_value(serde_json::json!({
            "store": "10", "at": "2026-11-23T09:42:00Z",
            "stream": "0193a2b0-0000-7000-8000-000000000001", "highest_sequence": 7,
            "complete_through": "2026-11-23T09:40:00Z", "backlog": 2, "quarantined": 0,
            "given_up": 0, "version": "1", "certificate_days": 3, "clock_synchronised": null,
            "clock_error": null, "tills": [],
            "sources": [{"name": "tills", "up": true, "through": null, "error": null}],
        }))
        .unwrap();
        let certificate = Identity::default().status();
        let before = Report {
            pid: 1,
            written_at: at("2026-11-23T09:42:00Z"),
            link: Link::Up,
            duplicates: 0,
            certificate,
            buffer_bytes: (4096, 8192),
            status,
        };
        let changed = |change: fn(&mut Report)| {
            let mut after = before.clone();
            change(&mut after);
            let times = after.without_time() == before.without_time();
            let words = after.without_figures() == before.without_figures();
            (times, words)
        };
        let later = |it: &mut Report| it.written_at = "2026-11-23T09:43:00Z".parse().unwrap();
        assert_eq!(changed(later), (true, true));
        assert_eq!(changed(|it| it.status.highest_sequence = 8), (false, true));
        assert_eq!(changed(|it| it.status.backlog = 1), (false, true));
        assert_eq!(changed(|it| it.buffer_bytes.0 = 1), (false, true));
        assert_eq!(changed(|it| it.status.complete_through = None), (false, true));
        assert_eq!(changed(|it| it.status.backlog = 0), (false, false));
        assert_eq!(changed(|it| it.link = Link::Idle), (false, false));
        assert_eq!(changed(|it| it.status.quarantined = 1), (false, false));
        assert_eq!(changed(|it| it.status.sources[0].up = false), (false, false));
    }
}
