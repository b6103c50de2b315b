//! Plays one store: receipts of its tills and stock documents appear as files when they are due,
//! with what goes wrong in real life. What must count is noted as truth before its file appears.

mod line;
mod outlet;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use shared::receipt::Receipt;
use shared::time::{BusinessDay, Clock, Minute, Timestamp};
use shared::words::NotCounted;

use crate::error::StackError;
use crate::shop::{Assortment, Plan, Shop, ShopMinute, minutes_before, minutes_from};
use crate::till::{self, Content, Dialect};
use crate::truth::{self, Entry, Ledger};
pub use outlet::Way;
use outlet::{Delivery, Outlet};

/// A till writes a file this often, where it has something to write.
const FILE_SECONDS: u64 = 30;
/// How late the files of the late till are.
const LATE: Duration = Duration::from_secs(20 * 60);
/// How long after a file it is sent once more.
const RESENT_AFTER: Duration = Duration::from_secs(60);
/// Every so many receipts one is printed again.
const RECEIPTS_PER_REPRINT: u64 = 25;
/// Every so many files one is resent under another name, and one written again in place.
const FILES_PER_RESEND: u64 = 10;
/// Files that share one note in the truth: bounds what is held and what a flush costs.
const FILES_PER_NOTE: usize = 64;
/// Articles of a shop.
pub const ARTICLES: u32 = 3000;

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// Receipts are printed again.
    pub reprints: bool,
    /// Files are sent again, under another name or in place.
    pub resends: bool,
    /// The files of the last till come late.
    pub late_till: bool,
}

/// How fast it is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Every file when it is due by the clock, from the next minute on.
    Live,
    /// All at once, the minutes before now.
    AtOnce,
}

/// What is to be played.
#[derive(Debug, Clone)]
pub struct Order {
    /// The stack's folder.
    pub dir: PathBuf,
    /// The shop.
    pub plan: Plan,
    /// For how many minutes.
    pub minutes: u32,
    /// What its tills write.
    pub dialect: Dialect,
    /// How they hand it over.
    pub way: Way,
    /// What goes wrong.
    pub faults: Faults,
    /// How fast.
    pub pace: Pace,
}

/// What was issued.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Issued {
    /// Receipts that count.
    pub receipts: u64,
    /// Their lines.
    pub lines: u64,
    /// Their totals.
    pub total_cents: i64,
    /// Movements of stock.
    pub movements: u64,
    /// Files, the resent ones too.
    pub files: u64,
    /// Files that came a second time.
    pub resent_files: u64,
    /// Receipts that were printed a second time.
    pub reprints: u64,
}

