//! A buffer that is not the one that was here before never counts twice: it begins a new stream, and
//! what may have been counted goes out one receipt a batch, so that the centre can refuse it alone.

use std::path::Path;

use edge_agent::buffer::Key;
use edge_agent::buffer::inspect::Inspector;
use fakes::stack::Stack;
use fakes::wait;
use shared::ids::{Sequence, StreamId};
use shared::minute::StoreMinute;
use shared::topics::Topic;
use shared::wire;

use crate::outage::{broker, of_store, read_topic};
use crate::world::{SOON, World, lines, receipt, sums};

/// The files of a buffer, but for the mark.
const FILES: [&str; 2] = ["buffer.db", "buffer.db-wal"];

#[tokio::test]
async fn an_old_copy_of_the_buffer_begins_a_new_stream_and_recounts_alone_what_it_forgot() {
    let world = World::quick();
    let agent = world.agent().await;
    world.drop_file("a.jsonl", lines(&[receipt("3", 1, "09:41:07", 100)]));
    world.until_cut(1, 100).await;
    until_handed_over(&world, 1).await;
    assert!(agent.stop().await.success());
    save(&world, "night");
    let agent = world.agent().await;
    let later = [receipt("3", 2, "09:42:07", 20), receipt("3", 3, "09:42:08", 3)];
    world.drop_file("b.jsonl", lines(&later));
    world.until_cut(3, 123).await;
    until_handed_over(&world, 2).await;
    let before = stream(&world);
    assert!(agent.stop().await.success());
    bring_back(&world, "night");
    let refused = world.run(&["buffer", "resend", "1", "1"]);
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("older than what was already handed over"), "{told}");
    let agent = world.agent().await;
    world.until_cut(2, 23).await;
    assert_ne!(stream(&world), before);
    let batches = world.batches();
    assert_eq!(batches.len(), 2, "each receipt that may have been counted goes alone");
    assert_eq!((batches[0].predecessor, batches[1].predecessor), (Some(before), None));
    assert_eq!(sums(&past_batches(&world, before)), (1, 100), "the old batch is kept as it was");
    assert!(agent.stop().await.success());
    // It is bound again, and stays what it is now.
    let now = stream(&world);
    let agent = world.agent().await;
    assert!(agent.stop().await.success());
    assert_eq!(stream(&world), now);
}

#[tokio::test]
async fn a_cloned_image_begins_a_new_stream_on_its_machine() {
    let world = World::quick();
    bind_to(&world, "machine-a");
    let agent = world.agent().await;
    world.drop_file("a.jsonl", lines(&[receipt("3", 1, "09:41:07", 100)]));
    world.until_cut(1, 100).await;
    let before = stream(&world);
    assert!(agent.stop().await.success());
    let mark = std::fs::read_to_string(world.path("buffer.db.counter")).unwrap();
    assert!(!mark.contains("machine-a"), "the machine's id is nobody's business");
    std::fs::write(world.path("machine"), "machine-b").unwrap();
    let agent = world.agent().await;
    world.drop_file(
        "b.jsonl",
        lines(&[receipt("3", 1, "09:41:07", 100), receipt("3", 2, "09:42:07", 7)]),
    );
    world.until_cut(1, 7).await;
    assert_ne!(stream(&world), before);
    assert!(agent.stop().await.success());
}

#[tokio::test]
async fn a_rolled_back_snapshot_is_seen_by_a_mark_on_another_disk() {
    let world = World::quick();
    std::fs::create_dir(world.path("other-disk")).unwrap();
    let config = std::fs::read_to_string(world.path("edge.toml")).unwrap();
    let with = "key_file = \"buffer.key\"\ncounter_file = \"other-disk/counter\"";
    std::fs::write(world.path("edge.toml"), config.replace("key_file = \"buffer.key\"", with))
        .unwrap();
    let agent = world.agent().await;
    world.drop_file("a.jsonl", lines(&[receipt("3", 1, "09:41:07", 100)]));
    world.until_cut(1, 100).await;
    agent.kill();
    save(&world, "snapshot");
    let agent = world.agent().await;
    world.drop_file("b.jsonl", lines(&[receipt("3", 2, "09:42:07", 20)]));
    world.until_cut(2, 120).await;
    until_handed_over_at(&world.path("other-disk/counter"), 2).await;
    let before = stream(&world);
    agent.kill();
    bring_back(&world, "snapshot");
    let agent = world.agent().await;
    world.until_cut(1, 20).await;
    assert_ne!(stream(&world), before);
    assert!(agent.stop().await.success());
}

