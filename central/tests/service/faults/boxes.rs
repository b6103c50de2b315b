//! Boxes that are not what they were: an old copy of a buffer put back, an image cloned, a machine
//! rolled back whole, a disk that died. The real agent sells on, what the centre cannot count is set
//! aside with one alarm, and the way on that the runbooks tell ends where truth, Postgres and the lake
//! are equal and nothing counts twice.

use fakes::stack::Stack;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::fault::Place;
use super::operator::refused;
use super::run::Run;
use super::shop::{Mark, Shop, ShopBox};
use crate::ingest_world::World;

/// More than open a store's breaker, were they taken for bad ones.
const MANY: u64 = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_buffer_put_back_from_last_week_begins_a_stream_that_counts_once_it_is_activated() {
    let (run, mut shop) = begin("old_buffer", "t6").await;
    let mut desk = ShopBox::install(&run.world, &shop, "machine-a");
    desk.start();
    shop.sell(3);
    run.until_exact().await;
    desk.stop().await;
    desk.keep("last-week", Mark::Stays);
    desk.start();
    shop.sell(MANY);
    run.until_exact().await;
    desk.stop().await;
    let before = active(&run, &shop).await;

    desk.put_back("last-week", Mark::Stays);
    shop.sell(2);
    desk.start();

    // It reads everything since again, and knows not what counted: each receipt goes alone.
    run.until_letters(MANY + 2).await;
    assert_eq!(
        run.rules().await,
        refused(&[("stream_not_active receipt_known", MANY), ("stream_not_active", 2)])
    );
    run.assert_one_alarm(MANY + 2).await;
    let new = other_stream(&run, &before).await;
    activate(&run, &shop, &new).await;
    assert_eq!(run.replay("stream_not_active").await, 2);
    run.until_exact().await;
    discard_counted(&run, &shop, MANY).await;
    shop.sell(2);
    settle(run, &mut desk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_cloned_box_and_the_true_one_only_the_true_one_counts() {
    let (run, mut shop) = begin("clone", "t7").await;
    let mut desk = ShopBox::install(&run.world, &shop, "machine-a");
    desk.start();
    shop.sell(3);
    run.until_exact().await;
    desk.stop().await;
    let mut copy = desk.clone_to(&run.world, &shop, "machine-b");
    desk.start();
    copy.start();

    shop.sell(MANY);

    // Both read the same till's files: the truth is what the till rang up, once.
    run.until_letters(MANY).await;
    run.until_exact().await;
    let refused: u64 = run
        .rules()
        .await
        .into_iter()
        .filter(|(rules, _)| rules.starts_with("stream_not_active"))
        .map(|(_, n)| n)
        .sum();
    assert_eq!(refused, MANY);
    run.assert_one_alarm(MANY).await;
    copy.stop().await;
    copy.wipe();
    discard_counted(&run, &shop, MANY).await;
    shop.sell(2);
    settle(run, &mut desk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_rolled_back_with_its_mark_is_seen_by_the_ledger_and_made_whole() {
    let (run, mut shop) = begin("snapshot", "t8").await;
    let mut desk = ShopBox::install(&run.world, &shop, "machine-a");
    desk.start();
    shop.sell(3);
    run.until_exact().await;
    desk.kill();
    desk.keep("snapshot", Mark::GoesAlong);
    desk.start();
    let counted = shop.sell(MANY);
    run.until_exact().await;
    desk.kill();

    // What counted meanwhile is out of the box's reach, so that other receipts take its sequences.
    desk.put_back("snapshot", Mark::GoesAlong);
    shop.carry_away(&counted);
    shop.sell(MANY + 4);
    desk.start();

    run.until_letters(MANY).await;
    run.until_counted(3 + MANY + 4).await;
    assert_eq!(run.rules().await, refused(&[("sequence_reused", MANY)]));
    run.assert_one_alarm(MANY).await;
    let before = active(&run, &shop).await;
    desk.stop().await;
    export(&run, &shop, &desk).await;
    desk.wipe();
    desk.run(&["restore", desk.path("receipts.json").to_str().unwrap()]);
    desk.start();
    run.until_letters(MANY + MANY).await;
    let new = other_stream(&run, &before).await;
    activate(&run, &shop, &new).await;
    assert_eq!(run.replay("stream_not_active").await, MANY);
    run.until_exact().await;
    discard_counted(&run, &shop, MANY).await;
    shop.sell(2);
    settle(run, &mut desk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_box_in_the_place_of_a_dead_one_counts_what_the_dead_one_took_along() {
    let (run, mut shop) = begin("dead_disk", "t9").await;
    let mut old = ShopBox::install(&run.world, &shop, "machine-a");
    old.start();
    shop.sell(MANY);
    run.until_exact().await;
    old.stop().await;
    let broker = run.world.stack.brokers();
    old.reach(&broker, "127.0.0.1:1");
    old.start();
    shop.sell(4);
    old.until_cut(MANY + 4).await;
    let before = active(&run, &shop).await;
    drop(old);

    let mut new = ShopBox::install(&run.world, &shop, "machine-b");
    export(&run, &shop, &new).await;
    let said = new.run(&["restore", new.path("receipts.json").to_str().unwrap()]);
    assert!(said.starts_with(&format!("{MANY} receipts of 1 tills")), "{said}");
    new.start();

    run.until_letters(4).await;
    assert_eq!(run.rules().await, refused(&[("stream_not_active", 4)]));
    run.assert_one_alarm(4).await;
    let stream = other_stream(&run, &before).await;
    activate(&run, &shop, &stream).await;
    assert_eq!(run.replay("stream_not_active").await, 4);
    shop.sell(2);
    settle(run, &mut new).await;
}

/// A centre without records, and a shop whose store is open.
async fn begin(test: &str, store: &str) -> (Run, Shop) {
    let world = World::on(Stack::shared(), test).await;
    let shop = Shop::open(&world, store);
    (Run::begin(world, Place::Folder, &[], ChaCha8Rng::seed_from_u64(0)).await, shop)
}

/// All is exact, nothing waits for an operator any more, and the comparison finds nothing.
async fn settle(mut run: Run, desk: &mut ShopBox) {
    run.assert_settled(0).await;
    // No number of the till is missing either.
    run.centre.command(&["reconcile"]).await;
    desk.stop().await;
    run.centre.kill().await;
}

async fn active(run: &Run, shop: &Shop) -> String {
    let shown = run.centre.command(&["stores", "show", shop.store.as_str(), "--json"]).await;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    shown["stream"].as_str().unwrap().to_owned()
}

/// Returns the one stream that was heard and is not the active one.
async fn other_stream(run: &Run, active: &str) -> String {
    let listed = run.centre.command(&["streams", "list", "--json"]).await;
    let streams =
        listed.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let all: Vec<String> = streams
        .map(|one| one["stream"].as_str().unwrap().to_owned())
        .filter(|one| one != active)
        .collect();
    let [other] = all.as_slice() else { panic!("one other stream, found {all:?}") };
    other.clone()
}

async fn activate(run: &Run, shop: &Shop, stream: &str) {
    let said =
        run.centre.command(&["stores", "activate-stream", shop.store.as_str(), stream]).await;
    assert!(said.contains("no longer by"), "{said}");
}

async fn discard_counted(run: &Run, shop: &Shop, wanted: u64) {
    let why = ["--reason", "a copy read it again"];
    let which = ["deadletters", "discard", "--counted-of", shop.store.as_str()];
    let said = run.centre.command(&[&which[..], &why].concat()).await;
    assert_eq!(said.matches("discarded ").count() as u64, wanted, "{said}");
    assert!(said.ends_with("0 others hold something else and stay open\n"), "{said}");
}

/// Writes what the centre has of the store, and carries it to the box.
async fn export(run: &Run, shop: &Shop, to: &ShopBox) {
    let (out, own) = (to.path("receipts.json"), run.world.stack.layout().credentials("central"));
    let key = ["--key", own.key.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let words = ["stores", "export-receipts", shop.store.as_str()];
    run.centre.command(&[&words[..], &key].concat()).await;
}
