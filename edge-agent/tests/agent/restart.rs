//! The agent may end at any point, in any way: what it goes on with is what it had.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::world::{World, lines, receipt, sums};

#[tokio::test]
async fn kills_at_random_moments_lose_nothing_and_double_nothing() {
    let seed: u64 =
        std::env::var("SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    eprintln!("SEED={seed}");
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let world = World::new();
    let (mut receipts, mut cents) = (0, 0);
    for round in 0..12_u32 {
        let agent = world.start();
        for file in 0..4_u32 {
            let first = round * 40 + file * 10;
            let minute = |number: u32| format!("{:02}:{:02}:07", 8 + number / 60, number % 60);
            let day: Vec<_> = (first..first + 10)
                .map(|n| receipt("3", n + 1, &minute(n / 3), 7 + i64::from(n)))
                .collect();
            receipts += 10;
            cents += day.iter().map(|receipt| receipt.total_cents.0).sum::<i64>();
            world.drop_file(&format!("{round}-{file}.jsonl"), lines(&day));
            let millis = dice.random_range(0..60);
            tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
        }
        agent.kill();
    }
    let agent = world.agent().await;
    world.until_cut(receipts, cents).await;
    assert!(agent.stop().await.success());
    let batches = world.batches();
    assert_eq!(sums(&batches), (receipts, cents));
    let sequences: Vec<u64> = batches.iter().map(|batch| batch.sequence.get()).collect();
    assert_eq!(sequences, (1..=batches.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stop_closes_nothing_early_and_the_minute_goes_on_after_it() {
    let world = World::new();
    let now = shared::time::Clock::real().now();
    let mut live = receipt("3", 1, "09:41:07", 100);
    live.ended_at = now.plus(std::time::Duration::from_secs(120));
    let agent = world.agent().await;
    world.drop_file("live.jsonl", lines(&[live.clone()]));
    let open = || world.inspector().is_some_and(|it| it.figures().unwrap().open_rows == 1);
    world.until("the minute is open", |_| open()).await;
    assert!(agent.stop().await.success());
    let figures = world.inspector().unwrap().figures().unwrap();
    assert_eq!((figures.open_rows, figures.highest_sequence), (1, 0));
}

#[tokio::test]
async fn a_second_agent_on_the_same_buffer_says_so_and_ends() {
    let world = World::new();
    let _first = world.agent().await;
    let output = world.run(&["run"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("an agent is already running on the buffer"), "{told}");
}

#[tokio::test]
async fn a_wrong_key_says_so_and_touches_nothing() {
    let world = World::new();
    let agent = world.agent().await;
    world.drop_file("day.jsonl", lines(&[receipt("3", 1, "09:41:07", 100)]));
    world.until_cut(1, 100).await;
    agent.kill();
    let files =
        || ["buffer.db", "buffer.db-wal"].map(|name| std::fs::read(world.path(name)).unwrap());
    let before = files();
    assert!(!before[1].is_empty(), "the log holds what was not copied yet");
    std::fs::write(world.path("buffer.key"), "a5".repeat(32)).unwrap();
    for arguments in [["run"].as_slice(), &["buffer", "stats"]] {
        let output = world.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("wrong key"), "{told}");
        assert!(files() == before, "{arguments:?} has touched the buffer");
    }
    std::fs::write(world.path("buffer.key"), "5a".repeat(32)).unwrap();
    let _agent = world.agent().await;
    world.until_cut(1, 100).await;
}

#[tokio::test]
async fn the_buffer_can_be_read_while_the_agent_runs_and_after_it_ended() {
    let world = World::new();
    let agent = world.agent().await;
    world.drop_file("day.jsonl", lines(&[receipt("3", 1, "09:41:07", 100)]));
    world.until_cut(1, 100).await;
    let live = world.json(&["buffer", "stats", "--json"]);
    assert!(agent.stop().await.success());
    let ended = world.json(&["buffer", "stats", "--json"]);
    assert_eq!(live, ended);
    assert_eq!(ended["batches"]["total_cents"], 100);
    let bytes = std::fs::read(world.path("buffer.db")).unwrap();
    assert!(!bytes.starts_with(b"SQLite format 3"), "the buffer is encrypted");
}
