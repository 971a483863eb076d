//! What two calls of one request share, by which parent and child are brought together.

use crate::model::{Leg, RequestKey, SpanId, TraceId};
use std::collections::BTreeSet;

pub const TRACE_RANK: u32 = 0;

/// What two calls of one request share. What one side's format hides, or what was lost on the way to us, the other side of
/// the call may still tell: the keys of a call are those of all its legs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Trace(TraceId),
    Header(TraceId, SpanId),
    Request(RequestKey),
}

impl Key {
    pub fn of(leg: &Leg) -> Vec<Key> {
        let mut keys: Vec<Key> = leg.trace_ids().map(Key::Trace).collect();
        keys.extend(leg.header.as_ref().map(|h| Key::Header(h.trace_id, h.span_id)));
        keys.extend(leg.request_key().map(Key::Request));
        keys
    }

    /// A trace may hold several requests; a request id and a signed header are of one.
    pub fn tells_requests_apart(&self) -> bool {
        !matches!(self, Key::Trace(_))
    }

    /// A request id tells the requests of one trace apart; so does, where it is passed on, the signed header.
    pub fn rank(&self) -> u32 {
        match self {
            Key::Trace(_) => TRACE_RANK,
            Key::Header(..) => 1,
            Key::Request(_) => 2,
        }
    }
}

/// The ranks of the keys that two calls share, one bit each.
pub fn shared(one: &BTreeSet<Key>, other: &BTreeSet<Key>) -> u32 {
    one.intersection(other).map(|k| 1 << k.rank()).fold(0, |all, bit| all | bit)
}

/// Whether both name keys of a kind, and none in common.
pub fn name_two(one: &BTreeSet<Key>, other: &BTreeSet<Key>, kind: impl Fn(&Key) -> bool) -> bool {
    one.iter().any(&kind) && other.iter().any(&kind) && !one.intersection(other).any(&kind)
}
