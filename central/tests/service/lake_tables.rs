//! Rows get into the lake's tables exactly once, whoever writes, dies or races.

use std::path::Path;
use std::sync::Arc;

use central::figures::{FiguresByKey, Grain, Part, Scope, add_batch};
use central::lake::schema::LakeTable;
use central::lake::storage::Storage;
use central::lake::table::{Slice, Table, TableError};
use central::lake::totals::TableTotals;
use central::lake::upkeep;
use central::lake::writer::LakeWriter;
use shared::ids::Sequence;
use shared::minute::StoreMinute;

const P0: &str = "generation/0";
const P1: &str = "generation/1";

#[tokio::test]
async fn what_is_written_twice_counts_once() {
    let lake = Folder::new();
    let mut writer = lake.writer().await;
    let slice = slice(P0, 0..5);

    writer.append(std::slice::from_ref(&slice)).await.unwrap();
    writer.append(std::slice::from_ref(&slice)).await.unwrap();
    lake.writer().await.append(std::slice::from_ref(&slice)).await.unwrap();

    assert_eq!(lake.figures().await, expected(&[&slice]));
    assert_eq!(writer.positions(&[P0.into()]).await.unwrap()[P0], Some(5));
}

#[tokio::test]
async fn an_overlap_adds_only_what_is_new() {
    let lake = Folder::new();
    let (mut first, mut second) = (lake.writer().await, lake.writer().await);

    first.append(&[slice(P0, 0..3)]).await.unwrap();
    // The second writer's snapshot is from before the first one's commit.
    second.append(&[slice(P0, 0..6)]).await.unwrap();
    first.append(&[slice(P0, 2..8)]).await.unwrap();

    assert_eq!(lake.figures().await, expected(&[&slice(P0, 0..8)]));
}

#[tokio::test]
async fn an_identifier_that_moved_behind_another_partitions_commit_is_seen() {
    let lake = Folder::new();
    let (mut zombie, mut owner) = (lake.writer().await, lake.writer().await);
    zombie.append(&[slice(P0, 0..2)]).await.unwrap();

    owner.append(&[slice(P0, 0..4)]).await.unwrap();
    // This commit carries the zombie's snapshot past the owner's, without the owner's partition.
    zombie.append(&[slice(P1, 0..1)]).await.unwrap();
    zombie.append(&[slice(P0, 2..4)]).await.unwrap();

    let all = [&slice(P0, 0..4), &slice(P1, 0..1)];
    assert_eq!(lake.figures().await, expected(&all));
}

#[tokio::test]
async fn writers_that_race_add_every_row_once() {
    let lake = Folder::new();
    let mut racing = tokio::task::JoinSet::new();
    for racer in 0..3_i64 {
        let mut writer = lake.writer().await;
        racing.spawn(async move {
            let mut from = 0;
            while from < 24 {
                let to = (from + 2 + racer).min(24);
                let slices = [slice(P0, from..to), slice(P1, from..to)];
                match writer.append(&slices).await {
                    Ok(()) => from = to,
                    // Having lost too often in a row, a writer begins anew, as the role does.
                    Err(TableError::Commit { .. }) => {}
                    Err(error) => panic!("{}", shared::log::Chain(&error)),
                }
            }
        });
    }
    while let Some(done) = racing.join_next().await {
        done.unwrap();
    }
    assert_eq!(lake.figures().await, expected(&[&slice(P0, 0..24), &slice(P1, 0..24)]));
}

#[tokio::test]
async fn a_table_that_missed_a_commit_catches_up_from_its_own_identifier() {
    let lake = Folder::new();
    // A crash after the first of the tables.
    let mut sales = Table::open(&lake.storage(), LakeTable::Sales).await.unwrap();
    sales.append(&[slice(P0, 0..4)]).await.unwrap();

    let mut writer = lake.writer().await;
    assert_eq!(writer.positions(&[P0.into()]).await.unwrap()[P0], None);
    writer.append(&[slice(P0, 0..6)]).await.unwrap();

    assert_eq!(lake.figures().await, expected(&[&slice(P0, 0..6)]));
    assert_eq!(writer.positions(&[P0.into()]).await.unwrap()[P0], Some(6));
}

