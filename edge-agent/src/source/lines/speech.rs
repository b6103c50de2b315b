//! One line's task: reads what the till says, writes what it is answered.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;

const STX: u8 = 0x02;
const ETX: u8 = 0x03;
const DLE: u8 = 0x10;

/// What a line said.
#[derive(Debug)]
pub(super) enum Heard {
    /// It is there.
    Reached,
    /// It could not be had, and why.
    Unreached(std::io::Error),
    Bytes(Vec<u8>),
    /// Nothing for a while after bytes.
    Quiet,
    /// It is gone, and why where that is known.
    Closed(Option<String>),
}

/// What joins a task to its source.
pub(super) struct Ends {
    pub(super) line: u64,
    pub(super) heard: mpsc::Sender<(u64, Heard)>,
    pub(super) received: Arc<AtomicU64>,
    /// Where the answer to a 3964R greeting goes.
    pub(super) greet: Option<mpsc::Sender<u8>>,
    pub(super) answers: mpsc::Receiver<u8>,
    pub(super) quiet: Duration,
    pub(super) silence: Duration,
}

/// A task that ends when it is dropped.
pub(super) struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts the task of a line.
pub(super) fn start<S>(
    connecting: impl Future<Output = std::io::Result<S>> + Send + 'static,
    mut ends: Ends,
) -> Task
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    Task(tokio::spawn(async move {
        let (line, heard) = (ends.line, ends.heard.clone());
        let end = match connecting.await {
            Ok(stream) => {
                // Where nobody hears it, the line's end is heard by nobody either.
                drop(heard.send((line, Heard::Reached)).await);
                Heard::Closed(speak(stream, &mut ends).await)
            }
            Err(error) => Heard::Unreached(error),
        };
        if heard.send((line, end)).await.is_err() {
            tracing::debug!("the source has ended before its line");
        }
    }))
}

async fn speak<S: AsyncRead + AsyncWrite>(stream: S, ends: &mut Ends) -> Option<String> {
    let (read, mut write) = tokio::io::split(stream);
    let Ends { line, heard, received, greet, answers, quiet, silence } = ends;
    let reader = Reader { line: *line, heard, received, greet: greet.as_ref(), quiet: *quiet };
    let writing = async {
        while let Some(byte) = answers.recv().await {
            let written = async {
                write.write_all(&[byte]).await?;
                write.flush().await
            };
            if let Err(error) = written.await {
                return Some(error.to_string());
            }
        }
        // Nobody answers: the line is only read.
        std::future::pending().await
    };
    tokio::select! {
        why = reader.run(read, *silence) => why,
        why = writing => why,
    }
}

struct Reader<'a> {
    line: u64,
    heard: &'a mpsc::Sender<(u64, Heard)>,
    received: &'a AtomicU64,
    greet: Option<&'a mpsc::Sender<u8>>,
    quiet: Duration,
}

impl Reader<'_> {
    /// Reads until the line ends, and says why it did.
    async fn run<S: AsyncRead>(self, mut read: ReadHalf<S>, silence: Duration) -> Option<String> {
        let mut buffer = vec![0; READ_BYTES];
        let mut handshake = Handshake::default();
        let mut spoke = false;
        loop {
            let patience = if spoke { self.quiet } else { silence };
            let heard = match timeout(patience, read.read(&mut buffer)).await {
                Err(_) if spoke => {
                    (spoke, handshake) = (false, Handshake::default());
                    Heard::Quiet
                }
                Err(_) => return Some(format!("no byte came for {} s", silence.as_secs())),
                Ok(Ok(0)) => return None,
                Ok(Err(error)) => return Some(error.to_string()),
                Ok(Ok(count)) => {
                    spoke = true;
                    self.received.fetch_add(count as u64, Ordering::AcqRel);
                    self.greet(handshake.hear(&buffer[..count]));
                    Heard::Bytes(buffer[..count].to_vec())
                }
            };
            if self.heard.send((self.line, heard)).await.is_err() {
                return None;
            }
        }
    }

    fn greet(&self, greeting: Greeting) {
        let Some(out) = self.greet.filter(|_| greeting == Greeting::Waits) else { return };
        if out.try_send(DLE).is_err() {
            tracing::warn!("a till does not take the answer to its greeting");
        }
    }
}

/// Whether a sender by 3964R waits for the answer to its STX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Greeting {
    Waits,
    None,
}

/// How far a telegram of 3964R has come, as far as greeting it goes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Handshake {
    #[default]
    Outside,
    Greeted,
    Inside,
    Escaped,
    Check,
}

impl Handshake {
    fn hear(&mut self, bytes: &[u8]) -> Greeting {
        for &byte in bytes {
            *self = match (*self, byte) {
                (Self::Outside, STX) => Self::Greeted,
                (Self::Outside, _) | (Self::Check, _) => Self::Outside,
                (Self::Greeted | Self::Inside, DLE) => Self::Escaped,
                (Self::Greeted | Self::Inside, _) => Self::Inside,
                (Self::Escaped, ETX) => Self::Check,
                (Self::Escaped, DLE) => Self::Inside,
                (Self::Escaped, _) => Self::Outside,
            };
        }
        if *self == Self::Greeted { Greeting::Waits } else { Greeting::None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_greeting_that_waits_is_answered() {
        let (waits, none) = (Greeting::Waits, Greeting::None);
        for (chunks, want) in [
            (vec![b"\x02".as_slice()], vec![waits]),
            (vec![b"\x02", b"A\x02\x10\x10\x10\x03\x02", b"\x02"], vec![waits, none, waits]),
            (vec![b"\x02A\x10\x03x\x02"], vec![waits]),
            (vec![b"\x02A\x10\x03x"], vec![none]),
            (vec![b"\x02A\x10B", b"\x02"], vec![none, waits]),
        ] {
            let mut handshake = Handshake::default();
            let found: Vec<Greeting> = chunks.iter().map(|chunk| handshake.hear(chunk)).collect();
            assert_eq!(found, want, "{chunks:?}");
        }
    }
}
