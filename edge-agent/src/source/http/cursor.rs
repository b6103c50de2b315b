//! Where to go on in a service's rows. Pure: a page goes in, the next place comes out. A round goes
//! from where the last one ended, less an overlap, to the last page; within it every page must lead
//! further, so that no answer can hold a round for ever.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shared::time::Timestamp;

use crate::config::{CursorKind, HttpConfig};

/// Why a page tells no place.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    #[error("the answer is not JSON")]
    Json(#[source] serde_json::Error),
    #[error("the answer's member {0} is no list of objects")]
    List(String, #[source] serde_json::Error),
    #[error("no row of the answer has a readable {0}")]
    Field(String),
    #[error(
        "the rows' {0} falls: ask the service for rising order, else rows would be passed over"
    )]
    Falling(String),
}

/// A place in the order of rows: a number (ticks, version, milliseconds), and a row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    number: i64,
    row: String,
}

impl Place {
    /// Rows that are numbers compare as numbers: shorter ones are smaller. All others compare as texts.
    fn key(&self) -> (i64, bool, usize, &str) {
        let is_text = !self.row.bytes().all(|byte| byte.is_ascii_digit());
        let digits = if is_text { 0 } else { self.row.len() };
        (self.number, is_text, digits, &self.row)
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// What is kept of a source's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// The furthest row that was taken in.
    high: Place,
    /// Where the present round is, or where its query begins; nothing between rounds.
    at: Option<Place>,
    /// The service's word for the next page.
    token: Option<String>,
}

/// What a page says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Learned {
    /// The mark with this page taken in.
    pub(super) next: Mark,
    /// Rows in it.
    pub(super) rows: usize,
    /// Whether another page is to be asked for.
    pub(super) more: bool,
}

impl Mark {
    /// Begins where the configuration says.
    pub(super) fn new(config: &HttpConfig) -> Self {
        let high = Place { number: config.start, row: "0".to_owned() };
        Self { high, at: None, token: None }
    }

    /// Returns where the next request begins.
    fn place(&self, config: &HttpConfig) -> Place {
        self.at.clone().unwrap_or_else(|| {
            let overlap = units(config.cursor, config.overlap);
            if overlap == 0 {
                return self.high.clone();
            }
            let number = self.high.number.saturating_sub(overlap).max(0);
            Place { number, row: "0".to_owned() }
        })
    }

    /// Fills in a template's places; a row's name is a service's text and is written as `quoted` says.
    fn fill(&self, template: &str, config: &HttpConfig, quoted: impl Fn(&str) -> String) -> String {
        let place = self.place(config);
        let time = Timestamp::from_unix_millis(place.number).map(|at| at.to_string());
        let mut filled = template.to_owned();
        for name in ["{from}", "{version}"] {
            filled = filled.replace(name, &place.number.to_string());
        }
        for name in ["{time}", "{updated_at}"] {
            filled = filled.replace(name, time.as_deref().unwrap_or_default());
        }
        let row = quoted(&place.row);
        filled.replace("{row}", &row).replace("{id}", &row)
    }

    /// Returns the URL to ask and the body to post. The word for the next page goes into the body,
    /// as the member `cursor`, or into the URL where nothing is posted.
    pub(super) fn request(&self, config: &HttpConfig) -> (String, Option<String>) {
        let mut url = self.fill(&config.url, config, escaped);
        let mut body = config.body.as_deref().map(|body| self.fill(body, config, in_quotes));
        let Some(token) = &self.token else { return (url, body) };
        match &mut body {
            Some(body) => {
                let inner = body.trim_end().strip_suffix('}').unwrap_or(body).trim_end();
                let comma = if inner.ends_with('{') { "" } else { "," };
                let token = serde_json::Value::from(token.as_str());
                *body = format!("{inner}{comma}\"cursor\":{token}}}");
            }
            None => {
                let sign = if url.contains('?') { '&' } else { '?' };
                url = format!("{url}{sign}cursor={}", escaped(token));
            }
        }
        (url, body)
    }

    /// Returns true between rounds: the next page is a round's first one.
    pub(super) fn begins_round(&self) -> bool {
        self.at.is_none()
    }

    /// Returns true where nothing further was taken in, and no word of the service goes on.
    pub(super) fn is_like(&self, before: &Self) -> bool {
        self.high == before.high && self.token.is_none() && before.token.is_none()
    }

    /// Forgets the service's word, which it may have forgotten too: the round begins anew.
    pub(super) fn restart(&mut self) {
        (self.at, self.token) = (None, None);
    }

