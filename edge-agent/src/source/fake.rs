//! A shop that is not there: receipts by the minute, decided by a seed. A minute that is read again is
//! the same to the byte, so that a restart counts nothing twice. It knows nothing of what JSON Lines
//! mean to the agent; it writes them as an adapter would.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use shared::ids::StoreId;
use shared::time::{Clock, Minute, Timestamp};

use super::{Completeness, Ending, Event, Fate, Place, Source, SourceError};
use crate::config::FakeConfig;

const FEED: &str = "shop";

/// How far back a shop goes on that stood still: what happened before is nobody's loss.
const CATCH_UP_MOST: Duration = Duration::from_secs(3600);

/// How long the source sleeps at most, by the real clock.
const PAUSE_MOST: Duration = Duration::from_secs(1);

/// A shop that is not there.
pub struct Fake {
    config: FakeConfig,
    store: StoreId,
    clock: Clock,
    next: Minute,
    /// The minute that is being read.
    present: Option<Minute>,
    events: VecDeque<Event>,
}

impl Fake {
    /// Makes a shop that goes on where its mark says.
    pub fn new(
        config: FakeConfig,
        store: StoreId,
        clock: Clock,
        marks: &[(String, String)],
    ) -> Self {
        let earliest = clock.now().minus(CATCH_UP_MOST).minute();
        let mark = marks.iter().find(|(feed, _)| feed == FEED);
        // A mark that cannot be read costs a second reading, nothing else.
        let read = mark.and_then(|(_, mark)| mark.parse::<Minute>().ok()).map(Minute::next);
        let next = read.map_or_else(|| clock.now().minute(), |next| next.max(earliest));
        Self { config, store, clock, next, present: None, events: VecDeque::new() }
    }

    fn ring_up(&mut self) {
        let minute = self.next;
        let bytes = receipts(self.config, &self.store, minute).into_bytes();
        self.events.push_back(Event::Begin { feed: FEED.to_owned(), place: Place::default() });
        if !bytes.is_empty() {
            self.events.push_back(Event::Bytes(bytes));
        }
        self.events.push_back(Event::End(Ending::Finished));
        self.present = Some(minute);
        self.next = minute.next();
    }
}

impl Source for Fake {
    async fn next(&mut self) -> Result<Event, SourceError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let now = self.clock.now();
            if now >= self.next.end() {
                self.ring_up();
            } else if self.present.take().is_some() {
                return Ok(Event::Idle(now));
            } else {
                let wait = self.clock.real_span(self.next.end().since(now));
                tokio::time::sleep(wait.min(PAUSE_MOST)).await;
                // A shop without customers is read to its end all the same.
                self.events.push_back(Event::Idle(self.clock.now()));
            }
        }
    }

    fn mark(&mut self, _: Place, _: Completeness) -> Option<String> {
        let is_read = self.events.is_empty();
        self.present.filter(|_| is_read).map(|minute| minute.to_string())
    }

    fn committed(&mut self, _: Fate) {}
}

/// Writes the receipts of a minute.
fn receipts(config: FakeConfig, store: &StoreId, minute: Minute) -> String {
    let start = minute.start();
    let (day, since_midnight) = (start.utc().date_naive(), start.utc().time());
    let midnight = chrono::NaiveTime::MIN;
    let of_day = since_midnight.signed_duration_since(midnight).num_minutes().unsigned_abs();
    let seconds = start.utc().timestamp().unsigned_abs();
    let mut text = String::new();
    for at in 0..config.receipts_per_minute {
        let mut dice = Dice(config.seed ^ (seconds << 12) ^ at);
        let ended = start.plus(Duration::from_secs(dice.below(60)));
        let number = of_day * 1000 + at + 1;
        let till = at % config.tills + 1;
        write!(
            text,
            r#"{{"store":"{store}","till":"{till}","series":"{day}","receipt":"{number}","business_day":"{day}","#
        )
        .and_then(|()| sale(&mut text, ended, &mut dice))
        .expect("writing to a String does not fail");
    }
    text
}

fn sale(text: &mut String, ended: Timestamp, dice: &mut Dice) -> std::fmt::Result {
    write!(text, r#""ended_at":"{ended}","counts":true,"lines":["#)?;
    let (mut position, mut total) = (0, 0_i64);
    for _ in 0..=dice.below(8) {
        let article = dice.below(500);
        let pieces = 1 + i64::try_from(dice.below(3)).unwrap_or_default();
        let cents = pieces * i64::try_from(49 + article * 7 % 900).unwrap_or_default();
        let voids = if dice.below(40) == 0 { [1, -1].as_slice() } else { &[1] };
        for &sign in voids {
            let comma = if position == 0 { "" } else { "," };
            position += 1;
            let (milli, amount) = (sign * pieces * 1000, sign * cents);
            let void = sign < 0;
            write!(
                text,
                r#"{comma}{{"position":{position},"article":"own:fake:{article}","kind":"sale","void":{void},"unit":"pcs","quantity_milli":{milli},"amount_cents":{amount},"vat_key":"2","vat_bp":700}}"#
            )?;
            total += amount;
        }
    }
    let kind = if dice.below(3) == 0 { "cash" } else { "girocard" };
    writeln!(text, r#"],"total_cents":{total},"payments":[{{"kind":"{kind}","cents":{total}}}]}}"#)
}

/// Splitmix64 (Steele, Lea and Flood, 2014): a few numbers that look like chance.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % most
    }
}

#[cfg(test)]
mod tests {
    use shared::receipt::Receipt;

    use super::*;

    const SHOP: FakeConfig = FakeConfig { seed: 7, tills: 3, receipts_per_minute: 40 };

    fn day(seed: u64) -> Vec<Receipt> {
        let store = StoreId::new("0010").unwrap();
        let first: Minute = "2026-11-23T23:30:00Z".parse().unwrap();
        let minutes = std::iter::successors(Some(first), |minute| Some(minute.next())).take(60);
        let text: String =
            minutes.map(|minute| receipts(FakeConfig { seed, ..SHOP }, &store, minute)).collect();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn every_receipt_adds_up_and_has_a_number_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        let all = day(7);
        assert_eq!(all.len(), 2400);
        for receipt in &all {
            assert_eq!(receipt.check_sums(), Ok(()));
            assert!(seen.insert((
                receipt.till.clone(),
                receipt.series.clone(),
                receipt.receipt.clone()
            )));
        }
        assert!(all.iter().any(|receipt| receipt.lines.iter().any(|line| line.void)));
    }

    #[test]
    fn the_same_seed_rings_up_the_same_and_another_one_something_else() {
        assert_eq!(day(7), day(7));
        assert_ne!(day(7), day(8));
    }

    #[tokio::test]
    async fn a_minute_moves_the_mark_when_it_is_read_to_its_end() {
        let clock = Clock::real();
        let before = clock.now().minute().previous().previous();
        let marks = [(FEED.to_owned(), before.to_string())];
        let mut fake = Fake::new(SHOP, StoreId::new("10").unwrap(), clock, &marks);
        assert!(matches!(fake.next().await, Ok(Event::Begin { .. })));
        assert!(matches!(fake.next().await, Ok(Event::Bytes(_))));
        assert_eq!(fake.mark(Place::default(), Completeness::Partial), None);
        assert!(matches!(fake.next().await, Ok(Event::End(Ending::Finished))));
        assert_eq!(
            fake.mark(Place::default(), Completeness::Whole),
            Some(before.next().to_string())
        );
    }
}
