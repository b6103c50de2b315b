//! What a service over HTTP promises: every receipt once, whatever the service does.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use edge_agent::config::{Config, HttpConfig, Reach};
use edge_agent::source::http::{Http, probe};
use edge_agent::source::{Completeness, Ending, Event, Fate, Place, Source};
use fakes::authority::Authority;
use fakes::wait;
use shared::log::Chain;
use shared::time::{Clock, Timestamp};
use tokio::time::timeout;

use crate::service::{Asked, Reply, bare, page, serve, serve_safely};
use crate::shop::{self, Books, Order, look};
use crate::world::{SOON, World};

const DE: u64 = 0x4445_0000_0000_0000;

/// A journal that gives two rows an answer, from the ticks asked for on.
#[derive(Default)]
struct Journal {
    rows: u64,
    asked: u64,
    /// How answers to come misbehave, every second one.
    faults: Vec<Fault>,
    not_modified: u64,
}

#[derive(Clone, Copy)]
enum Fault {
    Cut,
    CutChunks,
    Busy,
    NoJson,
    TooLarge,
    NoEnd,
}

fn journal() -> (u16, Arc<Mutex<Journal>>) {
    let journal = Arc::new(Mutex::new(Journal::default()));
    let kept = Arc::clone(&journal);
    (serve(move |asked| kept.lock().unwrap().answer(asked)), journal)
}

