//! Networks that shops have: built of network namespaces of this machine, in which nothing but the
//! agent, a router and the way to the broker lives. Each ends with all that the tills rang up in the
//! topic, to the cent. Where the kernel lets nobody build a network, the tests say so and end.
//!
//! ```text
//! agent -- [shop] shop-a ==== way-a [way] way-b ==== far-b [far] -- a door of this test -- broker
//! ```
//!
//! The broker calls itself `localhost`, so the shop's own `/etc/hosts` says where that is.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use fakes::stack::Stack;
use fakes::stack::own::TestTopics;
use nix::sched::{CloneFlags, setns};
use shared::ids::StoreId;
use shared::topics::Topic;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::topic::{exact, records};
use crate::world::{Broker, World, lines, receipt};

pub(crate) const STORE: &str = "t2";

/// Returns true where outages last as long as they are called.
fn lasts_as_said() -> bool {
    std::env::var("OUTAGES").is_ok_and(|text| text == "real")
}

/// Three namespaces in a row, gone with this.
struct Network {
    name: String,
}

/// A network with a shop and its agent's world in it.
pub(crate) struct Site<'a> {
    network: Network,
    stack: &'a Stack,
    pub(crate) topics: TestTopics<'a>,
    pub(crate) world: World,
    sold: u32,
    doors: Vec<tokio::task::JoinHandle<()>>,
}

impl Network {
    /// Builds the network, or says why this machine lets nobody build one.
    fn build(name: &str) -> Result<Self, String> {
        let network = Self { name: format!("fm-{name}-{}", std::process::id()) };
        for place in ["shop", "way", "far"] {
            network.ip(&["netns", "add", &network.at(place)])?;
            network.inside(place, &["ip", "link", "set", "lo", "up"])?;
        }
        network.cable(("shop", "shop-a"), ("way", "way-a"))?;
        network.cable(("way", "way-b"), ("far", "far-b"))?;
        network.inside("way", &["sysctl", "-qw", "net.ipv4.ip_forward=1"])?;
        network.inside("way", &["sysctl", "-qw", "net.ipv6.conf.all.forwarding=1"])?;
        Ok(network)
    }

    fn at(&self, place: &str) -> String {
        format!("{}-{place}", self.name)
    }

    fn cable(&self, one: (&str, &str), other: (&str, &str)) -> Result<(), String> {
        let (here, there) = (self.at(one.0), self.at(other.0));
        self.ip(&[
            "link", "add", one.1, "netns", &here, "type", "veth", "peer", "name", other.1, "netns",
            &there,
        ])?;
        self.inside(one.0, &["ip", "link", "set", one.1, "up"])?;
        self.inside(other.0, &["ip", "link", "set", other.1, "up"])
    }

    /// Gives everyone an address of a family, and the two ends a way to each other.
    fn address(&self, four: bool) -> Result<(), String> {
        let add = |place: &str, device: &str, address: &str| {
            // Without a neighbour to ask, an address of IPv6 would be doubted for a second.
            let more: &[&str] = if four { &[] } else { &["nodad"] };
            let words = ["ip", "addr", "add", address, "dev", device];
            self.inside(place, &[&words, more].concat())
        };
        let route = |place: &str, to: &str, by: &str| {
            let family = if four { "-4" } else { "-6" };
            self.inside(place, &["ip", family, "route", "add", to, "via", by])
        };
        let [shop, way_a, way_b, far] = addresses(four);
        let (mask, shops, fars) = if four {
            (24, "10.77.1.0/24", "10.77.2.0/24")
        } else {
            (64, "fd77:1::/64", "fd77:2::/64")
        };
        add("shop", "shop-a", &format!("{shop}/{mask}"))?;
        add("way", "way-a", &format!("{way_a}/{mask}"))?;
        add("way", "way-b", &format!("{way_b}/{mask}"))?;
        add("far", "far-b", &format!("{far}/{mask}"))?;
        route("shop", fars, way_a)?;
        route("far", shops, way_b)
    }

    fn ip(&self, words: &[&str]) -> Result<(), String> {
        well(Command::new("ip").args(words).output())
    }

    fn inside(&self, place: &str, words: &[&str]) -> Result<(), String> {
        well(Command::new("ip").args(["netns", "exec", &self.at(place)]).args(words).output())
    }

