//! Tills that are reached by a socket: we call them, they call us, or we see what their printer gets.
//! A mirror is only listened to; what a proxy does with its printer stands in [`proxy`].

use std::io;
use std::time::Duration;

use shared::backoff::Backoff;
use shared::time::Clock;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::lines::{Habits, LINES_MAX, Lines, Memory};
use super::{Completeness, Event, Fate, Form, Place, Source, SourceError};
use crate::config::{ClientTls, ServerTls, TcpConfig, TcpMode};

mod copies;
mod proxy;
mod tls;

use copies::Copied;
use proxy::Proxy;

/// How long calling somebody may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How long the beginning of TLS may take.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// How long a further connection of a peer waits for the end of the one before: its last bytes and its
/// end are on their way, and its feed is to go on.
const SUCCESSION_PATIENCE: Duration = Duration::from_millis(200);

/// Silence after which the kernel asks whether the peer is still there, and how often it asks.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 3);

/// Tills that are reached by a socket.
pub struct Tcp {
    config: TcpConfig,
    lines: Lines,
    way: Way,
    owed: Option<SourceError>,
    /// A call that was taken, by whom, and until when it waits for the end of the one before.
    next_call: Option<(TcpStream, String, Instant)>,
}

/// A call that goes on whether or not somebody waits for it.
type Calling = JoinHandle<io::Result<TcpStream>>;

/// Who calls whom, and how that stands.
enum Way {
    Client { tls: Option<ClientTls>, retry: Backoff, try_at: Instant, calling: Option<Calling> },
    Server { tls: Option<ServerTls>, listener: Option<TcpListener> },
    Proxy(Proxy),
}

impl Tcp {
    /// Makes a source that goes on where the marks say. A proxy works from here on.
    pub fn new(config: TcpConfig, marks: Vec<(String, String)>, clock: Clock) -> Self {
        let (way, memory) = match &config.mode {
            TcpMode::Client(tls) => {
                let retry = Backoff::new(Duration::from_millis(200), Duration::from_secs(30), 1);
                let (tls, try_at) = (tls.clone(), Instant::now());
                (Way::Client { tls, retry, try_at, calling: None }, Memory::Line)
            }
            TcpMode::Server(tls) => {
                (Way::Server { tls: tls.clone(), listener: None }, Memory::Line)
            }
            TcpMode::Mirror => (Way::Server { tls: None, listener: None }, Memory::Peer),
            TcpMode::Proxy { printer } => {
                (Way::Proxy(Proxy::start(config.address.clone(), printer.clone())), Memory::Peer)
            }
        };
        let (line, silence) = (config.line, config.read_timeout);
        let lines = Lines::new(Habits { line, silence, memory, clock }, marks);
        Self { config, lines, way, owed: None, next_call: None }
    }

    /// Waits for a caller and begins a line with it.
    async fn listen(&mut self) -> Result<Option<Event>, SourceError> {
        let Way::Server { tls, listener } = &mut self.way else { return Ok(None) };
        let address = &self.config.address;
        let fault = |what: &str, source| {
            Err(SourceError::Line { what: format!("{what} {address}"), source })
        };
        let bound = match listener {
            Some(bound) => bound,
            None => match TcpListener::bind(address).await {
                Ok(bound) => listener.insert(bound),
                Err(error) => return fault("cannot listen on", error),
            },
        };
        if let Some((_, peer, until)) = &self.next_call
            && self.lines.speaks(peer)
        {
            tokio::select! {
                biased;
                event = self.lines.next() => return Ok(Some(event)),
                () = tokio::time::sleep_until(*until) => {}
            }
        }
        let Some((stream, peer, _)) = self.next_call.take() else {
            let (stream, peer) = tokio::select! {
                event = self.lines.next() => return Ok(Some(event)),
                accepted = bound.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => return fault("cannot take a call on", error),
                },
            };
            let until = Instant::now() + SUCCESSION_PATIENCE;
            self.next_call = Some((stream, peer.ip().to_string(), until));
            return Ok(None);
        };
        if self.lines.count() >= LINES_MAX {
            tracing::warn!(%peer, most = LINES_MAX, "a further connection is refused");
            return Ok(None);
        }
        keep_alive(&stream);
        match tls.as_ref().map(tls::acceptor) {
            None => self.lines.open(&peer, std::future::ready(Ok(stream))),
            Some(Err(error)) => return fault("cannot use the certificate of", error),
            Some(Ok(acceptor)) => {
                self.lines.open(&peer, within(HANDSHAKE_PATIENCE, acceptor.accept(stream)));
            }
        }
        Ok(None)
    }

    /// Calls the till once it is time to.
    async fn call(&mut self) -> Result<Option<Event>, SourceError> {
        let Way::Client { tls, retry, try_at, calling } = &mut self.way else { return Ok(None) };
        if self.lines.count() > 0 {
            let event = self.lines.next().await;
            if matches!(event, Event::Bytes(_)) {
                retry.reset();
            }
            return Ok(Some(event));
        }
        let address = self.config.address.clone();
        let under_way = match calling {
            Some(under_way) => under_way,
            None => {
                tokio::time::sleep_until(*try_at).await;
                let called = TcpStream::connect(address.clone());
                calling.insert(tokio::spawn(within(CONNECT_PATIENCE, called)))
            }
        };
        let called = under_way.await.expect("calling does not panic");
        *calling = None;
        let fault = |source| SourceError::Line { what: format!("cannot reach {address}"), source };
        *try_at = Instant::now() + retry.next_wait();
        let stream = called.map_err(fault)?;
        keep_alive(&stream);
        match tls.as_ref().map(tls::connector) {
            None => self.lines.open(&address, std::future::ready(Ok(stream))),
            Some(Err(error)) => return Err(fault(error)),
            Some(Ok((connector, name))) => {
                let safe = within(HANDSHAKE_PATIENCE, connector.connect(name, stream));
                self.lines.open(&address, safe);
            }
        }
        Ok(None)
    }

    /// Takes why no safe line is had. A caller that speaks no TLS may be anybody; one that we call is
    /// the till.
    fn unreached(&mut self) -> Option<SourceError> {
        let (peer, source) = self.lines.take_unreached()?;
        match self.way {
            Way::Client { .. } => Some(unsafe_line(&peer, source)),
            Way::Server { .. } | Way::Proxy(_) => {
                tracing::warn!(%peer, error = %source, "a caller speaks no TLS that fits");
                None
            }
        }
    }

    /// Takes what a printer got.
    async fn overhear(&mut self) -> Result<Option<Event>, SourceError> {
        let Way::Proxy(proxy) = &mut self.way else { return Ok(None) };
        let copied = tokio::select! {
            // Nothing is read to its end while copies wait.
            biased;
            copied = proxy.next() => copied,
            event = self.lines.next() => return Ok(Some(event)),
        };
        match copied {
            Copied::Bytes { connection, peer, bytes } => {
                let line = proxy.line(connection);
                let line = line.unwrap_or_else(|| self.lines.adopt(&peer));
                proxy.remember(connection, line);
                self.lines.hear(line, bytes);
            }
            Copied::Closed { connection } => {
                if let Some(line) = proxy.forget(connection) {
                    self.lines.hang_up(line);
                }
            }
            Copied::Lost { bytes } => {
                proxy.forget_all();
                let lost = SourceError::CopyLost { bytes };
                self.lines.break_off(&lost.to_string());
                self.owed = Some(lost);
            }
            Copied::Fault { what, source } => {
                return Err(SourceError::Line { what, source });
            }
        }
        Ok(None)
    }
}

