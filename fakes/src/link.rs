//! A TCP proxy that can be cut, refused and delayed on command. Never looks into what it carries.
//!
//! *Cut* is a pulled cable: connections stay open and bytes vanish, new connections are taken and
//! never answered. *Refused* is a closed door: connections are reset, new ones get "connection
//! refused". Healing resets every connection that lived through either, since bytes are missing.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

pub mod control;

/// Bytes read at once.
const CHUNK_BYTES: usize = 16 * 1024;
/// Chunks on the way in one direction: with a delay, what a line of that length holds.
const CHUNKS_MAX: usize = 256;
/// Connections at once; more than any test or demo opens, and a leak shows.
const CONNECTIONS_MAX: usize = 1_000;
/// The pause before a port that is still in use is tried again.
const REBIND_PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    Cut,
    Refused,
}

/// A connection belongs to the era in which it began and ends with it.
#[derive(Debug, Clone, Copy)]
struct State {
    mode: Mode,
    delay: Duration,
    era: u64,
}

/// A running link; ends with all its connections when dropped.
#[derive(Debug)]
pub struct Link {
    port: u16,
    state: watch::Sender<State>,
    listening: watch::Receiver<bool>,
    acceptor: JoinHandle<()>,
}

impl Link {
    /// Starts a link to a target on a free port of the loopback address.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let [port] = crate::ports::free().map_err(io::Error::other)?;
        Self::start_on(port, target).await
    }

    /// Starts a link to a target on this port of the loopback address.
    pub async fn start_on(port: u16, target: SocketAddr) -> io::Result<Self> {
        let listener = bind(port).await?;
        let (state, seen) =
            watch::channel(State { mode: Mode::Open, delay: Duration::ZERO, era: 0 });
        let (listens, listening) = watch::channel(true);
        let acceptor = tokio::spawn(accept(Some(listener), (port, target), seen, listens));
        Ok(Self { port, state, listening, acceptor })
    }

    /// Returns the port that clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets every byte vanish from now on.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.mode = Mode::Cut);
    }

    /// Holds every byte back for this long, in both directions, until the link is healed.
    pub fn delay(&self, delay: Duration) {
        self.state.send_modify(|state| state.delay = delay);
    }

    /// Resets all connections and refuses new ones; returns once the port is closed.
    pub async fn refuse(&self) {
        self.state.send_modify(|state| {
            state.mode = Mode::Refused;
            state.era += 1;
        });
        self.until_listening(false).await;
    }

    /// Carries everything at once again; returns once the port is open.
    pub async fn heal(&self) {
        self.state.send_modify(|state| {
            state.era += u64::from(state.mode != Mode::Open);
            state.mode = Mode::Open;
            state.delay = Duration::ZERO;
        });
        self.until_listening(true).await;
    }

    async fn until_listening(&self, wanted: bool) {
        let mut listening = self.listening.clone();
        // The acceptor runs as long as the link does, so the channel is open.
        let closed = listening.wait_for(|&now| now == wanted).await.is_err();
        assert!(!closed, "the acceptor lives as long as its link");
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
}

async fn accept(
    mut listener: Option<TcpListener>,
    (port, target): (u16, SocketAddr),
    mut state: watch::Receiver<State>,
    listens: watch::Sender<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let now = *state.borrow_and_update();
        if now.mode == Mode::Refused {
            listener = None;
        } else if listener.is_none() {
            listener = rebind(port).await;
        }
        listens.send_replace(listener.is_some());
        tokio::select! {
            client = next_client(listener.as_ref()), if connections.len() < CONNECTIONS_MAX => {
                connections.spawn(carry(client, target, state.clone(), now.era));
            }
            Some(_) = connections.join_next() => {}
            changed = state.changed() => if changed.is_err() { return },
        }
    }
}

/// The old listener's port may be held for a moment by a client that got it as its own.
async fn rebind(port: u16) -> Option<TcpListener> {
    loop {
        match bind(port).await {
            Ok(listener) => return Some(listener),
            Err(error) => {
                tracing::debug!(port, %error, "the link's port cannot be opened yet");
                tokio::time::sleep(REBIND_PAUSE).await;
            }
        }
    }
}

async fn next_client(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok((client, _)) => return client,
            Err(error) => {
                tracing::debug!(%error, "a client was gone before it was accepted");
                tokio::time::sleep(REBIND_PAUSE).await;
            }
        }
    }
}

/// Carries one connection until one side ends it or its era is over; then both sides are reset.
async fn carry(mut client: TcpStream, target: SocketAddr, state: watch::Receiver<State>, era: u64) {
    let mut end = state.clone();
    let over = async move { end.wait_for(|state| state.era != era).await.map(|_| ()) };
    tokio::pin!(over);
    let opened = tokio::select! {
        opened = open(target, state.clone()) => opened,
        _ = &mut over => return reset(&client),
    };
    let Ok(mut server) = opened else { return reset(&client) };
    // Small answers that wait for each other's receipt would make every question take 40 ms.
    if client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_err() {
        return;
    }
    {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        // A reset of one side is one of the other, as through any router: who was killed must not
        // seem to be there still.
        let both = async {
            tokio::try_join!(
                pump(from_client, to_server, state.clone()),
                pump(from_server, to_client, state.clone())
            )
        };
        tokio::select! {
            ended = both => if ended.is_ok() { return },
            _ = &mut over => {}
        }
    }
    reset(&client);
    reset(&server);
}

