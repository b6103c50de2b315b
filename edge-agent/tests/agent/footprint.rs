//! What the agent takes of a small box: memory, threads, processor, writes to the disk. Measured and
//! told, not asserted: it depends on the build and on the machine. `FOOTPRINT=real` measures a whole
//! day, at a till's file every one and a half seconds.

use std::time::Duration;

use fakes::stack::Stack;
use shared::ids::StoreId;
use tokio::time::{Instant, interval, sleep};

use crate::backlog::sold;
use crate::world::{Broker, World, lines};

const STORE: &str = "t1";

/// Files of a day: one a minute.
const FILES_A_DAY: u32 = 900;

/// How long an idle agent is watched.
const IDLE: Duration = Duration::from_secs(60);

/// What the kernel says of the running agent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Footprint {
    pub(crate) rss_kib: u64,
    pub(crate) anonymous_kib: u64,
    pub(crate) threads: u64,
    /// Processor time so far, in hundredths of a second.
    pub(crate) ticks: u64,
    /// Bytes so far that were to reach the disk.
    pub(crate) written: u64,
}

impl Footprint {
    pub(crate) fn of(world: &World) -> Self {
        let pid = edge_agent::status::read(&world.path("")).unwrap().pid;
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        let (status, io, stat) = (read("status"), read("io"), read("stat"));
        let field = |text: &str, name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        // The name stands in brackets and may hold spaces; user and system time are 12th and 13th after it.
        let after = stat.rsplit_once(')').unwrap().1;
        let times = after.split_whitespace().skip(11).take(2);
        Self {
            rss_kib: field(&status, "VmRSS:"),
            anonymous_kib: field(&status, "RssAnon:"),
            threads: field(&status, "Threads:"),
            ticks: times.map(|text| text.parse::<u64>().unwrap()).sum(),
            written: field(&io, "write_bytes:"),
        }
    }
}

#[tokio::test]
async fn a_day_of_thirteen_thousand_lines_writes_little() {
    if !std::env::var("FOOTPRINT").is_ok_and(|text| text == "real") {
        eprintln!("SKIPPED: a day of a store is for FOOTPRINT=real");
        return;
    }
    let stack = Stack::shared();
    let topics = stack.topics_for("edge-footprint").await.unwrap();
    let broker = Broker {
        brokers: stack.brokers(),
        topic_prefix: topics.prefix().to_owned(),
        credentials: stack.layout().store_credentials(&StoreId::new(STORE).unwrap()),
    };
    let world = World::with_broker(STORE, &broker);
    let _agent = world.agent().await;
    let began = Footprint::of(&world);
    sleep(IDLE).await;
    let idle = Footprint::of(&world);
    let (started, mut pace) = (Instant::now(), interval(Duration::from_millis(1500)));
    let receipts: Vec<_> = (0..1_300).map(|at| sold(STORE, 0, at)).collect();
    let mut cents = 0;
    for file in 0..FILES_A_DAY {
        pace.tick().await;
        let of_minute = |receipt: &&shared::receipt::Receipt| {
            (receipt.ended_at.unix_millis() / 60_000) % 1_440 == i64::from(5 * 60 + file)
        };
        let these: Vec<_> = receipts.iter().filter(of_minute).cloned().collect();
        cents += these.iter().map(|receipt| receipt.total_cents.0).sum::<i64>();
        world.drop_file(&format!("{file:04}.jsonl"), lines(&these));
    }
    world.until_cut(1_300, cents).await;
    world.until("nothing waits", |report| report.status.backlog == 0).await;
    let (day, took) = (Footprint::of(&world), started.elapsed());
    let at_rest = idle.written - began.written;
    let for_data =
        (day.written - idle.written).saturating_sub(at_rest * took.as_secs() / IDLE.as_secs());
    eprintln!(
        "a day: {for_data} bytes written for 13,000 lines in {} batches, and {at_rest} a minute at \
         rest; {} ticks of processor in {took:?}, {} in a minute at rest; {day:?}",
        world.batches().len(),
        day.ticks - idle.ticks,
        idle.ticks - began.ticks,
    );
}
