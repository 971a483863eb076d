//! Sets of things whose differences are known: each tie says by how much one is ahead of another.

use std::collections::BTreeMap;

/// A forest in which each thing knows how far it is ahead of its parent (union-find with offsets).
#[derive(Debug)]
pub struct Potentials<T> {
    place: BTreeMap<T, usize>,
    parent: Vec<usize>,
    ahead: Vec<i64>,
    size: Vec<usize>,
}

impl<T> Default for Potentials<T> {
    fn default() -> Self {
        Potentials { place: BTreeMap::new(), parent: Vec::new(), ahead: Vec::new(), size: Vec::new() }
    }
}

impl<T: Ord + Copy> Potentials<T> {
    /// `one` is ahead of `other` by so much. Where a difference between the two is known already, that one stands.
    pub fn tie(&mut self, one: T, other: T, ahead: i64) {
        let (one, other) = (self.place_of(one), self.place_of(other));
        let ((a, a_ahead), (b, b_ahead)) = (self.root(one), self.root(other));
        if a != b {
            // The root of the larger set stays, of equal ones the older: the ways to it stay short, and the answer follows from the
            // order of the ties alone.
            let a_over_b = ahead.saturating_add(b_ahead).saturating_sub(a_ahead);
            let a_goes = (self.size[a], std::cmp::Reverse(a)) < (self.size[b], std::cmp::Reverse(b));
            let (child, parent, ahead) =
                if a_goes { (a, b, a_over_b) } else { (b, a, a_over_b.saturating_neg()) };
            self.parent[child] = parent;
            self.size[parent] += self.size[child];
            self.ahead[child] = ahead;
        }
    }

    /// The number of the set, and how far the thing is ahead of the first of its set; `None` for what was never tied.
    pub fn of(&self, thing: T) -> Option<(usize, i64)> {
        self.place.get(&thing).map(|&place| self.root(place))
    }

    fn place_of(&mut self, thing: T) -> usize {
        let next = self.parent.len();
        let place = *self.place.entry(thing).or_insert(next);
        if place == next {
            self.parent.push(next);
            self.ahead.push(0);
            self.size.push(1);
        }
        place
    }

    fn root(&self, place: usize) -> (usize, i64) {
        let (mut at, mut ahead) = (place, 0i64);
        while self.parent[at] != at {
            ahead = ahead.saturating_add(self.ahead[at]);
            at = self.parent[at];
        }
        (at, ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_add_up_along_the_ties() {
        let mut clocks = Potentials::default();
        clocks.tie("b", "a", 5);
        clocks.tie("c", "b", -2);
        clocks.tie("z", "y", 1);
        clocks.tie("c", "a", 100);
        let ahead = |one: &str, other: &str| clocks.of(one).unwrap().1 - clocks.of(other).unwrap().1;
        assert_eq!((ahead("b", "a"), ahead("c", "a"), ahead("z", "y")), (5, 3, 1));
        assert_ne!(clocks.of("a").unwrap().0, clocks.of("z").unwrap().0);
        assert_eq!(clocks.of("nobody"), None);
    }
}
