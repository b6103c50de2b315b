//! What every source promises, whatever it reads: its events come in order, its marks cover what was
//! given and lead to the rest, nothing comes twice, an outage is told and passes, nobody is written to
//! who is only listened to, and whoever stops waiting for an event loses none.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use edge_agent::format::{Format, Framed, Framer, Item};
use edge_agent::source::{Completeness, Ending, Event, Fate, Place, Source, SourceError};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shared::receipt::Receipt;
use tokio::time::timeout;

use crate::kinds::{Caller, Drops, Grows, Invents, Listener, Mirror, Pages, Port, Proxied};
use crate::reading::{context, find};
use crate::world::{SOON, receipt};

/// Receipts that a till rings up in one test.
const RECEIPTS: u32 = 12;

/// The marks of a source's feeds, as the buffer has them.
pub(crate) type Marks = Vec<(String, String)>;

/// A kind of source and its till.
pub(crate) trait Kind {
    /// The source.
    type Source: Source;
    /// How its bytes are read, where they are no JSON lines.
    fn format(&self) -> Format {
        find("jsonl", None).unwrap()
    }
    /// Makes the source, as an agent does that starts.
    async fn open(&mut self, marks: Marks) -> Self::Source;
    /// Rings up a receipt of this number, or has it rung up.
    async fn say(&mut self, number: u32);
    /// What a source can do about what it has given and nobody has committed.
    const MEMORY: Memory;
    /// Makes the till unreachable; false where nothing can.
    async fn part(&mut self) -> bool;
    /// Makes it reachable again.
    async fn join(&mut self);
    /// Returns whatever was written to the till or its place.
    async fn written(&mut self) -> Vec<u8>;
}

/// What a source can do about what it has given and nobody has committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// It gives it again.
    GivesAgain,
    /// It is gone: a line is heard once.
    HearsOnce,
}

macro_rules! every_kind_promises {
    ($($name:ident: $kind:expr;)*) => {$(
        mod $name {
            use super::*;

            #[tokio::test]
            async fn what_is_rung_up_comes_once_and_in_order() {
                comes_once(&mut $kind).await;
            }

            #[tokio::test]
            async fn every_mark_leads_to_what_came_after_it() {
                marks_lead_on(&mut $kind).await;
            }

            #[tokio::test]
            async fn an_agent_that_ends_anywhere_loses_nothing_and_counts_nothing_twice() {
                ends_anywhere(&mut $kind).await;
            }

            #[tokio::test]
            async fn an_outage_is_told_and_passes() {
                outage_passes(&mut $kind).await;
            }
        }
    )*};
}

every_kind_promises! {
    growing_file: Grows::new();
    dropped_files: Drops::new();
    tcp_client: Caller::new().await;
    tcp_server: Listener::new();
    tcp_mirror: Mirror::new();
    tcp_proxy: Proxied::new().await;
    serial: Port::new();
    http: Pages::new();
    fake: Invents::new();
}

async fn comes_once<K: Kind>(kind: &mut K) {
    let mut taker = Taker::new(kind, 1);
    let mut source = kind.open(Vec::new()).await;
    for number in 1..=RECEIPTS {
        kind.say(number).await;
        // Some come alone, some together.
        if number % 3 > 0 {
            taker.until(&mut source, number).await;
        }
    }
    taker.until(&mut source, RECEIPTS).await;
    taker.until_idle(&mut source).await;
    taker.is_in_order(RECEIPTS);
    drop(source);
    assert_eq!(String::from_utf8_lossy(&kind.written().await), "", "the till was written to");
}

async fn marks_lead_on<K: Kind>(kind: &mut K) {
    let mut taker = Taker::new(kind, 2);
    let mut source = kind.open(Vec::new()).await;
    for number in 1..=RECEIPTS {
        kind.say(number).await;
        taker.until(&mut source, number).await;
    }
    taker.until_idle(&mut source).await;
    drop(source);
    let all = taker.receipts.clone();
    for (marks, given) in std::mem::take(&mut taker.history) {
        let rest = &all[given..];
        let mut again = Taker::new(kind, given as u64);
        let mut source = kind.open(marks).await;
        again.until(&mut source, u32::try_from(rest.len()).unwrap()).await;
        if K::MEMORY == Memory::GivesAgain {
            assert!(again.receipts.starts_with(rest), "{given} given: {:?}", again.receipts);
        }
    }
}

