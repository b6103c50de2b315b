//! What a folder promises: every byte is taken in once, whatever is done to the files.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::world::{World, lines, receipt};

fn three() -> [shared::receipt::Receipt; 3] {
    [
        receipt("3", 1, "09:41:07", 100),
        receipt("3", 2, "09:41:17", 20),
        receipt("3", 3, "09:42:07", 3),
    ]
}

#[tokio::test]
async fn a_file_that_grows_is_read_on_and_half_a_line_waits_for_its_rest() {
    let world = World::new();
    let text = lines(&three());
    let (first, rest) = text.split_at(text.len() / 2);
    let path = world.path("tills/growing.jsonl");
    // Held open by its writer, as a till does that writes all day.
    let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    file.write_all(first.as_bytes()).unwrap();
    let agent = world.agent().await;
    world.until_cut(1, 100).await;
    file.write_all(rest.as_bytes()).unwrap();
    world.until_cut(3, 123).await;
    assert!(agent.stop().await.success());
    assert_eq!(world.until_set_aside(0).await, [""; 0]);
}

#[tokio::test]
async fn a_half_line_of_a_closed_file_is_set_aside_and_still_counts_when_its_rest_comes() {
    let world = World::new();
    let text = lines(&three());
    let half = text.len() / 2;
    let _agent = world.agent().await;
    world.until("the folder is watched", |report| report.status.sources[0].up).await;
    std::fs::write(world.path("tills/half.jsonl"), &text.as_bytes()[..half]).unwrap();
    world.until_set_aside(1).await;
    world.until_cut(1, 100).await;
    let mut file = OpenOptions::new().append(true).open(world.path("tills/half.jsonl")).unwrap();
    file.write_all(&text.as_bytes()[half..]).unwrap();
    drop(file);
    world.until_cut(3, 123).await;
}

#[tokio::test]
async fn a_file_sent_again_or_written_anew_counts_nothing_twice() {
    let world = World::new();
    let agent = world.agent().await;
    world.drop_file("day.jsonl", lines(&three()));
    world.until_cut(3, 123).await;
    world.drop_file("day-again.jsonl", lines(&three()));
    world.until("three copies are dropped", |report| report.duplicates == 3).await;
    let mut more = vec![receipt("3", 4, "09:40:00", 1000)];
    more.extend(three());
    std::fs::write(world.path("tills/day.jsonl"), lines(&more)).unwrap();
    world.until_cut(4, 1123).await;
    world.until("the old ones are dropped again", |report| report.duplicates == 6).await;
    assert!(agent.stop().await.success());
    let agent = world.agent().await;
    world.until("it is read to its end", |report| report.status.complete_through.is_some()).await;
    assert!(agent.stop().await.success());
    assert_eq!(world.json(&["buffer", "stats", "--json"])["duplicates"], 6);
}

#[tokio::test]
async fn a_late_file_makes_a_supplement_and_its_counts_ride_along() {
    let world = World::new();
    let _agent = world.agent().await;
    world.drop_file("early.jsonl", lines(&three()[..1]));
    world.until_cut(1, 100).await;
    let again = [three()[0].clone(), three()[1].clone()];
    world.drop_file("late.jsonl", lines(&again));
    world.until_cut(2, 120).await;
    let batches = world.batches();
    let kinds: Vec<&str> = batches.iter().map(|batch| batch.kind.as_str()).collect();
    assert_eq!(kinds, ["original", "supplement"]);
    let sequences: Vec<u64> = batches.iter().map(|batch| batch.sequence.get()).collect();
    assert_eq!(sequences, [1, 2]);
    assert_eq!(batches[1].tills[0].receipts.iter().collect::<Vec<_>>(), [(2, 2)]);
    assert_eq!(batches[1].tills[0].counts.duplicates, 1);
}

#[tokio::test]
async fn one_bad_receipt_among_good_ones_is_set_aside_with_its_bytes() {
    let world = World::new();
    let [first, mut second, third] = three();
    second.total_cents.0 += 1;
    let mut stranger = receipt("3", 9, "09:41:30", 7);
    stranger.store = shared::ids::StoreId::new("11").unwrap();
    let _agent = world.agent().await;
    let mut text = lines([&first, &second, &stranger, &third]);
    text.insert_str(0, "no receipt at all\n");
    world.drop_file("mixed.jsonl", &text);
    world.until_cut(2, 103).await;
    world.until_set_aside(3).await;
    let inspector = world.inspector().unwrap();
    let bytes = |id| String::from_utf8(inspector.set_aside_bytes(id).unwrap().unwrap()).unwrap();
    assert_eq!(bytes(1).trim_end(), "no receipt at all");
    assert_eq!(bytes(2).trim_end(), lines([&second]).trim_end());
    world.drop_file("mixed-again.jsonl", &text);
    world.until("the good ones are known", |report| report.duplicates == 2).await;
    assert_eq!(world.until_set_aside(3).await.len(), 3);
}

