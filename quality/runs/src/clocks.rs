//! Whether the bounds that a call sets to the difference of its two ends' clocks hold the true difference.

use calltrail::model::{Call, ClockOffset, Leg, ObserverKind, Side};
use calltrail_score::Tally;
use calltrail_sim::faults::ProxyClock;
use std::collections::HashMap;

/// Durations and start times are logged in whole milliseconds or microseconds; the difference is known no better.
const RESOLUTION_US: i64 = 1;

pub fn measure(calls: &[Call], clocks: &[ProxyClock]) -> Tally {
    let clocks: HashMap<&str, &ProxyClock> = clocks.iter().map(|c| (c.proxy.as_str(), c)).collect();
    let mut tally = Tally::default();
    // Clocks are estimated from calls that stand alone: of equals, the wrong two may stand together.
    for call in calls.iter().filter(|c| c.ambiguous == 1) {
        let end = |side: Side| call.legs.iter().find(|l| l.side == side && is_proxy(l));
        let (Some(client), Some(server)) = (end(Side::Client), end(Side::Server)) else { continue };
        let (Some(bounds), Some(true_us)) =
            (ClockOffset::of_call(&call.legs), true_offset_us(&clocks, client, server))
        else {
            continue;
        };
        let within = bounds.lower_us - RESOLUTION_US <= true_us && true_us <= bounds.upper_us + RESOLUTION_US;
        *(if within { &mut tally.right } else { &mut tally.wrong }) += 1;
    }
    tally
}

fn is_proxy(leg: &Leg) -> bool {
    matches!(leg.observer.kind, ObserverKind::Sidecar | ObserverKind::Gateway)
}

/// Server's clock minus client's at the time of the call.
fn true_offset_us(clocks: &HashMap<&str, &ProxyClock>, client: &Leg, server: &Leg) -> Option<i64> {
    let ahead_us = |leg: &Leg| {
        let clock = clocks.get(leg.observer.name.as_str())?;
        // What the clock shows is known, not the true time; within a call's seconds its error hardly changes.
        let true_us = leg.start.0 - clock.offset_us(leg.start.0);
        Some(clock.offset_us(true_us))
    };
    Some(ahead_us(server)? - ahead_us(client)?)
}
