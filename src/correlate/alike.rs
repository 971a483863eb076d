//! What the legs of one row have in common, and which calls nobody could tell apart.

use crate::model::{Leg, Protocol, RequestKey, TraceContext};
use std::collections::BTreeMap;

/// What the legs of a row have in common besides the ends of their connection.
#[derive(Clone, Copy)]
pub struct Alike {
    request: bool,
    /// Where Envoy does not trace, both ends print the `traceparent` that the application sent: applications that open a span for
    /// each request tell their requests apart by it. Where it does, no two ends are equal, and nothing is joined by this.
    parent: bool,
    /// An attempt that failed is not the one that the caller's side saw succeed.
    status: bool,
}

/// Request id, `traceparent` and status of a leg, as far as they count.
type Key = (Option<RequestKey>, Option<TraceContext>, Option<Option<u16>>);

impl Alike {
    /// What tells more comes first.
    pub const BY_REQUEST: [Alike; 4] = [
        Alike { request: true, parent: true, status: true },
        Alike { request: true, parent: true, status: false },
        Alike { request: true, parent: false, status: true },
        Alike { request: true, parent: false, status: false },
    ];
    pub const BY_CONNECTION: Alike = Alike { request: false, parent: false, status: false };

    /// `None` for a leg that does not print what counts.
    pub fn key(self, leg: &Leg) -> Option<Key> {
        let request = leg.request_key().filter(|_| self.request);
        let trace = leg.trace.filter(|_| self.parent);
        let tells_all = request.is_some() == self.request && trace.is_some() == self.parent;
        tells_all.then(|| (request, trace, self.status.then_some(leg.status)))
    }
}

/// Size of the group of calls that nobody could tell apart: same connection, ids, method and path, open at the same time.
pub fn interchangeable(legs: &[Leg], clients: &[usize]) -> BTreeMap<usize, u32> {
    let mut alike: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for &client in clients.iter().filter(|&&c| legs[c].protocol == Protocol::Http2 && legs[c].hop.is_none()) {
        let leg = &legs[client];
        let trace = leg.trace.map(|t| t.trace_id);
        let key =
            (&leg.socket, leg.request_key(), trace, &leg.method, &leg.path, &leg.authority, leg.peer.key());
        alike.entry(key).or_default().push(client);
    }
    let mut sizes = BTreeMap::new();
    for group in alike.into_values() {
        // Runs of overlapping calls: a pause on the connection separates what came before from what comes after.
        let mut run: Vec<usize> = Vec::new();
        let mut run_end = i64::MIN;
        for client in group {
            if legs[client].start.0 > run_end && !run.is_empty() {
                sizes.extend(run.iter().map(|&c| (c, run.len() as u32)));
                run.clear();
            }
            run_end = run_end.max(legs[client].end().0);
            run.push(client);
        }
        sizes.extend(run.iter().map(|&c| (c, run.len() as u32)));
    }
    sizes
}
