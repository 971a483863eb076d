//! What speaks against two legs being the two sides of one call, and what ties them.
//!
//! A contradiction is hard: no amount of other evidence joins two legs that contradict each other. What a side does not say
//! contradicts nothing.

use super::clocks::{MOST_APART_US, Times};
use crate::model::{Assurance, Leg, Protocol};

/// Why a client leg and a server leg cannot be of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contradiction {
    Protocol,
    Method,
    Path,
    Caller,
    Callee,
    Trace,
    RequestId,
    Hop,
    Header,
    Time,
}

type Test = fn(&Leg, &Leg) -> bool;

/// `None` when nothing speaks against the pair. Both legs must stand in common time.
pub fn contradiction(client: &Leg, server: &Leg, times: Times) -> Option<Contradiction> {
    contradiction_but_time(client, server)
        .or_else(|| times.exclude(client, server).then_some(Contradiction::Time))
}

/// How far apart in time the ends of a call may stand. A TCP connection is one call and its ends are named by nothing but the
/// socket, which is not used again at once: there the clocks may be as far apart as any.
pub fn slack_of(leg: &Leg, slack_us: i64) -> i64 {
    if leg.protocol == Protocol::Tcp { slack_us.max(MOST_APART_US) } else { slack_us }
}

/// What speaks against the pair whatever the clocks say.
pub fn contradiction_but_time(client: &Leg, server: &Leg) -> Option<Contradiction> {
    use Contradiction::*;
    let tests: [(Contradiction, Test); 9] = [
        (Protocol, protocols_differ),
        (Method, |c, s| differ(&c.method, &s.method)),
        (RequestId, |c, s| c.same_request(s) == Some(false)),
        (Trace, |c, s| differ(&c.trace.map(|t| t.trace_id), &s.trace.map(|t| t.trace_id))),
        (Hop, |c, s| differ(&c.hop, &s.hop)),
        (Header, |c, s| differ(&header_of(c), &header_of(s))),
        (Callee, callees_differ),
        (Caller, |c, s| c.local.agrees_with(&s.peer) == Some(false)),
        (Path, paths_differ),
    ];
    tests.iter().find(|(_, speaks_against)| speaks_against(client, server)).map(|(what, _)| *what)
}

/// Whether the two intervals touch when the clocks may be `slack_us` apart.
pub fn overlap(a: &Leg, b: &Leg, slack_us: i64) -> bool {
    a.start <= b.end().plus_us(slack_us) && b.start <= a.end().plus_us(slack_us)
}

/// Both say something, and not the same.
pub fn differ<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if a != b)
}

/// What only the name of a file says of an instance need not be the service's name: the same connection outweighs it.
fn callees_differ(client: &Leg, server: &Leg) -> bool {
    let named_by_file = server.local.assurance == Assurance::Asserted && server.local.spiffe_id.is_none();
    let same_socket = client.socket.is_some() && client.socket == server.socket;
    client.peer.agrees_with(&server.local) == Some(false) && !(named_by_file && same_socket)
}

fn header_of(leg: &Leg) -> Option<(crate::model::SpanId, &str)> {
    leg.header.as_ref().map(|h| (h.span_id, h.signature.as_str()))
}

fn protocols_differ(client: &Leg, server: &Leg) -> bool {
    (client.protocol == Protocol::Tcp) != (server.protocol == Protocol::Tcp)
        && client.protocol != Protocol::Unknown
        && server.protocol != Protocol::Unknown
}

/// A Worker cuts its record's path at 256 characters, so a long path is compared by its beginning.
pub fn name_other_paths(client: &Leg, server: &Leg) -> bool {
    let (Some(a), Some(b)) = (&client.path, &server.path) else { return false };
    a != b && !(a.len() >= 256 && b.starts_with(a.as_str()))
}

/// A route may rewrite the path between the two proxies, as a rule its beginning; the same hop, or the same socket and request id with
/// the same end of the path, outweighs that.
fn paths_differ(client: &Leg, server: &Leg) -> bool {
    if !name_other_paths(client, server) {
        return false;
    }
    let same_hop = client.hop.is_some() && client.hop == server.hop;
    let same_request = client.same_request(server) == Some(true);
    let same_socket = client.socket.is_some() && client.socket == server.socket;
    let same_end =
        |path: &Option<String>| path.as_deref().and_then(|p| p.rsplit('/').next()).map(str::to_owned);
    !(same_hop || (same_request && same_socket && same_end(&client.path) == same_end(&server.path)))
}

/// Whether both legs carry the same trace, request id or hop.
pub fn share_a_key(a: &Leg, b: &Leg) -> bool {
    let hop = a.hop.is_some() && a.hop == b.hop;
    hop || a.same_request(b) == Some(true) || a.trace_ids().any(|t| b.trace_ids().any(|other| other == t))
}

/// Both proxies saw both certificates, and they agree.
pub fn both_verified(client: &Leg, server: &Leg) -> bool {
    let all = [&client.local, &client.peer, &server.local, &server.peer];
    all.iter().all(|identity| identity.assurance == Assurance::Mtls)
        && client.peer.agrees_with(&server.local) == Some(true)
        && client.local.agrees_with(&server.peer) == Some(true)
}
