//! UTC instants, minutes, business days, and the only reader of the wall clock.
//!
//! In fake mode the clock is simulated: simulated = sim_start + (real - real_start) x speed. All
//! three lie in one file that every process of a stack reads, so a restarted one goes on where time
//! is. Backoff, broker and TLS times stay on the real clock.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta, Timelike, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not an RFC 3339 time with an offset.
    #[error("{0:?} is not an RFC 3339 time such as 2026-11-23T09:41:07Z")]
    NotTime(String),
    /// Not the start of a minute.
    #[error("{0:?} is not the start of a minute")]
    NotMinute(String),
    /// Not a date.
    #[error("{0:?} is not a date such as 2026-11-23")]
    NotDate(String),
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

/// An instant in UTC, exact to the microsecond, as databases keep it; years 1900 to 2200.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// Returns the instant with digits beyond the microsecond cut off.
    pub fn from_utc(at: DateTime<Utc>) -> Self {
        Self(at.with_nanosecond(at.nanosecond() / 1000 * 1000).unwrap_or(at))
    }

    /// Returns the instant that lies this many milliseconds after 1970.
    pub fn from_unix_millis(millis: i64) -> Option<Self> {
        DateTime::from_timestamp_millis(millis).map(Self)
    }

    /// Returns the milliseconds since 1970.
    pub fn unix_millis(self) -> i64 {
        self.0.timestamp_millis()
    }

    /// Returns the instant as chrono's type.
    pub fn utc(self) -> DateTime<Utc> {
        self.0
    }

    /// Returns the minute in which the instant lies.
    pub fn minute(self) -> Minute {
        let start = self.0.with_second(0).and_then(|at| at.with_nanosecond(0));
        Minute(Self(start.expect("every instant has the start of its minute")))
    }

    /// Returns the instant this much later.
    pub fn plus(self, span: Duration) -> Self {
        let delta = TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX);
        Self(self.0.checked_add_signed(delta).unwrap_or(DateTime::<Utc>::MAX_UTC))
    }

    /// Returns the instant this much earlier.
    pub fn minus(self, span: Duration) -> Self {
        let delta = TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX);
        Self(self.0.checked_sub_signed(delta).unwrap_or(DateTime::<Utc>::MIN_UTC))
    }

    /// Returns how long after `earlier` the instant lies, or zero where it lies before.
    pub fn since(self, earlier: Self) -> Duration {
        (self.0 - earlier.0).to_std().unwrap_or(Duration::ZERO)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl FromStr for Timestamp {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let parsed =
            DateTime::parse_from_rfc3339(text).map_err(|_| TimeError::NotTime(short(text)))?;
        let at = parsed.with_timezone(&Utc);
        let plausible = chrono::Datelike::year(&at);
        // A leap second would fall out of its minute in every database.
        if !(1900..2200).contains(&plausible) || at.nanosecond() >= 1_000_000_000 {
            return Err(TimeError::NotTime(short(text)));
        }
        Ok(Self::from_utc(at))
    }
}

/// The minute `[start, start + 60 s)` of UTC, written as its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minute(Timestamp);

impl Minute {
    /// Returns the first instant of the minute.
    pub fn start(self) -> Timestamp {
        self.0
    }

    /// Returns the first instant after the minute.
    pub fn end(self) -> Timestamp {
        self.0.plus(Duration::from_secs(60))
    }

    /// Returns the minute after this one.
    pub fn next(self) -> Self {
        Self(self.end())
    }

    /// Returns the minute before this one.
    pub fn previous(self) -> Self {
        Self(self.0.minus(Duration::from_secs(60)))
    }
}

impl fmt::Display for Minute {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl FromStr for Minute {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let at: Timestamp = text.parse()?;
        let minute = at.minute();
        if minute.start() == at { Ok(minute) } else { Err(TimeError::NotMinute(short(text))) }
    }
}

/// The day that a till books a receipt on; not always the calendar day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BusinessDay(NaiveDate);

impl BusinessDay {
    /// Makes a business day of a date.
    pub fn new(date: NaiveDate) -> Self {
        Self(date)
    }

    /// Returns the date.
    pub fn date(self) -> NaiveDate {
        self.0
    }
}

impl fmt::Display for BusinessDay {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl FromStr for BusinessDay {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let bad = || TimeError::NotDate(short(text));
        if text.len() != 10 {
            return Err(bad());
        }
        let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| bad())?;
        if (1900..2200).contains(&chrono::Datelike::year(&date)) {
            Ok(Self(date))
        } else {
            Err(bad())
        }
    }
}

