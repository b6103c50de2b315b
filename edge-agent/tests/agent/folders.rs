//! What a technician does with a folder: many files at the start, a look before the agent runs, and an
//! export that lies there as a folder.

use std::process::Command;

use tokio::time::Instant;

use crate::world::{World, lines, receipt};

/// Files that lie there when the agent starts.
const FILES: u32 = 20_000;

#[tokio::test]
async fn twenty_thousand_files_are_read_the_oldest_first_and_remembered() {
    let world = World::new();
    // Most hold nothing, as those of a quiet till do: what is measured is the files.
    for number in 0..FILES {
        let till = (number % 3 + 1).to_string();
        let day = [receipt(&till, number + 1, "09:41:07", 1)];
        let text = if number % 100 == 0 { lines(&day) } else { String::new() };
        std::fs::write(world.path(&format!("tills/{number:05}.jsonl")), text).unwrap();
    }
    let receipts = u64::from(FILES / 100);
    let from = Instant::now();
    let agent = world.start();
    world.until("all are read", |report| report.status.complete_through.is_some()).await;
    let first = from.elapsed();
    world.until_cut(receipts, i64::from(FILES / 100)).await;
    let memory = world.memory_kib();
    assert!(agent.stop().await.success());
    let from = Instant::now();
    let agent = world.agent().await;
    world.until("all are known", |report| report.status.complete_through.is_some()).await;
    eprintln!("{FILES} files: {first:?}, again {:?}, {memory} KiB", from.elapsed());
    assert!(memory < 24 << 10, "{memory} KiB of memory of its own");
    assert!(agent.stop().await.success());
    assert_eq!(world.json(&["buffer", "stats", "--json"])["duplicates"], 0);
}

#[tokio::test]
async fn a_probe_says_what_it_sees_and_a_check_alone_does_not() {
    let world = World::new();
    world.configure_source("pattern = [\"*.jsonl\"]\n");
    world.drop_file("a.jsonl", lines(&[receipt("3", 1, "09:41:07", 1)]));
    world.drop_file("b.txt", "no receipt");
    let said = |arguments: &[&str]| String::from_utf8(world.run(arguments).stdout).unwrap();
    let probed = said(&["check", "--probe"]);
    assert!(probed.contains("holds 2 entries, 1 match, oldest 20"), "{probed}");
    assert!(probed.contains("free to read; the kernel tells of what happens in it"), "{probed}");
    assert!(!said(&["check"]).contains("match"));
    std::fs::remove_dir_all(world.path("tills")).unwrap();
    let probed = said(&["check", "--probe"]);
    assert!(probed.contains("fault source tills: the folder"), "{probed}");
}

#[test]
fn decode_reads_a_folder_as_one_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let day = [receipt("3", 1, "09:41:07", 1), receipt("3", 2, "09:41:17", 1)];
    // The header of a bundle's file is a line of its own, which is refused.
    std::fs::write(folder.path().join("a.jsonl"), format!("\n{}", lines(&day))).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-agent"));
    let output = command.args(["decode", "--format", "jsonl"]).arg(folder.path()).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed.lines().count(), 2, "{printed}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("refused bytes 0..513"), "{said}");
}
