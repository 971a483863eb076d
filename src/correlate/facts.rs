//! What the join must know from beyond the legs at hand: which connections the caller's own proxy has logged.

use crate::model::{Call, Holder, Identity, Leg, ObserverKind, Side, SocketPair, SpiffeId, Timestamp};
use std::collections::BTreeMap;

pub use crate::model::CONNECTION_SLACK_US;

/// Connections by socket pair: from when to when a caller's proxy logged requests on them. Ports are used again: one socket pair
/// may have had several connections.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    connections: BTreeMap<SocketPair, Vec<(Holder, Timestamp, Timestamp)>>,
}

impl Facts {
    pub fn add_connection(&mut self, socket: SocketPair, holder: Holder, first: Timestamp, last: Timestamp) {
        self.connections.entry(socket).or_default().push((holder, first, last));
    }

    /// Every client leg of a proxy says that its connection is that proxy's.
    pub fn add_legs<'a>(&mut self, legs: impl IntoIterator<Item = &'a Leg>) {
        for leg in legs {
            if let Some((socket, holder, first, last)) = connection_of(leg) {
                self.add_connection(socket.clone(), holder, first, last);
            }
        }
    }

    /// Whether a connection at that time is known that may be this caller's.
    pub fn is_known(&self, socket: &SocketPair, at: Timestamp, caller: &Identity) -> bool {
        self.holders(socket, at).any(|holder| may_be(holder, caller))
    }

    /// Whose proxy had this connection at the time; `None` where none is known to, or where several say so.
    pub fn holder(&self, socket: &SocketPair, at: Timestamp) -> Option<&Holder> {
        // A proxy that could not connect names its workload less well than one whose certificate was used.
        let best = self.holders(socket, at).max_by_key(|holder| holder.party.starts_with("spiffe://"))?;
        self.holders(socket, at).all(|other| other.proxy == best.proxy).then_some(best)
    }

    fn holders(&self, socket: &SocketPair, at: Timestamp) -> impl Iterator<Item = &Holder> {
        let spans = self.connections.get(socket).into_iter().flatten();
        let then = move |first: &Timestamp, last: &Timestamp| {
            at >= first.plus_us(-CONNECTION_SLACK_US) && at <= last.plus_us(CONNECTION_SLACK_US)
        };
        spans.filter(move |(_, first, last)| then(first, last)).map(|(holder, ..)| holder)
    }

    /// A server leg in the mesh without a client leg, on a connection that the caller's own proxy never logged: whoever made
    /// this call did not go through that proxy, or all its lines of that connection are lost.
    pub fn is_outside_proxy(&self, call: &Call) -> bool {
        lone_mesh_server(call).is_some_and(|leg| match &leg.socket {
            Some(socket) => !self.is_known(socket, leg.start, &call.caller),
            None => false,
        })
    }
}

/// Whether that was the caller's connection. Another workload's is not, though it had the same addresses: ports are used again. A gateway
/// hands on connections that are made with its callers' certificates.
fn may_be(holder: &Holder, caller: &Identity) -> bool {
    match (holder.party.parse::<SpiffeId>(), &caller.spiffe_id) {
        (Ok(held_by), Some(caller)) => held_by == *caller || held_by.is_mesh_gateway(),
        _ => true,
    }
}

/// The server leg of a call inside the mesh that has no client leg.
pub fn lone_mesh_server(call: &Call) -> Option<&Leg> {
    match &call.legs[..] {
        [leg] if leg.is_mesh_server() => Some(leg),
        _ => None,
    }
}

/// The record of a call inside the mesh by its caller's own sidecar.
pub fn client_side(call: &Call) -> Option<&Leg> {
    call.legs.iter().find(|l| l.side == Side::Client && l.observer.kind == ObserverKind::Sidecar)
}

/// Socket, holder, first and last time of what a client leg of a proxy tells about its connection.
pub fn connection_of(leg: &Leg) -> Option<(&SocketPair, Holder, Timestamp, Timestamp)> {
    let socket = leg.socket.as_ref().filter(|_| leg.is_mesh_client())?;
    let holder = Holder { proxy: leg.observer.name.clone(), party: leg.local.key() };
    Some((socket, holder, leg.start, leg.end()))
}
