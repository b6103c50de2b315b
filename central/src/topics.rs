//! Topics, their settings and who may use them, brought to what they should be. It creates and
//! changes; it never deletes a topic, takes away a right or changes a partition count.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use shared::ids::StoreId;
use shared::topics::{Topic, store_principal};

use crate::config::KafkaConfig;
use crate::kafka::admin::{Admin, AdminError, Operation, Pattern, Resource, Right, TopicFacts};

/// What was found and done about one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The thing.
    pub what: String,
    /// What was done.
    pub done: Done,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// It was not there.
    Created,
    /// Nothing had to be done.
    AsItShouldBe,
    /// These settings were changed.
    Changed(Vec<String>),
    /// It differs and cannot be changed.
    Differs(String),
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.done {
            Done::Created => write!(out, "created          {}", self.what),
            Done::AsItShouldBe => write!(out, "as it should be  {}", self.what),
            Done::Changed(keys) => {
                write!(out, "changed          {}: {}", self.what, keys.join(", "))
            }
            Done::Differs(how) => write!(out, "differs          {}: {how}", self.what),
        }
    }
}

/// Creates and corrects topics and rights; safe to repeat.
pub async fn apply(config: &KafkaConfig, stores: &[StoreId]) -> Result<Vec<Step>, AdminError> {
    let mut admin = Admin::connect_as_administrator(config).await?;
    let names: Vec<String> = Topic::ALL.iter().map(|one| one.name(&config.topic_prefix)).collect();
    let there = admin.topics(&names).await?;
    let mut steps = Vec::new();
    for topic in Topic::ALL {
        let facts = there.get(&topic.name(&config.topic_prefix));
        steps.push(apply_topic(&mut admin, config, topic, facts).await?);
    }
    let granted = admin.rights().await?;
    let wanted = wanted_rights(config, stores);
    let missing: Vec<Right> = wanted.difference(&granted).cloned().collect();
    if !missing.is_empty() {
        admin.grant(&missing).await?;
    }
    for right in wanted {
        let done = if granted.contains(&right) { Done::AsItShouldBe } else { Done::Created };
        steps.push(Step { what: right.to_string(), done });
    }
    Ok(steps)
}

async fn apply_topic(
    admin: &mut Admin,
    config: &KafkaConfig,
    topic: Topic,
    facts: Option<&TopicFacts>,
) -> Result<Step, AdminError> {
    let name = topic.name(&config.topic_prefix);
    let what = format!("topic {name}");
    let settings = settings(config, topic);
    let wanted: Vec<(&str, &str)> = settings.iter().map(|(key, value)| (*key, &**value)).collect();
    let Some(facts) = facts else {
        admin.create_topic(&name, config.partitions, config.replication_factor, &wanted).await?;
        return Ok(Step { what, done: Done::Created });
    };
    let now = admin.topic_settings(&name).await?;
    let changed = differing(&wanted, &now);
    if !changed.is_empty() {
        admin.set_topic_settings(&name, &changed).await?;
    }
    let done = if facts.partitions != usize::try_from(config.partitions).unwrap_or(0) {
        Done::Differs(format!(
            "it has {} partitions, the configuration says {}; keys would move, so it stays",
            facts.partitions, config.partitions
        ))
    } else if changed.is_empty() {
        Done::AsItShouldBe
    } else {
        Done::Changed(changed.iter().map(|(key, value)| format!("{key}={value}")).collect())
    };
    Ok(Step { what, done })
}

/// Returns the wanted settings that are not so.
fn differing<'a>(
    wanted: &[(&'a str, &'a str)],
    now: &BTreeMap<String, String>,
) -> Vec<(&'a str, &'a str)> {
    let differs = |(key, value): &(&str, &str)| now.get(*key).map(String::as_str) != Some(*value);
    wanted.iter().copied().filter(differs).collect()
}

/// Adds what depends on the number of copies: where there are three, two must hold a record before
/// it counts as written, and a copy that lags may not take over.
fn settings(config: &KafkaConfig, topic: Topic) -> Vec<(&'static str, String)> {
    let mut settings: Vec<(&str, String)> =
        topic.settings().into_iter().map(|(key, value)| (key, value.to_owned())).collect();
    let in_sync = if config.replication_factor >= 3 { "2" } else { "1" };
    settings.push(("min.insync.replicas", in_sync.to_owned()));
    settings.push(("unclean.leader.election.enable", "false".to_owned()));
    settings
}

fn wanted_rights(config: &KafkaConfig, stores: &[StoreId]) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    let prefix = config.topic_prefix.as_str();
    let any = |principal: &str, operation| {
        right(principal, (Resource::Topic, prefix, Pattern::Prefixed), operation)
    };
    rights.extend([Operation::Read, Operation::Describe].map(|may| any("central", may)));
    for topic in [Topic::Reorders, Topic::Context, Topic::PriceOffers] {
        let name = topic.name(prefix);
        rights.insert(right(
            "central",
            (Resource::Topic, &name, Pattern::Literal),
            Operation::Write,
        ));
    }
    let group = (Resource::Group, config.group_prefix.as_str(), Pattern::Prefixed);
    rights.extend([Operation::Read, Operation::Describe].map(|may| right("central", group, may)));
    rights.extend(
        [Operation::Read, Operation::Write, Operation::Describe].map(|may| any("fakes", may)),
    );
    for store in stores {
        rights.extend(store_rights(prefix, store));
    }
    rights
}

fn store_rights(prefix: &str, store: &StoreId) -> Vec<Right> {
    let principal = store_principal(store);
    let mut rights = Vec::new();
    for topic in Topic::ALL {
        let name = topic.name(prefix);
        let operations = match topic {
            Topic::StoreMinutes | Topic::StoreStatus | Topic::Loyalty => {
                [Operation::Write, Operation::Describe]
            }
            Topic::PriceOffers => [Operation::Read, Operation::Describe],
            Topic::Reorders | Topic::Context => continue,
        };
        let thing = (Resource::Topic, name.as_str(), Pattern::Literal);
        rights.extend(operations.map(|may| right(&principal, thing, may)));
    }
    rights
}

fn right(principal: &str, thing: (Resource, &str, Pattern), operation: Operation) -> Right {
    Right {
        principal: format!("User:{principal}"),
        resource: thing.0,
        name: thing.1.to_owned(),
        pattern: thing.2,
        operation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_may_write_its_topics_and_read_its_prices_and_nothing_more() {
        let store = StoreId::new("0417").unwrap();
        let rights: Vec<String> =
            store_rights("f.", &store).iter().map(ToString::to_string).collect();
        assert_eq!(
            rights,
            [
                "User:store-0417 may write topic f.store-minutes.v1",
                "User:store-0417 may describe topic f.store-minutes.v1",
                "User:store-0417 may write topic f.store-status.v1",
                "User:store-0417 may describe topic f.store-status.v1",
                "User:store-0417 may write topic f.loyalty.v1",
                "User:store-0417 may describe topic f.loyalty.v1",
                "User:store-0417 may read topic f.price-offers.v1",
                "User:store-0417 may describe topic f.price-offers.v1",
            ]
        );
    }

    #[test]
    fn only_settings_that_differ_are_changed() {
        let now =
            BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        assert_eq!(
            differing(&[("a", "1"), ("b", "3"), ("c", "4")], &now),
            [("b", "3"), ("c", "4")]
        );
    }
}