/// While the link is cut, nobody is reached.
async fn open(target: SocketAddr, mut state: watch::Receiver<State>) -> io::Result<TcpStream> {
    state.wait_for(|state| state.mode != Mode::Cut).await.map_err(io::Error::other)?;
    TcpStream::connect(target).await
}

fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "the connection was gone before it could be reset");
    }
}

async fn pump(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    state: watch::Receiver<State>,
) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    let sent = async { tokio::join!(take(from, sender, state.clone()), give(to, receiver, state)) };
    let (taken, given) = sent.await;
    taken.and(given)
}

type Chunk = (Instant, Vec<u8>);

/// An empty chunk is the end of the stream.
async fn take(
    mut from: ReadHalf<'_>,
    to: mpsc::Sender<Chunk>,
    state: watch::Receiver<State>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let length = from.read(&mut buffer).await?;
        let due = Instant::now() + state.borrow().delay;
        if to.send((due, buffer[..length].to_vec())).await.is_err() || length == 0 {
            return Ok(());
        }
    }
}

async fn give(
    mut to: WriteHalf<'_>,
    mut from: mpsc::Receiver<Chunk>,
    state: watch::Receiver<State>,
) -> io::Result<()> {
    while let Some((due, chunk)) = from.recv().await {
        // The timer counts whole milliseconds: what is due is not made to wait for the next one.
        if due > Instant::now() {
            tokio::time::sleep_until(due).await;
        }
        let cut = state.borrow().mode == Mode::Cut;
        match (cut, chunk.is_empty()) {
            (false, false) => to.write_all(&chunk).await?,
            (false, true) => to.shutdown().await?,
            (true, false) => {}
            // The other side's end vanishes too: this side learns of it when the link is healed.
            (true, true) => std::future::pending().await,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait;

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn an_open_link_carries_both_ways_and_passes_on_the_end() {
        let link = Link::start(echo().await).await.unwrap();
        let mut client = connect(&link).await.unwrap();
        client.write_all(b"milk").await.unwrap();
        client.shutdown().await.unwrap();
        let mut back = Vec::new();
        client.read_to_end(&mut back).await.unwrap();
        assert_eq!(back, b"milk");
    }

    #[tokio::test]
    async fn a_cut_link_swallows_bytes_and_healing_resets_what_lost_them() {
        let link = Link::start(echo().await).await.unwrap();
        let mut old = connect(&link).await.unwrap();
        assert!(answers(&mut old).await);
        link.cut();
        let mut new = connect(&link).await.unwrap();
        old.write_all(b"lost").await.unwrap();
        new.write_all(b"lost").await.unwrap();
        let mut byte = [0];
        let silence = Duration::from_millis(150);
        assert!(tokio::time::timeout(silence, old.read(&mut byte)).await.is_err());
        assert!(tokio::time::timeout(silence, new.read(&mut byte)).await.is_err());
        link.heal().await;
        for stream in [&mut old, &mut new] {
            let ended = tokio::time::timeout(SOON, stream.read(&mut byte)).await.unwrap();
            assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        }
        assert!(answers(&mut connect(&link).await.unwrap()).await);
    }

    #[tokio::test]
    async fn a_refusing_link_resets_and_refuses_until_it_is_healed() {
        let link = Link::start(echo().await).await.unwrap();
        let mut old = connect(&link).await.unwrap();
        assert!(answers(&mut old).await);
        link.refuse().await;
        assert_eq!(old.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let refused = connect(&link).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        link.heal().await;
        assert!(answers(&mut connect(&link).await.unwrap()).await);
    }

    #[tokio::test]
    async fn a_delayed_link_holds_back_but_loses_nothing() {
        let link = Link::start(echo().await).await.unwrap();
        link.delay(Duration::from_millis(80));
        let mut client = connect(&link).await.unwrap();
        let began = Instant::now();
        assert!(answers(&mut client).await);
        assert!(began.elapsed() >= Duration::from_millis(160), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_dropped_link_ends_its_connections() {
        let link = Link::start(echo().await).await.unwrap();
        let mut client = connect(&link).await.unwrap();
        assert!(answers(&mut client).await);
        let port = link.port();
        drop(link);
        wait::until("the port is closed", SOON, async || {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                Ok(_) => Err("still open".to_owned()),
                Err(_) => Ok(()),
            }
        })
        .await
        .unwrap();
    }

    async fn echo() -> SocketAddr {
        let listener = bind(0).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        address
    }

    async fn connect(link: &Link) -> io::Result<TcpStream> {
        TcpStream::connect((Ipv4Addr::LOCALHOST, link.port())).await
    }

    async fn answers(stream: &mut TcpStream) -> bool {
        let mut back = [0; 4];
        stream.write_all(b"eggs").await.unwrap();
        stream.read_exact(&mut back).await.unwrap();
        &back == b"eggs"
    }
}
