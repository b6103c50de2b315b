//! Verdicts by coordinates and the ledger by stream.

use chrono::{DateTime, Utc};
use shared::ledger::Standing;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use super::receipts::multirange;
use super::{Judged, Known, Outcome, Place, Source};
use crate::store::StoreError;

/// Looks places up: in the ledger, the hash of what was accepted, the letter of what was refused.
pub(super) async fn known(
    transaction: &Transaction<'_>,
    places: &[Place],
) -> Result<Vec<Known>, StoreError> {
    let stores: Vec<&str> = places.iter().map(|place| place.store.as_str()).collect();
    let streams: Vec<_> = places.iter().map(|place| place.stream.as_uuid()).collect();
    let sequences: Vec<i64> = places.iter().map(|place| place.sequence).collect();
    let rows = transaction
        .query(
            "SELECT coalesce(l.accepted @> q.sequence, false), b.hash, r.dead_letter_id, r.hash
             FROM unnest($1::text[], $2::uuid[], $3::bigint[]) WITH ORDINALITY
                  q(store_id, stream_id, sequence, n)
             LEFT JOIN ledger l USING (store_id, stream_id)
             LEFT JOIN batch b ON b.store_id = q.store_id AND b.stream_id = q.stream_id
                  AND b.sequence = q.sequence AND b.verdict = 'accepted'
             LEFT JOIN LATERAL (
                  SELECT a.dead_letter_id, a.hash FROM batch a
                  WHERE l.set_aside @> q.sequence AND a.store_id = q.store_id
                    AND a.stream_id = q.stream_id AND a.sequence = q.sequence
                    AND a.verdict = 'refused' ORDER BY a.dead_letter_id DESC LIMIT 1) r ON true
             ORDER BY q.n",
            &[&stores, &streams, &sequences],
        )
        .await
        .map_err(StoreError::on("read the ledger"))?;
    Ok(rows.iter().map(known_row).collect())
}

fn known_row(row: &Row) -> Known {
    let hash = |at| row.get::<_, Option<Vec<u8>>>(at).and_then(|hash| hash.try_into().ok());
    let standing = match (row.get(0), row.get(2)) {
        (true, _) => Standing::Accepted,
        (false, Some(letter)) => Standing::SetAside(letter),
        (false, None) => Standing::Missing,
    };
    Known { standing, hash: hash(1), aside: hash(3) }
}

