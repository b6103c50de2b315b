//! A buffer whose tables are of another version: an older one gets the present tables when it is
//! opened and loses nothing; one of a newer agent is left alone, and whoever asks is told.

use std::path::Path;

use edge_agent::buffer::inspect::{InspectError, Inspector};
use edge_agent::buffer::repair::repair;
use edge_agent::buffer::{Buffer, BufferError};
use rusqlite::Connection;
use shared::ids::Sequence;
use tempfile::TempDir;

use crate::repair::{binding, connect, fill, key, settings};

/// What makes the present tables those of version 1, as they were.
pub(crate) const BACK_TO_1: &str = "
    DROP TABLE day_digest;
    DROP INDEX open_minute_slot;
    CREATE INDEX open_minute_slot ON open_minute (minute, business_day);
    ALTER TABLE outbox ADD COLUMN acked_at TEXT;
    UPDATE outbox SET acked_at =
        (SELECT acked_at FROM delivered WHERE delivered.sequence = outbox.sequence);
    DROP TABLE waiting;
    DROP TABLE delivered;
    CREATE INDEX outbox_waiting ON outbox (sequence) WHERE acked_at IS NULL;
    CREATE INDEX outbox_age ON outbox (acked_at) WHERE acked_at IS NOT NULL;
    UPDATE meta SET value = '1' WHERE name = 'schema';";

#[tokio::test]
async fn an_older_buffer_gets_the_present_tables_and_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let (kept, waiting) = filled(folder.path()).await;
    assert!(kept.acknowledged > 5 && waiting.len() > 5, "{kept:?}");
    let path = folder.path().join("buffer.db");
    let shape = tables(&connect(&path));
    connect(&path).execute_batch(BACK_TO_1).unwrap();

    let refused = Inspector::open(&path, &key(folder.path())).err().unwrap();
    let InspectError::Buffer(error) = refused else { panic!("{refused}") };
    assert_eq!(found(&error), "1");
    let error = repair(&settings(folder.path()), &binding(folder.path())).unwrap_err();
    assert_eq!(found(&error), "1");

    let (buffer, writer) =
        Buffer::open_bound(settings(folder.path()), &binding(folder.path())).unwrap();
    assert_eq!(buffer.figures().await.unwrap().backlog, waiting.len() as u64);
    assert_eq!(buffer.kept().await.unwrap(), kept);
    assert_eq!(buffer.waiting(None, usize::MAX).await.unwrap(), waiting);
    let resent = buffer.resend(Sequence::FIRST, Sequence::new(3).unwrap()).await.unwrap();
    assert_eq!(resent, 3);
    drop(buffer);
    writer.join();
    assert_eq!(tables(&connect(&path)), shape);
    let verdict = Inspector::open(&path, &key(folder.path())).unwrap().verify().unwrap();
    assert_eq!(verdict.faults, Vec::<String>::new());
}

#[tokio::test]
async fn a_buffer_of_a_newer_agent_is_left_alone() {
    let folder = TempDir::new().unwrap();
    filled(folder.path()).await;
    let path = folder.path().join("buffer.db");
    let newer = "UPDATE meta SET value = '3' WHERE name = 'schema'";
    connect(&path).execute_batch(newer).unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = Buffer::open(settings(folder.path())).err().unwrap();
    assert_eq!(found(&error), "3");
    assert!(std::fs::read(&path).unwrap() == before, "it is as it was");
}

#[tokio::test]
async fn a_batch_whose_standing_is_not_clear_is_a_fault() {
    let folder = TempDir::new().unwrap();
    filled(folder.path()).await;
    let path = folder.path().join("buffer.db");
    for (sql, wanted) in [
        ("DELETE FROM delivered WHERE sequence = 2", "batch 2 neither waits nor is it delivered"),
        ("INSERT INTO waiting VALUES (3)", "batch 3 waits and is delivered"),
        (
            "INSERT INTO waiting VALUES (70000)",
            "70000 is said to wait or to be delivered, and is no batch",
        ),
    ] {
        connect(&path).execute_batch(sql).unwrap();
        let verdict = Inspector::open(&path, &key(folder.path())).unwrap().verify().unwrap();
        assert!(verdict.faults.iter().any(|fault| fault == wanted), "{:?}", verdict.faults);
    }
}

/// Makes a buffer with confirmed and with waiting batches.
async fn filled(folder: &Path) -> (edge_agent::buffer::Kept, Vec<edge_agent::buffer::Outgoing>) {
    let (buffer, writer) = Buffer::open_bound(settings(folder), &binding(folder)).unwrap();
    fill(&buffer).await;
    let kept = buffer.kept().await.unwrap();
    let waiting = buffer.waiting(None, usize::MAX).await.unwrap();
    drop(buffer);
    writer.join();
    (kept, waiting)
}

fn found(error: &BufferError) -> &str {
    let BufferError::OtherVersion { found, .. } = error else { panic!("{error}") };
    found
}

/// Returns what each table and each index is made of.
fn tables(connection: &Connection) -> Vec<(String, String)> {
    let sql = "SELECT t.name, group_concat(c.name || c.type || c.\"notnull\" || c.pk) \
               FROM sqlite_master AS t JOIN pragma_table_xinfo(t.name) AS c GROUP BY t.name \
               UNION ALL SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql <> '' \
               ORDER BY 1";
    let mut statement = connection.prepare(sql).unwrap();
    let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    found.map(Result::unwrap).collect()
}
