//! How far the clocks of one trace's observers are apart, told by the trace itself.
//!
//! Of a call that only one client leg and only its own server legs can be, the server's part lay within the client's whatever the
//! clocks say: that bounds the difference of the two clocks from both sides. Where there is no such call, the offset under which
//! most legs find a partner is taken. Where the bounds exclude clocks that agree, the legs are compared in a common time.
//! Each leg keeps its own time: what is moved is only what is compared.
//!
//! The estimate depends on nothing outside the legs that share keys, so that it is the same in whatever company they are joined.

use super::compat::{contradiction_but_time, overlap, slack_of};
use super::components;
use super::edge_pairs::contradicts;
use super::potentials::Potentials;
use crate::model::{
    ClockOffset, Leg, LegId, Observer, ObserverKind, Protocol, ROUNDING_US, RequestKey, Side, SpanId,
    Timestamp, TraceId,
};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// No two clocks are believed to be further apart: beyond that, a key was used again.
pub const MOST_APART_US: i64 = 900_000_000;
/// Keys that more legs than this carry tell nothing of the clocks.
const CROWD: usize = 128;
/// What two ends of one call may stand apart once the difference of their clocks is known: its bounds are about as wide as the
/// call's own time on the network.
const KNOWN_SLACK_US: i64 = 5_000;
/// Where calls of one trace tell of offsets that are further apart than this, one of the clocks has been set anew between them.
const STEP_US: i64 = 20_000;
/// A port is not used again by another connection at once.
const TCP_AGREE_US: i64 = 2_000_000;

/// How the times of legs are compared; legs that are not named here: by their own clocks.
#[derive(Debug, Default)]
pub struct Clocks {
    /// What must be added to get to the common time of the leg's trace.
    shift_us: BTreeMap<LegId, i64>,
    /// Legs with the same number have clocks whose difference several calls agree on.
    known: BTreeMap<LegId, usize>,
    /// Legs of observers one of whose clocks has been set anew within the trace: calls that are one contradict each other about it.
    unsteady: BTreeSet<LegId>,
}

/// Two legs that may be one call, and what that says of their clocks.
#[derive(Clone, Copy)]
struct Anchor {
    client: usize,
    server: usize,
    offset: ClockOffset,
    /// Neither leg could belong to another: they are one call whatever the clocks say.
    unmistakable: bool,
    /// That, or one of a row in which each leg has its place.
    placed: bool,
}

/// What a trace says of the clocks of two observers.
struct Agreed {
    /// Server's clock minus client's.
    offset_us: i64,
    /// How many calls allow it.
    calls: i64,
    /// At least two do, and most of those that could speak against it.
    known: bool,
    /// Calls that are one contradict it.
    unsteady: bool,
}

impl Anchor {
    fn new(legs: &[Leg], client: usize, server: usize, unmistakable: bool) -> Anchor {
        let offset = ClockOffset::between(&legs[client], &legs[server]);
        Anchor { client, server, offset, unmistakable, placed: unmistakable }
    }
}

impl Clocks {
    pub fn estimate(legs: &[Leg]) -> Clocks {
        let mut between: BTreeMap<(usize, &Observer, &Observer), Vec<Anchor>> = BTreeMap::new();
        let anchors = anchors(legs);
        if anchors.is_empty() {
            return Clocks::default();
        }
        let component = components::by_keys(legs);
        for anchor in anchors {
            let ends =
                (component[anchor.client], &legs[anchor.client].observer, &legs[anchor.server].observer);
            between.entry(ends).or_default().push(anchor);
        }
        let mut agreed: Vec<_> = between.iter().map(|(ends, anchors)| (*ends, agree(anchors))).collect();
        // What is known best comes first: what would close a circle is not heard.
        agreed.sort_by_key(|(ends, agreed)| (!agreed.known, std::cmp::Reverse(agreed.calls), *ends));
        let mut time = Potentials::default();
        let mut known = Potentials::default();
        for &((one, client, server), ref agreed) in &agreed {
            time.tie((one, server), (one, client), agreed.offset_us);
            if agreed.known {
                known.tie((one, server), (one, client), agreed.offset_us);
            }
        }
        let mut clocks = Clocks::default();
        let mut unsteady: BTreeSet<(usize, &Observer)> = BTreeSet::new();
        for ((one, client, server), _) in agreed.iter().filter(|(_, agreed)| agreed.unsteady) {
            unsteady.extend([(*one, *client), (*one, *server)]);
        }
        for (place, leg) in legs.iter().enumerate() {
            let observer = (component[place], &leg.observer);
            if let Some((_, ahead_us)) = time.of(observer).filter(|(_, us)| *us != 0) {
                clocks.shift_us.insert(leg.id, ahead_us.saturating_neg());
            }
            if let Some((set, _)) = known.of(observer) {
                clocks.known.insert(leg.id, set);
            }
            if unsteady.contains(&observer) {
                clocks.unsteady.insert(leg.id);
            }
        }
        clocks
    }

