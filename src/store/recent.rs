//! What whoever derives has read or written a moment ago, so that it need not be read and unpacked again.
//!
//! Legs of one call and of one trace come within seconds of each other: nearly everything that a step asks for was written by one of
//! the last. It holds copies only, by their numbers, under which nothing else is ever stored. A call that is taken away is forgotten
//! with the change that does so, which is ours alone as long as the epoch is: it begins empty with each, and is emptied by a failure.

use super::statement::Tx;
use super::{IndexedCall, Store, StoreError};
use crate::model::Call;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, MutexGuard, PoisonError};

/// Calls that are held: some seconds' worth of a busy mesh.
const CALLS: usize = 32_768;

#[derive(Debug, Default)]
pub(super) struct Recent {
    calls: HashMap<i64, Arc<Call>>,
    /// As they came; those that were taken away since stay here.
    order: VecDeque<i64>,
    /// How often calls had been removed when it was last written.
    removals: i64,
}

impl Recent {
    fn hold(&mut self, number: i64, call: Arc<Call>) {
        if self.calls.insert(number, call).is_none() {
            self.order.push_back(number);
        }
    }

    /// What there is no room for any more. To be dropped where nobody waits: a call is many pieces of memory.
    #[must_use]
    fn surplus(&mut self) -> Vec<Arc<Call>> {
        let surplus = self.order.len().saturating_sub(CALLS);
        self.order.drain(..surplus).filter_map(|number| self.calls.remove(&number)).collect()
    }
}

impl Store {
    /// The same database for whoever derives: what it writes it also remembers.
    pub fn deriving(&self) -> Store {
        Store { recent: Some(Arc::default()), underway: Arc::default(), ..self.clone() }
    }

    pub(super) fn forget_recent(&self) {
        if let Some(mut recent) = self.recent() {
            *recent = Recent::default();
        }
    }

    /// What retention has removed since the last change may be among them.
    pub(super) fn forget_recent_before(&self, removals: i64) {
        if let Some(mut recent) = self.recent()
            && recent.removals != removals
        {
            *recent = Recent { removals, ..Recent::default() };
        }
    }

    /// Follows a change that has been committed. `new`: in the order of their numbers, from `first_number`; `gone`: numbers.
    pub(super) fn remember_recent<'a>(
        &self,
        new: impl Iterator<Item = &'a IndexedCall>,
        first_number: i64,
        gone: impl Iterator<Item = i64>,
    ) {
        let Some(mut recent) = self.recent() else { return };
        gone.for_each(|number| drop(recent.calls.remove(&number)));
        for (number, indexed) in (first_number..).zip(new) {
            recent.hold(number, indexed.call.clone());
        }
        let surplus = recent.surplus();
        drop(recent);
        rayon::spawn(move || drop(surplus));
    }

    /// The calls with these numbers, in their order, with all their findings; without those that are gone. `remember` what had to be
    /// read: never while a change is being written, for what it takes away may still be read then, and would be remembered after it
    /// had been forgotten.
    pub(super) async fn recent_calls(
        &self,
        tx: &mut Tx,
        numbers: &[i64],
        remember: bool,
    ) -> Result<Vec<Arc<Call>>, StoreError> {
        let mut found: HashMap<i64, Arc<Call>> = HashMap::with_capacity(numbers.len());
        if let Some(recent) = self.recent() {
            found.extend(
                numbers.iter().filter_map(|number| Some((*number, recent.calls.get(number)?.clone()))),
            );
        }
        let missing: Vec<i64> =
            numbers.iter().copied().filter(|number| !found.contains_key(number)).collect();
        let read = self.numbered_calls(tx, &missing).await?;
        let mut recent = self.recent().filter(|_| remember);
        for (number, call) in read {
            let call = Arc::new(call);
            if let Some(recent) = &mut recent {
                recent.hold(number, call.clone());
            }
            found.insert(number, call);
        }
        drop(recent.map(|mut recent| recent.surplus()));
        Ok(numbers.iter().filter_map(|number| found.remove(number)).collect())
    }

    fn recent(&self) -> Option<MutexGuard<'_, Recent>> {
        self.recent.as_ref().map(|recent| recent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
