//! What becomes of calls that fail: strangers are not heard, a till that is not the one meant is a
//! source that is down, and a line that is dead is begun anew.

use std::sync::Arc;
use std::time::Duration;

use edge_agent::config::{Answer, ClientTls, Hold, LineConfig, TcpConfig, TcpMode};
use edge_agent::source::tcp::{Tcp, probe};
use edge_agent::source::{Ending, Event, Source, SourceError};
use fakes::authority::{Authority, Credentials};
use fakes::link::Link;
use fakes::wait;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use shared::log::Chain;
use shared::time::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::world::{SOON, World, lines, receipt};

#[tokio::test]
async fn a_till_that_we_call_is_known_by_its_authority_and_its_name() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let own = Authority::open(ours.path(), "ours").unwrap();
    let foreign = Authority::open(theirs.path(), "theirs").unwrap();
    let (port, _till) = safe_till(&own.server("till").unwrap()).await;
    let (plain, _plain) = plain_till().await;
    let to = |port, authority: &Authority, name: &str| {
        let tls = ClientTls { ca: authority.certificate(), server_name: name.to_owned() };
        config(TcpMode::Client(Some(tls)), port)
    };
    let right = to(port, &own, "localhost");
    assert!(probe(&right).await.unwrap().ends_with("is who it is meant to be"));
    let mut source = Tcp::new(right, Vec::new(), Clock::real());
    assert_eq!(until_bytes(&mut source).await, b"receipt");
    for (wrong, needle) in [
        (to(port, &foreign, "localhost"), "UnknownIssuer"),
        (to(port, &own, "till-3"), "till-3"),
        (to(plain, &own, "localhost"), "corrupt message"),
    ] {
        let told = told(&probe(&wrong).await.unwrap_err());
        assert!(told.contains(needle) && told.contains("do ca and server_name fit"), "{told}");
        let mut source = Tcp::new(wrong, Vec::new(), Clock::real());
        assert!(fault(&mut source).await.contains(needle));
    }
}

#[tokio::test]
async fn a_caller_that_does_not_know_us_is_no_till_and_the_next_one_is_heard() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let own = Authority::open(ours.path(), "ours").unwrap();
    let foreign = Authority::open(theirs.path(), "theirs").unwrap();
    let Credentials { certificate, key, .. } = own.server("agent").unwrap();
    let world = World::new();
    let port = free_port();
    world.configure_source(&format!(
        "[[sources]]\nname = \"socket\"\nkind = \"tcp\"\nmode = \"server\"\nformat = \"jsonl\"\n\
         address = \"127.0.0.1:{port}\"\ncertificate = {certificate:?}\nkey = {key:?}\n"
    ));
    let _agent = world.agent().await;
    let mut plain = call(port).await;
    plain.write_all(lines(&[receipt("3", 1, "09:41:07", 1000)]).as_bytes()).await.unwrap();
    let wrong_name = ServerName::try_from("till-3").unwrap();
    for (authority, name) in [(&foreign, fakes::tls::server_name()), (&own, wrong_name)] {
        let refused = connector(authority).connect(name, call(port).await).await;
        assert!(refused.is_err());
    }
    let name = fakes::tls::server_name();
    let mut till = connector(&own).connect(name, call(port).await).await.unwrap();
    till.write_all(lines(&[receipt("3", 2, "09:41:07", 20)]).as_bytes()).await.unwrap();
    till.flush().await.unwrap();
    world.until_cut(1, 20).await;
    let log = std::fs::read_to_string(world.path("log")).unwrap();
    assert_eq!(log.matches("a caller speaks no TLS that fits").count(), 3, "{log}");
}

#[tokio::test]
async fn a_till_that_keeps_silent_instead_of_tls_is_not_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let own = Authority::open(folder.path(), "ours").unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tls = ClientTls { ca: own.certificate(), server_name: "localhost".to_owned() };
    let port = silent.local_addr().unwrap().port();
    let mut source = Tcp::new(config(TcpMode::Client(Some(tls)), port), Vec::new(), Clock::real());
    assert!(fault(&mut source).await.contains("it took too long"));
}

#[tokio::test]
async fn connections_beyond_the_bound_are_refused_and_told() {
    let printer = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = printer.local_addr().unwrap();
    for (mode, most) in [
        ("mode = \"server\"".to_owned(), 32),
        (format!("mode = \"proxy\"\nprinter = \"{address}\""), 64),
    ] {
        let (world, port) = world_with(&mode);
        let agent = world.agent().await;
        let mut tills = Vec::new();
        for _ in 0..most {
            tills.push(call(port).await);
        }
        if most == 64 {
            for _ in 0..most {
                timeout(SOON, printer.accept()).await.unwrap().unwrap();
            }
        }
        let mut further = call(port).await;
        let end = timeout(SOON, further.read(&mut [0])).await.unwrap();
        assert!(end.is_err() || end.is_ok_and(|read| read == 0), "the further one is closed");
        let log = std::fs::read_to_string(world.path("log")).unwrap();
        assert_eq!(log.matches("a further connection is refused").count(), 1, "{log}");
        assert!(agent.stop().await.success());
    }
}

