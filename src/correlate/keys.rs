//! Keys under which legs find each other and people find calls, as 64-bit hashes. A collision only widens a search.

use crate::model::{Call, Leg, LegId, LineHash, ObserverKind, RequestKey, Side, SocketPair, SpanId, TraceId};
use sha2::{Digest, Sha256};

pub(super) fn hash(kind: u8, value: impl AsRef<[u8]>) -> i64 {
    let digest = Sha256::new().chain_update([kind]).chain_update(value).finalize();
    i64::from_be_bytes(digest[..8].try_into().expect("a SHA-256 has 32 bytes"))
}

pub fn trace(id: &TraceId) -> i64 {
    hash(b't', id.0)
}

pub fn request(key: &RequestKey) -> i64 {
    match key {
        RequestKey::Uuid(digits) => hash(b'u', digits.to_be_bytes()),
        RequestKey::Other(text) => hash(b'r', text.as_bytes()),
    }
}

pub fn hop(hop: &str) -> i64 {
    hash(b'h', hop)
}

pub fn ray(ray: &str) -> i64 {
    hash(b'y', ray)
}

pub fn span(id: &SpanId) -> i64 {
    hash(b's', id.0)
}

pub fn line(hash_of_line: &LineHash) -> i64 {
    hash(b'l', hash_of_line.0)
}

/// What a leg names by which legs of one call, or of one trace, find each other whatever the side.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Name<'a> {
    Trace(TraceId),
    Request(RequestKey),
    Hop(&'a str),
    Ray(&'a str),
    /// Between a leg that a program made and the leg in whose service it did, and between two copies of a leg that names nothing.
    Leg(LegId),
}

impl Name<'_> {
    fn key(&self) -> i64 {
        match self {
            Name::Trace(id) => trace(id),
            Name::Request(key) => request(key),
            Name::Hop(id) => hop(id),
            Name::Ray(id) => ray(id),
            Name::Leg(id) => hash(b'g', id.0),
        }
    }
}

/// Trace, request id, hop, ray, and what ties the legs of one line or of one Worker's event: all by which a leg is sought, and found.
pub fn names(leg: &Leg) -> Vec<Name<'_>> {
    let mut names: Vec<Name> = leg.trace_ids().map(Name::Trace).collect();
    names.extend(leg.request_key().map(Name::Request));
    names.extend([&leg.hop, &leg.parent_hop].into_iter().flatten().map(|h| Name::Hop(h)));
    names.extend([&leg.ray, &leg.parent_ray].into_iter().flatten().map(|r| Name::Ray(r)));
    let makes_calls = leg.side == Side::Server && leg.observer.kind != ObserverKind::Sidecar;
    if makes_calls || names.is_empty() {
        names.push(Name::Leg(leg.id));
    }
    names.extend(leg.made_by.map(Name::Leg));
    names
}

/// Keys by which legs of one call, or of one trace, find each other whatever line tells of them: trace, request id, hop, ray.
pub fn shared(leg: &Leg) -> Vec<i64> {
    names(leg).iter().filter(|name| !matches!(name, Name::Leg(_))).map(Name::key).collect()
}

/// The keys of its [`names`].
pub fn sought(leg: &Leg) -> Vec<i64> {
    names(leg).iter().map(Name::key).collect()
}

/// Under what a leg looks for calls on its own connection: the side it looks for, and why.
#[derive(Clone, Copy)]
enum Wanted {
    /// Whatever went over the connection.
    Any,
    /// A leg that names nothing but its socket.
    Nameless,
    /// A server leg whose connection no proxy has been known to hold.
    Unexplained,
}

fn socket(wanted: Wanted, pair: &SocketPair) -> i64 {
    let kind = match wanted {
        Wanted::Any => b'A',
        Wanted::Nameless => b'N',
        Wanted::Unexplained => b'U',
    };
    hash(kind, format!("{}|{}", pair.client, pair.server))
}

/// Keys under which a leg looks along its connection for what it could not find otherwise.
///
/// Legs that name a trace or request find each other by that; only one that names nothing must look at everything on its connection,
/// since it may be the other side of a leg that seems to have one: else each call of a long connection would find every other.
pub fn along_connection(leg: &Leg) -> Vec<i64> {
    let Some(pair) = leg.socket.as_ref().filter(|_| of_mesh(leg)) else { return Vec::new() };
    let mut wanted = vec![Wanted::Nameless];
    if leg.is_nameless() {
        wanted.push(Wanted::Any);
    }
    if leg.side == Side::Client {
        wanted.push(Wanted::Unexplained);
    }
    wanted.into_iter().map(|w| socket(w, pair)).collect()
}

/// All keys under which a call is stored. `unexplained`: a server leg without a client leg, on a connection that the caller's
/// own proxy has not been known to hold.
pub fn of_call(call: &Call, unexplained: bool) -> Vec<i64> {
    let mut keys: Vec<i64> = call.legs.iter().flat_map(sought).collect();
    keys.extend(call.legs.iter().filter_map(|l| l.span_id).map(|s| span(&s)));
    keys.extend(call.legs.iter().map(|l| line(&l.line.line_sha256)));
    let nameless = call.legs.iter().any(|l| of_mesh(l) && l.is_nameless());
    for pair in call.legs.iter().filter(|l| of_mesh(l)).filter_map(|l| l.socket.as_ref()) {
        // A call joined by a leg without a name may yet be joined better: it stays to be found along its connection.
        let wanted = [
            Some(Wanted::Any),
            nameless.then_some(Wanted::Nameless),
            unexplained.then_some(Wanted::Unexplained),
        ];
        keys.extend(wanted.into_iter().flatten().map(|w| socket(w, pair)));
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn of_mesh(leg: &Leg) -> bool {
    leg.is_mesh_client() || leg.is_mesh_server()
}
