//! Local times of tills become instants. Pure. The hour that a night in October has twice is told
//! apart by order within the till (a later receipt did not end earlier) and flagged; the hour that a
//! night in March does not have is read as if the clock had not been moved, and flagged.

use std::collections::BTreeMap;

use chrono::{Duration, NaiveDateTime, NaiveTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;
use shared::ids::{ReceiptNumber, TillId};
use shared::time::{BusinessDay, Timestamp};

/// Flag of a receipt whose local time exists twice.
pub const AMBIGUOUS: &str = "clock_ambiguous";
/// Flag of a receipt whose local time does not exist.
pub const MISSING_HOUR: &str = "clock_missing_hour";

/// Tills whose last receipt is remembered; no store has as many.
const TILLS_MAX: usize = 1024;

/// A time that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time such as 2026-11-23T10:41:07, with or without an offset")]
pub struct StampError(String);

impl StampError {
    fn new(text: &str) -> Self {
        Self(text.chars().take(40).collect())
    }
}

/// A till's time as it stands in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// A time with an offset: taken as it is.
    Instant(Timestamp),
    /// A time of the till's own clock.
    Local(NaiveDateTime),
}

impl Stamp {
    /// Parses a time.
    pub fn parse(text: &str) -> Result<Self, StampError> {
        if let Ok(instant) = text.parse() {
            return Ok(Self::Instant(instant));
        }
        let local = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")
            .map_err(|_| StampError::new(text))?;
        // The bounds of an instant are those of a local time, a day aside.
        plausible(Utc.from_utc_datetime(&local)).ok_or_else(|| StampError::new(text))?;
        Ok(Self::Local(local))
    }

    /// Returns the time on a clock of this zone.
    pub fn local(self, zone: Tz) -> NaiveDateTime {
        match self {
            Self::Instant(instant) => instant.utc().with_timezone(&zone).naive_local(),
            Self::Local(local) => local,
        }
    }

    /// Returns the instant of a time that no till's order tells more of: of two the first, and in an
    /// hour that does not exist as if the clock had stayed.
    pub fn alone(self, zone: Tz) -> Result<Timestamp, StampError> {
        let found = match self {
            Self::Instant(instant) => Some(instant),
            Self::Local(local) => match zone.from_local_datetime(&local).earliest() {
                Some(at) => plausible(at.with_timezone(&Utc)),
                None => Stamps::new(zone).in_gap(local),
            },
        };
        found.ok_or_else(|| StampError::new(&self.local(zone).to_string()))
    }

    /// Returns the business day of the time, which begins at `cut`.
    pub fn business_day(self, zone: Tz, cut: NaiveTime) -> BusinessDay {
        let since_midnight = cut.signed_duration_since(NaiveTime::MIN);
        BusinessDay::new((self.local(zone) - since_midnight).date())
    }
}

/// Returns the instant where it is one that [`Timestamp`] may hold.
fn plausible(at: chrono::DateTime<Utc>) -> Option<Timestamp> {
    Timestamp::from_utc(at).to_string().parse().ok()
}

/// A receipt's place in the order of its till.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The register.
    pub till: TillId,
    /// The day that it books the receipt on.
    pub business_day: BusinessDay,
    /// The receipt's number.
    pub number: ReceiptNumber,
}

#[derive(Debug, Clone)]
struct Last {
    order: (BusinessDay, Option<u64>),
    at: Timestamp,
}

/// What is known of the tills' clocks.
#[derive(Debug)]
pub struct Stamps {
    zone: Tz,
    last: BTreeMap<TillId, Last>,
}

impl Stamps {
    /// Knows nothing yet.
    pub fn new(zone: Tz) -> Self {
        Self { zone, last: BTreeMap::new() }
    }

    /// Returns the instant of a time and the flag that it earns.
    pub fn resolve(
        &mut self,
        stamp: Stamp,
        place: &Place,
    ) -> Result<(Timestamp, Option<&'static str>), StampError> {
        let (at, flag) = match stamp {
            Stamp::Instant(instant) => (Some(instant), None),
            Stamp::Local(local) => self.local(local, place),
        };
        let at = at.ok_or_else(|| StampError::new(&stamp.local(self.zone).to_string()))?;
        self.remember(place, at);
        Ok((at, flag))
    }

