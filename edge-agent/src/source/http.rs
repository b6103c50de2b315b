//! A service that is asked for what is new. Every page is a feed that begins at 0 and ends: the place
//! moves only in the transaction that stores the page's last receipts, so that after a restart the
//! page is asked for again and what came twice is dropped by its key.

use std::time::Duration;

use reqwest::Client;
use shared::backoff::Backoff;
use shared::time::{Clock, Timestamp};
use tokio::time::{Instant, sleep_until};

use super::{Completeness, Ending, Event, Fate, Place, Source, SourceError};
use crate::config::{CursorKind, HttpConfig};
use crate::digest;
use client::{Answer, ClientError, Question};
use cursor::{Learned, Mark};

mod client;
mod cursor;

/// The one feed of a service.
const FEED: &str = "page";

/// Bytes of a page that are handed on at once.
const CHUNK_BYTES: usize = 64 << 10;

/// The first and the longest wait after a failure.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// A service.
#[derive(Debug)]
pub struct Http {
    config: HttpConfig,
    clock: Clock,
    client: Option<Client>,
    mark: Mark,
    page: Option<Page>,
    /// The first page of the last round: where it comes again unchanged, nothing is read anew.
    known: Option<Known>,
    /// When the present round began.
    round: Option<(Timestamp, Instant)>,
    /// The round is over and nobody was told yet.
    over: Option<Timestamp>,
    not_before: Instant,
    backoff: Backoff,
}

/// A page on its way.
#[derive(Debug)]
struct Page {
    bytes: Vec<u8>,
    sent: usize,
    stage: Stage,
    learned: Learned,
    known: Known,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Begun,
    Ended,
}

/// A page as it was: what was asked, and what came.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    request: (String, Option<String>),
    etag: Option<String>,
    digest: [u8; 32],
    next: Mark,
    more: bool,
}

impl Http {
    /// Goes on where the marks say.
    pub fn new(config: HttpConfig, clock: Clock, marks: Vec<(String, String)>) -> Self {
        // The moment tells this agent's waits from those of all others that lost the same service.
        let seed = clock.now().unix_millis().unsigned_abs();
        let kept = marks.into_iter().find(|(feed, _)| feed == FEED);
        let mark = kept.and_then(|(_, mark)| serde_json::from_str(&mark).ok());
        Self {
            mark: mark.unwrap_or_else(|| Mark::new(&config)),
            config,
            clock,
            client: None,
            page: None,
            known: None,
            round: None,
            over: None,
            not_before: Instant::now(),
            backoff: Backoff::new(RETRY.0, RETRY.1, seed),
        }
    }

    /// Hands the present page on; nothing where it has ended or there is none.
    fn page_event(&mut self) -> Option<Event> {
        let page = self.page.as_mut()?;
        match page.stage {
            Stage::New => {
                page.stage = Stage::Begun;
                Some(Event::Begin { feed: FEED.to_owned(), place: Place::default() })
            }
            Stage::Begun if page.sent < page.bytes.len() => {
                let end = (page.sent + CHUNK_BYTES).min(page.bytes.len());
                let chunk = page.bytes[page.sent..end].to_vec();
                page.sent = end;
                Some(Event::Bytes(chunk))
            }
            Stage::Begun => {
                page.stage = Stage::Ended;
                Some(Event::End(Ending::Finished))
            }
            Stage::Ended => {
                self.page = None;
                None
            }
        }
    }

