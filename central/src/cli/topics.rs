//! `central topics`: what is missing of topics and rights is made, and a stopped partition is let on.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context;
use shared::topics::Topic;

use super::{TopicsCommand, out};
use crate::config::Config;
use crate::kafka::scan::Scan;
use crate::store::Store;
use crate::store::audit::Doer;
use crate::{lake, topics};

pub(crate) async fn run(config: &Config, command: TopicsCommand) -> anyhow::Result<ExitCode> {
    match command {
        TopicsCommand::Apply { stores } => {
            for step in topics::apply(&config.kafka, &stores).await? {
                out::line(step)?;
            }
        }
        TopicsCommand::Resume { partition, reason, by } => {
            let doer = Doer { name: by.name, reason: Some(reason) };
            resume(config, partition, &doer).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn resume(config: &Config, partition: i32, doer: &Doer) -> anyhow::Result<()> {
    let topic = Topic::StoreMinutes.name(&config.kafka.topic_prefix);
    let generation = lake::generation(config, &topic).await?;
    let nothing_wanted = BTreeMap::from([(partition, 0)]);
    let scan = Scan::start(&config.kafka, &topic, (&BTreeMap::new(), &nothing_wanted)).await?;
    let first = scan.first().get(&partition).copied().context("the broker named no offset")?;
    let store = Store::new(&config.postgres)?;
    let stood = store.pass_over((&generation, partition), first, doer).await?;
    let stood = stood.with_context(|| {
        format!("partition {partition} lacks nothing: the broker holds what is to be read next")
    })?;
    out::line(format_args!(
        "partition {partition} reads on at {first}; {} records before it are gone unread",
        first - stood
    ))?;
    Ok(())
}