#[tokio::test]
async fn the_same_number_with_other_content_is_a_conflict_unless_the_counter_was_reset() {
    let world = World::new();
    let _agent = world.agent().await;
    world.drop_file("day.jsonl", lines(&three()));
    world.until_cut(3, 123).await;
    world.drop_file("other.jsonl", lines(&[receipt("3", 2, "09:41:17", 21)]));
    let reasons = world.until_set_aside(1).await;
    let wanted = "receipt 2 of till 3, series 2026-03-02 was counted with other content";
    assert_eq!(reasons, [wanted]);
    let reset = [receipt("3", 1, "10:00:00", 5000), receipt("3", 2, "10:00:30", 60_000)];
    world.drop_file("reset.jsonl", lines(&reset));
    world.until_cut(5, 65_123).await;
    let batches = world.batches();
    let last = &batches.last().unwrap().tills[0];
    assert_eq!(last.series.as_str(), "2026-03-02/2");
    assert_eq!(last.receipts.iter().collect::<Vec<_>>(), [(1, 2)]);
}

#[tokio::test]
async fn packed_files_are_read_and_unfinished_names_are_not() {
    let world = World::new();
    let _agent = world.agent().await;
    for name in [".hidden.jsonl", "day.jsonl.tmp", "day.jsonl.part"] {
        world.drop_file(name, lines(&three()));
    }
    let packed = world.path("packed");
    std::fs::write(&packed, lines(&three()[1..])).unwrap();
    let gzip = Command::new("gzip").arg("-c").arg(&packed).stderr(Stdio::null()).output().unwrap();
    world.drop_file("day.jsonl.gz", gzip.stdout);
    world.until_cut(2, 23).await;
    world.until("it is read to its end", |report| report.status.complete_through.is_some()).await;
    world.until_cut(2, 23).await;
}

#[tokio::test]
async fn what_is_read_is_moved_away_where_that_is_asked_for() {
    let world = World::new();
    std::fs::create_dir(world.path("done")).unwrap();
    world.configure_source("processed = \"move\"\nprocessed_folder = \"done\"\n");
    let _agent = world.agent().await;
    world.until("the folder is watched", |report| report.status.sources[0].up).await;
    for name in ["a.jsonl", "a.jsonl"] {
        world.drop_file(name, lines(&three()));
        let gone = || !world.path("tills").join(name).exists();
        world.until("the file is moved", |_| gone()).await;
    }
    world.until_cut(3, 123).await;
    assert!(world.path("done/a.jsonl").exists() && world.path("done/a.jsonl.2").exists());
}

#[tokio::test]
async fn a_folder_that_vanishes_is_a_source_down_and_not_a_quiet_day() {
    let world = World::new();
    let _agent = world.agent().await;
    world.until("the source is up", |report| report.status.sources[0].up).await;
    std::fs::rename(world.path("tills"), world.path("away")).unwrap();
    world.until("the source is down", |report| !report.status.sources[0].up).await;
    let report = edge_agent::status::read(&world.path("")).unwrap();
    let error = report.status.sources[0].error.clone().unwrap();
    assert!(error.contains("tills cannot be read"), "{error}");
    std::fs::rename(world.path("away"), world.path("tills")).unwrap();
    world.drop_file("day.jsonl", lines(&three()));
    world.until_cut(3, 123).await;
    world.until("the source is up again", |report| report.status.sources[0].up).await;
}

#[tokio::test]
async fn an_old_file_that_is_cut_off_is_taken_for_finished() {
    let world = World::new();
    let text = lines(&three());
    world.drop_file("cut.jsonl", &text.as_bytes()[..text.len() - 9]);
    let yesterday = ["-d", "2 days ago"];
    let touched = Command::new("touch").args(yesterday).arg(world.path("tills/cut.jsonl")).status();
    assert!(touched.unwrap().success());
    let _agent = world.agent().await;
    world.until_cut(2, 120).await;
    world.until_set_aside(1).await;
}
