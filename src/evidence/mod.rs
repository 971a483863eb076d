//! Commitments over deliveries: what makes the evidence provable. Pure; the tables are the store's.
//!
//! Each delivery is one leaf of an append-only Merkle tree ([`tree`]). The leaf names the source, the time of receipt and the
//! root over commitments to its lines ([`commitment`]): whoever holds a line and its nonce can prove that it was there, and
//! erasing both leaves a place that is still provable and says nothing. [`ledger`] checks what was kept against all that.

pub mod commitment;
pub mod ledger;
pub mod tree;

use crate::model::DeliveryId;
use sha2::{Digest, Sha256};

/// Identity of an upload: SHA-256 over source, NUL, proxy (empty where none is named), NUL and the decompressed body. The same
/// upload sent twice has the same one, whoever received it.
pub fn delivery_id(source: &str, proxy: Option<&str>, body: &[u8]) -> DeliveryId {
    let mut hasher = DeliveryHasher::new(source, proxy);
    hasher.update(body);
    hasher.finish()
}

/// [`delivery_id`] for a body that comes in pieces.
#[derive(Clone)]
pub struct DeliveryHasher(Sha256);

impl DeliveryHasher {
    pub fn new(source: &str, proxy: Option<&str>) -> Self {
        let proxy = proxy.unwrap_or("");
        DeliveryHasher(
            Sha256::new().chain_update(source).chain_update([0]).chain_update(proxy).chain_update([0]),
        )
    }

    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    pub fn finish(self) -> DeliveryId {
        DeliveryId(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_the_sha256_that_anybody_can_compute() {
        // printf 'mesh\0web-1\0{"a":1}\n' | sha256sum
        let id = delivery_id("mesh", Some("web-1"), b"{\"a\":1}\n");
        assert_eq!(id, DeliveryId(Sha256::digest(b"mesh\0web-1\0{\"a\":1}\n").into()));
    }

    #[test]
    fn source_proxy_and_body_each_make_another_upload() {
        let id = delivery_id("mesh", None, b"x");
        assert_ne!(id, delivery_id("mesh2", None, b"x"));
        assert_ne!(id, delivery_id("mesh", Some("web-1"), b"x"));
        assert_ne!(id, delivery_id("mesh", None, b"y"));
        assert_eq!(id, delivery_id("mesh", Some(""), b"x"));
    }

    #[test]
    fn pieces_give_the_id_of_the_whole() {
        let mut hasher = DeliveryHasher::new("mesh", None);
        hasher.update(b"one ");
        hasher.update(b"two");
        assert_eq!(hasher.finish(), delivery_id("mesh", None, b"one two"));
    }
}
