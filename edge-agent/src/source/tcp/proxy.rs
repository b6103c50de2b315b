//! Stands between a till and its receipt printer. Bytes pass both ways as they are; we get a copy of
//! those that the printer took. It lives on a thread of its own, so that neither a disk, a decoder
//! nor anything else of the agent can hold a receipt up: only the end of the process does.
//!
//! A printer that is away is told to the till by a reset at once: its call was taken by the kernel
//! before anybody could know. What the printer says goes back and is not looked at.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::copies::{Copied, Copies};
use super::{CONNECT_PATIENCE, keep_alive, within};

/// Connections at once: a printer takes one, and a till has one printer.
const CONNECTIONS_MAX: usize = 64;

/// Bytes that pass at once: more than a printer takes at once.
const PASS_BYTES: usize = 16 << 10;

/// How long a port that is taken is waited for.
const BIND_PAUSE: Duration = Duration::from_secs(1);

/// A running proxy; it ends when dropped.
pub(super) struct Proxy {
    copies: Arc<Copies>,
    lines: BTreeMap<u64, u64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts to listen on `address` for tills that want the printer.
    pub(super) fn start(address: String, printer: String) -> Self {
        let copies = Arc::new(Copies::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let work = Work { address, printer: printer.into(), copies: Arc::clone(&copies) };
        let started = std::thread::Builder::new().name("proxy".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(async {
                    tokio::select! {
                        () = work.run() => {}
                        // It ends by the sender's drop.
                        _ = stopped => {}
                    }
                }),
                Err(error) => work.copies.fail("the printer's proxy cannot start".into(), error),
            }
        });
        let thread = match started {
            Ok(thread) => Some(thread),
            Err(error) => {
                copies.fail("the printer's proxy has no thread".to_owned(), error);
                None
            }
        };
        Self { copies, lines: BTreeMap::new(), stop: Some(stop), thread }
    }

    /// Waits for a copy; may be dropped while it waits.
    pub(super) async fn next(&self) -> Copied {
        self.copies.take().await
    }

    /// Returns the line of a connection.
    pub(super) fn line(&self, connection: u64) -> Option<u64> {
        self.lines.get(&connection).copied()
    }

    /// Remembers the line of a connection.
    pub(super) fn remember(&mut self, connection: u64, line: u64) {
        self.lines.insert(connection, line);
    }

    /// Forgets a connection and returns its line.
    pub(super) fn forget(&mut self, connection: u64) -> Option<u64> {
        self.lines.remove(&connection)
    }

    /// Forgets all connections.
    pub(super) fn forget_all(&mut self) {
        self.lines.clear();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the printer's proxy has panicked");
        }
    }
}

struct Work {
    address: String,
    printer: Arc<str>,
    copies: Arc<Copies>,
}

impl Work {
    async fn run(&self) {
        let mut connections = JoinSet::new();
        let mut number = 0;
        let listener = self.listener().await;
        loop {
            let (till, peer) = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        self.copies.fail(format!("cannot take a call on {}", self.address), error);
                        tokio::time::sleep(BIND_PAUSE).await;
                        continue;
                    }
                },
                Some(_) = connections.join_next() => continue,
            };
            if connections.len() >= CONNECTIONS_MAX {
                tracing::warn!(%peer, most = CONNECTIONS_MAX, "a further connection is refused");
                reset(&till);
                continue;
            }
            number += 1;
            let copies = Arc::clone(&self.copies);
            let tee = Tee { copies, connection: number, peer: peer.ip().to_string() };
            connections.spawn(pass(till, Arc::clone(&self.printer), tee));
        }
    }

    async fn listener(&self) -> TcpListener {
        loop {
            match TcpListener::bind(&self.address).await {
                Ok(listener) => return listener,
                Err(error) => {
                    self.copies.fail(format!("cannot listen on {}", self.address), error);
                    tokio::time::sleep(BIND_PAUSE).await;
                }
            }
        }
    }
}

/// Where copies of one connection go.
struct Tee {
    copies: Arc<Copies>,
    connection: u64,
    peer: String,
}

impl Tee {
    fn put(&self, bytes: &[u8]) {
        self.copies.put(self.connection, &self.peer, bytes);
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        self.copies.close(self.connection);
    }
}

/// Joins a till with its printer until both have ended, or one of them fails.
async fn pass(mut till: TcpStream, address: Arc<str>, tee: Tee) {
    let called = within(CONNECT_PATIENCE, TcpStream::connect(&*address)).await;
    let mut printer = match called {
        Ok(printer) => printer,
        Err(error) => {
            tracing::warn!(printer = %address, %error, "the printer is away");
            reset(&till);
            return;
        }
    };
    for stream in [&till, &printer] {
        keep_alive(stream);
        if let Err(error) = stream.set_nodelay(true) {
            tracing::warn!(%error, "a connection gathers its bytes");
        }
    }
    let (till_read, till_write) = till.split();
    let (printer_read, printer_write) = printer.split();
    let forth = async {
        let ended = flow(till_read, printer_write, |bytes| tee.put(bytes)).await;
        // Its next connection may begin before the printer has ended this one.
        tee.copies.close(tee.connection);
        ended
    };
    let back = flow(printer_read, till_write, |_| {});
    if let Err(error) = tokio::try_join!(forth, back) {
        tracing::info!(peer = %tee.peer, %error, "a connection to the printer broke");
        reset(&till);
        reset(&printer);
    }
}

/// Passes bytes on until their end, which is passed on too.
async fn flow(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    tee: impl Fn(&[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; PASS_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        let mut at = 0;
        while at < count {
            let written = to.write(&buffer[at..count]).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            tee(&buffer[at..at + written]);
            at += written;
        }
    }
}

/// Makes the end of a connection a reset: whoever is there hears that its bytes went nowhere.
fn reset(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_linger(Some(Duration::ZERO)) {
        tracing::warn!(%error, "a connection ends politely");
    }
}