/// Stores one row for each record and adds each place to its stream's ledger.
pub(super) async fn write(
    transaction: &Transaction<'_>,
    source: Source<'_>,
    records: &[Judged<'_>],
    letters: &[i64],
) -> Result<(), StoreError> {
    write_verdicts(transaction, source, records, letters).await?;
    write_ledger(transaction, records).await
}

fn word(outcome: &Outcome<'_>) -> &'static str {
    match outcome {
        Outcome::Accepted => "accepted",
        Outcome::Duplicate => "duplicate",
        Outcome::Refused(_) => "refused",
    }
}

async fn write_verdicts(
    transaction: &Transaction<'_>,
    source: Source<'_>,
    records: &[Judged<'_>],
    letters: &[i64],
) -> Result<(), StoreError> {
    let mut letters = letters.iter().copied();
    let letter_ids: Vec<Option<i64>> = records
        .iter()
        .map(|record| match record.outcome {
            Outcome::Refused(_) => letters.next(),
            Outcome::Accepted | Outcome::Duplicate => None,
        })
        .collect();
    let partitions: Vec<i32> = records.iter().map(|one| one.partition).collect();
    let offsets: Vec<i64> = records.iter().map(|one| one.offset).collect();
    let verdicts: Vec<&str> = records.iter().map(|one| word(&one.outcome)).collect();
    let hashes: Vec<&[u8]> = records.iter().map(|one| one.hash.as_slice()).collect();
    let place = |one: &'_ Judged<'_>| one.place.clone();
    let places: Vec<Option<Place>> = records.iter().map(place).collect();
    let stores: Vec<Option<&str>> =
        places.iter().map(|one| one.as_ref().map(|place| place.store.as_str())).collect();
    let streams: Vec<_> =
        places.iter().map(|one| one.as_ref().map(|place| place.stream.as_uuid())).collect();
    let sequences: Vec<_> =
        places.iter().map(|one| one.as_ref().map(|place| place.sequence)).collect();
    let minutes: Vec<_> =
        records.iter().map(|one| one.batch.map(|batch| batch.minute.start().utc())).collect();
    let days: Vec<_> =
        records.iter().map(|one| one.batch.map(|batch| batch.business_day.date())).collect();
    let through: Vec<_> = records.iter().map(through).collect();
    let kinds: Vec<_> =
        records.iter().map(|one| one.batch.map(|batch| batch.kind.as_str())).collect();
    transaction
        .execute(
            "INSERT INTO batch (topic_generation, partition, record_offset, store_id, stream_id,
                    sequence, verdict, hash, minute, business_day, kind, dead_letter_id,
                    complete_through)
             SELECT $1, * FROM unnest($2::int[], $3::bigint[], $4::text[], $5::uuid[],
                    $6::bigint[], $7::text[], $8::bytea[], $9::timestamptz[], $10::date[],
                    $11::text[], $12::bigint[], $13::timestamptz[])",
            &[
                &source.generation,
                &partitions,
                &offsets,
                &stores,
                &streams,
                &sequences,
                &verdicts,
                &hashes,
                &minutes,
                &days,
                &kinds,
                &letter_ids,
                &through,
            ],
        )
        .await
        .map_err(StoreError::on("store the verdicts"))?;
    Ok(())
}

/// A sequence that counts is no longer set aside; one that counted is never set aside.
async fn write_ledger(
    transaction: &Transaction<'_>,
    records: &[Judged<'_>],
) -> Result<(), StoreError> {
    let judged: Vec<(&Judged<'_>, &Place)> =
        records.iter().filter_map(|one| one.place.as_ref().map(|place| (one, place))).collect();
    let stores: Vec<&str> = judged.iter().map(|(_, place)| place.store.as_str()).collect();
    let streams: Vec<_> = judged.iter().map(|(_, place)| place.stream.as_uuid()).collect();
    let sequences: Vec<i64> = judged.iter().map(|(_, place)| place.sequence).collect();
    let counts: Vec<bool> =
        judged.iter().map(|(one, _)| !matches!(one.outcome, Outcome::Refused(_))).collect();
    let through: Vec<_> = judged.iter().map(|(one, _)| through(one)).collect();
    let rows = transaction
        .query(
            "INSERT INTO ledger AS l
                    (store_id, stream_id, highest_sequence, accepted, set_aside, complete_through)
             SELECT store_id, stream_id, highest, accepted, set_aside - accepted, through FROM (
                 SELECT store_id, stream_id, max(sequence) AS highest, max(through) AS through,
                        coalesce(range_agg(one) FILTER (WHERE counts), '{}') AS accepted,
                        coalesce(range_agg(one) FILTER (WHERE NOT counts), '{}') AS set_aside
                 FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bool[], $5::timestamptz[])
                      q(store_id, stream_id, sequence, counts, through),
                      int8range(sequence, sequence, '[]') one
                 GROUP BY store_id, stream_id ORDER BY store_id, stream_id) q
             ON CONFLICT (store_id, stream_id) DO UPDATE SET
                 highest_sequence = greatest(l.highest_sequence, excluded.highest_sequence),
                 accepted = l.accepted + excluded.accepted,
                 set_aside = l.set_aside + excluded.set_aside - l.accepted - excluded.accepted,
                 given_up = l.given_up - excluded.accepted - excluded.set_aside,
                 abandoned = l.abandoned - excluded.accepted - excluded.set_aside,
                 complete_through = greatest(l.complete_through, excluded.complete_through),
                 last_seen = now()
             RETURNING l.store_id, l.stream_id, NOT isempty(l.missing) OR EXISTS (
                 SELECT FROM gap g WHERE g.store_id = l.store_id AND g.stream_id = l.stream_id)",
            &[&stores, &streams, &sequences, &counts, &through],
        )
        .await
        .map_err(StoreError::on("write the ledger"))?;
    let holed = rows.iter().filter(|row| row.get(2)).map(|row| (row.get(0), row.get(1)));
    let holed = holed.collect();
    abandon(transaction, records).await?;
    follow_gaps(transaction, holed).await
}

/// Waits no longer for what agents have named as gone; what came before stays as it is.
async fn abandon(transaction: &Transaction<'_>, records: &[Judged<'_>]) -> Result<(), StoreError> {
    let named = records.iter().filter(|one| matches!(one.outcome, Outcome::Accepted));
    let named = named.filter_map(|one| one.place.as_ref().zip(one.batch));
    for (place, batch) in named.filter(|(_, batch)| !batch.abandoned.is_empty()) {
        let (store, stream) = (place.store.as_str(), place.stream.as_uuid());
        let gone = multirange(&batch.abandoned);
        transaction
            .execute(
                "UPDATE ledger l SET given_up = l.given_up + gone, abandoned = l.abandoned + gone
                 FROM (SELECT $3::text::int8multirange - accepted - set_aside AS gone FROM ledger
                       WHERE store_id = $1 AND stream_id = $2) q
                 WHERE store_id = $1 AND stream_id = $2",
                &[&store, &stream, &gone],
            )
            .await
            .map_err(StoreError::on("note what an agent gave up"))?;
    }
    Ok(())
}

/// Returns through which minute a batch that counts says that its store is complete.
fn through(one: &Judged<'_>) -> Option<DateTime<Utc>> {
    let told = one.batch.filter(|_| !matches!(one.outcome, Outcome::Refused(_)))?;
    told.complete_through.map(|minute| minute.start().utc())
}

/// Lets the list of gaps follow the ledger of some streams; what is left of a gap keeps its age.
pub(in crate::store) async fn follow_gaps(
    transaction: &Transaction<'_>,
    streams: Vec<(String, Uuid)>,
) -> Result<(), StoreError> {
    if streams.is_empty() {
        return Ok(());
    }
    let (stores, streams): (Vec<String>, Vec<Uuid>) = streams.into_iter().unzip();
    transaction
        .execute(
            "WITH asked AS (SELECT * FROM unnest($1::text[], $2::uuid[]) q(store_id, stream_id)),
             missing AS (SELECT store_id, stream_id, unnest(missing) AS sequences
                         FROM ledger JOIN asked USING (store_id, stream_id)),
             gone AS (DELETE FROM gap g USING asked q
                      WHERE (g.store_id, g.stream_id) = (q.store_id, q.stream_id)
                        AND NOT EXISTS (SELECT FROM missing m
                            WHERE (m.store_id, m.stream_id, m.sequences)
                                = (g.store_id, g.stream_id, g.sequences))
                      RETURNING g.*)
             INSERT INTO gap (store_id, stream_id, sequences, since)
             SELECT m.store_id, m.stream_id, m.sequences, coalesce(
                 (SELECT min(g.since) FROM gone g WHERE g.store_id = m.store_id
                     AND g.stream_id = m.stream_id AND g.sequences && m.sequences), now())
             FROM missing m WHERE NOT EXISTS (SELECT FROM gap g
                 WHERE (m.store_id, m.stream_id, m.sequences)
                     = (g.store_id, g.stream_id, g.sequences))",
            &[&stores, &streams],
        )
        .await
        .map_err(StoreError::on("follow the gaps"))?;
    Ok(())
}
