//! Calls that may as well be another request's work.
//!
//! Whoever copies a request's headers while it is being served makes its calls and those of his own look alike. One of the two has
//! to be taken for the cause; but nobody is named whom not both of them name.

use crate::model::{Call, CallId};
use std::collections::BTreeMap;

/// What might have caused a call as well as its parent did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rival {
    pub call: CallId,
    /// Where the rival's request came into the mesh.
    pub entry: CallId,
}

/// A call → one rival of its parent for each other request.
pub type Contested = BTreeMap<CallId, Vec<Rival>>;

/// Gathers rivals while the tree grows. Where they come from is asked when it has grown: a rival may have begun later than the child.
#[derive(Default)]
pub struct Contest {
    /// By place of the child.
    rivals: BTreeMap<usize, Vec<usize>>,
}

impl Contest {
    /// A parent has been chosen for a call inside the mesh, and might as well have been any of the rivals.
    pub fn note(&mut self, child: usize, rivals: &[usize], calls: &[Call]) {
        if !rivals.is_empty() && !is_of_the_edge(&calls[child]) {
            self.rivals.insert(child, rivals.to_vec());
        }
    }

    /// By the finished tree: the place of each call's parent.
    pub fn contested(self, calls: &[Call], parents: &[Option<usize>]) -> Contested {
        if self.rivals.is_empty() {
            return Contested::new();
        }
        let entries = entries(calls, parents);
        let of_child = |(child, rivals): (usize, Vec<usize>)| {
            let mut others: BTreeMap<usize, usize> = BTreeMap::new();
            for rival in rivals.into_iter().filter(|&rival| entries[rival] != entries[child]) {
                let first = others.entry(entries[rival]).or_insert(rival);
                *first = rival.min(*first);
            }
            // What the child itself led to did not cause it, though it may have come back by way of the edge.
            others.retain(|&entry, _| !leads_to(parents, entry, child));
            let rival =
                |(entry, rival): (usize, usize)| Rival { call: calls[rival].id, entry: calls[entry].id };
            (calls[child].id, others.into_iter().map(rival).collect::<Vec<_>>())
        };
        self.rivals.into_iter().map(of_child).filter(|(_, others)| !others.is_empty()).collect()
    }
}

/// Where the request of each call came into the mesh: the first above it that is of the edge, or that nothing led to.
fn entries(calls: &[Call], parents: &[Option<usize>]) -> Vec<usize> {
    let mut entries: Vec<Option<usize>> = vec![None; calls.len()];
    let mut way = Vec::new();
    for call in 0..calls.len() {
        let mut at = call;
        let entry = loop {
            way.push(at);
            match (entries[at], parents[at]) {
                (Some(known), _) => break known,
                (None, Some(parent)) if !is_of_the_edge(&calls[at]) => at = parent,
                (None, _) => break at,
            }
        };
        way.drain(..).for_each(|at| entries[at] = Some(entry));
    }
    entries.into_iter().enumerate().map(|(call, entry)| entry.unwrap_or(call)).collect()
}

/// Whether walking up from `from` meets `target`.
pub fn leads_to(parents: &[Option<usize>], from: usize, target: usize) -> bool {
    std::iter::successors(Some(from), |&at| parents[at]).any(|at| at == target)
}

/// Told of by the edge, or coming in from it: what led to it is of the edge as well.
pub fn is_of_the_edge(call: &Call) -> bool {
    call.legs.iter().any(|l| l.is_entry() || !l.observer.kind.is_proxy())
}
