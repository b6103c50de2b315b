//! The journal of a till's middleware over HTTP, as a poller meets it: pages by ticks, an entity tag,
//! and on demand a refusal, a cut and a delay. It speaks HTTP on the bare socket because it breaks
//! HTTP on purpose; it is no server for anything else.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::error::StackError;

/// Where the journal stands, in the versions that tills call.
const PATHS: [&str; 4] =
    ["/json/v0/journal", "/json/v0/Journal", "/json/v1/journal", "/json/v1/Journal"];
/// Items of a page; a reader asks again behind the last one.
const PAGE_ITEMS: usize = 200;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// How long a request may take to arrive.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);
/// How long a slow answer takes.
const SLOW: Duration = Duration::from_secs(2);

/// What goes wrong, with every so many requests; 0 never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JournalFaults {
    /// Answered with 429 and a time to wait.
    pub too_many: u64,
    /// Cut in the middle of the body.
    pub cut: u64,
    /// Answered after two seconds.
    pub slow: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    TooMany,
    Cut,
    Slow,
}

impl JournalFaults {
    fn of(&self, request: u64) -> Fault {
        let due = |every: u64| every > 0 && request.is_multiple_of(every);
        match () {
            () if due(self.too_many) => Fault::TooMany,
            () if due(self.cut) => Fault::Cut,
            () if due(self.slow) => Fault::Slow,
            () => Fault::None,
        }
    }
}

/// Items by time stamp, then by id: an item that is added again stands there once.
type Items = Arc<Mutex<BTreeMap<(i64, String), String>>>;

/// A journal that is served until it is dropped.
#[derive(Debug)]
pub struct Journal {
    items: Items,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Journal {
    /// Opens an empty journal on a port of this machine; 0 takes any free one.
    pub async fn open(port: u16, faults: JournalFaults) -> Result<Self, StackError> {
        let failed = || StackError::foreign("the journal's port cannot be opened");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(failed())?;
        let address = listener.local_addr().map_err(failed())?;
        let items = Items::default();
        let serving = tokio::spawn(serve(listener, items.clone(), faults));
        Ok(Self { items, address, serving })
    }

    /// Returns where it is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds the items of a page.
    pub fn add(&self, page: &[u8]) -> Result<(), StackError> {
        let read = serde_json::from_slice::<Vec<Value>>(page);
        let page = read.map_err(StackError::foreign("a page of the journal is no list"))?;
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        for item in page {
            let (ticks, id) = (item["TimeStamp"].as_i64(), item["ftQueueItemId"].as_str());
            let (Some(ticks), Some(id)) = (ticks, id) else {
                return Err(StackError::wrong("an item of the journal has no time stamp or no id"));
            };
            items.insert((ticks, id.to_owned()), item.to_string());
        }
        Ok(())
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, items: Items, faults: JournalFaults) {
    let requests = Arc::new(AtomicU64::new(0));
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (items, requests) = (items.clone(), requests.clone());
        tokio::spawn(async move {
            let answered = tokio::time::timeout(REQUEST_WITHIN, head(stream)).await;
            let Ok(Ok((stream, head))) = answered else { return };
            let fault = faults.of(requests.fetch_add(1, Ordering::Relaxed) + 1);
            let answer = answer(&head, &items, fault);
            if let Err(error) = send(stream, &answer, fault).await {
                tracing::debug!(%error, "a reader of the journal went away");
            }
        });
    }
}

/// Reads a request's head. A body is not read: nothing depends on it.
async fn head(mut stream: TcpStream) -> io::Result<(TcpStream, String)> {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
        if bytes.len() > HEAD_BYTES_MAX || stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok((stream, String::from_utf8_lossy(&bytes).into_owned()))
}

struct Answer {
    head: String,
    body: String,
}

fn answer(head: &str, items: &Items, fault: Fault) -> Answer {
    let target = head.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if fault == Fault::TooMany {
        return said("429 Too Many Requests", "Retry-After: 1\r\n", String::new());
    }
    if !PATHS.contains(&path) {
        return said("404 Not Found", "", String::new());
    }
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let number = |name: &str| value(name).map_or(Ok(0), str::parse::<i64>);
    let (Some("3"), Ok(from), Ok(to)) = (value("type"), number("from"), number("to")) else {
        return said("400 Bad Request", "", String::new());
    };
    let body = page(items, from, to);
    let digest: String =
        Sha256::digest(body.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{digest}\"");
    let known = head.lines().filter_map(|line| line.split_once(": "));
    let mut known = known.filter(|(name, _)| name.eq_ignore_ascii_case("if-none-match"));
    let headers = format!("ETag: {tag}\r\n");
    if known.any(|(_, value)| value.trim() == tag) {
        return said("304 Not Modified", &headers, String::new());
    }
    said("200 OK", &format!("{headers}Content-Type: application/json\r\n"), body)
}

/// Both ends belong to the page; 0 is no end, and a negative one is a number of items.
fn page(items: &Items, from: i64, to: i64) -> String {
    let items = items.lock().unwrap_or_else(PoisonError::into_inner);
    let last = if to > 0 { to } else { i64::MAX };
    let asked = if to < 0 { usize::try_from(to.unsigned_abs()).unwrap_or(0) } else { PAGE_ITEMS };
    let found = items.iter().filter(|((ticks, _), _)| (from..=last).contains(ticks));
    let mut page: Vec<&str> = Vec::new();
    let mut end = None;
    for ((ticks, _), item) in found {
        // A page never ends between two items of the same tick: asking behind it would miss one.
        if page.len() >= asked.min(PAGE_ITEMS) && end != Some(*ticks) {
            break;
        }
        end = Some(*ticks);
        page.push(item);
    }
    format!("[{}]", page.join(","))
}

fn said(status: &str, headers: &str, body: String) -> Answer {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    Answer { head, body }
}

async fn send(mut stream: TcpStream, answer: &Answer, fault: Fault) -> io::Result<()> {
    if fault == Fault::Slow {
        tokio::time::sleep(SLOW).await;
    }
    stream.write_all(answer.head.as_bytes()).await?;
    let body = answer.body.as_bytes();
    let sent = if fault == Fault::Cut { &body[..body.len() / 2] } else { body };
    stream.write_all(sent).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(ticks: &[i64]) -> Items {
        let items =
            ticks.iter().enumerate().map(|(at, tick)| ((*tick, at.to_string()), tick.to_string()));
        Arc::new(Mutex::new(items.collect()))
    }

    #[test]
    fn a_page_holds_both_its_ends_and_never_parts_a_tick() {
        let items = items(&[10, 20, 20, 30]);
        assert_eq!(page(&items, 0, 0), "[10,20,20,30]");
        assert_eq!(page(&items, 10, 20), "[10,20,20]");
        assert_eq!(page(&items, 11, -1), "[20,20]");
        assert_eq!(page(&items, 31, 0), "[]");
    }

    #[test]
    fn faults_come_with_every_so_many_requests() {
        let faults = JournalFaults { too_many: 3, cut: 4, slow: 0 };
        let seen: Vec<Fault> = (1..=4).map(|request| faults.of(request)).collect();
        assert_eq!(seen, [Fault::None, Fault::None, Fault::TooMany, Fault::Cut]);
    }
}
