//! The centre's own places that lose what they had acknowledged: a database that failed over to a
//! standby which lacks its last seconds, and a topic that was deleted and made anew.

use fakes::link::Link;
use fakes::stack::Stack;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::draw::Sending;
use super::fault::Place;
use super::operator::refused;
use super::run::Run;
use super::shop::{Shop, ShopBox};
use crate::ingest_world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_lacks_the_last_seconds_is_filled_again_and_the_lake_takes_nothing_twice() {
    let world = World::on(Stack::shared(), "failover").await;
    let text = std::fs::read_to_string(&world.config_file).unwrap();
    let text = text.replace("unknown_stores = \"add\"", "unknown_stores = \"refuse\"");
    std::fs::write(&world.config_file, text).unwrap();
    let batches = |store, sequences: std::ops::RangeInclusive<u64>| -> Vec<Sending> {
        sequences.map(|one| Sending { batch: world.batch(store, one), bad: false }).collect()
    };
    let (before, lost) = (batches("F0", 1..=8), batches("F0", 9..=16));
    let (of_new_store, after) = (batches("F1", 1..=6), batches("F0", 17..=20));
    let all = [before.clone(), lost.clone(), of_new_store.clone(), after.clone()];
    let opened = world.batch("F0", 1).minute.to_string();
    let mut run = Run::begin(world, Place::Folder, &all, ChaCha8Rng::seed_from_u64(0)).await;
    run.centre.command(&["stores", "add", "F0", "--opened-at", &opened]).await;
    run.send(&before).await;
    run.until_followed().await;
    let primary = ([127, 0, 0, 1], run.world.database.access().port).into();
    let line = Link::start(primary).await.unwrap();
    let standby = run.world.stack.standby_over(line.port()).await.unwrap();
    line.cut();
    // Acknowledged by the server that is about to die: rows, verdicts, offsets, a new store.
    let add = ["stores", "add", "F1", "--opened-at", &opened];
    run.centre.command(&add).await;
    run.send(&lost).await;
    run.send(&of_new_store).await;
    run.until_followed().await;

    standby.promote().await.unwrap();
    run.fail_over_to(standby.port()).await;
    let judged = run.world.number("SELECT count(*) FROM batch").await;
    assert!(judged < run.records, "the standby lacks something: {judged} are judged");
    run.send(&after).await;

    // What it reads again counts again; of the store that it has forgotten everything is set aside.
    run.until_judged().await;
    assert_eq!(run.rules().await, refused(&[("store_unknown", 6)]));
    run.assert_one_alarm(6).await;
    run.centre.command(&add).await;
    assert_eq!(run.replay("store_unknown").await, 6);
    run.assert_settled(0).await;
    run.centre.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_anew_under_a_reading_centre_is_read_from_its_beginning() {
    remake_topic("remade", "t10", Meanwhile::Reads).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_anew_that_grew_beyond_what_was_read_is_read_from_its_beginning() {
    remake_topic("outgrown", "t11", Meanwhile::StandsStill).await;
}

/// What the centre does while its topic is deleted, made anew and filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Reads,
    StandsStill,
}

async fn remake_topic(test: &str, store: &str, meanwhile: Meanwhile) {
    let world = World::on(Stack::shared(), test).await;
    let mut shop = Shop::open(&world, store);
    let mut run = Run::begin(world, Place::Folder, &[], ChaCha8Rng::seed_from_u64(0)).await;
    let mut desk = ShopBox::install(&run.world, &shop, "machine-a");
    desk.start();
    shop.sell(5);
    run.until_exact().await;
    // What counts from here on the lake has not, when its topic goes.
    let log = run.lake().join("tills/_delta_log");
    let away = log.with_file_name("away");
    std::fs::rename(&log, &away).unwrap();
    std::fs::write(&log, "no folder").unwrap();
    shop.sell(3);
    run.until_counted(8).await;
    if meanwhile == Meanwhile::StandsStill {
        run.centre.signal("STOP");
    }

    run.world.topics.recreate().await.unwrap();
    shop.sell(20);
    desk.until_delivered(28).await;
    if meanwhile == Meanwhile::StandsStill {
        run.centre.signal("CONT");
    }

    // Every partition stops by itself, and nothing of the new topic takes the place of the old one's.
    run.centre.until_said("ALARM: partition stopped", 2).await;
    assert_eq!(run.centre.said("ALARM"), 3, "one a partition: {}", run.centre.tail());
    let why = ["made anew", "is not the one judged there"];
    assert!(why.iter().any(|why| run.centre.said(why) > 0), "{}", run.centre.tail());
    run.centre.kill().await;
    std::fs::remove_file(&log).unwrap();
    std::fs::rename(&away, &log).unwrap();
    run.centre.start();
    run.until_counted(28).await;
    // The agents send again what the old topic may have held unread.
    desk.run(&["buffer", "resend", "1", "28"]);
    run.assert_settled(3).await;
    desk.stop().await;
    run.centre.kill().await;
}
