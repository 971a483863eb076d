//! The attempts of one request, where the caller's format does not say how many there were.

use crate::model::{ClockOffset, Leg, Observer, Timestamp};

/// Start times and durations are cut off to whole milliseconds each.
const ROUNDING_US: i64 = 2_000;

/// The attempts of a request that are known so far. All times are by the clock of the proxy that served them.
pub struct Attempts<'a> {
    observer: &'a Observer,
    /// While the request was under way.
    from: Timestamp,
    to: Timestamp,
    first: &'a Leg,
    last: &'a Leg,
}

impl<'a> Attempts<'a> {
    /// `known` must not be empty.
    pub fn new(client: &Leg, known: &[&'a Leg]) -> Self {
        let first = known.iter().copied().min_by_key(|l| (l.start, l.id)).expect("an attempt is known");
        let last = known.iter().copied().max_by_key(|l| (l.start, l.id)).expect("an attempt is known");
        let bounds = known.iter().map(|l| ClockOffset::between(client, l));
        let offset = bounds.reduce(|a, b| a.and(b).unwrap_or(a)).expect("an attempt is known");
        let (from, to) = (client.start.plus_us(offset.lower_us), client.end().plus_us(offset.upper_us));
        Attempts { observer: &first.observer, from, to, first, last }
    }

    /// The one among `free` that came right before the first known one, or right after the last if that failed.
    pub fn next<'b>(&self, free: &[&'b Leg]) -> Option<&'b Leg> {
        let during = |l: &&&Leg| l.observer == *self.observer && l.start >= self.from && l.end() <= self.to;
        let before = |l: &&&Leg| failed(l) && l.end() <= self.first.start.plus_us(ROUNDING_US);
        let after = |l: &&&Leg| failed(self.last) && l.start.plus_us(ROUNDING_US) >= self.last.end();
        let earlier = free.iter().filter(during).filter(before).max_by_key(|l| (l.start, l.id));
        let later = || free.iter().filter(during).filter(after).min_by_key(|l| (l.start, l.id));
        earlier.or_else(later).copied()
    }
}

fn failed(leg: &Leg) -> bool {
    leg.status.is_none_or(|status| status >= 500)
}