impl Source for Tcp {
    async fn next(&mut self) -> Result<Event, SourceError> {
        loop {
            if self.lines.has_events() {
                return Ok(self.lines.next().await);
            }
            if let Some(owed) = self.owed.take().or_else(|| self.unreached()) {
                return Err(owed);
            }
            let event = match &self.way {
                Way::Client { .. } => self.call().await?,
                Way::Server { .. } => self.listen().await?,
                Way::Proxy(_) => self.overhear().await?,
            };
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }

    fn mark(&mut self, place: Place, completeness: Completeness) -> Option<String> {
        self.lines.mark(place, completeness)
    }

    fn committed(&mut self, _: Fate) {}

    fn answer(&mut self, form: Form) {
        self.lines.answer(form);
    }

    fn held_back(&mut self) {
        self.lines.held_back();
    }
}

fn unsafe_line(address: &str, source: io::Error) -> SourceError {
    let what = format!("there is no safe line to {address}; do ca and server_name fit the till?");
    SourceError::Line { what, source }
}

/// Tells whether a till or printer can be called, and whether there is room to listen.
pub async fn probe(config: &TcpConfig) -> Result<String, SourceError> {
    let address = &config.address;
    match &config.mode {
        TcpMode::Client(None) => reached(address).await.map(|_| format!("{address} answers")),
        TcpMode::Client(Some(tls)) => {
            let stream = reached(address).await?;
            let fault = |source| unsafe_line(address, source);
            let (connector, name) = tls::connector(tls).map_err(fault)?;
            let safe = within(HANDSHAKE_PATIENCE, connector.connect(name, stream)).await;
            safe.map(|_| format!("{address} answers, and is who it is meant to be")).map_err(fault)
        }
        TcpMode::Server(Some(tls)) => {
            let what = format!("cannot use the certificate of {address}");
            tls::acceptor(tls).map_err(|source| SourceError::Line { what, source })?;
            room(address).await
        }
        TcpMode::Server(None) | TcpMode::Mirror => room(address).await,
        TcpMode::Proxy { printer } => {
            let room = room(address).await?;
            reached(printer).await.map(|_| format!("{printer} answers; {room}"))
        }
    }
}

async fn reached(address: &str) -> Result<TcpStream, SourceError> {
    let called = within(CONNECT_PATIENCE, TcpStream::connect(address)).await;
    let what = format!("cannot reach {address}");
    called.map_err(|source| SourceError::Line { what, source })
}

async fn room(address: &str) -> Result<String, SourceError> {
    match TcpListener::bind(address).await {
        Ok(_) => Ok(format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Ok(format!("{address} is taken, by the running agent or by another program"))
        }
        Err(source) => {
            Err(SourceError::Line { what: format!("cannot listen on {address}"), source })
        }
    }
}

/// Limits how long something may take.
async fn within<T>(patience: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, "it took too long");
    timeout(patience, work).await.unwrap_or_else(|_| Err(late()))
}

/// Makes the kernel find out whether a silent peer is gone.
fn keep_alive(stream: &TcpStream) {
    let (idle, pause, tries) = KEEPALIVE;
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(pause).with_retries(tries);
    if let Err(error) = SockRef::from(stream).set_tcp_keepalive(&keepalive) {
        tracing::warn!(%error, "a connection is not watched");
    }
}
