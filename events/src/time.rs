//! Instants: microseconds inside, RFC 3339 in UTC outside. And the days that they fall on.

use core::time::Duration;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
#[schemars(with = "String", extend("format" = "date-time"))]
pub struct Timestamp(pub i64);

/// A day in UTC, counted from 1970-01-01.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i64);

const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

/// A text that is no day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no day such as 2026-11-23")]
pub struct BadDay(String);

/// A text that is no instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no RFC 3339 instant such as 2026-11-23T10:00:00Z")]
pub struct BadTimestamp(String);

/// What something took, in milliseconds to the nearest, so that many that took little add up.
pub fn took_ms(duration: Duration) -> u64 {
    let nearest = duration.saturating_add(Duration::from_micros(500));
    u64::try_from(nearest.as_millis()).unwrap_or(u64::MAX)
}

impl Timestamp {
    /// Microseconds since the epoch.
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// The day in UTC.
    pub fn date(self) -> jiff::civil::Date {
        self.to_jiff().to_zoned(jiff::tz::TimeZone::UTC).date()
    }

    /// The same, as a number.
    pub fn day(self) -> Day {
        Day(self.0.div_euclid(DAY_MICROS))
    }

    /// Milliseconds from `earlier` to here; zero if it is later.
    pub fn millis_since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0) / 1_000).unwrap_or(0)
    }

    /// The instant `ms` later.
    pub fn plus_millis(self, ms: u64) -> Self {
        let micros = i64::try_from(ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }

    fn to_jiff(self) -> jiff::Timestamp {
        let clamped = self
            .0
            .clamp(jiff::Timestamp::MIN.as_microsecond(), jiff::Timestamp::MAX.as_microsecond());
        jiff::Timestamp::from_microsecond(clamped).unwrap_or_default()
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Timestamp(self.0.saturating_mul(DAY_MICROS)).date())
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Day {
    type Err = BadDay;

    /// Takes what is written as a day is, and nothing else that may mean one.
    fn from_str(text: &str) -> Result<Self, BadDay> {
        format!("{text}T00:00:00Z")
            .parse::<Timestamp>()
            .map(Timestamp::day)
            .ok()
            .filter(|day| day.to_string() == text)
            .ok_or_else(|| BadDay(text.to_owned()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.to_jiff())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = BadTimestamp;

    fn from_str(text: &str) -> Result<Self, BadTimestamp> {
        text.parse::<jiff::Timestamp>()
            .map(|instant| Self(instant.as_microsecond()))
            .map_err(|_| BadTimestamp(text.to_owned()))
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_an_instant_is_rfc_3339_with_microseconds() {
        let instant = Timestamp(1_795_428_000_000_001);
        assert_eq!(instant.to_string(), "2026-11-23T10:00:00.000001Z");
        assert_eq!(instant.to_string().parse(), Ok(instant));
        assert_eq!(instant.date().to_string(), "2026-11-23");
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn a_day_is_read_as_it_is_written_and_begins_at_midnight() {
        let day: Day = "2026-11-23".parse().unwrap();
        let first = Timestamp(1_795_392_000_000_000);
        assert_eq!(first.to_string(), "2026-11-23T00:00:00.000000Z");
        assert_eq!((first.day(), Timestamp(first.0 - 1).day()), (day, Day(day.0 - 1)));
        assert_eq!((Timestamp(-1).day(), Day(-1).to_string()), (Day(-1), "1969-12-31".to_owned()));
        for text in ["2026-02-30", "20261123", "2026-11-23T10:00", "2026-11-23 ", "", "today"] {
            assert_eq!(text.parse::<Day>(), Err(BadDay(text.to_owned())), "{text}");
        }
    }
}
