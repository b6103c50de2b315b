//! `status`: how the agent is, by the file that it writes when there is news.

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use shared::time::{Clock, Timestamp};

use super::{Shape, print, print_json};
use crate::config::Config;
use crate::ship::Link;
use crate::status::{self, Report};

pub(super) fn run(config: &Config, shape: Shape) -> anyhow::Result<ExitCode> {
    let report = read(config)?;
    let age = Clock::real().now().since(report.written_at).as_secs();
    match shape {
        Shape::Json => print_json(&report)?,
        Shape::Text => print(&text(&report, age))?,
    }
    let fresh = age <= status::FRESH.as_secs();
    Ok(if fresh { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints the figures that are watched, one a line. `written` tells a collector how old they are.
pub(super) fn metrics(config: &Config) -> anyhow::Result<ExitCode> {
    let report = read(config)?;
    let (status, flag) = (&report.status, |is_so: bool| i64::from(is_so));
    let seconds = |at: Timestamp| at.unix_millis().div_euclid(1000);
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let refused = flag(report.certificate.refused.is_some());
    let figures = [
        ("written_timestamp_seconds", Some(seconds(report.written_at))),
        (
            "complete_through_timestamp_seconds",
            status.complete_through.map(|at| seconds(at.start())),
        ),
        ("backlog_batches", Some(count(status.backlog))),
        ("highest_sequence", Some(count(status.highest_sequence))),
        ("set_aside", Some(count(status.quarantined))),
        ("duplicates_total", Some(count(report.duplicates))),
        ("broker_down", Some(flag(matches!(report.link, Link::Down { .. })))),
        ("certificate_expires_timestamp_seconds", report.certificate.expires.map(seconds)),
        ("certificate_bad", Some(flag(report.certificate.fault.is_some()))),
        ("certificate_refused", Some(refused)),
        ("clock_wrong", Some(flag(report.status.clock_error.is_some()))),
    ];
    let mut out = String::new();
    for (name, value) in figures {
        let Some(value) = value else { continue };
        writeln!(out, "# TYPE frischmarkt_edge_{name} gauge").expect("a String takes all");
        writeln!(out, "frischmarkt_edge_{name}{{store=\"{}\"}} {value}", status.store)
            .expect("a String takes all");
    }
    print(&out)?;
    Ok(ExitCode::SUCCESS)
}

fn read(config: &Config) -> anyhow::Result<Report> {
    let path = status::path(&config.state_folder);
    status::read(&config.state_folder)
        .with_context(|| format!("no status in {}; has the agent run?", path.display()))
}

fn text(report: &Report, age: u64) -> String {
    let status = &report.status;
    let alive = if age <= status::FRESH.as_secs() { "running" } else { "not running" };
    let link = match &report.link {
        Link::Idle => "nothing was sent lately, nothing is known to be wrong".to_owned(),
        Link::Up => "up".to_owned(),
        Link::Down { reason } => format!("down: {reason}"),
    };
    let through = status.complete_through.map_or("nothing yet".to_owned(), |at| at.to_string());
    let mut out = format!(
        "agent {alive} (process {}, written {age} s ago), store {}, version {}\n\
         stream           {} with {} batches, {} wait\n\
         complete through {through}\n\
         broker           {link}\n\
         duplicates       {}\n\
         set aside        {}\n\
         buffer           {} of {} bytes\n",
        report.pid,
        status.store,
        status.version,
        status.stream,
        status.highest_sequence,
        status.backlog,
        report.duplicates,
        status.quarantined,
        report.buffer_bytes.0,
        report.buffer_bytes.1,
    );
    if status.given_up > 0 {
        writeln!(out, "given up         {} batches, with their losses", status.given_up)
            .expect("a String takes all");
    }
    let days = status.certificate_days.map(|days| format!("{days} days left"));
    let certificate = [&days, &report.certificate.fault, &report.certificate.refused];
    for told in certificate.into_iter().flatten() {
        writeln!(out, "certificate      {told}").expect("a String takes all");
    }
    if let Some(error) = &status.clock_error {
        writeln!(out, "clock            {error}").expect("a String takes all");
    }
    for source in &status.sources {
        let how = match (&source.error, source.up) {
            (Some(error), _) => error.as_str(),
            (None, true) => "up",
            (None, false) => "not read yet",
        };
        writeln!(out, "source {:<9} {how}", source.name).expect("a String takes all");
    }
    for till in &status.tills {
        let (till, receipt, at) = (&till.till, &till.receipt, till.ended_at);
        writeln!(out, "till {till:<11} last receipt {receipt} at {at}")
            .expect("a String takes all");
    }
    out
}