    /// Learns from a page.
    pub(super) fn learn(&self, page: &[u8], config: &HttpConfig) -> Result<Learned, PageError> {
        let (rows, token) = rows(page, config)?;
        let places: Vec<Place> = rows.iter().filter_map(|row| place_of(row, config)).collect();
        if places.is_empty() && !rows.is_empty() {
            return Err(PageError::Field(config.time_field.clone()));
        }
        if let (Some(first), Some(last)) = (places.first(), places.last())
            && last.number < first.number
        {
            return Err(PageError::Falling(config.time_field.clone()));
        }
        let began = self.place(config);
        let top = places.into_iter().max();
        let high = top.clone().map_or(self.high.clone(), |top| top.max(self.high.clone()));
        let rows = rows.len();
        if config.cursor == CursorKind::Opaque {
            // A word that leads back to the same page leads nowhere.
            let token = token.filter(|token| Some(token) != self.token.as_ref());
            let more = token.is_some();
            let next = Self { high, at: more.then_some(began), token };
            return Ok(Learned { next, rows, more });
        }
        let further = top.filter(|top| *top > began);
        let more = further.is_some();
        Ok(Learned { next: Self { high, at: further, token: None }, rows, more })
    }
}

/// Returns a span in the units of a cursor's number.
fn units(cursor: CursorKind, span: Duration) -> i64 {
    let per_second = match cursor {
        CursorKind::TicksRow => 10_000_000,
        CursorKind::Version => 0,
        CursorKind::Opaque | CursorKind::TimeId => 1000,
    };
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX).saturating_mul(per_second)
}

type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Returns the rows of a page and the service's word for the next one.
fn rows<'a>(
    page: &'a [u8],
    config: &HttpConfig,
) -> Result<(Vec<Members<'a>>, Option<String>), PageError> {
    let all: &RawValue = serde_json::from_slice(page).map_err(PageError::Json)?;
    if all.get().starts_with('[') {
        let rows = serde_json::from_str(all.get());
        let fault = |error| PageError::List("(none)".to_owned(), error);
        return Ok((rows.map_err(fault)?, None));
    }
    let members: Members<'a> = serde_json::from_str(all.get()).map_err(PageError::Json)?;
    let token = members.get("cursor").and_then(|raw| text(raw)).filter(|token| !token.is_empty());
    let list = config.list.as_deref().unwrap_or_default();
    let Some(raw) = members.get(list) else { return Ok((Vec::new(), token)) };
    let fault = |error| PageError::List(list.to_owned(), error);
    Ok((serde_json::from_str(raw.get()).map_err(fault)?, token))
}

fn place_of(row: &Members<'_>, config: &HttpConfig) -> Option<Place> {
    let field = |name: &str| row.get(name).and_then(|raw| text(raw));
    let first = field(&config.time_field)?;
    let number = match config.cursor {
        CursorKind::TicksRow | CursorKind::Version => first.parse().ok()?,
        CursorKind::Opaque | CursorKind::TimeId => millis(&first)?,
    };
    let row = match config.cursor {
        CursorKind::TicksRow | CursorKind::TimeId => field(&config.id_field)?,
        CursorKind::Version | CursorKind::Opaque => "0".to_owned(),
    };
    Some(Place { number, row })
}

/// Reads a time; one without an offset is UTC, as services write it that know no other.
fn millis(text: &str) -> Option<i64> {
    let text = text.replacen(' ', "T", 1);
    let at = text.parse().or_else(|_| format!("{text}Z").parse::<Timestamp>()).ok()?;
    Some(at.unix_millis())
}

/// Returns a text, or a number as it stands.
fn text(raw: &RawValue) -> Option<String> {
    match raw.get().as_bytes().first()? {
        b'"' => serde_json::from_str(raw.get()).ok(),
        b'-' | b'0'..=b'9' => Some(raw.get().to_owned()),
        _ => None,
    }
}

/// Escapes what a query may not hold (RFC 3986, unreserved characters stay).
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let escape =
        |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(escape).collect()
}

