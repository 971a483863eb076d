//! The Merkle tree of RFC 6962 section 2.1, append-only: hashes of leaves and nodes, and a [`Frontier`] that is all one must
//! keep to append and to say the root. It stores no leaves and proves nothing itself.

use sha2::{Digest, Sha256};

pub type Hash = [u8; 32];

/// SHA-256(0x00 || leaf).
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(leaf).finalize().into()
}

/// SHA-256(0x01 || left || right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// Root over hashes of leaves; that of no leaves is the hash of nothing.
pub fn root(leaf_hashes: impl IntoIterator<Item = Hash>) -> Hash {
    let mut frontier = Frontier::default();
    leaf_hashes.into_iter().for_each(|hash| frontier.append(hash));
    frontier.root()
}

/// The roots of the full subtrees of a tree, largest first: one for each 1 in the binary form of its size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

/// A stored frontier whose bytes do not fit its size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a tree of {size} leaves has a frontier of {} bytes, not {bytes}", 32 * size.count_ones())]
pub struct FrontierError {
    size: u64,
    bytes: usize,
}

impl Frontier {
    /// From what [`Frontier::to_bytes`] gave for a tree of that size.
    pub fn from_bytes(size: u64, bytes: &[u8]) -> Result<Self, FrontierError> {
        let (roots, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() || roots.len() != size.count_ones() as usize {
            return Err(FrontierError { size, bytes: bytes.len() });
        }
        Ok(Frontier { size, roots: roots.to_vec() })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        self.roots.concat()
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn append(&mut self, leaf_hash: Hash) {
        let mut hash = leaf_hash;
        // Each trailing 1 of the old size is a full subtree as large as the one just completed.
        for _ in 0..self.size.trailing_ones() {
            let left = self.roots.pop().unwrap_or_default();
            hash = node_hash(&left, &hash);
        }
        self.roots.push(hash);
        self.size += 1;
    }

    pub fn root(&self) -> Hash {
        let mut smallest_first = self.roots.iter().rev();
        match smallest_first.next() {
            None => Sha256::digest([]).into(),
            Some(last) => smallest_first.fold(*last, |right, left| node_hash(left, &right)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaves and roots of certificate-transparency-go `merkletree/merkle_tree_test.go` (and the same in RFC 6962's own
    /// reference implementation): root of the first n leaves, for n from 1.
    const LEAVES: [&str; 8] =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let mut frontier = Frontier::default();
        for (leaf, expected) in LEAVES.iter().zip(ROOTS) {
            frontier.append(leaf_hash(&hex::decode(leaf).unwrap()));
            assert_eq!(hex::encode(frontier.root()), expected, "of {} leaves", frontier.size());
        }
    }

    #[test]
    fn the_root_of_nothing_is_the_hash_of_nothing() {
        let expected = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hex::encode(root([])), expected);
    }

    /// The definition in RFC 6962 section 2.1, word for word.
    fn by_definition(leaf_hashes: &[Hash]) -> Hash {
        match leaf_hashes {
            [] => Sha256::digest([]).into(),
            [one] => *one,
            many => {
                let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
                node_hash(&by_definition(left), &by_definition(right))
            }
        }
    }

    #[test]
    fn appending_one_by_one_agrees_with_the_definition_at_every_size() {
        let leaves: Vec<Hash> = (0u32..300).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let mut frontier = Frontier::default();
        for n in 0..leaves.len() {
            assert_eq!(frontier.root(), by_definition(&leaves[..n]), "of {n} leaves");
            frontier.append(leaves[n]);
        }
    }

    #[test]
    fn a_stored_frontier_goes_on_where_it_was() {
        let mut kept = Frontier::default();
        (0u8..11).for_each(|n| kept.append(leaf_hash(&[n])));
        let mut read = Frontier::from_bytes(kept.size(), &kept.to_bytes()).unwrap();
        kept.append(leaf_hash(b"next"));
        read.append(leaf_hash(b"next"));
        assert_eq!(read, kept);
    }

    #[test]
    fn bytes_that_do_not_fit_the_size_are_refused() {
        let error = Frontier::from_bytes(3, &[0; 32]).unwrap_err().to_string();
        assert_eq!(error, "a tree of 3 leaves has a frontier of 64 bytes, not 32");
    }
}
