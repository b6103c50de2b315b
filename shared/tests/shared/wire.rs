//! Golden bytes of the wire, and the committed JSON Schemas.
//!
//! Where a change is meant, `UPDATE_GOLDEN=1 cargo test -p shared` writes the files anew.

use std::path::Path;

use shared::minute::{StoreMinute, StoreStatus};
use shared::wire;

/// Compares bytes with a committed file, or writes it where the update is asked for.
fn golden(file: &str, bytes: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, bytes).unwrap();
    }
    let committed = std::fs::read(&path).unwrap();
    assert_eq!(
        String::from_utf8_lossy(bytes),
        String::from_utf8_lossy(&committed),
        "{file} differs: published bytes never change; new fields are only added"
    );
}

fn pretty(value: &serde_json::Value) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).unwrap();
    text.push(b'\n');
    text
}

#[test]
fn a_store_minute_keeps_its_bytes() {
    let full = include_str!("golden/store-minute.full.in.json");
    let batch: StoreMinute = serde_json::from_str(full).unwrap();
    golden("tests/shared/golden/store-minute.full.json", &wire::encode(&batch));
    let again: StoreMinute = serde_json::from_slice(&wire::encode(&batch)).unwrap();
    assert_eq!(again, batch);
}

#[test]
fn what_an_agent_tells_beside_its_rows_keeps_its_bytes() {
    let told = include_str!("golden/store-minute.told.in.json");
    let batch: StoreMinute = serde_json::from_str(told).unwrap();
    assert_eq!((batch.digests.len(), batch.abandoned.count()), (1, 3));
    golden("tests/shared/golden/store-minute.told.json", &wire::encode(&batch));
}

#[test]
fn a_store_minute_of_the_first_version_can_be_read_for_ever() {
    let least = include_str!("golden/store-minute.least.json");
    let batch: StoreMinute = serde_json::from_str(least).unwrap();
    assert!(batch.sales.is_empty() && batch.tills.is_empty());
    let new_words = least.replace("\"original\"", "\"rehearsal\"").replace('{', "{\"later\":[1],");
    let batch: StoreMinute = serde_json::from_str(&new_words).unwrap();
    assert_eq!(batch.kind.as_str(), "rehearsal");
}

#[test]
fn headers_keep_their_text() {
    let batch: StoreMinute =
        serde_json::from_str(include_str!("golden/store-minute.least.json")).unwrap();
    let headers = wire::store_minute_headers(&batch, "2026-11-23T09:42:05Z".parse().unwrap());
    let text: String = headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    golden("tests/shared/golden/store-minute.headers.txt", text.as_bytes());
    let id: wire::RecordId = headers[1].1.parse().unwrap();
    assert_eq!((id.stream, id.sequence), (batch.stream, batch.sequence));
    assert!("0193/1".parse::<wire::RecordId>().is_err());
    assert!(format!("{}/01", batch.stream).parse::<wire::RecordId>().is_err());
}

#[test]
fn a_record_hash_covers_id_and_body() {
    let hash = wire::record_hash("a/1", b"{}");
    assert_ne!(hash, wire::record_hash("a/2", b"{}"));
    assert_ne!(hash, wire::record_hash("a/1", b"{ }"));
    assert_ne!(wire::record_hash("a/1{", b"}"), hash);
}

#[test]
fn the_committed_schemas_are_the_types() {
    golden("schema/store-minute.v1.json", &pretty(&wire::store_minute_schema()));
    golden("schema/store-status.v1.json", &pretty(&wire::store_status_schema()));
    let status = include_str!("golden/store-status.json");
    let parsed: StoreStatus = serde_json::from_str(status).unwrap();
    assert_eq!(String::from_utf8(wire::encode(&parsed)).unwrap(), status.trim_end());
}
