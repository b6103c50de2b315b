//! `check`: is what the configuration names there, and does the broker answer? Changes nothing.

use std::path::Path;
use std::process::ExitCode;

use shared::log::Chain;
use shared::time::Clock;

use super::advice::advice;
use super::print;
use crate::buffer::Key;
use crate::buffer::inspect::{InspectError, Inspector};
use crate::config::{Config, FakeConfig, Reach, SourceConfig};

/// How far the sources are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Whether what is named is there.
    There,
    /// What is seen of it.
    Probed,
}

impl Depth {
    pub(super) fn of(probe: impl Into<bool>) -> Self {
        if probe.into() { Self::Probed } else { Self::There }
    }
}

pub(super) fn run(config: &Config, depth: Depth) -> anyhow::Result<ExitCode> {
    let mut checks = vec![
        ("configuration".to_owned(), Ok(format!("store {}, zone {}", config.store, config.zone))),
        ("buffer".to_owned(), buffer(config)),
        ("certificate".to_owned(), certificate(config)),
        ("broker".to_owned(), broker(config)),
    ];
    checks.extend(config.sources.iter().map(|source| {
        let told = match depth {
            Depth::There => there(source),
            Depth::Probed => probed(config, source),
        };
        (format!("source {}", source.name), told)
    }));
    let mut code = ExitCode::SUCCESS;
    for (what, told) in checks {
        match told {
            Ok(told) => print(&format!("ok    {what}: {told}"))?,
            Err(told) => {
                code = ExitCode::FAILURE;
                print(&format!("fault {what}: {told}"))?;
            }
        }
    }
    Ok(code)
}

fn there(source: &SourceConfig) -> Result<String, String> {
    match &source.reach {
        Reach::Directory(reach) => directory(&reach.path),
        Reach::Http(reach) => Ok(format!("is asked every {} s", reach.poll.as_secs())),
        Reach::Tcp(reach) => Ok(format!("{} is not tried; --probe does", reach.address)),
        Reach::Serial(reach) => std::fs::metadata(&reach.device)
            .map(|_| format!("{} is there", reach.device.display()))
            .map_err(|error| format!("{} is not there: {error}", reach.device.display())),
        Reach::Fake(reach) => Ok(invented(reach)),
    }
}

/// Connects to a source: every kind has a `probe` of its own.
fn probed(config: &Config, source: &SourceConfig) -> Result<String, String> {
    let told = match &source.reach {
        Reach::Directory(reach) => {
            crate::source::directory::probe(&crate::run::directory_settings(config, reach))
        }
        Reach::Http(reach) => waited(crate::source::http::probe(reach)),
        Reach::Tcp(reach) => waited(crate::source::tcp::probe(reach)),
        Reach::Serial(reach) => waited(crate::source::serial::probe(reach.clone())),
        Reach::Fake(reach) => Ok(invented(reach)),
    };
    told.map_err(|error| match advice(&source.reach, &error) {
        Some(advice) => format!("{} ({advice})", Chain(&error)),
        None => Chain(&error).to_string(),
    })
}

fn invented(fake: &FakeConfig) -> String {
    format!("invents {} receipts a minute: no till is read", fake.receipts_per_minute)
}

/// Waits for a probe that crosses a network.
fn waited<T>(probe: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime of one thread starts").block_on(probe)
}

fn directory(path: &Path) -> Result<String, String> {
    std::fs::read_dir(path)
        .map(|entries| format!("{} holds {} entries", path.display(), entries.count()))
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

fn buffer(config: &Config) -> Result<String, String> {
    let chain = |error: &(dyn std::error::Error + 'static)| Chain(error).to_string();
    let key = Key::from_file(&config.buffer.key_file).map_err(|error| chain(&error))?;
    match Inspector::open(&config.buffer.path, &key) {
        Ok(inspector) => inspector
            .figures()
            .map(|figures| format!("stream {}, {} wait", figures.stream, figures.backlog))
            .map_err(|error| chain(&error)),
        Err(InspectError::Absent(path)) => {
            Ok(format!("{} is not there yet; the first run makes it", path.display()))
        }
        Err(error) => Err(chain(&error)),
    }
}

fn certificate(config: &Config) -> Result<String, String> {
    let now = Clock::real().now();
    if let Some(fault) = crate::built::clock_fault(now) {
        return Err(fault);
    }
    let pair = crate::ship::Pair::read(&crate::run::identity_files(config));
    let judged = pair.and_then(|pair| pair.judge(&config.store, now).map(|()| pair.expires()));
    let expires = judged.map_err(|fault| Chain(&fault).to_string())?;
    Ok(format!("valid until {}", expires.map_or("?".to_owned(), |at| at.to_string())))
}

fn broker(config: &Config) -> Result<String, String> {
    let settings = crate::run::broker_settings(config);
    let pair = crate::ship::Pair::read(&crate::run::identity_files(config));
    let pair = pair.map_err(|fault| Chain(&fault).to_string())?;
    match crate::ship::probe(&settings, &pair) {
        Ok(partitions) => {
            Ok(format!("{} has the topic, {partitions} partitions", settings.brokers))
        }
        Err(fault) => Err(Chain(&fault).to_string()),
    }
}