#[tokio::test]
async fn a_file_that_no_commit_names_does_not_count() {
    let lake = Folder::new();
    lake.writer().await.append(&[slice(P0, 0..3)]).await.unwrap();
    let named = lake.data_files("sales");
    let orphan = named[0].with_file_name("part-00000-orphan.snappy.parquet");
    std::fs::copy(&named[0], &orphan).unwrap();

    lake.writer().await.append(&[slice(P0, 0..5)]).await.unwrap();
    upkeep::look_after(&lake.storage(), LakeTable::Sales).await.unwrap();

    assert_eq!(lake.figures().await, expected(&[&slice(P0, 0..5)]));
    assert!(orphan.exists(), "a young file may belong to a commit that is under way");
}

#[tokio::test]
async fn a_slice_that_would_leave_a_hole_is_refused() {
    let lake = Folder::new();
    let mut writer = lake.writer().await;
    writer.append(&[slice(P0, 0..3)]).await.unwrap();

    let refused = writer.append(&[slice(P0, 5..7)]).await.unwrap_err();

    assert!(refused.is_hole(), "{refused}");
    assert_eq!(
        refused.to_string(),
        "the table sales ends at offset 3 of generation/0, the slice begins at 5"
    );
    assert_eq!(lake.figures().await, expected(&[&slice(P0, 0..3)]));
}

/// After a database was put back, or a topic made anew, offsets no longer tell what a table has.
#[tokio::test]
async fn of_doubtful_batches_a_table_takes_once_what_it_lacks() {
    let lake = Folder::new();
    let mut writer = lake.writer().await;
    writer.append(&[slice(P0, 0..3)]).await.unwrap();
    // One of them is in one table only, as after a crash between the tables' commits.
    let half = Slice { partition: "gone/0".into(), ..slice(P0, 3..4) };
    let mut sales = Table::open(&lake.storage(), LakeTable::Sales).await.unwrap();
    sales.append(&[half]).await.unwrap();
    let again = slice("anew/0", 0..6).batches;
    let twice = [again.clone(), slice("anew/0", 2..6).batches].concat();
    let numbered = (0..).zip(twice.into_iter().map(|(_, batch)| batch));
    let doubtful: Vec<(i64, Arc<StoreMinute>)> = numbered.collect();
    let next = doubtful.len() as i64;
    let anew = Slice { partition: "anew/0".into(), from: 0, next, batches: Vec::new(), doubtful };

    writer.append(std::slice::from_ref(&anew)).await.unwrap();
    lake.writer().await.append(&[anew]).await.unwrap();

    assert_eq!(lake.figures().await, expected(&[&slice(P0, 0..6)]));
    assert_eq!(writer.positions(&["anew/0".into()]).await.unwrap()["anew/0"], Some(next));
}

#[tokio::test]
async fn offsets_move_without_rows_but_not_with_every_slice() {
    let lake = Folder::new();
    let mut writer = lake.writer().await;
    writer.append(&[slice(P0, 0..1)]).await.unwrap();
    let commits = lake.commits("sales");

    for (from, next) in [(1, 100), (100, 5_000), (5_000, 9_000)] {
        let empty =
            Slice { partition: P0.into(), from, next, batches: Vec::new(), doubtful: Vec::new() };
        writer.append(&[empty]).await.unwrap();
    }
    assert_eq!(lake.commits("sales"), commits);

    let many = Slice {
        partition: P0.into(),
        from: 9_000,
        next: 12_000,
        batches: Vec::new(),
        doubtful: Vec::new(),
    };
    writer.append(&[many]).await.unwrap();
    assert_eq!(lake.commits("sales"), commits + 1);
    assert_eq!(lake.writer().await.positions(&[P0.into()]).await.unwrap()[P0], Some(12_000));
}

