//! What sockets promise: what was acknowledged is on disk and counts once; taps never write; a proxy
//! never holds its printer up.

use std::time::Duration;

use edge_agent::config::{Answer, Hold, LineConfig, ServerTls, TcpConfig, TcpMode};
use edge_agent::source::tcp::Tcp;
use edge_agent::source::{Completeness, Ending, Event, Fate, Form, Place, Source, SourceError};
use fakes::authority::Authority;
use shared::time::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::reading::data;
use crate::till::{
    ACK, DLE, NAK, ask, hear, hear_nothing, joined_receipt, send_3964r, whole_receipt,
};
use crate::world::{SOON, World, lines, receipt};

#[tokio::test]
async fn what_is_acknowledged_survives_a_power_cut_and_counts_once() {
    let (world, port) = world("whole", "mode = \"server\"\nanswer = \"ack-nak\"");
    let agent = world.agent().await;
    let mut till = call(port).await;
    assert_eq!(ask(&mut till, &whole_receipt(1, 199)).await, ACK);
    agent.kill();
    let agent = world.agent().await;
    let mut till = call(port).await;
    // Its acknowledgement was lost.
    assert_eq!(ask(&mut till, &whole_receipt(1, 199)).await, ACK);
    let mut damaged = whole_receipt(2, 250);
    damaged[20] ^= 1;
    assert_eq!(ask(&mut till, &damaged).await, NAK);
    assert_eq!(ask(&mut till, &whole_receipt(2, 250)).await, ACK);
    // It is whole, so sending it again would not help.
    let unreadable = crate::telegram::wrap("stx-etx", "xor", b"K;3;9\rS;1,00");
    assert_eq!(ask(&mut till, &unreadable).await, ACK);
    world.until_cut(2, 449).await;
    let reasons = world.until_set_aside(2).await;
    assert!(reasons.iter().any(|reason| reason.contains("check character")), "{reasons:?}");
    assert!(agent.stop().await.success());
}

