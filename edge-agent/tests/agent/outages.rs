//! Outages as a table: a fault, how long it lasts, and what the status must say of it. Each ends with
//! all that the tills rang up in the topic, in order, to the cent. `OUTAGES=real` lets each last as
//! long as the table says; otherwise a fault lasts until it is felt.

use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use edge_agent::ship::Link;
use fakes::broker::rights;
use fakes::link::control::{LinkName, Order};
use fakes::process::Ending;
use fakes::stack::own::{OwnStack, TestTopics};
use fakes::stack::{Server, Stack};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shared::ids::StoreId;
use shared::topics::Topic;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep};

use crate::topic::{exact, records};
use crate::world::{Agent, Broker, World, lines, receipt};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The cable is pulled: connections stay half open, bytes vanish.
    Cut,
    /// Connections are reset and refused.
    Refused,
    /// The store's right to write is taken away.
    NoRight,
    /// The topic is deleted with all records and made anew.
    Recreated,
    /// The kernel takes nothing from the agent's sockets.
    NoBuffers,
    /// No name is found; the agent starts anew meanwhile.
    NoNames,
    /// The broker is killed and started again and again.
    Bounces,
    /// The broker stands still: connections are answered and bytes are taken, nothing is confirmed.
    Frozen,
}

struct Case {
    name: &'static str,
    store: &'static str,
    fault: Fault,
    /// How long it lasts in a real run.
    seconds: u64,
    /// What the status must say of it.
    says: &'static str,
}

const fn case(
    name: &'static str,
    store: &'static str,
    fault: Fault,
    seconds: u64,
    says: &'static str,
) -> Case {
    Case { name, store, fault, seconds, says }
}

/// These have a store and a way of their own and go on at once.
const TOGETHER: &[Case] = &[
    case("a minute on a dead line", "t6", Fault::Cut, 60, ""),
    case("the right is taken away", "t7", Fault::NoRight, 60, "has no right to write"),
    case("the topic is lost", "t9", Fault::Recreated, 0, ""),
    case("a minute without buffers", "t10", Fault::NoBuffers, 60, "cannot be reached"),
    case("six minutes without names", "t11", Fault::NoNames, 360, "cannot be reached"),
];

/// These disturb the broker, or the one link to it.
const ONE_BY_ONE: &[Case] = &[
    case("six minutes before a closed door", "t6", Fault::Refused, 360, "cannot be reached"),
    case("the broker bounces every ten seconds", "t7", Fault::Bounces, 60, ""),
    case("six minutes of a broker that confirms nothing", "t8", Fault::Frozen, 360, ""),
];

#[tokio::test]
async fn no_outage_loses_or_doubles_anything() {
    let stack = Rc::new(OwnStack::start().unwrap());
    let at_once = async {
        let mut running = JoinSet::new();
        for case in TOGETHER {
            let stack = Rc::clone(&stack);
            running.spawn_local(async move { endure(&stack, case).await });
        }
        while let Some(ended) = running.join_next().await {
            ended.unwrap();
        }
    };
    LocalSet::new().run_until(at_once).await;
    for case in ONE_BY_ONE {
        endure(&stack, case).await;
    }
}

fn lasts_as_said() -> bool {
    std::env::var("OUTAGES").is_ok_and(|text| text == "real")
}

/// One store in one outage.
struct Shop<'a> {
    stack: &'a Stack,
    topics: &'a TestTopics<'a>,
    case: &'a Case,
    world: World,
    sold: u32,
}

async fn endure(stack: &Stack, case: &Case) {
    let topics = stack.topics_for(case.name).await.unwrap();
    let mut shop = Shop::new(stack, &topics, case);
    let agent = shop.world.agent().await;
    shop.sell(3);
    shop.confirmed().await;
    let agent = shop.begin(agent).await;
    shop.felt().await;
    if lasts_as_said() {
        sleep(Duration::from_secs(case.seconds)).await;
    }
    shop.end().await;
    let ended = Instant::now();
    shop.sell(2);
    shop.confirmed().await;
    let drained = ended.elapsed();
    let topic = Topic::StoreMinutes.name(topics.prefix());
    let truth = (u64::from(shop.sold), i64::from(shop.sold) * 100);
    let found = exact(&shop.world, &records(stack, &topic).await, truth);
    eprintln!(
        "{}: {} batches, {} repeats, all confirmed {drained:?} after it ended",
        case.name,
        found.batches.len(),
        found.repeats
    );
    assert!(agent.stop().await.success());
}

