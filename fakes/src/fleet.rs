//! Many stores at once: ready-made store-minutes straight to Kafka, some of them twice, some out of
//! order. What was issued is noted as truth before it is sent.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use shared::ids::{Sequence, StoreId};
use shared::minute::StoreMinute;
use shared::time::{Clock, Minute};
use shared::words::BatchKind;
use tokio::time::Instant;

use crate::buckets::{Bucket, Numbering};
use crate::error::StackError;
use crate::publish::{Publisher, Record};
use crate::shop::{Assortment, Country, Plan, Shop, business_day, minutes_before, minutes_from};
use crate::store::{ARTICLES, Pace};
use crate::truth::{self, Entry, IssuedBatch, Ledger};

/// The ledger of all fleets of a stack: a later one goes on where an earlier one ended.
const ISSUER: &str = "fleet";
/// Where the fleet's stores lie.
const ZONE: chrono_tz::Tz = chrono_tz::Europe::Berlin;
/// Tills of a store.
const TILLS: u32 = 4;
/// Batches that share one note in the truth.
const BATCHES_PER_NOTE: usize = 200;
/// Every so many batches one is sent twice, or held back behind the store's next one.
const BATCHES_PER_FAULT: u64 = 20;

/// What a fleet is to do.
#[derive(Debug, Clone)]
pub struct Order {
    /// The stack's folder.
    pub dir: PathBuf,
    /// How many stores, `F0001` and on.
    pub stores: u32,
    /// For how many minutes.
    pub minutes: u32,
    /// Receipts a minute and store.
    pub receipts_per_minute: u32,
    /// Batches a second; as fast as the broker takes them where nothing is said.
    pub rate: Option<u32>,
    /// What makes this fleet's days differ from another one's.
    pub seed: u64,
    /// Some batches are sent twice.
    pub duplicates: bool,
    /// Some batches are sent after the store's next one.
    pub reordering: bool,
    /// The coming minutes as they pass, or those before now at once.
    pub pace: Pace,
}

/// What was issued.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Issued {
    /// Batches.
    pub batches: u64,
    /// Receipts that count.
    pub receipts: u64,
    /// Lines.
    pub lines: u64,
    /// Totals of the receipts.
    pub total_cents: i64,
    /// Movements of stock.
    pub movements: u64,
    /// Batches that were sent twice.
    pub duplicates: u64,
    /// Batches that were sent after the store's next one.
    pub reordered: u64,
}

/// A store of the fleet.
#[derive(Debug)]
struct Member {
    shop: Shop,
    numbering: Numbering,
    last: Option<Minute>,
    held: Option<Record>,
}

/// Plays the fleet until all is sent or `stop` completes; what is not sent is in no truth.
pub async fn run(
    order: &Order,
    clock: &Clock,
    (publisher, stop): (Publisher, impl Future<Output = ()>),
) -> Result<Issued, StackError> {
    let mut members = members(order, clock)?;
    let noting = || StackError::foreign("the truth cannot be noted");
    let ledger = Ledger::open(&order.dir, ISSUER).map_err(noting())?;
    let first = match order.pace {
        Pace::Live => clock.now().minute().next(),
        Pace::AtOnce => minutes_before(clock.now().minute(), order.minutes),
    };
    let mut sender = Sender {
        order,
        publisher,
        ledger,
        issued: Issued::default(),
        sent: 0,
        started: Instant::now(),
    };
    tokio::pin!(stop);
    'play: for minute in minutes_from(first, order.minutes) {
        if order.pace == Pace::Live {
            let pause = clock.real_span(minute.end().since(clock.now()));
            tokio::select! {
                () = &mut stop => break 'play,
                () = tokio::time::sleep(pause) => {}
            }
        }
        let stores: Vec<StoreId> = members.keys().cloned().collect();
        for group in stores.chunks(BATCHES_PER_NOTE) {
            if is_done(stop.as_mut()).await {
                break 'play;
            }
            sender.play(&mut members, group, minute).await?;
        }
    }
    for member in members.values_mut() {
        sender.release(member).await?;
    }
    sender.publisher.finish().await?;
    Ok(sender.issued)
}

async fn is_done(stop: impl Future<Output = ()>) -> bool {
    tokio::select! {
        biased;
        () = stop => true,
        () = std::future::ready(()) => false,
    }
}