    /// Whether the leg's clock, or one that it is compared with, has been set anew within the trace: it orders nothing that it saw.
    pub fn is_unsteady(&self, leg: &Leg) -> bool {
        self.unsteady.contains(&leg.id)
    }

    /// Start of a leg in the common time of its trace.
    pub fn start(&self, leg: &Leg) -> Timestamp {
        leg.start.plus_us(self.shift_us(leg))
    }

    /// End of a leg in the common time of its trace.
    pub fn end(&self, leg: &Leg) -> Timestamp {
        leg.end().plus_us(self.shift_us(leg))
    }

    fn shift_us(&self, leg: &Leg) -> i64 {
        self.shift_us.get(&leg.id).copied().unwrap_or(0)
    }

    /// Whether several calls agree on how far the two observers' clocks are apart.
    pub fn are_known(&self, one: &Leg, other: &Leg) -> bool {
        self.known.get(&one.id).is_some_and(|set| self.known.get(&other.id) == Some(set))
    }

    /// Whether the times of two legs, brought to common time, speak for one call by themselves: the server's part lies within the
    /// client's, and their clocks are known, or agree without having been brought there. Where many lines are lost, what lies a little
    /// beside it is as often another call's.
    pub fn speak_for(&self, client: &Leg, server: &Leg) -> bool {
        let common = ClockOffset::between(client, server);
        self.speak(client, server, common, moved(common, self.apart_us(client, server).saturating_neg()))
    }

    /// The same of legs that stand in their own times.
    pub fn speak_for_as_logged(&self, client: &Leg, server: &Leg) -> bool {
        let logged = ClockOffset::between(client, server);
        self.speak(client, server, moved(logged, self.apart_us(client, server)), logged)
    }

    fn speak(&self, client: &Leg, server: &Leg, common: ClockOffset, logged: ClockOffset) -> bool {
        let agree_us = if client.protocol == Protocol::Tcp { TCP_AGREE_US } else { 0 };
        let known = self.are_known(client, server) && common.distance_us() <= agree_us;
        known || logged.distance_us() <= agree_us
    }

    fn apart_us(&self, client: &Leg, server: &Leg) -> i64 {
        self.shift_us(server).saturating_sub(self.shift_us(client))
    }

    /// The legs as they are to be compared, at the same places.
    pub fn in_common_time<'a>(&self, legs: &'a [Leg]) -> Cow<'a, [Leg]> {
        if self.shift_us.is_empty() {
            return Cow::Borrowed(legs);
        }
        let shifted = |leg: &Leg| {
            let (mut leg, start) = (leg.clone(), self.start(leg));
            if leg.start != start {
                leg.start = start;
            }
            leg
        };
        Cow::Owned(legs.iter().map(shifted).collect())
    }
}

fn moved(offset: ClockOffset, by_us: i64) -> ClockOffset {
    ClockOffset {
        lower_us: offset.lower_us.saturating_add(by_us),
        upper_us: offset.upper_us.saturating_add(by_us),
    }
}

