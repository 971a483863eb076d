//! Times as the senders write them: RFC 3339 with any fraction, and numbers since the epoch in any unit.
//!
//! Logpush offers `unix`, `unixnano`, `rfc3339`, `rfc3339ms` and `rfc3339ns`. The unit of a number is told by its size: the
//! same moment differs by a factor of a thousand between units, and the ranges chosen here stay apart until the year 5138.

use super::wire_object::Number;
use crate::model::{LegFields, Timestamp};
use chrono::DateTime;

/// Ten years: nothing that is called once takes longer, and no sum of it with a time overflows.
const MAX_DURATION_US: i64 = 10 * 366 * 86_400 * 1_000_000;

/// `None` for anything that is no time between 1970 and the year 9999.
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        return from_number(number);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return in_range(time.timestamp_micros());
    }
    seconds_with_fraction(text)
}

/// Seconds, milliseconds, microseconds or nanoseconds since the epoch.
pub fn from_number(number: i64) -> Option<Timestamp> {
    match number {
        ..0 => None,
        0..100_000_000_000 => in_range(number * 1_000_000),
        100_000_000_000..100_000_000_000_000 => in_range(number * 1_000),
        100_000_000_000_000..100_000_000_000_000_000 => in_range(number),
        _ => in_range(number / 1_000),
    }
}

/// `1795486042.097700000`, Envoy's `%START_TIME(%s.%9f)%`.
fn seconds_with_fraction(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.')?;
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) {
        return None;
    }
    let seconds: i64 = seconds.parse().ok()?;
    let micros: i64 = format!("{fraction:0<6}")[..6].parse().ok()?;
    in_range(seconds.checked_mul(1_000_000)?.checked_add(micros)?)
}

/// `None` for what is no time between 1970 and the year 9999.
pub fn in_range(micros: i64) -> Option<Timestamp> {
    (0..=Timestamp::MAX.0).contains(&micros).then_some(Timestamp(micros))
}

/// A duration in milliseconds; `None` where it is negative or longer than ten years.
pub fn duration_us(ms: Number) -> Option<i64> {
    ms.0?.checked_mul(1_000).filter(|us| (0..=MAX_DURATION_US).contains(us))
}

/// Drops a duration that cannot be, or that would end after the year 9999: whoever joins legs adds to their ends.
pub fn without_impossible_duration(mut leg: LegFields) -> LegFields {
    let holds = |us: &i64| (0..=MAX_DURATION_US).contains(us) && leg.start.0 + us <= Timestamp::MAX.0;
    leg.duration_us = leg.duration_us.filter(holds);
    leg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formats_of_logpush_name_the_same_moment() {
        for text in [
            "1795489010",
            "1795489010000",
            "1795489010000000000",
            "2026-11-24T02:56:50Z",
            "2026-11-24T02:56:50.000Z",
            "2026-11-24T02:56:50.000000000Z",
            "1795489010.000",
        ] {
            assert_eq!(parse(text), Some(Timestamp(1_795_489_010_000_000)), "{text}");
        }
    }

    #[test]
    fn a_fraction_is_kept_to_the_microsecond() {
        assert_eq!(parse("1795486042.0977009"), Some(Timestamp(1_795_486_042_097_700)));
        assert_eq!(parse("2026-11-24T02:56:50.6479139Z"), Some(Timestamp(1_795_489_010_647_913)));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in
            ["", "-1", "soon", "1.", ".5", "99999999999999999999", "2026-13-01T00:00:00Z", "9999999999999.9é"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
