//! `central deadletters`: what was refused, with its bytes and every reason, and what to do about it.

mod again;

use std::process::ExitCode;

use chrono::SecondsFormat;
use data_encoding::BASE64;
use serde_json::{Value, json};
use shared::ids::StoreId;

use super::{DeadlettersCommand, Style, Which};
use crate::cli::out;
use crate::config::Config;
use crate::store::Store;
use crate::store::audit::Doer;
use crate::store::dead_letters::{DeadLetter, Filter};

/// Dead letters that are read at once: at most as many bytes as a batch of the judge holds.
const PAGE: i64 = 20;

pub(crate) async fn run(config: &Config, command: DeadlettersCommand) -> anyhow::Result<ExitCode> {
    let store = Store::new(&config.postgres)?;
    match command {
        DeadlettersCommand::List { which, state, limit, style } => {
            list(&store, (&filter(which, state), limit), style).await
        }
        DeadlettersCommand::Show { id, style } => show(&store, id, style).await,
        DeadlettersCommand::Replay { ids, which, all, wait_seconds, by } => {
            let filter = filter(which, Some("open".to_owned()));
            let chosen = match (ids.is_empty(), all || filter != open()) {
                (false, _) => again::Chosen::Numbers(ids),
                (true, true) => again::Chosen::Filter(filter),
                (true, false) => {
                    anyhow::bail!("say which: numbers, --store, --reason, --since or --all")
                }
            };
            let doer = Doer { name: by.name, reason: None };
            again::replay(config, &store, (chosen, wait_seconds), &doer).await
        }
        DeadlettersCommand::Discard { ids, counted_of, reason, by } => {
            let doer = Doer { name: by.name, reason: Some(reason) };
            match counted_of {
                Some(of) => discard_counted(&store, of, &doer).await?,
                None => discard(&store, ids, &doer).await?,
            }
            Ok(ExitCode::SUCCESS)
        }
        DeadlettersCommand::Export { which, state, by } => {
            let doer = Doer { name: by.name, reason: None };
            export(&store, &filter(which, state), &doer).await
        }
    }
}

fn filter(which: Which, state: Option<String>) -> Filter {
    Filter { store: which.store, reason: which.reason, since: which.since, state }
}

/// The filter that says nothing but that they are open.
fn open() -> Filter {
    Filter { state: Some("open".to_owned()), ..Filter::default() }
}