/// Nothing in the box can tell a snapshot that took its mark along. What it sends then is what the
/// ledger knows as a sequence that was used before: other bytes under the same name.
#[tokio::test]
async fn a_snapshot_with_its_mark_uses_a_sequence_again_with_other_bytes() {
    let world = World::quick();
    let agent = world.agent().await;
    world.drop_file("a.jsonl", lines(&[receipt("3", 1, "09:41:07", 100)]));
    world.until_cut(1, 100).await;
    agent.kill();
    save(&world, "snapshot");
    std::fs::copy(world.path("buffer.db.counter"), world.path("mark")).unwrap();
    let second = async |cents| {
        let agent = world.agent().await;
        world.drop_file("b.jsonl", lines(&[receipt("3", 2, "09:42:07", cents)]));
        world.until_cut(2, 100 + cents).await;
        agent.kill();
        let batch = world.batches().pop().unwrap();
        let id = wire::RecordId { stream: batch.stream, sequence: batch.sequence }.to_string();
        (id.clone(), wire::record_hash(&id, &wire::encode(&batch)))
    };
    let first = second(20).await;
    bring_back(&world, "snapshot");
    std::fs::copy(world.path("mark"), world.path("buffer.db.counter")).unwrap();
    std::fs::remove_file(world.path("tills/b.jsonl")).unwrap();
    let again = second(21).await;
    assert_eq!(first.0, again.0);
    assert_ne!(first.1, again.1);
}

#[tokio::test]
async fn the_buffer_of_another_store_gives_nothing_to_this_one() {
    let world = World::quick();
    let agent = world.agent().await;
    let now = shared::time::Clock::real().now();
    let mut open = receipt("3", 1, "09:41:07", 100);
    open.ended_at = now.plus(std::time::Duration::from_secs(300));
    world.drop_file("a.jsonl", lines(&[open, receipt("3", 2, "09:42:07", 20)]));
    world.until_cut(1, 20).await;
    let before = stream(&world);
    assert!(agent.stop().await.success());
    let config = std::fs::read_to_string(world.path("edge.toml")).unwrap();
    let config = config.replace("store = \"10\"", "store = \"11\"");
    std::fs::write(world.path("edge.toml"), config).unwrap();
    std::fs::remove_file(world.path("tills/a.jsonl")).unwrap();
    let agent = world.agent().await;
    let figures = world.inspector().unwrap().figures().unwrap();
    assert_eq!((figures.open_rows, figures.backlog, figures.highest_sequence), (0, 0, 0));
    assert_ne!(figures.stream, before);
    assert!(agent.stop().await.success());
}

#[tokio::test]
async fn what_waited_in_the_old_buffer_goes_out_under_its_own_stream() {
    let stack = Stack::shared();
    let topics = stack.topics_for("edge-binding").await.unwrap();
    let mut there = broker(stack, &topics, "t4");
    let reached = std::mem::replace(&mut there.brokers, "127.0.0.1:1".to_owned());
    let world = World::with_broker("t4", &there);
    bind_to(&world, "machine-a");
    let agent = world.agent().await;
    world.drop_file("a.jsonl", lines(&[of_store("t4", 1, "09:41:07", 100)]));
    world.until_cut(1, 100).await;
    let before = stream(&world);
    assert!(agent.stop().await.success());
    there.brokers = reached;
    world.configure("t4", &there, "");
    bind_to(&world, "machine-b");
    let agent = world.agent().await;
    world.drop_file("b.jsonl", lines(&[of_store("t4", 2, "09:42:07", 20)]));
    world.until_cut(1, 20).await;
    world.until("nothing waits", |report| report.status.backlog == 0).await;
    let batches: Vec<StoreMinute> =
        read_topic(stack, &Topic::StoreMinutes.name(topics.prefix()), 2).await;
    assert_eq!(sums(&batches), (2, 120));
    assert_eq!((batches[0].stream, batches[0].sequence), (before, Sequence::FIRST));
    assert_eq!((batches[1].stream, batches[1].predecessor), (stream(&world), Some(before)));
    assert!(agent.stop().await.success());
}

