//! Receipts that the live source missed are handed over under its numbers, and count once.

use crate::world::{World, lines, receipt, sums};

#[tokio::test]
async fn what_the_live_source_missed_is_filled_in_once_under_its_numbers() {
    let world = World::new();
    let agent = world.agent().await;
    let live = [receipt("3", 1, "09:41:07", 100), receipt("3", 2, "09:42:07", 200)];
    world.drop_file("live.jsonl", lines(&live));
    world.until_cut(2, 300).await;
    // The day's export has its own till and numbers, and the third receipt too.
    let mut export = [
        receipt("K1", 1001, "09:41:07", 100),
        receipt("K1", 1002, "09:42:07", 200),
        receipt("K1", 1003, "09:43:07", 400),
    ];
    for (receipt, series) in export.iter_mut().zip(["Z 7", "Z 7", "Z 7"]) {
        receipt.series = series.parse().unwrap();
    }
    let path = world.path("export.jsonl");
    std::fs::write(&path, lines(&export)).unwrap();
    let path = path.display().to_string();
    let mapping = ["--till", "K1=3", "--number-offset", "-1000"];
    let command = [&["backfill", "--format", "jsonl"], mapping.as_slice(), &[&path]].concat();
    let dry = world.run(&[&command[..], &["--dry-run"]].concat());
    let said = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert!(said.contains("2026-03-02  till 3: 3 receipts, 7.00"), "{said}");
    assert!(said.contains("nothing is handed over"), "{said}");
    for _ in 0..2 {
        assert!(world.run(&command).status.success());
    }
    world.until_cut(3, 700).await;
    // The live source wakes up and brings it after all.
    world.drop_file("late.jsonl", lines(&[receipt("3", 3, "09:43:07", 400)]));
    world.until("the copies are dropped", |report| report.duplicates >= 3).await;
    assert!(agent.stop().await.success());
    assert_eq!(sums(&world.batches()), (3, 700));
}

#[tokio::test]
async fn a_till_that_nobody_mapped_is_told_and_a_wrong_mapping_is_refused() {
    let world = World::new();
    let path = world.path("export.jsonl");
    std::fs::write(&path, lines(&[receipt("K1", 1, "09:41:07", 100)])).unwrap();
    let path = path.display().to_string();
    for (mapping, status, words) in [
        ("K9=3", 1, "till K1 is not mapped"),
        ("K1", 2, "two tills such as K1=1 are wanted"),
        ("K1=a b", 2, "a till id"),
    ] {
        let out = world.run(&["backfill", "--format", "jsonl", "--till", mapping, &path]);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(status), "{said}");
        assert!(said.contains(words), "{said}");
    }
    let out = world.run(&["backfill", "--format", "none", "--till", "K1=3", &path]);
    assert_eq!(out.status.code(), Some(2));
}
