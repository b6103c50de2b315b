//! Who the broker lets in and what it lets them do: no certificate, one of another authority, or a
//! topic without a right are each refused, with an error that says so.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fakes::authority::Credentials;
use fakes::stack::Stack;
use fakes::stack::state::test_stores;
use fakes::wait;
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use shared::topics::Topic;

const SOON: Duration = Duration::from_secs(30);
const PREFIX: &str = "frischmarkt.";

#[tokio::test]
async fn a_client_without_a_certificate_is_refused_and_told_so() {
    let stack = Stack::shared();
    let mut config = secured(stack);
    config.set("ssl.ca.location", text(&stack.layout().credentials("central").ca));
    assert_says_bad_certificate(config).await;
}

#[tokio::test]
async fn a_client_of_another_authority_is_refused_and_told_so() {
    let stack = Stack::shared();
    let foreign = stack.foreign_credentials("store-t1").unwrap();
    assert_says_bad_certificate(showing(stack, &foreign)).await;
}

#[tokio::test]
async fn a_store_may_write_its_minutes_but_not_reorders() {
    let stack = Stack::shared();
    let store = test_stores().next().unwrap();
    let own = stack.layout().store_credentials(&store);
    let minutes = report_of(showing(stack, &own), &Topic::StoreMinutes.name(PREFIX)).await;
    assert_eq!(minutes, Ok(()));
    let reorders =
        report_of(showing(stack, &own), &Topic::Reorders.name(PREFIX)).await.unwrap_err();
    assert_eq!(
        reorders.rdkafka_error_code(),
        Some(RDKafkaErrorCode::TopicAuthorizationFailed),
        "{reorders}"
    );
    assert!(reorders.to_string().contains("Topic authorization failed"), "{reorders}");
}

/// What librdkafka called back with.
#[derive(Default)]
pub(super) struct Heard {
    errors: Vec<String>,
    pub(super) reports: Vec<Result<(), KafkaError>>,
}

#[derive(Clone, Default)]
pub(super) struct Listener(Arc<Mutex<Heard>>);

impl ClientContext for Listener {
    fn error(&self, error: KafkaError, reason: &str) {
        self.0.lock().unwrap().errors.push(format!("{error}: {reason}"));
    }
}

impl ProducerContext for Listener {
    type DeliveryOpaque = ();
    fn delivery(&self, report: &DeliveryResult<'_>, (): ()) {
        let report = report.as_ref().map(|_| ()).map_err(|(error, _)| error.clone());
        self.0.lock().unwrap().reports.push(report);
    }
}

fn secured(stack: &Stack) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", stack.brokers())
        .set("security.protocol", "ssl")
        .set("enable.idempotence", "true")
        .set("reconnect.backoff.max.ms", "1000")
        .set("message.timeout.ms", "0");
    config
}

pub(super) fn showing(stack: &Stack, own: &Credentials) -> ClientConfig {
    let mut config = secured(stack);
    config
        .set("ssl.ca.location", text(&own.ca))
        .set("ssl.certificate.location", text(&own.certificate))
        .set("ssl.key.location", text(&own.key));
    config
}

pub(super) fn producer(config: &ClientConfig) -> (BaseProducer<Listener>, Arc<Mutex<Heard>>) {
    let listener = Listener::default();
    let heard = Arc::clone(&listener.0);
    (config.create_with_context(listener).unwrap(), heard)
}

/// A refused handshake gives no delivery report, so the error callback is what tells.
async fn assert_says_bad_certificate(config: ClientConfig) {
    let (producer, heard) = producer(&config);
    let topic = Topic::StoreMinutes.name(PREFIX);
    producer.send(BaseRecord::<str, str>::to(&topic).key("t1").payload("{}")).unwrap();
    wait::until("the broker's refusal is heard", SOON, async || {
        producer.poll(Duration::ZERO);
        let heard = heard.lock().unwrap();
        if heard.errors.iter().any(|error| error.contains("alert bad certificate")) {
            return Ok(());
        }
        Err(format!("{:?}", heard.errors))
    })
    .await
    .unwrap();
    assert!(heard.lock().unwrap().reports.is_empty(), "a stranger's record was answered");
    producer.purge(rdkafka::producer::PurgeConfig::default().queue().inflight());
}

async fn report_of(config: ClientConfig, topic: &str) -> Result<(), KafkaError> {
    let (producer, heard) = producer(&config);
    producer.send(BaseRecord::<str, str>::to(topic).key("t1").payload("{}")).unwrap();
    wait_for_reports(&producer, &heard, 1).await;
    heard.lock().unwrap().reports.remove(0)
}

pub(super) async fn wait_for_reports(
    producer: &BaseProducer<Listener>,
    heard: &Arc<Mutex<Heard>>,
    wanted: usize,
) {
    wait::until("the delivery reports are in", SOON, async || {
        producer.poll(Duration::ZERO);
        let heard = heard.lock().unwrap();
        if heard.reports.len() >= wanted { Ok(()) } else { Err(format!("{:?}", heard.errors)) }
    })
    .await
    .unwrap();
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}