async fn list(
    store: &Store,
    (filter, limit): (&Filter, i64),
    style: Style,
) -> anyhow::Result<ExitCode> {
    let letters = store.dead_letters(filter, limit).await?;
    for letter in &letters {
        if style.json {
            out::line(summary(letter))?;
        } else {
            out::line(one_line(letter))?;
        }
    }
    if letters.is_empty() && !style.json {
        out::line("no dead letters")?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn discard(
    store: &Store,
    ids: impl IntoIterator<Item = i64>,
    doer: &Doer,
) -> anyhow::Result<()> {
    for id in ids {
        store.discard_letter(id, doer).await?;
        out::line(format_args!("discarded {id}"))?;
    }
    Ok(())
}

/// Closes the letters of a store that hold nothing new, and says how many others stay open.
async fn discard_counted(store: &Store, of: StoreId, doer: &Doer) -> anyhow::Result<()> {
    let filter = Filter { store: Some(of), ..open() };
    let (mut last, mut others) = (0, 0_u64);
    loop {
        let page = store.dead_letters_behind(&filter, (last, PAGE)).await?;
        let Some(newest) = page.last() else { break };
        last = newest.id;
        let mut counted = Vec::new();
        for letter in &page {
            if store.counts_already(letter).await? { counted.push(letter.id) } else { others += 1 }
        }
        discard(store, counted, doer).await?;
    }
    out::line(format_args!("{others} others hold something else and stay open"))?;
    Ok(())
}

/// Writes every dead letter that is meant; who took them out is noted.
async fn export(store: &Store, filter: &Filter, doer: &Doer) -> anyhow::Result<ExitCode> {
    let mut last = 0;
    let mut written: u64 = 0;
    loop {
        let page = store.dead_letters_behind(filter, (last, PAGE)).await?;
        let Some(newest) = page.last() else { break };
        last = newest.id;
        for letter in &page {
            out::line(whole(letter)?)?;
            written += 1;
        }
    }
    store.note(doer, ("deadletters export", json!({ "letters": written }))).await?;
    Ok(ExitCode::SUCCESS)
}

/// Returns a dead letter with all its bytes in base64.
fn whole(letter: &DeadLetter) -> anyhow::Result<Value> {
    let base64 = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| BASE64.encode(bytes));
    let headers = letter
        .header_bytes()
        .ok_or_else(|| anyhow::anyhow!("dead letter {} has unreadable headers", letter.id))?;
    let mut whole = summary(letter);
    whole["key_base64"] = base64(&letter.key).into();
    whole["body_base64"] = base64(&letter.body).into();
    let header = |(name, value): &(String, Vec<u8>)| json!({ "name": name, "value_base64": BASE64.encode(value) });
    whole["headers"] = headers.iter().map(header).collect();
    Ok(whole)
}

async fn show(store: &Store, id: i64, style: Style) -> anyhow::Result<ExitCode> {
    let Some(letter) = store.dead_letter(id).await? else {
        anyhow::bail!("there is no dead letter {id}");
    };
    if style.json {
        let mut whole = summary(&letter);
        whole["headers"] = letter.headers.clone();
        whole["body"] = bytes(letter.body.as_deref());
        out::line(whole)?;
        return Ok(ExitCode::SUCCESS);
    }
    out::line(one_line(&letter))?;
    for (rule, at, says) in reasons(&letter) {
        out::line(format_args!("  {rule}: {says}"))?;
        out::line(format_args!("    at {at}"))?;
    }
    for header in letter.headers.as_array().into_iter().flatten() {
        out::line(format_args!("  {header}"))?;
    }
    out::line(format_args!("  key   {}", bytes(letter.key.as_deref())))?;
    out::line(format_args!("  body  {}", bytes(letter.body.as_deref())))?;
    Ok(ExitCode::SUCCESS)
}

fn one_line(letter: &DeadLetter) -> String {
    let times = if letter.times > 1 { format!("  {} times", letter.times) } else { String::new() };
    format!(
        "{:>6}  {}  {}  {}/{}  key {}  {}{times}",
        letter.id,
        letter.first_seen.to_rfc3339_opts(SecondsFormat::Secs, true),
        letter.state,
        letter.partition,
        letter.offset,
        bytes(letter.key.as_deref()),
        letter.rules().join(", ")
    )
}

fn summary(letter: &DeadLetter) -> Value {
    json!({
        "id": letter.id, "topic": letter.topic, "generation": letter.generation,
        "partition": letter.partition, "offset": letter.offset, "key": bytes(letter.key.as_deref()),
        "first_seen": letter.first_seen.to_rfc3339_opts(SecondsFormat::Millis, true),
        "last_seen": letter.last_seen.to_rfc3339_opts(SecondsFormat::Millis, true),
        "times": letter.times, "state": letter.state, "reasons": letter.reasons,
        "place": letter.place.as_ref().map(|(store, stream, sequence)| {
            json!({ "store": store, "stream": stream, "sequence": sequence })
        }),
    })
}

fn reasons(letter: &DeadLetter) -> Vec<(String, String, String)> {
    let part = |reason: &Value, name: &str| reason[name].as_str().unwrap_or_default().to_owned();
    letter.reasons.as_array().map_or_else(Vec::new, |all| {
        all.iter().map(|one| (part(one, "rule"), part(one, "at"), part(one, "says"))).collect()
    })
}

/// Shows bytes as text where they are text, else as `{"hex": ..}`.
fn bytes(found: Option<&[u8]>) -> Value {
    match found.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Value::Null,
        Some((_, Ok(text))) => text.into(),
        Some((bytes, Err(_))) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "hex": hex })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_shown_whole() {
        assert_eq!(bytes(Some(b"0417")), json!("0417"));
        assert_eq!(bytes(Some(&[0xff, 0x00])), json!({ "hex": "ff00" }));
        assert_eq!(bytes(None), Value::Null);
    }
}
