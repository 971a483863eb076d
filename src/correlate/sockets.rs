//! Ends that name different connections: rewritten on the way, or not the two ends of one call.

use super::compat::differ;
use crate::model::{Leg, RequestKey, Side, SocketPair, TraceId};
use std::collections::{BTreeMap, BTreeSet};

/// Both ends of a call that was not retried name their connection, and not the same. Of a retried call the client names the last
/// attempt's only.
pub fn name_other_sockets(client: &Leg, server: &Leg) -> bool {
    client.most_attempts() <= 1 && differ(&client.socket, &server.socket)
}

/// The connections that the two sides of each request and trace name.
pub struct ToldSockets<'a> {
    by_request: BTreeMap<RequestKey, BTreeSet<(Side, &'a SocketPair)>>,
    by_trace: BTreeMap<TraceId, BTreeSet<(Side, &'a SocketPair)>>,
}

impl<'a> ToldSockets<'a> {
    pub fn new(legs: &'a [Leg], places: &[usize]) -> Self {
        let mut told = ToldSockets { by_request: BTreeMap::new(), by_trace: BTreeMap::new() };
        for leg in places.iter().map(|&place| &legs[place]) {
            let Some(socket) = &leg.socket else { continue };
            if let Some(request) = leg.request_key() {
                told.by_request.entry(request).or_default().insert((leg.side, socket));
            }
            if let Some(trace) = leg.trace {
                told.by_trace.entry(trace.trace_id).or_default().insert((leg.side, socket));
            }
        }
        told
    }

    /// The ends name different connections, and for one of these the request or the trace has an end of the other side: then
    /// nothing rewrites addresses between them, and this pair is not one.
    pub fn elsewhere(&self, client: &Leg, server: &Leg) -> bool {
        let (Some(sent), Some(received)) = (&client.socket, &server.socket) else { return false };
        if !name_other_sockets(client, server) {
            return false;
        }
        let request = client.request_key().and_then(|r| self.by_request.get(&r));
        let trace = client.trace.and_then(|t| self.by_trace.get(&t.trace_id));
        let mut told = request.into_iter().chain(trace);
        told.any(|ends| ends.contains(&(Side::Server, sent)) || ends.contains(&(Side::Client, received)))
    }
}
