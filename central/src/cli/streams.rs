//! `central streams`: what arrived of each stream, what is missing, and since when.

use std::process::ExitCode;

use serde_json::json;

use super::stores::time;
use super::{StreamsCommand, Style, out};
use crate::config::Config;
use crate::store::Store;
use crate::store::audit::Doer;
use crate::store::streams::{Arrived, Gap, Whose};

pub(crate) async fn run(config: &Config, command: StreamsCommand) -> anyhow::Result<ExitCode> {
    let store = Store::new(&config.postgres)?;
    match command {
        StreamsCommand::List { store: name, gaps, style } => {
            let whose = name.as_ref().map_or(Whose::All, Whose::Store);
            let mut all = store.streams(whose).await?;
            all.retain(|one| !gaps || one.gaps > 0);
            list(&all, style)?;
        }
        StreamsCommand::Show { stream, style } => {
            let all = store.streams(Whose::Stream(stream)).await?;
            anyhow::ensure!(!all.is_empty(), "nothing of stream {stream} has come");
            show((&all, &store.gaps(stream).await?), style)?;
        }
        StreamsCommand::GiveUp { store: name, stream, first, last, reason, by } => {
            let last = last.unwrap_or(first);
            anyhow::ensure!(first <= last, "the first sequence lies behind the last");
            let doer = Doer { name: by.name, reason: Some(reason) };
            let given_up = store.give_up_gap((&name, stream), (first, last), &doer).await?;
            anyhow::ensure!(given_up > 0, "none of these sequences is missing");
            out::line(format_args!("{given_up} missing sequences are given up"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(all: &[Arrived], style: Style) -> anyhow::Result<()> {
    for one in all {
        if style.json {
            out::line(serde_json::to_string(one)?)?;
        } else {
            out::line(one_line(one))?;
        }
    }
    if all.is_empty() && !style.json {
        out::line("no streams")?;
    }
    Ok(())
}

fn show((all, gaps): (&[Arrived], &[Gap]), style: Style) -> anyhow::Result<()> {
    for one in all {
        let own: Vec<&Gap> = gaps.iter().filter(|gap| gap.store == one.store).collect();
        if style.json {
            let mut whole = json!(one);
            whole["open_gaps"] = json!(own);
            out::line(whole)?;
            continue;
        }
        out::line(one_line(one))?;
        for gap in own {
            let (first, last, since) = (gap.first_sequence, gap.last_sequence, time(gap.since));
            out::line(format_args!("  {first} to {last} missing since {since}"))?;
        }
    }
    Ok(())
}

fn one_line(one: &Arrived) -> String {
    let or_dash = |at: Option<_>| at.map_or("-".to_owned(), time);
    format!(
        "{:<12}  {}  {:<6}  1 to {}: {} accepted, {} set aside, {} missing, {} given up ({} by the agent); \
         complete through {}, the agent says {}",
        one.store,
        one.stream,
        if one.active { "active" } else { "" },
        one.highest_sequence,
        one.accepted,
        one.set_aside,
        one.gaps,
        one.given_up,
        one.abandoned,
        or_dash(one.complete_through),
        or_dash(one.told_through)
    )
}
