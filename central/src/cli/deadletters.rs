//! `central deadletters`: what was refused, with its bytes and every reason.

use std::process::ExitCode;

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::Style;
use crate::cli::out;
use crate::config::Config;
use crate::store::Store;
use crate::store::dead_letters::DeadLetter;

pub(crate) async fn list(config: &Config, limit: i64, style: Style) -> anyhow::Result<ExitCode> {
    let letters = Store::new(&config.postgres)?.dead_letters(limit).await?;
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

pub(crate) async fn show(config: &Config, id: i64, style: Style) -> anyhow::Result<ExitCode> {
    let Some(letter) = Store::new(&config.postgres)?.dead_letter(id).await? else {
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
    let rules: Vec<String> = reasons(letter).into_iter().map(|(rule, ..)| rule).collect();
    format!(
        "{:>6}  {}  {}  {}/{}  key {}  {}",
        letter.id,
        letter.first_seen.to_rfc3339_opts(SecondsFormat::Secs, true),
        letter.state,
        letter.partition,
        letter.offset,
        bytes(letter.key.as_deref()),
        rules.join(", ")
    )
}

fn summary(letter: &DeadLetter) -> Value {
    json!({
        "id": letter.id, "topic": letter.topic, "generation": letter.generation,
        "partition": letter.partition, "offset": letter.offset, "key": bytes(letter.key.as_deref()),
        "first_seen": letter.first_seen.to_rfc3339_opts(SecondsFormat::Millis, true),
        "state": letter.state, "reasons": letter.reasons,
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
