//! The attempts of one request, where the caller's format does not say how many there were.

use crate::model::{ClockOffset, Leg, Observer, Timestamp};

/// While a request was under way, by the clock of the proxy that served one of its attempts.
pub struct During<'a> {
    observer: &'a Observer,
    from: Timestamp,
    to: Timestamp,
}

impl<'a> During<'a> {
    pub fn new(client: &Leg, attempt: &'a Leg) -> Self {
        let offset = ClockOffset::between(client, attempt);
        let (from, to) = (client.start.plus_us(offset.lower_us), client.end().plus_us(offset.upper_us));
        During { observer: &attempt.observer, from, to }
    }

    pub fn holds(&self, server: &Leg) -> bool {
        server.observer == *self.observer && server.start >= self.from && server.end() <= self.to
    }
}

/// One after the other, and each failed but the last.
pub fn are_attempts(row: &[&Leg]) -> bool {
    let failed = |leg: &Leg| leg.status.is_none_or(|status| status >= 500);
    row.windows(2).all(|two| failed(two[0]) && two[0].end() <= two[1].start.plus_us(2_000))
}