/// A file that is due.
#[derive(Debug)]
struct Due {
    folder: Folder,
    till: String,
    name: String,
    content: Content,
    truth: Vec<Entry>,
    resent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Folder {
    Tills,
    Stock,
}

/// Plays the store until all is issued or `stop` completes; what is not issued is in no truth. A
/// journal and a serial line stay open behind the last receipt until `stop` completes.
pub async fn run(
    order: &Order,
    clock: &Clock,
    stop: impl Future<Output = ()>,
) -> Result<Issued, StackError> {
    let assortment = Arc::new(Assortment::new(ARTICLES, order.plan.country));
    let mut shop = Shop::new(order.plan.clone(), assortment);
    let issuer = format!("store-{}", order.plan.store);
    let last = go_on_behind(&mut shop, order, &issuer)?;
    let noting = || StackError::foreign("the truth cannot be noted");
    let mut ledger = Ledger::open(&order.dir, &issuer).map_err(noting())?;
    let folder = order.dir.join("tills").join(order.plan.store.as_str());
    let mut outlet = Outlet::open(&order.way, folder, order.dialect).await?;
    let (first, count) = span(order, clock.now(), last);
    let mut schedule = Schedule::new(order, minutes_from(first, count).last());
    let mut issued = Issued::default();
    tokio::pin!(stop);
    for minute in minutes_from(first, count) {
        if !wait(order.pace, clock, (minute.start(), &mut stop)).await {
            return Ok(issued);
        }
        schedule.add(minute, shop.minute(minute));
        while let Some(due) = schedule.next_before(minute.next()) {
            if !wait(order.pace, clock, (due, &mut stop)).await {
                return Ok(issued);
            }
            let now = if order.pace == Pace::Live { clock.now() } else { minute.end() };
            let files = schedule.take(now.max(due));
            issue(order, (&mut ledger, &mut outlet), &files, &mut issued).await?;
        }
    }
    issued.reprints = schedule.reprints;
    if outlet.stays() {
        stop.await;
    }
    Ok(issued)
}

/// Goes on behind the numbers that the ledger knows, and returns the last minute in it.
fn go_on_behind(
    shop: &mut Shop,
    order: &Order,
    issuer: &str,
) -> Result<Option<Minute>, StackError> {
    let path = truth::folder(&order.dir).join(format!("{issuer}.jsonl"));
    let mut last = None;
    if path.exists() {
        let read = truth::read_ledger(&path, |entry| {
            if let Some((till, series, number)) = entry.number() {
                shop.number_is_used(till, series, number);
            }
            last = last.max(entry.minute());
        });
        read.map_err(StackError::foreign("the truth cannot be read"))?;
    }
    Ok(last)
}

/// Minutes that were played before are not played again: their documents would have the same ids.
fn span(order: &Order, now: Timestamp, last: Option<Minute>) -> (Minute, u32) {
    let wanted = match order.pace {
        Pace::Live => now.minute().next(),
        Pace::AtOnce => minutes_before(now.minute(), order.minutes),
    };
    let first = last.map_or(wanted, |last| wanted.max(last.next()));
    let passed = first.start().since(wanted.start()).as_secs() / 60;
    let left = u64::from(order.minutes).saturating_sub(passed);
    match order.pace {
        Pace::Live => (first, order.minutes),
        Pace::AtOnce => (first, u32::try_from(left).unwrap_or(0)),
    }
}

/// Waits for an instant; returns false where it has to stop before.
async fn wait(
    pace: Pace,
    clock: &Clock,
    (until, stop): (Timestamp, &mut (impl Future<Output = ()> + Unpin)),
) -> bool {
    let pause = match pace {
        Pace::Live => clock.real_span(until.since(clock.now())),
        Pace::AtOnce => Duration::ZERO,
    };
    tokio::select! {
        biased;
        () = stop => false,
        () = tokio::time::sleep(pause) => true,
    }
}

/// Notes what must count, and only then lets the files appear.
async fn issue(
    order: &Order,
    (ledger, outlet): (&mut Ledger, &mut Outlet),
    files: &[Due],
    issued: &mut Issued,
) -> Result<(), StackError> {
    for group in files.chunks(FILES_PER_NOTE) {
        let entries: Vec<Entry> = group.iter().flat_map(|due| due.truth.clone()).collect();
        ledger.note(&entries).map_err(StackError::foreign("the truth cannot be noted"))?;
        for due in group {
            match (due.folder, &due.content) {
                (Folder::Stock, Content::File(bytes)) => {
                    let folder = order.dir.join("stock").join(order.plan.store.as_str());
                    till::put(&folder, &due.name, bytes)
                        .map_err(StackError::path("put a file into", &folder))?;
                }
                (Folder::Stock | Folder::Tills, content) => {
                    let (till, name) = (due.till.as_str(), due.name.as_str());
                    outlet.deliver(Delivery { till, name, content }).await?;
                }
            }
            issued.count(due);
        }
    }
    Ok(())
}

impl Issued {
    fn count(&mut self, due: &Due) {
        self.files += 1;
        self.resent_files += u64::from(due.resent);
        for entry in &due.truth {
            match entry {
                Entry::Receipt(receipt) => {
                    self.receipts += 1;
                    self.lines += receipt.lines.len() as u64;
                    self.total_cents += receipt.total_cents.0;
                }
                Entry::Movement(_) => self.movements += 1,
                Entry::WithoutSale(_) | Entry::Batch(_) => {}
            }
        }
    }
}

/// Which file appears when. Pure.
#[derive(Debug)]
struct Schedule {
    order: Order,
    last: Option<Minute>,
    queue: BTreeMap<(Timestamp, u64), Due>,
    queued: u64,
    receipts: u64,
    files: u64,
    reprints: u64,
    /// Per till a receipt that is printed again with its next file.
    again: BTreeMap<String, Receipt>,
    /// What the tills have rung up since their last closing, where they export closings only.
    day: Vec<Receipt>,
}

impl Schedule {
    fn new(order: &Order, last: Option<Minute>) -> Self {
        Self {
            order: order.clone(),
            last,
            queue: BTreeMap::new(),
            queued: 0,
            receipts: 0,
            files: 0,
            reprints: 0,
            again: BTreeMap::new(),
            day: Vec::new(),
        }
    }

