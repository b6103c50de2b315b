//! A backlog of days: the agent starts with it at once, and it drains in order, about as fast as a bare
//! producer sends the same bytes. `BACKLOG_DAYS=n` makes it long; no time is asserted.

use std::collections::BTreeSet;
use std::time::Duration;

use fakes::stack::Stack;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use shared::ids::StoreId;
use shared::receipt::Receipt;
use shared::topics::Topic;
use tokio::time::{Instant, sleep};

use crate::footprint::Footprint;
use crate::networks::{self, Site};
use crate::topic::{Record, exact, records};
use crate::world::{Broker, SOON, World, lines, receipt};

const STORE: &str = "t3";

/// Bits a second of a shop's line.
const LINE: u64 = 10_000_000;

/// A store's day: 13,000 lines in 15 hours.
const RECEIPTS_A_DAY: u32 = 1_300;
const LINES_A_RECEIPT: u32 = 10;
const MINUTES_A_DAY: u32 = 900;

/// How long an agent with a backlog and without a line is watched.
const REST: Duration = Duration::from_secs(60);

/// How much of a day the ordinary run takes.
const SHORT_RECEIPTS: u32 = 200;

#[tokio::test]
async fn a_backlog_starts_at_once_and_drains_in_order() {
    let days = days();
    let stack = Stack::shared();
    let topics = stack.topics_for("edge-backlog").await.unwrap();
    let store = StoreId::new(STORE).unwrap();
    let broker = Broker {
        brokers: "127.0.0.1:1".to_owned(),
        topic_prefix: topics.prefix().to_owned(),
        credentials: stack.layout().store_credentials(&store),
    };
    let world = World::with_broker(STORE, &broker);
    let agent = world.agent().await;
    let (count, cents) = sell_days(&world, STORE, days).await;
    let cut = Footprint::of(&world);
    if days > 0 {
        sleep(REST).await;
    }
    let rested = Footprint::of(&world);
    eprintln!(
        "with the backlog cut: {rested:?}, {} ticks of them in a minute",
        rested.ticks - cut.ticks
    );
    assert!(agent.stop().await.success());

    world.configure(STORE, &Broker { brokers: stack.brokers(), ..broker }, "");
    let began = Instant::now();
    let agent = world.agent().await;
    let started = began.elapsed();
    let mut most = Footprint::of(&world);
    world
        .until_within(SOON * days.max(1), "nothing waits", |report| {
            let now = Footprint::of(&world);
            most.anonymous_kib = most.anonymous_kib.max(now.anonymous_kib);
            most.rss_kib = most.rss_kib.max(now.rss_kib);
            most.threads = most.threads.max(now.threads);
            (most.ticks, most.written) = (now.ticks, now.written);
            report.status.backlog == 0
        })
        .await;
    eprintln!("at most while it drained: {most:?}");
    let topic = Topic::StoreMinutes.name(topics.prefix());
    let found = records(stack, &topic).await;
    let drained = span(&found);
    exact(&world, &found, (count, cents));
    assert!(agent.stop().await.success());

    let other = stack.topics_for("edge-bare").await.unwrap();
    let bare_topic = Topic::StoreMinutes.name(other.prefix());
    send_bare(&world, stack, &bare_topic, &found);
    let bare = span(&records(stack, &bare_topic).await);
    let bytes: usize = found.iter().map(|record| record.body.len()).sum();
    eprintln!(
        "{count} receipts in {} batches of {bytes} bytes: started in {started:?}, drained in \
         {drained:?}, a bare producer needs {bare:?} for the same",
        found.len()
    );
}

#[tokio::test]
async fn a_backlog_fills_a_line_of_ten_megabits() {
    let days = days();
    if days == 0 {
        eprintln!("SKIPPED: a backlog of days is for `make outages`");
        return;
    }
    let stack = Stack::shared();
    let Some(mut site) = Site::new("edge-line", stack).await else { return };
    site.narrow(LINE);
    let agent = site.world.agent().await;
    let truth = sell_days(&site.world, networks::STORE, days).await;
    let before = site.sent_bytes();
    site.open_door("10.77.2.2");
    site.broker_is_at(&["10.77.2.2"]);
    let nothing_waits = |report: &edge_agent::status::Report| report.status.backlog == 0;
    site.world.until_within(SOON * days, "nothing waits", nothing_waits).await;
    let sent = site.sent_bytes() - before;
    let found = records(stack, &Topic::StoreMinutes.name(site.topics.prefix())).await;
    let bytes: usize = found.iter().map(|record| record.body.len()).sum();
    let drained = span(&found);
    exact(&site.world, &found, truth);
    assert!(agent.stop().await.success());
    let at_best = Duration::from_millis(sent * 8 * 1000 / LINE);
    eprintln!(
        "{days} days, {} batches of {bytes} bytes, {sent} on the wire: drained in {drained:?} over a \
         line that needs {at_best:?} for as much",
        found.len()
    );
}

