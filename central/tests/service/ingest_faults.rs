//! What breaks around the service, and what must not be skipped.

use std::time::Duration;

use central::store::StoreError;
use central::store::progress::LastRecord;
use central::store::write::{BatchWriter, Source, Step};
use fakes::link::Link;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::{Instant, sleep};

use crate::ingest_world::{Running, SOON, World, ask, now, producer_settings, until_ready_says};

/// How often a store sells while an outage lasts.
const RECORD_PAUSE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_line_to_postgres_holds_everything_up_and_loses_nothing() {
    let world = World::new("cut_line").await;
    let target = ([127, 0, 0, 1], world.database.access().port).into();
    let link = Link::start(target).await.unwrap();
    let mut config = world.config.clone();
    config.postgres.port = link.port();
    let running = Running::start(&config);
    world.send_all("10", 1..=5).await;
    world.until_judged(5).await;
    link.cut();
    world.send_all("10", 6..=20).await;
    until_ready_says(&config, "postgres").await;
    let last = sell_through_an_outage(&world, 20).await;
    link.heal().await;
    world.until_judged(last.cast_signed()).await;
    until_ready_says(&config, "200 OK").await;
    let accepted: Vec<_> = (1..=last).map(|sequence| world.batch("10", sequence)).collect();
    world.assert_exactly(&accepted).await;
    let letters = world.number("SELECT count(*) FROM dead_letter").await;
    assert_eq!(letters, 0, "an outage is nobody's bad record");
    println!("{last} records, {letters} dead letters");
    running.stop().await;
}