macro_rules! time_as_text {
    ($name:ident, $format:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format })
            }
        }
    };
}
time_as_text!(Timestamp, "date-time");
time_as_text!(Minute, "date-time");
time_as_text!(BusinessDay, "date");

/// Time that runs faster: what `clock.json` of a stack holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Simulation {
    /// The simulated instant at `real_start`.
    pub sim_start: Timestamp,
    /// The real instant at which the simulation began.
    pub real_start: Timestamp,
    /// Simulated seconds per real second, at least 1.
    pub speed: u32,
}

impl Simulation {
    /// Returns the simulated instant at a real one.
    pub fn at(&self, real: Timestamp) -> Timestamp {
        self.sim_start.plus(real.since(self.real_start).saturating_mul(self.speed.max(1)))
    }
}

/// Why a clock file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// The file cannot be read.
    #[error("cannot read the clock file {path}")]
    Read {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a simulation.
    #[error("the clock file {path} holds no simulation (sim_start, real_start, speed)")]
    Parse {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
}

/// The wall clock, real or simulated.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock(Option<Simulation>);

impl Clock {
    /// Returns the real clock.
    pub fn real() -> Self {
        Self(None)
    }

    /// Returns a simulated clock.
    pub fn simulated(simulation: Simulation) -> Self {
        Self(Some(simulation))
    }

    /// Reads the simulation from a file.
    pub fn from_file(path: &Path) -> Result<Self, ClockError> {
        let name = path.display().to_string();
        let text = std::fs::read(path)
            .map_err(|source| ClockError::Read { path: name.clone(), source })?;
        let simulation = serde_json::from_slice(&text)
            .map_err(|source| ClockError::Parse { path: name, source })?;
        Ok(Self(Some(simulation)))
    }

    /// Returns now.
    pub fn now(&self) -> Timestamp {
        let real = real_now();
        self.0.map_or(real, |simulation| simulation.at(real))
    }

    /// Tells whether the time is simulated.
    pub fn is_simulated(&self) -> bool {
        self.0.is_some()
    }

    /// Returns how long a span of this clock takes in real time.
    pub fn real_span(&self, span: Duration) -> Duration {
        span / self.speed()
    }

    /// Returns how many seconds of this clock pass in a real second.
    pub fn speed(&self) -> u32 {
        self.0.map_or(1, |simulation| simulation.speed.max(1))
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn real_now() -> Timestamp {
    Timestamp::from_utc(SystemTime::now().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_minute_holds_its_start_and_not_its_end() {
        let minute = at("2026-11-23T09:41:59.999999Z").minute();
        assert_eq!(minute.to_string(), "2026-11-23T09:41:00Z");
        assert_eq!(at("2026-11-23T09:42:00Z").minute(), minute.next());
        assert_eq!(at("1969-12-31T23:59:30Z").minute().to_string(), "1969-12-31T23:59:00Z");
        assert_eq!(
            "2026-11-23T09:41:01Z".parse::<Minute>().map_err(|e| e.to_string()).unwrap_err(),
            "\"2026-11-23T09:41:01Z\" is not the start of a minute"
        );
    }

    #[test]
    fn simulated_time_starts_where_it_should_and_runs_faster() {
        let simulation = Simulation {
            sim_start: at("2026-11-20T08:00:00Z"),
            real_start: at("2026-11-23T10:00:00Z"),
            speed: 30,
        };
        assert_eq!(simulation.at(at("2026-11-23T10:00:02Z")), at("2026-11-20T08:01:00Z"));
        assert_eq!(simulation.at(at("2026-11-23T09:00:00Z")), at("2026-11-20T08:00:00Z"));
        assert_eq!(
            Clock::simulated(simulation).real_span(Duration::from_secs(60)),
            Duration::from_secs(2)
        );
    }

    #[test]
    fn times_far_off_and_half_dates_are_refused() {
        for text in
            ["0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z", "2026-11-23", "2026-11-23T09:41:60Z"]
        {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
        for text in ["2026-1-1", "2026-02-30", "+2026-01-01", "2026-11-23T00:00:00Z"] {
            assert!(text.parse::<BusinessDay>().is_err(), "{text}");
        }
        assert_eq!(at("2026-11-23T10:41:07+01:00").to_string(), "2026-11-23T09:41:07Z");
    }
}