async fn ends_anywhere<K: Kind>(kind: &mut K) {
    let mut taker = Taker::new(kind, 3);
    let mut said = 0;
    for life in 0_u32..8 {
        let mut source = kind.open(taker.marks()).await;
        // The last ones are for the end: a line of which nothing is heard is not read to its end.
        let until = (said + 1 + life % 3).min(RECEIPTS - 2);
        while said < until {
            said += 1;
            kind.say(said).await;
        }
        match K::MEMORY {
            // It ends between any two events, before or after a transaction.
            Memory::GivesAgain => taker.some(&mut source, life * 2 + 1).await,
            Memory::HearsOnce => taker.until(&mut source, said).await,
        }
        drop(source);
        taker.crash();
    }
    let mut source = kind.open(taker.marks()).await;
    while said < RECEIPTS {
        said += 1;
        kind.say(said).await;
    }
    taker.until(&mut source, RECEIPTS).await;
    taker.until_idle(&mut source).await;
    taker.is_in_order(RECEIPTS);
}

async fn outage_passes<K: Kind>(kind: &mut K) {
    let mut taker = Taker::new(kind, 4);
    if !kind.part().await {
        return;
    }
    let mut source = kind.open(Vec::new()).await;
    for _ in 0..2 {
        let told = taker.fault(&mut source).await;
        assert!(!told.is_empty());
    }
    kind.join().await;
    for number in 1..=3 {
        kind.say(number).await;
        taker.until(&mut source, number).await;
    }
    taker.until_idle(&mut source).await;
    taker.is_in_order(3);
}

/// Takes a source in as the agent does, into a memory that stands for the disk, and holds its events
/// against the order that they must have.
struct Taker {
    format: Format,
    open: BTreeMap<String, Box<dyn Framer>>,
    present: Option<String>,
    /// What is committed.
    disk: BTreeMap<String, String>,
    receipts: Vec<String>,
    /// Receipts of transactions that moved no mark: they may come again.
    loose: BTreeSet<String>,
    /// After each transaction with a mark: all marks, and how many receipts they cover.
    history: Vec<(Marks, usize)>,
    memory: Memory,
    dice: ChaCha8Rng,
}

