//! Which topic this is: Kafka's topic id, so that offsets of a topic that was deleted and made anew
//! are never taken for those of the old one.

use std::time::Duration;

use shared::backoff::Backoff;
use shared::log::Chain;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::KafkaConfig;
use crate::kafka::admin::{Admin, AdminError};
use crate::status::Status;
use crate::store::Store;

/// How often the topic's id is looked at while it is read.
const LOOK_EVERY: Duration = Duration::from_secs(5);

async fn topic_id(config: &KafkaConfig, topic: &str) -> Result<Option<String>, AdminError> {
    let names = [topic.to_owned()];
    let facts = Admin::connect(config).await?.topics(&names).await?;
    Ok(facts.get(topic).map(|facts| facts.id.clone()))
}

/// Waits until the schema is there and the topic, and returns the topic's id.
pub(super) async fn find(
    config: &KafkaConfig,
    topic: &str,
    store: &Store,
    status: &Status,
) -> String {
    let (first, most) = (Duration::from_millis(200), Duration::from_secs(5));
    let mut backoff = Backoff::new(first, most, u64::from(std::process::id()));
    loop {
        let schema = store.check_schema().await.map_err(|error| Chain(&error).to_string());
        status.set_trouble(super::POSTGRES, schema.as_ref().err().cloned());
        let found = topic_id(config, topic).await.map_err(|error| Chain(&error).to_string());
        let found = found.and_then(|id| {
            id.ok_or_else(|| format!("topic {topic} is not there: run `central topics apply`"))
        });
        status.set_trouble(super::KAFKA, found.as_ref().err().cloned());
        match (schema, found) {
            (Ok(()), Ok(id)) => return id,
            (schema, found) => {
                for error in schema.err().into_iter().chain(found.err()) {
                    tracing::warn!(error, "not ready to ingest yet");
                }
            }
        }
        tokio::time::sleep(backoff.next_wait()).await;
    }
}

/// Looks at the topic's id from time to time and tells a new one.
pub(super) fn watch(
    config: &KafkaConfig,
    topic: &str,
    generation: &str,
) -> (JoinHandle<()>, watch::Receiver<Option<String>>) {
    let (tell, told) = watch::channel(None);
    let (config, topic, known) = (config.clone(), topic.to_owned(), generation.to_owned());
    let looking = tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            match topic_id(&config, &topic).await {
                Ok(Some(id)) if id != known => {
                    tell.send_replace(Some(id));
                    // The sender stays, so that the receiver does not see a closed channel.
                    std::future::pending::<()>().await;
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(error = %Chain(&error), "cannot look at the topic"),
            }
        }
    });
    (looking, told)
}
