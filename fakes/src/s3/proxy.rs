//! What stands before an object store and fails, by plan or by seed: requests that are refused, never
//! answered or cut, and requests that are done and not confirmed. Unharmed ones pass as they are.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::client::{BODY_BYTES_MAX, pass_on};
use crate::error::StackError;

/// Seconds after which a busy store wants to be asked again.
const RETRY_AFTER_SECONDS: &str = "1";

/// How a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// It is answered 500 and not done.
    Error,
    /// It is answered 503 with a time to come back, and not done.
    Busy,
    /// It is taken and never answered, and not done.
    Silent,
    /// It is done and never answered.
    DoneButSilent,
    /// It is done and answered 500.
    DoneButError,
    /// It is done, and the connection cut before an answer.
    DoneButCut,
    /// It is done, and the connection cut in the midst of the answer.
    CutBody,
}

/// Which requests fail.
#[derive(Debug, Clone)]
pub struct Plan {
    failure: Failure,
    only_commits: Commits,
    left: Left,
}

/// Whether only the commits of a Delta table fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Commits {
    Only,
    AndOthers,
}

#[derive(Debug, Clone)]
enum Left {
    Every,
    Times(u32),
    Some { percent: u32, chance: Box<ChaCha8Rng> },
}

impl Plan {
    /// Every request fails that can fail so.
    pub fn every(failure: Failure) -> Self {
        Self { failure, only_commits: Commits::AndOthers, left: Left::Every }
    }

    /// As many requests fail.
    pub fn times(failure: Failure, times: u32) -> Self {
        Self { left: Left::Times(times), ..Self::every(failure) }
    }

    /// Requests fail by chance.
    pub fn some(failure: Failure, percent: u32, seed: u64) -> Self {
        let chance = Box::new(ChaCha8Rng::seed_from_u64(seed));
        Self { left: Left::Some { percent, chance }, ..Self::every(failure) }
    }

    /// Of these only the commits of Delta tables fail.
    pub fn of_commits(self) -> Self {
        Self { only_commits: Commits::Only, ..self }
    }

    fn strikes(&mut self, method: &Method, path: &str) -> bool {
        let commit = path.contains("/_delta_log/") && path.ends_with(".json");
        let can = match self.failure {
            Failure::Error | Failure::Busy | Failure::Silent => true,
            Failure::DoneButSilent | Failure::DoneButError | Failure::DoneButCut => {
                *method == Method::PUT
            }
            Failure::CutBody => *method == Method::GET,
        };
        if !can || (self.only_commits == Commits::Only && !(commit && *method == Method::PUT)) {
            return false;
        }
        match &mut self.left {
            Left::Every => true,
            Left::Times(left) => {
                let strikes = *left > 0;
                *left = left.saturating_sub(1);
                strikes
            }
            Left::Some { percent, chance } => chance.random_range(0..100) < *percent,
        }
    }
}

/// A running proxy; it ends with all its connections when dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    target: u16,
    state: Mutex<State>,
    /// The number of the plan: whoever waits for an answer waits no longer than it holds.
    era: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    plan: Option<Plan>,
    failed: BTreeMap<Failure, u64>,
    /// Requests that may have changed something, so far.
    writes: u64,
}

impl Proxy {
    /// Starts one on a free port of the loopback address before a store on another.
    pub async fn start(target: u16) -> Result<Self, StackError> {
        let [port] = crate::ports::free()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        let listener = listener.map_err(StackError::foreign("the proxy cannot listen"))?;
        let (state, era) = (Mutex::default(), watch::Sender::new(0));
        let shared = Arc::new(Shared { target, state, era });
        let acceptor = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { port, shared, acceptor })
    }

    /// Returns the port that clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets requests fail by this plan from now on.
    pub fn fail(&self, plan: Plan) {
        self.shared.set(Some(plan));
    }

    /// Lets every request pass from now on; who waits in silence is cut.
    pub fn mend(&self) {
        self.shared.set(None);
    }

    /// Returns a number that grows with every request that may change what the store holds.
    pub fn writes(&self) -> u64 {
        self.shared.with(|state| state.writes)
    }

    /// Returns how many requests have failed in this way so far.
    pub fn failed(&self, failure: Failure) -> u64 {
        self.shared.with(|state| state.failed.get(&failure).copied().unwrap_or(0))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, plan: Option<Plan>) {
        self.with(|state| state.plan = plan);
        self.era.send_modify(|era| *era += 1);
    }

    fn draw(&self, method: &Method, path: &str) -> Option<Failure> {
        self.with(|state| {
            let plan = state.plan.as_mut()?;
            if !plan.strikes(method, path) {
                return None;
            }
            Some(plan.failure)
        })
    }

    /// A failure counts once what is done of it is done.
    fn count(&self, failure: Failure) {
        self.with(|state| *state.failed.entry(failure).or_default() += 1);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            taken = listener.accept() => match taken {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&shared)));
                }
                Err(error) => tracing::warn!(%error, "the proxy took no connection"),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { answer(request, &shared).await }
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of the proxy was cut");
    }
}

