//! The broker, with everything that is between it and the store: what is confirmed is there once,
//! in order; what is refused says why.

use fakes::stack::Stack;
use fakes::stack::own::TestTopics;
use fakes::wait;
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use shared::ids::StoreId;
use shared::minute::{StoreMinute, StoreStatus};
use shared::topics::Topic;

use crate::world::{Broker, SOON, World, lines, receipt, sums};

pub(crate) fn broker(stack: &Stack, topics: &TestTopics<'_>, store: &str) -> Broker {
    let credentials = stack.layout().store_credentials(&StoreId::new(store).unwrap());
    Broker { brokers: stack.brokers(), topic_prefix: topics.prefix().to_owned(), credentials }
}

pub(crate) fn of_store(
    store: &str,
    number: u32,
    time: &str,
    cents: i64,
) -> shared::receipt::Receipt {
    let mut receipt = receipt("3", number, time, cents);
    receipt.store = StoreId::new(store).unwrap();
    receipt
}

#[tokio::test]
async fn batches_reach_the_topic_once_and_wait_where_the_line_refuses_them() {
    let stack = Stack::shared();
    let topics = stack.topics_for("edge-outage").await.unwrap();
    let mut broker = broker(stack, &topics, "t1");
    let port: u16 = stack.brokers().rsplit(':').next().unwrap().parse().unwrap();
    let line = fakes::link::Link::start(([127, 0, 0, 1], port).into()).await.unwrap();
    let there = std::mem::replace(&mut broker.brokers, format!("localhost:{}", line.port()));
    line.cut();
    let world = World::with_broker("t1", &broker);
    let agent = world.agent().await;
    world.drop_file("a.jsonl", lines(&[of_store("t1", 1, "09:41:07", 100)]));
    world.until("a batch waits", |report| report.status.backlog == 1).await;
    assert!(agent.stop().await.success());
    broker.brokers = there;
    world.configure("t1", &broker, "");
    let agent = world.agent().await;
    world.drop_file("b.jsonl", lines(&[of_store("t1", 2, "09:42:07", 20)]));
    world.until_cut(2, 120).await;
    world.until("nothing waits", |report| report.status.backlog == 0).await;
    let batches: Vec<StoreMinute> =
        read_topic(stack, &Topic::StoreMinutes.name(topics.prefix()), 2).await;
    assert_eq!(sums(&batches), (2, 120));
    let sequences: Vec<u64> = batches.iter().map(|batch| batch.sequence.get()).collect();
    assert_eq!(sequences, [1, 2]);
    assert_eq!(batches, world.batches(), "the bytes of the buffer are those of the topic");
    // The cluster has lost them: they go out again, the same bytes behind the first ones.
    let resent = world.run(&["buffer", "resend", "1", "2"]);
    assert_eq!(String::from_utf8_lossy(&resent.stdout), "2 batches go out again\n");
    let twice: Vec<StoreMinute> =
        read_topic(stack, &Topic::StoreMinutes.name(topics.prefix()), 4).await;
    assert_eq!((&twice[..2], &twice[2..]), (&batches[..], &batches[..]));
    world.until("nothing waits", |report| report.status.backlog == 0).await;
    assert!(agent.stop().await.success());
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_named_as_the_trouble() {
    let stack = Stack::shared();
    let topics = stack.topics_for("edge-foreign").await.unwrap();
    let mut broker = broker(stack, &topics, "t2");
    let foreign = stack.foreign_credentials("store-t2").unwrap();
    (broker.credentials.certificate, broker.credentials.key) = (foreign.certificate, foreign.key);
    let world = World::with_broker("t2", &broker);
    let _agent = world.agent().await;
    world.drop_file("a.jsonl", lines(&[of_store("t2", 1, "09:41:07", 100)]));
    let named = |report: &edge_agent::status::Report| {
        format!("{:?}", report.link).contains("refuses this store's certificate")
    };
    world.until("the certificate is named", named).await;
    world.until_cut(1, 100).await;
    let check = world.run(&["check"]);
    assert_eq!(check.status.code(), Some(1));
    let told = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(told.contains("refuses this store's certificate"), "{told}");
}

#[tokio::test]
async fn a_topic_without_the_right_to_it_is_named_as_the_trouble() {
    let stack = Stack::shared();
    let topics = stack.topics_for("edge-right").await.unwrap();
    let mut broker = broker(stack, &topics, "t3");
    broker.topic_prefix = "forbidden.".to_owned();
    let world = World::with_broker("t3", &broker);
    let _agent = world.agent().await;
    world.drop_file("a.jsonl", lines(&[of_store("t3", 1, "09:41:07", 100)]));
    let named = |report: &edge_agent::status::Report| {
        format!("{:?}", report.link).contains("has no right to write to the topic forbidden.")
    };
    world.until("the missing right is named", named).await;
    world.until("the batch still waits", |report| report.status.backlog == 1).await;
}

/// Reads so many batches of a topic as the principal that may.
#[tokio::test]
async fn a_status_record_goes_beside_the_batches_and_one_that_is_refused_holds_none_up() {
    let stack = Stack::shared();
    let topics = stack.topics_for("edge-status").await.unwrap();
    let world = World::with_broker("t1", &broker(stack, &topics, "t1"));
    let agent = world.agent().await;
    let topic = Topic::StoreStatus.name(topics.prefix());
    let told: Vec<StoreStatus> = read_topic(stack, &topic, 1).await;
    assert_eq!((told[0].store.as_str(), told[0].highest_sequence), ("t1", 0));
    assert!(agent.stop().await.success());
    // No status record is as small as that.
    stack.admin().await.unwrap().set(&topic, "max.message.bytes", "64").await.unwrap();
    let agent = world.agent().await;
    let refused = async || {
        let log = std::fs::read_to_string(world.path("log")).map_err(|error| error.to_string())?;
        let is_told = log.contains("does not take the status record");
        if is_told { Ok(()) } else { Err(log) }
    };
    for (number, time) in (1..).zip(["09:41:07", "09:42:07", "09:43:07"]) {
        world.drop_file(&format!("{number}.jsonl"), lines(&[of_store("t1", number, time, 100)]));
        world.until_cut(number.into(), i64::from(number) * 100).await;
        wait::until("the record is refused", SOON, refused).await.unwrap();
    }
    world.until("nothing waits", |report| report.status.backlog == 0).await;
    let batches: Vec<StoreMinute> =
        read_topic(stack, &Topic::StoreMinutes.name(topics.prefix()), 3).await;
    assert_eq!(batches, world.batches());
    let log = std::fs::read_to_string(world.path("log")).unwrap();
    assert!(!log.contains("batches wait in the buffer"), "its producer has ended: {log}");
    assert!(agent.stop().await.success());
}

pub(crate) async fn read_topic<T: serde::de::DeserializeOwned>(
    stack: &Stack,
    topic: &str,
    count: usize,
) -> Vec<T> {
    let env = stack.env().unwrap();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", stack.brokers())
        .set("security.protocol", "ssl")
        .set("ssl.ca.location", env.central.ca.display().to_string())
        .set("ssl.certificate.location", env.central.certificate.display().to_string())
        .set("ssl.key.location", env.central.key.display().to_string())
        .set("group.id", format!("{topic}reader{count}"))
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let mut found = Vec::new();
    wait::until("the topic is read", SOON, async || {
        if let Some(message) = consumer.poll(std::time::Duration::from_millis(100)) {
            let message = message.map_err(|error| error.to_string())?;
            found.push(serde_json::from_slice(message.payload().unwrap()).unwrap());
        }
        if found.len() == count { Ok(()) } else { Err(format!("{} records", found.len())) }
    })
    .await
    .unwrap();
    found
}
