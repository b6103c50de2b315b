//! What a technician does with a folder: many files at the start, a look before the agent runs, and an
//! export that lies there as a folder.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use tokio::time::Instant;

use crate::reading::data;
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
    // One that was read long ago goes on where its mark says.
    let more = lines(&[receipt("1", FILES + 1, "09:41:08", 1)]);
    let mut grown = File::options().append(true).open(world.path("tills/00000.jsonl")).unwrap();
    grown.write_all(more.as_bytes()).unwrap();
    world.until_cut(receipts + 1, i64::from(FILES / 100) + 1).await;
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
fn decode_reads_the_folder_of_an_export_and_no_other_one() {
    let export = data("dsfinvk/two-closings");
    let read = decode(&["--format", "dsfinvk", "--store", "10"], &export);
    let printed = std::fs::read_to_string(data("dsfinvk/two-closings.receipts")).unwrap();
    let printed: Vec<&str> = printed.lines().filter(|line| line.starts_with('{')).collect();
    assert_eq!(read.0.lines().collect::<Vec<_>>(), printed);
    let empty = tempfile::tempdir().unwrap();
    for (format, folder, reason) in [
        ("jsonl", export.as_path(), "it is a folder, and only an export of dsfinvk is one"),
        ("dsfinvk", empty.path(), "the folder is empty"),
        ("dsfinvk", &empty.path().join("none"), "No such file or directory"),
    ] {
        let (out, err, code) = decode(&["--format", format], folder);
        assert_eq!((out.as_str(), code), ("", Some(1)), "{err}");
        let wanted = format!("error: cannot open {}: {reason}", folder.display());
        assert!(err.starts_with(&wanted) && err.lines().count() == 1, "{err}");
    }
}

#[test]
fn decode_says_where_a_command_is_wrong_and_where_a_file_holds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("empty");
    std::fs::write(&file, "").unwrap();
    for (arguments, reason) in [
        (["--format", "csv"].as_slice(), "\"csv\" is no format; known are poslog, jsonl"),
        (&["--format", "poslog"], "poslog needs a dialect; known dialects of poslog are ncr-acs"),
        (&["--format", "poslog", "--dialect", "sap"], "\"sap\" is no dialect of poslog"),
        (&["--format", "telegram"], "the settings of telegram are not usable: a file of them"),
        (
            &["--format", "jsonl", "--zone", "Berlin"],
            "an IANA zone such as Europe/Berlin is wanted",
        ),
        (&["--format", "jsonl", "--store", "a/b"], "a store id holds the character '/'"),
    ] {
        let (out, err, code) = decode(arguments, &file);
        assert_eq!((out.as_str(), code), ("", Some(2)), "{err}");
        assert!(err.starts_with("error: ") && err.contains(reason), "{err}");
    }
    for arguments in [
        ["--format", "jsonl"].as_slice(),
        &["--format", "poslog", "--dialect", "v6"],
        &["--format", "escpos", "--dialect", "rewe"],
        &["--format", "receipt-text", "--dialect", "lidl"],
        &["--format", "fiskaltrust"],
        &["--format", "square"],
        &["--format", "dsfinvk"],
        &["--format", "edifact"],
    ] {
        let (out, err, code) = decode(arguments, &file);
        assert_eq!((out.as_str(), code), ("", Some(0)), "{err}");
        assert_eq!(err, "nothing stands in it: no receipt, nothing refused\n");
        let (out, _, code) = decode(&[arguments, &["--summary"]].concat(), &file);
        assert_eq!(code, Some(0));
        assert!(
            out.lines().all(|line| line.len() <= 40) && out.contains("refused pieces"),
            "{out}"
        );
    }
}

fn decode(arguments: &[&str], path: &Path) -> (String, String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-agent"));
    let output = command.arg("decode").args(arguments).arg(path).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}