/// An error cuts the connection.
async fn answer(request: Request<Incoming>, shared: &Shared) -> io::Result<Response<Answer>> {
    let era = shared.era.subscribe();
    let failure = shared.draw(request.method(), request.uri().path());
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(io::Error::other)?;
    let request = Request::from_parts(head, Full::new(body.to_bytes()));
    let Some(failure) = failure else {
        return Ok(forward(request, shared).await?.map(Answer::whole));
    };
    let done = match failure {
        Failure::Error | Failure::Busy | Failure::Silent => None,
        Failure::DoneButSilent | Failure::DoneButError | Failure::DoneButCut | Failure::CutBody => {
            Some(forward(request, shared).await?)
        }
    };
    shared.count(failure);
    match failure {
        Failure::Error | Failure::DoneButError => {
            error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
        }
        Failure::Busy => error(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
        Failure::Silent | Failure::DoneButSilent => Err(silence(era).await),
        Failure::DoneButCut => Err(io::ErrorKind::ConnectionReset.into()),
        Failure::CutBody => Ok(done.unwrap_or_default().map(Answer::cut)),
    }
}

/// Waits until another plan holds.
async fn silence(mut era: watch::Receiver<u64>) -> io::Error {
    // An error means that the proxy is gone, which ends the silence too.
    let _ = era.changed().await;
    io::ErrorKind::ConnectionReset.into()
}

async fn forward(request: Request<Full<Bytes>>, shared: &Shared) -> io::Result<Response<Bytes>> {
    let writes = u64::from(!request.method().is_safe());
    let passed = pass_on(shared.target, request).await;
    shared.with(|state| state.writes += writes);
    let mut answer = passed.map_err(io::Error::other)?;
    // Both speak of a connection that is not the client's.
    answer.headers_mut().remove(CONNECTION);
    answer.headers_mut().remove(TRANSFER_ENCODING);
    Ok(answer)
}

fn error(status: StatusCode, code: &str) -> io::Result<Response<Answer>> {
    let text = format!("<Error><Code>{code}</Code><Message>as planned</Message></Error>");
    let mut answer = Response::builder().status(status).header(CONTENT_TYPE, "application/xml");
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer = answer.header(RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    answer.body(Answer::whole(text.into())).map_err(io::Error::other)
}

/// A body that comes whole, or breaks off in its midst.
#[derive(Debug)]
struct Answer {
    length: u64,
    next: Option<Bytes>,
    breaks: bool,
}

impl Answer {
    fn whole(bytes: Bytes) -> Self {
        let length = bytes.len() as u64;
        Self { length, next: Some(bytes).filter(|bytes| !bytes.is_empty()), breaks: false }
    }

    fn cut(bytes: Bytes) -> Self {
        let half = bytes.slice(..bytes.len() / 2);
        Self { next: Some(half), breaks: true, ..Self::whole(bytes) }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match (self.next.take(), self.breaks) {
            (Some(bytes), _) => Some(Ok(Frame::data(bytes))),
            (None, true) => Some(Err(io::ErrorKind::ConnectionReset.into())),
            (None, false) => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none() && !self.breaks
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "/bucket/lake/tills/_delta_log/00000000000000000001.json";

    #[test]
    fn a_plan_strikes_as_often_as_it_says_and_only_what_can_fail_so() {
        let mut twice = Plan::times(Failure::DoneButError, 2).of_commits();
        assert!(!twice.strikes(&Method::GET, COMMIT));
        assert!(!twice.strikes(&Method::PUT, "/bucket/lake/tills/part-1.parquet"));
        let struck = (0..5).filter(|_| twice.strikes(&Method::PUT, COMMIT)).count();
        assert_eq!(struck, 2);
        let mut bodies = Plan::every(Failure::CutBody);
        assert!(bodies.strikes(&Method::GET, "/bucket") && !bodies.strikes(&Method::PUT, COMMIT));
    }

    #[test]
    fn the_same_seed_strikes_the_same() {
        let struck = |seed| {
            let mut plan = Plan::some(Failure::Error, 30, seed);
            (0..1_000).map(|_| plan.strikes(&Method::GET, "/")).collect::<Vec<_>>()
        };
        assert_eq!(struck(1), struck(1));
        assert_ne!(struck(1), struck(2));
        let hits = struck(1).iter().filter(|hit| **hit).count();
        assert!((200..400).contains(&hits), "{hits} of 1000");
    }

    #[tokio::test]
    async fn who_waits_in_silence_is_cut_when_the_proxy_is_mended() {
        // Nobody listens behind it: what is silent is not passed on.
        let proxy = Proxy::start(1).await.unwrap();
        proxy.fail(Plan::every(Failure::Silent));
        let asked = tokio::spawn(super::super::client::Client::of(proxy.port()).is_up());
        let failed =
            crate::wait::until("it is taken", std::time::Duration::from_secs(10), async || {
                match proxy.failed(Failure::Silent) {
                    0 => Err("not yet".to_owned()),
                    _ => Ok(()),
                }
            });
        failed.await.unwrap();
        assert!(!asked.is_finished());
        proxy.mend();
        asked.await.unwrap().unwrap_err();
    }
}