impl Journal {
    fn answer(&mut self, asked: &Asked) -> Reply {
        let from: u64 = asked.parameter("from").parse().unwrap();
        self.asked += 1;
        let rows = (from.max(1)..=self.rows).take(2);
        let rows = rows.map(row).collect::<Vec<_>>().join(",");
        let body = format!(r#"{{"ftQueueItems":[{rows}]}}"#);
        let (etag, length) = (format!("\"{from}-{}\"", body.len()), body.len());
        let half = &body[..length / 2];
        let bytes = |text: String| Reply::Bytes(text.into_bytes());
        let is_right = self.faults.is_empty() || self.asked.is_multiple_of(2);
        let fault = if is_right { None } else { Some(self.faults.remove(0)) };
        match fault {
            Some(Fault::Cut) => {
                bytes(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{half}"))
            }
            Some(Fault::CutChunks) => bytes(chunked(half)),
            Some(Fault::Busy) => bare("429 Busy", "Retry-After: 1\r\n"),
            Some(Fault::NoJson) => page("", "<ht>"),
            Some(Fault::TooLarge) => page("", &" ".repeat(20_000)),
            Some(Fault::NoEnd) => bytes(chunked(&" ".repeat(200_000))),
            None if asked.header("if-none-match") == Some(&etag) => {
                self.not_modified += 1;
                Reply::Bytes(b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec())
            }
            None => page(&format!("ETag: {etag}\r\n"), &body),
        }
    }
}

/// An answer of which nobody knows how long it will be, and that does not end.
fn chunked(text: &str) -> String {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    format!("{head}{:x}\r\n{text}\r\n", text.len())
}

/// Returns a row: a receipt of as many cents as its number says.
fn row(number: u64) -> String {
    let amount = format!("{}.{:02}", number / 100, number % 100);
    let request = serde_json::json!({
        "ftCashBoxID": "box", "cbTerminalID": "3", "cbReceiptReference": "same",
        "cbReceiptMoment": format!("2026-11-23T09:{:02}:07Z", number % 60),
    });
    let mut request = request.to_string();
    request.pop();
    let item = format!(
        r#"{{"Quantity":1,"Description":"Brot","Amount":{amount},"VATRate":7,"ftChargeItemCase":{}}}"#,
        DE | 2
    );
    let pay = format!(r#"{{"Description":"Bar","Amount":{amount},"ftPayItemCase":{}}}"#, DE | 1);
    request.push_str(&format!(
        r#","cbChargeItems":[{item}],"cbPayItems":[{pay}],"ftReceiptCase":{}}}"#,
        DE | 1
    ));
    serde_json::json!({"ftQueueId":"q","ftQueueRow":number,"TimeStamp":number,"request":request,"response":"{}"}).to_string()
}

fn world(port: u16) -> World {
    let world = World::new();
    world.configure_source(&format!(
        "[[sources]]\nname = \"journal\"\nkind = \"http\"\nformat = \"fiskaltrust\"\n\
         url = \"http://127.0.0.1:{port}/journal?from={{from}}\"\ncursor = \"ticks-row\"\n\
         poll_seconds = 1\npage_bytes_max = 10000\n"
    ));
    world
}

fn cents(rows: u64) -> i64 {
    i64::try_from(rows * (rows + 1) / 2).unwrap()
}

#[tokio::test]
async fn pages_are_read_to_the_last_one_and_what_comes_later_too() {
    let (port, journal) = journal();
    journal.lock().unwrap().rows = 7;
    let world = world(port);
    let _agent = world.agent().await;
    world.until_cut(7, cents(7)).await;
    journal.lock().unwrap().rows = 9;
    world.until_cut(9, cents(9)).await;
    let asked = journal.lock().unwrap().asked;
    world.until("it is asked again", |_| journal.lock().unwrap().asked > asked + 2).await;
    assert!(journal.lock().unwrap().not_modified > 0, "an unchanged page is not sent again");
    assert_eq!(world.until_set_aside(0).await, [""; 0]);
    let batches = world.batches();
    assert_eq!(crate::world::sums(&batches), (9, cents(9)));
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_is_none_is_asked_for_again_and_counts_nothing_twice() {
    let (port, journal) = journal();
    {
        let mut journal = journal.lock().unwrap();
        journal.rows = 20;
        journal.faults = vec![
            Fault::Cut,
            Fault::Busy,
            Fault::NoJson,
            Fault::TooLarge,
            Fault::CutChunks,
            Fault::NoEnd,
            Fault::Cut,
        ];
    }
    let world = world(port);
    let _agent = world.agent().await;
    world.until_cut(20, cents(20)).await;
    assert!(journal.lock().unwrap().faults.is_empty());
    let log = std::fs::read_to_string(world.path("log")).unwrap();
    for (needle, times) in
        [("breaks off", 3), ("429 Too Many Requests", 1), ("is not JSON", 1), ("page_bytes_max", 2)]
    {
        assert_eq!(log.matches(needle).count(), times, "{needle} in {log}");
    }
    assert_eq!(world.until_set_aside(0).await, [""; 0]);
}

#[tokio::test]
async fn an_agent_that_is_killed_between_pages_goes_on_where_it_had_committed() {
    let (port, journal) = journal();
    let world = world(port);
    for rows in [3, 8, 15, 16] {
        journal.lock().unwrap().rows = rows;
        let agent = world.agent().await;
        let asked = journal.lock().unwrap().asked;
        world.until("it has asked", |_| journal.lock().unwrap().asked > asked).await;
        agent.kill();
    }
    let _agent = world.agent().await;
    world.until_cut(16, cents(16)).await;
}

#[tokio::test]
async fn orders_by_version_come_once_whatever_grows_or_ends_between_pages() {
    let more = "url = \"URL/after?v={version}\"\ncursor = \"version\"\nlist = \"orders\"\n";
    once_in_spite_of_all(more).await;
}

#[tokio::test]
async fn orders_by_a_word_come_once_as_square_gives_them() {
    let more = r#"
url = "URL/v2/orders/search"
method = "POST"
body = '''{"location_ids":["10"],"limit":2,"query":{"filter":{"date_time_filter":{"updated_at":
{"start_at":"{updated_at}"}}},"sort":{"sort_field":"UPDATED_AT","sort_order":"ASC"}}}'''
cursor = "opaque"
start = "2026-03-02T09:00:00Z"
overlap_seconds = 60
"#;
    once_in_spite_of_all(more).await;
}

#[tokio::test]
async fn orders_by_time_and_name_come_once_those_that_are_late_too() {
    let more = r#"
url = "URL/since?at={time}&id={id}"
cursor = "time-id"
list = "orders"
time_field = "updated_at"
start = "2026-03-02T09:00:00Z"
overlap_seconds = 60
"#;
    once_in_spite_of_all(more).await;
}

/// Kills the agent again and again between two pages, while orders come in, late ones too, and change.
async fn once_in_spite_of_all(more: &str) {
    let (port, books) = shop::open("Bearer first");
    let world = World::new();
    let more = more.replace("URL", &format!("http://127.0.0.1:{port}"));
    world.configure_source(&format!(
        "[[sources]]\nname = \"shop\"\nkind = \"http\"\nformat = \"square\"\npoll_seconds = 1\n\
         header_name = \"Authorization\"\nheader_file = \"token\"\n{more}"
    ));
    secret(&world.path("token"), "Bearer first\n");
    // Some names are longer than others, and some orders change in the same second.
    let order = |number: u32| Order {
        id: format!("{}{}", ["b", "aa", "abc"][number as usize % 3], number),
        version: 100 + u64::from(number),
        second: 100 + number / 3 * 5 - number % 5 * 3,
        cents: i64::from(number) + 1,
    };
    let mut next = 0;
    let mut ring_up = |books: &Mutex<Books>, count| {
        (next..next + count).for_each(|number| look(books).keep(order(number)));
        next += count;
    };
    ring_up(&books, 7);
    let mut held = None;
    for patience in [1, 2, 1, 3] {
        look(&books).patience = Some(patience);
        let asked = look(&books).asked.len();
        let agent = world.start();
        let look_up = async || match look(&books) {
            kept if kept.is_silent => Ok(()),
            kept => Err(format!("{:?}", kept.asked)),
        };
        wait::until("the agent waits for a page", SOON, look_up).await.unwrap();
        agent.kill();
        let first = look(&books).asked[asked].clone();
        assert!(held.is_none_or(|held| held == first), "it goes on with the page it had not got");
        held = look(&books).asked.last().cloned();
        look(&books).is_silent = false;
        ring_up(&books, 3);
    }
    look(&books).patience = None;
    let agent = world.agent().await;
    let (count, cents) = look(&books).sums();
    world.until_cut(count, cents).await;
    // The service wants another secret; an order changes and one comes late meanwhile.
    look(&books).secret = "Bearer second".to_owned();
    let log = || std::fs::read_to_string(world.path("log")).unwrap();
    let refused = async || if log().contains("401") { Ok(()) } else { Err(log()) };
    wait::until("the service refuses us", SOON, refused).await.unwrap();
    look(&books).keep(Order { version: 900, second: 140, cents: 5000, ..order(4) });
    look(&books).keep(Order { version: 901, second: 118, ..order(999) });
    secret(&world.path("token"), "Bearer second");
    let (again, cents) = look(&books).sums();
    assert_eq!(again, count + 1);
    world.until_cut(again, cents).await;
    assert!(agent.stop().await.success());
    assert_eq!(world.until_set_aside(0).await, [""; 0]);
    let log = log();
    assert!(!log.contains("SECRET") && !log.contains("Bearer"), "{log}");
}

#[tokio::test]
async fn a_service_is_known_by_its_authority_and_its_name() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let own = Authority::open(ours.path(), "ours").unwrap();
    let foreign = Authority::open(theirs.path(), "theirs").unwrap();
    let port = serve_safely(&own.server("service").unwrap(), |_| page("", "[]"));
    let plain = serve(|_| page("", "[]"));
    let told = async |host: &str, port: u16, ca: Option<&Authority>| {
        let ca = ca.map(|ca| format!("ca = {:?}\n", ca.certificate()));
        let url = format!("https://{host}:{port}/?v={{version}}");
        let config = config(&url, ca.as_deref().unwrap_or_default());
        probe(&config).await.map_err(|error| Chain(&error).to_string())
    };
    assert!(told("localhost", port, Some(&own)).await.unwrap().contains("has nothing new"));
    assert!(told("127.0.0.1", port, Some(&own)).await.is_ok());
    for ca in [Some(&foreign), None] {
        let why = told("localhost", port, ca).await.unwrap_err();
        assert!(
            why.contains("does ca name its authority") && why.contains("UnknownIssuer"),
            "{why}"
        );
    }
    let why = told("127.0.0.2", port, Some(&own)).await.unwrap_err();
    assert!(why.contains("url its name") && why.contains("127.0.0.2"), "{why}");
    let unsafe_port = told("localhost", plain, Some(&own)).await.unwrap_err();
    assert!(unsafe_port.contains("it does not answer"), "{unsafe_port}");
}

#[tokio::test]
async fn a_redirect_is_followed_on_its_host_and_nowhere_else() {
    let strangers = Arc::new(AtomicUsize::new(0));
    let kept = Arc::clone(&strangers);
    let other = serve(move |_| {
        kept.fetch_add(1, Ordering::Relaxed);
        page("", "[]")
    });
    let port = serve(move |asked| match asked.target.split('?').next().unwrap() {
        "/there" => page("", "[{\"version\":1}]"),
        "/moved" => bare("307 Temporary Redirect", "Location: /there\r\n"),
        "/round" => bare("302 Found", "Location: /round\r\n"),
        _ => {
            let to = format!("Location: http://127.0.0.1:{other}/there?token=SECRET\r\n");
            bare("301 Moved Permanently", &to)
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    secret(&token, "Bearer us");
    let more = format!("header_name = \"Authorization\"\nheader_file = {token:?}\n");
    let told = async |path: &str| {
        let config = config(&format!("http://127.0.0.1:{port}{path}?v={{version}}"), &more);
        probe(&config).await.map_err(|error| Chain(&error).to_string())
    };
    assert!(told("/moved").await.unwrap().contains("answers 1 rows"));
    let why = told("/away").await.unwrap_err();
    let to =
        format!("answers 301 Moved Permanently and leads to http://127.0.0.1:{other}/there: put");
    assert!(why.contains(&to) && !why.contains("SECRET"), "{why}");
    assert!(told("/round").await.unwrap_err().contains("leads to /round"));
    assert_eq!(strangers.load(Ordering::Relaxed), 0, "the secret went to a stranger");
}

#[tokio::test]
async fn a_service_that_names_a_time_is_not_asked_before_it() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    let port = serve(move |_| {
        let mut asked = kept.lock().unwrap();
        let now = Clock::real().now();
        let named = now.plus(Duration::from_secs(2));
        asked.push((now, named));
        let date = named.utc().format("%a, %d %b %Y %H:%M:%S GMT");
        match asked.len() {
            1 => bare("503 Busy", &format!("Retry-After: {date}\r\n")),
            _ => page("", "[]"),
        }
    });
    let config = config(&format!("http://127.0.0.1:{port}/?v={{version}}"), "");
    let mut source = Http::new(config, Clock::real(), Vec::new());
    assert!(Chain(&next(&mut source).await.unwrap_err()).to_string().contains("503"));
    assert!(matches!(next(&mut source).await, Ok(Event::Idle(_))));
    let asked: Vec<(Timestamp, Timestamp)> = asked.lock().unwrap().clone();
    // Dates have no parts of a second.
    let named = asked[0].1.minus(Duration::from_secs(1));
    assert!(asked[1].0 >= named, "{asked:?}");
}

#[tokio::test]
async fn a_page_that_is_as_it_was_is_not_read_again() {
    let tags = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&tags);
    let port = serve(move |asked| {
        let tag = asked.header("if-none-match").map(str::to_owned);
        kept.lock().unwrap().push(tag.clone());
        let rows = r#"{"orders":[{"updated_at":"2026-03-02T09:00:00Z","id":1}]}"#;
        match (asked.parameter("i").as_str(), tag.as_deref()) {
            ("0", Some("\"x\"")) => bare("304 Not Modified", ""),
            ("0", _) => page("ETag: \"x\"\r\n", rows),
            _ => page("", r#"{"orders":[]}"#),
        }
    });
    let more = "cursor = \"time-id\"\nlist = \"orders\"\ntime_field = \"updated_at\"\n\
                start = \"2026-03-02T09:00:00Z\"\noverlap_seconds = 60\n";
    let url = format!("http://127.0.0.1:{port}/?t={{time}}&i={{id}}");
    let mut source = Http::new(config_of(&url, more), Clock::real(), Vec::new());
    let mut pages = 0;
    for _ in 0..3 {
        loop {
            match next(&mut source).await.unwrap() {
                Event::Idle(_) => break,
                Event::End(ending) => {
                    assert_eq!(ending, Ending::Finished);
                    pages += 1;
                    source.mark(Place::default(), Completeness::Whole).unwrap();
                    source.committed(Fate::Taken);
                }
                Event::Begin { .. } | Event::Bytes(_) => {}
                Event::Resume { .. } | Event::Quiet => panic!("a page is no line"),
            }
        }
    }
    assert_eq!(pages, 1, "{tags:?}");
    let tagged = tags.lock().unwrap().iter().flatten().count();
    assert_eq!(tagged, 2, "{tags:?}");
}

#[test]
fn a_secret_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "Bearer us").unwrap();
    let world = World::new();
    world.configure_source(&source(
        "https://127.0.0.1/{version}",
        &format!(
            "cursor = \"version\"\nheader_name = \"Authorization\"\nheader_file = {token:?}\n"
        ),
    ));
    for (mode, is_right) in [(0o644, false), (0o640, false), (0o600, true), (0o400, true)] {
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(mode)).unwrap();
        let told = Config::load(&world.path("edge.toml"));
        let told = told.map(drop).map_err(|faults| faults.to_string());
        let wanted = "sources[1].header_file: others may read it; chmod 600 it";
        match told {
            Ok(()) => assert!(is_right, "{mode:o}"),
            Err(told) => assert!(!is_right && told.ends_with(wanted), "{mode:o}: {told}"),
        }
    }
}

async fn next(source: &mut Http) -> Result<Event, edge_agent::source::SourceError> {
    timeout(SOON, source.next()).await.expect("something happens")
}

fn secret(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Returns a service of versions, as a configuration file has it.
fn config(url: &str, more: &str) -> HttpConfig {
    config_of(url, &format!("cursor = \"version\"\n{more}"))
}

fn config_of(url: &str, more: &str) -> HttpConfig {
    let world = World::new();
    world.configure_source(&source(url, more));
    let config = Config::load(&world.path("edge.toml")).unwrap();
    let Reach::Http(config) = &config.sources[1].reach else { panic!("a service is configured") };
    HttpConfig { poll: Duration::from_millis(10), ..config.clone() }
}

fn source(url: &str, more: &str) -> String {
    format!(
        "[[sources]]\nname = \"service\"\nkind = \"http\"\nformat = \"square\"\nurl = {url:?}\n{more}"
    )
}
