//! From new legs to everything that they can touch: the join's answer depends on nothing outside this set.

use super::compat::{overlap, slack_of};
use super::facts::{CONNECTION_SLACK_US, lone_mesh_server};
use super::keys;
use crate::model::{Call, CallId, Leg, LegId, SocketPair, Timestamp};
use crate::store::{Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const DAY_US: i64 = 24 * 3_600_000_000;

/// A closed set of legs, with the stored calls that it replaces.
#[derive(Debug, Default)]
pub struct Closure {
    pub legs: BTreeMap<LegId, Vec<Leg>>,
    pub replaced: BTreeMap<CallId, Arc<Call>>,
    /// With the day of the leg that looked.
    searched: BTreeSet<(i64, i64)>,
}

impl Closure {
    /// Widens `new` by all stored calls that share a key with a leg of the set and lie within a day of it, until nothing new is found.
    pub async fn around(store: &Store, new: Vec<Leg>, slack_us: i64) -> Result<Closure, StoreError> {
        let mut closure = Closure::default();
        let mut frontier = new;
        while !frontier.is_empty() {
            let mut found: BTreeMap<CallId, Arc<Call>> = BTreeMap::new();
            for legs in of_one_time(&frontier) {
                closure.search(store, &legs, slack_us, &mut found).await?;
            }
            closure.add(frontier);
            frontier = closure.replace(found);
        }
        Ok(closure)
    }

    /// For what shares a key with a leg of some that are of one time, and is of about that time itself.
    async fn search(
        &mut self,
        store: &Store,
        legs: &[&Leg],
        slack_us: i64,
        found: &mut BTreeMap<CallId, Arc<Call>>,
    ) -> Result<(), StoreError> {
        let first = legs.iter().map(|leg| leg.start).min().unwrap_or_default();
        let last = legs.iter().map(|leg| leg.end()).max().unwrap_or_default();
        for call in store.calls_by_key_near(&self.unsearched(legs), first, last).await? {
            found.insert(call.id, call);
        }
        // What was found along a connection is judged against the leg that looked, so each leg looks for itself.
        let mut by_socket: Vec<i64> = legs.iter().flat_map(|leg| keys::along_connection(leg)).collect();
        by_socket.sort_unstable();
        by_socket.dedup();
        let mut looking: BTreeMap<&SocketPair, Vec<&Leg>> = BTreeMap::new();
        for leg in legs {
            leg.socket.iter().for_each(|socket| looking.entry(socket).or_default().push(leg));
        }
        for call in store.calls_by_key_near(&by_socket, first, last).await? {
            let sockets: BTreeSet<&SocketPair> = call.legs.iter().filter_map(|l| l.socket.as_ref()).collect();
            let mut near = sockets.iter().filter_map(|s| looking.get(s)).flatten();
            if near.any(|leg| touches(&call, leg, slack_us)) {
                found.insert(call.id, call);
            }
        }
        Ok(())
    }

    /// The legs in one row, copies included.
    pub fn all_legs(&self) -> impl Iterator<Item = &Leg> {
        self.legs.values().flatten()
    }

    /// Keys that have not been searched for about their leg's day.
    fn unsearched(&mut self, legs: &[&Leg]) -> Vec<i64> {
        let day = |leg: &Leg| leg.start.micros().div_euclid(DAY_US);
        let keys = legs.iter().flat_map(|leg| keys::sought(leg).into_iter().map(|key| (key, day(leg))));
        keys.filter(|of_day| self.searched.insert(*of_day)).map(|(key, _)| key).collect()
    }

    fn add(&mut self, legs: Vec<Leg>) {
        for leg in legs {
            self.legs.entry(leg.id).or_default().push(leg);
        }
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

/// The legs in groups between which two days lie: a clock that is far off makes nobody look through all that lies between.
fn of_one_time(legs: &[Leg]) -> Vec<Vec<&Leg>> {
    let mut sorted: Vec<&Leg> = legs.iter().collect();
    sorted.sort_by_key(|leg| leg.start);
    let mut groups: Vec<Vec<&Leg>> = Vec::new();
    let mut reaches = Timestamp::default();
    for leg in sorted {
        match groups.last_mut() {
            Some(group) if leg.start <= reaches.plus_us(2 * DAY_US) => group.push(leg),
            _ => groups.push(vec![leg]),
        }
        reaches = reaches.max(leg.end());
    }
    groups
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
