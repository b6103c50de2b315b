//! A service over HTTP for tests. What it answers is decided by the test, to the byte; every
//! connection carries one question.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use fakes::authority::Credentials;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A question.
pub(crate) struct Asked {
    /// Path and query.
    pub(crate) target: String,
    /// The head as it came.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: String,
}

impl Asked {
    /// Returns a header's value; its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let of = |line: &'_ str| line.split_once(": ").map(|(name, _)| name.to_lowercase());
        let line = self.head.lines().find(|line| of(line).as_deref() == Some(name))?;
        line.split_once(": ").map(|(_, value)| value)
    }

    /// Returns a parameter of the query.
    pub(crate) fn parameter(&self, name: &str) -> String {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let found = pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
        found.unwrap_or_else(|| panic!("{} has no {name}", self.target))
    }
}

/// What comes back.
pub(crate) enum Reply {
    /// These bytes, then the connection's end.
    Bytes(Vec<u8>),
    /// Nothing, until whoever asked is gone.
    Silence,
}

/// Serves on a free port and returns its number; it ends with the test's process.
pub(crate) fn serve(answer: impl FnMut(&Asked) -> Reply + Send + 'static) -> u16 {
    start(answer, |stream, answer| speak(stream, answer))
}

/// Serves the same over TLS.
pub(crate) fn serve_safely(
    own: &Credentials,
    answer: impl FnMut(&Asked) -> Reply + Send + 'static,
) -> u16 {
    let chain = CertificateDer::pem_file_iter(&own.certificate).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(&own.key).unwrap())
        .unwrap();
    let config = Arc::new(config);
    start(answer, move |stream, answer| {
        let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        speak(StreamOwned::new(connection, stream), answer);
    })
}

/// Makes an answer with a body.
pub(crate) fn page(headers: &str, body: &str) -> Reply {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {length}\r\n");
    Reply::Bytes(format!("{head}Connection: close\r\n\r\n{body}").into_bytes())
}

/// Makes an answer of headers alone.
pub(crate) fn bare(status: &str, headers: &str) -> Reply {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\n");
    Reply::Bytes(format!("{head}Connection: close\r\n\r\n").into_bytes())
}

fn start<A>(answer: A, speak: impl Fn(TcpStream, &Mutex<A>) + Send + Sync + 'static) -> u16
where
    A: FnMut(&Asked) -> Reply + Send + 'static,
{
    // Also by the other addresses of this machine, which no certificate holds.
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (answer, speak) = (Arc::new(Mutex::new(answer)), Arc::new(speak));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (answer, speak, stream) =
                (Arc::clone(&answer), Arc::clone(&speak), stream.unwrap());
            std::thread::spawn(move || speak(stream, &answer));
        }
    });
    port
}

fn speak<A: FnMut(&Asked) -> Reply>(mut stream: impl Read + Write, answer: &Mutex<A>) {
    // Whoever breaks off, or speaks no TLS, has asked nothing.
    let Some(asked) = read(&mut stream) else { return };
    let reply = answer.lock().unwrap()(&asked);
    match reply {
        // A client that has gone is the test's own doing.
        Reply::Bytes(bytes) => drop(stream.write_all(&bytes).and_then(|()| stream.flush())),
        Reply::Silence => drop(stream.read(&mut [0])),
    }
}

fn read(stream: &mut impl Read) -> Option<Asked> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    let mut asked = Asked { target, head, body: String::new() };
    let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    asked.body = String::from_utf8(body).unwrap();
    Some(asked)
}
