//! What a service over HTTP promises: every receipt once, whatever the service does.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::world::World;

const DE: u64 = 0x4445_0000_0000_0000;

/// A journal that gives two rows an answer, from the ticks asked for on.
#[derive(Default)]
struct Journal {
    rows: u64,
    asked: u64,
    /// Whether the answers to come misbehave, one by one.
    faults: Vec<Fault>,
    not_modified: u64,
}

#[derive(Clone, Copy)]
enum Fault {
    Cut,
    Busy,
    NoJson,
    TooLarge,
}

fn serve() -> (u16, Arc<Mutex<Journal>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let journal = Arc::new(Mutex::new(Journal::default()));
    let kept = Arc::clone(&journal);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap(), &kept);
        }
    });
    (port, journal)
}

fn answer(mut stream: TcpStream, journal: &Mutex<Journal>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let from: u64 = head.split("from=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let mut journal = journal.lock().unwrap();
    journal.asked += 1;
    let rows = (from.max(1)..=journal.rows).take(2);
    let body = format!(r#"{{"ftQueueItems":[{}]}}"#, rows.map(row).collect::<Vec<_>>().join(","));
    let etag = format!("\"{from}-{}\"", body.len());
    let length = body.len();
    let fault = if journal.faults.is_empty() { None } else { Some(journal.faults.remove(0)) };
    let text = match fault {
        Some(Fault::Cut) => {
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{}", &body[..length / 2])
        }
        Some(Fault::Busy) => {
            "HTTP/1.1 429 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n".to_owned()
        }
        Some(Fault::NoJson) => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<ht>".to_owned(),
        Some(Fault::TooLarge) => {
            format!("HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n{}", " ".repeat(20_000))
        }
        None if head.to_lowercase().contains(&format!("if-none-match: {etag}")) => {
            journal.not_modified += 1;
            "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned()
        }
        None => format!(
            "HTTP/1.1 200 OK\r\nETag: {etag}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        ),
    };
    // A client that has gone is the test's own doing.
    drop(stream.write_all(text.as_bytes()));
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
    let (port, journal) = serve();
    journal.lock().unwrap().rows = 7;
    let world = world(port);
    let _agent = world.agent().await;
    world.until_cut(7, cents(7)).await;
    journal.lock().unwrap().rows = 9;
    world.until_cut(9, cents(9)).await;
    let asked = journal.lock().unwrap().asked;
    world.until("it is asked again", |_| journal.lock().unwrap().asked > asked + 2).await;
    assert_eq!(world.until_set_aside(0).await, [""; 0]);
    let batches = world.batches();
    assert_eq!(crate::world::sums(&batches), (9, cents(9)));
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_is_none_is_asked_for_again_and_counts_nothing_twice() {
    let (port, journal) = serve();
    {
        let mut journal = journal.lock().unwrap();
        journal.rows = 5;
        journal.faults = vec![Fault::Cut, Fault::Busy, Fault::NoJson, Fault::TooLarge, Fault::Cut];
    }
    let world = world(port);
    let _agent = world.agent().await;
    world.until_cut(5, cents(5)).await;
    assert!(journal.lock().unwrap().faults.is_empty());
    let log = std::fs::read_to_string(world.path("log")).unwrap();
    for needle in ["breaks off", "429", "is not JSON", "page_bytes_max"] {
        assert!(log.contains(needle), "{needle} is not in {log}");
    }
    assert_eq!(world.until_set_aside(0).await, [""; 0]);
}

#[tokio::test]
async fn an_agent_that_is_killed_between_pages_goes_on_where_it_had_committed() {
    let (port, journal) = serve();
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
