//! What possible parents were doing when a call left, and how they are weighed against each other.

use crate::model::{Call, Timestamp};
use std::cmp::Reverse;
use std::collections::HashMap;

/// How well the difference of two clocks is known where several calls agree on it.
pub(super) const KNOWN_CLOCKS_US: i64 = 50_000;

/// How a possible parent stands: keys shared, what it was doing, whether it had a header that the child lacks, whether it names another
/// resource, which ended last, how many such children it has, which began first.
pub(super) type Rank = (Reverse<u32>, Service, bool, bool, i64, usize, Timestamp);

/// A possible parent.
#[derive(Clone, Copy)]
pub(super) struct Near {
    pub(super) call: usize,
    /// The proxy that saw the child leave saw itself serve this call.
    pub(super) same_clock: bool,
}

impl Near {
    pub(super) fn by_other_clock(call: usize) -> Near {
        Near { call, same_clock: false }
    }
}

/// What a possible parent was doing when the child left: the likelier cause first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Service {
    /// Being served, by the clock of the proxy that saw the child leave.
    Seen,
    /// Being served, by another clock.
    Told,
    /// It had ended: work that outlives its request.
    Ended,
    /// Being served, if the clocks are apart.
    WithinSlack,
    EndedElsewhere,
    /// Nobody knows; but it alone is of the same request.
    SoleOfRequest,
}

impl Service {
    pub(super) fn under_way(self) -> bool {
        !matches!(self, Service::Ended | Service::EndedElsewhere)
    }
}

/// How often a parent was already given a child of a kind: among parents that nobody can tell apart, each gets its own.
#[derive(Default)]
pub(super) struct Served {
    kinds: HashMap<String, usize>,
    /// By parent and number of the kind.
    pub(super) times: HashMap<(usize, usize), usize>,
    /// What might have been the parent as well of the child that was looked at last.
    pub(super) rivals: Vec<usize>,
}

impl Served {
    pub(super) fn kind(&mut self, call: &Call) -> usize {
        let next = self.kinds.len();
        let kind = format!("{:?} {:?} {}", call.method, call.path, call.callee.key());
        *self.kinds.entry(kind).or_insert(next)
    }
}
