//! What tills hand over arrives whole in each way: a stream that grows, a printer's port, a serial
//! line, a journal that refuses, cuts and dawdles, a folder a closing.

use std::collections::BTreeSet;
use std::fs;
use std::future::pending;
use std::path::Path;
use std::time::Duration;

use fakes::journal::{Journal, JournalFaults};
use fakes::shop::Country;
use fakes::store::{Faults, Order, Pace, Way, run};
use fakes::till::Dialect;
use fakes::truth::{self, Entry};
use serde_json::Value;
use shared::time::{Clock, Simulation};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::shop::plan;

fn order(dir: &Path, dialect: Dialect, way: Way) -> Order {
    Order {
        dir: dir.to_owned(),
        plan: plan(Country::Germany, 11),
        minutes: 20,
        dialect,
        way,
        faults: Faults { reprints: true, resends: true, late_till: false },
        pace: Pace::AtOnce,
    }
}

fn clock() -> Clock {
    let real_start = Clock::real().now();
    let sim_start = "2026-11-20T08:00:30Z".parse().unwrap();
    Clock::simulated(Simulation { sim_start, real_start, speed: 1 })
}

/// Returns the numbers of what must count, by till.
fn noted(dir: &Path) -> BTreeSet<(String, String)> {
    let mut noted = BTreeSet::new();
    truth::read(dir, |entry| {
        if let Entry::Receipt(one) = entry {
            noted.insert((one.till.to_string(), one.receipt.to_string()));
        }
    })
    .unwrap();
    assert!(noted.len() > 40, "{}", noted.len());
    noted
}

/// Returns the numbers of the sales among whole telegrams, and how many bytes belong to no whole one.
fn telegrams(bytes: &[u8]) -> (Vec<(String, String)>, usize) {
    let (mut sales, mut rest) = (Vec::new(), bytes);
    while let Some(end) = rest.iter().position(|&byte| byte == 3).filter(|end| end + 1 < rest.len())
    {
        assert_eq!(rest[0], 2);
        let text = std::str::from_utf8(&rest[1..end]).unwrap();
        let fields: Vec<&str> = text.split(';').collect();
        if fields[6] == "sale" {
            sales.push((fields[2].to_owned(), fields[4].to_owned()));
        }
        rest = &rest[end + 2..];
    }
    (sales, rest.len())
}

/// Polls until something is true.
async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let within = Duration::from_secs(20);
    let seen = async || if look().await { Ok(()) } else { Err("not yet".to_owned()) };
    fakes::wait::until(what, within, seen).await.unwrap();
}

#[tokio::test]
async fn a_stream_grows_in_one_file_a_till() {
    let dir = tempfile::tempdir().unwrap();
    run(&order(dir.path(), Dialect::Telegram, Way::Files), &clock(), pending()).await.unwrap();
    let mut found = Vec::new();
    for till in 1..=3 {
        let path = dir.path().join(format!("tills/10/till{till}.bin"));
        let (sales, rest) = telegrams(&fs::read(path).unwrap());
        assert_eq!(rest, 0, "the stream ends with a whole telegram");
        found.extend(sales);
    }
    assert_eq!(fs::read_dir(dir.path().join("tills/10")).unwrap().count(), 3);
    let noted = noted(dir.path());
    assert!(found.len() > noted.len(), "some bytes come a second time");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), noted);
}

#[tokio::test]
async fn a_printers_port_gets_every_slip_and_copies_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let way = Way::Port(listener.local_addr().unwrap().to_string());
    let printer = tokio::spawn(async move {
        let mut all = Vec::new();
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().await.unwrap();
            all.push(tokio::spawn(async move {
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).await.unwrap();
                bytes
            }));
        }
        let mut bytes = Vec::new();
        for one in all {
            bytes.extend(one.await.unwrap());
        }
        bytes
    });
    let order = order(dir.path(), Dialect::Escpos, way);
    let issued = run(&order, &clock(), pending()).await.unwrap();
    let bytes = printer.await.unwrap();
    let count = |wanted: &[u8]| bytes.windows(wanted.len()).filter(|part| part == &wanted).count();
    let codes = count(b"1P0V0;");
    assert!(codes as u64 > issued.receipts, "{codes} slips of {} sales", issued.receipts);
    assert!(issued.reprints > 0 && count(b"DUPLIKAT") as u64 >= issued.reprints);
    for (till, number) in noted(dir.path()) {
        assert!(count(format!("Bon-Nr.:{number}\n").as_bytes()) > 0, "{till}/{number}");
    }
}

#[tokio::test]
async fn nobody_at_a_port_ends_the_play_with_its_address() {
    let dir = tempfile::tempdir().unwrap();
    let order = order(dir.path(), Dialect::Jsonl, Way::Port("127.0.0.1:1".to_owned()));
    let error = run(&order, &clock(), pending()).await.unwrap_err();
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serial_line_carries_every_telegram_to_who_opens_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let twin = tempfile::tempdir().unwrap();
    run(&order(twin.path(), Dialect::Telegram, Way::Files), &clock(), pending()).await.unwrap();
    let wanted = noted(twin.path());
    let path = dir.path().join("line");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let order = order(dir.path(), Dialect::Telegram, Way::Line(path.clone()));
    let playing = tokio::spawn(async move {
        run(&order, &clock(), async { stopped.await.unwrap_or_default() }).await.unwrap()
    });
    until("the serial line is there", async || path.exists()).await;
    let far = path.clone();
    let reader = tokio::task::spawn_blocking(move || {
        let mut far = fs::File::open(far).unwrap();
        let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
        loop {
            let count = std::io::Read::read(&mut far, &mut part).unwrap();
            bytes.extend_from_slice(&part[..count]);
            let found: BTreeSet<_> = telegrams(&bytes).0.into_iter().collect();
            if found == wanted {
                return found.len();
            }
        }
    });
    let found = tokio::time::timeout(Duration::from_secs(60), reader).await.unwrap().unwrap();
    stop.send(()).unwrap();
    let issued = playing.await.unwrap();
    assert_eq!(issued.receipts, found as u64);
    assert!(!path.exists(), "the link goes with the line");
}

