//! What stands around a batch and whether its bytes are one: key, CloudEvents headers, JSON.

use serde_path_to_error::Segment;
use shared::ids::StoreId;
use shared::minute::StoreMinute;
use shared::time::Timestamp;
use shared::wire::{RecordId, STORE_MINUTE_SCHEMA, STORE_MINUTE_TYPE};

use super::{Reasons, Submission};

/// What key and headers say, as far as it can be read.
#[derive(Debug)]
pub struct Named<'a> {
    /// The store of the key.
    pub key: Option<StoreId>,
    /// The store of `ce_source`.
    pub source: Option<StoreId>,
    /// The place in `ce_id`.
    pub id: Option<RecordId>,
    /// `ce_id` as it stands.
    pub id_text: Option<&'a str>,
}

/// Headers: each there once, CloudEvents 1.0, our type and schema.
pub(super) fn headers<'a>(submission: &Submission<'a>, reasons: &mut Reasons) -> Named<'a> {
    let mut header = |name: &'static str| single(submission.headers, name, reasons);
    let id_text = header("ce_id");
    let source_text = header("ce_source");
    let fixed = [
        ("ce_specversion", header("ce_specversion"), "1.0"),
        ("ce_type", header("ce_type"), STORE_MINUTE_TYPE),
        ("ce_dataschema", header("ce_dataschema"), STORE_MINUTE_SCHEMA),
        ("content-type", header("content-type"), "application/json"),
    ];
    let time = header("ce_time");
    for (name, found, wanted) in fixed {
        if found.is_some_and(|found| found != wanted) {
            let says = format_args!("{name} is {found:?}, not {wanted:?}");
            reasons.add("headers", format_args!("/headers/{name}"), says);
        }
    }
    if let Some(Err(error)) = time.map(str::parse::<Timestamp>) {
        reasons.add("headers", "/headers/ce_time", format_args!("ce_time: {error}"));
    }
    let id = id_text.and_then(|text| match text.parse::<RecordId>() {
        Ok(id) => Some(id),
        Err(error) => {
            reasons.add("headers", "/headers/ce_id", error);
            None
        }
    });
    let source = source_text.and_then(|text| source_store(text, reasons));
    Named { key: key_store(submission.key, reasons), source, id, id_text }
}

/// Returns a header's text where it stands there once.
fn single<'a>(
    headers: &'a [(String, Vec<u8>)],
    name: &'static str,
    reasons: &mut Reasons,
) -> Option<&'a str> {
    let mut found = headers.iter().filter(|(one, _)| one == name);
    let Some((_, value)) = found.next() else {
        reasons.add("headers", format_args!("/headers/{name}"), format_args!("{name} is missing"));
        return None;
    };
    if found.next().is_some() {
        let says = format_args!("{name} stands there more than once");
        reasons.add("headers", format_args!("/headers/{name}"), says);
        return None;
    }
    let text = std::str::from_utf8(value).ok();
    if text.is_none() {
        let says = format_args!("{name} is not UTF-8");
        reasons.add("headers", format_args!("/headers/{name}"), says);
    }
    text
}

fn source_store(text: &str, reasons: &mut Reasons) -> Option<StoreId> {
    let store = text.strip_prefix("/stores/").and_then(|id| StoreId::new(id).ok());
    if store.is_none() {
        let says = format_args!("ce_source is {text:?}, not /stores/<store>");
        reasons.add("headers", "/headers/ce_source", says);
    }
    store
}

fn key_store(key: Option<&[u8]>, reasons: &mut Reasons) -> Option<StoreId> {
    let Some(key) = key else {
        reasons.add("key", "/key", "the record has no key");
        return None;
    };
    let text = String::from_utf8_lossy(key);
    match StoreId::new(&text) {
        Ok(store) => Some(store),
        Err(error) => {
            reasons.add("key", "/key", format_args!("the key {text:?}: {error}"));
            None
        }
    }
}

/// The body is JSON of the schema; a reason names the place as a JSON pointer.
pub(super) fn schema(body: Option<&[u8]>, reasons: &mut Reasons) -> Option<StoreMinute> {
    let Some(body) = body else {
        reasons.add("schema", "/body", "the record has no body");
        return None;
    };
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize::<_, StoreMinute>(&mut reader);
    match read {
        Err(error) => {
            let place = pointer(error.path());
            let says = format_args!("at \"{place}\": {}", error.inner());
            reasons.add("schema", format_args!("/body{place}"), says);
            None
        }
        Ok(batch) => match reader.end() {
            Ok(()) => Some(batch),
            Err(error) => {
                reasons.add("schema", "/body", format_args!("after the batch: {error}"));
                None
            }
        },
    }
}

/// Writes a path as RFC 6901 does.
fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut text = String::new();
    for segment in path {
        let part = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.replace('~', "~0").replace('/', "~1"),
            Segment::Enum { variant } => variant.clone(),
            Segment::Unknown => "?".to_owned(),
        };
        text.push('/');
        text.push_str(&part);
    }
    text
}
