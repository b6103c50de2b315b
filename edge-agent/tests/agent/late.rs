//! However late a receipt comes, in whatever order, and whatever the clocks show: originals and
//! supplements together are what anyone would compute from the receipts. Seeded; `SEEDS=n` runs more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use edge_agent::aggregate::clock::{Step, Watch};
use edge_agent::aggregate::open::{Now, OpenMinutes, Slot};
use edge_agent::aggregate::{Company, Oldest, Rules};
use edge_agent::buffer::inspect::Inspector;
use edge_agent::buffer::{
    Buffer, Claim, Cut, Entry, Intake, IntakeUnit, Key, Quota, Settings, Sharing, Supply, Writer,
    time_unknown,
};
use edge_agent::format::{Choice, Format, Framed, Item};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use shared::minute::StoreMinute;
use shared::receipt::Receipt;
use shared::time::Timestamp;
use shared::words::BatchKind;
use tempfile::TempDir;

use crate::reading::{context, data};
use crate::shim::Shim;
use crate::telegram::wrap;
use crate::world::{World, lines, receipt};

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
    assert_eq!((figures.created_at, figures.acknowledged, figures.quarantined), (now, 1, 1));
    assert_eq!(buffer.marks("tills".to_owned()).await.unwrap().len(), 1);
    let again = buffer.take(intake).await.unwrap();
    assert_eq!((again.fresh, again.duplicates), (0, 1));
    let in_a_month = now.plus(Duration::from_secs(31 * 86_400));
    assert_eq!(buffer.learn_time(in_a_month).await.unwrap(), now, "it is learnt once");
    buffer.prune(in_a_month).await.unwrap();
    assert_eq!(buffer.figures().await.unwrap().acknowledged, 0);
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

/// A receipt as it was rung up, in numbers alone.
#[derive(Debug, Clone)]
struct Issued {
    till: usize,
    number: usize,
    /// When it ended by its till's clock, in seconds since 1970.
    ended: i64,
    cents: i64,
    pieces: i64,
    /// When it came, by a clock that is right, and whether the agent's clock was then.
    came: i64,
    clock_is_right: bool,
}

/// What happens in the agent's life.
struct Happening {
    at: i64,
    what: What,
}

enum What {
    /// It starts anew; what the clock shows then stands in the plan.
    Boot,
    /// A till hands over what is new, as chunks of its format.
    Burst(Vec<Chunk>),
}

/// Bytes of a till.
struct Chunk {
    till: usize,
    bytes: Vec<u8>,
}

/// The agent's clock from an instant on.
#[derive(Debug, Clone, Copy)]
struct Shown {
    from: i64,
    /// How far it is off, in seconds.
    off: i64,
    step: Step,
}

struct Plan {
    begin: i64,
    end: i64,
    /// The instant at which clocks are moved.
    night: i64,
    shown: Vec<Shown>,
    issued: Vec<Issued>,
    happenings: Vec<Happening>,
}

impl Plan {
    fn draw(seed: u64, random: &mut ChaCha8Rng) -> Self {
        let night = seconds(NIGHTS[usize::try_from(seed % 2).unwrap()]);
        let begin = night - (HOURS / 2) * 3600;
        let last = begin + HOURS * 3600;
        let end = last + LATEST_DAYS * 86_400 + 7200;
        let boots = Self::boots(begin, last, random);
        let mut plan = Self {
            begin,
            end,
            night,
            shown: Self::clock(seed, begin, last, &boots, random),
            issued: Vec::new(),
            happenings: Vec::new(),
        };
        for at in boots {
            plan.happenings.push(Happening { at, what: What::Boot });
        }
        let bursts: Vec<i64> = (0..BURSTS).map(|_| random.random_range(last..end - 7200)).collect();
        for till in 1..=2 {
            plan.ring_up(till, &bursts, random);
        }
        plan.ring_up_by_local_time(random);
        plan.hand_over(random);
        plan.happenings.sort_by_key(|happening| happening.at);
        plan
    }

    fn boots(begin: i64, last: i64, random: &mut ChaCha8Rng) -> Vec<i64> {
        let count = random.random_range(1..5);
        (0..count).map(|_| random.random_range(begin + 7200..last)).collect()
    }

