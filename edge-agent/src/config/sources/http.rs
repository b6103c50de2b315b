//! The keys of a source of kind `http`.
//!
//! ```toml
//! url = "http://till-7:1200/queue/json/v0/Journal?type=3&from={from}&to=-500"   # required
//! method = "GET"                     # or "POST"
//! body = '{"limit":100}'             # what is posted; places in braces are filled in as in the URL
//! cursor = "ticks-row"               # required; or "version", "opaque", "time-id"
//! list = "ftQueueItems"              # the member that holds the rows; none where the answer is a list
//! time_field = "write_date"          # the rows' fields of cursor "time-id"
//! id_field = "id"
//! start = "2026-11-01T00:00:00Z"     # where the first round begins; for "version" a number
//! overlap_seconds = 0                # how far each round reaches back
//! poll_seconds = 5
//! timeout_seconds = 30
//! page_bytes_max = 2000000           # a larger answer is refused
//! header_name = "Authorization"      # a header whose value stands in a file of mode 0600
//! header_file = "square.token"
//! ca = "till-ca.pem"                 # whom to trust; without it, whom the system trusts
//! ```
//!
//! Places: `{from}` or `{version}` the number, `{row}` or `{id}` the row, `{time}` or `{updated_at}`
//! the time of where to go on. Rows must come in rising order; with "time-id" those of one
//! millisecond, by numbers or by texts, must fit a page.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use shared::time::Timestamp;

use crate::config::Section;

/// What is filled in.
const PLACES: [&str; 6] = ["from", "version", "row", "id", "time", "updated_at"];

/// How a service says where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CursorKind {
    /// .NET ticks and the number of a row.
    TicksRow,
    /// A version that grows with every change.
    Version,
    /// A word of the service, within a query that begins at a time of change.
    Opaque,
    /// A time and the id of a row.
    TimeId,
}

/// A service that is asked.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// The URL, with places to fill in.
    pub url: String,
    /// Whether the body is posted; without it the URL is got.
    pub post: bool,
    /// The body, with places to fill in.
    pub body: Option<String>,
    /// How the service says where to go on.
    pub cursor: CursorKind,
    /// The member that holds the rows.
    pub list: Option<String>,
    /// The rows' field of the time.
    pub time_field: String,
    /// The rows' field of the id.
    pub id_field: String,
    /// Where the first round begins: ticks, version, or milliseconds since 1970.
    pub start: i64,
    /// How far each round reaches back.
    pub overlap: Duration,
    /// How often it is asked.
    pub poll: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Bytes that an answer may have.
    pub page_bytes_max: usize,
    /// A header's name and the file with its value.
    pub header: Option<(String, PathBuf)>,
    /// Whom to trust.
    pub ca: Option<PathBuf>,
}

/// Ticks of .NET at the start of 1970, 100 nanoseconds each.
const TICKS_1970: i64 = 621_355_968_000_000_000;

pub(super) fn read(section: &mut Section) -> Option<HttpConfig> {
    let url: Option<String> =
        section.required("url", "a URL such as \"http://till-7:1200/journal?from={from}\"");
    let post = post(section);
    let body = section.text("body");
    let cursor = cursor(section);
    let list = section.text("list");
    let time_field = section.text("time_field");
    let id_field = section.text("id_field");
    let start = section.text("start");
    let overlap = section.seconds("overlap_seconds", 0, 0..=604_800);
    let poll = section.seconds("poll_seconds", 5, 1..=86_400);
    let timeout = section.seconds("timeout_seconds", 30, 1..=600);
    let most = section.number("page_bytes_max", 2_000_000, 10_000..=64_000_000);
    let header = header(section);
    let ca = section.path("ca").is_some().then(|| section.required_file("ca", "a PEM file"));
    if let Some(url) = &url {
        check_url(section, url, header.is_some());
    }
    if body.is_some() && !post {
        section.fault("body", "needs method = \"POST\"".to_owned());
    }
    if let (Some(url), Some(cursor)) = (&url, cursor) {
        check_places(section, cursor, (url, body.as_deref()));
    }
    if cursor == Some(CursorKind::Version) {
        section.means_nothing("overlap_seconds", "with cursor = \"version\"");
    }
    let start = cursor.and_then(|cursor| begin(section, cursor, start.as_deref()));
    let (url, cursor): (String, CursorKind) = (url?, cursor?);
    let ordinary = match cursor {
        CursorKind::TicksRow => (Some("ftQueueItems"), "TimeStamp", "ftQueueRow"),
        CursorKind::Version => (Some("data"), "version", "version"),
        CursorKind::Opaque => (Some("orders"), "updated_at", "id"),
        CursorKind::TimeId => (None, "time", "id"),
    };
    Some(HttpConfig {
        url,
        post,
        body,
        cursor,
        list: list.or(ordinary.0.map(str::to_owned)),
        time_field: time_field.unwrap_or_else(|| ordinary.1.to_owned()),
        id_field: id_field.unwrap_or_else(|| ordinary.2.to_owned()),
        start: start?,
        overlap,
        poll,
        timeout,
        page_bytes_max: usize::try_from(most).ok()?,
        header: header.flatten(),
        ca: ca.flatten(),
    })
}