/// By what two legs, brought to common time, are held apart.
#[derive(Clone, Copy)]
pub struct Times<'a> {
    pub clocks: &'a Clocks,
    /// How far two clocks may be apart of which nothing is known.
    pub slack_us: i64,
}

impl Times<'_> {
    /// Whether the times of a client leg and a server leg exclude that they are one call. Where the clocks are known, the server's part
    /// lies within the client's; but whoever gave up waiting may have been gone before the other side began.
    pub fn exclude(&self, client: &Leg, server: &Leg) -> bool {
        let answered = ClockOffset::was_answered(client);
        if answered && lasts_longer(server, client) {
            return true;
        }
        if answered && self.clocks.are_known(client, server) {
            let slack_us = KNOWN_SLACK_US.min(self.slack_us);
            return server.start < client.start.plus_us(-slack_us)
                || server.end() > client.end().plus_us(slack_us);
        }
        !overlap(client, server, slack_of(client, self.slack_us))
    }
}

/// Whatever the clocks say: both were logged in whole milliseconds, cut off.
fn lasts_longer(server: &Leg, client: &Leg) -> bool {
    let both = server.duration_us.zip(client.duration_us);
    both.is_some_and(|(server_us, client_us)| server_us > client_us.saturating_add(ROUNDING_US))
}

fn anchors(legs: &[Leg]) -> Vec<Anchor> {
    let mut by_key: BTreeMap<FreshKey<'_>, Vec<usize>> = BTreeMap::new();
    for (place, leg) in legs.iter().enumerate().filter(|(_, leg)| leg.observer.kind != ObserverKind::Zone) {
        for key in fresh_keys(leg) {
            by_key.entry(key).or_default().push(place);
        }
    }
    let mut found: BTreeMap<(usize, usize), Anchor> = BTreeMap::new();
    for places in by_key.values().filter(|places| (2..=CROWD).contains(&places.len())) {
        for anchor in possible(legs, places) {
            let known = found
                .entry((anchor.client, anchor.server))
                .or_insert(Anchor { unmistakable: false, ..anchor });
            known.unmistakable |= anchor.unmistakable;
        }
    }
    found.into_values().collect()
}

/// A value that is made anew for each request, and printed by both of its ends.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum FreshKey<'a> {
    Hop(&'a str),
    Request(RequestKey),
    /// Where nothing traces, both ends print the span that the application made for this request alone.
    Parent(TraceId, SpanId),
}

fn fresh_keys(leg: &Leg) -> impl Iterator<Item = FreshKey<'_>> {
    let hop = leg.hop.as_deref().map(FreshKey::Hop);
    // What a Worker sends as its hop, the gateway prints as the parent's.
    let sent = leg.parent_hop.as_deref().filter(|_| leg.is_entry()).map(FreshKey::Hop);
    let request = leg.request_key().map(FreshKey::Request);
    let parent = leg.trace.filter(|_| leg.observer.kind != ObserverKind::Worker);
    let parent = parent.map(|t| FreshKey::Parent(t.trace_id, t.parent_id));
    hop.into_iter().chain(sent).chain(request).chain(parent)
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
    if in_order(legs, &mut pairs) {
        let placed = |&(c, s): &(usize, usize)| Anchor { placed: true, ..Anchor::new(legs, c, s, false) };
        return pairs.iter().map(placed).collect();
    }
    let (mut of_client, mut of_server) = (BTreeMap::new(), BTreeMap::new());
    for &(client, server) in &pairs {
        *of_client.entry(client).or_insert(0_usize) += 1;
        *of_server.entry(server).or_insert(0_usize) += 1;
    }
    let alone = |client: usize, server: usize| {
        of_server[&server] == 1 && of_client[&client] <= legs[client].most_attempts()
    };
    pairs.iter().map(|&(c, s)| Anchor::new(legs, c, s, alone(c, s))).collect()
}

