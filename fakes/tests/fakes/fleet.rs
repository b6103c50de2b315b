//! A fleet's batches are in the topic, some twice, some out of order, and all in the truth.

use std::collections::BTreeMap;
use std::future::pending;
use std::time::Duration;

use fakes::fleet::{Order, run};
use fakes::publish::Publisher;
use fakes::stack::Stack;
use fakes::store::Pace;
use fakes::truth::{self, Entry};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use shared::time::Clock;
use shared::topics::Topic;
use shared::wire::RecordId;

/// A record's bytes, and the place of its first arrival within its store.
type Arrived = BTreeMap<RecordId, (Vec<u8>, usize)>;

#[tokio::test]
async fn batches_arrive_some_twice_some_late_and_all_are_noted() {
    let (dir, stack) = (tempfile::tempdir().unwrap(), Stack::shared());
    let topics = stack.topics_for("fleet").await.unwrap();
    let topic = Topic::StoreMinutes.name(topics.prefix());
    let order = Order {
        dir: dir.path().to_owned(),
        stores: 4,
        minutes: 30,
        receipts_per_minute: 2,
        rate: None,
        seed: 3,
        duplicates: true,
        reordering: true,
        pace: Pace::AtOnce,
    };
    let own = stack.layout().credentials("fakes");
    let publisher = || Publisher::new(&stack.brokers(), &own, &topic).unwrap();
    let issued = run(&order, &Clock::real(), (publisher(), pending())).await.unwrap();
    assert!(issued.duplicates > 2 && issued.reordered > 2, "{issued:?}");

    let (arrived, records) = read(stack, &topic, issued.batches + issued.duplicates);
    assert_eq!(records, issued.batches + issued.duplicates);
    let mut noted = 0;
    truth::read(dir.path(), |entry| {
        if let Entry::Batch(batch) = entry {
            let id = RecordId { stream: batch.stream, sequence: batch.sequence };
            assert!(arrived.contains_key(&id), "{id} is noted and did not arrive");
            noted += 1;
        }
    })
    .unwrap();
    assert_eq!((noted, arrived.len() as u64), (issued.batches, issued.batches));
    let places: Vec<_> = arrived.iter().map(|(id, (_, place))| (id.stream, *place)).collect();
    let swapped = places.windows(2).filter(|pair| pair[0].0 == pair[1].0 && pair[0].1 > pair[1].1);
    assert!(swapped.count() > 2, "some batches come after their followers");
}

/// Reads a topic until it has given this many records; says what it gave where it gives no more.
fn read(stack: &Stack, topic: &str, expected: u64) -> (Arrived, u64) {
    let own = stack.layout().credentials("fakes");
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", stack.brokers())
        .set("security.protocol", "ssl")
        .set("ssl.ca.location", own.ca.display().to_string())
        .set("ssl.certificate.location", own.certificate.display().to_string())
        .set("ssl.key.location", own.key.display().to_string())
        .set("group.id", "test.fleet")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(30)).unwrap();
    let mut all = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        all.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    let (mut arrived, mut records) = (Arrived::new(), 0);
    while records < expected {
        let Some(record) = consumer.poll(Duration::from_secs(30)) else { break };
        let record = record.unwrap();
        let id = record.headers().unwrap().iter().find(|header| header.key == "ce_id").unwrap();
        let id: RecordId = std::str::from_utf8(id.value.unwrap()).unwrap().parse().unwrap();
        let body = record.payload().unwrap().to_vec();
        let place = arrived.keys().filter(|known| known.stream == id.stream).count();
        let (first, _) = arrived.entry(id).or_insert_with(|| (body.clone(), place));
        assert_eq!(*first, body, "a record that comes twice has the same bytes");
        records += 1;
    }
    (arrived, records)
}
