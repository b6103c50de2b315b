//! A seeded day of a shop: receipts of several tills and movements of stock, minute by minute, with
//! the statistics of real stores. Pure: the same plan and minute always give the same goods, times
//! and amounts; only receipt numbers go on from where they were.

mod assortment;
mod basket;
mod checkout;
mod goods;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveTime, TimeDelta};
use chrono_tz::Tz;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shared::ids::{Label, ReceiptNumber, Series, StoreId, TillId};
use shared::money::Cents;
use shared::receipt::{CashMove, Receipt, ReceiptReference, StockMovement};
use shared::time::{BusinessDay, Minute, Timestamp};
use shared::words::{Channel, NotCounted};

pub use assortment::Assortment;
use basket::Basket;

/// Moments of a minute at which a receipt may end; also the most receipts that a minute can hold.
const MOMENTS: u32 = 120;
/// Business ends at night, not at midnight: receipts until three belong to the day before.
const CUT: NaiveTime = NaiveTime::from_hms_opt(3, 0, 0).expect("three o'clock exists");
/// How long a parked receipt waits before it is finished.
const PARKED_SECONDS: u64 = 20;
/// How long a receipt stands before it is taken back as a whole.
const REGRET_SECONDS: u64 = 25;
/// What marks a receipt that takes back an earlier one.
const RECEIPT_VOID: &str = "receipt_void";

/// How prices and tills work where the shop is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Country {
    /// VAT inside the prices, deposits, discounts of whole receipts.
    Germany,
    /// Tax on top of the prices, and only what the NCR ACS dialect can say.
    America,
}

/// What kind of shop is played.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The store.
    pub store: StoreId,
    /// Its local clock.
    pub zone: Tz,
    /// Its country.
    pub country: Country,
    /// How many tills it has.
    pub tills: u32,
    /// Receipts in a thousand minutes, of all tills together.
    pub receipts_per_thousand_minutes: u32,
    /// What makes this shop's day differ from another one's.
    pub seed: u64,
}

/// What a shop did in a minute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShopMinute {
    /// Receipts in the order in which they ended, with those that must not count.
    pub receipts: Vec<Receipt>,
    /// Movements of stock in the order in which they happened.
    pub movements: Vec<StockMovement>,
}

/// What a till does with its next number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    Sale,
    Return,
    /// Every line is taken back again; counts, with a total of 0.
    Voided,
    Parked,
    /// A sale, and a receipt behind it that takes all of it back.
    Regretted,
    /// Money is put into the drawer or taken out.
    CashMoved,
    NotCounted(Idle),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Idle {
    Aborted,
    Training,
    Control,
}

/// A shop that goes through its minutes.
#[derive(Debug)]
pub struct Shop {
    plan: Plan,
    assortment: Arc<Assortment>,
    last_numbers: BTreeMap<(TillId, Series), u64>,
}

impl Shop {
    /// Opens a shop with this assortment.
    pub fn new(plan: Plan, assortment: Arc<Assortment>) -> Self {
        Self { plan, assortment, last_numbers: BTreeMap::new() }
    }

    /// Notes that a number is used already, so that the till goes on behind it.
    pub fn number_is_used(&mut self, till: &TillId, series: &Series, number: u64) {
        let last = self.last_numbers.entry((till.clone(), series.clone())).or_default();
        *last = number.max(*last);
    }

    /// Plays a minute.
    pub fn minute(&mut self, minute: Minute) -> ShopMinute {
        let mut dice = dice(&self.plan, minute);
        let moments: Vec<u32> = (0..MOMENTS).filter(|_| self.someone_pays(&mut dice)).collect();
        let mut receipts = Vec::new();
        for moment in moments {
            let at = minute.start().plus(Duration::from_millis(u64::from(moment) * 500));
            self.serve(&mut dice, whole_second(at), &mut receipts);
        }
        receipts.sort_by_key(|receipt| receipt.ended_at);
        self.give_numbers(&mut receipts);
        name_what_is_taken_back(&mut receipts);
        let movements = goods::movements(&mut dice, &self.assortment, minute);
        ShopMinute { receipts, movements }
    }

    fn someone_pays(&self, dice: &mut ChaCha8Rng) -> bool {
        let rate = self.plan.receipts_per_thousand_minutes;
        dice.random_ratio(rate.min(MOMENTS * 1000), MOMENTS * 1000)
    }

