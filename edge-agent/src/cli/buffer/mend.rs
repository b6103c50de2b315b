//! What is done to a buffer that no agent runs on: a repair, a new key.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use super::{Shape, print, print_json};
use crate::buffer::Key;
use crate::buffer::rekey::{Rekeyed, rekey as give_key};
use crate::buffer::repair::{Repaired, repair as make_whole};
use crate::config::Config;
use crate::run::{binding, buffer_settings};

pub(super) fn repair(config: &Config, shape: Shape) -> anyhow::Result<ExitCode> {
    let repaired = make_whole(&buffer_settings(config)?, &binding(config))?;
    match shape {
        Shape::Json => print_json(&repaired)?,
        Shape::Text => print(&text(&repaired))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(repaired: &Repaired) -> String {
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").expect("a String takes all");
    let (unreadable, older) = (repaired.unreadable_pages.len(), repaired.older_pages.len());
    line(format!("{} pages, {unreadable} unreadable, {older} out of date", repaired.pages));
    for (table, rows) in repaired.rows.iter().filter(|&(_, &rows)| rows > 0) {
        line(format!("{rows:>9} rows of {table}"));
    }
    for (first, last) in repaired.abandoned.iter() {
        line(format!("abandoned: batches {first} to {last}; the next batch says so"));
    }
    for lost in &repaired.lost {
        line(format!("lost: {lost}"));
    }
    line(format!("the damaged file is kept as {}", repaired.kept_as.display()));
    out
}

pub(super) fn rekey(config: &Config, new: &Path, shape: Shape) -> anyhow::Result<ExitCode> {
    let done = give_key(&buffer_settings(config)?, &Key::from_file(new)?)?;
    let (new, old) = (new.display(), config.buffer.key_file.display());
    let said = match done {
        Rekeyed::Done => format!("the buffer has the new key; put {new} in the place of {old} now"),
        Rekeyed::Already => {
            format!("the buffer has this key already; put {new} in the place of {old}")
        }
    };
    match shape {
        Shape::Json => print_json(&serde_json::json!({ "said": said }))?,
        Shape::Text => print(&said)?,
    }
    Ok(ExitCode::SUCCESS)
}
