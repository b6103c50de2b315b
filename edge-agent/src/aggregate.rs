//! Receipts and stock movements become store-minutes. Pure: `now` is an argument, nothing is read
//! or written. A receipt belongs to the minute in which it ended, never to that of its arrival.

use std::time::Duration;

use chrono::{Days, NaiveTime, Timelike};
use chrono_tz::Tz;
use shared::ids::{Label, StoreId};
use shared::minute::Closing;
use shared::money::{Cents, Milli};
use shared::receipt::{Receipt, StockMovement, SumFault};
use shared::time::{BusinessDay, Minute, Timestamp};

pub mod clock;
pub mod fold;
pub mod mapping;
pub mod open;

/// How far ahead of our clock a till may be before its times are moved back to now.
const AHEAD_MOST: Duration = Duration::from_secs(600);

/// Cents or thousandths that one figure of a receipt may have: ten billions of a currency. What is
/// below can be summed up over any batch without leaving 64 bits.
const FIGURE_MOST: u64 = 1_000_000_000_000;

/// Where a receipt or movement belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The minute in which it ended.
    pub minute: Minute,
    /// The day that it is booked on.
    pub business_day: BusinessDay,
    /// Whether it goes alone in its batch, so that the centre can refuse it alone.
    pub company: Company,
}

/// What a receipt shares its batch with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Company {
    /// All others of its minute.
    Shared,
    /// Nothing: it ended before the buffer was made, something else may have counted it.
    Alone,
}

/// Why a receipt or movement is set aside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misplaced {
    /// It is of another store.
    #[error("it is of store {found}, this agent is of store {own}")]
    OtherStore {
        /// The store that it names.
        found: StoreId,
        /// The agent's store.
        own: StoreId,
    },
    /// Its business day is too long ago to be compared with what was counted.
    #[error("its business day {day} lies before the oldest accepted one, {oldest}")]
    TooOld {
        /// Its day.
        day: BusinessDay,
        /// The first day accepted.
        oldest: BusinessDay,
    },
    /// Its figures contradict each other.
    #[error("it does not add up: {0}")]
    Sums(SumFault),
    /// The shares of its lines do not make its adjustments.
    #[error("the lines' shares make {shares}, the adjustments are {adjustments}")]
    Shares {
        /// Sum over the lines.
        shares: Cents,
        /// What they must make.
        adjustments: Cents,
    },
    /// A figure that no till rings up.
    #[error("a figure of it is beyond all that a till rings up")]
    Implausible,
    /// A quantity with the wrong sign for its kind.
    #[error("{quantity} has the wrong sign for a movement of kind {kind}")]
    Sign {
        /// The kind.
        kind: String,
        /// The quantity.
        quantity: Milli,
    },
}

/// What decides where things belong.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The agent's store.
    pub store: StoreId,
    /// Which business days are accepted.
    pub oldest: Oldest,
    /// Zone of the store.
    pub zone: Tz,
    /// Local time at which a business day begins.
    pub business_day_cut: NaiveTime,
    /// Receipts that ended before this go alone.
    pub counted_since: Option<Timestamp>,
}

/// The first business day that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oldest {
    /// This one.
    Day(BusinessDay),
    /// So many days back from today. While nobody knows which day that is, all are accepted.
    DaysBack(u64),
}

impl Oldest {
    fn day(self, now: Option<Timestamp>) -> Option<BusinessDay> {
        match self {
            Self::Day(day) => Some(day),
            Self::DaysBack(days) => {
                let today = now?.utc().date_naive();
                today.checked_sub_days(Days::new(days)).map(BusinessDay::new)
            }
        }
    }
}

impl Rules {
    /// Finds a receipt's place, or the reason to set it aside. One from the future is moved to now,
    /// where our own clock is believed: without one its time stays.
    pub fn place_receipt(
        &self,
        receipt: &mut Receipt,
        now: Option<Timestamp>,
    ) -> Result<Place, Misplaced> {
        if receipt.store != self.store {
            let (found, own) = (receipt.store.clone(), self.store.clone());
            return Err(Misplaced::OtherStore { found, own });
        }
        self.check_day(receipt.business_day, now)?;
        if receipt.counts {
            check_figures(receipt)?;
        }
        if let Some(now) = moved_to(receipt.ended_at, now) {
            receipt.ended_at = now;
            receipt.flags.push(Label::new("clock_ahead").expect("a short word is a label"));
        }
        let early = self.counted_since.is_some_and(|since| receipt.ended_at < since);
        let company = if early && receipt.counts { Company::Alone } else { Company::Shared };
        let minute = receipt.ended_at.minute();
        Ok(Place { minute, business_day: receipt.business_day, company })
    }

