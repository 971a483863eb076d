//! Which legs have to do with each other at all: the join of a set is the union of the joins of its components.
//!
//! That is what the join promises whatever the batches are (see [`super::assemble()`]). Made use of here, the work on a large batch is
//! that on many small ones, and they can be done side by side. It decides nothing: legs that it keeps together need not be of one
//! call, and all that may concern each other are together.

use super::keys::names;
use crate::model::{Leg, SocketPair};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Parts the legs into sets that share nothing. Sets by their first leg, the legs of each in the order in which they came.
pub fn apart(legs: Vec<Leg>) -> Vec<Vec<Leg>> {
    let mut sets = Sets::new(legs.len());
    sets.tie_by_keys(&legs);
    sets.tie_by_socket(&legs);
    let mut place_of_root = HashMap::new();
    let mut parted: Vec<Vec<Leg>> = Vec::new();
    for (i, leg) in legs.into_iter().enumerate() {
        let place = *place_of_root.entry(sets.root(i)).or_insert(parted.len());
        if place == parted.len() {
            parted.push(Vec::new());
        }
        parted[place].push(leg);
    }
    parted
}

/// For each leg the number of the set to which its keys alone bring it.
pub fn by_keys(legs: &[Leg]) -> Vec<usize> {
    let mut sets = Sets::new(legs.len());
    sets.tie_by_keys(legs);
    (0..legs.len()).map(|i| sets.root(i)).collect()
}

/// Only to be compared with others of the same run: a collision brings two sets together that need not be.
fn hash(name: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// Disjoint sets of places.
struct Sets {
    parent: Vec<usize>,
}

impl Sets {
    fn new(places: usize) -> Self {
        Sets { parent: (0..places).collect() }
    }

    fn root(&mut self, mut at: usize) -> usize {
        while self.parent[at] != at {
            self.parent[at] = self.parent[self.parent[at]];
            at = self.parent[at];
        }
        at
    }

    /// The older root stays, so that the number of a set does not depend on the order of the ties.
    fn tie(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        let (old, new) = (one.min(other), one.max(other));
        self.parent[new] = old;
    }

    fn tie_by_keys(&mut self, legs: &[Leg]) {
        let mut first: HashMap<u64, usize> = HashMap::with_capacity(legs.len() * 3);
        for (i, leg) in legs.iter().enumerate() {
            for name in names(leg) {
                let other = *first.entry(hash(name)).or_insert(i);
                self.tie(i, other);
            }
        }
    }

    /// A leg that names nothing may belong to any other on its connection.
    fn tie_by_socket(&mut self, legs: &[Leg]) {
        let nameless = legs.iter().enumerate().filter(|(_, leg)| leg.is_nameless());
        let mut first: HashMap<&SocketPair, usize> =
            nameless.filter_map(|(i, leg)| leg.socket.as_ref().map(|socket| (socket, i))).collect();
        for (i, leg) in legs.iter().enumerate() {
            if let Some(Entry::Occupied(held)) = leg.socket.as_ref().map(|socket| first.entry(socket)) {
                self.tie(i, *held.get());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_reach_through_others() {
        let mut sets = Sets::new(5);
        sets.tie(3, 4);
        sets.tie(1, 3);
        sets.tie(4, 0);
        assert_eq!((0..5).map(|i| sets.root(i)).collect::<Vec<_>>(), [0, 0, 2, 0, 0]);
    }
}
