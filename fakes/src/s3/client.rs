//! The few questions that a test asks an object store: make a bucket, what is in it, bring it here.
//! A client of its own, which shares nothing with the one that the warehouse is written with.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::error::StackError;
use crate::files;

/// The largest body that is taken either way.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The store takes any signature, but no request without one.
const SIGNATURE: &str = "AWS4-HMAC-SHA256 Credential=fakes/20260101/us-east-1/s3/aws4_request, \
                         SignedHeaders=host, Signature=0";

/// Asks one store.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    port: u16,
}

impl Client {
    /// Asks the store on this port of the loopback address.
    pub fn of(port: u16) -> Self {
        Self { port }
    }

    /// Succeeds where the store answers.
    pub async fn is_up(self) -> Result<(), StackError> {
        self.ask(Method::GET, "/").await.map(drop)
    }

    /// Makes a bucket.
    pub async fn make_bucket(self, bucket: &str) -> Result<(), StackError> {
        self.ask(Method::PUT, &format!("/{bucket}")).await.map(drop)
    }

    /// Returns the names in a bucket, each with a tag that changes with its content.
    pub async fn names(self, bucket: &str) -> Result<BTreeMap<String, String>, StackError> {
        let mut names = BTreeMap::new();
        let mut path = format!("/{bucket}?list-type=2");
        loop {
            let page = self.ask(Method::GET, &path).await?;
            let page = String::from_utf8_lossy(&page);
            for entry in all_between(&page, "<Contents>", "</Contents>") {
                let part = |of: &str| {
                    between(entry, &format!("<{of}>"), &format!("</{of}>")).ok_or_else(|| {
                        StackError::wrong(format!("the store lists no {of}: {entry}"))
                    })
                };
                names.insert(part("Key")?.to_owned(), part("ETag")?.to_owned());
            }
            match between(&page, "<NextContinuationToken>", "</NextContinuationToken>") {
                Some(token) => {
                    path = format!("/{bucket}?list-type=2&continuation-token={token}");
                }
                None => return Ok(names),
            }
        }
    }

    /// Returns what lies under a name.
    pub async fn get(self, bucket: &str, name: &str) -> Result<Bytes, StackError> {
        self.ask(Method::GET, &format!("/{bucket}/{name}")).await
    }

    async fn ask(self, method: Method, path: &str) -> Result<Bytes, StackError> {
        let what = format!("{method} {path} of the object store failed");
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, format!("127.0.0.1:{}", self.port))
            .header(AUTHORIZATION, SIGNATURE)
            .body(Full::new(Bytes::new()))
            .map_err(StackError::foreign(&what))?;
        let answer = pass_on(self.port, request).await?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            status => Err(StackError::wrong(format!(
                "{what}: {status}: {}",
                String::from_utf8_lossy(answer.body())
            ))),
        }
    }
}

/// Passes a request on to a port of this machine, by a connection of its own, and returns the whole
/// answer.
pub(super) async fn pass_on(
    port: u16,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, StackError> {
    let what = "the object store does not answer";
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    let stream = stream.await.map_err(StackError::foreign(what))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(StackError::foreign(what))?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(StackError::foreign(what))?;
        let (head, body) = answer.into_parts();
        let whole = Limited::new(body, BODY_BYTES_MAX).collect().await;
        let whole = whole.map_err(|error| StackError::wrong(format!("{what}: {error}")))?;
        Ok(Response::from_parts(head, whole.to_bytes()))
    };
    tokio::pin!(exchange);
    tokio::select! {
        // The connection moves the bytes of the exchange; it may end a moment before it.
        _ = connection => exchange.await,
        answer = &mut exchange => answer,
    }
}

/// A bucket's content in a folder, for readers that know folders alone.
#[derive(Debug)]
pub struct Mirror {
    client: Client,
    bucket: String,
    folder: PathBuf,
    here: BTreeMap<String, String>,
}

impl Mirror {
    /// Mirrors a bucket into a folder, which is empty so far.
    pub fn of(client: Client, bucket: &str, folder: &Path) -> Self {
        Self { client, bucket: bucket.to_owned(), folder: folder.to_owned(), here: BTreeMap::new() }
    }

    /// Brings the folder to what the bucket holds now.
    pub async fn refresh(&mut self) -> Result<(), StackError> {
        let there = self.client.names(&self.bucket).await?;
        for gone in self.here.keys().filter(|name| !there.contains_key(*name)) {
            let path = self.folder.join(gone);
            std::fs::remove_file(&path).map_err(StackError::path("remove", &path))?;
        }
        self.here.retain(|name, _| there.contains_key(name));
        for (name, tag) in there {
            if self.here.get(&name) == Some(&tag) {
                continue;
            }
            let path = self.folder.join(&name);
            let bytes = self.client.get(&self.bucket, &name).await?;
            files::create_folder(path.parent().unwrap_or(&self.folder))?;
            std::fs::write(&path, &bytes).map_err(StackError::path("write", &path))?;
            self.here.insert(name, tag);
        }
        Ok(())
    }
}

fn between<'a>(text: &'a str, before: &str, behind: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(behind).map(|found| found.0)
}

fn all_between<'a>(
    text: &'a str,
    before: &'a str,
    behind: &'a str,
) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).filter_map(move |part| Some(part.split_once(behind)?.0))
}
