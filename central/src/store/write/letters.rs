//! Dead letters of a batch: new ones, old ones that came again, and those that are done with because
//! their bytes count now.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio_postgres::Transaction;

use super::{Judged, Letter, Outcome, Place, Source};
use crate::store::StoreError;

/// A record that says to be the replay of a dead letter.
#[derive(Debug, Clone, Copy)]
pub struct Replay<'a> {
    /// Which of the batch's records.
    pub record: usize,
    /// The letter that it names.
    pub letter: i64,
    /// The key's bytes.
    pub key: Option<&'a [u8]>,
    /// The headers without the one that names the letter.
    pub headers: &'a [(String, Vec<u8>)],
    /// The body's bytes.
    pub body: Option<&'a [u8]>,
}

/// Returns which records bear a letter's very bytes, with its number. Anybody may write a header;
/// only the same bytes are the same letter.
pub(super) async fn origins(
    transaction: &Transaction<'_>,
    replays: &[Replay<'_>],
) -> Result<BTreeMap<usize, i64>, StoreError> {
    let mut found = BTreeMap::new();
    for replay in replays {
        let row = transaction
            .query_opt(
                "SELECT id FROM dead_letter WHERE id = $1 AND headers = $2
                   AND record_key IS NOT DISTINCT FROM $3 AND body IS NOT DISTINCT FROM $4",
                &[&replay.letter, &written(replay.headers), &replay.key, &replay.body],
            )
            .await
            .map_err(StoreError::on("look for a replayed dead letter"))?;
        found.extend(row.map(|row| (replay.record, row.get(0))));
    }
    Ok(found)
}

/// Stores dead letters and returns the number of each, in the order of the refused records.
pub(super) async fn write(
    transaction: &Transaction<'_>,
    source: Source<'_>,
    records: &[Judged<'_>],
) -> Result<Vec<i64>, StoreError> {
    let mut ids = Vec::new();
    let mut made: BTreeMap<(&Place, [u8; 32]), i64> = BTreeMap::new();
    for record in records {
        let Outcome::Refused(letter) = &record.outcome else { continue };
        let same = record.place.as_ref().map(|place| (place, record.hash));
        let known = record.letter.or_else(|| same.and_then(|same| made.get(&same).copied()));
        let id = match known {
            Some(id) => again(transaction, id, letter).await?,
            None => insert(transaction, source, (record, letter)).await?,
        };
        made.extend(same.map(|same| (same, id)));
        ids.push(id);
    }
    Ok(ids)
}

async fn insert(
    transaction: &Transaction<'_>,
    source: Source<'_>,
    (record, letter): (&Judged<'_>, &Letter<'_>),
) -> Result<i64, StoreError> {
    let row = transaction
        .query_one(
            "INSERT INTO dead_letter (topic, topic_generation, partition, record_offset,
                    record_key, headers, body, reasons, first_seen, last_seen)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) RETURNING id",
            &[
                &source.topic,
                &source.generation,
                &record.partition,
                &record.offset,
                &letter.key,
                &written(letter.headers),
                &letter.body,
                &letter.reasons,
                &letter.appended_at.utc(),
            ],
        )
        .await
        .map_err(StoreError::on("keep a dead letter"))?;
    Ok(row.get(0))
}

/// Notes that a letter's bytes were refused once more.
async fn again(
    transaction: &Transaction<'_>,
    id: i64,
    letter: &Letter<'_>,
) -> Result<i64, StoreError> {
    transaction
        .execute(
            "UPDATE dead_letter SET times = times + 1, last_seen = $2, reasons = $3 WHERE id = $1",
            &[&id, &letter.appended_at.utc(), &letter.reasons],
        )
        .await
        .map_err(StoreError::on("note a dead letter that came again"))?;
    Ok(id)
}

/// Closes the letters whose bytes count now, however they came again.
pub(super) async fn close(
    transaction: &Transaction<'_>,
    records: &[Judged<'_>],
) -> Result<(), StoreError> {
    let counts = |one: &&Judged<'_>| !matches!(one.outcome, Outcome::Refused(_));
    let letters: Vec<i64> = records.iter().filter(counts).filter_map(|one| one.letter).collect();
    if letters.is_empty() {
        return Ok(());
    }
    transaction
        .execute(
            "UPDATE dead_letter SET state = 'replayed', closed_at = now()
             WHERE id = ANY($1) AND state = 'open'",
            &[&letters],
        )
        .await
        .map_err(StoreError::on("close dead letters"))?;
    Ok(())
}

/// Marks a name that is written as hexadecimal digits.
const HEX: &str = "hex:";

/// Writes headers so that no byte is lost: text as text, anything else as hexadecimal digits.
fn written(found: &[(String, Vec<u8>)]) -> Value {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let one = |(name, value): &(String, Vec<u8>)| {
        // A name that looks like digits of ours is written as digits too, so that it comes back.
        let plain = !name.contains('\0') && !name.starts_with(HEX);
        let name = if plain { name.clone() } else { format!("{HEX}{}", hex(name.as_bytes())) };
        match std::str::from_utf8(value) {
            Ok(text) if !text.contains('\0') => json!({ "name": name, "value": text }),
            _ => json!({ "name": name, "hex": hex(value) }),
        }
    };
    found.iter().map(one).collect()
}

/// Reads headers back as they were written.
pub(in crate::store) fn read(written: &Value) -> Option<Vec<(String, Vec<u8>)>> {
    let one = |one: &Value| {
        let name = one["name"].as_str()?;
        let name = match name.strip_prefix(HEX) {
            Some(digits) => String::from_utf8(bytes(digits)?).ok()?,
            None => name.to_owned(),
        };
        let value = match (one["value"].as_str(), one["hex"].as_str()) {
            (Some(text), None) => text.as_bytes().to_vec(),
            (None, Some(digits)) => bytes(digits)?,
            (Some(_), Some(_)) | (None, None) => return None,
        };
        Some((name, value))
    };
    written.as_array()?.iter().map(one).collect()
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.len().is_multiple_of(2).then(|| pairs.map(byte).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_keep_every_byte_and_come_back() {
        let headers = [
            ("ce_id".to_owned(), b"1".to_vec()),
            ("x".to_owned(), vec![0xff, 0x00]),
            ("a\0".to_owned(), b"b\0".to_vec()),
            ("hex:6100".to_owned(), Vec::new()),
            ("x".to_owned(), "grüße".into()),
        ];
        let found = written(&headers);
        assert_eq!(
            found.as_array().unwrap()[..3],
            [
                json!({"name":"ce_id","value":"1"}),
                json!({"name":"x","hex":"ff00"}),
                json!({"name":"hex:6100","hex":"6200"})
            ]
        );
        assert_eq!(read(&found).unwrap(), headers);
        for strange in [json!({}), json!([{"name": "a"}]), json!([{"name": "a", "hex": "0"}])] {
            assert_eq!(read(&strange), None, "{strange}");
        }
    }
}