#[tokio::test]
async fn upkeep_beside_appends_loses_neither_rows_nor_identifiers() {
    let lake = Folder::new();
    let mut writer = lake.writer().await;
    let storage = lake.storage();
    for from in 0..10 {
        writer.append(&[slice(P0, from..from + 1)]).await.unwrap();
    }
    let appends = async {
        for from in 10..25 {
            writer.append(&[slice(P0, from..from + 1)]).await.unwrap();
        }
    };
    let rounds = async {
        let mut compacted = 0;
        for _ in 0..3 {
            for what in LakeTable::ALL {
                compacted += upkeep::look_after(&storage, what).await.unwrap().files_compacted;
            }
        }
        compacted
    };
    let ((), compacted) = tokio::join!(appends, rounds);

    assert!(compacted >= 10, "compacted {compacted} files");
    assert_eq!(lake.figures().await, expected(&[&slice(P0, 0..25)]));
    assert_eq!(lake.writer().await.positions(&[P0.into()]).await.unwrap()[P0], Some(25));
    let log = lake.0.path().join("lake/sales/_delta_log");
    assert!(log.join("_last_checkpoint").exists(), "a checkpoint was made");
    assert_eq!(lake.figures_from_checkpoint().await, expected(&[&slice(P0, 0..25)]));
}

/// A lake in a folder of the test's own.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn storage(&self) -> Storage {
        Storage::in_folder(self.0.path().join("lake"))
    }

    async fn writer(&self) -> LakeWriter {
        LakeWriter::open(&self.storage()).await.unwrap()
    }

    async fn figures(&self) -> FiguresByKey {
        let mut all = FiguresByKey::new();
        for what in LakeTable::ALL {
            let table = TableTotals::open(&self.storage(), what).await.unwrap();
            for (key, figures) in table.figures(&Scope::default(), Grain::Till).await.unwrap() {
                all.entry(key).or_default().add(&figures);
            }
        }
        all
    }

    /// Reads without the commits that the newest checkpoint stands for.
    async fn figures_from_checkpoint(&self) -> FiguresByKey {
        for what in LakeTable::ALL {
            let log = self.0.path().join("lake").join(what.name()).join("_delta_log");
            let text = std::fs::read_to_string(log.join("_last_checkpoint")).unwrap();
            let last: serde_json::Value = serde_json::from_str(&text).unwrap();
            for version in 0..last["version"].as_u64().unwrap() {
                std::fs::remove_file(log.join(format!("{version:020}.json"))).unwrap();
            }
        }
        self.figures().await
    }

    fn data_files(&self, table: &str) -> Vec<std::path::PathBuf> {
        let mut found = Vec::new();
        for day in std::fs::read_dir(self.0.path().join("lake").join(table)).unwrap() {
            let day = day.unwrap().path();
            if day.file_name().unwrap() != "_delta_log" {
                found.extend(std::fs::read_dir(day).unwrap().map(|file| file.unwrap().path()));
            }
        }
        found
    }

    fn commits(&self, table: &str) -> usize {
        let log = self.0.path().join("lake").join(table).join("_delta_log");
        let json = |path: &Path| path.extension().is_some_and(|end| end == "json");
        std::fs::read_dir(log).unwrap().filter(|file| json(&file.as_ref().unwrap().path())).count()
    }
}

/// One accepted batch per offset, each with rows for every table.
fn slice(partition: &str, offsets: std::ops::Range<i64>) -> Slice {
    let batches = offsets.clone().map(|offset| (offset, Arc::new(batch(partition, offset))));
    Slice {
        partition: partition.to_owned(),
        from: offsets.start,
        next: offsets.end,
        batches: batches.collect(),
        doubtful: Vec::new(),
    }
}

fn batch(partition: &str, offset: i64) -> StoreMinute {
    let mut batch: StoreMinute = serde_json::from_str(include_str!(
        "../../../shared/tests/shared/golden/store-minute.full.json"
    ))
    .unwrap();
    batch.store = shared::ids::StoreId::new(partition.rsplit('/').next().unwrap()).unwrap();
    batch.sequence = Sequence::new(offset.unsigned_abs() + 1).unwrap();
    let minute =
        batch.minute.start().plus(std::time::Duration::from_secs(60 * offset.unsigned_abs()));
    batch.minute = minute.minute();
    batch
}

fn expected(slices: &[&Slice]) -> FiguresByKey {
    let mut all = FiguresByKey::new();
    for (_, batch) in slices.iter().flat_map(|slice| &slice.batches) {
        for part in Part::ALL {
            add_batch(&mut all, batch, part, Grain::Till);
        }
    }
    assert!(!all.is_empty());
    all
}
