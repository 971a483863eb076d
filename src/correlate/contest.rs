//! Calls that may as well be another request's work.
//!
//! Whoever copies a request's headers while it is being served makes its calls and those of his own look alike. One of the two has
//! to be taken for the cause; but nobody is named whom not both of them name.

use crate::model::{Call, CallId};
use std::collections::BTreeMap;

/// A call → where the other requests that may have caused it came into the mesh.
pub type Contested = BTreeMap<CallId, Vec<CallId>>;

/// Gathers rivals while the tree grows.
pub struct Contest {
    /// Where the request of each call came into the mesh, as far as the tree has grown.
    entry: Vec<usize>,
    /// Child, and the entry of a rival of its parent.
    rivals: BTreeMap<usize, Vec<usize>>,
}

impl Contest {
    pub fn new(calls: usize) -> Self {
        Contest { entry: (0..calls).collect(), rivals: BTreeMap::new() }
    }

    /// `parent` has been chosen for a call inside the mesh, and might as well have been any of the rivals.
    pub fn note(&mut self, child: usize, parent: usize, rivals: &[usize], calls: &[Call]) {
        if is_of_the_edge(&calls[child]) {
            return;
        }
        let own = self.entry[parent];
        self.entry[child] = own;
        let mut others: Vec<usize> =
            rivals.iter().map(|&rival| self.entry[rival]).filter(|&entry| entry != own).collect();
        others.sort_unstable();
        others.dedup();
        if !others.is_empty() {
            self.rivals.insert(child, others);
        }
    }

    pub fn contested(self, calls: &[Call]) -> Contested {
        let ids = |entries: Vec<usize>| entries.into_iter().map(|entry| calls[entry].id).collect();
        self.rivals.into_iter().map(|(child, entries)| (calls[child].id, ids(entries))).collect()
    }
}

/// Told of by the edge, or coming in from it: what led to it is of the edge as well.
pub fn is_of_the_edge(call: &Call) -> bool {
    call.legs.iter().any(|l| l.is_entry() || !l.observer.kind.is_proxy())
}