/// Lets an outage last as many minutes as are asked for, none in an ordinary run, while a store sells;
/// returns the last sequence.
async fn sell_through_an_outage(world: &World, mut last: u64) -> u64 {
    let minutes = std::env::var("OUTAGE_MINUTES").map_or(0, |text| text.parse().unwrap());
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    while Instant::now() < until {
        last += 1;
        world.send_all("10", last..=last).await;
        sleep(RECORD_PAUSE).await;
    }
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_the_server_ends_are_made_anew() {
    let world = World::new("terminated").await;
    let running = Running::start(&world.config);
    for round in 0..10_u64 {
        world.send_all("10", round * 10 + 1..=round * 10 + 10).await;
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        world.number(end).await;
    }
    world.until_judged(100).await;
    let accepted: Vec<_> = (1..=100).map(|sequence| world.batch("10", sequence)).collect();
    world.assert_exactly(&accepted).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_restored_is_filled_again() {
    let world = World::new("restored").await;
    let running = Running::start(&world.config);
    world.send_all("10", 1..=10).await;
    world.until_judged(10).await;
    let restore =
        "TRUNCATE progress, batch, dead_letter, ledger, store_minute, till_vat, till_payment,
        sale, article_day, stock_movement, stock, receipt_range, receipt_id, gap, till_closing, loss,
        correction";
    world.sql.batch_execute(restore).await.unwrap();
    world
        .number(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
    world.send_all("10", 11..=12).await;
    world.until_judged(12).await;
    let accepted: Vec<_> = (1..=12).map(|sequence| world.batch("10", sequence)).collect();
    world.assert_exactly(&accepted).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_writer_waits_for_the_first_and_finds_itself_overtaken() {
    let world = World::new("overtaken").await;
    world.store.positions("g", &[0]).await.unwrap();
    let last = LastRecord { hash: [1; 32], appended_at: now() };
    let steps = [Step { partition: 0, from: 0, to: 5, last }];
    let source = Source { topic: "t", generation: "g" };
    let mut one = world.store.connection().await.unwrap();
    let mut two = world.store.connection().await.unwrap();
    let first = BatchWriter::begin(&mut one, source, &steps).await.unwrap();
    let (second, ()) = tokio::join!(BatchWriter::begin(&mut two, source, &steps), async {
        let blocked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                       AND wait_event_type = 'Lock'";
        let waits = fakes::wait::until("the second waits", SOON, async || {
            match world.number(blocked).await {
                1 => Ok(()),
                waiting => Err(format!("{waiting} wait")),
            }
        });
        waits.await.unwrap();
        first.commit().await.unwrap();
    });
    assert!(matches!(second.err(), Some(StoreError::Overtaken)));
    let position = world.store.positions("g", &[0]).await.unwrap()[&0];
    assert_eq!((position.next_offset, position.last), (5, Some(last)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_not_the_one_read_before_stops_the_partition() {
    let world = World::new("other_log").await;
    let (partition, _) = world.send(&world.batch("10", 1)).await;
    let running = Running::start(&world.config);
    world.until_judged(1).await;
    running.stop().await;
    let forge = "UPDATE progress SET last_record = sha256('another')  WHERE next_offset > 0";
    world.sql.execute(forge, &[]).await.unwrap();
    world.send_all("10", 2..=3).await;
    let running = Running::start(&world.config);
    let answer = until_ready_says(&world.config, "is not the one judged there").await;
    assert!(answer.contains("503") && answer.contains(&format!("\"{partition}\"")), "{answer}");
    assert_eq!(world.number("SELECT count(*) FROM batch").await, 1, "nothing is skipped");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_expired_unread_stop_the_partition() {
    let world = World::new("expired").await;
    let (partition, _) = world.send(&world.batch("10", 1)).await;
    let running = Running::start(&world.config);
    world.until_judged(1).await;
    running.stop().await;

    // The record before the stored offset may expire: nothing unread is missing.
    delete_before(&world, partition, 1).await;
    world.send_all("10", 2..=4).await;
    let running = Running::start(&world.config);
    world.until_judged(4).await;
    running.stop().await;

    world.send_all("10", 5..=8).await;
    delete_before(&world, partition, 6).await;
    let running = Running::start(&world.config);
    let answer = until_ready_says(&world.config, "is not there, the log holds 6 to 8").await;
    assert!(answer.contains("503"), "{answer}");
    assert_eq!(world.number("SELECT count(*) FROM batch").await, 4, "nothing is skipped");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_is_read_from_its_beginning() {
    let world = World::new("made_anew").await;
    world.send_all("10", 1..=6).await;
    let running = Running::start(&world.config);
    world.until_judged(6).await;
    running.stop().await;
    let admin = admin(&world);
    let options = AdminOptions::new().operation_timeout(Some(SOON));
    admin.delete_topics(&[&world.topic], &options).await.unwrap()[0].as_ref().unwrap();
    let anew = NewTopic::new(&world.topic, 3, TopicReplication::Fixed(1))
        .set("message.timestamp.type", "LogAppendTime");
    let made = fakes::wait::until("the topic is made anew", SOON, async || {
        match &admin.create_topics([&anew], &options).await.unwrap()[0] {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{error:?}")),
        }
    });
    made.await.unwrap();
    world.send_all("10", 5..=8).await;
    let running = Running::start(&world.config);
    world.until_judged(10).await;
    assert_eq!(world.verdicts().await, "accepted 8, duplicate 2");
    assert_eq!(world.number("SELECT count(DISTINCT topic_generation) FROM batch").await, 2);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_schema_waits_and_says_so() {
    let world = World::new("no_schema").await;
    world.sql.batch_execute("DROP TABLE refinery_schema_history").await.unwrap();
    let running = Running::start(&world.config);
    until_ready_says(&world.config, "run `central migrate`").await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_the_broker_forbids_is_told_and_keeps_the_service_unready() {
    let world = World::new("forbidden").await;
    let mut config = world.config.clone();
    config.kafka.group_prefix = "nobodys".to_owned();
    let running = Running::start(&config);
    // Several answers in a row: the trouble is not forgotten with the next look at the connection.
    let mut told = 0;
    let looked = fakes::wait::until("the refusal stays", SOON, async || {
        let answer = ask(&config, "/readyz").await.map_err(|error| error.to_string())?;
        told = if answer.contains("the broker refuses") { told + 1 } else { 0 };
        if told > 100 { Ok(()) } else { Err(format!("told {told} times; now {answer}")) }
    });
    looked.await.unwrap();
    running.stop().await;
}

pub(crate) async fn delete_before(world: &World, partition: i32, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&world.topic, partition, Offset::Offset(offset)).unwrap();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    admin(world).delete_records(&list, &options).await.unwrap();
}

fn admin(world: &World) -> AdminClient<DefaultClientContext> {
    producer_settings(world.stack, "admin").create().unwrap()
}
