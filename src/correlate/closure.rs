//! From new legs to everything that they can touch: the join's answer depends on nothing outside this set.

use super::compat::{overlap, slack_of};
use super::facts::{CONNECTION_SLACK_US, lone_mesh_server};
use super::keys;
use crate::model::{Call, CallId, Leg, SocketPair};
use crate::store::{Store, StoreError};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// A closed set of legs, with the stored calls that it replaces.
#[derive(Debug, Default)]
pub struct Closure {
    /// Copies included.
    pub legs: Vec<Leg>,
    pub replaced: BTreeMap<CallId, Arc<Call>>,
    searched: HashSet<i64>,
}

impl Closure {
    /// Widens `new` by all stored calls that share a key with a leg of the set, until nothing new is found.
    pub async fn around(store: &Store, new: Vec<Leg>, slack_us: i64) -> Result<Closure, StoreError> {
        let mut closure = Closure::default();
        let mut frontier = new;
        while !frontier.is_empty() {
            let mut found: BTreeMap<CallId, Arc<Call>> = BTreeMap::new();
            for call in store.calls_by_key(&closure.unsearched(&frontier)).await? {
                found.insert(call.id, call);
            }
            // What was found along a connection is judged against the leg that looked, so each leg looks for itself.
            let mut by_socket = of_all(&frontier, keys::along_connection);
            by_socket.par_sort_unstable();
            by_socket.dedup();
            let mut looking: BTreeMap<&SocketPair, Vec<&Leg>> = BTreeMap::new();
            for leg in &frontier {
                leg.socket.iter().for_each(|socket| looking.entry(socket).or_default().push(leg));
            }
            for call in store.calls_by_key(&by_socket).await? {
                let sockets: BTreeSet<&SocketPair> =
                    call.legs.iter().filter_map(|l| l.socket.as_ref()).collect();
                let mut near = sockets.iter().filter_map(|s| looking.get(s)).flatten();
                if near.any(|leg| touches(&call, leg, slack_us)) {
                    found.insert(call.id, call);
                }
            }
            closure.legs.append(&mut frontier);
            frontier = closure.replace(found);
        }
        Ok(closure)
    }

    fn unsearched(&mut self, legs: &[Leg]) -> Vec<i64> {
        let mut keys = of_all(legs, keys::sought);
        keys.retain(|key| self.searched.insert(*key));
        keys
    }

    /// Takes the calls that were not known yet and gives their legs as the next frontier.
    fn replace(&mut self, found: BTreeMap<CallId, Arc<Call>>) -> Vec<Leg> {
        let mut frontier = Vec::new();
        for (id, call) in found {
            if let std::collections::btree_map::Entry::Vacant(place) = self.replaced.entry(id) {
                frontier.extend(call.legs.iter().cloned());
                place.insert(call);
            }
        }
        frontier
    }
}

/// The keys of all the legs, told on all cores.
fn of_all(legs: &[Leg], keys: fn(&Leg) -> Vec<i64>) -> Vec<i64> {
    legs.par_iter().flat_map_iter(keys).collect()
}

/// A call found along a connection matters when it could be the other side of the leg that looked, or when the leg may tell
/// that the connection on which it came was its caller's proxy's own.
fn touches(call: &Call, leg: &Leg, slack_us: i64) -> bool {
    let explains = || {
        let lone = lone_mesh_server(call).filter(|_| leg.is_mesh_client());
        lone.is_some_and(|server| overlap(server, leg, CONNECTION_SLACK_US))
    };
    explains() || call.legs.iter().any(|l| overlap(l, leg, slack_of(leg, slack_us)))
}
