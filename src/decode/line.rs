//! The line that is being decoded: where it stands in the evidence, how its legs get their ids, and a leg without content.
//!
//! A leg's id is the first 16 bytes of SHA-256 over a natural key, so that the same line from two sources, or the same event
//! by two carriers, is one leg. Every part is preceded by its length: no two keys run together into the same bytes.

use crate::model::{
    Certificate, Delivery, Identity, LegFields, LegId, LineHash, LineRef, Observer, Protocol, ResponseFlags,
    Side, Timestamp,
};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Domain of all leg keys; a change of any rule below needs a new number, since ids are kept for ever.
const DOMAIN: &str = "calltrail/leg/1";

pub struct Line<'a> {
    pub reference: LineRef,
    /// Name of the proxy that wrote the line, where the upload or a wrapper says so.
    pub proxy: Option<&'a str>,
    /// How many identical lines stand before this one in its delivery.
    pub occurrence: u32,
}

impl<'a> Line<'a> {
    /// `source`: the delivery's, shared by all its lines.
    pub fn new(delivery: &'a Delivery, source: &Arc<str>, number: u64, position: u32, raw: &[u8]) -> Self {
        Line {
            reference: LineRef {
                source: source.clone(),
                delivery: number,
                line: position,
                line_sha256: LineHash(Sha256::digest(raw).into()),
                received_at: delivery.received_at,
            },
            proxy: delivery.proxy.as_deref(),
            occurrence: 0,
        }
    }

    /// Id of a leg whose line carries no key of its own. `part` tells the legs of one line apart.
    pub fn own_leg_id(&self, part: &str) -> LegId {
        let hash = self.reference.line_sha256.to_string();
        leg_id("line", &[&self.reference.source, &hash, &self.occurrence.to_string(), part])
    }
}

/// Id of a leg by its natural key; `kind` says whose key it is.
pub fn leg_id(kind: &str, parts: &[&str]) -> LegId {
    let mut hasher = Sha256::new();
    for part in [DOMAIN, kind].iter().chain(parts) {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let digest = hasher.finalize();
    LegId(digest[..16].try_into().expect("a SHA-256 has 32 bytes"))
}

/// A leg that says nothing yet but who saw it, from which side, and when it began.
pub fn blank_leg(id: LegId, line: &Line<'_>, side: Side, observer: Observer, start: Timestamp) -> LegFields {
    LegFields {
        id,
        line: line.reference.clone(),
        side,
        observer,
        made_by: None,
        local: Identity::unknown(),
        peer: Identity::unknown(),
        peer_certificate: Certificate::default(),
        protocol: Protocol::Unknown,
        start,
        duration_us: None,
        method: None,
        authority: None,
        path: None,
        status: None,
        grpc_status: None,
        flags: ResponseFlags::default(),
        response_details: None,
        termination_details: None,
        transport_failure: None,
        attempts: None,
        request_body_bytes: None,
        response_body_bytes: None,
        trace: None,
        span_id: None,
        parent_span_id: None,
        request_id: None,
        ray: None,
        parent_ray: None,
        colo: None,
        hop: None,
        parent_hop: None,
        header_logged: false,
        header: None,
        malformed_header: None,
        socket: None,
        connection_id: None,
        verdict: None,
        edge_principal: None,
        edge_decision: None,
        worker_outcome: None,
        truncated: false,
        sequence: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_key_do_not_run_together() {
        assert_ne!(leg_id("x", &["ab", "c"]), leg_id("x", &["a", "bc"]));
        assert_ne!(leg_id("x", &["a"]), leg_id("y", &["a"]));
    }

    #[test]
    fn an_id_never_changes() {
        // Links to calls that people keep rest on this value.
        assert_eq!(leg_id("envoy", &["u", "client"]).to_string(), "a5c6f15d24260b460a995d52ccc22f5c");
    }
}