    /// Rings up one customer: one receipt, or a parked one and its end.
    fn serve(&self, dice: &mut ChaCha8Rng, at: Timestamp, receipts: &mut Vec<Receipt>) {
        let till = dice.random_range(1..=self.plan.tills);
        let till = TillId::new(&till.to_string()).expect("a number is a till id");
        let occasion = self.occasion(dice);
        let mut receipt = self.blank(till, at);
        match occasion {
            Occasion::Sale => self.fill(dice, Basket::Sale, &mut receipt),
            Occasion::Return => self.fill(dice, Basket::Return, &mut receipt),
            Occasion::Voided => self.fill(dice, Basket::Voided, &mut receipt),
            Occasion::Parked => {
                self.fill(dice, Basket::Sale, &mut receipt);
                let mut parked = receipt.clone();
                not_counted(&mut parked, NotCounted::Suspended);
                receipts.push(parked);
                let last = at.minute().end().minus(Duration::from_secs(1));
                receipt.ended_at = at.plus(Duration::from_secs(PARKED_SECONDS)).min(last);
            }
            Occasion::Regretted => {
                self.fill(dice, Basket::Sale, &mut receipt);
                let mut void = turned(&receipt);
                void.flags = vec![Label::new(RECEIPT_VOID).expect("a short word is a label")];
                let last = at.minute().end().minus(Duration::from_secs(1));
                void.ended_at = at.plus(Duration::from_secs(REGRET_SECONDS)).min(last);
                receipts.push(receipt);
                receipt = void;
            }
            Occasion::CashMoved => {
                not_counted(&mut receipt, NotCounted::CashMove);
                receipt.cash_moves = vec![cash_move(dice)];
            }
            Occasion::NotCounted(idle) => {
                if idle != Idle::Control {
                    self.fill(dice, Basket::Sale, &mut receipt);
                }
                not_counted(&mut receipt, reason(idle));
            }
        }
        receipts.push(receipt);
    }

    fn occasion(&self, dice: &mut ChaCha8Rng) -> Occasion {
        let roll = dice.random_range(0..1000_u32);
        match (self.plan.country, roll) {
            (_, 0..=5) => Occasion::NotCounted(Idle::Control),
            (Country::America, _) | (Country::Germany, 48..) => Occasion::Sale,
            (Country::Germany, 6..=8) => Occasion::Return,
            (Country::Germany, 9..=10) => Occasion::Voided,
            (Country::Germany, 11..=17) => Occasion::Parked,
            (Country::Germany, 18..=22) => Occasion::NotCounted(Idle::Aborted),
            (Country::Germany, 23..=27) => Occasion::NotCounted(Idle::Training),
            (Country::Germany, 28..=37) => Occasion::CashMoved,
            (Country::Germany, 38..=47) => Occasion::Regretted,
        }
    }

    fn fill(&self, dice: &mut ChaCha8Rng, basket: Basket, receipt: &mut Receipt) {
        receipt.lines = basket::lines(dice, &self.assortment, (basket, self.plan.country));
        checkout::settle(dice, self.plan.country, receipt);
    }

    fn blank(&self, till: TillId, ended_at: Timestamp) -> Receipt {
        let business_day = business_day(ended_at, self.plan.zone);
        Receipt {
            store: self.plan.store.clone(),
            till,
            series: Series::new(&business_day.to_string()).expect("a date is a series"),
            receipt: ReceiptNumber::new("0").expect("a number is a receipt number"),
            business_day,
            ended_at,
            counts: true,
            reason: None,
            channel: Channel::Till,
            fiscal: None,
            refers_to: None,
            customer: None,
            flags: Vec::new(),
            lines: Vec::new(),
            vat: Vec::new(),
            adjustments: Vec::new(),
            tax_added_cents: Default::default(),
            adjustment_cents: Default::default(),
            total_cents: Default::default(),
            payments: Vec::new(),
            cash_moves: Vec::new(),
            version: None,
        }
    }

    /// Numbers go up with the time; every other parked receipt is finished under its own number.
    fn give_numbers(&mut self, receipts: &mut [Receipt]) {
        let mut parked: BTreeMap<TillId, u64> = BTreeMap::new();
        for receipt in receipts {
            let last = self.last_numbers.entry((receipt.till.clone(), receipt.series.clone()));
            let last = last.or_default();
            let kept = parked.remove(&receipt.till).filter(|number| *number == *last);
            let number = match kept {
                Some(number) if receipt.counts => number,
                Some(_) | None => *last + 1,
            };
            *last = number;
            if receipt.reason == Some(NotCounted::Suspended) && number % 2 == 0 {
                parked.insert(receipt.till.clone(), number);
            }
            let text = number.to_string();
            receipt.receipt = ReceiptNumber::new(&text).expect("a number is a receipt number");
        }
    }
}

fn not_counted(receipt: &mut Receipt, reason: NotCounted) {
    receipt.counts = false;
    receipt.reason = Some(reason);
    receipt.payments.clear();
}

fn reason(idle: Idle) -> NotCounted {
    match idle {
        Idle::Aborted => NotCounted::Aborted,
        Idle::Training => NotCounted::Training,
        Idle::Control => NotCounted::Control,
    }
}