    fn local(
        &self,
        local: NaiveDateTime,
        place: &Place,
    ) -> (Option<Timestamp>, Option<&'static str>) {
        let instant = |at: chrono::DateTime<Tz>| plausible(at.with_timezone(&Utc));
        match self.zone.from_local_datetime(&local) {
            chrono::LocalResult::Single(at) => (instant(at), None),
            chrono::LocalResult::Ambiguous(first, second) => {
                let (first, second) = (instant(first), instant(second));
                let is_second = first.is_some_and(|first| self.ended_after(place, first));
                (if is_second { second } else { first }, Some(AMBIGUOUS))
            }
            chrono::LocalResult::None => (self.in_gap(local), Some(MISSING_HOUR)),
        }
    }

    /// Tells whether an earlier receipt of the till ended after this instant.
    fn ended_after(&self, place: &Place, at: Timestamp) -> bool {
        let order = (place.business_day, place.number.as_number());
        self.last.get(&place.till).is_some_and(|last| last.order < order && at < last.at)
    }

    /// Reads a time that no clock showed by the offset that held before the gap.
    fn in_gap(&self, local: NaiveDateTime) -> Option<Timestamp> {
        let before = local.checked_sub_signed(Duration::hours(3))?;
        let offset = self.zone.from_local_datetime(&before).latest()?.offset().fix();
        plausible(offset.from_local_datetime(&local).single()?.with_timezone(&Utc))
    }

    fn remember(&mut self, place: &Place, at: Timestamp) {
        let order = (place.business_day, place.number.as_number());
        if self.last.get(&place.till).is_some_and(|last| last.order > order) {
            return;
        }
        if self.last.len() >= TILLS_MAX && !self.last.contains_key(&place.till) {
            self.last.pop_first();
        }
        self.last.insert(place.till.clone(), Last { order, at });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(
        stamps: &mut Stamps,
        day: &str,
        number: &str,
        time: &str,
    ) -> (String, Option<&'static str>) {
        let place = Place {
            till: TillId::new("1").unwrap(),
            business_day: day.parse().unwrap(),
            number: ReceiptNumber::new(number).unwrap(),
        };
        let (at, flag) = stamps.resolve(Stamp::parse(time).unwrap(), &place).unwrap();
        (at.to_string(), flag)
    }

    #[test]
    fn the_hour_that_comes_twice_is_told_apart_by_the_order_within_the_till() {
        let mut stamps = Stamps::new(chrono_tz::Europe::Berlin);
        for (number, local, utc, flag) in [
            ("1", "2026-10-25T01:59:00", "2026-10-24T23:59:00Z", None),
            ("2", "2026-10-25T02:10:00", "2026-10-25T00:10:00Z", Some(AMBIGUOUS)),
            ("3", "2026-10-25T02:50:00", "2026-10-25T00:50:00Z", Some(AMBIGUOUS)),
            ("4", "2026-10-25T02:20:00", "2026-10-25T01:20:00Z", Some(AMBIGUOUS)),
            ("5", "2026-10-25T02:55:00", "2026-10-25T01:55:00Z", Some(AMBIGUOUS)),
            // A copy of an earlier receipt keeps the first hour.
            ("2", "2026-10-25T02:10:00", "2026-10-25T00:10:00Z", Some(AMBIGUOUS)),
            ("6", "2026-10-25T03:00:00", "2026-10-25T02:00:00Z", None),
            ("7", "2026-10-25T02:10:00+02:00", "2026-10-25T00:10:00Z", None),
        ] {
            let found = resolve(&mut stamps, "2026-10-24", number, local);
            assert_eq!(found, (utc.to_owned(), flag), "{number} {local}");
        }
    }

    #[test]
    fn the_hour_that_does_not_exist_is_read_as_if_the_clock_had_stayed() {
        let mut stamps = Stamps::new(chrono_tz::Europe::Berlin);
        let found = resolve(&mut stamps, "2026-03-29", "1", "2026-03-29T02:30:00");
        assert_eq!(found, ("2026-03-29T01:30:00Z".to_owned(), Some(MISSING_HOUR)));
    }

    #[test]
    fn the_business_day_changes_at_the_cut_and_not_at_midnight() {
        let cut = NaiveTime::from_hms_opt(3, 0, 0).unwrap();
        for (time, day) in [
            ("2026-11-23T02:59:59", "2026-11-22"),
            ("2026-11-23T03:00:00", "2026-11-23"),
            ("2026-11-23T01:59:59Z", "2026-11-22"),
        ] {
            let stamp = Stamp::parse(time).unwrap();
            assert_eq!(stamp.business_day(chrono_tz::Europe::Berlin, cut).to_string(), day);
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2026-11-23",
            "2026-02-30T10:00:00",
            "0001-01-01T00:00:00",
            "9999-12-31T23:59:59",
            "2026-11-23T10:41:60",
        ] {
            assert!(Stamp::parse(text).is_err(), "{text}");
        }
    }
}