    /// Returns what a command says in a namespace.
    fn said(&self, place: &str, words: &[&str]) -> String {
        let mut command = Command::new("ip");
        let output = command.args(["netns", "exec", &self.at(place)]).args(words).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    }

    fn must(&self, place: &str, words: &[&str]) {
        self.inside(place, words).unwrap();
    }

    /// Loads a rule set of the firewall.
    fn rules(&self, place: &str, rules: &str) {
        for rule in rules.lines().map(str::trim).filter(|rule| !rule.is_empty()) {
            self.must(place, &["nft", rule]);
        }
    }

    /// Opens a port in a namespace: a socket stays in the one that it was made in.
    fn listen(&self, place: &str, at: SocketAddr) -> TcpListener {
        let namespace = std::fs::File::open(format!("/run/netns/{}", self.at(place))).unwrap();
        let opened = std::thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            TcpListener::bind(at).unwrap()
        });
        opened.join().unwrap()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for place in ["shop", "way", "far"] {
            // One that was never made is gone already.
            let _ = self.ip(&["netns", "del", &self.at(place)]);
        }
    }
}

/// Returns the addresses along the way.
fn addresses(four: bool) -> [&'static str; 4] {
    if four {
        ["10.77.1.2", "10.77.1.1", "10.77.2.1", "10.77.2.2"]
    } else {
        ["fd77:1::2", "fd77:1::1", "fd77:2::1", "fd77:2::2"]
    }
}

