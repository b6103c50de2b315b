//! A stack of a test's own can be disturbed, and is gone without a trace when it is dropped.

use std::time::Duration;

use fakes::link::control::{LinkName, Order};
use fakes::postgres::client;
use fakes::process::Ending;
use fakes::stack::Server;
use fakes::stack::own::OwnStack;
use fakes::stack::state::test_stores;
use rdkafka::producer::{BaseRecord, Producer};
use shared::topics::Topic;

use crate::OWN_STACK;
use crate::refusals::{producer, showing, wait_for_reports};
use crate::stack::{assert_nobody_names, is_alive};

#[tokio::test]
async fn an_own_stack_can_be_disturbed_and_is_gone_when_dropped() {
    let _one_at_a_time = OWN_STACK.lock().await;
    let own = OwnStack::start().unwrap();
    let dir = own.layout().dir().to_owned();
    let pids = [own.layout().kafka(), own.layout().postgres()].map(|one| one.alive().unwrap().pid);

    a_cut_link_keeps_records_back_and_a_healed_one_delivers_them(&own).await;
    a_killed_database_comes_back(&own).await;

    drop(own);
    assert!(!dir.exists());
    assert!(!pids.into_iter().any(is_alive));
    assert_nobody_names(&dir);
}

async fn a_cut_link_keeps_records_back_and_a_healed_one_delivers_them(own: &OwnStack) {
    let store = own.layout().store_credentials(&test_stores().next().unwrap());
    let mut config = showing(own, &store);
    config.set("bootstrap.servers", own.edge_brokers());
    let (producer, heard) = producer(&config);
    let topic = Topic::StoreMinutes.name("frischmarkt.");
    let record = |payload| BaseRecord::<str, str>::to(&topic).key("t1").payload(payload);
    producer.send(record("before")).unwrap();
    wait_for_reports(&producer, &heard, 1).await;

    own.link(LinkName::EdgeKafka, Order::Cut).await.unwrap();
    producer.send(record("during")).unwrap();
    producer.flush(Duration::from_secs(1)).unwrap_err();
    assert_eq!(producer.in_flight_count(), 1, "the record passed a link that is cut");

    own.link(LinkName::EdgeKafka, Order::Heal).await.unwrap();
    wait_for_reports(&producer, &heard, 2).await;
    assert!(heard.lock().unwrap().reports.iter().all(Result::is_ok));
}

async fn a_killed_database_comes_back(own: &OwnStack) {
    assert!(own.stop(Server::Postgres, Ending::Killed).await.unwrap());
    assert!(client::connect(&own.database()).await.is_err());
    own.start(Server::Postgres).await.unwrap();
    client::connect(&own.database()).await.unwrap();
}
