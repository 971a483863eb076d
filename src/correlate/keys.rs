//! Keys under which legs find each other and people find calls, as 64-bit hashes. A collision only widens a search.

use crate::model::{SocketPair, TraceId};
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

pub fn socket(pair: &SocketPair) -> i64 {
    hash(b'k', &format!("{}|{}", pair.client, pair.server))
}
