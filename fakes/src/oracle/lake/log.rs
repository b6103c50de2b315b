//! Which files of a Delta table are live: the last checkpoint, and the commits behind it.
//!
//! Source: the Delta transaction log protocol, sections "Delta Log Entries" and "Checkpoints".

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::columns;
use crate::error::StackError;

/// A live file and the business day that its folder stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LiveFile {
    pub(super) path: PathBuf,
    pub(super) partition: BTreeMap<String, Option<String>>,
}

#[derive(Debug, Deserialize)]
struct Action {
    add: Option<Add>,
    remove: Option<Remove>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Add {
    pub(super) path: String,
    #[serde(default)]
    pub(super) partition_values: BTreeMap<String, Option<String>>,
    #[serde(default)]
    deletion_vector: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Remove {
    path: String,
}

#[derive(Debug, Deserialize)]
struct LastCheckpoint {
    version: u64,
    parts: Option<u32>,
}

/// Returns the live files of a table, none where there is no table.
pub(super) fn live_files(table: &Path) -> Result<Vec<LiveFile>, StackError> {
    let log = table.join("_delta_log");
    let mut live: BTreeMap<String, Add> = BTreeMap::new();
    let checkpoint = last_checkpoint(&log)?;
    if let Some(checkpoint) = &checkpoint {
        for part in checkpoint_files(&log, checkpoint) {
            let added = columns::added(&part)?;
            live.extend(added.into_iter().map(|add| (add.path.clone(), add)));
        }
    }
    let first = checkpoint.map_or(0, |checkpoint| checkpoint.version + 1);
    for (expected, (version, path)) in (first..).zip(commits(&log)?.split_off(&first)) {
        if version != expected {
            let what = format!("commit {expected} is missing in {}", log.display());
            return Err(StackError::wrong(what));
        }
        apply(&mut live, &path)?;
    }
    live.into_values().map(|add| live_file(table, add)).collect()
}

fn last_checkpoint(log: &Path) -> Result<Option<LastCheckpoint>, StackError> {
    let path = log.join("_last_checkpoint");
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StackError::path("read", &path)(error)),
    };
    let broken = StackError::foreign(format!("{} is no checkpoint's note", path.display()));
    serde_json::from_slice(&text).map(Some).map_err(broken)
}

fn checkpoint_files(log: &Path, checkpoint: &LastCheckpoint) -> Vec<PathBuf> {
    let version = checkpoint.version;
    match checkpoint.parts {
        None => vec![log.join(format!("{version:020}.checkpoint.parquet"))],
        Some(parts) => (1..=parts)
            .map(|part| {
                log.join(format!("{version:020}.checkpoint.{part:010}.{parts:010}.parquet"))
            })
            .collect(),
    }
}

fn commits(log: &Path) -> Result<BTreeMap<u64, PathBuf>, StackError> {
    let entries = match fs::read_dir(log) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(StackError::path("list", log)(error)),
    };
    let mut commits = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(StackError::path("list", log))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let version = name.strip_suffix(".json").filter(|digits| digits.len() == 20);
        if let Some(version) = version.and_then(|digits| digits.parse().ok()) {
            commits.insert(version, path);
        }
    }
    Ok(commits)
}

fn apply(live: &mut BTreeMap<String, Add>, path: &Path) -> Result<(), StackError> {
    let text = fs::read_to_string(path).map_err(StackError::path("read", path))?;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let broken = StackError::foreign(format!("{} holds no actions", path.display()));
        let action: Action = serde_json::from_str(line).map_err(broken)?;
        if let Some(remove) = action.remove {
            live.remove(&remove.path);
        }
        if let Some(add) = action.add {
            live.insert(add.path.clone(), add);
        }
    }
    Ok(())
}

fn live_file(table: &Path, add: Add) -> Result<LiveFile, StackError> {
    if add.deletion_vector.is_some_and(|vector| !vector.is_null()) {
        let what = format!("{} has a deletion vector, which nobody here reads", add.path);
        return Err(StackError::wrong(what));
    }
    Ok(LiveFile { path: table.join(decoded(&add.path)), partition: add.partition_values })
}

/// Paths stand in the log as URLs write them.
fn decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut text = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = path.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match hex {
            Some(byte) if bytes[at] == b'%' => {
                text.push(byte);
                at += 3;
            }
            Some(_) | None => {
                text.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

impl Add {
    /// Makes an action that a checkpoint holds.
    pub(super) fn new(path: String, partition_values: BTreeMap<String, Option<String>>) -> Self {
        Self { path, partition_values, deletion_vector: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_live_files_are_what_was_added_and_not_removed() {
        let table = tempfile::tempdir().unwrap();
        let log = table.path().join("_delta_log");
        fs::create_dir(&log).unwrap();
        let add = |path: &str| {
            format!(
                r#"{{"add":{{"path":"{path}","partitionValues":{{"business_day":"2026-11-23"}}}}}}"#
            )
        };
        fs::write(
            log.join(format!("{:020}.json", 0)),
            format!("{}\n{}\n", add("a%20b.parquet"), add("c.parquet")),
        )
        .unwrap();
        fs::write(
            log.join(format!("{:020}.json", 1)),
            "{\"remove\":{\"path\":\"c.parquet\"}}\n{\"txn\":{}}\n",
        )
        .unwrap();
        let live = live_files(table.path()).unwrap();
        assert_eq!(live.len(), 1);
        assert_eq!(live[0].path, table.path().join("a b.parquet"));
        fs::write(log.join(format!("{:020}.json", 3)), "").unwrap();
        assert!(live_files(table.path()).unwrap_err().to_string().contains("commit 2 is missing"));
    }

    #[test]
    fn a_table_that_does_not_exist_holds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(live_files(&folder.path().join("sales")).unwrap().is_empty());
    }
}