impl<'a> Shop<'a> {
    fn new(stack: &'a Stack, topics: &'a TestTopics<'a>, case: &'a Case) -> Self {
        let by_link = matches!(case.fault, Fault::Cut | Fault::Refused);
        let broker = Broker {
            brokers: if by_link { stack.edge_brokers() } else { stack.brokers() },
            topic_prefix: topics.prefix().to_owned(),
            credentials: stack.layout().store_credentials(&id(case)),
        };
        let mut world = World::with_broker(case.store, &broker);
        if matches!(case.fault, Fault::NoBuffers | Fault::NoNames) {
            let shim = compiled_shim(&world);
            world.run_behind(&[
                "env".to_owned(),
                format!("LD_PRELOAD={}", shim.display()),
                format!("NETWORK_FAULTS={}", world.path("").display()),
            ]);
        }
        Self { stack, topics, case, world, sold: 0 }
    }

    /// Rings up receipts of a euro, each in a minute of its own.
    fn sell(&mut self, count: u32) {
        let sold: Vec<_> = (self.sold..self.sold + count)
            .map(|at| {
                let time = format!("{:02}:{:02}:07", 8 + at / 60, at % 60);
                let mut receipt = receipt("3", at + 1, &time, 100);
                receipt.store = id(self.case);
                receipt
            })
            .collect();
        self.world.drop_file(&format!("{:03}.jsonl", self.sold), lines(&sold));
        self.sold += count;
    }

    /// Waits until all that was sold is cut and confirmed.
    async fn confirmed(&self) {
        self.world.until_cut(self.sold.into(), i64::from(self.sold) * 100).await;
        let all = u64::from(self.sold);
        let is_so = |report: &edge_agent::status::Report| {
            report.status.backlog == 0 && report.status.highest_sequence == all
        };
        self.world.until("all is confirmed", is_so).await;
    }

    /// Waits until what is sold meanwhile waits, and the status says why.
    async fn felt(&mut self) {
        if matches!(self.case.fault, Fault::Recreated | Fault::Bounces) {
            return;
        }
        self.sell(3);
        self.world
            .until("the outage is felt", |report| {
                let said = match &report.link {
                    Link::Down { reason } => reason.contains(self.case.says),
                    Link::Up | Link::Idle => self.case.says.is_empty(),
                };
                said && report.status.backlog == 3
            })
            .await;
    }

    async fn begin(&mut self, agent: Agent) -> Agent {
        match self.case.fault {
            Fault::Cut => self.stack.link(LinkName::EdgeKafka, Order::Cut).await.unwrap(),
            Fault::Refused => self.stack.link(LinkName::EdgeKafka, Order::Refuse).await.unwrap(),
            Fault::NoRight => self.admin().await.revoke(&self.rights()).await.unwrap(),
            Fault::Recreated => {
                self.topics.recreate().await.unwrap();
                let resent = self.world.run(&["buffer", "resend", "1", "3"]);
                assert!(resent.status.success(), "{resent:?}");
            }
            Fault::NoBuffers => self.put("no-buffers"),
            Fault::NoNames => {
                self.put("no-names");
                agent.kill();
                return self.world.agent().await;
            }
            Fault::Bounces => self.bounce().await,
            Fault::Frozen => self.signal(Signal::SIGSTOP),
        }
        agent
    }

    async fn end(&self) {
        match self.case.fault {
            Fault::Cut | Fault::Refused => {
                self.stack.link(LinkName::EdgeKafka, Order::Heal).await.unwrap();
            }
            Fault::NoRight => self.admin().await.grant(&self.rights()).await.unwrap(),
            Fault::NoBuffers => std::fs::remove_file(self.world.path("no-buffers")).unwrap(),
            Fault::NoNames => std::fs::remove_file(self.world.path("no-names")).unwrap(),
            Fault::Frozen => self.signal(Signal::SIGCONT),
            Fault::Recreated | Fault::Bounces => {}
        }
    }