#[tokio::test]
async fn a_receipt_whose_telegrams_are_parted_by_power_cuts_counts_once() {
    let (world, port) = world("joined", "mode = \"server\"\nanswer = \"3964r\"");
    for (at, telegram) in joined_receipt(41).into_iter().enumerate() {
        let agent = world.agent().await;
        let mut till = call(port).await;
        assert_eq!(send_3964r(&mut till, &telegram).await, DLE, "telegram {at}");
        // Its acknowledgement is lost: it comes again.
        assert_eq!(send_3964r(&mut till, &telegram).await, DLE, "telegram {at} again");
        agent.kill();
    }
    let _agent = world.agent().await;
    let mut till = call(port).await;
    let total = joined_receipt(41).pop().unwrap();
    assert_eq!(send_3964r(&mut till, &total).await, DLE, "the total, after a restart");
    world.until_cut(1, 698).await;
    // What is answered is on disk: had the total been taken for a receipt, it were set aside by now.
    assert_eq!(world.until_set_aside(0).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_till_that_we_call_is_called_again_and_half_a_telegram_is_none() {
    let till = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = till.local_addr().unwrap().port();
    let (world, _) = world_at("whole", "mode = \"client\"\nanswer = \"ack-nak\"", port);
    let _agent = world.agent().await;
    let telegram = whole_receipt(1, 199);
    for cut in [1, 20, telegram.len() - 1] {
        let (mut line, _) = timeout(SOON, till.accept()).await.unwrap().unwrap();
        line.write_all(&telegram[..cut]).await.unwrap();
    }
    let (mut line, _) = timeout(SOON, till.accept()).await.unwrap().unwrap();
    assert_eq!(ask(&mut line, &telegram).await, ACK);
    world.until_cut(1, 199).await;
    let reasons = world.until_set_aside(2).await;
    assert!(reasons.iter().all(|reason| reason.contains("without its end")), "{reasons:?}");
}

#[tokio::test]
async fn a_mirror_joins_connections_of_one_peer_and_never_writes() {
    let (world, port) = world_of("jsonl", "mode = \"mirror\"", None);
    let _agent = world.agent().await;
    let text = lines(&[receipt("3", 1, "09:41:07", 100), receipt("3", 2, "09:41:17", 20)]);
    for part in text.as_bytes().chunks(text.len() / 3 + 1) {
        let mut till = call(port).await;
        till.write_all(part).await.unwrap();
        hear_nothing(&mut till).await;
    }
    world.until_cut(2, 120).await;
}

#[tokio::test]
async fn several_tills_are_heard_at_once_and_a_passive_server_never_writes() {
    let (world, port) = world("whole", "mode = \"server\"");
    let _agent = world.agent().await;
    let mut tills = Vec::new();
    for _ in 0..3 {
        tills.push(call(port).await);
    }
    let telegrams: Vec<Vec<u8>> = (1..=3).map(|number| whole_receipt(number, 100)).collect();
    for half in [0, 1] {
        for (till, telegram) in tills.iter_mut().zip(&telegrams) {
            let middle = telegram.len() / 2;
            let part = if half == 0 { &telegram[..middle] } else { &telegram[middle..] };
            till.write_all(part).await.unwrap();
        }
    }
    world.until_cut(3, 300).await;
    for till in &mut tills {
        hear_nothing(till).await;
    }
    assert_eq!(world.until_set_aside(0).await, [""; 0]);
}

#[tokio::test]
async fn more_connections_than_there_may_be_are_refused_and_the_others_are_heard() {
    let port = free_port();
    let mut source = Tcp::new(config(server(), port, Answer::None), Vec::new(), Clock::real());
    let calls = async {
        let mut tills = Vec::new();
        for _ in 0..32 {
            tills.push(call(port).await);
        }
        let mut further = call(port).await;
        let end = timeout(SOON, further.read(&mut [0])).await.unwrap();
        assert_eq!(end.unwrap(), 0, "the further one is closed");
        tills[31].write_all(b"heard").await.unwrap();
        tills
    };
    let (_tills, heard) = tokio::join!(calls, until_bytes(&mut source));
    assert_eq!(heard, b"heard");
}

#[tokio::test]
async fn nothing_is_answered_before_it_is_committed_nor_when_more_has_come() {
    let port = free_port();
    let config = config(server(), port, Answer::AckNak);
    let mut source = Tcp::new(config, Vec::new(), Clock::real());
    let (mut till, _) = tokio::join!(call(port), begun(&mut source));
    till.write_all(b"one").await.unwrap();
    assert_eq!(until_bytes(&mut source).await, b"one");
    hear_nothing(&mut till).await;
    assert!(
        source
            .mark(Place { offset: 3, memory: 0 }, Completeness::Partial)
            .unwrap()
            .contains("\"offset\":3")
    );
    source.held_back();
    assert_eq!(hear(&mut till).await, NAK);
    // That was its answer; the till sends it again.
    commit(&mut source, Form::Sound);
    hear_nothing(&mut till).await;
    till.write_all(b"one").await.unwrap();
    assert_eq!(until_bytes(&mut source).await, b"one");
    till.write_all(b"more").await.unwrap();
    hear_nothing(&mut till).await;
    commit(&mut source, Form::Sound);
    // An answer now would be taken for that of what came later.
    hear_nothing(&mut till).await;
    assert_eq!(until_bytes(&mut source).await, b"more");
    commit(&mut source, Form::Sound);
    assert_eq!(hear(&mut till).await, ACK);
}

#[tokio::test]
async fn a_till_is_heard_through_tls_and_one_without_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open(folder.path(), "test authority").unwrap();
    let own = authority.server("localhost").unwrap();
    let (port, tls) = (free_port(), ServerTls { certificate: own.certificate, key: own.key });
    let config = config(TcpMode::Server(Some(tls)), port, Answer::None);
    let mut source = Tcp::new(config, Vec::new(), Clock::real());
    let trusting = fakes::tls::trusting(&authority.certificate()).unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(trusting));
    let speaks = async {
        let mut plain = call(port).await;
        plain.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let line = call(port).await;
        let mut till = connector.connect(fakes::tls::server_name(), line).await.unwrap();
        till.write_all(b"safe").await.unwrap();
        till.flush().await.unwrap();
        till
    };
    let (_till, heard) = tokio::join!(speaks, until_bytes(&mut source));
    assert_eq!(heard, b"safe");
}