    /// Draws what the agent's clock shows. Every fourth seed has a clock that is always right.
    fn clock(
        seed: u64,
        begin: i64,
        last: i64,
        boots: &[i64],
        random: &mut ChaCha8Rng,
    ) -> Vec<Shown> {
        let right = |from| Shown { from, off: 0, step: Step::Unknown };
        let mut shown = vec![right(begin)];
        if seed % 4 == 1 {
            // A new box, before it has heard the time for the first time.
            let off = -begin;
            shown = vec![Shown { off, ..right(begin) }, right(begin + 900)];
        }
        if seed.is_multiple_of(4) {
            return shown;
        }
        for _ in 0..random.random_range(1..4) {
            let from = random.random_range(begin + 7200..last);
            let off = if random.random_bool(0.5) { 86_400 } else { -86_400 };
            let step = if random.random_bool(0.5) { Step::Out } else { Step::Unknown };
            shown.push(Shown { from, off, step });
            let back = from + random.random_range(60..12 * 3600);
            let step = if random.random_bool(0.5) { Step::In } else { Step::Unknown };
            shown.push(Shown { step, ..right(back) });
        }
        for &boot in boots {
            if random.random_bool(0.3) {
                continue;
            }
            shown.push(Shown { from: boot, off: -boot, step: Step::Unknown });
            shown.push(right(boot + random.random_range(30..1200)));
        }
        shown.sort_by_key(|shown| shown.from);
        shown
    }

    /// Tills that write what they know of time, and hand over in any order.
    fn ring_up(&mut self, till: usize, bursts: &[i64], random: &mut ChaCha8Rng) {
        let clock_runs_wrong = self.shown.len() == 1;
        for number in 1..=150 {
            let at = random.random_range(self.begin..self.begin + HOURS * 3600);
            let came = match random.random_range(0..10) {
                0..5 => at + random.random_range(1..20),
                5..7 => at + random.random_range(60..3600),
                _ => bursts
                    .iter()
                    .copied()
                    .filter(|&burst| burst > at)
                    .min_by_key(|_| random.random_range(0..1000))
                    .unwrap(),
            };
            let jumped = random.random_bool(0.1);
            let wrong = match (jumped, clock_runs_wrong) {
                (true, true) if random.random_bool(0.5) => 86_400,
                (true, _) => -86_400,
                (false, _) => 0,
            };
            self.issue(till, number, (at + wrong, came), random);
        }
    }

    /// A till that writes local time, whose business day ends at 02:00, and that hands over in order:
    /// an hour that comes twice is told apart by that.
    fn ring_up_by_local_time(&mut self, random: &mut ChaCha8Rng) {
        let mut number = 0;
        for start in [self.begin, self.night - 2 * 3600, self.night + 3 * 3600] {
            let came = start + 3 * 3600 + random.random_range(0..2) * 86_400;
            let came =
                came.max(self.issued.last().map_or(0, |it| if it.till == 3 { it.came } else { 0 }));
            for at in (0..25).map(|step| start + step * 420) {
                number += 1;
                self.issue(3, number, (at, came), random);
            }
        }
    }

    fn issue(
        &mut self,
        till: usize,
        number: usize,
        (ended, came): (i64, i64),
        random: &mut ChaCha8Rng,
    ) {
        let cents = random.random_range(1..99_999);
        let pieces = random.random_range(1..5);
        let clock_is_right = self.shown.len() == 1;
        self.issued.push(Issued { till, number, ended, cents, pieces, came, clock_is_right });
    }

    /// Makes bursts of what comes at the same time; some of it comes twice.
    fn hand_over(&mut self, random: &mut ChaCha8Rng) {
        let mut by_time: BTreeMap<i64, Vec<&Issued>> = BTreeMap::new();
        for issued in &self.issued {
            by_time.entry(issued.came).or_default().push(issued);
        }
        let mut happenings = Vec::new();
        for (at, mut together) in by_time {
            if random.random_bool(0.1) {
                let again = random.random_range(0..self.issued.len());
                let again = &self.issued[again];
                // A second copy comes later than the first.
                if again.came < at && again.till != 3 {
                    together.push(again);
                }
            }
            let chunk = |till: usize| {
                let of_till = together.iter().filter(|it| it.till == till);
                let bytes = of_till.flat_map(|issued| self.bytes(issued)).collect();
                Chunk { till, bytes }
            };
            let chunks = (1..=3).map(chunk).filter(|chunk| !chunk.bytes.is_empty()).collect();
            happenings.push(Happening { at, what: What::Burst(chunks) });
        }
        self.happenings.extend(happenings);
    }

