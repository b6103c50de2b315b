//! Certificates change while the agent works: a good one is used at once, a bad one never, and nothing
//! is lost over it. `ROTATIONS=n` and `ROTATION_SECONDS=n` make the run long.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use edge_agent::ship::Link;
use fakes::authority::{Authority, Credentials};
use fakes::stack::Stack;
use shared::ids::StoreId;
use shared::receipt::Receipt;
use shared::topics::Topic;
use tokio::time::sleep;

use crate::topic::{exact, records};
use crate::world::{Broker, World, lines, receipt};

const STORE: &str = "t4";

/// Pause between two files of the tills.
const FILE_PAUSE: Duration = Duration::from_millis(100);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Puts a pair into place as a careful tool does, one file after the other.
fn install(from: &Credentials, to: &Credentials) {
    for (from, to) in [(&from.key, &to.key), (&from.certificate, &to.certificate)] {
        let arriving = to.with_extension("arriving");
        std::fs::copy(from, &arriving).unwrap();
        std::fs::rename(&arriving, to).unwrap();
    }
}

fn sold(store: &str, at: u64) -> Receipt {
    let (hour, minute) = (at / 60 % 24, at % 60);
    let number = u32::try_from(at).unwrap() + 1;
    let mut receipt = receipt("3", number, &format!("{hour:02}:{minute:02}:07"), 100);
    receipt.store = StoreId::new(store).unwrap();
    receipt
}

struct Desk {
    authority: Authority,
    world: World,
    in_use: Credentials,
    issued: Cell<i64>,
}

impl Desk {
    /// Issues a pair that expires on a day of its own.
    fn issue(&self, authority: &Authority, days: std::ops::RangeInclusive<i64>) -> Credentials {
        let folder = self.world.path(&format!("issued-{}", days.end()));
        authority.renew(&format!("store-{STORE}"), &folder, days).unwrap()
    }

    /// Renews the pair and waits until the new one is in use.
    async fn rotate(&self) {
        self.issued.set(self.issued.get() + 1);
        let days = 100 + self.issued.get() * 10;
        install(&self.issue(&self.authority, -1..=days), &self.in_use);
        // It expires at the beginning of that day, and this day may end meanwhile.
        let is_used = |left: Option<i64>| left.is_some_and(|left| (days - 2..days).contains(&left));
        self.world
            .until("the new certificate is used", |report| {
                is_used(report.status.certificate_days) && report.certificate.refused.is_none()
            })
            .await;
    }

    /// Puts a bad pair into place and waits until it is refused for this reason.
    async fn refuse(&self, bad: &Credentials, reason: &str) {
        install(bad, &self.in_use);
        self.world
            .until("the bad pair is refused", |report| {
                let refused = report.certificate.refused.as_deref();
                refused.is_some_and(|told| told.contains(reason))
                    && report.certificate.fault.is_none()
            })
            .await;
    }

    /// Lets a till ring up a receipt a minute until the work is done; returns how many.
    async fn sell_during(&self, work: impl Future<Output = ()>) -> u64 {
        let sold_so_far = Cell::new(0);
        let mut pace = tokio::time::interval(FILE_PAUSE);
        let sell = async {
            loop {
                pace.tick().await;
                let at = sold_so_far.replace(sold_so_far.get() + 1);
                self.world.drop_file(&format!("{at:06}.jsonl"), lines(&[sold(STORE, at)]));
            }
        };
        tokio::select! {
            () = work => {}
            () = sell => {}
        }
        sold_so_far.get()
    }
}

#[tokio::test]
async fn rotations_under_load_lose_nothing_and_bad_pairs_are_refused() {
    let (rotations, pause) = (number("ROTATIONS", 10), number("ROTATION_SECONDS", 0));
    let stack = Stack::shared();
    let topics = stack.topics_for("edge-rotation").await.unwrap();
    let authority = Authority::open(&stack.layout().certificates(), "").unwrap();
    let ca = authority.certificate();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let in_use = Credentials { ca, certificate: at("store.pem"), key: at("store.key") };
    install(&stack.layout().store_credentials(&StoreId::new(STORE).unwrap()), &in_use);
    let broker = Broker {
        brokers: stack.brokers(),
        topic_prefix: topics.prefix().to_owned(),
        credentials: in_use.clone(),
    };
    let world = World::with_broker(STORE, &broker);
    // What is old is cut at once, so that a gap in the topic is a gap of the way there.
    world.configure_top("holding_seconds = 1");
    let agent = world.agent().await;
    let desk = Desk { authority, world, in_use, issued: Cell::new(0) };
    let count = desk
        .sell_during(async {
            for _ in 0..rotations {
                desk.rotate().await;
                sleep(Duration::from_secs(pause)).await;
            }
            let foreign = stack.foreign_credentials(&format!("store-{STORE}")).unwrap();
            desk.refuse(&foreign, "was not issued by the authority").await;
            desk.refuse(&desk.issue(&desk.authority, -9..=-1), "expired at").await;
            desk.rotate().await;
        })
        .await;
    let truth = (count, i64::try_from(count).unwrap() * 100);
    desk.world.until_cut(truth.0, truth.1).await;
    desk.world.until("nothing waits", |report| report.status.backlog == 0).await;
    let topic = Topic::StoreMinutes.name(topics.prefix());
    let found = exact(&desk.world, &records(stack, &topic).await, truth);
    eprintln!(
        "{rotations} rotations, {count} receipts, {} batches, {} repeats, longest gap {:?}, \
         longest wait from cut to topic {:?}",
        found.batches.len(),
        found.repeats,
        found.longest_gap,
        found.longest_wait
    );
    assert!(pause == 0 || found.longest_gap < Duration::from_secs(5), "{:?}", found.longest_gap);
    assert!(agent.stop().await.success());
}

#[tokio::test]
async fn a_certificate_that_expired_while_offline_is_named_and_a_new_one_ends_the_outage() {
    let stack = Stack::shared();
    let topics = stack.topics_for("edge-expired").await.unwrap();
    let authority = Authority::open(&stack.layout().certificates(), "").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let renew = |days| authority.renew("store-t5", folder.path(), days).unwrap();
    let broker = Broker {
        brokers: stack.brokers(),
        topic_prefix: topics.prefix().to_owned(),
        credentials: renew(-9..=-1),
    };
    let world = World::with_broker("t5", &broker);
    let agent = world.agent().await;
    world.drop_file("a.jsonl", lines(&[sold("t5", 0)]));
    world
        .until("the expiry is named", |report| {
            let named =
                matches!(&report.link, Link::Down { reason } if reason.contains("expired at"));
            named && report.certificate.fault.is_some() && report.status.certificate_days < Some(0)
        })
        .await;
    let check = world.run(&["check"]);
    let told = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(told.contains("fault certificate: this store's certificate expired at"), "{told}");
    let status = world.run(&["status"]);
    let told = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(told.contains("certificate      this store's certificate expired at"), "{told}");
    let days_left = |world: &World| {
        let told = world.run(&["status", "--metrics"]);
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        let line =
            text.lines().find(|line| line.starts_with("frischmarkt_edge_certificate_expires"));
        line.unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    let before = days_left(&world);
    renew(-1..=30);
    world.until("nothing waits", |report| report.status.backlog == 0).await;
    assert_ne!(days_left(&world), before);
    let topic = Topic::StoreMinutes.name(topics.prefix());
    exact(&world, &records(stack, &topic).await, (1, 100));
    assert!(agent.stop().await.success());
    assert!(is_private(&broker.credentials.key));
}

fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o077 == 0
}
