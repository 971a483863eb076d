//! What a delivery commits to: a nonce and a commitment for each line, the root over them, and the leaf that names it.
//!
//! A commitment without its nonce says nothing about its line, not even to somebody who guesses the line: that is why the
//! nonces come from a secret of the delivery, which can be erased.

use super::tree::{self, Hash};
use crate::model::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// First bytes of each leaf: its kind and version.
const LEAF_VERSION: &[u8] = b"calltrail delivery 1\n";

/// Nonce of a line: HMAC-SHA256 of its place in the delivery, from 0, as eight bytes big-endian.
pub fn nonce(secret: &[u8; 32], index: u64) -> Hash {
    keyed(secret).chain_update(index.to_be_bytes()).finalize().into_bytes().into()
}

/// SHA-256(0x00 || nonce || line).
pub fn line_commitment(nonce: &Hash, line: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(nonce).chain_update(line).finalize().into()
}

/// Root of the RFC 6962 tree whose leaf hashes are the line commitments.
pub fn line_root<'a>(secret: &[u8; 32], lines: impl IntoIterator<Item = &'a [u8]>) -> Hash {
    let keyed = keyed(secret);
    tree::root((0u64..).zip(lines).map(|(index, line)| {
        let nonce = keyed.clone().chain_update(index.to_be_bytes()).finalize().into_bytes();
        line_commitment(&nonce.into(), line)
    }))
}

fn keyed(secret: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret).expect("HMAC takes a key of any length")
}

/// What a delivery's leaf in the tree says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryLeaf<'a> {
    pub source: &'a str,
    pub proxy: Option<&'a str>,
    pub received_at: Timestamp,
    pub line_count: u64,
    pub line_root: Hash,
}

impl DeliveryLeaf<'_> {
    /// The line `calltrail delivery 1`, then: source and proxy, each as its length (four bytes) and its bytes; time of receipt
    /// (microseconds) and number of lines, eight bytes each; the line root. Numbers are big-endian. A delivery without a proxy has
    /// the length 0xffffffff there, to be told from one whose proxy is named "".
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = LEAF_VERSION.to_vec();
        put_text(&mut bytes, Some(self.source));
        put_text(&mut bytes, self.proxy);
        bytes.extend(self.received_at.micros().to_be_bytes());
        bytes.extend(self.line_count.to_be_bytes());
        bytes.extend(self.line_root);
        bytes
    }

    pub fn hash(&self) -> Hash {
        tree::leaf_hash(&self.to_bytes())
    }
}

fn put_text(bytes: &mut Vec<u8>, text: Option<&str>) {
    let length = text.map_or(u32::MAX, |t| u32::try_from(t.len()).unwrap_or(u32::MAX - 1));
    bytes.extend(length.to_be_bytes());
    bytes.extend(text.unwrap_or("").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    #[test]
    fn the_root_of_one_line_is_its_commitment() {
        let expected = line_commitment(&nonce(&SECRET, 0), b"a line");
        assert_eq!(line_root(&SECRET, [b"a line".as_slice()]), expected);
    }

    #[test]
    fn the_root_is_that_of_the_tree_over_the_commitments_in_order() {
        let lines: [&[u8]; 3] = [b"one", b"two\0", b"\xff"];
        let commitments = (0..3).map(|i| line_commitment(&nonce(&SECRET, i as u64), lines[i]));
        assert_eq!(line_root(&SECRET, lines), tree::root(commitments));
    }

    #[test]
    fn equal_lines_have_different_commitments_in_one_delivery_and_in_two() {
        assert_ne!(nonce(&SECRET, 0), nonce(&SECRET, 1));
        assert_ne!(nonce(&SECRET, 0), nonce(&[8; 32], 0));
    }

    #[test]
    fn the_leaf_is_the_documented_bytes() {
        let leaf = DeliveryLeaf {
            source: "mesh",
            proxy: Some("w"),
            received_at: Timestamp(258),
            line_count: 2,
            line_root: [9; 32],
        };
        let mut expected = b"calltrail delivery 1\n\0\0\0\x04mesh\0\0\0\x01w".to_vec();
        expected.extend([0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 2]);
        expected.extend([9; 32]);
        assert_eq!(leaf.to_bytes(), expected);
    }

    #[test]
    fn no_proxy_is_not_the_proxy_without_a_name() {
        let named = |proxy| DeliveryLeaf {
            source: "mesh",
            proxy,
            received_at: Timestamp(0),
            line_count: 0,
            line_root: [0; 32],
        };
        assert_ne!(named(None).hash(), named(Some("")).hash());
    }
}
