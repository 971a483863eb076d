//! A change on its way into the database, as if it were there already: so that whoever derives can look for what the next deliveries
//! touch while the last ones are being written.
//!
//! It is asked for before the database is: read in this order, a call is found in the one, in the other or in both, and then counts
//! as it is here. It is memory of whoever derives, gone with a failure like the change itself.

use super::call_rows::pairs_of;
use super::key_run::{self, Pair};
use super::{Change, Connection, Store, StoreError, connections};
use crate::model::{Call, CallId, SocketPair};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use tokio::task::JoinHandle;

#[derive(Debug)]
pub(super) struct Underway {
    calls: Vec<Arc<Call>>,
    /// Keys of the calls, each with the call's place, sorted.
    pairs: Vec<Pair>,
    /// What is stored of these is no more, or is here.
    replaced: HashSet<CallId>,
    connections: HashMap<SocketPair, Vec<Connection>>,
}

impl Underway {
    fn of(change: &Change) -> Underway {
        let upserts = change.upserts.iter();
        let mut pairs: Vec<Pair> =
            upserts.clone().zip(0..).flat_map(|(indexed, place)| pairs_of(indexed, place)).collect();
        pairs.sort_unstable();
        let calls: Vec<_> = upserts.map(|indexed| indexed.call.clone()).collect();
        let replaced = calls.iter().map(|call| call.id).chain(change.removed.iter().copied()).collect();
        let mut by_socket: HashMap<SocketPair, Vec<Connection>> = HashMap::new();
        for used in &change.connections {
            by_socket.entry(used.socket.clone()).or_default().push(connections::as_read(used));
        }
        Underway { calls, pairs, replaced, connections: by_socket }
    }

    /// Puts what is here in the place of what is stored.
    pub(super) fn lay_over(&self, stored: &mut Vec<Arc<Call>>, keys: &[i64]) {
        stored.retain(|call| !self.replaced.contains(&call.id));
        let mut keys: Vec<u64> = keys.iter().map(|key| key_run::short(*key)).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut places = Vec::new();
        key_run::collect(&self.pairs, &keys, &mut places);
        places.sort_unstable();
        places.dedup();
        stored.extend(places.into_iter().map(|place| self.calls[place as usize].clone()));
    }

    pub(super) fn connections(&self, socket: &SocketPair) -> impl Iterator<Item = &Connection> {
        self.connections.get(socket).into_iter().flatten()
    }
}

/// Takes the overlay away, however the writing ends.
struct Written(Store);

impl Drop for Written {
    fn drop(&mut self) {
        self.0.set_underway(None);
    }
}

impl Store {
    /// Begins to [`apply`](Store::apply). Until the task has ended, what [`calls_by_key`](Store::calls_by_key) and
    /// [`known_connections`](Store::known_connections) answer to this store has the change in it; all other questions must wait.
    pub fn begin_to_apply(&self, change: Change) -> JoinHandle<Result<(), StoreError>> {
        self.set_underway(Some(Arc::new(Underway::of(&change))));
        let written = Written(self.clone());
        tokio::spawn(async move { written.0.apply(&change).await })
    }

    /// `None` where nothing is being written by whoever derives with this store.
    pub(super) fn underway(&self) -> Option<Arc<Underway>> {
        self.underway.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_underway(&self, change: Option<Arc<Underway>>) {
        *self.underway.lock().unwrap_or_else(PoisonError::into_inner) = change;
    }
}
