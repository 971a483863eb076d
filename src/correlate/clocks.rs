//! How far the clocks of one trace's observers are apart, told by the trace itself.
//!
//! Of a call that only one client leg and only its own server legs can be, the server's part lay within the client's whatever the
//! clocks say: that bounds the difference of the two clocks from both sides. Where there is no such call, the offset under which
//! most legs find a partner is taken. Where the bounds exclude clocks that agree, the legs are compared in a common time. Each leg keeps its own time: what is moved is only what is compared.
//!
//! The estimate depends on nothing outside the legs that share keys, so that it is the same in whatever company they are joined.

use super::compat::contradiction_but_time;
use super::edge_pairs::contradicts;
use super::keys;
use crate::model::{ClockOffset, Leg, LegId, Observer, ObserverKind, Side, Timestamp};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// No two clocks are believed to be further apart: beyond that, a key was used again.
pub const MOST_APART_US: i64 = 900_000_000;
/// Keys that more legs than this carry tell nothing of the clocks.
const CROWD: usize = 128;

/// How much must be added to the times of a leg to get to the common time of its component; legs not named here: nothing.
#[derive(Debug, Default)]
pub struct Clocks {
    shift_us: BTreeMap<LegId, i64>,
}

/// Two legs that may be one call, and what that says of their clocks.
struct Anchor {
    client: usize,
    server: usize,
    offset: ClockOffset,
    /// Neither leg could belong to another: they are one call whatever the clocks say.
    unmistakable: bool,
}

impl Clocks {
    /// `tolerated_us`: clocks that may agree up to this much are taken to agree.
    pub fn estimate(legs: &[Leg], tolerated_us: i64) -> Clocks {
        let anchors = anchors(legs);
        let excluded = |a: &Anchor| a.offset.distance_us() > tolerated_us;
        if !anchors.iter().any(excluded) {
            return Clocks::default();
        }
        let component = components(legs);
        let mut within: BTreeMap<usize, Vec<&Anchor>> = BTreeMap::new();
        for anchor in &anchors {
            within.entry(component[anchor.client]).or_default().push(anchor);
        }
        within.retain(|_, anchors| anchors.iter().any(|a| excluded(a)));
        let shifts: BTreeMap<usize, Shifts> =
            within.iter().map(|(&one, anchors)| (one, common_time(legs, anchors, tolerated_us))).collect();
        let shift_of = |place: usize| shifts.get(&component[place])?.get(&legs[place].observer).copied();
        let moved = (0..legs.len()).filter_map(|p| Some((legs[p].id, shift_of(p).filter(|us| *us != 0)?)));
        Clocks { shift_us: moved.collect() }
    }

    /// Start of a leg in the common time of its component.
    pub fn start(&self, leg: &Leg) -> Timestamp {
        leg.start.plus_us(self.shift_us(leg))
    }

    /// End of a leg in the common time of its component.
    pub fn end(&self, leg: &Leg) -> Timestamp {
        leg.end().plus_us(self.shift_us(leg))
    }

    fn shift_us(&self, leg: &Leg) -> i64 {
        self.shift_us.get(&leg.id).copied().unwrap_or(0)
    }

    /// The legs as they are to be compared, at the same places.
    pub fn in_common_time<'a>(&self, legs: &'a [Leg]) -> Cow<'a, [Leg]> {
        if self.shift_us.is_empty() {
            return Cow::Borrowed(legs);
        }
        Cow::Owned(legs.iter().map(|leg| Leg { start: self.start(leg), ..leg.clone() }).collect())
    }
}

fn anchors(legs: &[Leg]) -> Vec<Anchor> {
    let mut by_key: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (place, leg) in legs.iter().enumerate().filter(|(_, leg)| leg.observer.kind != ObserverKind::Zone) {
        for key in fresh_keys(leg) {
            by_key.entry(key).or_default().push(place);
        }
    }
    let mut found: BTreeMap<(usize, usize), Anchor> = BTreeMap::new();
    for places in by_key.values().filter(|places| (2..=CROWD).contains(&places.len())) {
        for anchor in possible(legs, places) {
            found.entry((anchor.client, anchor.server)).or_insert(anchor);
        }
    }
    found.into_values().collect()
}

/// Values that are made anew for each request, and printed by both of its ends.
fn fresh_keys(leg: &Leg) -> Vec<String> {
    let hop = leg.hop.as_ref().map(|h| format!("h{h}"));
    // What a Worker sends as its hop, the gateway prints as the parent's.
    let sent = leg.parent_hop.as_ref().filter(|_| leg.is_entry()).map(|h| format!("h{h}"));
    let request = leg.request_key().map(|r| format!("r{r}"));
    hop.into_iter().chain(sent).chain(request).collect()
}

