//! What two calls of one request share, by which parent and child are brought together.

use crate::model::{Leg, RequestKey, TraceId};
use std::collections::HashMap;

pub const TRACE_RANK: u32 = 0;
const HEADER_RANK: u32 = 1;
const REQUEST_RANK: u32 = 2;

/// What two calls of one request share. What one side's format hides, or what was lost on the way to us, the other side of
/// the call may still tell: the keys of a call are those of all its legs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key<'a> {
    Trace(TraceId),
    /// The calltrail header as it came, whoever made it, with its signature: a forged one may name the trace and span of a genuine one.
    Header(&'a str, &'a str),
    Request(RequestKey),
}

impl Key<'_> {
    pub fn of(leg: &Leg) -> Vec<Key<'_>> {
        let mut keys: Vec<Key> = leg.trace_ids().map(Key::Trace).collect();
        keys.extend(leg.header.as_ref().map(|h| Key::Header(&h.signed_text, &h.signature)));
        keys.extend(leg.malformed_header.as_ref().map(|text| Key::Header(text, "")));
        keys.extend(leg.request_key().map(Key::Request));
        keys
    }

    /// A request id tells the requests of one trace apart; so does, where it is passed on, the signed header.
    pub fn rank(&self) -> u32 {
        match self {
            Key::Trace(_) => TRACE_RANK,
            Key::Header(..) => HEADER_RANK,
            Key::Request(_) => REQUEST_RANK,
        }
    }
}

/// A key by a number that it has within one tree: what is compared again and again is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    rank: u32,
    number: u32,
}

impl Mark {
    /// A trace may hold several requests; a request id and a signed header are of one.
    pub fn tells_requests_apart(self) -> bool {
        self.rank != TRACE_RANK
    }

    pub fn is_trace(self) -> bool {
        self.rank == TRACE_RANK
    }

    pub fn is_header(self) -> bool {
        self.rank == HEADER_RANK
    }

    pub fn is_request(self) -> bool {
        self.rank == REQUEST_RANK
    }
}

/// Gives each key its number.
#[derive(Default)]
pub struct Marks<'a> {
    numbers: HashMap<Key<'a>, u32>,
}

impl<'a> Marks<'a> {
    pub fn mark(&mut self, key: Key<'a>) -> Mark {
        let (rank, next) = (key.rank(), self.numbers.len() as u32);
        Mark { rank, number: *self.numbers.entry(key).or_insert(next) }
    }

    /// Each once, in order.
    pub fn of<'b: 'a>(&mut self, legs: &'b [Leg]) -> Vec<Mark> {
        let mut marks: Vec<Mark> = legs.iter().flat_map(Key::of).map(|key| self.mark(key)).collect();
        marks.sort_unstable();
        marks.dedup();
        marks
    }
}

pub fn common<'m>(one: &'m [Mark], other: &'m [Mark]) -> impl Iterator<Item = Mark> + 'm {
    one.iter().copied().filter(|mark| other.binary_search(mark).is_ok())
}

/// The ranks of the keys that two calls share, one bit each.
pub fn shared(one: &[Mark], other: &[Mark]) -> u32 {
    common(one, other).map(|mark| 1 << mark.rank).fold(0, |all, bit| all | bit)
}

/// Whether a request id is among these ranks.
pub fn shows_request(ranks: u32) -> bool {
    ranks & (1 << REQUEST_RANK) != 0
}

/// Whether both name keys of a kind, and none in common.
pub fn name_two(one: &[Mark], other: &[Mark], kind: impl Fn(Mark) -> bool) -> bool {
    let names = |marks: &[Mark]| marks.iter().any(|&mark| kind(mark));
    names(one) && names(other) && !common(one, other).any(&kind)
}