/// Escapes what a JSON text may not hold between its quotes.
fn in_quotes(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(cursor: CursorKind, list: Option<&str>) -> HttpConfig {
        HttpConfig {
            url: "http://till/a?f={from}&t={time}&i={id}".to_owned(),
            post: false,
            body: None,
            cursor,
            list: list.map(str::to_owned),
            time_field: if cursor == CursorKind::Version { "version" } else { "at" }.to_owned(),
            id_field: "id".to_owned(),
            start: 0,
            overlap: Duration::from_secs(60),
            poll: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            page_bytes_max: 1000,
            header: None,
            ca: None,
        }
    }

    fn learn(mark: &mut Mark, page: &str, config: &HttpConfig) -> (usize, bool) {
        let learned = mark.learn(page.as_bytes(), config).unwrap();
        // A mark outlives the agent as text.
        *mark = serde_json::from_str(&serde_json::to_string(&learned.next).unwrap()).unwrap();
        (learned.rows, learned.more)
    }

    #[test]
    fn a_time_and_an_id_lead_on_and_the_next_round_reaches_back() {
        let config = config(CursorKind::TimeId, None);
        let mut mark = Mark::new(&config);
        let page = r#"[{"at":"2026-11-23 09:41:00","id":9},{"at":"2026-11-23T09:41:00Z","id":10}]"#;
        assert_eq!(learn(&mut mark, page, &config), (2, true));
        assert!(mark.request(&config).0.ends_with("&t=2026-11-23T09:41:00Z&i=10"));
        assert_eq!(learn(&mut mark, "[]", &config), (0, false));
        assert!(mark.request(&config).0.ends_with("&t=2026-11-23T09:40:00Z&i=0"));
        assert_eq!(learn(&mut mark, page, &config), (2, true));
        // The same page again leads no further: the round ends.
        assert_eq!(learn(&mut mark, page, &config), (2, false));
    }

    #[test]
    fn rows_named_by_texts_lead_on_in_the_order_of_texts_and_are_escaped() {
        let mut config = config(CursorKind::TimeId, None);
        config.body = Some(r#"{"after":"{id}"}"#.to_owned());
        let mut mark = Mark::new(&config);
        let page = |id: &str| format!(r#"[{{"at":"2026-11-23T09:41:00Z","id":{id}}}]"#);
        for (id, more) in
            [(r#""10""#, true), (r#""aa""#, true), (r#""b""#, true), (r#""ab""#, false)]
        {
            assert_eq!(learn(&mut mark, &page(id), &config), (1, more), "{id}");
        }
        assert_eq!(learn(&mut mark, &page(r#""c\"&d""#), &config), (1, true));
        let (url, body) = mark.request(&config);
        assert!(url.ends_with("&i=c%22%26d"), "{url}");
        assert_eq!(body.as_deref(), Some(r#"{"after":"c\"&d"}"#));
    }

    #[test]
    fn a_version_leads_on_until_a_page_is_empty() {
        let config = config(CursorKind::Version, Some("data"));
        let mut mark = Mark::new(&config);
        let page = r#"{"data":[{"version":7},{"version":"12"}],"version":{"max":12}}"#;
        assert_eq!(learn(&mut mark, page, &config), (2, true));
        assert!(mark.request(&config).0.contains("f=12&"));
        assert_eq!(learn(&mut mark, r#"{"data":[]}"#, &config), (0, false));
        assert!(mark.request(&config).0.contains("f=12&"));
    }

    #[test]
    fn a_services_word_goes_along_and_the_query_stays_until_the_last_page() {
        let mut config = config(CursorKind::Opaque, Some("orders"));
        config.body = Some(r#"{"start_at":"{updated_at}"}"#.to_owned());
        let mut mark = Mark::new(&config);
        let body = |mark: &Mark| mark.request(&config).1.unwrap();
        assert_eq!(body(&mark), r#"{"start_at":"1970-01-01T00:00:00Z"}"#);
        let first = r#"{"orders":[{"at":"2026-11-23T09:41:00Z"}],"cursor":"a\"b"}"#;
        assert_eq!(learn(&mut mark, first, &config), (1, true));
        assert_eq!(body(&mark), r#"{"start_at":"1970-01-01T00:00:00Z","cursor":"a\"b"}"#);
        assert_eq!(learn(&mut mark, first, &config), (1, false), "a word that leads back");
        assert_eq!(body(&mark), r#"{"start_at":"2026-11-23T09:40:00Z"}"#);
        assert_eq!(learn(&mut mark, "{}", &config), (0, false));
    }

    #[test]
    fn what_tells_no_place_is_a_fault_and_moves_nothing() {
        let config = config(CursorKind::TimeId, Some("rows"));
        let mark = Mark::new(&config);
        for page in [
            "<html>",
            r#"{"rows":7}"#,
            r#"{"rows":[{"id":1}]}"#,
            r#"[{"at":"soon","id":1}]"#,
            r#"[{"at":"2026-11-23T09:41:00Z","id":1},{"at":"2026-11-23T09:40:00Z","id":2}]"#,
        ] {
            assert!(mark.learn(page.as_bytes(), &config).is_err(), "{page}");
        }
    }
}