fn post(section: &mut Section) -> bool {
    match section.text("method").as_deref() {
        None | Some("GET") => false,
        Some("POST") => true,
        Some(other) => {
            section.fault("method", format!("{other:?} is neither \"GET\" nor \"POST\""));
            false
        }
    }
}

fn cursor(section: &mut Section) -> Option<CursorKind> {
    let known = "one of ticks-row, version, opaque, time-id";
    let name: String = section.required("cursor", known)?;
    let found = match name.as_str() {
        "ticks-row" => Some(CursorKind::TicksRow),
        "version" => Some(CursorKind::Version),
        "opaque" => Some(CursorKind::Opaque),
        "time-id" => Some(CursorKind::TimeId),
        _ => None,
    };
    if found.is_none() {
        section.fault("cursor", format!("{name:?} is not {known}"));
    }
    found
}

/// Reads where the first round begins. What is ordered by change can be read from its very start;
/// what is asked for by time must be told one.
fn begin(section: &mut Section, cursor: CursorKind, start: Option<&str>) -> Option<i64> {
    let read = match (cursor, start) {
        (CursorKind::TicksRow | CursorKind::Version, None) => Some(0),
        (CursorKind::Opaque | CursorKind::TimeId, None) => None,
        (CursorKind::Version, Some(text)) => text.parse().ok().filter(|&number| number >= 0),
        (CursorKind::TicksRow, Some(text)) => {
            let at = text.parse::<Timestamp>().ok();
            at.map(|at| at.unix_millis() * 10_000 + TICKS_1970)
        }
        (CursorKind::Opaque | CursorKind::TimeId, Some(text)) => {
            text.parse::<Timestamp>().ok().map(Timestamp::unix_millis)
        }
    };
    if read.is_none() {
        let right = "a time such as \"2026-11-01T00:00:00Z\", or a number for cursor \"version\"";
        section.fault("start", format!("must be {right}"));
    }
    read
}

/// Reads the header. The file holds a secret: nobody but its owner may read it.
fn header(section: &mut Section) -> Option<Option<(String, PathBuf)>> {
    let (name, file) = (section.text("header_name"), section.path("header_file"));
    let (name, file) = match (name, file) {
        (None, None) => return None,
        (Some(name), Some(file)) => (name, file),
        (Some(_), None) | (None, Some(_)) => {
            section.fault("header_file", "header_name and header_file go together".to_owned());
            return None;
        }
    };
    let usable = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if name.is_empty() || !name.bytes().all(usable) {
        section.fault("header_name", format!("{name:?} is no name such as \"Authorization\""));
    }
    match std::fs::metadata(&file) {
        Ok(meta) if meta.permissions().mode() & 0o077 == 0 => {}
        Ok(_) => section.fault("header_file", "others may read it; chmod 600 it".to_owned()),
        Err(error) => section.fault("header_file", format!("cannot be read: {error}")),
    }
    Some(Some((name, file)))
}

/// Sees to it that a round goes on somewhere, and that no place is misspelt.
fn check_places(section: &mut Section, cursor: CursorKind, (url, body): (&str, Option<&str>)) {
    let mut named = 0;
    for (key, text) in [("url", Some(url)), ("body", body)] {
        let Some(text) = text else { continue };
        for part in text.split('{').skip(1) {
            let word = part.split_once('}').map_or("", |(word, _)| word);
            let is_place =
                !word.is_empty() && word.bytes().all(|it| it.is_ascii_lowercase() || it == b'_');
            if PLACES.contains(&word) {
                named += 1;
            } else if is_place {
                let known = PLACES.map(|place| format!("{{{place}}}")).join(", ");
                section.fault(key, format!("{{{word}}} is no place; known are {known}"));
            }
        }
    }
    if named == 0 && cursor != CursorKind::Opaque {
        let what = "names no place such as {from}: every question would get the first page";
        section.fault("url", what.to_owned());
    }
}

fn check_url(section: &mut Section, url: &str, secret: bool) {
    let host = url.strip_prefix("http://").map(|rest| rest.split(['/', ':', '?']).next());
    match host {
        Some(Some(host)) if secret && !matches!(host, "localhost" | "127.0.0.1") => {
            let what = "must be https where header_file is set: the secret would be readable";
            section.fault("url", what.to_owned());
        }
        Some(_) => {}
        None if url.starts_with("https://") => {}
        None => section.fault("url", "must begin with http:// or https://".to_owned()),
    }
}
