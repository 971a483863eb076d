//! Time as microseconds since the Unix epoch, in UTC, and the only place that asks the machine what time it is.
//!
//! Deciding is pure: whoever needs "now" is handed a [`Timestamp`] or a [`Clock`]. `clippy.toml` bans `Utc::now` and
//! `SystemTime::now` everywhere else.

use chrono::{DateTime, SecondsFormat, Utc};
use std::fmt;
use std::str::FromStr;

/// Microseconds since 1970-01-01T00:00:00Z. Never rewritten: each leg keeps its own observer's clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The largest time that every format of ours can print (the end of the year 9999).
    pub const MAX: Timestamp = Timestamp(253_402_300_799_999_999);

    pub fn from_millis(ms: i64) -> Self {
        Timestamp(ms.saturating_mul(1_000))
    }

    pub fn micros(self) -> i64 {
        self.0
    }

    pub fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    pub fn plus_us(self, us: i64) -> Self {
        Timestamp(self.0.saturating_add(us))
    }

    /// Start of the UTC hour that holds this time: the unit in which coverage is measured.
    pub fn hour(self) -> Self {
        Timestamp(self.0.div_euclid(3_600_000_000) * 3_600_000_000)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::<Utc>::from_timestamp_micros(self.0) {
            Some(t) => f.write_str(&t.to_rfc3339_opts(SecondsFormat::Micros, true)),
            None => write!(f, "{}us", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is accepted where a person writes a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time: write RFC 3339, as 2026-11-24T02:56:50Z, or a date, as 2026-11-24")]
pub struct ParseTimeError(String);

impl FromStr for Timestamp {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(t) = DateTime::parse_from_rfc3339(text) {
            return Ok(Timestamp(t.timestamp_micros()));
        }
        chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .ok()
            .and_then(|d| d.and_hms_opt(0, 0, 0))
            .map(|t| Timestamp(t.and_utc().timestamp_micros()))
            .ok_or_else(|| ParseTimeError(text.chars().take(80).collect()))
    }
}

/// Source of the current time; tests hand in their own.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place where time enters")]
    fn now(&self) -> Timestamp {
        Timestamp(Utc::now().timestamp_micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_prints_as_it_was_written() {
        let text = "2026-11-24T02:56:50.647913Z";
        assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
    }

    #[test]
    fn an_offset_is_turned_into_utc() {
        let t: Timestamp = "2026-11-24T03:56:50+01:00".parse().unwrap();
        assert_eq!(t.to_string(), "2026-11-24T02:56:50.000000Z");
    }

    #[test]
    fn an_error_says_what_to_write_instead() {
        let error = "yesterday".parse::<Timestamp>().unwrap_err().to_string();
        assert!(error.contains("2026-11-24T02:56:50Z"), "{error}");
    }
}
