//! Where legs that share no key wait for each other: by callee, second and minute, with edges that depend on nothing but a leg's
//! own clock.
//!
//! Who is paired with whom is decided minute by minute of the caller's clock: the client legs that start within it, with all
//! server legs within the slack around it. So the answer for a minute follows from a bounded set of legs, in whatever order or
//! batches they came. What is lost by that: pairs within [`EDGE_US`] of a minute's edges stay single, and a callee that gets fewer
//! than a handful of such calls a minute tells too little of the clocks. And where a clock is set back by more than half a second, or
//! two services' names begin alike, a server leg may be wanted from two sides: it stays with the client leg it stands with.

use super::delays::LATEST_US;
use crate::correlate::keys;
use crate::model::{Assurance, Basis, Call, IdentityKind, Leg, LegId, Side, Timestamp};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

pub const MINUTE_US: i64 = 60_000_000;
const SECOND_US: i64 = 1_000_000;
/// Pairs nearer than this to a minute's edges are not made: their rivals may lie beyond.
pub const EDGE_US: i64 = 250_000;

/// How far apart two clocks are taken to be at most: each 5 s off. Likeness finds out by itself how far they are.
pub const SLACK_US: i64 = 10_000_000;
/// Parts of a name that may be a service's.
const MOST_PARTS: usize = 4;

/// The minute of the caller's clock to which a decision belongs, at one callee.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minute {
    // First, so that one callee's minutes are weighed in a row.
    pub callee: String,
    pub number: i64,
}

impl Minute {
    pub fn start_us(&self) -> i64 {
        self.number * MINUTE_US
    }

    /// Seconds in which its client legs start, by number.
    pub fn client_seconds(&self) -> std::ops::Range<i64> {
        let first = self.start_us() / SECOND_US;
        first..first + MINUTE_US / SECOND_US
    }

    /// Seconds in which server legs start that could be theirs.
    pub fn server_seconds(&self) -> RangeInclusive<i64> {
        let from = self.start_us() - SLACK_US;
        let to = self.start_us() + MINUTE_US + SLACK_US + LATEST_US;
        from.div_euclid(SECOND_US)..=to.div_euclid(SECOND_US)
    }

    /// Whether a pair lies clear of the edges. `late_us`: how much later than usual the server leg starts.
    pub fn holds(&self, client: &Leg, late_us: i64) -> bool {
        let moment = client.start.0 - self.start_us();
        moment >= EDGE_US && moment + late_us.max(0) <= MINUTE_US - EDGE_US
    }
}

/// The second in which a leg starts.
pub fn second(at: Timestamp) -> i64 {
    at.0.div_euclid(SECOND_US)
}

/// The leg of a call that has no other and that names nothing: it may have a partner that is merely alike.
pub fn lone(call: &Call) -> Option<&Leg> {
    match &call.legs[..] {
        [leg] if may_be_alike(leg) => Some(leg),
        _ => None,
    }
}

/// The client leg and the server legs, one for each attempt, of a call that was joined for being alike.
pub fn pair(call: &Call) -> Option<(&Leg, &[Leg])> {
    let (client, servers) = call.legs.split_first()?;
    let is_end = |s: &Leg| {
        s.side == Side::Server && may_be_alike(s) && (client.socket.is_none() || client.socket != s.socket)
    };
    let joined = call.basis == Basis::Inferred && client.side == Side::Client && may_be_alike(client);
    (joined && !servers.is_empty() && servers.iter().all(is_end)).then_some((client, servers))
}

/// The legs of a call about which likeness decides.
pub fn undecided(call: &Call) -> Vec<&Leg> {
    let of_pair = pair(call).map(|_| call.legs.iter().collect());
    of_pair.or_else(|| lone(call).map(|leg| vec![leg])).unwrap_or_default()
}

fn may_be_alike(leg: &Leg) -> bool {
    let within_mesh = match leg.side {
        Side::Client => leg.is_mesh_client() && leg.peer.kind != IdentityKind::External,
        Side::Server => leg.is_mesh_server(),
    };
    within_mesh && leg.is_nameless() && leg.callee().assurance < Assurance::Address
}

/// Services under whose name a leg waits. Of what only a file's name tells, the service is a part, up to some dash: by custom an
/// instance is named for its service.
pub fn callees(leg: &Leg) -> Vec<&str> {
    let callee = leg.callee();
    if callee.assurance >= Assurance::Address {
        return Vec::new();
    }
    let name = callee.name.as_str();
    let guessed = leg.side == Side::Server && callee.spiffe_id.is_none();
    let dashes =
        name.match_indices('-').map(|(at, _)| &name[..at]).filter(|part| guessed && !part.is_empty());
    dashes.take(MOST_PARTS).chain([name]).collect()
}

/// The minutes whose decisions a leg may change.
pub fn minutes(leg: &Leg) -> Vec<Minute> {
    let at = leg.start.0;
    let (from, to) = match leg.side {
        Side::Client => (at, at),
        Side::Server => (at - SLACK_US - LATEST_US, at + SLACK_US),
    };
    let numbers = from.div_euclid(MINUTE_US)..=to.div_euclid(MINUTE_US);
    let of = |callee: &str| {
        numbers.clone().map(|number| Minute { callee: callee.to_owned(), number }).collect::<Vec<_>>()
    };
    callees(leg).into_iter().flat_map(of).collect()
}

/// Whether likeness has been weighed since a call came or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weighed {
    NotYet,
    Done,
}

/// The key under which calls stand that are still to be weighed.
pub fn to_be_weighed() -> i64 {
    keys::hash(b'?', "")
}

pub fn in_second(weighed: Weighed, callee: &str, second: i64) -> i64 {
    let kind = if weighed == Weighed::Done { b'W' } else { b'F' };
    keys::hash(kind, format!("{callee}|{second}"))
}

/// The keys under which a call stands for the sake of likeness. `left`: legs that likeness decided about before; where another key
/// has joined one since, its old neighbours must be weighed again.
pub fn keys_of(call: &Call, weighed: Weighed, left: &BTreeSet<LegId>) -> Vec<i64> {
    let legs = undecided(call);
    let seconds =
        legs.iter().flat_map(|l| callees(l).into_iter().map(|c| in_second(weighed, c, second(l.start))));
    let mut keys: Vec<i64> = seconds.collect();
    let joined_otherwise = legs.is_empty() && call.legs.iter().any(|l| left.contains(&l.id));
    if (!legs.is_empty() && weighed == Weighed::NotYet) || joined_otherwise {
        keys.push(to_be_weighed());
    }
    keys
}