#[tokio::test]
async fn a_buffer_that_was_thrown_away_is_named_as_the_one_before() {
    let world = World::quick();
    let agent = world.agent().await;
    world.drop_file("a.jsonl", lines(&[receipt("3", 1, "09:41:07", 100)]));
    world.until_cut(1, 100).await;
    let before = stream(&world);
    assert!(agent.stop().await.success());
    std::fs::remove_file(world.path("buffer.db")).unwrap();
    let agent = world.agent().await;
    world.until_cut(1, 100).await;
    assert_eq!(world.batches()[0].predecessor, Some(before));
    assert!(world.inspector().unwrap().figures().unwrap().counted_before);
    assert!(agent.stop().await.success());
    // Without the mark nobody knows what was handed over.
    std::fs::remove_file(world.path("buffer.db.counter")).unwrap();
    let before = stream(&world);
    let agent = world.agent().await;
    assert_ne!(stream(&world), before);
    assert!(agent.stop().await.success());
}

fn stream(world: &World) -> StreamId {
    world.inspector().unwrap().figures().unwrap().stream
}

fn bind_to(world: &World, machine: &str) {
    std::fs::write(world.path("machine"), machine).unwrap();
    let config = std::fs::read_to_string(world.path("edge.toml")).unwrap();
    let file = world.path("machine").display().to_string();
    let config = format!("machine_id_file = \"{file}\"\n{config}");
    std::fs::write(world.path("edge.toml"), config).unwrap();
}

fn save(world: &World, folder: &str) {
    std::fs::create_dir(world.path(folder)).unwrap();
    for file in FILES.iter().filter(|file| world.path(file).exists()) {
        std::fs::copy(world.path(file), world.path(folder).join(file)).unwrap();
    }
}

fn bring_back(world: &World, folder: &str) {
    for file in FILES.iter().chain(&["buffer.db-shm"]) {
        if world.path(file).exists() {
            std::fs::remove_file(world.path(file)).unwrap();
        }
    }
    for file in FILES.iter().filter(|file| world.path(folder).join(file).exists()) {
        std::fs::copy(world.path(folder).join(file), world.path(file)).unwrap();
    }
}

fn past_batches(world: &World, stream: StreamId) -> Vec<StoreMinute> {
    let key = Key::from_file(&world.path("buffer.key")).unwrap();
    let path = world.path(&format!("buffer.db.past-{stream}"));
    let inspector = Inspector::open(&path, &key).unwrap();
    let listed = inspector.list(u32::MAX).unwrap();
    let body = |sequence| inspector.show(sequence).unwrap().unwrap().body;
    listed.iter().map(|it| serde_json::from_value(body(it.sequence)).unwrap()).collect()
}

/// Waits until a sequence was marked as handed over.
async fn until_handed_over(world: &World, sequence: u64) {
    until_handed_over_at(&world.path("buffer.db.counter"), sequence).await;
}

async fn until_handed_over_at(mark: &Path, sequence: u64) {
    let want = format!("\"sequence\":{sequence}}}");
    wait::until("the batch is handed over", SOON, async || {
        let text = std::fs::read_to_string(mark).unwrap_or_default();
        if text.contains(&want) { Ok(()) } else { Err(text) }
    })
    .await
    .unwrap();
}