/// Opens the stores, each where an earlier fleet left it.
fn members(order: &Order, clock: &Clock) -> Result<BTreeMap<StoreId, Member>, StackError> {
    let assortment = Arc::new(Assortment::new(ARTICLES, Country::Germany));
    let mut members = BTreeMap::new();
    for number in 1..=order.stores {
        let store = StoreId::new(&format!("F{number:04}"))
            .map_err(StackError::foreign("too many stores"))?;
        let plan = Plan {
            store: store.clone(),
            zone: ZONE,
            country: Country::Germany,
            tills: TILLS,
            receipts_per_thousand_minutes: order.receipts_per_minute * 1000,
            seed: order.seed,
        };
        let stream = shared::ids::StreamId::new(clock.now());
        let numbering = Numbering { stream, next: Sequence::FIRST };
        let shop = Shop::new(plan, assortment.clone());
        members.insert(store, Member { shop, numbering, last: None, held: None });
    }
    let path = truth::folder(&order.dir).join(format!("{ISSUER}.jsonl"));
    if path.exists() {
        let read = truth::read_ledger(&path, |entry| {
            if let (Entry::Batch(batch), Some(member)) = (&entry, members.get_mut(entry.store())) {
                member.go_on_behind(batch);
            }
        });
        read.map_err(StackError::foreign("the truth cannot be read"))?;
    }
    Ok(members)
}

impl Member {
    fn go_on_behind(&mut self, batch: &IssuedBatch) {
        let next = batch.sequence.next();
        if self.numbering.stream != batch.stream || self.numbering.next < next {
            self.numbering = Numbering { stream: batch.stream, next };
        }
        self.last = self.last.max(Some(batch.minute));
        for till in &batch.tills {
            for number in [till.receipts.last(), till.numbers_without_sale.last()] {
                self.shop.number_is_used(&till.till, &till.series, number.unwrap_or(0));
            }
        }
    }

    /// A minute that an earlier fleet has played is not played again: its documents would have the
    /// same ids.
    fn play(&mut self, store: &StoreId, minute: Minute) -> Vec<StoreMinute> {
        if self.last >= Some(minute) {
            return Vec::new();
        }
        let played = self.shop.minute(minute);
        let bucket = Bucket {
            store: store.clone(),
            minute,
            business_day: business_day(minute.start(), ZONE),
            receipts: played.receipts,
            movements: played.movements,
        };
        bucket.batches(&mut self.numbering)
    }
}

/// Notes, sends, and disturbs.
struct Sender<'a> {
    order: &'a Order,
    publisher: Publisher,
    ledger: Ledger,
    issued: Issued,
    sent: u32,
    started: Instant,
}

impl Sender<'_> {
    /// Plays a minute of some stores.
    async fn play(
        &mut self,
        members: &mut BTreeMap<StoreId, Member>,
        stores: &[StoreId],
        minute: Minute,
    ) -> Result<(), StackError> {
        let mut batches = Vec::new();
        for store in stores {
            if let Some(member) = members.get_mut(store) {
                batches.extend(member.play(store, minute));
            }
        }
        let entries: Vec<Entry> = batches.iter().flat_map(Entry::of_batch).collect();
        self.ledger.note(&entries).map_err(StackError::foreign("the truth cannot be noted"))?;
        for batch in &batches {
            self.issued.count(batch);
            if let Some(member) = members.get_mut(&batch.store) {
                self.send(member, record(batch)).await?;
            }
        }
        Ok(())
    }

    /// Sends a batch, or holds it back where it is its turn to be late.
    async fn send(&mut self, member: &mut Member, record: Record) -> Result<(), StackError> {
        let turn = self.issued.batches % BATCHES_PER_FAULT;
        if self.order.reordering && turn == 5 && member.held.is_none() {
            self.issued.reordered += 1;
            member.held = Some(record);
            return Ok(());
        }
        self.hand_over(&record).await?;
        if self.order.duplicates && turn == 10 {
            self.issued.duplicates += 1;
            self.hand_over(&record).await?;
        }
        self.release(member).await
    }

    async fn release(&mut self, member: &mut Member) -> Result<(), StackError> {
        match member.held.take() {
            Some(record) => self.hand_over(&record).await,
            None => Ok(()),
        }
    }

    async fn hand_over(&mut self, record: &Record) -> Result<(), StackError> {
        if let Some(rate) = self.order.rate {
            let due = self.started + Duration::from_secs(1) * self.sent / rate.max(1);
            tokio::time::sleep_until(due).await;
        }
        self.sent += 1;
        self.publisher.send(record).await
    }
}

/// Writes a batch as a record. Times in its headers are those of the minute, so that the same batch
/// is the same record however often it is sent.
pub(crate) fn record(batch: &StoreMinute) -> Record {
    Record {
        key: batch.store.to_string(),
        headers: shared::wire::store_minute_headers(batch, batch.minute.end()),
        body: shared::wire::encode(batch),
    }
}

impl Issued {
    fn count(&mut self, batch: &StoreMinute) {
        self.batches += 1;
        self.receipts += batch.tills.iter().map(|till| till.receipt_count).sum::<u64>();
        self.lines += batch.sales.iter().map(|row| row.lines).sum::<u64>();
        self.total_cents += batch.tills.iter().map(|till| till.total_cents.0).sum::<i64>();
        self.movements += batch.stock.len() as u64;
        assert!(batch.kind == BatchKind::Original, "a fleet's minute fits one batch");
    }
}