    /// Writes a receipt as its till does.
    fn bytes(&self, issued: &Issued) -> Vec<u8> {
        let Issued { till, number, ended, cents, pieces, .. } = issued;
        if *till == 3 {
            let local = time(ended + self.local_offset(*ended)).utc();
            let amount = format!("{},{:02}", cents / 100, cents % 100);
            let text = format!(
                "K;3;{number};{};V\rP;4006381333931;{pieces};ST;{amount};A;V\rS;{amount}",
                local.format("%d.%m.%y;%H:%M:%S")
            );
            return wrap("stx-etx", "xor", text.as_bytes());
        }
        let (day, at) = (self.business_day(issued), time(*ended));
        let json = format!(
            r#"{{"store":"10","till":"{till}","series":"{day}","receipt":"{number}",
            "business_day":"{day}","ended_at":"{at}","counts":true,
            "lines":[{{"position":1,"article":"own:x:1","kind":"sale","unit":"pcs",
            "quantity_milli":{},"amount_cents":{cents}}}],"total_cents":{cents}}}"#,
            pieces * 1000
        );
        let receipt: Receipt = serde_json::from_str(&json).unwrap();
        (serde_json::to_string(&receipt).unwrap() + "\n").into_bytes()
    }

    /// Germany is two hours ahead in summer, else one.
    fn local_offset(&self, at: i64) -> i64 {
        let spring = time(self.night).utc().format("%m").to_string() == "03";
        let summer = (at >= self.night) == spring;
        if summer { 7200 } else { 3600 }
    }

    /// Till 1 books by the calendar, the others until two in the night.
    fn business_day(&self, issued: &Issued) -> String {
        let night = if issued.till == 1 { 0 } else { 7200 };
        let local = issued.ended + self.local_offset(issued.ended) - night;
        time(local).utc().format("%Y-%m-%d").to_string()
    }

    /// Computes what the receipts sum up to, and how many are moved since their till ran ahead.
    fn computed(&self) -> (BTreeMap<Place, Sums>, usize) {
        let (mut wanted, mut moved) = (BTreeMap::new(), 0);
        for issued in &self.issued {
            let ahead = issued.clock_is_right && issued.ended > issued.came + 600;
            moved += usize::from(ahead);
            let at = if ahead { issued.came } else { issued.ended };
            let minute = time(at - at.rem_euclid(60)).to_string();
            let place = (minute, self.business_day(issued), issued.till.to_string());
            let sums: &mut Sums = wanted.entry(place).or_default();
            *sums = (
                sums.0 + 1,
                sums.1 + issued.cents,
                sums.2 + issued.cents,
                sums.3 + issued.pieces * 1000,
            );
        }
        (wanted, moved)
    }
}

/// The agent's pure parts around a real buffer, joined as `run` joins them.
struct Agent {
    buffer: Buffer,
    writer: Writer,
    minutes: OpenMinutes,
    watch: Watch,
    rules: Rules,
    booted: i64,
    at: i64,
    shown: Vec<Shown>,
    learnt: bool,
    doubts: usize,
}