fn well(output: std::io::Result<Output>) -> Result<(), String> {
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

impl<'a> Site<'a> {
    /// Makes a site; nothing where this machine lets nobody build a network.
    pub(crate) async fn new(name: &str, stack: &'a Stack) -> Option<Self> {
        let network = match Network::build(name) {
            Ok(network) => network,
            Err(reason) => {
                eprintln!("SKIPPED: no network can be built here: {reason}");
                return None;
            }
        };
        let topics = stack.topics_for(name).await.unwrap();
        let broker = Broker {
            brokers: stack.brokers(),
            topic_prefix: topics.prefix().to_owned(),
            credentials: stack.layout().store_credentials(&StoreId::new(STORE).unwrap()),
        };
        let mut world = World::with_broker(STORE, &broker);
        let hosts = world.path("hosts");
        std::fs::write(&hosts, "").unwrap();
        std::fs::write(world.path("resolv.conf"), "").unwrap();
        std::fs::write(world.path("nsswitch.conf"), "hosts: files\n").unwrap();
        let bind = ["hosts", "resolv.conf", "nsswitch.conf"]
            .map(|file| format!("mount --bind {} /etc/{file}", world.path(file).display()));
        let then = format!("{} && exec \"$@\"", bind.join(" && "));
        world.run_behind(&[
            "nsenter".to_owned(),
            format!("--net=/run/netns/{}", network.at("shop")),
            "unshare".to_owned(),
            "--mount".to_owned(),
            "sh".to_owned(),
            "-c".to_owned(),
            then,
            "sh".to_owned(),
        ]);
        Some(Self { network, stack, topics, world, sold: 0, doors: Vec::new() })
    }

    fn hosts(&self) -> PathBuf {
        self.world.path("hosts")
    }

    /// Says where the broker is.
    pub(crate) fn broker_is_at(&self, addresses: &[&str]) {
        let line = |address: &&str| format!("{address} localhost\n");
        // Written in place: the file is bound into the shop's world.
        std::fs::write(self.hosts(), addresses.iter().map(line).collect::<String>()).unwrap();
    }

    /// Opens a door at an address of the far end, behind which the broker is.
    pub(crate) fn open_door(&mut self, address: &str) {
        let port: u16 = self.stack.brokers().rsplit(':').next().unwrap().parse().unwrap();
        let ip: IpAddr = address.parse().unwrap();
        let listener = self.network.listen("far", SocketAddr::new(ip, port));
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        self.doors.push(tokio::spawn(async move {
            let mut guests = tokio::task::JoinSet::new();
            while let Ok((mut shop, _)) = listener.accept().await {
                guests.spawn(async move {
                    let mut broker = TcpStream::connect(("127.0.0.1", port)).await?;
                    tokio::io::copy_bidirectional(&mut shop, &mut broker).await
                });
            }
        }));
    }

    /// Gives the shop a line of IPv4 that takes so many bits a second each way.
    pub(crate) fn narrow(&self, bits_a_second: u64) {
        self.network.address(true).unwrap();
        let rate = format!("{bits_a_second}bit");
        for (place, device) in [("shop", "shop-a"), ("way", "way-a")] {
            let shape = ["tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", &rate];
            let more = ["burst", "64k", "latency", "200ms"];
            self.network.must(place, &[&shape[..], &more[..]].concat());
        }
    }

    /// Returns the bytes that the shop has sent.
    pub(crate) fn sent_bytes(&self) -> u64 {
        let file = "/sys/class/net/shop-a/statistics/tx_bytes";
        let text = self.network.said("shop", &["cat", file]);
        text.trim().parse().unwrap()
    }

    /// Shuts all doors, and ends whoever stands in one.
    async fn shut_doors(&mut self) {
        for door in self.doors.drain(..) {
            door.abort();
            let ended = door.await;
            assert!(ended.is_err(), "a door ends by being shut");
        }
    }

    /// Rings up receipts of a euro, each in a minute of its own and of so many lines.
    fn sell(&mut self, count: u32, lines_each: u32) {
        let sold: Vec<_> = (self.sold..self.sold + count)
            .map(|at| {
                let time = format!("{:02}:{:02}:07", 8 + at / 60, at % 60);
                let mut receipt = receipt("3", at + 1, &time, 100);
                receipt.store = StoreId::new(STORE).unwrap();
                let line = receipt.lines[0].clone();
                receipt.lines.extend((1..lines_each).map(|more| {
                    let mut line = line.clone();
                    // Numbers that hardly compress, so that a record fills some packets.
                    let noise = u64::from(at * 1000 + more).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    line.article = format!("own:x:{noise:016x}").parse().unwrap();
                    (line.position, line.amount_cents.0) = (more + 1, 0);
                    line
                }));
                receipt
            })
            .collect();
        self.world.drop_file(&format!("{:03}.jsonl", self.sold), lines(&sold));
        self.sold += count;
    }

    async fn confirmed(&self) {
        self.world.until_cut(self.sold.into(), i64::from(self.sold) * 100).await;
        let all = u64::from(self.sold);
        self.world
            .until("all is confirmed", |report| {
                report.status.backlog == 0 && report.status.highest_sequence == all
            })
            .await;
    }

    async fn waits(&self, batches: u64) {
        self.world.until("batches wait", |report| report.status.backlog == batches).await;
    }

    async fn exact(&self, what: &str) {
        let topic = Topic::StoreMinutes.name(self.topics.prefix());
        let truth = (u64::from(self.sold), i64::from(self.sold) * 100);
        let found = exact(&self.world, &records(self.stack, &topic).await, truth);
        eprintln!("{what}: {} batches, {} repeats", found.batches.len(), found.repeats);
    }
}

#[tokio::test]
async fn packets_of_1280_bytes_and_no_word_of_it_stop_nothing() {
    let Some(mut site) = Site::new("edge-mtu", Stack::shared()).await else { return };
    site.network.address(true).unwrap();
    // A tunnel on the way that says nothing of its size: what is larger vanishes. The kernel finds
    // out by itself where it is told to; packets must be as large as the wire would have them.
    for (place, device) in [("shop", "shop-a"), ("far", "far-b")] {
        site.network.must(place, &["ip", "link", "set", device, "gso_max_segs", "1"]);
        site.network.must(place, &["sysctl", "-qw", "net.ipv4.tcp_mtu_probing=1"]);
    }
    site.network.rules(
        "way",
        "add table ip tunnel
        add chain ip tunnel on { type filter hook forward priority 0; }
        add rule ip tunnel on ip length > 1280 counter drop",
    );
    site.open_door("10.77.2.2");
    site.broker_is_at(&["10.77.2.2"]);
    let agent = site.world.agent().await;
    site.sell(3, 200);
    site.confirmed().await;
    site.exact("1280 bytes, ICMP dropped").await;
    let swallowed = site.network.said("way", &["nft", "list", "table", "ip", "tunnel"]);
    assert!(!swallowed.contains("packets 0 "), "no packet was too large: {swallowed}");
    assert!(agent.stop().await.success());
}

#[tokio::test]
async fn a_router_that_forgets_idle_connections_stops_nothing() {
    if !lasts_as_said() {
        eprintln!("SKIPPED: a minute of silence is for `make outages`");
        return;
    }
    let Some(mut site) = Site::new("edge-nat", Stack::shared()).await else { return };
    site.network.address(true).unwrap();
    // The far end knows no way back: only what the router translates is answered. What it has
    // forgotten it drops without a word.
    site.network.must("far", &["ip", "route", "del", "10.77.1.0/24"]);
    site.network.rules(
        "way",
        "add table ip nat
        add chain ip nat post { type nat hook postrouting priority 100; }
        add rule ip nat post oifname \"way-b\" masquerade
        add table inet strict
        add chain inet strict on { type filter hook forward priority 0; }
        add rule inet strict on ct state invalid drop
        add rule inet strict on ct state new tcp flags & (syn | ack) != syn drop",
    );
    for setting in ["timeout_established=60", "loose=0"] {
        let setting = format!("net.netfilter.nf_conntrack_tcp_{setting}");
        site.network.must("way", &["sysctl", "-qw", &setting]);
    }
    site.open_door("10.77.2.2");
    site.broker_is_at(&["10.77.2.2"]);
    let agent = site.world.agent().await;
    site.sell(2, 1);
    site.confirmed().await;
    sleep(Duration::from_secs(70)).await;
    site.sell(2, 1);
    site.confirmed().await;
    site.exact("a router that forgets").await;
    assert!(agent.stop().await.success());
}

#[tokio::test]
async fn ipv6_alone_is_enough() {
    let Some(mut site) = Site::new("edge-six", Stack::shared()).await else { return };
    site.network.address(false).unwrap();
    site.open_door("fd77:2::2");
    site.broker_is_at(&["fd77:2::2"]);
    let agent = site.world.agent().await;
    site.sell(3, 1);
    site.confirmed().await;
    site.exact("IPv6 alone").await;
    assert!(agent.stop().await.success());
}

#[tokio::test]
async fn broken_ipv6_beside_good_ipv4_stops_nothing() {
    let Some(mut site) = Site::new("edge-mixed", Stack::shared()).await else { return };
    site.network.address(true).unwrap();
    site.network.address(false).unwrap();
    // It looks good from the shop, and every packet vanishes on the way.
    site.network.rules(
        "way",
        "add table ip6 hole
        add chain ip6 hole on { type filter hook forward priority 0; }
        add rule ip6 hole on drop",
    );
    site.open_door("10.77.2.2");
    site.open_door("fd77:2::2");
    site.broker_is_at(&["fd77:2::2", "10.77.2.2"]);
    let agent = site.world.agent().await;
    site.sell(3, 1);
    site.confirmed().await;
    site.exact("broken IPv6 beside good IPv4").await;
    assert!(agent.stop().await.success());
}

#[tokio::test]
async fn a_broker_that_moves_to_another_address_is_found_again() {
    let Some(mut site) = Site::new("edge-moves", Stack::shared()).await else { return };
    site.network.address(true).unwrap();
    site.network.must("far", &["ip", "addr", "add", "10.77.2.3/24", "dev", "far-b"]);
    site.open_door("10.77.2.2");
    site.broker_is_at(&["10.77.2.2"]);
    let agent = site.world.agent().await;
    site.sell(2, 1);
    site.confirmed().await;
    site.shut_doors().await;
    site.sell(2, 1);
    site.waits(2).await;
    site.broker_is_at(&["10.77.2.3"]);
    site.open_door("10.77.2.3");
    site.confirmed().await;
    // And no name at all, for a while, with the door shut meanwhile.
    site.shut_doors().await;
    site.broker_is_at(&[]);
    site.sell(2, 1);
    site.waits(2).await;
    site.open_door("10.77.2.2");
    site.broker_is_at(&["10.77.2.2"]);
    site.confirmed().await;
    site.exact("a broker that moves").await;
    assert!(agent.stop().await.success());
}