    /// Finds a movement's place, or the reason to set it aside.
    pub fn place_movement(
        &self,
        movement: &StockMovement,
        now: Option<Timestamp>,
    ) -> Result<Place, Misplaced> {
        let quantity = movement.quantity_milli;
        if quantity.0.signum() * movement.kind.sign() < 0 {
            return Err(Misplaced::Sign { kind: movement.kind.to_string(), quantity });
        }
        if quantity.0.unsigned_abs() > FIGURE_MOST {
            return Err(Misplaced::Implausible);
        }
        let at = moved_to(movement.occurred_at, now).unwrap_or(movement.occurred_at);
        let business_day = self.business_day(at);
        self.check_day(business_day, now)?;
        Ok(Place { minute: at.minute(), business_day, company: Company::Shared })
    }

    /// Finds a closing's place, or the reason to set it aside: the minute in which it was made.
    pub fn place_closing(
        &self,
        closing: &Closing,
        now: Option<Timestamp>,
    ) -> Result<Place, Misplaced> {
        let cases = closing.cases.iter().flat_map(|case| [case.gross, case.net, case.tax]);
        let payments = closing.payments.iter().map(|payment| payment.cents);
        let moves = closing.cash_moves.iter().map(|moved| moved.cents);
        let mut all = cases.chain(payments).chain(moves).chain([closing.total_cents]);
        if !all.all(|cents| cents.0.unsigned_abs() <= FIGURE_MOST) {
            return Err(Misplaced::Implausible);
        }
        let at = moved_to(closing.closed_at, now).unwrap_or(closing.closed_at);
        let business_day = self.business_day(at);
        self.check_day(business_day, now)?;
        Ok(Place { minute: at.minute(), business_day, company: Company::Shared })
    }

    fn check_day(&self, day: BusinessDay, now: Option<Timestamp>) -> Result<(), Misplaced> {
        match self.oldest.day(now) {
            Some(oldest) if day < oldest => Err(Misplaced::TooOld { day, oldest }),
            Some(_) | None => Ok(()),
        }
    }

    /// Returns local time minus the cut, as a day.
    fn business_day(&self, at: Timestamp) -> BusinessDay {
        let local = at.utc().with_timezone(&self.zone).naive_local();
        let cut = chrono::TimeDelta::seconds(i64::from(
            self.business_day_cut.num_seconds_from_midnight(),
        ));
        BusinessDay::new((local - cut).date())
    }
}

/// Returns now where a time lies too far ahead of it.
fn moved_to(at: Timestamp, now: Option<Timestamp>) -> Option<Timestamp> {
    now.filter(|now| at > now.plus(AHEAD_MOST))
}

/// Checks again what the decoder has settled: nothing that does not add up may reach the buffer.
fn check_figures(receipt: &Receipt) -> Result<(), Misplaced> {
    if !figures(receipt).all(|figure| figure.unsigned_abs() <= FIGURE_MOST) {
        return Err(Misplaced::Implausible);
    }
    receipt.check_sums().map_err(Misplaced::Sums)?;
    let shares: Cents = receipt.lines.iter().map(|line| line.adjustment_share_cents).sum();
    let adjustments = receipt.adjustment_cents;
    if shares != adjustments {
        return Err(Misplaced::Shares { shares, adjustments });
    }
    Ok(())
}