    async fn bounce(&mut self) {
        let (rounds, pause) = if lasts_as_said() { (6, 10) } else { (2, 0) };
        for _ in 0..rounds {
            self.stack.stop(Server::Kafka, Ending::Killed).await.unwrap();
            self.sell(2);
            self.stack.start(Server::Kafka).await.unwrap();
            sleep(Duration::from_secs(pause)).await;
        }
    }

    async fn admin(&self) -> fakes::broker::admin::Admin {
        self.stack.admin().await.unwrap()
    }

    fn rights(&self) -> Vec<rights::Right> {
        let mut all = rights::in_tests(&[id(self.case)]);
        all.retain(|right| right.principal.starts_with("store-"));
        assert!(!all.is_empty(), "a store has rights in tests");
        all
    }

    fn put(&self, fault: &str) {
        std::fs::write(self.world.path(fault), "").unwrap();
    }

    fn signal(&self, signal: Signal) {
        let process = self.stack.layout().kafka().alive().expect("the broker runs");
        kill(Pid::from_raw(process.pid), signal).unwrap();
    }
}

fn id(case: &Case) -> StoreId {
    StoreId::new(case.store).unwrap()
}

fn compiled_shim(world: &World) -> PathBuf {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../fakes/shims/network.c");
    let shim = world.path("network.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).arg(source).arg("-ldl");
    assert!(compiler.status().unwrap().success(), "the shim does not compile");
    shim
}

#[tokio::test]
async fn a_batch_that_the_broker_never_takes_is_given_up_alone() {
    let stack = Stack::shared();
    let topics = stack.topics_for("edge-too-large").await.unwrap();
    let topic = Topic::StoreMinutes.name(topics.prefix());
    stack.admin().await.unwrap().set(&topic, "max.message.bytes", "6000").await.unwrap();
    let store = StoreId::new("t12").unwrap();
    let broker = Broker {
        brokers: "127.0.0.1:1".to_owned(),
        topic_prefix: topics.prefix().to_owned(),
        credentials: stack.layout().store_credentials(&store),
    };
    let world = World::with_broker("t12", &broker);
    let agent = world.agent().await;
    let mut receipts: Vec<_> = (0..6)
        .map(|at| receipt("3", at + 1, &format!("09:{at:02}:07"), 100 + i64::from(at)))
        .collect();
    let line = receipts[2].lines[0].clone();
    receipts[2].lines = (0..600_u64)
        .map(|at| {
            let mut line = line.clone();
            // Numbers that hardly compress.
            let noise = (at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            line.position = u32::try_from(at).unwrap() + 1;
            line.article = format!("own:x:{noise:016x}").parse().unwrap();
            line.amount_cents.0 = if at == 0 { 102 } else { 0 };
            line
        })
        .collect();
    receipts.iter_mut().for_each(|receipt| receipt.store = store.clone());
    world.drop_file("day.jsonl", lines(&receipts));
    world.until("six batches wait", |report| report.status.backlog == 6).await;
    assert!(agent.stop().await.success());
    // They all go out at once: one is too large, and the broker refuses its neighbours with it.
    world.configure("t12", &Broker { brokers: stack.brokers(), ..broker }, "");
    let agent = world.agent().await;
    world.until("nothing waits", |report| report.status.backlog == 0).await;
    let found = exact(&world, &records(stack, &topic).await, (5, 100 + 101 + 103 + 104 + 105));
    let losses: Vec<_> = found.batches.iter().map(|batch| batch.losses.len()).collect();
    assert_eq!(losses, [0, 0, 1, 0, 0, 0]);
    let loss = &found.batches[2].losses[0];
    assert_eq!((loss.count, loss.cents.0), (1, 102));
    let reasons = world.until_set_aside(1).await;
    assert!(reasons[0].contains("larger than the topic"), "{reasons:?}");
    assert!(agent.stop().await.success());
}