impl Agent {
    fn boot(folder: &TempDir, plan: &Plan, at: i64) -> Self {
        let shown = plan.shown.clone();
        let wall = wall(&shown, at).0;
        let now = if wall < BUILT.parse().unwrap() { time_unknown() } else { wall };
        let settings = Settings {
            path: folder.path().join("buffer.db"),
            key: key(folder.path()),
            machine_id: None,
            quota: Quota::UNBOUNDED,
            now,
        };
        let (buffer, writer) = Buffer::open(settings).unwrap();
        let rules = Rules {
            store: "10".parse().unwrap(),
            oldest: Oldest::DaysBack(400),
            zone: chrono_tz::Europe::Berlin,
            business_day_cut: chrono::NaiveTime::from_hms_opt(2, 0, 0).unwrap(),
            counted_since: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let figures = runtime.block_on(buffer.figures()).unwrap();
        let open = runtime.block_on(buffer.open_slots()).unwrap();
        let watch = Watch::new(Some(BUILT.parse().unwrap()), figures.last_cut_at);
        let minutes = OpenMinutes::new(GRACE, Duration::from_secs(10));
        let mut agent = Self {
            buffer,
            writer,
            minutes,
            watch,
            rules,
            booted: at,
            at,
            shown,
            learnt: false,
            doubts: 0,
        };
        let now = agent.now();
        for slot in open {
            (1..=3).for_each(|till| agent.minutes.add(slot, till, now));
        }
        agent
    }

    fn reboot(self, folder: &TempDir, plan: &Plan, at: i64) -> Self {
        let doubts = self.doubts;
        self.end();
        Self { doubts, ..Self::boot(folder, plan, at) }
    }

    fn end(self) {
        drop(self.buffer);
        self.writer.join();
    }

    fn now(&self) -> Now {
        let steady = Duration::from_secs(u64::try_from(self.at - self.booted).unwrap());
        Now { wall: wall(&self.shown, self.at).0, steady }
    }

    /// Looks at the clock; returns the time where it is believed, and the time to note.
    async fn look(&mut self) -> (Option<Timestamp>, Timestamp) {
        let now = self.now();
        let doubt = self.watch.judge(now, wall(&self.shown, self.at).1);
        self.doubts += usize::from(doubt.is_some());
        if doubt.is_some_and(|doubt| !doubt.knows_time()) {
            self.learnt = false;
            return (None, time_unknown());
        }
        if !std::mem::replace(&mut self.learnt, true) {
            self.buffer.learn_time(now.wall).await.unwrap();
            self.buffer.prune(now.wall).await.unwrap();
        }
        (doubt.is_none().then_some(now.wall), now.wall)
    }

    /// Closes what is due until an instant, and reads all tills to their end now and then.
    async fn live_until(&mut self, until: i64) {
        while self.at < until {
            self.look().await;
            let next = self.minutes.next_close(self.now());
            let next =
                next.map_or(3600, |span| i64::try_from(span.as_secs()).unwrap().clamp(1, 3600));
            // The clock may jump in between; whoever sleeps for long would not see it.
            let jump = self.shown.iter().map(|shown| shown.from).find(|&from| from > self.at);
            self.at = (self.at + next).min(until).min(jump.unwrap_or(until));
            self.close().await;
        }
        self.at = until;
    }

    async fn close(&mut self) -> Vec<Slot> {
        let due = self.minutes.close(self.now());
        for &slot in &due {
            let at = self.now().wall;
            let cut = Cut { store: "10".parse().unwrap(), at, complete_through: None };
            let cut = self.buffer.close(slot, cut).await.unwrap();
            assert_eq!(cut.len(), 1, "a minute is cut into one batch at a time");
        }
        due
    }

    /// Takes a burst: each till's chunk, then all is read to its end. Every minute that was over is cut
    /// by that, once, whichever tills brought something for it.
    async fn take(&mut self, chunks: &[Chunk]) {
        let now = self.now();
        let mut over = BTreeSet::new();
        for chunk in chunks {
            let slots = self.take_chunk(chunk).await;
            over.extend(slots.iter().filter(|slot| slot.0.end().plus(GRACE) <= now.wall));
            slots.into_iter().for_each(|slot| self.minutes.add(slot, chunk.till, now));
        }
        (1..=3).for_each(|till| self.minutes.read_to_end(till));
        let closed: BTreeSet<Slot> = self.close().await.into_iter().collect();
        assert!(over.is_subset(&closed), "what a burst brings for the past waits for nothing");
    }

    async fn take_chunk(&mut self, chunk: &Chunk) -> BTreeSet<Slot> {
        let (believed, at) = self.look().await;
        let intake = Intake {
            source: format!("till-{}", chunk.till),
            feed: "file".to_owned(),
            claim: Claim::Counts,
            supply: Supply::Waits,
            mark: None,
            at,
            units: self.units(chunk, believed),
        };
        let taken = self.buffer.take(Arc::new(intake)).await.unwrap();
        assert_eq!(taken.quarantined, 0);
        taken.slots
    }

    fn units(&self, chunk: &Chunk, believed: Option<Timestamp>) -> Vec<IntakeUnit> {
        let layout = std::fs::read_to_string(data("telegram/whole/layout.toml")).unwrap();
        let (name, settings) =
            if chunk.till == 3 { ("telegram", Some(&*layout)) } else { ("jsonl", None) };
        let format = Format::find(Choice { name, dialect: None, settings }).unwrap();
        let mut context = context("10", self.rules.zone);
        context.business_day_cut = self.rules.business_day_cut;
        let mut decoder = format.decoder(context);
        let mut framer = format.framer(0);
        let mut framed = framer.push(&chunk.bytes);
        framed.extend(framer.finish());
        let unit = |framed: Framed| {
            let Framed::Unit(unit) = framed else { panic!("{framed:?}") };
            let items = decoder.decode(&unit).unwrap();
            let entries = items.into_iter().map(|item| self.entry(item, believed)).collect();
            IntakeUnit { start: unit.start, end: unit.end, bytes: unit.bytes, entries }
        };
        framed.into_iter().map(unit).collect()
    }

    fn entry(&self, item: Item, believed: Option<Timestamp>) -> Entry {
        let Item::Receipt(mut receipt) = item else { panic!("{item:?}") };
        let place = self.rules.place_receipt(&mut receipt, believed).unwrap();
        assert_eq!(place.company, Company::Shared);
        Entry::Receipt((place.minute, place.business_day), Sharing::Shared, receipt)
    }
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
