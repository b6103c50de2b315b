//! Boxes that are not what they were: an old copy of a buffer put back, an image cloned, a machine
//! rolled back whole, a disk that died. The real agent sells on, what the centre cannot count is set
//! aside with one alarm, and the way on that the runbooks tell ends where truth, Postgres and the lake
//! are equal and nothing counts twice.

use std::collections::BTreeMap;

use fakes::stack::Stack;
use fakes::wait;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::run::Run;
use super::shop::{Mark, Shop, ShopBox};
use crate::ingest_world::{SOON, World};

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
    until_letters(&run, MANY + 2).await;
    assert_eq!(
        rules(&run).await,
        at_once(&[("stream_not_active receipt_known", MANY), ("stream_not_active", 2)])
    );
    assert_one_alarm(&run, MANY + 2).await;
    let new = other_stream(&run, &before).await;
    activate(&run, &shop, &new).await;
    assert_eq!(replay(&run, &shop).await, 2);
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
    until_letters(&run, MANY).await;
    run.until_exact().await;
    let refused: u64 = rules(&run)
        .await
        .into_iter()
        .filter(|(rules, _)| rules.starts_with("stream_not_active"))
        .map(|(_, n)| n)
        .sum();
    assert_eq!(refused, MANY);
    assert_one_alarm(&run, MANY).await;
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

    until_letters(&run, MANY).await;
    run.until_counted(3 + MANY + 4).await;
    assert_eq!(rules(&run).await, at_once(&[("sequence_reused", MANY)]));
    assert_one_alarm(&run, MANY).await;
    let before = active(&run, &shop).await;
    desk.stop().await;
    export(&run, &shop, &desk).await;
    desk.wipe();
    desk.run(&["restore", desk.path("receipts.json").to_str().unwrap()]);
    desk.start();
    until_letters(&run, MANY + MANY).await;
    let new = other_stream(&run, &before).await;
    activate(&run, &shop, &new).await;
    assert_eq!(replay(&run, &shop).await, MANY);
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

    until_letters(&run, 4).await;
    assert_eq!(rules(&run).await, at_once(&[("stream_not_active", 4)]));
    assert_one_alarm(&run, 4).await;
    let stream = other_stream(&run, &before).await;
    activate(&run, &shop, &stream).await;
    assert_eq!(replay(&run, &shop).await, 4);
    shop.sell(2);
    settle(run, &mut new).await;
}

/// A centre without records, and a shop whose store is open.
async fn begin(test: &str, store: &str) -> (Run, Shop) {
    let world = World::on(Stack::shared(), test).await;
    let shop = Shop::open(&world, store);
    (Run::begin(world, &[], ChaCha8Rng::seed_from_u64(0)).await, shop)
}

/// All is exact, nothing waits for an operator any more, and the comparison finds nothing.
async fn settle(mut run: Run, desk: &mut ShopBox) {
    run.until_exact().await;
    assert_eq!(open_letters(&run).await, 0);
    let counts = run.world.store.counts().await.unwrap();
    assert_eq!((counts.gaps, counts.dead_letters, counts.open_breakers), (0, 0, 0));
    run.centre.command(&["reconcile"]).await;
    assert_eq!(run.centre.said("ALARM"), 0, "{}", run.centre.tail());
    desk.stop().await;
    run.centre.kill().await;
}

/// What an operator sees: letters, and nothing else that asks for somebody.
async fn assert_one_alarm(run: &Run, letters: u64) {
    let counts = run.world.store.counts().await.unwrap();
    let letters = i64::try_from(letters).unwrap();
    assert_eq!((counts.dead_letters, counts.gaps, counts.open_breakers), (letters, 0, 0));
    assert_eq!(run.centre.said("ALARM"), 0, "{}", run.centre.tail());
}

async fn open_letters(run: &Run) -> i64 {
    run.world.number("SELECT count(*) FROM dead_letter WHERE state = 'open'").await
}

async fn until_letters(run: &Run, wanted: u64) {
    let wanted = i64::try_from(wanted).unwrap();
    let set_aside =
        wait::until("what cannot count is set aside", SOON, async || {
            match open_letters(run).await {
                open if open == wanted => Ok(()),
                open => Err(format!("{open} of {wanted} letters are open")),
            }
        });
    set_aside.await.unwrap_or_else(|late| panic!("{late}: {}", run.centre.tail()));
}

/// Returns how many letters are open, by the rules that refuse them.
async fn rules(run: &Run) -> BTreeMap<String, u64> {
    let sql = "SELECT rules, count(*) FROM (
                   SELECT (SELECT string_agg(r->>'rule', ' ') FROM jsonb_array_elements(reasons) r)
                   AS rules FROM dead_letter WHERE state = 'open') l GROUP BY rules";
    let rows = run.world.sql.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), u64::try_from(row.get::<_, i64>(1)).unwrap())).collect()
}

fn at_once(rules: &[(&str, u64)]) -> BTreeMap<String, u64> {
    rules.iter().map(|&(rules, letters)| (rules.to_owned(), letters)).collect()
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

/// Replays what the inactive stream sent; returns how many letters count now.
async fn replay(run: &Run, shop: &Shop) -> u64 {
    let which = ["--store", shop.store.as_str(), "--reason", "stream_not_active"];
    let words = [&["deadletters", "replay", "--wait-seconds", "60"][..], &which].concat();
    let said = run.centre.says(&words).await;
    assert!(!said.contains("not judged yet"), "{said}");
    said.lines().filter(|line| line.ends_with("is replayed")).count() as u64
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
