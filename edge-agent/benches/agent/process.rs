//! The whole program as a store runs it, with a folder of tills on one side and a real broker on the
//! other: what it takes of a small box when nothing happens, at the pace of a large store, and for a
//! backlog of files.

use std::time::Duration;

use fakes::shop::Country;
use fakes::stack::Stack;
use shared::ids::{Series, StoreId};
use shared::receipt::Receipt;
use shared::time::{BusinessDay, Clock};
use tokio::runtime::Runtime;
use tokio::time::{Instant, interval, sleep};

use crate::inputs;
use crate::table::{Row, Table};
use crate::world::{Broker, World, lines};

/// How long the idle program is watched.
const IDLE: Duration = Duration::from_secs(15);
/// Seconds at a pace, and receipts of each: a thousand a minute.
const PACED_SECONDS: usize = 90;
const PACED: usize = 1_000;
/// Receipts of the files that come all at once.
const MANY: usize = 20_000;
/// Parts of a second that the kernel counts processor time in.
const TICKS: f64 = 100.0;
/// What the paced figures are told beside.
const BUDGET: &str = "budget: RssAnon 8 MiB, RSS 20 MiB, 8 threads, 1 % of a core at 1,000/min";

/// A store that a stack for tests knows.
pub(crate) fn store() -> StoreId {
    StoreId::new("t1").expect("it is a store's id")
}

/// Measures one program through its three states.
pub(crate) fn running(table: &mut Table) {
    Runtime::new().unwrap().block_on(run(table));
}

async fn run(table: &mut Table) {
    let stack = Stack::shared();
    let topics = stack.topics_for("edge-bench").await.unwrap();
    let store = store();
    let credentials = stack.layout().store_credentials(&store);
    let topic_prefix = topics.prefix().to_owned();
    let broker = Broker { brokers: stack.brokers(), topic_prefix, credentials };
    let world = World::with_broker(store.as_str(), &broker);
    let agent = world.agent().await;
    world.until("the agent is known", |report| report.status.backlog == 0).await;
    let pid = edge_agent::status::read(&world.path("")).unwrap().pid;

    let (cpu, began) = (cpu_seconds(pid), Instant::now());
    sleep(IDLE).await;
    let share = 100.0 * (cpu_seconds(pid) - cpu) / began.elapsed().as_secs_f64();
    add(table, "idle", &Held::of(pid), share);

    let (held, share, cpu) = paced(&world, pid).await;
    add(table, "at 1,000 receipts/min", &held, share);
    let receipts = paced_receipts() as f64;
    let what = "CPU seconds per 1,000 receipts, paced";
    let value = (1_000.0 * cpu / receipts, "s");
    table.add(Row::alone("process", what, value, "status and polling of a quiet agent included"));

    // The last paced minute closes first.
    let paced = u64::try_from(paced_receipts()).unwrap();
    until_sent(&world, paced).await;
    let receipts = pool(MANY);
    let before = cpu_seconds(pid);
    let began = Instant::now();
    for (at, part) in receipts.chunks(1_000).enumerate() {
        world.drop_file(&format!("many-{at}.jsonl"), lines(part));
    }
    until_sent(&world, paced + receipts.len() as u64).await;
    let (span, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds(pid) - before);
    let rate = receipts.len() as f64 / span;
    let what = "files of 20,000 receipts, from the folder to the broker";
    let limit = "minutes of the past wait until their folder is read to its end";
    table.add(Row::alone("process", what, (rate, "receipts/s"), limit));
    let value = (1_000.0 * cpu / receipts.len() as f64, "s");
    table.add(Row::alone("process", "CPU seconds per 1,000 receipts, files", value, "whole agent"));
    add(table, "after the files", &Held::of(pid), 100.0 * cpu / span);
    assert!(agent.stop().await.success());
}

/// Drops a file of receipts every second, as of now; returns the most that was held, the share of a
/// core and the seconds of it.
async fn paced(world: &World, pid: u32) -> (Held, f64, f64) {
    let mut held = Held::of(pid);
    let mut pool = pool(2 * paced_receipts());
    let (cpu, began) = (cpu_seconds(pid), Instant::now());
    let mut ticks = interval(Duration::from_secs(1));
    let mut number = 0;
    for second in 0..PACED_SECONDS {
        ticks.tick().await;
        let due = due(second + 1) - due(second);
        let file: Vec<Receipt> = pool.drain(..due).map(|it| as_of_now(it, &mut number)).collect();
        world.drop_file(&format!("now-{second}.jsonl"), lines(&file));
        held.stretch(&Held::of(pid));
    }
    ticks.tick().await;
    let cpu = cpu_seconds(pid) - cpu;
    (held, 100.0 * cpu / began.elapsed().as_secs_f64(), cpu)
}

/// Returns receipts of the stack's store that count, of at most so many.
fn pool(most: usize) -> Vec<Receipt> {
    let mut receipts = inputs::receipts(Country::Germany, most);
    receipts.retain(|receipt| receipt.counts);
    receipts.iter_mut().for_each(|receipt| receipt.store = store());
    receipts
}

/// Returns the receipts that are due after so many seconds.
fn due(seconds: usize) -> usize {
    seconds * PACED / 60
}

fn paced_receipts() -> usize {
    due(PACED_SECONDS)
}

fn as_of_now(mut receipt: Receipt, number: &mut u32) -> Receipt {
    *number += 1;
    receipt.ended_at = Clock::real().now();
    receipt.business_day = BusinessDay::new(receipt.ended_at.utc().date_naive());
    receipt.series = Series::new("paced").expect("it is a series");
    receipt.receipt = number.to_string().parse().expect("it is a number");
    receipt
}

/// Waits until the batches hold so many receipts and all are confirmed.
async fn until_sent(world: &World, receipts: u64) {
    loop {
        let sums = world.inspector().and_then(|inspector| {
            let waiting = inspector.figures().ok()?.backlog;
            Some((inspector.batch_sums().ok()?.receipts, waiting))
        });
        if sums == Some((i64::try_from(receipts).unwrap(), 0)) {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// What a process holds.
struct Held {
    anonymous: u64,
    resident: u64,
    threads: u64,
}

impl Held {
    fn of(pid: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let figure = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        Self {
            anonymous: figure("RssAnon:"),
            resident: figure("VmRSS:"),
            threads: figure("Threads:"),
        }
    }

    fn stretch(&mut self, other: &Self) {
        self.anonymous = self.anonymous.max(other.anonymous);
        self.resident = self.resident.max(other.resident);
        self.threads = self.threads.max(other.threads);
    }
}

fn add(table: &mut Table, when: &str, held: &Held, share: f64) {
    let mebibytes = |kibibytes: u64| (kibibytes as f64 / 1024.0, "MiB");
    for (what, figure) in [
        ("RssAnon", mebibytes(held.anonymous)),
        ("RSS", mebibytes(held.resident)),
        ("threads", (held.threads as f64, "")),
        ("share of a core", (share, "%")),
    ] {
        table.add(Row::alone("process", &format!("{when}: {what}"), figure, BUDGET));
    }
}

/// Returns the processor time that a process has used.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name before may hold anything, blanks too.
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / TICKS
}
