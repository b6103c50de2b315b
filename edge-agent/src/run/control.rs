//! Carries out what a person asks of the agent, while it runs or in its place.

use std::sync::Arc;
use std::time::Duration;

use shared::log::Chain;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::When;
use super::closing::Notice;
use super::intake::Intaker;
use crate::buffer::{AsideUnit, Buffer, BufferError, Entry, Intake, Supply, Taken};
use crate::config::Config;
use crate::control::{Answer, LINE_BYTES_MAX, Request, path};

/// How long one question may take to arrive.
const QUESTION_MOST: Duration = Duration::from_secs(5);

/// A source that no configuration has: minutes that it opens close by the holding time alone.
const NO_SOURCE: usize = usize::MAX;

/// What questions are about.
pub(super) struct Desk {
    pub(super) config: Config,
    pub(super) buffer: Buffer,
    pub(super) when: When,
    pub(super) resent: watch::Sender<u64>,
    pub(super) notices: mpsc::Sender<Notice>,
    pub(super) stop: watch::Receiver<bool>,
}

impl Desk {
    /// Answers questions until told to stop. Where the socket cannot be made the agent works without.
    pub(super) async fn run(self) -> Result<(), BufferError> {
        let socket = path(&self.config.state_folder);
        let mut stop = self.stop.clone();
        // Only one agent holds the buffer, so that a socket that lies there is left over.
        let absent = |error: std::io::Error| {
            if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
        };
        let cleared = std::fs::remove_file(&socket).or_else(absent);
        let made = cleared.and_then(|()| UnixListener::bind(&socket));
        let listener = match made {
            Ok(listener) => listener,
            Err(error) => {
                let path = socket.display();
                tracing::warn!(%path, %error, "the agent takes no questions: no socket");
                let stopped = stop.wait_for(|stop| *stop).await;
                return stopped.map(|_| ()).map_err(|_| BufferError::Closed);
            }
        };
        loop {
            let taken = tokio::select! {
                taken = listener.accept() => taken,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match taken {
                Ok((stream, _)) => self.answer(stream).await,
                Err(error) => tracing::warn!(%error, "a question was not heard"),
            }
        }
        if let Err(error) = std::fs::remove_file(&socket) {
            tracing::debug!(%error, "the socket is left over");
        }
        Ok(())
    }

    async fn answer(&self, mut stream: UnixStream) {
        let question = timeout(QUESTION_MOST, question(&mut stream)).await;
        let answer = match question {
            Ok(Ok(request)) => self.carry_out(&request).await,
            Ok(Err(error)) => Answer::Failed(error),
            Err(_) => Answer::Failed("no question came".to_owned()),
        };
        let mut line = serde_json::to_vec(&answer).expect("an answer is text");
        line.push(b'\n');
        if let Err(error) = stream.write_all(&line).await {
            tracing::debug!(%error, "nobody waits for the answer");
        }
    }

    async fn carry_out(&self, request: &Request) -> Answer {
        match carry_out(&self.config, &self.buffer, &self.when, request).await {
            Ok(done) => {
                tracing::info!(?request, said = %done.said, "done on request");
                if let Request::Resend { .. } = request {
                    self.resent.send_modify(|count| *count += 1);
                }
                let Taken { slots, .. } = done.taken;
                if !slots.is_empty() {
                    let notice = Notice::Added { source: NO_SOURCE, slots };
                    if self.notices.send(notice).await.is_err() {
                        tracing::debug!("the closer has ended");
                    }
                }
                Answer::Done(done.said)
            }
            Err(why) => Answer::Failed(why),
        }
    }
}

async fn question(stream: &mut UnixStream) -> Result<Request, String> {
    let mut line = String::new();
    let mut reader = BufReader::new(stream).take(LINE_BYTES_MAX);
    reader.read_line(&mut line).await.map_err(|error| error.to_string())?;
    serde_json::from_str(&line).map_err(|error| format!("the question is not understood: {error}"))
}

/// What was done.
pub(super) struct Done {
    said: String,
    taken: Taken,
}

impl Done {
    pub(super) fn into_words(self) -> String {
        self.said
    }
}

/// Carries out a request on a buffer that nobody else writes to.
pub(super) async fn carry_out(
    config: &Config,
    buffer: &Buffer,
    when: &When,
    request: &Request,
) -> Result<Done, String> {
    let told = |error: BufferError| Chain(&error).to_string();
    match request {
        Request::Resend { from, to } => {
            let count = buffer.resend(*from, *to).await.map_err(told)?;
            let said = format!("{count} batches go out again");
            Ok(Done { said, taken: Taken::default() })
        }
        Request::Retry { id } => {
            let unit = buffer.set_aside(*id).await.map_err(told)?;
            let unit = unit.ok_or_else(|| format!("nothing is set aside under number {id}"))?;
            let intake = read_again(config, buffer, when, &unit)?;
            let taken = buffer.retry(*id, Arc::new(intake)).await.map_err(told)?;
            let said = format!("{} counted, {} were counted before", taken.fresh, taken.duplicates);
            Ok(Done { said, taken })
        }
    }
}

/// Reads a unit as its source's format reads it now.
fn read_again(
    config: &Config,
    buffer: &Buffer,
    when: &When,
    unit: &AsideUnit,
) -> Result<Intake, String> {
    let name = &unit.source;
    let found = config.sources.iter().find(|source| source.name == *name);
    let config_source = found.ok_or_else(|| {
        format!("it came from {name}, which is no source of this configuration; show has its bytes")
    })?;
    let (_, stop) = watch::channel(false);
    let mut intaker: Intaker = super::intaker(config, config_source, (buffer, when), stop);
    let units = intaker.read(unit.start, &unit.bytes);
    let refused = units.iter().flat_map(|unit| &unit.entries).find_map(|entry| match entry {
        Entry::Refused(why, _) => Some(why.clone()),
        Entry::Receipt(..) | Entry::Movement(..) | Entry::Closing(..) => None,
    });
    if let Some(why) = refused {
        return Err(format!("it is refused again: {why}"));
    }
    if units.iter().all(|unit| unit.entries.is_empty()) {
        return Err("nothing that counts is in it".to_owned());
    }
    let (source, feed, at) = (name.clone(), unit.feed.clone(), when.time.stamp());
    let claim = config_source.role.claim();
    let supply = Supply::Waits;
    Ok(Intake { source, feed, claim, supply, mark: None, at, units })
}
