//! Keys under which legs find each other and people find calls, as 64-bit hashes. A collision only widens a search.

use crate::model::{Call, Leg, Side, SocketPair, TraceId};
use sha2::{Digest, Sha256};

fn hash(kind: u8, text: &str) -> i64 {
    let digest = Sha256::new().chain_update([kind]).chain_update(text.as_bytes()).finalize();
    i64::from_be_bytes(digest[..8].try_into().expect("a SHA-256 has 32 bytes"))
}

pub fn trace(id: &TraceId) -> i64 {
    hash(b't', &id.to_string())
}

/// Of a request id in its compared form ([`crate::model::Leg::request_key`]).
pub fn request(request_key: &str) -> i64 {
    hash(b'r', request_key)
}

pub fn hop(hop: &str) -> i64 {
    hash(b'h', hop)
}

pub fn ray(ray: &str) -> i64 {
    hash(b'y', ray)
}

pub fn span(span_id: &str) -> i64 {
    hash(b's', span_id)
}

pub fn line(line_sha256: &str) -> i64 {
    hash(b'l', line_sha256)
}

fn socket_of(kind: u8, pair: &SocketPair) -> i64 {
    hash(kind, &format!("{}|{}", pair.client, pair.server))
}

/// Keys by which legs of one call, or of one trace, find each other whatever the side: trace, request id, hop, ray.
pub fn shared(leg: &Leg) -> Vec<i64> {
    let mut keys: Vec<i64> = leg.trace_ids().map(|t| trace(&t)).collect();
    keys.extend(leg.request_key().map(|r| request(&r)));
    keys.extend([&leg.hop, &leg.parent_hop].into_iter().flatten().map(|h| hop(h)));
    keys.extend([&leg.ray, &leg.parent_ray].into_iter().flatten().map(|r| ray(r)));
    keys
}

/// Key under which a leg looks for the other side of its connection, where that side could not be found otherwise.
pub fn other_side(leg: &Leg) -> Option<i64> {
    let pair = leg.socket.as_ref().filter(|_| of_mesh(leg))?;
    Some(match leg.side {
        Side::Client => socket_of(b'S', pair),
        Side::Server => socket_of(b'C', pair),
    })
}

/// All keys under which a call is stored. Only a call that may still be joined by its socket pair is found by it: one with a
/// single side, or with a leg that names nothing else; otherwise every call of a long connection would find every other.
pub fn of_call(call: &Call) -> Vec<i64> {
    let mut keys: Vec<i64> = call.legs.iter().flat_map(shared).collect();
    keys.extend(call.legs.iter().filter_map(|l| l.span_id).map(|s| span(&s.to_string())));
    keys.extend(call.legs.iter().map(|l| line(&l.line.line_sha256.to_string())));
    let one_sided = call.legs.iter().all(|l| l.side == call.legs[0].side);
    for leg in call.legs.iter().filter(|l| of_mesh(l) && (one_sided || shared(l).is_empty())) {
        keys.extend(leg.socket.as_ref().map(|pair| match leg.side {
            Side::Client => socket_of(b'C', pair),
            Side::Server => socket_of(b'S', pair),
        }));
    }
    // The leg that names nothing shows the other side's socket, too: a better partner may yet come for that one.
    if call.legs.iter().any(|l| of_mesh(l) && shared(l).is_empty()) {
        let pairs = call.legs.iter().filter(|l| of_mesh(l)).filter_map(|l| l.socket.as_ref());
        keys.extend(pairs.flat_map(|p| [socket_of(b'C', p), socket_of(b'S', p)]));
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn of_mesh(leg: &Leg) -> bool {
    leg.is_mesh_client() || leg.is_mesh_server()
}