/// Returns a receipt with every sign turned: what takes it back, and what is taken back by it.
pub(crate) fn turned(receipt: &Receipt) -> Receipt {
    let mut other = receipt.clone();
    for line in &mut other.lines {
        *line = basket::reversed(line);
        line.adjustment_share_cents = -line.adjustment_share_cents;
    }
    for vat in &mut other.vat {
        vat.gross_cents = -vat.gross_cents;
        (vat.net_cents, vat.tax_cents) = (-vat.net_cents, -vat.tax_cents);
    }
    for part in &mut other.adjustments {
        part.cents = -part.cents;
    }
    for payment in &mut other.payments {
        payment.cents = -payment.cents;
    }
    other.tax_added_cents = -other.tax_added_cents;
    other.adjustment_cents = -other.adjustment_cents;
    other.total_cents = -other.total_cents;
    other
}

/// Tells whether a receipt takes back an earlier one.
pub(crate) fn is_receipt_void(receipt: &Receipt) -> bool {
    receipt.flags.iter().any(|flag| flag.as_str() == RECEIPT_VOID)
}

/// Numbers are given when all receipts of the minute are known: only then has the other one a name.
fn name_what_is_taken_back(receipts: &mut [Receipt]) {
    for at in 0..receipts.len() {
        let (earlier, later) = receipts.split_at_mut(at);
        let Some(void) = later.first_mut().filter(|one| is_receipt_void(one)) else { continue };
        let before = turned(void);
        let same =
            |one: &&Receipt| one.counts && one.till == before.till && one.lines == before.lines;
        let other = earlier.iter().rev().find(same);
        void.refers_to = other.map(|other| ReceiptReference {
            till: other.till.clone(),
            series: other.series.clone(),
            receipt: other.receipt.clone(),
        });
    }
}

/// Puts a float in, or takes money to the safe, or pays something in or out.
fn cash_move(dice: &mut ChaCha8Rng) -> CashMove {
    let (kind, cents) = match dice.random_range(0..4_u32) {
        0 => ("float", dice.random_range(20..=300_i64) * 100),
        1 => ("drop", dice.random_range(-20..=-1_i64) * 5000),
        2 => ("paid_in", dice.random_range(50..=9999_i64)),
        3.. => ("paid_out", dice.random_range(-9999..=-50_i64)),
    };
    CashMove { kind: Label::new(kind).expect("a word is a label"), cents: Cents(cents) }
}

/// Every minute has dice of its own, so that a shop can start at any of them.
fn dice(plan: &Plan, minute: Minute) -> ChaCha8Rng {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&plan.seed.to_be_bytes());
    seed[8..16].copy_from_slice(&minute.start().unix_millis().to_be_bytes());
    for (at, byte) in plan.store.as_str().bytes().enumerate() {
        seed[16 + at % 16] ^= byte;
    }
    ChaCha8Rng::from_seed(seed)
}

fn whole_second(at: Timestamp) -> Timestamp {
    at.minus(Duration::from_millis(u64::try_from(at.unix_millis().rem_euclid(1000)).unwrap_or(0)))
}

/// Returns the day that a till in this zone books on.
pub fn business_day(at: Timestamp, zone: Tz) -> BusinessDay {
    let since_midnight = CUT.signed_duration_since(NaiveTime::MIN);
    let local = at.utc().with_timezone(&zone).naive_local();
    BusinessDay::new((local - since_midnight).date())
}

/// Rounds half up, away from zero for negative numbers.
pub(crate) fn divided(product: i64, by: i64) -> i64 {
    (product.abs() + by / 2) / by * product.signum()
}

/// Returns the minutes from `first` on.
pub fn minutes_from(first: Minute, count: u32) -> impl Iterator<Item = Minute> {
    std::iter::successors(Some(first), |minute| Some(minute.next())).take(count as usize)
}

/// Returns the minute this many minutes before another one.
pub fn minutes_before(minute: Minute, count: u32) -> Minute {
    let span = TimeDelta::minutes(i64::from(count)).to_std().unwrap_or_default();
    minute.start().minus(span).minute()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rung_up_before_three_belongs_to_the_day_before() {
        for (at, day) in
            [("2026-11-23T01:59:59Z", "2026-11-22"), ("2026-11-23T02:00:00Z", "2026-11-23")]
        {
            let day: BusinessDay = day.parse().unwrap();
            assert_eq!(business_day(at.parse().unwrap(), chrono_tz::Europe::Berlin), day);
        }
    }

    #[test]
    fn halves_are_rounded_away_from_zero() {
        assert_eq!((divided(5, 2), divided(-5, 2), divided(4, 3)), (3, -3, 1));
    }
}
