//! What was set aside: listed, shown and exported. Values are hidden unless they are asked for as they
//! came, and who asks for that is noted.

use std::fmt::Write;
use std::io::{self, BufWriter};
use std::process::ExitCode;

use anyhow::Context as _;

use super::{QuarantineCommand, Shape, print, print_json, redact, show_all};
use crate::buffer::inspect::{Inspector, SetAside};
use crate::config::Config;

/// Units that are listed at once for an export.
const UNITS_AT_ONCE: u32 = 200;

pub(super) fn run(
    config: &Config,
    inspector: &Inspector,
    command: &QuarantineCommand,
) -> anyhow::Result<ExitCode> {
    match command {
        QuarantineCommand::List(listing) => {
            show_all(&inspector.set_aside(listing.limit)?, listing, quarantine_table)
        }
        QuarantineCommand::Show { id, raw, shaped } => {
            set_aside_bytes(config, inspector, (*id, *raw, Shape::of(shaped.json)))
        }
        QuarantineCommand::Retry { .. } => unreachable!("a retry is asked of the agent"),
        QuarantineCommand::Export => export(inspector),
    }
}

fn quarantine_table(units: &[SetAside]) -> String {
    let mut out = String::from("    id  seen  first                 where and why\n");
    for unit in units {
        let SetAside { id, seen, first_at, source, feed, reason, .. } = unit;
        let (start, end) = (unit.first_offset, unit.end_offset);
        writeln!(out, "{id:>6}  {seen:>4}  {first_at}  {source}/{feed} {start}..{end}: {reason}")
            .expect("a String takes all");
    }
    out
}

/// A unit as it is exported.
#[derive(serde::Serialize)]
struct Exported {
    #[serde(flatten)]
    unit: SetAside,
    /// Its bytes as text, with values hidden.
    text: String,
}

fn export(inspector: &Inspector) -> anyhow::Result<ExitCode> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut after = 0;
    loop {
        let units = inspector.set_aside_after(after, UNITS_AT_ONCE)?;
        let Some(last) = units.last().map(|unit| unit.id) else { break };
        for unit in units {
            // One that was forgotten or read rightly since is no longer set aside.
            let Some(bytes) = inspector.set_aside_bytes(unit.id)? else { continue };
            let line = serde_json::to_string(&Exported { unit, text: redact::redacted(&bytes) })?;
            match io::Write::write_all(&mut out, format!("{line}\n").as_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(ExitCode::SUCCESS);
                }
                written => written?,
            }
        }
        after = last;
    }
    match io::Write::flush(&mut out) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        flushed => Ok(flushed.map(|()| ExitCode::SUCCESS)?),
    }
}

/// Prints a unit's bytes. Who sees them as they came is noted first, beside the buffer.
fn set_aside_bytes(
    config: &Config,
    inspector: &Inspector,
    (id, raw, shape): (i64, bool, Shape),
) -> anyhow::Result<ExitCode> {
    let Some(bytes) = inspector.set_aside_bytes(id)? else {
        anyhow::bail!("nothing is set aside under number {id}");
    };
    if raw {
        note_access(config, id)?;
        io::Write::write_all(&mut io::stdout().lock(), &bytes)?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = redact::redacted(&bytes);
    match shape {
        Shape::Json => print_json(&serde_json::json!({ "id": id, "text": text }))?,
        Shape::Text => print(&text)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn note_access(config: &Config, id: i64) -> anyhow::Result<()> {
    let path = config.state_folder.join("audit.jsonl");
    let who = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).ok();
    let entry = serde_json::json!({
        "at": shared::time::Clock::real().now(), "what": "quarantine show --raw", "id": id, "who": who,
    });
    let write = || -> io::Result<()> {
        let mut file = std::fs::File::options().create(true).append(true).open(&path)?;
        io::Write::write_all(&mut file, format!("{entry}\n").as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| {
        format!("raw bytes are shown only where the access can be noted in {}", path.display())
    })
}
