//! The Kafka record: CloudEvents 1.0 in binary mode (attributes are headers) around a JSON body.
//! Source: CloudEvents specification 1.0.2, Kafka protocol binding, section 3.2.

use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::ids::{Sequence, StoreId, StreamId};
use crate::minute::{StoreMinute, StoreStatus};
use crate::time::Timestamp;

/// `ce_type` of a store-minute.
pub const STORE_MINUTE_TYPE: &str = "de.frischmarkt.store-minute.v1";
/// `ce_type` of a status record.
pub const STORE_STATUS_TYPE: &str = "de.frischmarkt.store-status.v1";
/// `ce_dataschema` of a store-minute: the name of the committed JSON Schema.
pub const STORE_MINUTE_SCHEMA: &str = "urn:frischmarkt:schema:store-minute.v1";
/// `ce_dataschema` of a status record.
pub const STORE_STATUS_SCHEMA: &str = "urn:frischmarkt:schema:store-status.v1";
/// The header that the centre adds behind all others when it sends a dead letter again: its number.
pub const REPLAY_HEADER: &str = "frischmarkt_replay";
/// Bytes that a body may have; batches are split before. The topic's own limit is 1 MiB.
pub const BODY_BYTES_MAX: usize = 900_000;

/// One header of a record.
pub type Header = (&'static str, String);

/// A record's place in its stream, as `ce_id` writes it: `stream/sequence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordId {
    /// The stream.
    pub stream: StreamId,
    /// The place in it.
    pub sequence: Sequence,
}

impl std::fmt::Display for RecordId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.stream, self.sequence)
    }
}

/// A `ce_id` that is not `stream/sequence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ce_id is not a stream's UUID, a slash and a sequence")]
pub struct RecordIdError;

impl FromStr for RecordId {
    type Err = RecordIdError;
    fn from_str(text: &str) -> Result<Self, RecordIdError> {
        let (stream, sequence) = text.split_once('/').ok_or(RecordIdError)?;
        let number: u64 = sequence.parse().map_err(|_| RecordIdError)?;
        let parsed = Self {
            stream: stream.parse().map_err(|_| RecordIdError)?,
            sequence: Sequence::new(number).ok_or(RecordIdError)?,
        };
        // Only one spelling names a record: its hash covers the text.
        if parsed.to_string() == text { Ok(parsed) } else { Err(RecordIdError) }
    }
}

/// Returns the headers of a store-minute.
pub fn store_minute_headers(batch: &StoreMinute, cut_at: Timestamp) -> Vec<Header> {
    let id = RecordId { stream: batch.stream, sequence: batch.sequence };
    headers(id.to_string(), &batch.store, cut_at, (STORE_MINUTE_TYPE, STORE_MINUTE_SCHEMA))
}

/// Returns the headers of a status record.
pub fn store_status_headers(status: &StoreStatus) -> Vec<Header> {
    let id = format!("{}/status/{}", status.stream, status.at.unix_millis());
    headers(id, &status.store, status.at, (STORE_STATUS_TYPE, STORE_STATUS_SCHEMA))
}

fn headers(id: String, store: &StoreId, at: Timestamp, what: (&str, &str)) -> Vec<Header> {
    vec![
        ("ce_specversion", "1.0".to_owned()),
        ("ce_id", id),
        ("ce_source", format!("/stores/{store}")),
        ("ce_type", what.0.to_owned()),
        ("ce_time", at.to_string()),
        ("ce_dataschema", what.1.to_owned()),
        ("content-type", "application/json".to_owned()),
    ]
}

/// Writes a body. The same batch always gives the same bytes.
pub fn encode<T: serde::Serialize>(body: &T) -> Vec<u8> {
    serde_json::to_vec(body).expect("our types have text keys and no failing parts")
}

/// Returns what identifies a record's content: SHA-256 over `ce_id`, a zero byte and the body.
pub fn record_hash(ce_id: &str, body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(ce_id.as_bytes());
    hash.update([0]);
    hash.update(body);
    hash.finalize().into()
}

/// Returns the JSON Schema of a store-minute's body.
pub fn store_minute_schema() -> serde_json::Value {
    named(schemars::schema_for!(StoreMinute), STORE_MINUTE_SCHEMA)
}

/// Returns the JSON Schema of a status record's body.
pub fn store_status_schema() -> serde_json::Value {
    named(schemars::schema_for!(StoreStatus), STORE_STATUS_SCHEMA)
}

fn named(schema: schemars::Schema, id: &str) -> serde_json::Value {
    let mut schema = schema.to_value();
    schema["$id"] = id.into();
    schema
}
