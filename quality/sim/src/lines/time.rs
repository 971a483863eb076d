//! Times as each program prints them.

use chrono::{DateTime, SecondsFormat};

/// `2026-11-24T02:56:50.676173Z`, as the recommended format asks of Envoy.
pub fn micros(at_us: i64) -> String {
    rfc3339(at_us, SecondsFormat::Micros)
}

/// `2026-11-24T02:56:50.676Z`: Envoy's own `%START_TIME%`, and Logpush's `rfc3339ms`. Both cut, neither rounds.
pub fn millis(at_us: i64) -> String {
    rfc3339(at_us, SecondsFormat::Millis)
}

/// `2026-11-27T03:20:30Z`, a certificate's date.
pub fn seconds(at_s: i64) -> String {
    rfc3339(at_s * 1_000_000, SecondsFormat::Secs)
}

/// A Worker's numbers.
pub fn epoch_ms(at_us: i64) -> i64 {
    at_us.div_euclid(1_000)
}

fn rfc3339(at_us: i64, precision: SecondsFormat) -> String {
    DateTime::from_timestamp_micros(at_us).unwrap_or_default().to_rfc3339_opts(precision, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_moment_as_each_program_prints_it() {
        let at_us = 1_795_489_010_676_973;
        assert_eq!(micros(at_us), "2026-11-24T02:56:50.676973Z");
        assert_eq!(millis(at_us), "2026-11-24T02:56:50.676Z");
        assert_eq!(seconds(at_us / 1_000_000), "2026-11-24T02:56:50Z");
        assert_eq!(epoch_ms(at_us), 1_795_489_010_676);
    }

    #[test]
    fn a_fraction_of_zeros_is_printed_in_full() {
        assert_eq!(micros(1_795_489_010_000_000), "2026-11-24T02:56:50.000000Z");
    }
}