    fn add(&mut self, minute: Minute, played: ShopMinute) {
        let mut files: BTreeMap<(u64, String), Vec<Receipt>> = BTreeMap::new();
        let (closings, receipts) = match self.order.dialect == Dialect::Dsfinvk {
            true => (played.receipts, Vec::new()),
            false => (Vec::new(), played.receipts),
        };
        self.add_to_day(minute, closings);
        for receipt in receipts {
            let slice = receipt.ended_at.since(minute.start()).as_secs() / FILE_SECONDS;
            files.entry((slice, receipt.till.to_string())).or_default().push(receipt);
        }
        for ((slice, till), receipts) in files {
            let end = minute.start().plus(Duration::from_secs((slice + 1) * FILE_SECONDS));
            self.add_file(&till, end, receipts);
        }
        if !played.movements.is_empty() {
            let store = &self.order.plan.store;
            let truth = played.movements.iter().map(|one| Entry::of_movement(store, one)).collect();
            let name = format!("{}-stock.jsonl", stamp(minute.start()));
            let content = Content::File(till::stock_file(&played.movements));
            let (folder, till) = (Folder::Stock, String::new());
            let due = Due { folder, till, name, content, truth, resent: false };
            self.push(minute.end(), due);
        }
    }

    /// A day is exported when the next one begins, and at the end of the play.
    fn add_to_day(&mut self, minute: Minute, receipts: Vec<Receipt>) {
        for receipt in receipts {
            let day: Option<BusinessDay> = self.day.last().map(|last| last.business_day);
            if day.is_some_and(|day| day != receipt.business_day) {
                self.close_day(minute.start());
            }
            self.day.push(receipt);
        }
        if self.last == Some(minute) {
            self.close_day(minute.end());
        }
    }

    fn close_day(&mut self, at: Timestamp) {
        let receipts = std::mem::take(&mut self.day);
        if receipts.is_empty() {
            return;
        }
        let name = format!("{}-closing", stamp(at));
        let content = self.order.dialect.content(&receipts, self.order.plan.zone, at);
        let truth = receipts.iter().map(Entry::of_receipt).collect();
        let (folder, till, resent) = (Folder::Tills, String::new(), false);
        let first = Due { folder, till, name, content, truth, resent };
        let again = self.order.faults.resends.then(|| Due {
            folder,
            till: String::new(),
            name: format!("resent-{}", first.name),
            content: first.content.clone(),
            truth: Vec::new(),
            resent: true,
        });
        self.push(at, first);
        if let Some(again) = again {
            self.push(at, again);
        }
    }

    fn add_file(&mut self, till: &str, end: Timestamp, mut receipts: Vec<Receipt>) {
        let truth = receipts.iter().map(Entry::of_receipt).collect();
        let reprint = self.again.remove(till);
        self.remember_for_reprint(till, &receipts);
        self.reprints += u64::from(reprint.is_some());
        let dialect = self.order.dialect;
        receipts.extend(reprint.map(|mut copy| {
            if dialect.marks_copies() {
                (copy.counts, copy.reason) = (false, Some(NotCounted::Reprint));
            }
            copy
        }));
        let name = format!("{}-till{till}.{}", stamp(end), dialect.ending());
        let content = dialect.content(&receipts, self.order.plan.zone, end);
        let due = self.due(till, end);
        let (folder, till) = (Folder::Tills, till.to_owned());
        let first = Due { folder, till, name, content, truth, resent: false };
        let again = self.resent(&first, receipts);
        self.push(due, first);
        if let Some(again) = again {
            self.push(self.by_the_end(due.plus(RESENT_AFTER)), again);
        }
    }

    fn remember_for_reprint(&mut self, till: &str, receipts: &[Receipt]) {
        for receipt in receipts.iter().filter(|receipt| receipt.counts) {
            self.receipts += 1;
            if self.order.faults.reprints && self.receipts.is_multiple_of(RECEIPTS_PER_REPRINT) {
                self.again.insert(till.to_owned(), receipt.clone());
            }
        }
    }

