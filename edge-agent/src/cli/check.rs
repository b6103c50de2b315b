//! `check`: is what the configuration names there, and does the broker answer? Changes nothing.

use std::path::Path;
use std::process::ExitCode;

use shared::log::Chain;

use super::print;
use crate::buffer::Key;
use crate::buffer::inspect::{InspectError, Inspector};
use crate::config::{Config, Reach};

pub(super) fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let mut checks = vec![
        ("configuration".to_owned(), Ok(format!("store {}, zone {}", config.store, config.zone))),
        ("buffer".to_owned(), buffer(config)),
        ("broker".to_owned(), broker(config)),
    ];
    checks.extend(config.sources.iter().map(|source| {
        let told = match &source.reach {
            Reach::Directory(reach) => directory(&reach.path),
            Reach::Tcp(reach) => Ok(format!("{} is not tried", reach.address)),
            Reach::Serial(reach) => std::fs::metadata(&reach.device)
                .map(|_| format!("{} is there", reach.device.display()))
                .map_err(|error| format!("{} is not there: {error}", reach.device.display())),
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

fn broker(config: &Config) -> Result<String, String> {
    let settings = crate::run::broker_settings(config);
    match crate::ship::probe(&settings) {
        Ok(partitions) => {
            Ok(format!("{} has the topic, {partitions} partitions", settings.brokers))
        }
        Err(fault) => Err(Chain(&fault).to_string()),
    }
}
