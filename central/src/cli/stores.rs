//! `central stores`: which stores there are, what may count of them, and their breakers.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, Utc};
use shared::delivered::{DeliveredSeries, FILE_BYTES_MAX, SignedDelivered};
use shared::ids::{StoreId, StreamId};
use shared::time::Minute;

use super::{StoresCommand, Style, out};
use crate::config::Config;
use crate::store::Store;
use crate::store::registry::{Listed, Shown};
use crate::tls;

pub(crate) async fn run(config: &Config, command: StoresCommand) -> anyhow::Result<ExitCode> {
    let store = Store::new(&config.postgres)?;
    let now = config.clock.now().minute();
    match command {
        StoresCommand::Add { stores, opened_at, state, who } => {
            let doer = who.into();
            for name in &stores {
                store.add_store(name, (opened_at.unwrap_or(now), state), &doer).await?;
                out::line(format_args!("added {name}"))?;
            }
        }
        StoresCommand::List { style } => list(&store.stores().await?, style)?,
        StoresCommand::Show { store: name, style } => {
            let Some(shown) = store.store(&name).await? else {
                anyhow::bail!("store {name} is not in the registry");
            };
            show(&shown, style)?;
        }
        StoresCommand::SetState { store: name, state, from, who } => {
            let from: Minute = from.unwrap_or(now);
            store.set_store_state(&name, (from, state), &who.into()).await?;
            out::line(format_args!("store {name} is {state} from {from} on"))?;
        }
        StoresCommand::ActivateStream { store: name, stream, who } => {
            let before = store.activate_stream(&name, stream, &who.into()).await?;
            out::line(activated(&name, (before, stream)))?;
        }
        StoresCommand::ExportReceipts { store: name, out: file, key, who } => {
            let delivered = store.delivered(&name, config.clock.now(), &who.into()).await?;
            let count: u64 = delivered.tills.iter().map(receipts_of).sum();
            let line = delivered.line();
            let signed = SignedDelivered::new(line.clone(), Vec::new()).signed_bytes();
            let signed = SignedDelivered::new(line, tls::sign(&key, &signed)?);
            write_whole(&file, &signed.text())?;
            let series = delivered.tills.len();
            out::line(format_args!(
                "{count} receipts of {series} tills and series of store {name}"
            ))?;
        }
        StoresCommand::ResetBreaker { store: name, who } => {
            match store.reset_breaker(&name, &who.into()).await? {
                Some(since) => {
                    out::line(format_args!("closed; it was open since {}", time(since)))?;
                }
                None => out::line("it was not open; its bad verdicts are forgotten")?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn receipts_of(one: &DeliveredSeries) -> u64 {
    one.receipts.count() + one.receipt_ids.len() as u64
}

/// Writes a file under another name first, so that there is never half of one.
fn write_whole(file: &Path, text: &str) -> anyhow::Result<()> {
    anyhow::ensure!(text.len() as u64 <= FILE_BYTES_MAX, "more than {FILE_BYTES_MAX} bytes");
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let written = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, file));
    written.with_context(|| format!("cannot write {}", file.display()))
}

fn activated(store: &StoreId, (before, stream): (Option<StreamId>, StreamId)) -> String {
    match before {
        Some(before) if before == stream => format!("{stream} was active already"),
        Some(before) => format!("store {store} delivers by {stream}, no longer by {before}"),
        None => format!("store {store} delivers by {stream}"),
    }
}

fn list(stores: &[Listed], style: Style) -> anyhow::Result<()> {
    for one in stores {
        if style.json {
            out::line(serde_json::to_string(one)?)?;
        } else {
            out::line(one_line(one))?;
        }
    }
    if stores.is_empty() && !style.json {
        out::line("no stores")?;
    }
    Ok(())
}

fn show(shown: &Shown, style: Style) -> anyhow::Result<()> {
    if style.json {
        out::line(serde_json::to_string(shown)?)?;
        return Ok(());
    }
    out::line(one_line(&shown.listed))?;
    let opened = time(shown.listed.opened_at);
    out::line(format_args!("  opened {opened}, added by {}", shown.added_by))?;
    for one in &shown.states {
        out::line(format_args!("  {:<8} from {} on, by {}", one.state, time(one.from), one.by))?;
    }
    for one in &shown.streams {
        let until = one.retired_at.map_or("active".to_owned(), |at| format!("until {}", time(at)));
        let since = time(one.activated_at);
        out::line(format_args!("  stream {} since {since}, {until}, by {}", one.stream, one.by))?;
    }
    out::line(format_args!("  {} of the last 50 verdicts were bad", shown.bad_of_last_50))?;
    out::line(format_args!("  {} open dead letters", shown.open_dead_letters))?;
    Ok(())
}

fn one_line(one: &Listed) -> String {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let breaker = one.breaker_opened_at.map(|at| format!("  BREAKER OPEN since {}", time(at)));
    format!(
        "{:<12}  {:<8}  stream {:<36}  complete through {}{}",
        one.store,
        one.state,
        or_dash(one.stream.map(|stream| stream.to_string())),
        or_dash(one.complete_through.map(time)),
        breaker.unwrap_or_default()
    )
}

pub(super) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
