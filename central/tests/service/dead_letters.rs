//! What is refused can be found, taken out, judged again by its very bytes, or given up; and a store
//! that sends too much of it is set aside whole.

use serde_json::Value;
use shared::ids::{Sequence, StreamId};
use shared::minute::StoreMinute;
use shared::wire::{encode, store_minute_headers};

use crate::cli::{central, text};
use crate::ingest_world::{Running, World, ask, now};

/// A batch whose totals do not add up.
fn bad(world: &World, store: &str, sequence: u64) -> StoreMinute {
    let mut batch = world.batch(store, sequence);
    batch.tills[0].total_cents.0 += 1;
    batch
}

/// Replays and waits for the verdicts as long as it takes.
fn replay(world: &World, which: &[&str]) -> std::process::Output {
    let command = ["deadletters", "replay", "--wait-seconds", "60"];
    central(world, &[&command[..], which].concat())
}

/// Letters as `id state times`, in order.
async fn letters(world: &World) -> String {
    let sql =
        "SELECT coalesce(string_agg(id || ' ' || state || ' ' || times, ', ' ORDER BY id), '')
               FROM dead_letter";
    world.sql.query_one(sql, &[]).await.unwrap().get(0)
}

async fn until_judged_at_least(world: &World, records: i64) {
    let judged = "SELECT count(*) FROM batch";
    fakes::wait::until("all is judged", crate::ingest_world::SOON, async || {
        match world.number(judged).await {
            found if found >= records => Ok(()),
            found => Err(format!("{found} judged")),
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_letter_counts_by_its_very_bytes_and_fills_its_place() {
    let mut world = World::new("replay").await;
    world.config.judge.unknown_stores = central::config::UnknownStores::Refuse;
    world.send_all("10", 1..=2).await;
    // Bytes that no text holds, in a header that nobody knows.
    let batch = world.batch("10", 3);
    let mut headers: Vec<(String, String)> = store_minute_headers(&batch, now())
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    headers.push(("x".to_owned(), "\0ü".to_owned()));
    world.send_raw(b"10", &headers, &encode(&batch)).await;
    let running = Running::start(&world.config);
    world.until_judged(3).await;
    assert_eq!(letters(&world).await, "1 open 1, 2 open 1, 3 open 1");

    // Nothing has changed: each joins its origin, and none is made anew.
    let again = replay(&world, &["--store", "10", "--by", "eva"]);
    assert_eq!(again.status.code(), Some(1), "{}", text(&again));
    assert!(text(&again).contains("3 is refused again: store_unknown"), "{}", text(&again));
    assert_eq!(letters(&world).await, "1 open 2, 2 open 2, 3 open 2");
    assert_eq!(world.number("SELECT set_aside FROM v1.streams").await, 3);

    let opened = world.batch("10", 1).minute.to_string();
    central(&world, &["stores", "add", "10", "--opened-at", &opened]);
    let one = replay(&world, &["2"]);
    assert!(one.status.success(), "{}", text(&one));
    assert!(text(&one).contains("2 is replayed"), "{}", text(&one));
    let rest = replay(&world, &["--reason", "store_unknown"]);
    assert!(rest.status.success(), "{}", text(&rest));
    assert_eq!(letters(&world).await, "1 replayed 2, 2 replayed 2, 3 replayed 2");
    world.assert_exactly(&[1, 2, 3].map(|sequence| world.batch("10", sequence))).await;
    assert_eq!(world.number("SELECT set_aside + gaps FROM v1.streams").await, 0);
    // The third was accepted with the same hash as its letter: key, headers and body are the same.
    let hashes = "SELECT count(DISTINCT hash) FROM batch WHERE sequence = 3";
    assert_eq!(world.number(hashes).await, 1);
    let closed = replay(&world, &["2"]);
    assert!(text(&closed).contains("dead letter 2 is replayed"), "{}", text(&closed));
    let audited = "SELECT count(*) FROM audit WHERE action = 'deadletters replay'";
    assert_eq!(world.number(audited).await, 6);
    let nothing = replay(&world, &[]);
    assert!(text(&nothing).contains("say which"), "{}", text(&nothing));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_alone_makes_no_replay_and_the_same_bytes_are_one_letter() {
    let world = World::new("forged_replay").await;
    world.send_all("10", 1..=1).await;
    let wrong = bad(&world, "10", 2);
    let headers: Vec<(String, String)> = store_minute_headers(&wrong, now())
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let running = Running::start(&world.config);
    for _ in 0..2 {
        world.send_raw(b"10", &headers, &encode(&wrong)).await;
    }
    world.until_judged(3).await;
    world.send_raw(b"10", &headers, &encode(&wrong)).await;
    world.until_judged(4).await;
    // However they are cut into batches, the same bytes of one place are one letter.
    assert_eq!(letters(&world).await, "1 open 3");
    let mark = |letter: &str| ("frischmarkt_replay".to_owned(), letter.to_owned());
    for (letter, sequence) in [("1", 3), ("77", 4), ("no number", 5)] {
        let other = bad(&world, "10", sequence);
        let mut headers: Vec<(String, String)> = store_minute_headers(&other, now())
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        headers.push(mark(letter));
        world.send_raw(b"10", &headers, &encode(&other)).await;
    }
    world.until_judged(7).await;
    assert_eq!(world.number("SELECT count(*) FROM dead_letter").await, 4);
    assert_eq!(world.number("SELECT times FROM dead_letter WHERE id = 1").await, 3);
    // A letter that bears somebody's mark comes back with it, and joins itself all the same.
    let id = world.number("SELECT max(id) FROM dead_letter").await.to_string();
    let again = replay(&world, &[&id]);
    assert!(text(&again).contains("refused again: till_total"), "{}", text(&again));
    assert_eq!(world.number("SELECT count(*) FROM dead_letter").await, 4);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_found_taken_out_and_given_up() {
    let world = World::new("discard").await;
    world.send_all("10", [1, 4]).await;
    world.send(&bad(&world, "10", 2)).await;
    world.send_raw(b"20", &[("x".to_owned(), "y".to_owned())], b"\xff").await;
    let running = Running::start(&world.config);
    world.until_judged(4).await;
    let list = |arguments: &[&str]| {
        let all = [&["deadletters", "list", "--json"], arguments].concat();
        text(&central(&world, &all)).lines().count()
    };
    assert_eq!(list(&[]), 2);
    assert_eq!(list(&["--store", "10"]), 1);
    assert_eq!(list(&["--reason", "schema"]), 1);
    assert_eq!(list(&["--reason", "schema", "--store", "10"]), 0);
    assert_eq!(list(&["--since", "2199-01-01T00:00:00Z"]), 0);
    assert_eq!(list(&["--since", &world.base.to_string()]), 2);
    assert_eq!(list(&["--state", "discarded"]), 0);

    let exported = central(&world, &["deadletters", "export", "--reason", "schema", "--by", "eva"]);
    let letter: Value = serde_json::from_slice(&exported.stdout).unwrap();
    assert_eq!((&letter["body_base64"], &letter["key_base64"]), (&"/w==".into(), &"MjA=".into()));
    assert_eq!(letter["headers"][0]["value_base64"], "eQ==");
    let audited = "SELECT count(*) FROM audit WHERE actor = 'eva'";
    assert_eq!(world.number(audited).await, 1);

    let id = world.number("SELECT id FROM dead_letter WHERE record_key = '10'").await.to_string();
    let holes = "SELECT set_aside * 100 + gaps * 10 + given_up FROM v1.streams";
    assert_eq!(world.number(holes).await, 110);
    let unexplained = central(&world, &["deadletters", "discard", &id]);
    assert_eq!(unexplained.status.code(), Some(2), "{}", text(&unexplained));
    let discard = ["deadletters", "discard", &id, "--reason", "a till of the training room"];
    let discarded = central(&world, &discard);
    assert!(discarded.status.success(), "{}", text(&discarded));
    assert_eq!(world.number(holes).await, 11, "a place that was given up is no gap");
    let closed = central(&world, &discard);
    assert!(text(&closed).contains(&format!("dead letter {id} is discarded")));
    let why = "SELECT count(*) FROM audit a, dead_letter d WHERE d.state = 'discarded'
               AND a.reason = d.closed_reason AND a.reason LIKE '%training room'";
    assert_eq!(world.number(why).await, 1);
    // Should it come after all, it counts.
    world.send_all("10", 2..=2).await;
    world.until_judged(5).await;
    assert_eq!(world.number(holes).await, 10);
    world.assert_exactly(&[1, 2, 4].map(|sequence| world.batch("10", sequence))).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_counts_already_is_given_up_at_once_and_nothing_else_is() {
    let world = World::new("counted").await;
    world.send_all("10", 1..=2).await;
    let copy = |sequence, change: fn(&mut StoreMinute)| {
        let mut batch = world.batch("10", 1);
        batch.sequence = Sequence::new(sequence).unwrap();
        batch.stream = StreamId::new(world.base);
        batch.corrections.clear();
        batch.closings.clear();
        batch.losses.clear();
        change(&mut batch);
        batch
    };
    let news: [fn(&mut StoreMinute); 5] = [
        |batch| {
            batch.tills[0].receipts.insert_range(5_000, 5_000);
        },
        |batch| batch.tills[0].numbers_without_sale.insert_range(6_000, 6_001),
        |batch| batch.tills[0].receipt_ids.push("A-77".parse().unwrap()),
        |batch| batch.stock[0].id = "D-77/1".parse().unwrap(),
        |batch| batch.tills[0].receipts.insert_range(u64::MAX, u64::MAX),
    ];
    world.send(&copy(1, |_| {})).await;
    // What was parked without a sale and is known as a receipt is no news either.
    world.send(&copy(2, |batch| batch.tills[0].numbers_without_sale.insert_range(948, 948))).await;
    for (sequence, news) in (3..).zip(news) {
        world.send(&copy(sequence, news)).await;
    }
    let mut loses = copy(8, |_| {});
    loses.losses = world.batch("10", 1).losses;
    world.send(&loses).await;
    world.send_raw(b"10", &[], b"no batch").await;
    world.send(&copy(1, |batch| batch.store = "20".parse().unwrap())).await;
    let running = Running::start(&world.config);
    world.until_judged(12).await;
    let discard = ["deadletters", "discard", "--counted-of", "10", "--reason", "a copy"];

    let said = central(&world, &discard);

    assert!(text(&said).contains("7 others hold something else and stay open"), "{}", text(&said));
    assert_eq!(text(&said).matches("discarded ").count(), 2);
    let closed = "SELECT string_agg(b.sequence::text, ',' ORDER BY b.sequence) FROM dead_letter d
                  JOIN batch b ON b.dead_letter_id = d.id WHERE d.state = 'discarded'";
    let closed: String = world.sql.query_one(closed, &[]).await.unwrap().get(0);
    assert_eq!(closed, "1,2");
    let nothing = central(&world, &["deadletters", "discard", "--reason", "none is named"]);
    assert_eq!(nothing.status.code(), Some(2), "{}", text(&nothing));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_bad_records_opens_the_stores_breaker_and_replay_fills_what_it_held_back() {
    let world = World::new("breaker").await;
    world.send_all("10", 1..=5).await;
    for sequence in 6..=25 {
        world.send(&bad(&world, "10", sequence)).await;
    }
    let running = Running::start(&world.config);
    world.until_judged(25).await;
    world.send_all("10", [26, 27, 3]).await;
    world.send_all("20", 1..=3).await;
    world.until_judged(31).await;
    // The other store flows, and what counted stays a duplicate.
    assert_eq!(world.verdicts().await, "accepted 8, duplicate 1, refused 22");
    let held = "SELECT count(*) FROM dead_letter
                WHERE jsonb_array_length(reasons) = 1 AND reasons->0->>'rule' = 'breaker_open'";
    assert_eq!(world.number(held).await, 2);
    let shown = central(&world, &["stores", "show", "10"]);
    for part in ["BREAKER OPEN since", "20 of the last 50 verdicts were bad"] {
        assert!(text(&shown).contains(part), "{part} is not in {}", text(&shown));
    }
    fakes::wait::until("the alarm is told", crate::ingest_world::SOON, async || {
        let page = ask(&world.config, "/metrics").await.map_err(|error| error.to_string())?;
        let told = page.contains("frischmarkt_central_breakers_open 1");
        if told { Ok(()) } else { Err(page) }
    })
    .await
    .unwrap();

    let reset = central(&world, &["stores", "reset-breaker", "10", "--reason", "till mended"]);
    assert!(text(&reset).contains("closed; it was open since"), "{}", text(&reset));
    let held_back = replay(&world, &["--reason", "breaker_open"]);
    assert!(held_back.status.success(), "{}", text(&held_back));
    // Bad ones that an operator sends again open nothing.
    replay(&world, &["--store", "10"]);
    until_judged_at_least(&world, 53).await;
    world.send_all("10", 28..=28).await;
    until_judged_at_least(&world, 54).await;
    let accepted: Vec<StoreMinute> = (1..=5)
        .chain(26..=28)
        .map(|sequence| world.batch("10", sequence))
        .chain((1..=3).map(|sequence| world.batch("20", sequence)))
        .collect();
    world.assert_exactly(&accepted).await;
    assert_eq!(world.number("SELECT count(*) FROM dead_letter WHERE state = 'open'").await, 20);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_told_with_its_age_and_holds_back_what_is_complete() {
    let world = World::new("gaps").await;
    let complete = |sequence| {
        let mut batch = world.batch("10", sequence);
        batch.complete_through = Some(batch.minute);
        batch
    };
    let running = Running::start(&world.config);
    for sequence in [1, 2, 6, 8] {
        world.send(&complete(sequence)).await;
    }
    world.until_judged(4).await;
    let at = |sequence| complete(sequence).minute.start().unix_millis() / 1000;
    let through = "SELECT extract(epoch FROM complete_through)::bigint FROM v1.stores";
    assert_eq!(world.number(through).await, at(2));
    let told = "SELECT extract(epoch FROM told_through)::bigint FROM v1.streams";
    assert_eq!(world.number(told).await, at(8));
    let since = "SELECT (extract(epoch FROM since) * 1000000)::bigint FROM v1.gaps
                 WHERE first_sequence <= 5 AND last_sequence >= 5";
    let opened = world.number(since).await;
    // What is left of a gap keeps its age.
    world.send(&complete(4)).await;
    world.until_judged(5).await;
    assert_eq!(world.number(since).await, opened);
    let show = ["streams", "show", &world.stream.to_string(), "--json"];
    let shown: Value = serde_json::from_slice(&central(&world, &show).stdout).unwrap();
    let gaps: Vec<(i64, i64)> = shown["open_gaps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|gap| {
            (gap["first_sequence"].as_i64().unwrap(), gap["last_sequence"].as_i64().unwrap())
        })
        .collect();
    assert_eq!(gaps, [(3, 3), (5, 5), (7, 7)]);
    world.send(&complete(3)).await;
    world.until_judged(6).await;
    assert_eq!(world.number(through).await, at(4));
    // One that is set aside holds back as a missing one does.
    let mut wrong = complete(5);
    wrong.tills[0].total_cents.0 += 1;
    world.send(&wrong).await;
    world.until_judged(7).await;
    assert_eq!(world.number(through).await, at(4));
    let give_up = ["streams", "give-up", "10", &world.stream.to_string(), "5", "9"];
    let given_up = central(&world, &[&give_up[..], &["--reason", "the box burned"]].concat());
    assert!(text(&given_up).contains("1 missing sequences"), "{}", text(&given_up));
    world.send(&complete(5)).await;
    world.until_judged(8).await;
    assert_eq!(world.number(through).await, at(8));
    assert_eq!(world.number("SELECT count(*) FROM v1.gaps").await, 0);
    assert_eq!(world.number("SELECT gaps * 10 + given_up FROM v1.streams").await, 1);
    let page = central(&world, &["streams", "list", "--gaps"]);
    assert!(text(&page).contains("no streams"), "{}", text(&page));
    running.stop().await;
}
