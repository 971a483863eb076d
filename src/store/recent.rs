//! What whoever derives has read or written a moment ago, so that it need not be read again.
//!
//! Legs of one call and of one trace come within seconds of each other: nearly everything that a step asks for was written by one of the
//! last. It holds copies only: what is here stands in the database as well, and the database is asked for what is not here. It is
//! right as long as nobody else writes, which the epoch sees to: it begins empty with each epoch, and is emptied by each failure.

use super::apply::all_keys;
use super::{Change, Store};
use crate::model::{Call, CallId};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, MutexGuard, PoisonError};

/// Calls that are held: some seconds' worth of a busy mesh.
const CALLS: usize = 32_768;

impl Store {
    /// The same database for whoever derives: what it writes it also remembers.
    pub fn deriving(&self) -> Store {
        Store { db: self.db.clone(), recent: Some(Arc::default()) }
    }

    /// Forgets everything. `nothing_stored`: there is no call in the database.
    pub(super) fn begin_recent(&self, nothing_stored: bool) {
        if let Some(mut recent) = self.recent() {
            *recent = Recent::begin(nothing_stored);
        }
    }

    pub(super) fn follow(&self, change: &Change) {
        if let Some(mut recent) = self.recent() {
            recent.follow(change);
        }
    }

    /// The calls in memory that carry any of the keys, and whether there are no others.
    pub(super) fn recent_with_keys(&self, keys: &[i64]) -> (Vec<Arc<Call>>, bool) {
        let Some(recent) = self.recent() else { return (Vec::new(), false) };
        (recent.with_keys(keys).into_iter().cloned().collect(), recent.complete)
    }

    fn recent(&self) -> Option<MutexGuard<'_, Recent>> {
        self.recent.as_ref().map(|recent| recent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Calls by their keys, the latest of them.
#[derive(Debug, Default)]
pub(super) struct Recent {
    calls: HashMap<CallId, Held>,
    by_key: HashMap<i64, Vec<CallId>>,
    /// Each call as often as it came; it leaves with its last place.
    order: VecDeque<CallId>,
    /// All that is stored is here: nothing was stored before, and nothing has left.
    complete: bool,
}

#[derive(Debug)]
struct Held {
    call: Arc<Call>,
    keys: Vec<i64>,
    places: usize,
}

impl Recent {
    /// `nothing_stored`: there is no call in the database.
    fn begin(nothing_stored: bool) -> Recent {
        Recent { complete: nothing_stored, ..Recent::default() }
    }

    /// The calls that carry any of the keys, each once.
    fn with_keys(&self, keys: &[i64]) -> Vec<&Arc<Call>> {
        let ids: HashSet<&CallId> = keys.iter().filter_map(|key| self.by_key.get(key)).flatten().collect();
        ids.into_iter().filter_map(|id| self.calls.get(id)).map(|held| &held.call).collect()
    }

    /// Follows a change that has been committed.
    fn follow(&mut self, change: &Change) {
        for id in &change.removed {
            self.take(id);
        }
        for upsert in &change.upserts {
            self.hold(upsert.call.clone(), all_keys(upsert).into_iter().collect());
        }
        while self.calls.len() > CALLS {
            self.let_go();
        }
    }

    fn hold(&mut self, call: Arc<Call>, keys: Vec<i64>) {
        let id = call.id;
        let places = 1 + self.take(&id).map_or(0, |before| before.places);
        for key in &keys {
            self.by_key.entry(*key).or_default().push(id);
        }
        self.calls.insert(id, Held { call, keys, places });
        self.order.push_back(id);
    }

    fn take(&mut self, id: &CallId) -> Option<Held> {
        let held = self.calls.remove(id)?;
        for key in &held.keys {
            if let Some(ids) = self.by_key.get_mut(key) {
                ids.retain(|other| other != id);
                if ids.is_empty() {
                    self.by_key.remove(key);
                }
            }
        }
        Some(held)
    }

    fn let_go(&mut self) {
        let Some(id) = self.order.pop_front() else { return };
        let Some(held) = self.calls.get_mut(&id) else { return };
        held.places -= 1;
        if held.places == 0 {
            self.take(&id);
            self.complete = false;
        }
    }
}