#[tokio::test]
async fn a_proxy_passes_all_bytes_both_ways_while_nobody_takes_the_copy_and_tells_of_the_loss() {
    let (mut source, port, printer) = proxy().await;
    // Twice what may wait for us; nothing is taken out until the printer has it all.
    let receipts: Vec<u8> = (0..2_u32 << 20).map(|at| at.to_le_bytes()[at as usize % 3]).collect();
    let sent = receipts.clone();
    let printing = tokio::spawn(async move {
        let (mut till, _) = printer.accept().await.unwrap();
        let mut got = Vec::new();
        till.write_all(b"status").await.unwrap();
        till.read_to_end(&mut got).await.unwrap();
        // Half-closed: the printer may still speak.
        till.write_all(b" done").await.unwrap();
        drop(till);
        (printer, got)
    });
    let mut till = call(port).await;
    till.write_all(&sent).await.unwrap();
    till.shutdown().await.unwrap();
    let mut status = Vec::new();
    timeout(SOON, till.read_to_end(&mut status)).await.unwrap().unwrap();
    let (printer, got) = timeout(SOON, printing).await.unwrap().unwrap();
    assert_eq!((status.as_slice(), got == receipts), (b"status done".as_slice(), true));
    let (mut copy, mut damaged) = (Vec::new(), 0);
    let lost = loop {
        match timeout(SOON, source.next()).await.unwrap() {
            Ok(Event::Bytes(bytes)) => copy.extend(bytes),
            Ok(Event::End(Ending::Damaged(why))) => {
                damaged += usize::from(why.contains("given up"));
            }
            Ok(Event::End(ending)) => panic!("{ending:?}"),
            Ok(Event::Begin { .. } | Event::Resume { .. } | Event::Quiet) => {}
            Ok(Event::Idle(_)) => panic!("it is said to be read to its end"),
            Err(SourceError::CopyLost { bytes }) => break bytes,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(receipts.starts_with(&copy) && damaged == 1);
    assert_eq!(copy.len() as u64 + lost, receipts.len() as u64);
    // The next receipt is copied again.
    let mut till = call(port).await;
    till.write_all(b"next receipt").await.unwrap();
    let (mut line, _) = timeout(SOON, printer.accept()).await.unwrap().unwrap();
    let mut got = [0; 12];
    timeout(SOON, line.read_exact(&mut got)).await.unwrap().unwrap();
    assert_eq!(&got, b"next receipt");
    assert_eq!(until_bytes(&mut source).await, b"next receipt");
}

#[tokio::test]
async fn a_slow_printer_slows_the_till_and_loses_nothing() {
    let (mut source, port, printer) = proxy().await;
    let mut till = call(port).await;
    let (mut line, _) = timeout(SOON, printer.accept()).await.unwrap().unwrap();
    // Nobody reads at the printer: the till comes to a stop within what kernels hold.
    let mut pushed = 0;
    let full = async {
        loop {
            pushed += till.write(&[7; 4096]).await.unwrap();
        }
    };
    let stopped = timeout(Duration::from_millis(500), full).await;
    assert!(stopped.is_err());
    let mut got = 0;
    let mut buffer = vec![0; 64 << 10];
    while got < pushed {
        got += timeout(SOON, line.read(&mut buffer)).await.unwrap().unwrap();
    }
    assert_eq!(got, pushed);
    drop(till);
    assert_eq!(timeout(SOON, line.read(&mut buffer)).await.unwrap().unwrap(), 0);
    assert!(!until_bytes(&mut source).await.is_empty());
}

#[tokio::test]
async fn a_printer_that_is_away_is_told_to_the_till_and_found_when_it_is_back() {
    let (_source, port, printer) = proxy().await;
    let address = printer.local_addr().unwrap();
    drop(printer);
    let mut till = call(port).await;
    let heard = timeout(SOON, till.read(&mut [0])).await.unwrap();
    let kind = heard.expect_err("a reset").kind();
    assert_eq!(kind, std::io::ErrorKind::ConnectionReset);
    let printer = TcpListener::bind(address).await.unwrap();
    let mut till = call(port).await;
    till.write_all(b"x").await.unwrap();
    let (mut line, _) = timeout(SOON, printer.accept()).await.unwrap().unwrap();
    assert_eq!(hear(&mut line).await, b'x');
}

#[tokio::test]
async fn a_silence_is_told_once_also_between_connections() {
    let port = free_port();
    let mut source =
        Tcp::new(config(TcpMode::Mirror, port, Answer::None), Vec::new(), Clock::real());
    let (mut till, _) = tokio::join!(call(port), begun(&mut source));
    till.write_all(b"half").await.unwrap();
    drop(till);
    let mut seen = Vec::new();
    while seen.last() != Some(&"quiet") {
        seen.push(match timeout(SOON, source.next()).await.unwrap().unwrap() {
            Event::Bytes(bytes) => {
                assert_eq!(bytes, b"half");
                "bytes"
            }
            Event::Quiet => "quiet",
            Event::Begin { .. } | Event::End(_) => panic!("its feed goes on"),
            Event::Resume { .. } | Event::Idle(_) => continue,
        });
    }
    assert_eq!(seen, ["bytes", "quiet"]);
}

/// Makes a source that stands between a till and a printer.
async fn proxy() -> (Tcp, u16, TcpListener) {
    let printer = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mode = TcpMode::Proxy { printer: printer.local_addr().unwrap().to_string() };
    let port = free_port();
    (Tcp::new(config(mode, port, Answer::None), Vec::new(), Clock::real()), port, printer)
}

fn server() -> TcpMode {
    TcpMode::Server(None)
}

fn config(mode: TcpMode, port: u16, answer: Answer) -> TcpConfig {
    let hold = if answer == Answer::None { Hold::Silent } else { Hold::Nak };
    let line = LineConfig { answer, hold, quiet: Duration::from_millis(2000) };
    let read_timeout = Duration::from_secs(3600);
    TcpConfig { mode, address: format!("127.0.0.1:{port}"), line, read_timeout }
}

/// Does what the intake does once the disk has all.
fn commit(source: &mut Tcp, form: Form) {
    source.committed(Fate::Taken);
    source.answer(form);
}

async fn begun(source: &mut Tcp) {
    while !matches!(timeout(SOON, source.next()).await.unwrap().unwrap(), Event::Begin { .. }) {}
}

async fn until_bytes(source: &mut Tcp) -> Vec<u8> {
    loop {
        if let Event::Bytes(bytes) = timeout(SOON, source.next()).await.unwrap().unwrap() {
            return bytes;
        }
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Calls a port once somebody listens there.
pub(crate) async fn call(port: u16) -> TcpStream {
    let look =
        async || TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| error.to_string());
    fakes::wait::until("somebody listens", SOON, look).await.unwrap()
}

pub(crate) fn world(layout: &str, more: &str) -> (World, u16) {
    world_at(layout, more, free_port())
}

fn world_at(layout: &str, more: &str, port: u16) -> (World, u16) {
    let settings = data(&format!("telegram/{layout}/layout.toml")).display().to_string();
    let more = format!("settings = {settings:?}\n{more}");
    world_of("telegram", &more, Some(port))
}

/// Makes a box with a socket beside its folder.
fn world_of(format: &str, more: &str, port: Option<u16>) -> (World, u16) {
    let (world, port) = (World::new(), port.unwrap_or_else(free_port));
    world.configure_source(&format!(
        "[[sources]]\nname = \"socket\"\nkind = \"tcp\"\naddress = \"127.0.0.1:{port}\"\n\
         format = {format:?}\n{more}\n"
    ));
    (world, port)
}