/// Equal requests one after the other on one connection, all of which have both ends here: they pair in their order, whatever the
/// clocks say. Leaves only those pairs where that is so.
fn in_order(legs: &[Leg], pairs: &mut Vec<(usize, usize)>) -> bool {
    let row = |of: fn(&(usize, usize)) -> usize| {
        let mut row: Vec<usize> = pairs.iter().map(of).collect::<BTreeSet<_>>().into_iter().collect();
        row.sort_by_key(|&p| (legs[p].start, legs[p].id));
        row
    };
    let (clients, servers) = (row(|p| p.0), row(|p| p.1));
    let socket = clients.first().and_then(|&c| legs[c].socket.as_ref());
    let one_socket = clients.iter().chain(&servers).all(|&p| legs[p].socket.as_ref() == socket);
    let in_order: Vec<(usize, usize)> = clients.iter().copied().zip(servers.iter().copied()).collect();
    let fits = clients.len() == servers.len() && in_order.iter().all(|pair| pairs.contains(pair));
    let holds = clients.len() > 1 && socket.is_some() && one_socket && fits;
    if holds {
        *pairs = in_order;
    }
    holds
}

fn could_be_one(client: &Leg, server: &Leg) -> bool {
    let from_worker = client.observer.kind == ObserverKind::Worker;
    let apart_us = client.start.0.saturating_sub(server.start.0).saturating_abs();
    apart_us <= MOST_APART_US
        && client.observer != server.observer
        && from_worker == server.is_entry()
        && !(ClockOffset::was_answered(client) && lasts_longer(server, client))
        && match from_worker {
            true => !contradicts(client, server),
            false => contradiction_but_time(client, server).is_none(),
        }
}

/// The offset under which most legs find a partner, and that is nearest to none.
fn agree(anchors: &[Anchor]) -> Agreed {
    let sure = anchors.iter().any(|a| a.unmistakable);
    let heard: Vec<&Anchor> = anchors.iter().filter(|a| a.unmistakable || !sure).collect();
    let mut bounds: Vec<(i64, i64, usize, usize)> =
        heard.iter().map(|a| (a.offset.lower_us, 1, a.client, a.server)).collect();
    bounds.extend(heard.iter().map(|a| (a.offset.upper_us.saturating_add(1), -1, a.client, a.server)));
    bounds.sort_unstable();
    // One long call may hold several short ones of the other side: what counts is how many of both sides have somebody.
    let (mut clients, mut servers) = (Partners::default(), Partners::default());
    let mut best = (0, 0, 0);
    for (place, &(from_us, step, client, server)) in bounds.iter().enumerate() {
        clients.count(client, step);
        servers.count(server, step);
        let until_us = bounds.get(place + 1).map_or(from_us, |next| next.0.saturating_sub(1));
        if until_us < from_us {
            continue;
        }
        // Clocks that agree are taken to agree. Of others the middle is as good as the bounds are narrow: where they are not, no
        // more is moved than must be.
        let narrow = until_us.saturating_sub(from_us) <= 2 * KNOWN_SLACK_US;
        let agree = from_us <= 0 && until_us >= 0;
        let offset_us =
            if narrow && !agree { from_us.midpoint(until_us) } else { 0.clamp(from_us, until_us) };
        best = best.max((clients.having.min(servers.having), -offset_us.saturating_abs(), offset_us));
    }
    let (calls, _, offset_us) = best;
    let most = clients.of.len().min(servers.of.len()) as i64;
    // What counting suggests may be off by one of several equal requests: only calls that are one whatever the clocks say make it known.
    let apart = |a: &&Anchor| a.placed && moved(a.offset, -offset_us).distance_us() > STEP_US;
    let unsteady = anchors.iter().any(|a| apart(&a));
    Agreed { offset_us, calls, known: sure && calls >= 2 && calls * 2 > most, unsteady }
}

/// How many possible partners each leg of a side has, and how many legs have any.
#[derive(Default)]
struct Partners {
    of: BTreeMap<usize, i64>,
    having: i64,
}

impl Partners {
    fn count(&mut self, leg: usize, step: i64) {
        let partners = self.of.entry(leg).or_default();
        let before = *partners > 0;
        *partners += step;
        self.having += i64::from(*partners > 0) - i64::from(before);
    }
}
