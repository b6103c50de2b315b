//! The list of sources: what each is called, how it is reached, and what its bytes mean. Every way to
//! reach a till has its keys in a file of its own below.

use std::collections::BTreeSet;

use super::Section;
use crate::format::{Choice, Format};

mod directory;
mod fake;
mod http;
mod line;
mod serial;
mod tcp;

pub use directory::{BundleConfig, DirectoryConfig, Names};
pub use fake::FakeConfig;
use fake::Time;
pub use http::{CursorKind, HttpConfig};
pub use line::{Answer, Hold, LineConfig};
pub use serial::{Flow, SerialConfig, SerialFraming};
pub use tcp::{ClientTls, ServerTls, TcpConfig, TcpMode};

/// One way to reach tills.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// Its name.
    pub name: String,
    /// What its receipts are worth.
    pub role: Role,
    /// What its bytes mean.
    pub format: Format,
    /// How it is reached.
    pub reach: Reach,
}

/// What a source's receipts are worth. Per till one source counts; others may only fill in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Its receipts count.
    Counts,
    /// Its receipts count where no other source has brought them. They are joined by the fiscal
    /// device's number; what has none is left alone.
    Backfills,
    /// Its receipts count where no other source has brought them, under the numbers that a person has
    /// mapped them to. Not configured: `backfill` hands them over.
    Mapped,
    /// Only the tills' own totals are read.
    Closings,
}

/// How a source is reached.
#[derive(Debug, Clone)]
pub enum Reach {
    /// A folder of files.
    Directory(DirectoryConfig),
    /// A service that is asked over HTTP.
    Http(HttpConfig),
    /// A socket.
    Tcp(TcpConfig),
    /// A serial port.
    Serial(SerialConfig),
    /// A shop that is not there.
    Fake(FakeConfig),
}

impl Reach {
    /// Returns how it is answered, where that can be.
    fn line(&self) -> Option<LineConfig> {
        match self {
            Self::Directory(_) | Self::Http(_) | Self::Fake(_) => None,
            Self::Tcp(tcp) => Some(tcp.line),
            Self::Serial(serial) => Some(serial.line),
        }
    }
}

/// All kinds of sources, as a configuration names them.
const KINDS: [&str; 5] = ["directory", "http", "tcp", "serial", "fake"];

/// Reads all sources. Their names must differ: a source's place in its feeds is kept by its name.
pub(super) fn read(root: &mut Section) -> Option<Vec<SourceConfig>> {
    let time = if root.is_given("clock_file") { Time::Simulated } else { Time::Real };
    let mut names = BTreeSet::new();
    let mut sections = root.sections("sources");
    let read = sections.iter_mut().map(|section| source(section, time, &mut names));
    let read: Vec<Option<SourceConfig>> = read.collect();
    drop(sections);
    if read.is_empty() {
        root.fault("sources", "is missing; at least one [[sources]] is needed".to_owned());
    }
    let sources: Vec<SourceConfig> = read.into_iter().collect::<Option<_>>()?;
    (!sources.is_empty()).then_some(sources)
}

fn source(section: &mut Section, time: Time, names: &mut BTreeSet<String>) -> Option<SourceConfig> {
    let name: Option<String> = section.required("name", "a name such as \"tills\"");
    if name.as_deref() == Some("backfill") {
        section.fault("name", "\"backfill\" is what the command of that name fills".to_owned());
    }
    if let Some(name) = &name
        && !names.insert(name.clone())
    {
        section.fault("name", format!("{name:?} is taken by another source"));
    }
    let kind: Option<String> = section.required("kind", &KINDS.join(", "));
    let format = format(section);
    let role = role(section);
    let Some(kind) = kind else {
        section.leave();
        return None;
    };
    let reach = match kind.as_str() {
        "directory" => directory::read(section).map(Reach::Directory),
        "http" => http::read(section).map(Reach::Http),
        "tcp" => tcp::read(section).map(Reach::Tcp),
        "serial" => serial::read(section).map(Reach::Serial),
        "fake" => fake::read(section, time).map(Reach::Fake),
        other => {
            section.leave();
            let what = format!("{other:?} is no kind of source; known are {}", KINDS.join(", "));
            section.fault("kind", what);
            None
        }
    };
    if let (Some(Reach::Fake(_)), Some(other)) = (&reach, &format)
        && !matches!(other, Format::Jsonl)
    {
        section.fault("format", "must be \"jsonl\" where kind is \"fake\"".to_owned());
    }
    if let (Some(format), Some(line)) = (&format, reach.as_ref().and_then(Reach::line)) {
        line::check(section, line, format);
    }
    Some(SourceConfig { name: name?, role: role?, format: format?, reach: reach? })
}

fn role(section: &mut Section) -> Option<Role> {
    match section.text("role").as_deref() {
        None | Some("counts") => Some(Role::Counts),
        Some("backfill") => Some(Role::Backfills),
        Some("closings") => Some(Role::Closings),
        Some(other) => {
            let what = format!("{other:?} is none of \"counts\", \"backfill\", \"closings\"");
            section.fault("role", what);
            None
        }
    }
}

fn format(section: &mut Section) -> Option<Format> {
    let name: Option<String> =
        section.required("format", &format!("one of {}", Format::NAMES.join(", ")));
    let (dialect, settings) = (section.text("dialect"), section.file_text("settings"));
    let (name, settings) = (name?, settings?);
    let choice = Choice { name: &name, dialect: dialect.as_deref(), settings: settings.as_deref() };
    match Format::find(choice) {
        Ok(format) => Some(format),
        Err(error) => {
            section.fault("format", error.to_string());
            None
        }
    }
}