/// Asks once, by a request of its own: status, head and body, as much as came.
async fn get(address: std::net::SocketAddr, query: &str, more: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /json/v0/journal?{query} HTTP/1.1\r\nHost: till\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

/// Reads the whole journal page by page, as a poller does that survives faults.
async fn poll(address: std::net::SocketAddr) -> (BTreeSet<String>, u32) {
    let (mut from, mut ids, mut faults) = (0_i64, BTreeSet::new(), 0);
    loop {
        let (status, _, body) = get(address, &format!("type=3&from={from}&to=0"), "").await;
        let page: Option<Vec<Value>> = serde_json::from_str(&body).ok().filter(|_| status == 200);
        let Some(page) = page else {
            faults += 1;
            continue;
        };
        let Some(last) = page.last() else { return (ids, faults) };
        from = last["TimeStamp"].as_i64().unwrap() + 1;
        ids.extend(page.iter().map(|item| item["ftQueueItemId"].to_string()));
    }
}

#[tokio::test]
async fn a_journal_gives_every_item_page_by_page_through_refusals_and_cuts() {
    let dir = tempfile::tempdir().unwrap();
    let plain = order(dir.path(), Dialect::Fiskaltrust, Way::Files);
    let issued = run(&Order { minutes: 90, ..plain }, &clock(), pending()).await.unwrap();
    let faults = JournalFaults { too_many: 2, cut: 3, slow: 0 };
    let journal = Journal::open(0, faults).await.unwrap();
    let mut written = BTreeSet::new();
    for file in fs::read_dir(dir.path().join("tills/10")).unwrap() {
        let page = fs::read(file.unwrap().path()).unwrap();
        journal.add(&page).unwrap();
        let items: Vec<Value> = serde_json::from_slice(&page).unwrap();
        written.extend(items.iter().map(|item| item["ftQueueItemId"].to_string()));
    }
    let (ids, faults) = poll(journal.address()).await;
    assert_eq!(ids, written);
    assert!(ids.len() as u64 >= issued.receipts && ids.len() > 200, "more than one page");
    assert!(faults >= 2, "{faults}");
}

#[tokio::test]
async fn an_unchanged_page_is_not_sent_again_and_a_wrong_question_is_refused() {
    let journal = Journal::open(0, JournalFaults::default()).await.unwrap();
    journal.add(br#"[{"TimeStamp":7,"ftQueueItemId":"a"}]"#).unwrap();
    let (status, head, body) = get(journal.address(), "type=3&from=0&to=0", "").await;
    assert_eq!((status, body.as_str()), (200, r#"[{"TimeStamp":7,"ftQueueItemId":"a"}]"#));
    let tag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
    let known = format!("If-None-Match: {tag}\r\n");
    assert_eq!(get(journal.address(), "type=3&from=0&to=0", &known).await.0, 304);
    journal.add(br#"[{"TimeStamp":8,"ftQueueItemId":"b"}]"#).unwrap();
    assert_eq!(get(journal.address(), "type=3&from=0&to=0", &known).await.0, 200);
    assert_eq!(get(journal.address(), "type=1&from=0&to=0", "").await.0, 400);
    assert_eq!(get(journal.address(), "type=3&from=x", "").await.0, 400);
    let error = journal.add(br#"[{"TimeStamp":8}]"#).unwrap_err();
    assert!(error.to_string().contains("no id"), "{error}");
}

#[tokio::test]
async fn a_played_journal_is_served_until_it_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let way = Way::Journal(free.port(), JournalFaults::default());
    let order = order(dir.path(), Dialect::Fiskaltrust, way);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let playing = tokio::spawn(async move {
        run(&order, &clock(), async { stopped.await.unwrap_or_default() }).await.unwrap()
    });
    until("the journal is served", async || TcpStream::connect(free).await.is_ok()).await;
    until("the journal holds the play", async || poll(free).await.0.len() > 40).await;
    assert!(!playing.is_finished());
    stop.send(()).unwrap();
    assert!(playing.await.unwrap().receipts > 40);
}

#[tokio::test]
async fn a_day_is_exported_once_it_ends_and_once_more_under_another_name() {
    let dir = tempfile::tempdir().unwrap();
    let order = order(dir.path(), Dialect::Dsfinvk, Way::Files);
    let issued = run(&order, &clock(), pending()).await.unwrap();
    let folder = dir.path().join("tills/10");
    let names: BTreeSet<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|one| one.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected = ["20261120T080000-closing", "resent-20261120T080000-closing"];
    assert_eq!(names, expected.map(str::to_owned).into());
    assert_eq!((issued.resent_files, issued.reprints), (1, 0));
    let table = fs::read_to_string(folder.join(expected[0]).join("transactions.csv")).unwrap();
    assert_eq!(table.matches(";Beleg;").count() as u64, issued.receipts);
    assert!(folder.join(expected[0]).join("index.xml").exists());
}