#[tokio::test]
async fn a_mirror_hears_three_connections_of_one_peer_at_once() {
    let (world, port) = world_with("mode = \"mirror\"");
    let agent = world.agent().await;
    let receipts = [1, 2, 3].map(|number| lines(&[receipt("3", number, "09:41:07", 100)]));
    let mut tills = Vec::new();
    for _ in &receipts {
        tills.push(call(port).await);
    }
    for half in [0, 1] {
        for (till, text) in tills.iter_mut().zip(&receipts) {
            let (first, second) = text.as_bytes().split_at(text.len() / 2);
            till.write_all(if half == 0 { first } else { second }).await.unwrap();
            till.flush().await.unwrap();
        }
    }
    world.until_cut(3, 300).await;
    // Not a byte has come back, also at the end.
    assert!(agent.stop().await.success());
    for till in &mut tills {
        let mut heard = Vec::new();
        drop(timeout(SOON, till.read_to_end(&mut heard)).await.unwrap());
        assert_eq!(heard, b"");
    }
    assert_eq!(world.until_set_aside(0).await, [""; 0]);
}

#[tokio::test]
async fn a_till_whose_cable_is_pulled_is_given_up_and_called_until_it_is_back() {
    let till = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cable = Link::start(till.local_addr().unwrap()).await.unwrap();
    let patience = Duration::from_millis(400);
    let config =
        TcpConfig { read_timeout: patience, ..config(TcpMode::Client(None), cable.port()) };
    let mut source = Tcp::new(config, Vec::new(), Clock::real());
    let (accepted, _) = tokio::join!(till.accept(), begun(&mut source));
    let (mut line, _) = accepted.unwrap();
    line.write_all(b"half a rec").await.unwrap();
    assert_eq!(until_bytes(&mut source).await, b"half a rec");
    cable.cut();
    line.write_all(b"eipt").await.unwrap();
    // Nothing tells of it but the silence: what was begun ends, and the till is called again.
    assert_eq!(ended(&mut source).await, Ending::Finished);
    begun(&mut source).await;
    assert_eq!(ended(&mut source).await, Ending::Finished);
    cable.heal().await;
    let speaks = async {
        loop {
            let (mut line, _) = till.accept().await.unwrap();
            // One that was called through the pulled cable is reset when it is back.
            drop(line.write_all(b"receipt").await);
            tokio::spawn(async move { drop(line.read(&mut [0]).await) });
        }
    };
    tokio::select! {
        () = speaks => {}
        heard = until_bytes(&mut source) => assert_eq!(heard, b"receipt"),
    }
}

/// A till that says `receipt` to whoever knows it, again and again.
async fn safe_till(own: &Credentials) -> (u16, JoinHandle<()>) {
    let chain = CertificateDer::pem_file_iter(&own.certificate).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(&own.key).unwrap())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serves = async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Whoever does not know us ends it.
            let Ok(mut line) = acceptor.accept(stream).await else { continue };
            drop(line.write_all(b"receipt").await);
            drop(line.flush().await);
            tokio::spawn(async move { drop(line.read(&mut [0]).await) });
        }
    };
    (port, tokio::spawn(serves))
}

/// A till that says `receipt` to everybody.
async fn plain_till() -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serves = async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            drop(stream.write_all(b"receipt, as it is").await);
            tokio::spawn(async move { drop(stream.read_to_end(&mut Vec::new()).await) });
        }
    };
    (port, tokio::spawn(serves))
}

fn connector(authority: &Authority) -> TlsConnector {
    TlsConnector::from(Arc::new(fakes::tls::trusting(&authority.certificate()).unwrap()))
}

fn config(mode: TcpMode, port: u16) -> TcpConfig {
    let quiet = Duration::from_millis(100);
    let line = LineConfig { answer: Answer::None, hold: Hold::Silent, quiet };
    let address = format!("127.0.0.1:{port}");
    TcpConfig { mode, address, line, read_timeout: Duration::from_secs(3600) }
}

fn world_with(more: &str) -> (World, u16) {
    let (world, port) = (World::new(), free_port());
    world.configure_source(&format!(
        "[[sources]]\nname = \"socket\"\nkind = \"tcp\"\naddress = \"127.0.0.1:{port}\"\n\
         format = \"jsonl\"\n{more}\n"
    ));
    (world, port)
}

fn told(error: &SourceError) -> String {
    Chain(error).to_string()
}

async fn next(source: &mut Tcp) -> Result<Event, SourceError> {
    timeout(SOON, source.next()).await.expect("something happens")
}

/// Waits for a fault; until then nothing may be said to be read to its end.
async fn fault(source: &mut Tcp) -> String {
    loop {
        match next(source).await {
            Err(error) => return told(&error),
            Ok(Event::Idle(_) | Event::Bytes(_)) => panic!("a stranger is believed"),
            Ok(Event::Begin { .. } | Event::Resume { .. } | Event::Quiet | Event::End(_)) => {}
        }
    }
}

async fn begun(source: &mut Tcp) {
    while !matches!(next(source).await.unwrap(), Event::Begin { .. }) {}
}

async fn ended(source: &mut Tcp) -> Ending {
    loop {
        if let Event::End(ending) = next(source).await.unwrap() {
            return ending;
        }
    }
}

async fn until_bytes(source: &mut Tcp) -> Vec<u8> {
    loop {
        if let Ok(Event::Bytes(bytes)) = next(source).await {
            return bytes;
        }
    }
}

/// Returns a free port below those that the kernel hands to outgoing calls: nobody else takes it.
pub(crate) fn free_port() -> u16 {
    loop {
        let port = rand::random_range(12_000..32_000);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Calls a port once somebody listens there.
async fn call(port: u16) -> TcpStream {
    let look =
        async || TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| error.to_string());
    wait::until("somebody listens", SOON, look).await.unwrap()
}