fn figures(receipt: &Receipt) -> impl Iterator<Item = i64> + '_ {
    let lines = receipt.lines.iter().flat_map(|line| {
        let amounts = [line.amount_cents, line.discount_cents, line.adjustment_share_cents];
        amounts.into_iter().map(|cents| cents.0).chain([line.quantity_milli.0])
    });
    let vat = receipt.vat.iter().flat_map(|vat| [vat.gross_cents, vat.net_cents, vat.tax_cents]);
    let totals = [receipt.tax_added_cents, receipt.adjustment_cents, receipt.total_cents];
    let adjustments = receipt.adjustments.iter().map(|adjustment| adjustment.cents);
    let payments = receipt.payments.iter().map(|payment| payment.cents);
    let all = vat.chain(totals).chain(adjustments).chain(payments);
    lines.chain(all.map(|cents| cents.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            store: StoreId::new("10").unwrap(),
            oldest: Oldest::Day("2026-01-01".parse().unwrap()),
            zone: Tz::Europe__Berlin,
            business_day_cut: NaiveTime::from_hms_opt(3, 0, 0).unwrap(),
            counted_since: Some(at("2026-11-23T08:00:00Z")),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn receipt(ended_at: &str) -> Receipt {
        let json = format!(
            r#"{{"store":"10","till":"3","series":"s","receipt":"1","business_day":"2026-11-23",
            "ended_at":"{ended_at}","counts":true,"lines":[{{"position":1,"article":"own:1","kind":"sale",
            "unit":"pcs","quantity_milli":1000,"amount_cents":199}}],"total_cents":199}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn a_receipt_from_the_future_is_moved_to_now_and_flagged() {
        let now = at("2026-11-23T10:00:30Z");
        let mut ahead = receipt("2026-11-23T10:10:31Z");
        let place = rules().place_receipt(&mut ahead, Some(now)).unwrap();
        assert_eq!((place.minute, ahead.ended_at), (now.minute(), now));
        assert_eq!(ahead.flags[0].as_str(), "clock_ahead");
        let mut near = receipt("2026-11-23T10:10:30Z");
        let place = rules().place_receipt(&mut near, Some(now)).unwrap();
        assert_eq!(place.minute.to_string(), "2026-11-23T10:10:00Z");
        assert!(near.flags.is_empty());
    }

    #[test]
    fn what_ended_before_the_buffer_was_made_goes_alone() {
        let now = at("2026-11-23T10:00:00Z");
        for (ended, company) in
            [("2026-11-23T07:59:59Z", Company::Alone), ("2026-11-23T08:00:00Z", Company::Shared)]
        {
            let place = rules().place_receipt(&mut receipt(ended), Some(now)).unwrap();
            assert_eq!(place.company, company, "{ended}");
        }
    }

    #[test]
    fn what_cannot_be_counted_is_set_aside_with_the_reason() {
        let now = at("2026-11-23T10:00:00Z");
        let mut other = receipt("2026-11-23T09:00:00Z");
        other.store = StoreId::new("11").unwrap();
        let fault = rules().place_receipt(&mut other, Some(now)).unwrap_err();
        assert_eq!(fault.to_string(), "it is of store 11, this agent is of store 10");
        let mut old = receipt("2026-11-23T09:00:00Z");
        old.business_day = "2025-12-31".parse().unwrap();
        let fault = rules().place_receipt(&mut old, Some(now)).unwrap_err();
        assert!(matches!(fault, Misplaced::TooOld { .. }));
        let mut wrong = receipt("2026-11-23T09:00:00Z");
        wrong.total_cents = Cents(200);
        let fault = rules().place_receipt(&mut wrong, Some(now)).unwrap_err();
        assert!(matches!(fault, Misplaced::Sums(_)));
        let mut huge = receipt("2026-11-23T09:00:00Z");
        huge.lines[0].quantity_milli = Milli(i64::MIN);
        let fault = rules().place_receipt(&mut huge, Some(now)).unwrap_err();
        assert_eq!(fault, Misplaced::Implausible);
    }

    #[test]
    fn a_movement_is_booked_on_the_stores_own_day_and_has_its_kinds_sign() {
        let json = r#"{"id":"D/1","article":"own:1","kind":"waste","unit":"pcs","quantity_milli":-1000,
            "occurred_at":"2026-11-23T01:59:00Z"}"#;
        let mut movement: StockMovement = serde_json::from_str(json).unwrap();
        let now = at("2026-11-23T10:00:00Z");
        let place = rules().place_movement(&movement, Some(now)).unwrap();
        assert_eq!(place.business_day.to_string(), "2026-11-22");
        movement.quantity_milli = Milli(1000);
        let fault = rules().place_movement(&movement, Some(now)).unwrap_err();
        assert_eq!(fault.to_string(), "1.000 has the wrong sign for a movement of kind waste");
    }
}