/// Pairs among legs that share a key.
fn possible(legs: &[Leg], places: &[usize]) -> Vec<Anchor> {
    let (clients, servers): (Vec<usize>, Vec<usize>) =
        places.iter().partition(|&&p| legs[p].side == Side::Client);
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for &client in &clients {
        pairs
            .extend(servers.iter().filter(|&&s| could_be_one(&legs[client], &legs[s])).map(|&s| (client, s)));
    }
    let choices =
        |of: fn(&(usize, usize)) -> usize, place: usize| pairs.iter().filter(|p| of(p) == place).count();
    let anchor = |&(client, server): &(usize, usize)| Anchor {
        client,
        server,
        offset: ClockOffset::between(&legs[client], &legs[server]),
        unmistakable: choices(|p| p.1, server) == 1
            && choices(|p| p.0, client) <= legs[client].attempts.max(1) as usize,
    };
    pairs.iter().map(anchor).collect()
}

fn could_be_one(client: &Leg, server: &Leg) -> bool {
    let from_worker = client.observer.kind == ObserverKind::Worker;
    let apart_us = (client.start.0 - server.start.0).abs();
    apart_us <= MOST_APART_US
        && client.observer != server.observer
        && from_worker == server.is_entry()
        && match from_worker {
            true => !contradicts(client, server),
            false => contradiction_but_time(client, server).is_none(),
        }
}

/// What must be added to each observer's clock.
type Shifts<'a> = BTreeMap<&'a Observer, i64>;

/// The shifts that a trace's anchors tell, from the Worker's or the best anchored observer outwards. A trace may fall into several
/// sets of observers that no anchor ties: each has its own common time.
fn common_time<'a>(legs: &'a [Leg], anchors: &[&Anchor], tolerated_us: i64) -> Shifts<'a> {
    let mut between: BTreeMap<(&Observer, &Observer), Vec<&Anchor>> = BTreeMap::new();
    for anchor in anchors {
        let ends = (&legs[anchor.client].observer, &legs[anchor.server].observer);
        between.entry(ends).or_default().push(anchor);
    }
    let mut apart: BTreeMap<&Observer, Vec<(&Observer, i64)>> = BTreeMap::new();
    for ((client, server), anchors) in between {
        let us = agreed_us(&anchors, tolerated_us);
        apart.entry(client).or_default().push((server, -us));
        apart.entry(server).or_default().push((client, us));
    }
    let mut roots: Vec<&Observer> = apart.keys().copied().collect();
    roots.sort_by_key(|o| (o.kind != ObserverKind::Worker, std::cmp::Reverse(apart[o].len()), *o));
    let mut shifts = Shifts::new();
    for root in roots {
        let mut frontier = if shifts.contains_key(root) { vec![] } else { vec![(root, 0)] };
        while let Some((observer, shift_us)) = frontier.pop() {
            if shifts.insert(observer, shift_us).is_none() {
                let near = apart[observer].iter().filter(|(other, _)| !shifts.contains_key(other));
                frontier.extend(near.map(|(other, us)| (*other, shift_us + us)));
            }
        }
    }
    shifts
}

/// The offset, server's clock minus client's, that most bounds allow and that is nearest to none; none where clocks that agree are
/// allowed by as many.
fn agreed_us(anchors: &[&Anchor], tolerated_us: i64) -> i64 {
    let sure = anchors.iter().any(|a| a.unmistakable);
    let offsets: Vec<ClockOffset> =
        anchors.iter().filter(|a| a.unmistakable || !sure).map(|a| a.offset).collect();
    let near_zero = offsets.iter().filter(|o| o.distance_us() <= tolerated_us).count();
    let mut bounds: Vec<(i64, i64)> = offsets.iter().map(|o| (o.lower_us, 1)).collect();
    bounds.extend(offsets.iter().map(|o| (o.upper_us.saturating_add(1), -1)));
    bounds.sort_unstable();
    let (mut allowed_by, mut best) = (0, (0, 0, 0));
    for (place, &(us, step)) in bounds.iter().enumerate() {
        allowed_by += step;
        let until_us = bounds.get(place + 1).map_or(us, |next| next.0);
        let middle_us = us.midpoint(until_us);
        best = best.max((allowed_by, -middle_us.saturating_abs(), middle_us));
    }
    if best.0 > near_zero as i64 { best.2 } else { 0 }
}

/// For each leg the number of the set it belongs to: legs that share a key, directly or through others.
fn components(legs: &[Leg]) -> Vec<usize> {
    let mut parent: Vec<usize> = (0..legs.len()).collect();
    fn root(parent: &mut [usize], mut at: usize) -> usize {
        while parent[at] != at {
            parent[at] = parent[parent[at]];
            at = parent[at];
        }
        at
    }
    let mut first: BTreeMap<i64, usize> = BTreeMap::new();
    for (place, leg) in legs.iter().enumerate() {
        for key in keys::sought(leg) {
            let other = *first.entry(key).or_insert(place);
            let (a, b) = (root(&mut parent, place), root(&mut parent, other));
            parent[a.max(b)] = a.min(b);
        }
    }
    (0..legs.len()).map(|place| root(&mut parent, place)).collect()
}
