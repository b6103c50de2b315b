//! A backlog on its way to a real broker on this machine, beside a bare librdkafka producer that sends
//! the same bytes to the same broker with the same settings and notes nothing.

use std::sync::Arc;
use std::time::Duration;

use edge_agent::buffer::{Buffer, Cut, Outgoing};
use edge_agent::ship::{Files, Link, Settings, Shipper, Watcher};
use fakes::shop::Country;
use fakes::stack::Stack;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::DefaultProducerContext;
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use shared::ids::Sequence;
use shared::time::Clock;
use shared::topics::{Topic, store_principal};
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::durable::{self, median};
use crate::table::{Row, Table};
use crate::{inputs, process};

/// Receipts of the backlog, twenty-five a minute: what a store sells in a month.
const RECEIPTS: usize = 40_000;
/// Rounds of each way, in turns.
const ROUNDS: usize = 12;
/// The first of them warm the broker up and do not count.
const WARMING: usize = 5;
/// How often it is looked whether all is delivered.
const LOOK: Duration = Duration::from_millis(10);
/// How long the bare producer waits where its queue is full: a moment of what the queue holds.
const FULL_PAUSE: Duration = Duration::from_millis(1);
/// How long the bare producer may take for what is left at the end.
const FLUSH_MOST: Duration = Duration::from_secs(120);

/// Measures both ways.
pub(crate) fn draining(table: &mut Table) {
    // One thread, as the agent has it.
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let stack = Stack::shared();
    let folder = durable::folder();
    let (buffer, writer) = durable::open(folder.path());
    let (batches, agent, bare) = runtime.block_on(async {
        fill(&buffer).await;
        let topics = stack.topics_for("edge-drain").await.unwrap();
        let (settings, files) = (settings(stack, topics.prefix()), files(stack));
        let batches = buffer.waiting(None, usize::MAX).await.unwrap();
        let (mut agent, mut bare) = (Spans::default(), Spans::default());
        for _ in 0..ROUNDS {
            agent.all.push(ship(&buffer, &settings, &files).await);
            bare.all.push(produce(&batches, &settings, &files));
            buffer.resend(Sequence::FIRST, Sequence::FIRST).await.unwrap();
            agent.one.push(ship(&buffer, &settings, &files).await);
            bare.one.push(produce(&batches[..1], &settings, &files));
            let last = batches.last().expect("there is a backlog").sequence;
            buffer.resend(Sequence::FIRST, last).await.unwrap();
        }
        (batches, agent, bare)
    });
    drop(buffer);
    writer.join();
    let megabytes = batches.iter().map(|batch| batch.body.len()).sum::<usize>() as f64 / 1e6;
    let (agent, bare) = (agent.medians(), bare.medians());
    let mut add = |what, agent, bare| {
        table.add(Row {
            part: "drain",
            what,
            value: megabytes / agent,
            unit: "MB/s",
            per_second: Some(RECEIPTS as f64 / agent),
            plain: Some(megabytes / bare),
            beside: "librdkafka alone: nothing read from disk, nothing noted",
        });
    };
    let what = format!("a backlog of {} batches, {megabytes:.1} MB", batches.len());
    add(what, agent.0, bare.0);
    let what = "the same without the start (that of one batch)".to_owned();
    add(what, agent.0 - agent.1, bare.0 - bare.1);
}

/// Seconds from a start to the last confirmation, a round each.
#[derive(Default)]
struct Spans {
    all: Vec<f64>,
    /// Of the first batch alone.
    one: Vec<f64>,
}

impl Spans {
    fn medians(mut self) -> (f64, f64) {
        (median(&mut self.all[WARMING..]), median(&mut self.one[WARMING..]))
    }
}

/// Cuts a backlog.
async fn fill(buffer: &Buffer) {
    let receipts = inputs::receipts(Country::Germany, RECEIPTS);
    for chunk in receipts.chunks(1_000) {
        buffer.take(durable::intake(chunk)).await.unwrap();
    }
    for slot in buffer.open_slots().await.unwrap() {
        let cut = Cut { store: process::store(), at: durable::now(), complete_through: None };
        buffer.close(slot, cut).await.unwrap();
    }
}

fn settings(stack: &Stack, prefix: &str) -> Settings {
    Settings {
        store: process::store(),
        brokers: stack.brokers(),
        topic_prefix: prefix.to_owned(),
        topic: Topic::StoreMinutes,
    }
}

/// Returns what is shown to the broker.
fn files(stack: &Stack) -> Files {
    let credentials = stack.layout().store_credentials(&process::store());
    let (ca, certificate, key) = (credentials.ca, credentials.certificate, credentials.key);
    Files { ca, certificate, key, client_ca: None }
}

/// Returns the seconds from the start of the shipper until nothing waits.
async fn ship(buffer: &Buffer, settings: &Settings, files: &Files) -> f64 {
    let (_cut, cut) = watch::channel(0);
    let (_resent, resent) = watch::channel(0);
    let (_statuses, statuses) = watch::channel(None);
    let (link, _link) = watch::channel(Link::Idle);
    let (stop, stopped) = watch::channel(false);
    let (_watcher, identity) = Watcher::new(files.clone(), settings.store.clone());
    let shipper = Shipper {
        buffer: buffer.clone(),
        settings: settings.clone(),
        identity,
        now: Arc::new(|| Clock::real().now()),
        cut,
        resent,
        bytes_per_second: None,
        statuses,
        link,
    };
    let began = Instant::now();
    let task = tokio::spawn(shipper.run(stopped));
    while !buffer.waiting(None, 1).await.unwrap().is_empty() {
        sleep(LOOK).await;
    }
    let span = began.elapsed().as_secs_f64();
    stop.send_replace(true);
    task.await.unwrap().unwrap();
    span
}

/// Returns the seconds from the start of a producer until all is confirmed.
fn produce(batches: &[Outgoing], settings: &Settings, files: &Files) -> f64 {
    let path = |path: &std::path::Path| path.display().to_string();
    let began = Instant::now();
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", &settings.brokers)
        .set("client.id", store_principal(&settings.store))
        .set("security.protocol", "ssl")
        .set("ssl.ca.location", path(&files.ca))
        .set("ssl.certificate.location", path(&files.certificate))
        .set("ssl.key.location", path(&files.key))
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", "zstd")
        .set("partitioner", "murmur2_random")
        .set("queue.buffering.max.messages", "1000")
        .set("queue.buffering.max.kbytes", "8192")
        .create()
        .unwrap();
    let topic = settings.topic.name(&settings.topic_prefix);
    for batch in batches {
        let headers = batch.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value) })
        });
        let key = settings.store.as_str();
        let mut record = BaseRecord::to(&topic).key(key).payload(&batch.body).headers(headers);
        while let Err((error, back)) = producer.send(record) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            assert_eq!(error, full, "the broker takes everything");
            std::thread::sleep(FULL_PAUSE);
            record = back;
        }
    }
    producer.flush(FLUSH_MOST).unwrap();
    began.elapsed().as_secs_f64()
}
