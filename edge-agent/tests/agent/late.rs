//! However late a receipt comes, in whatever order, and whatever the clocks show: originals and
//! supplements together are what anyone would compute from the receipts. Seeded; `SEEDS=n` runs more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use edge_agent::aggregate::clock::Step;
use edge_agent::buffer::inspect::Inspector;
use edge_agent::buffer::{
    Buffer, Claim, Cut, Entry, Intake, IntakeUnit, Key, Quota, Settings, Sharing, Supply,
    time_unknown,
};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use shared::minute::StoreMinute;
use shared::time::Timestamp;
use shared::words::BatchKind;
use tempfile::TempDir;

use crate::shim::Shim;
use crate::world::{World, lines, receipt};

mod life;
mod plan;

use life::Agent;
use plan::{Plan, Shown, What};

/// Seeds of an ordinary run.
const SEEDS: u64 = 4;

/// Hours in which the tills ring up.
const HOURS: i64 = 30;

/// How long a minute stays open after its end.
const GRACE: Duration = Duration::from_secs(5);

/// How late anything comes.
const LATEST_DAYS: i64 = 14;

/// Bursts of what comes late.
const BURSTS: usize = 12;

/// When this agent was built, as far as the test goes.
const BUILT: &str = "2026-03-01T00:00:00Z";

/// The nights in which clocks are moved, as the instants at which it happens.
const NIGHTS: [&str; 2] = ["2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z"];

#[test]
fn originals_and_supplements_are_what_the_receipts_sum_up_to() {
    let seeds = std::env::var("SEEDS").map_or(SEEDS, |text| text.parse().unwrap());
    let mut all = Totals::default();
    for seed in 0..seeds {
        println!("seed {seed}");
        all.add(&live_through(seed));
    }
    println!("{seeds} seeds: {all:?}");
    // A run in which nothing was late, moved or doubted proves nothing.
    assert!(
        all.supplements > 0
            && all.moved > 0
            && all.doubts > 0
            && all.restarts > 0
            && all.digests > 0,
        "{all:?}"
    );
}

#[tokio::test]
async fn what_was_noted_in_1970_is_not_forgotten_when_the_time_comes() {
    let folder = in_memory();
    let settings = Settings {
        path: folder.path().join("buffer.db"),
        key: key(folder.path()),
        machine_id: None,
        quota: Quota::UNBOUNDED,
        now: time_unknown(),
    };
    let (buffer, writer) = Buffer::open(settings).unwrap();
    let receipt = receipt("3", 1, "09:41:07", 100);
    let slot = (receipt.ended_at.minute(), receipt.business_day);
    let entry = Entry::Receipt(slot, Sharing::Shared, Box::new(receipt));
    let refused = Entry::Refused("it is torn".to_owned(), None);
    let intake = Arc::new(Intake {
        source: "tills".to_owned(),
        feed: "file".to_owned(),
        claim: Claim::Counts,
        supply: Supply::Waits,
        mark: Some("7".to_owned()),
        at: time_unknown(),
        units: vec![IntakeUnit { start: 0, end: 1, bytes: vec![1], entries: vec![entry, refused] }],
    });
    buffer.take(Arc::clone(&intake)).await.unwrap();
    let (store, at) = ("10".parse().unwrap(), time(100));
    let cut = buffer.close(slot, Cut { store, at, complete_through: None }).await.unwrap();
    buffer.acknowledge(cut, time_unknown()).await.unwrap();
    let now: Timestamp = "2026-11-23T09:41:00Z".parse().unwrap();
    assert_eq!(buffer.learn_time(now).await.unwrap(), now, "it was made when the time came");
    buffer.prune(now).await.unwrap();
    let figures = buffer.figures().await.unwrap();
    assert_eq!((figures.created_at, figures.quarantined), (now, 1));
    assert_eq!(buffer.kept().await.unwrap().acknowledged, 1);
    assert_eq!(buffer.marks("tills".to_owned()).await.unwrap().len(), 1);
    let again = buffer.take(intake).await.unwrap();
    assert_eq!((again.fresh, again.duplicates), (0, 1));
    let in_a_month = now.plus(Duration::from_secs(31 * 86_400));
    assert_eq!(buffer.learn_time(in_a_month).await.unwrap(), now, "it is learnt once");
    buffer.prune(in_a_month).await.unwrap();
    assert_eq!(buffer.kept().await.unwrap().acknowledged, 0);
    drop(buffer);
    writer.join();
}

#[tokio::test]
async fn a_box_that_boots_in_1970_counts_by_the_tills_times_and_says_so() {
    let Some(shim) = Shim::build("wrong_clock.c") else { return };
    let world = World::new();
    let shows = |off: i64| std::fs::write(world.path("clock-off"), off.to_string()).unwrap();
    let in_1970 = -shared::time::Clock::real().now().unix_millis() / 1000;
    shows(in_1970);
    let off = ("CLOCK_OFF", world.path("clock-off").display().to_string());
    let agent = world.start_among(&[shim.preload(), off]);
    let day = [receipt("3", 1, "09:41:07", 100), receipt("3", 2, "09:42:07", 20)];
    world.drop_file("1.jsonl", lines(&day));
    world
        .until("the clock is named", |report| {
            let error = report.status.clock_error.as_deref().unwrap_or_default();
            error.contains("before this program was built")
                && report.status.complete_through.is_none()
                && report.status.tills.len() == 1
        })
        .await;
    shows(0);
    world.until_summed(2, 120).await;
    world.until("the clock is right", |it| it.status.clock_error.is_none()).await;
    // It was learnt when the time came: what comes again is known.
    world.drop_file("2.jsonl", lines(&day));
    world.until("a second copy is known", |report| report.duplicates == 2).await;
    let minutes: Vec<String> = world.batches().iter().map(|it| it.minute.to_string()).collect();
    assert_eq!(minutes, ["2026-03-02T09:41:00Z", "2026-03-02T09:42:00Z"]);
    let made = world.inspector().unwrap().figures().unwrap().created_at;
    assert!(made > BUILT.parse().unwrap() && made < time_unknown(), "{made}");
    assert!(agent.stop().await.success());
}

