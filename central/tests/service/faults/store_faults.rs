//! What an object store does wrong, and a test each. A store that is away holds nobody back; one that
//! does what it does not confirm must not have the rows twice.

use std::time::Duration;

use fakes::s3::proxy::{Failure, Plan, Proxy};
use fakes::wait;
use rand::Rng;

use super::draw::Sending;
use super::fault::{Fault, LAKE_WAITS, Place};
use super::run::Run;
use super::scenarios;
use crate::ingest_world::SOON;

/// What the library says of a commit that carries the same identifiers: it was our own.
const OWN_COMMIT: &str = "Concurrent transaction failed";
/// How many of a hundred requests fail where chance decides.
const PERCENT: u32 = 30;
/// How long chance decides.
const AT_RANDOM_FOR: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_answers_500_delays_the_lake_alone() {
    strike("s3_errors", Fault::StoreErrors).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_too_busy_delays_the_lake_alone() {
    strike("s3_busy", Fault::StoreBusy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_never_answers_delays_the_lake_alone() {
    strike("s3_silent", Fault::StoreSilent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_went_through_and_was_answered_500_is_not_made_twice() {
    not_twice("s3_unconfirmed", Failure::DoneButError, OWN_COMMIT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_went_through_and_was_never_answered_is_not_made_twice() {
    not_twice("s3_cut", Failure::DoneButCut, "cannot commit to the table").await;
}

/// Once unconfirmed, and then as long as it takes. The program must have said that it met it.
async fn not_twice(test: &str, failure: Failure, said: &str) {
    let (mut run, parts) = scenarios::begin(test, Place::S3).await;
    run.send(&parts[0]).await;
    unconfirmed(Plan::times(failure, 1), failure, (&mut run, &parts[1][..8])).await;
    run.until_followed().await;
    assert!(run.centre.said(said) > 0, "{}", run.centre.tail());
    unconfirmed(Plan::every(failure), failure, (&mut run, &parts[1][8..])).await;
    run.until_exact().await;
    run.centre.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_comes_in_half_is_read_again() {
    strike("s3_bodies", Fault::StoreCutsBodies).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_killed_between_a_commit_and_its_answer_does_not_make_it_twice() {
    let (mut run, parts) = scenarios::begin("s3_killed", Place::S3).await;
    run.send(&parts[0]).await;
    kill_in_commit(Failure::DoneButSilent, &mut run, &parts[1]).await;
    run.until_exact().await;
    run.centre.kill().await;
}

async fn strike(test: &str, fault: Fault) {
    let (mut run, parts) = scenarios::begin(test, Place::S3).await;
    run.send(&parts[0]).await;
    fault.strike(&mut run, &parts[1]).await;
    run.until_exact().await;
    run.centre.kill().await;
}

/// Everything fails. Postgres takes all that is sent before the store is mended.
pub(super) async fn outage(failure: Failure, run: &mut Run, part: &[Sending]) {
    run.until_followed().await;
    let (news, before) = (run.brings_news(part), run.centre.said(LAKE_WAITS));
    proxy(run).fail(Plan::every(failure));
    run.send(part).await;
    run.until_judged().await;
    let judged = run.world.number("SELECT count(*) FROM batch").await;
    assert_eq!(judged, run.records, "Postgres has everything while the store is away");
    if news {
        run.centre.until_said(LAKE_WAITS, before).await;
        println!("{failure:?}: {judged} records in Postgres while the store is away");
    }
    proxy(run).mend();
}

/// Commits go through and are not confirmed: a few times, so that the next try meets its own commit,
/// or again and again, so that only reading tells what became of them.
pub(super) async fn unconfirmed_by_chance(failure: Failure, run: &mut Run, part: &[Sending]) {
    let plan = match run.chance.random_range(0..3) {
        0 => Plan::every(failure),
        times => Plan::times(failure, times),
    };
    unconfirmed(plan, failure, (run, part)).await;
}

async fn unconfirmed(plan: Plan, failure: Failure, (run, part): (&mut Run, &[Sending])) {
    run.until_followed().await;
    let (news, before) = (run.brings_news(part), proxy(run).failed(failure));
    proxy(run).fail(plan.of_commits());
    run.send(part).await;
    run.until_judged().await;
    if news {
        until_failed(run, failure, before).await;
    }
    proxy(run).mend();
}

/// The program starts while every answer breaks off in its midst.
pub(super) async fn cut_bodies(run: &mut Run, part: &[Sending]) {
    run.until_followed().await;
    run.centre.kill().await;
    let before = proxy(run).failed(Failure::CutBody);
    proxy(run).fail(Plan::every(Failure::CutBody));
    run.centre.start();
    run.send(part).await;
    run.until_judged().await;
    until_failed(run, Failure::CutBody, before).await;
    proxy(run).mend();
}

/// A commit is on its way, or through, and nothing is answered: there the program is killed.
pub(super) async fn kill_in_commit(failure: Failure, run: &mut Run, part: &[Sending]) {
    run.until_followed().await;
    let (news, before) = (run.brings_news(part), proxy(run).failed(failure));
    proxy(run).fail(Plan::every(failure).of_commits());
    run.send(part).await;
    if news {
        until_failed(run, failure, before).await;
    }
    run.centre.kill().await;
    proxy(run).mend();
    run.centre.start();
}

/// A part of the requests fails in one way, then a part in another, while records come.
pub(super) async fn at_random(run: &mut Run, part: &[Sending]) {
    let ways = [
        Failure::Error,
        Failure::Busy,
        Failure::DoneButError,
        Failure::DoneButCut,
        Failure::CutBody,
    ];
    for piece in part.chunks(part.len().div_ceil(2)) {
        let (way, seed) = (ways[run.chance.random_range(0..ways.len())], run.chance.random());
        proxy(run).fail(Plan::some(way, PERCENT, seed));
        run.send(piece).await;
        run.until_judged().await;
        // The store must have had the time to fail; how often it did is left to chance.
        run.centre.kill_after(AT_RANDOM_FOR / 2).await;
        run.centre.start();
    }
    proxy(run).mend();
}

async fn until_failed(run: &Run, failure: Failure, before: u64) {
    let failed =
        wait::until("the store has failed", SOON, async || match proxy(run).failed(failure) {
            failed if failed > before => Ok(()),
            failed => Err(format!("{failed} requests failed")),
        });
    failed.await.unwrap_or_else(|late| panic!("{late}: {}", run.centre.tail()));
}

fn proxy(run: &Run) -> &Proxy {
    &run.s3.as_ref().expect("the lake lies in an object store").proxy
}