    /// Every tenth file comes again with the same bytes under another name; every other tenth is
    /// written again in place, with the same receipts in another order. A stream has no place to be
    /// written again in: there the bytes come a second time.
    fn resent(&mut self, first: &Due, mut receipts: Vec<Receipt>) -> Option<Due> {
        self.files += 1;
        let dialect = self.order.dialect;
        let (name, content) = match self.files % FILES_PER_RESEND {
            3 => (format!("resent-{}", first.name), first.content.clone()),
            8 if !dialect.is_stream() => {
                receipts.reverse();
                receipts.extend(receipts.first().cloned());
                let bytes = dialect.file(&receipts, self.order.plan.zone);
                (first.name.clone(), Content::File(bytes))
            }
            _ => return None,
        };
        let (folder, till) = (Folder::Tills, first.till.clone());
        let due = Due { folder, till, name, content, truth: Vec::new(), resent: true };
        self.order.faults.resends.then_some(due)
    }

    /// The last of several tills is the late one.
    fn due(&self, till: &str, end: Timestamp) -> Timestamp {
        let plan = &self.order.plan;
        let late = self.order.faults.late_till && plan.tills > 1 && till == plan.tills.to_string();
        if late { self.by_the_end(end.plus(LATE)) } else { end }
    }

    /// Nothing is later than the end of the play, so that it ends when it was said to.
    fn by_the_end(&self, at: Timestamp) -> Timestamp {
        self.last.map_or(at, |last| at.min(last.end()))
    }

    fn push(&mut self, at: Timestamp, due: Due) {
        self.queued += 1;
        self.queue.insert((at, self.queued), due);
    }

    /// Returns when the next file is due, where that is within this minute at most; the last minute
    /// has no end.
    fn next_before(&self, next: Minute) -> Option<Timestamp> {
        let (at, _) = self.queue.first_key_value()?.0;
        let open_end = self.last.is_some_and(|last| next > last);
        (*at <= next.start() || open_end).then_some(*at)
    }

    fn take(&mut self, now: Timestamp) -> Vec<Due> {
        let later = self.queue.split_off(&(now, u64::MAX));
        std::mem::replace(&mut self.queue, later).into_values().collect()
    }
}

fn stamp(at: Timestamp) -> String {
    at.utc().format("%Y%m%dT%H%M%S").to_string()
}

#[cfg(test)]
mod tests {
    use chrono_tz::Europe::Berlin;
    use shared::ids::StoreId;

    use super::*;
    use crate::shop::Country;

    fn order() -> Order {
        let store = StoreId::new("10").unwrap();
        Order {
            dir: PathBuf::new(),
            plan: Plan {
                store,
                zone: Berlin,
                country: Country::Germany,
                tills: 2,
                receipts_per_thousand_minutes: 8000,
                seed: 1,
            },
            minutes: 30,
            dialect: Dialect::Jsonl,
            way: Way::Files,
            faults: Faults { reprints: true, resends: true, late_till: true },
            pace: Pace::AtOnce,
        }
    }

    #[test]
    fn files_of_the_late_till_come_late_but_within_the_play_and_resent_ones_carry_no_truth() {
        let order = order();
        let first: Minute = "2026-11-23T09:00:00Z".parse().unwrap();
        let minutes: Vec<Minute> = minutes_from(first, order.minutes).collect();
        let assortment = Arc::new(Assortment::new(100, Country::Germany));
        let mut shop = Shop::new(order.plan.clone(), assortment);
        let mut schedule = Schedule::new(&order, minutes.last().copied());
        for minute in &minutes {
            schedule.add(*minute, shop.minute(*minute));
        }
        let end = minutes[29].end();
        let mut late = 0;
        for ((at, _), due) in &schedule.queue {
            assert!(*at <= end);
            assert_eq!(due.truth.is_empty(), due.resent, "{}", due.name);
            if due.name.contains("till2") && !due.resent {
                late += 1;
                assert!(*at >= first.start().plus(LATE));
            }
        }
        assert!(late > 10 && schedule.reprints > 2, "{late} {}", schedule.reprints);
        assert!(schedule.queue.values().filter(|due| due.resent).count() > 5);
    }

    #[test]
    fn minutes_that_were_played_are_not_played_again() {
        let order = order();
        let now = "2026-11-23T10:00:20Z".parse().unwrap();
        let last = "2026-11-23T09:49:00Z".parse().unwrap();
        let (first, count) = span(&order, now, Some(last));
        assert_eq!((first.to_string().as_str(), count), ("2026-11-23T09:50:00Z", 10));
        let (first, count) = span(&order, now, None);
        assert_eq!((first.to_string().as_str(), count), ("2026-11-23T09:30:00Z", 30));
    }
}