/// What was seen.
#[derive(Debug, Default)]
struct Totals {
    receipts: usize,
    minutes: usize,
    batches: usize,
    supplements: usize,
    bursts: usize,
    moved: usize,
    doubts: usize,
    restarts: usize,
    digests: usize,
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.receipts += other.receipts;
        self.minutes += other.minutes;
        self.batches += other.batches;
        self.supplements += other.supplements;
        self.bursts += other.bursts;
        self.moved += other.moved;
        self.doubts += other.doubts;
        self.restarts += other.restarts;
        self.digests += other.digests;
    }
}

/// Lives through one seed and compares.
fn live_through(seed: u64) -> Totals {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let plan = Plan::draw(seed, &mut random);
    let folder = in_memory();
    let mut agent = Agent::boot(&folder, &plan, plan.begin);
    let mut totals = Totals { receipts: plan.issued.len(), ..Totals::default() };
    for happening in &plan.happenings {
        runtime.block_on(agent.live_until(happening.at));
        match &happening.what {
            What::Boot => {
                agent = agent.reboot(&folder, &plan, happening.at);
                totals.restarts += 1;
            }
            What::Burst(chunks) => {
                runtime.block_on(agent.take(chunks));
                totals.bursts += 1;
            }
        }
    }
    runtime.block_on(agent.live_until(plan.end));
    totals.doubts = agent.doubts;
    agent.end();
    let batches = batches(&folder);
    check_shape(&batches, seed);
    totals.digests = crate::digests::exact(&batches);
    let (wanted, moved) = plan.computed();
    let found = summed(&batches);
    for (place, sums) in &wanted {
        assert_eq!(found.get(place), Some(sums), "seed {seed}: {place:?}");
    }
    assert_eq!(found.len(), wanted.len(), "seed {seed}: minutes that nobody rang up");
    totals.moved = moved;
    totals.minutes = wanted.len();
    totals.batches = batches.len();
    let late = batches.iter().filter(|batch| batch.kind == BatchKind::Supplement);
    totals.supplements = late.count();
    let verdict = inspector(&folder).verify().unwrap();
    assert!(verdict.faults.is_empty(), "seed {seed}: {:?}", verdict.faults);
    totals
}

/// Sequences have no hole, and every minute has one original, its first batch.
fn check_shape(batches: &[StoreMinute], seed: u64) {
    let mut seen = BTreeSet::new();
    for (at, batch) in batches.iter().enumerate() {
        assert_eq!(batch.sequence.get(), at as u64 + 1, "seed {seed}");
        let first = seen.insert((batch.minute, batch.business_day));
        assert_eq!(batch.kind == BatchKind::Original, first, "seed {seed}: {}", batch.minute);
    }
}

/// Minute, business day and till.
type Place = (String, String, String);

/// Receipts, their total, lines' amounts, thousandths.
type Sums = (u64, i64, i64, i64);

fn summed(batches: &[StoreMinute]) -> BTreeMap<Place, Sums> {
    let mut found = BTreeMap::new();
    for batch in batches {
        let of = |till: &str| {
            (batch.minute.to_string(), batch.business_day.to_string(), till.to_owned())
        };
        for till in &batch.tills {
            let sums: &mut Sums = found.entry(of(till.till.as_str())).or_default();
            sums.0 += till.receipt_count;
            sums.1 += till.total_cents.0;
        }
        for row in &batch.sales {
            let sums = found.entry(of(row.till.as_str())).or_default();
            sums.2 += row.amount_cents.0;
            sums.3 += row.quantity_milli.0;
        }
    }
    found
}

/// What the agent's clock shows at an instant.
fn wall(shown: &[Shown], at: i64) -> (Timestamp, Step) {
    let last = shown.iter().rev().find(|shown| shown.from <= at).unwrap();
    (time(at + last.off), last.step)
}

/// Returns a folder in memory, where there is one: no power is cut here.
fn in_memory() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_unix_millis(seconds * 1000).unwrap()
}

fn seconds(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().unix_millis() / 1000
}

fn key(folder: &Path) -> Key {
    let file = folder.join("buffer.key");
    std::fs::write(&file, "5a".repeat(32)).unwrap();
    Key::from_file(&file).unwrap()
}

fn inspector(folder: &TempDir) -> Inspector {
    Inspector::open(&folder.path().join("buffer.db"), &key(folder.path())).unwrap()
}

fn batches(folder: &TempDir) -> Vec<StoreMinute> {
    let inspector = inspector(folder);
    let mut listed = inspector.list(u32::MAX).unwrap();
    listed.reverse();
    let body = |sequence| inspector.show(sequence).unwrap().unwrap().body;
    listed.iter().map(|it| serde_json::from_value(body(it.sequence)).unwrap()).collect()
}