/// Returns how many days of backlog are asked for; none in the ordinary run.
fn days() -> u32 {
    std::env::var("BACKLOG_DAYS").map_or(0, |text| text.parse().unwrap())
}

/// Lets a shop sell for so many days, part of a day for none, and waits until all is cut.
async fn sell_days(world: &World, store: &str, days: u32) -> (u64, i64) {
    let (mut count, mut cents, mut batches) = (0, 0, 0);
    for day in 0..days.max(1) {
        let receipts = if days == 0 { SHORT_RECEIPTS } else { RECEIPTS_A_DAY };
        let sold: Vec<_> = (0..receipts).map(|at| sold(store, day, at)).collect();
        count += u64::from(receipts);
        cents += sold.iter().map(|receipt| receipt.total_cents.0).sum::<i64>();
        world.drop_file(&format!("{day:03}.jsonl"), lines(&sold));
        let minutes: BTreeSet<u32> = (0..receipts).map(minute).collect();
        batches += minutes.len() as u64;
        world.until("the day is cut", |report| report.status.backlog == batches).await;
    }
    (count, cents)
}

/// Returns the time from the first record to the last.
fn span(all: &[Record]) -> Duration {
    let (first, last) = (all.first().unwrap().appended, all.last().unwrap().appended);
    Duration::from_millis(u64::try_from(last - first).unwrap())
}

fn minute(at: u32) -> u32 {
    at * MINUTES_A_DAY / RECEIPTS_A_DAY
}

/// Returns a receipt of a day; articles and amounts differ from line to line.
pub(crate) fn sold(store: &str, day: u32, at: u32) -> Receipt {
    let minute = minute(at);
    let time = format!("{:02}:{:02}:{:02}", 5 + minute / 60, minute % 60, at % 60);
    let mut receipt = receipt("3", at + 1, &time, 0);
    receipt.store = StoreId::new(store).unwrap();
    let shift = Duration::from_secs(86_400 * u64::from(day));
    receipt.ended_at = receipt.ended_at.plus(shift);
    receipt.business_day = receipt.ended_at.to_string()[..10].parse().unwrap();
    receipt.series = receipt.business_day.to_string().parse().unwrap();
    let line = receipt.lines[0].clone();
    receipt.lines = (0..LINES_A_RECEIPT)
        .map(|position| {
            let mut line = line.clone();
            let noise = (day * 7_919 + at * 104_729 + position * 1_299_709) % 8_000;
            line.position = position + 1;
            line.article = format!("own:x:{noise}").parse().unwrap();
            line.amount_cents.0 = 49 + i64::from(noise % 900);
            line
        })
        .collect();
    let total = receipt.lines.iter().map(|line| line.amount_cents.0).sum();
    (receipt.total_cents.0, receipt.payments[0].cents.0) = (total, total);
    receipt
}

/// Sends the same bodies by a producer with the same promises and no buffer.
fn send_bare(world: &World, stack: &Stack, topic: &str, found: &[Record]) {
    let own = stack.layout().store_credentials(&StoreId::new(STORE).unwrap());
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", stack.brokers())
        .set("security.protocol", "ssl")
        .set("ssl.ca.location", own.ca.display().to_string())
        .set("ssl.certificate.location", own.certificate.display().to_string())
        .set("ssl.key.location", own.key.display().to_string())
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", "zstd")
        .set("partitioner", "murmur2_random")
        .create()
        .unwrap();
    assert_eq!(world.batches().len(), found.len(), "no batch was sent twice");
    for record in found {
        let mut record = BaseRecord::<str, [u8]>::to(topic).key(STORE).payload(&record.body);
        while let Err((error, again)) = producer.send(record) {
            assert!(error.to_string().contains("Queue full"), "{error}");
            producer.poll(Duration::from_millis(1));
            record = again;
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();
}
