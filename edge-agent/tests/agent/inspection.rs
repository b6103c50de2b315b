//! Whoever looks into the buffer sees what is there and hurts nothing; what is damaged is named.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use edge_agent::buffer::Key;
use edge_agent::buffer::inspect::Inspector;

use crate::world::{World, lines, receipt, sums};

fn said(output: &std::process::Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[tokio::test]
async fn what_was_set_aside_counts_once_it_is_read_rightly() {
    let world = World::new();
    let foreign = receipt("3", 1, "09:41:07", 700);
    let mut agent = world.agent().await;
    // The till calls the store by a name that nobody had configured.
    let line = lines(&[foreign]).replace("\"store\":\"10\"", "\"store\":\"4711\"");
    world.drop_file("day.jsonl", line);
    world.until_set_aside(1).await;
    let shown = said(&world.run(&["buffer", "quarantine", "show", "1"]));
    assert!(shown.contains("\"store\":\"9999\"") && !shown.contains("4711"), "{shown}");
    assert!(!world.path("audit.jsonl").exists());
    let raw = said(&world.run(&["buffer", "quarantine", "show", "1", "--raw"]));
    assert!(raw.contains("4711"), "{raw}");
    assert!(std::fs::read_to_string(world.path("audit.jsonl")).unwrap().contains("--raw"));
    let again = world.run(&["buffer", "quarantine", "retry", "1"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        said(&again).contains("it is refused again: it is of another store"),
        "{}",
        said(&again)
    );
    assert!(agent.stop().await.success());
    let config = std::fs::read_to_string(world.path("edge.toml")).unwrap();
    std::fs::write(world.path("edge.toml"), format!("pos_store = \"4711\"\n{config}")).unwrap();
    agent = world.agent().await;
    let again = world.run(&["buffer", "quarantine", "retry", "1"]);
    assert_eq!(said(&again), "1 counted, 0 were counted before\n");
    world.until_cut(1, 700).await;
    assert!(world.until_set_aside(0).await.is_empty());
    assert!(
        said(&world.run(&["buffer", "quarantine", "retry", "1"])).contains("nothing is set aside")
    );
    assert!(agent.stop().await.success());
}

#[tokio::test]
async fn a_retry_in_the_place_of_an_agent_that_does_not_run_leaves_the_minute_for_it() {
    let world = World::new();
    let agent = world.agent().await;
    let line =
        lines(&[receipt("3", 1, "09:41:07", 700)]).replace("\"store\":\"10\"", "\"store\":\"47\"");
    world.drop_file("day.jsonl", line);
    world.until_set_aside(1).await;
    assert!(agent.stop().await.success());
    let config = std::fs::read_to_string(world.path("edge.toml")).unwrap();
    std::fs::write(world.path("edge.toml"), format!("pos_store = \"47\"\n{config}")).unwrap();
    assert!(world.run(&["buffer", "quarantine", "retry", "1"]).status.success());
    let agent = world.agent().await;
    world.until_cut(1, 700).await;
    assert!(agent.stop().await.success());
}

#[tokio::test]
async fn a_whole_buffer_is_whole_and_every_flipped_bit_is_seen() {
    let world = World::new();
    let agent = world.agent().await;
    let day: Vec<_> =
        (1..200).map(|n| receipt("3", n, &format!("09:{:02}:07", n % 60), 100)).collect();
    world.drop_file("day.jsonl", lines(&day));
    world.until_cut(199, 19_900).await;
    let beside = said(&world.run(&["buffer", "verify"]));
    assert!(beside.starts_with("whole: "), "{beside}");
    assert!(agent.stop().await.success());
    let whole = world.json(&["buffer", "verify", "--json"]);
    assert_eq!(whole["faults"], serde_json::json!([]));
    let bytes = std::fs::read(world.path("buffer.db")).unwrap();
    let key = Key::from_file(&world.path("buffer.key")).unwrap();
    let damaged = world.path("damaged.db");
    for flip in (0..bytes.len()).step_by(bytes.len() / 97) {
        std::fs::write(&damaged, &bytes).unwrap();
        let mut file = std::fs::File::options().read(true).write(true).open(&damaged).unwrap();
        let mut byte = [0];
        file.seek(SeekFrom::Start(flip as u64)).unwrap();
        file.read_exact(&mut byte).unwrap();
        file.seek(SeekFrom::Start(flip as u64)).unwrap();
        file.write_all(&[byte[0] ^ 4]).unwrap();
        let seen = Inspector::open(&damaged, &key).and_then(|it| it.verify());
        let is_seen = seen.as_ref().map_or(true, |verdict| !verdict.faults.is_empty());
        assert!(is_seen, "byte {flip} of {} was changed: {seen:?}", bytes.len());
    }
}

#[tokio::test]
async fn a_page_that_is_half_copied_is_no_fault_where_the_log_holds_it() {
    let world = World::new();
    let day = |from: u32| -> Vec<_> {
        (from..from + 60).map(|n| receipt("3", n, &format!("09:{:02}:07", n % 60), 100)).collect()
    };
    let agent = world.agent().await;
    world.drop_file("one.jsonl", lines(&day(1)));
    world.until_cut(60, 6_000).await;
    assert!(agent.stop().await.success());
    let agent = world.agent().await;
    world.drop_file("two.jsonl", lines(&day(61)));
    world.until_cut(120, 12_000).await;
    agent.kill();
    let key = Key::from_file(&world.path("buffer.key")).unwrap();
    let (damaged, log) = (world.path("damaged.db"), world.path("damaged.db-wal"));
    let bytes = std::fs::read(world.path("buffer.db")).unwrap();
    let (mut unharmed, mut seen) = (0, 0);
    for page in 1..bytes.len() / 4096 {
        let mut bytes = bytes.clone();
        bytes[page * 4096 + 512..page * 4096 + 1024].fill(0);
        std::fs::write(&damaged, &bytes).unwrap();
        std::fs::copy(world.path("buffer.db-wal"), &log).unwrap();
        match Inspector::open(&damaged, &key).and_then(|it| Ok((it.verify()?, it.batch_sums()?))) {
            Ok((verdict, sums)) if verdict.faults.is_empty() => {
                assert_eq!((sums.receipts, sums.total_cents), (120, 12_000), "page {page}");
                unharmed += 1;
            }
            Ok(_) | Err(_) => seen += 1,
        }
    }
    assert!(unharmed > 0 && seen > 0, "{unharmed} pages lie in the log, {seen} do not");
}

#[tokio::test]
async fn an_export_is_what_the_buffer_holds() {
    let world = World::new();
    let agent = world.agent().await;
    world.drop_file(
        "day.jsonl",
        lines(&[receipt("3", 1, "09:41:07", 5), receipt("3", 2, "09:42:07", 7)]),
    );
    world.until_cut(2, 12).await;
    let bodies = said(&world.run(&["buffer", "export"]));
    let batches: Vec<_> = bodies.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(sums(&batches), (2, 12));
    assert_eq!(batches, world.batches());
    let rows = said(&world.run(&["buffer", "export", "--from", "2", "--shape", "csv"]));
    let mut reader = csv::Reader::from_reader(rows.as_bytes());
    let read: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!((read.len(), &read[0][0], &read[0][11]), (1, "2", "7"));
    let wrong = world.run(&["buffer", "resend", "0", "1"]);
    assert!(said(&wrong).contains("0 is no sequence"), "{}", said(&wrong));
    assert!(agent.stop().await.success());
}

#[tokio::test]
async fn lists_are_narrowed_and_an_export_of_what_was_set_aside_names_nobody() {
    let world = World::new();
    let agent = world.agent().await;
    let day = [receipt("3", 1, "09:41:07", 5), receipt("4", 1, "09:42:07", 7)];
    world.drop_file("day.jsonl", lines(&day) + "{\"customer\":\"Erika 4711\"\n");
    world.until_cut(2, 12).await;
    world.until_set_aside(1).await;
    let listed = |arguments: &[&str]| -> Vec<u64> {
        let all = world.json(&[&["buffer", "list", "--json"], arguments].concat());
        let all = all.as_array().unwrap().iter();
        all.map(|batch| batch["sequence"].as_u64().unwrap()).collect()
    };
    assert_eq!(listed(&[]), [2, 1]);
    assert_eq!(listed(&["--limit", "1"]), [2]);
    assert_eq!(listed(&["--till", "3"]), [1]);
    assert_eq!(listed(&["--minute", "2026-03-02T09:42:00Z"]), [2]);
    assert_eq!(listed(&["--minute", "2026-03-02T09:42:00Z", "--till", "3"]), [0; 0]);
    assert_eq!(listed(&["--state", "waiting"]), [2, 1]);
    assert_eq!(listed(&["--state", "acknowledged"]), [0; 0]);
    assert_eq!(world.run(&["buffer", "list", "--state", "lost"]).status.code(), Some(2));
    let exported = said(&world.run(&["buffer", "quarantine", "export"]));
    let one: serde_json::Value = serde_json::from_str(exported.trim()).unwrap();
    assert_eq!((&one["source"], &one["id"]), (&"tills".into(), &1.into()));
    let text = one["text"].as_str().unwrap();
    assert!(text.contains("{\"customer\":\"xxxxx 9999\""), "{text}");
    let shown = world.json(&["buffer", "quarantine", "show", "1", "--json"]);
    assert_eq!(shown["text"], one["text"]);
    let said = world.json(&["buffer", "resend", "1", "2", "--json"]);
    assert_eq!(said["said"], "0 batches go out again");
    assert!(agent.stop().await.success());
}

#[tokio::test]
async fn a_new_key_opens_what_the_old_one_held_and_the_old_one_nothing() {
    let world = World::new();
    let agent = world.agent().await;
    let day: Vec<_> =
        (1..200).map(|n| receipt("3", n, &format!("09:{:02}:07", n % 60), 100)).collect();
    world.drop_file("day.jsonl", lines(&day));
    world.until_cut(199, 19_900).await;
    world.write_key("new.key", "b7");
    let new = world.path("new.key").display().to_string();
    let beside = world.run(&["buffer", "rekey", &new]);
    assert!(said(&beside).contains("an agent is already running"), "{}", said(&beside));
    agent.kill();
    let before = world.batches();
    let done = world.json(&["buffer", "rekey", &new, "--json"]);
    assert!(done["said"].as_str().unwrap().contains("the buffer has the new key"), "{done}");
    assert!(said(&world.run(&["buffer", "stats"])).contains("wrong key"));
    let again = said(&world.run(&["buffer", "rekey", &new]));
    assert!(again.contains("has this key already"), "{again}");
    std::fs::rename(world.path("new.key"), world.path("buffer.key")).unwrap();
    assert_eq!(world.batches(), before);
    let whole = world.json(&["buffer", "verify", "--json"]);
    assert_eq!(whole["faults"], serde_json::json!([]));
    world.write_key("third.key", "c8");
    std::fs::write(world.path("buffer.key"), "d9".repeat(32)).unwrap();
    let third = world.path("third.key").display().to_string();
    assert!(said(&world.run(&["buffer", "rekey", &third])).contains("wrong key"));
    std::fs::write(world.path("buffer.key"), "b7".repeat(32)).unwrap();
    let agent = world.agent().await;
    assert_eq!(world.batches(), before);
    assert!(agent.stop().await.success());
}

#[tokio::test]
async fn a_repaired_buffer_goes_on_and_tells_what_is_gone() {
    let world = World::new();
    let agent = world.agent().await;
    let day: Vec<_> =
        (1..100).map(|n| receipt("3", n, &format!("09:{:02}:07", n % 60), 100)).collect();
    world.drop_file("day.jsonl", lines(&day));
    world.until_cut(99, 9_900).await;
    let beside = world.run(&["buffer", "repair"]);
    assert!(said(&beside).contains("an agent is already running"), "{}", said(&beside));
    assert!(agent.stop().await.success());
    let mut bytes = std::fs::read(world.path("buffer.db")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 3 * 4096].fill(0);
    std::fs::write(world.path("buffer.db"), &bytes).unwrap();
    assert_eq!(world.run(&["buffer", "verify"]).status.code(), Some(1));
    let repaired = world.json(&["buffer", "repair", "--json"]);
    assert!(repaired["unreadable_pages"].as_array().unwrap().len() >= 3, "{repaired}");
    let kept = repaired["kept_as"].as_str().unwrap();
    assert!(std::fs::read(kept).unwrap() == bytes, "the damaged file is kept as it was");
    assert!(said(&world.run(&["buffer", "verify"])).starts_with("whole: "));
    let before: i64 = sums(&world.batches()).1;
    let agent = world.agent().await;
    world.drop_file("later.jsonl", lines(&[receipt("3", 500, "11:00:07", 1)]));
    world.until("the next batch is cut", |_| sums(&world.batches()).1 > before).await;
    let told = serde_json::to_value(&world.batches().last().unwrap().abandoned).unwrap();
    assert_eq!(told, repaired["abandoned"]);
    assert!(agent.stop().await.success());
}