impl Taker {
    fn new<K: Kind>(kind: &K, seed: u64) -> Self {
        eprintln!("seed {seed}");
        Self {
            format: kind.format(),
            open: BTreeMap::new(),
            present: None,
            disk: BTreeMap::new(),
            receipts: Vec::new(),
            loose: BTreeSet::new(),
            history: Vec::new(),
            memory: K::MEMORY,
            dice: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    fn marks(&self) -> Marks {
        self.disk.clone().into_iter().collect()
    }

    /// Forgets what is in no transaction.
    fn crash(&mut self) {
        self.open.clear();
        self.present = None;
    }

    /// Waits until so many receipts have come.
    async fn until(&mut self, source: &mut impl Source, receipts: u32) {
        let all = async {
            while self.receipts.len() < receipts as usize {
                self.step(source).await;
            }
        };
        soon(all).await;
    }

    /// Takes so many events.
    async fn some(&mut self, source: &mut impl Source, events: u32) {
        for _ in 0..events {
            self.step(source).await;
        }
    }

    /// Waits until all is said to be read.
    async fn until_idle(&mut self, source: &mut impl Source) {
        soon(async { while !self.step(source).await {} }).await;
    }

    async fn fault(&mut self, source: &mut impl Source) -> String {
        loop {
            match self.event(source).await {
                Ok(event) => drop(self.handle(event, source)),
                Err(error) => return error.to_string(),
            }
        }
    }

    /// Takes one event; tells whether it says that all is read. An outage passes.
    async fn step(&mut self, source: &mut impl Source) -> bool {
        match self.event(source).await {
            Ok(event) => self.handle(event, source),
            Err(SourceError::Feed { feed, .. }) => {
                self.open.remove(&feed);
                self.present = None;
                false
            }
            Err(_) => false,
        }
    }

    /// Waits for an event, and often stops waiting: nothing may be lost by that.
    async fn event(&mut self, source: &mut impl Source) -> Result<Event, SourceError> {
        while self.dice.random_range(0..3) > 0 {
            tokio::select! {
                biased;
                event = source.next() => return event,
                () = tokio::task::yield_now() => {}
            }
        }
        soon(source.next()).await
    }

    fn handle(&mut self, event: Event, source: &mut impl Source) -> bool {
        match event {
            Event::Begin { feed, place } => {
                let mut framer = self.format.framer(place.offset);
                framer.remember(place.memory);
                let is_fresh = self.open.insert(feed.clone(), framer).is_none();
                assert!(is_fresh, "{feed} begins although it has not ended");
                self.present = Some(feed);
            }
            Event::Resume { feed } => {
                assert!(self.open.contains_key(&feed), "{feed} goes on although it has not begun");
                self.present = Some(feed);
            }
            Event::Bytes(bytes) => {
                assert!(!bytes.is_empty(), "no bytes are no event");
                let framed = self.framer().push(&bytes);
                self.partial(framed, source);
            }
            Event::Quiet => {
                let framed = self.framer().quiet();
                self.partial(framed, source);
            }
            Event::End(ending) => self.end(&ending, source),
            Event::Idle(_) => return true,
        }
        false
    }

    fn framer(&mut self) -> &mut Box<dyn Framer> {
        let feed = self.present.as_ref().expect("bytes come of a feed");
        self.open.get_mut(feed).expect("a feed is open while bytes of it come")
    }

    fn partial(&mut self, framed: Vec<Framed>, source: &mut impl Source) {
        let place = place(self.framer().as_ref());
        let mark = source.mark(place, Completeness::Partial);
        if !framed.is_empty() || mark.is_some() {
            self.commit(framed, mark, source);
        }
    }

    fn end(&mut self, ending: &Ending, source: &mut impl Source) {
        let feed = self.present.clone().expect("a feed ends");
        let mut framer = self.open.remove(&feed).expect("a feed that ends was open");
        let mut framed = framer.quiet();
        let whole = if framer.complete() { Completeness::Whole } else { Completeness::Partial };
        let mark = source.mark(place(framer.as_ref()), whole);
        if *ending != Ending::Open {
            framed.extend(framer.finish());
        }
        self.commit(framed, mark, source);
        self.present = None;
    }

    fn commit(&mut self, framed: Vec<Framed>, mark: Option<String>, source: &mut impl Source) {
        for framed in framed {
            let Framed::Unit(unit) = framed else { panic!("{framed:?} is refused") };
            let mut decoder = self.format.decoder(context("10", chrono_tz::Europe::Berlin));
            for item in decoder.decode(&unit).unwrap() {
                let Item::Receipt(receipt) = item else { panic!("{item:?} is no receipt") };
                self.receive(&receipt);
            }
        }
        if let Some(mark) = mark {
            let feed = self.present.clone().expect("a mark is of a feed");
            self.disk.insert(feed, mark);
            self.loose.clear();
            self.history.push((self.marks(), self.receipts.len()));
        }
        source.committed(Fate::Taken);
    }

    fn receive(&mut self, receipt: &Receipt) {
        let name = receipt.receipt.to_string();
        let known = self.receipts.contains(&name);
        let may_come_again = self.memory == Memory::GivesAgain && self.loose.contains(&name);
        assert!(!known || may_come_again, "{name} comes again after {:?}", self.receipts);
        if !known {
            self.receipts.push(name.clone());
        }
        self.loose.insert(name);
    }

    /// Makes sure that the receipts are those that were rung up; an invented shop has its own numbers.
    fn is_in_order(&self, most: u32) {
        let numbers: Vec<u32> = self.receipts.iter().map(|it| it.parse().unwrap()).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
        if numbers[0] < 1000 {
            assert_eq!(numbers, (1..=most).collect::<Vec<_>>());
        }
    }
}

/// Returns a receipt of this number as tills write it.
pub(crate) fn line(number: u32) -> String {
    crate::world::lines(&[receipt("3", number, "09:41:07", number.into())])
}

/// Waits for what must come.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("it comes")
}

/// Returns how far a framer has taken its feed in.
fn place(framer: &dyn Framer) -> Place {
    Place { offset: framer.position(), memory: framer.memory() }
}
