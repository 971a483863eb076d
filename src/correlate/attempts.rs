//! The attempts of one request, where the caller's format does not say how many there were.

use crate::model::{ClockOffset, Leg, Observer, ROUNDING_US, Timestamp};

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

    /// Place of the one among `free` that came right before the first known one, or right after the last if that failed.
    pub fn next(&self, free: &[(usize, &Leg)]) -> Option<usize> {
        // Start times and durations are cut off to whole milliseconds each.
        let slack_us = 2 * ROUNDING_US;
        let during = |l: &Leg| l.observer == *self.observer && l.start >= self.from && l.end() <= self.to;
        let before = |l: &Leg| failed(l) && l.end() <= self.first.start.plus_us(slack_us);
        let after = |l: &Leg| failed(self.last) && l.start.plus_us(slack_us) >= self.last.end();
        let under_way = || free.iter().filter(|(_, l)| during(l));
        let earlier = under_way().filter(|(_, l)| before(l)).max_by_key(|(_, l)| (l.start, l.id));
        let later = || under_way().filter(|(_, l)| after(l)).min_by_key(|(_, l)| (l.start, l.id));
        earlier.or_else(later).map(|(place, _)| *place)
    }
}

fn failed(leg: &Leg) -> bool {
    leg.status.is_none_or(|status| status >= 500)
}
