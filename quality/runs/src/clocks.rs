//! Whether the bounds that a call sets to the difference of its two ends' clocks hold the true difference.

use calltrail::model::{Call, ClockOffset, Leg, ObserverKind, ROUNDING_US, Side};
use calltrail_score::Tally;
use calltrail_sim::faults::{ClockPiece, ProxyClock};
use std::collections::HashMap;

/// Durations and start times are logged in whole milliseconds or microseconds; the difference is known no better.
const RESOLUTION_US: i64 = 1;
/// A server's side begins no later than this after the client's has ended.
const MOST_UNDER_WAY_US: i64 = 100_000;

pub fn measure(calls: &[Call], clocks: &[ProxyClock]) -> Tally {
    let clocks: HashMap<&str, &ProxyClock> = clocks.iter().map(|c| (c.proxy.as_str(), c)).collect();
    let mut tally = Tally::default();
    // Clocks are estimated from calls that stand alone: of equals, the wrong two may stand together.
    for call in calls.iter().filter(|c| c.ambiguous == 1) {
        let end = |side: Side| call.legs.iter().find(|l| l.side == side && is_proxy(l));
        let (Some(client), Some(server)) = (end(Side::Client), end(Side::Server)) else { continue };
        let Some(told) = ClockOffset::of_call(&call.legs) else { continue };
        let true_us = true_offsets_us(&clocks, client, server);
        if true_us.is_empty() {
            continue;
        }
        let holds = |us: &i64| told.lower_us - RESOLUTION_US <= *us && *us <= told.upper_us + RESOLUTION_US;
        let within = true_us.iter().any(holds);
        *(if within { &mut tally.right } else { &mut tally.wrong }) += 1;
    }
    tally
}

fn is_proxy(leg: &Leg) -> bool {
    matches!(leg.observer.kind, ObserverKind::Sidecar | ObserverKind::Gateway)
}

/// Server's clock minus client's when the call began: more than one where a clock was set back and so showed a time twice.
fn true_offsets_us(clocks: &HashMap<&str, &ProxyClock>, client: &Leg, server: &Leg) -> Vec<i64> {
    let moments = |leg: &Leg| clocks.get(leg.observer.name.as_str()).map(|c| moments(c, leg.start.0));
    let (Some(sent), Some(came)) = (moments(client), moments(server)) else { return vec![] };
    // Of two moments at which a clock showed the same, the call was at that which both ends have in common.
    let latest_us = client.duration_us.unwrap_or(0) + MOST_UNDER_WAY_US;
    let of_both = sent.iter().flat_map(|s| came.iter().map(move |c| (s, c)));
    let of_call =
        of_both.filter(|((sent, _), (came, _))| (-2 * ROUNDING_US..=latest_us).contains(&(came - sent)));
    of_call.map(|((_, client_us), (_, server_us))| server_us - client_us).collect()
}

/// When a clock showed this: the true time, and how far the clock was ahead of it.
fn moments(clock: &ProxyClock, shown_us: i64) -> Vec<(i64, i64)> {
    let of_piece = |piece: &ClockPiece| {
        let ahead_us = |at_us: i64| piece.offset_us + (at_us - piece.from_us) as f64 * piece.drift_ppm / 1e6;
        // What drifts by millionths is found in two steps.
        let near_us = shown_us - piece.offset_us.round() as i64;
        let true_us = shown_us - ahead_us(near_us).round() as i64;
        let ahead_us = clock.offset_us(true_us);
        ((true_us + ahead_us - shown_us).abs() <= RESOLUTION_US).then_some((true_us, ahead_us))
    };
    clock.pieces.iter().filter_map(of_piece).collect()
}
