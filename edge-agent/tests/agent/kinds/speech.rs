//! How a till on a line speaks: at work beside the source, it says what it is told to once somebody
//! listens.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::contract::{line, soon};
use crate::serial::Till as Adapter;

/// How often a till looks whether it is heard.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// What a till may be told while it waits for somebody to listen.
const WISHES_MAX: usize = 64;

/// What a till on a line is told to do.
pub(super) enum Wish {
    Say(u32),
    /// The agent has ended, and its line with it.
    Anew(oneshot::Sender<()>),
    /// Tell what was heard.
    Tell(oneshot::Sender<Vec<u8>>),
}

/// A till on a line, at work beside the source.
pub(super) struct Till {
    orders: mpsc::Sender<Wish>,
    _task: AbortOnDrop,
}

pub(super) struct AbortOnDrop(pub(super) JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How a till speaks.
pub(super) trait Wire: Send + 'static {
    /// Says something to whoever listens, once somebody does.
    fn say(&mut self, text: String) -> impl Future<Output = ()> + Send;
    /// Ends the line of an agent that has ended, and returns what it wrote.
    fn end(&mut self) -> impl Future<Output = Vec<u8>> + Send;
}

impl Till {
    pub(super) fn start(mut wire: impl Wire) -> Self {
        let (orders, mut rx) = mpsc::channel(WISHES_MAX);
        let work = async move {
            let mut heard = Vec::new();
            while let Some(order) = rx.recv().await {
                match order {
                    Wish::Say(number) => wire.say(line(number)).await,
                    Wish::Anew(done) => {
                        heard.extend(wire.end().await);
                        done.send(()).unwrap();
                    }
                    Wish::Tell(to) => {
                        heard.extend(wire.end().await);
                        to.send(std::mem::take(&mut heard)).unwrap();
                    }
                }
            }
        };
        Self { orders, _task: AbortOnDrop(tokio::spawn(work)) }
    }

    pub(super) fn tell(&self, order: Wish) {
        assert!(self.orders.try_send(order).is_ok(), "the till is at work");
    }

    pub(super) async fn anew(&self) {
        let (done, is_done) = oneshot::channel();
        self.tell(Wish::Anew(done));
        soon(is_done).await.unwrap();
    }

    pub(super) async fn heard(&self) -> Vec<u8> {
        let (to, told) = oneshot::channel();
        self.tell(Wish::Tell(to));
        soon(told).await.unwrap()
    }
}

/// How a till comes to its socket.
pub(super) enum Way {
    Calls(u16),
    Accepts(Arc<AsyncMutex<Option<TcpListener>>>),
}

pub(super) struct Plug {
    pub(super) way: Way,
    pub(super) line: Option<TcpStream>,
}

impl Plug {
    async fn connect(&self) -> TcpStream {
        loop {
            let line = match &self.way {
                Way::Calls(port) => TcpStream::connect(("127.0.0.1", *port)).await.ok(),
                Way::Accepts(listener) => match &*listener.lock().await {
                    Some(listener) => Some(listener.accept().await.unwrap().0),
                    None => None,
                },
            };
            match line {
                Some(line) => return line,
                None => tokio::time::sleep(LOOK_PAUSE).await,
            }
        }
    }
}

impl Wire for Plug {
    async fn say(&mut self, text: String) {
        if self.line.is_none() {
            self.line = Some(self.connect().await);
        }
        let line = self.line.as_mut().unwrap();
        let (first, second) = text.as_bytes().split_at(text.len() / 2);
        line.write_all(first).await.unwrap();
        tokio::task::yield_now().await;
        line.write_all(second).await.unwrap();
    }

    async fn end(&mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        if let Some(mut line) = self.line.take() {
            // Its end may be a reset: what was heard before counts.
            drop(line.read_to_end(&mut heard).await);
        }
        heard
    }
}

/// A serial line: the adapter is plugged in when there is something to say.
pub(super) struct Cable {
    pub(super) name: PathBuf,
    pub(super) adapter: Option<Adapter>,
    pub(super) is_heard: bool,
}

impl Wire for Cable {
    async fn say(&mut self, text: String) {
        let mut adapter = self.adapter.take().unwrap_or_else(|| Adapter::plug_in_as(&self.name));
        while !self.is_heard {
            self.is_heard = adapter.is_open();
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        let (first, second) = text.as_bytes().split_at(text.len() / 2);
        adapter.say(first);
        tokio::task::yield_now().await;
        adapter.say(second);
        self.adapter = Some(adapter);
    }

    async fn end(&mut self) -> Vec<u8> {
        // Another adapter has the same name next time.
        let adapter = self.adapter.take();
        self.is_heard = false;
        drop(std::fs::remove_file(&self.name));
        adapter.map_or_else(Vec::new, |mut it| std::iter::from_fn(|| it.heard()).collect())
    }
}