    /// Asks for the next page.
    async fn fetch(&mut self) -> Result<(), SourceError> {
        self.round.get_or_insert_with(|| (self.clock.now(), Instant::now()));
        let request = self.mark.request(&self.config);
        let known = self.known.as_ref().filter(|known| known.request == request).cloned();
        let etag = known.as_ref().and_then(|known| known.etag.as_deref());
        match self.ask(&request, etag).await {
            Ok(Answer::NotModified) => {
                // Without a page that it could be like, the service answers nonsense: no news.
                let (next, more) = known
                    .map_or_else(|| (self.mark.clone(), false), |known| (known.next, known.more));
                self.go_on(next, more);
            }
            Ok(Answer::Page { bytes, etag }) => {
                let learned = self.mark.learn(&bytes, &self.config);
                let learned = learned.map_err(|error| self.failed(error.into(), None))?;
                let (next, more) = (learned.next.clone(), learned.more);
                let digest = digest::of(&bytes);
                let same = known.is_some_and(|known| known.digest == digest);
                let nothing = learned.rows == 0 && next == self.mark;
                // Rows up to the mark's own come again where a service counts from it, not behind it.
                let counts_from = self.config.cursor != CursorKind::Opaque;
                let old = counts_from && !more && next.is_like(&self.mark);
                let known = Known { request, etag, digest, next, more };
                if same || nothing || old {
                    self.pass(known);
                } else {
                    let stage = Stage::New;
                    self.page = Some(Page { bytes, sent: 0, stage, learned, known });
                }
            }
            Err(error) => {
                if error.is_refusal() {
                    self.mark.restart();
                }
                let wait = error.retry_after();
                return Err(self.failed(error.into(), wait));
            }
        }
        self.backoff.reset();
        Ok(())
    }

    async fn ask(
        &mut self,
        (url, body): &(String, Option<String>),
        etag: Option<&str>,
    ) -> Result<Answer, ClientError> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => self.client.insert(client::make(&self.config)?).clone(),
        };
        // A service's dates are those of the real clock.
        let now = Clock::real().now();
        let question = Question { url, body: body.as_deref(), etag, now };
        client::ask(&client, &self.config, question).await
    }

    /// Ends the round without success; the next try waits, at least as long as the service asks.
    fn failed(
        &mut self,
        source: Box<dyn std::error::Error + Send + Sync>,
        wait: Option<Duration>,
    ) -> SourceError {
        self.round = None;
        let pause = self.backoff.next_wait().max(wait.unwrap_or_default());
        self.not_before = Instant::now() + pause;
        SourceError::Endpoint { url: without_query(&self.config.url), source }
    }

    /// Leaves a page behind: read, or with nothing new in it.
    fn pass(&mut self, known: Known) {
        let (next, more) = (known.next.clone(), known.more);
        if self.mark.begins_round() {
            self.known = Some(known);
        }
        self.go_on(next, more);
    }

    /// Moves the place, and ends the round behind its last page.
    fn go_on(&mut self, next: Mark, more: bool) {
        self.mark = next;
        if more {
            return;
        }
        if let Some((at, began)) = self.round.take() {
            self.over = Some(at);
            self.not_before = began + self.clock.real_span(self.config.poll);
        }
    }
}

impl Source for Http {
    async fn next(&mut self) -> Result<Event, SourceError> {
        loop {
            if let Some(event) = self.page_event() {
                return Ok(event);
            }
            if let Some(at) = self.over.take() {
                return Ok(Event::Idle(at));
            }
            sleep_until(self.not_before).await;
            self.fetch().await?;
        }
    }

    fn mark(&mut self, _: Place, _: Completeness) -> Option<String> {
        let page = self.page.as_ref().filter(|page| page.stage == Stage::Ended)?;
        Some(serde_json::to_string(&page.learned.next).expect("a mark is text and numbers"))
    }

    fn committed(&mut self, _: Fate) {
        let ended = self.page.take_if(|page| page.stage == Stage::Ended);
        if let Some(page) = ended {
            self.pass(page.known);
        }
    }
}

/// Asks once, as the first round does, and tells what came. Changes nothing.
pub async fn probe(config: &HttpConfig) -> Result<String, SourceError> {
    let mut http = Http::new(config.clone(), Clock::real(), Vec::new());
    http.fetch().await?;
    let url = without_query(&config.url);
    Ok(match &http.page {
        Some(page) => {
            format!("{url} answers {} rows in {} bytes", page.learned.rows, page.bytes.len())
        }
        None => format!("{url} answers, and has nothing new"),
    })
}

/// Returns a URL for logs: queries may hold secrets.
fn without_query(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    match plain.split_once("://").map(|(scheme, rest)| (scheme, rest.split_once('@'))) {
        Some((scheme, Some((_, rest)))) => format!("{scheme}://{rest}"),
        Some((_, None)) | None => plain.to_owned(),
    }
}
