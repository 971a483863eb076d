//! How completely each party's proxy reports, measured by what the others say.
//!
//! Inbound: of the calls that others sent to it, how many it has logged. An attacker who goes round a proxy does not change
//! that figure, so it is the one by which a missing leg is judged. Outbound: of the calls that others received with its
//! certificate over a connection that its proxy is known to hold, how many it logged leaving.
//!
//! Each is counted for the party and, where an address tells, for the instance: by host, and inbound by host and port as well.
//! Where one of three instances is silent, the other two can still be relied on, and it cannot.

use super::findings::EDGE_OBSERVER;
use super::sockets::name_other_sockets;
use crate::model::{
    Assurance, Call, FindingKind, Identity, IdentityKind, Leg, ObserverKind, Side, Timestamp,
};
use std::collections::BTreeMap;

/// Counts of one identity in one hour: inbound expected and seen, outbound expected and seen.
pub type Counts = [i64; 4];

/// Counts by key (of an identity, or of an instance of it) and hour of the call's start.
pub type Coverage = BTreeMap<(String, Timestamp), Counts>;

/// Adds (or with `sign` -1 takes away) what a call says.
pub fn count(coverage: &mut Coverage, call: &Call, sign: i64) {
    let hour = call.start.hour();
    let mut add = |keys: Vec<String>, counts: Counts| {
        for key in keys {
            let row = coverage.entry((key, hour)).or_default();
            row.iter_mut().zip(counts).for_each(|(sum, n)| *sum += sign * n);
        }
    };
    let server = call.legs.iter().find(|l| l.side == Side::Server);
    let client = call.legs.iter().find(|l| l.side == Side::Client && l.observer.kind.is_proxy());
    if let Some(client) = client.filter(|c| arrives_in_mesh(c)) {
        let address = client.socket.as_ref().map(|socket| socket.server.as_str());
        let by_host = address.map(|a| instance(&client.peer, host(a)));
        let parties: Vec<String> = std::iter::once(client.peer.key()).chain(by_host).collect();
        let seen = [1, i64::from(server.is_some()), 0, 0];
        add(of_connections(&parties), seen);
        if carries_header(client) {
            add(of_chains(&parties), [1, i64::from(server.is_some_and(carries_header)), 0, 0]);
        }
        let of_instance = address.map(|a| instance(&client.peer, a));
        add(parties.into_iter().chain(of_instance).chain([MESH.to_owned()]).collect(), seen);
    }
    // Who went round its proxy says nothing about how completely that proxy reports.
    let went_round = call.findings.iter().any(|f| f.kind == FindingKind::NoClientLeg);
    let verified =
        |s: &&Leg| s.observer.kind.is_proxy() && s.peer.assurance == Assurance::Mtls && !went_round;
    if let Some(server) = server.filter(verified) {
        let parties: Vec<String> =
            std::iter::once(server.peer.key()).chain(caller_instance(server)).collect();
        let recognised = client.is_some_and(|client| !name_other_sockets(client, server));
        add(of_connections(&parties), [1, i64::from(recognised), 0, 0]);
        if carries_header(server) {
            add(of_chains(&parties), [1, i64::from(client.is_some_and(carries_header)), 0, 0]);
        }
        add(parties, [0, 0, 1, i64::from(client.is_some())]);
    }
    if server.is_some_and(Leg::is_entry) && tells_of_edge(call) {
        let recorded = call.legs.iter().any(|l| l.observer.kind == ObserverKind::Worker);
        add(vec![EDGE_OBSERVER.to_owned()], [0, 0, 1, i64::from(recorded)]);
    }
}

/// The row of all proxies together: loss on the way to us rarely spares one proxy among many.
pub const MESH: &str = "mesh";

/// The row of all proxies together by which somebody is judged besides of whom too few calls tell; `None` of the edge, which is alone.
pub fn together_with(observer: &str) -> Option<String> {
    match observer {
        EDGE_OBSERVER => None,
        connections if connections.starts_with(CONNECTIONS_OF) => Some(connections_of(MESH)),
        _ => Some(MESH.to_owned()),
    }
}

fn of_connections(parties: &[String]) -> Vec<String> {
    parties.iter().map(String::as_str).chain([MESH]).map(connections_of).collect()
}

/// How the row of a party's connections begins.
pub const CONNECTIONS_OF: &str = "connections of ";

/// The row by which it is judged whether a connection that a party (or an instance of it, by its key)'s proxy never logged is one that it never made: how completely
/// the proxy reports, and how many of its connections have the same addresses on both ends. Where something rewrites addresses,
/// none do, and an unknown connection proves nothing.
pub fn connections_of(party: &str) -> String {
    format!("{CONNECTIONS_OF}{party}")
}

/// How the row of a party's chains begins.
pub const CHAINS_OF: &str = "chains of ";

/// The row by which it is judged whether a request of which a party (or an instance of it, by its key)'s proxy tells nothing did not lead
/// it to make a call: of the calls on which the other end prints the edge's header, how many its lines show with it. What a format
/// does not print, or was cut off on the way, leaves no chain, and its absence proves nothing.
pub fn chains_of(party: &str) -> String {
    format!("{CHAINS_OF}{party}")
}

fn of_chains(parties: &[String]) -> Vec<String> {
    parties.iter().map(|party| chains_of(party)).collect()
}

fn carries_header(leg: &Leg) -> bool {
    leg.header.is_some() || leg.malformed_header.is_some()
}

/// Of the key of a row, whose lines it counts: without what it counts of them.
pub fn party_of(key: &str) -> &str {
    [CONNECTIONS_OF, CHAINS_OF].iter().find_map(|of| key.strip_prefix(of)).unwrap_or(key)
}

/// An instance of a party, by the host, or host and port, at which it was met.
pub fn instance(who: &Identity, address: &str) -> String {
    format!("{}@{address}", who.key())
}

/// The instance that called, as the callee's side saw it: its port is the connection's, so the host is all that says which.
pub fn caller_instance(server: &Leg) -> Option<String> {
    server.socket.as_ref().map(|socket| instance(&server.peer, host(&socket.client)))
}

/// The instance that was called, as the caller's side saw it.
pub fn callee_instance(client: &Leg) -> Option<String> {
    client.socket.as_ref().map(|socket| instance(&client.peer, &socket.server))
}

/// Of `host:port`.
pub fn host(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

/// The caller's proxy was connected to the callee's, whose certificate it saw, and got an answer.
fn arrives_in_mesh(leg: &Leg) -> bool {
    leg.socket.is_some()
        && leg.peer.assurance == Assurance::Mtls
        && leg.peer.kind != IdentityKind::External
        && (leg.status.is_some() || leg.protocol == crate::model::Protocol::Tcp)
}

fn tells_of_edge(call: &Call) -> bool {
    let recorded = |l: &Leg| matches!(l.observer.kind, ObserverKind::Worker | ObserverKind::Zone);
    call.caller.assurance == Assurance::Signed || call.legs.iter().any(recorded)
}
