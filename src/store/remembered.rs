//! What a process keeps in memory of rows that never change once they are committed: the numbers of parties, runs of keys,
//! dictionaries. It is never the only place of anything, and what it has forgotten is read again.

use super::dictionary::{Dictionary, Packing};
use super::key_held::{KEY_MEMORY, Run};
use super::party::Party;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Parties above which all are forgotten: users come and go.
const MOST_PARTIES: usize = 200_000;
/// Runs that may be kept although they are no more.
const SPARE_RUNS: usize = 8;

#[derive(Default)]
pub(super) struct Remembered {
    parties: Mutex<HashMap<Party, i64>>,
    runs: Mutex<BTreeMap<i64, Arc<Run>>>,
    /// As it was set.
    key_memory: Mutex<Option<usize>>,
    dictionaries: Mutex<BTreeMap<u8, Arc<Dictionary>>>,
    packing: Mutex<Packing>,
}

/// Nothing is left half changed where a thread could panic: what it held is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Remembered {
    pub(super) fn parties(&self, of: &[Party]) -> HashMap<Party, i64> {
        let known = lock(&self.parties);
        of.iter().filter_map(|party| Some((party.clone(), *known.get(party)?))).collect()
    }

    pub(super) fn remember_parties(&self, parties: impl IntoIterator<Item = (Party, i64)>) {
        let mut known = lock(&self.parties);
        known.extend(parties);
        if known.len() > MOST_PARTIES {
            known.clear();
        }
    }

    pub(super) fn runs(&self, ids: impl IntoIterator<Item = i64>) -> BTreeMap<i64, Arc<Run>> {
        let known = lock(&self.runs);
        ids.into_iter().filter_map(|id| Some((id, known.get(&id)?.clone()))).collect()
    }

    pub(super) fn remember_run(&self, run: Run) -> Arc<Run> {
        let run = Arc::new(run);
        self.remember_runs([run.clone()]);
        run
    }

    pub(super) fn set_key_memory(&self, bytes: usize) {
        *lock(&self.key_memory) = Some(bytes);
    }

    fn key_memory(&self) -> usize {
        lock(&self.key_memory).unwrap_or(KEY_MEMORY)
    }

    /// How many bytes of runs may be held besides those that are, of so many times what is meant for them.
    pub(super) fn room_for_keys(&self, times: usize) -> usize {
        let held: usize = lock(&self.runs).values().map(|run| run.bytes()).sum();
        self.key_memory().saturating_mul(times).saturating_sub(held)
    }

    /// As many as it takes, the oldest first.
    pub(super) fn let_go_of_filters_but(&self, used: &BTreeSet<i64>) {
        let (mut runs, most) = (lock(&self.runs), self.key_memory());
        let mut held: usize = runs.values().map(|run| run.bytes()).sum();
        for (id, run) in runs.iter_mut() {
            if held <= most {
                return;
            }
            if run.blocks > 0 && run.whole.is_some() && !used.contains(id) {
                held -= run.bytes();
                *run = Arc::new(run.without_filter());
            }
        }
    }

    pub(super) fn remember_runs(&self, runs: impl IntoIterator<Item = Arc<Run>>) {
        lock(&self.runs).extend(runs.into_iter().map(|run| (run.id, run)));
    }

    /// Forgets runs that have been merged into others, when there are many of them. `ids`: those that there are, sorted.
    pub(super) fn forget_runs_but(&self, ids: &[i64]) {
        let mut known = lock(&self.runs);
        if known.len() > ids.len() + SPARE_RUNS {
            known.retain(|id, _| ids.binary_search(id).is_ok());
        }
    }

    pub(super) fn dictionary(&self, id: u8) -> Option<Arc<Dictionary>> {
        lock(&self.dictionaries).get(&id).cloned()
    }

    pub(super) fn remember_dictionary(&self, dictionary: Arc<Dictionary>) {
        lock(&self.dictionaries).insert(dictionary.id, dictionary);
    }

    pub(super) fn packing(&self) -> MutexGuard<'_, Packing> {
        lock(&self.packing)
    }
}
