//! Weighs likeness where it is stored: each minute of a callee in which a leg without a key has come, gone or changed, as a
//! whole, from the store to the store.
//!
//! It comes after the keys: what a key joins is no business of likeness. What is still to be weighed stands in the store, under
//! one key, written with the calls themselves: a crash loses nothing of it. When nothing is left, what is stored follows from the
//! legs alone.

use super::decide::{Around, Changes};
use super::places::{self, Minute, Weighed};
use super::rejoin;
use crate::correlate::believed::taken_back;
use crate::correlate::bygone;
use crate::correlate::closure::Closure;
use crate::correlate::difference::{difference, indexed};
use crate::correlate::facts::Facts;
use crate::correlate::inferred::infer_parents;
use crate::correlate::rules::Rules;
use crate::correlate::task::gather_facts;
use crate::model::{Call, CallId, Clock};
use crate::store::{Change, IndexedCall, Position, Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Minutes after which others get their turn.
const MINUTES: usize = 16;
/// Calls that the store gives for one key at most: where a second has more, nobody can say who is whose.
const CROWD: usize = 20_000;
/// Seconds that are read together, unless they hold too much.
const SECONDS: usize = 16;

/// Weighs some of what is still to be weighed; false when nothing was. `at`: where the correlator stands.
pub async fn weigh(
    store: &Store,
    rules: &Rules,
    clock: &dyn Clock,
    at: Position,
) -> Result<bool, StoreError> {
    let waiting = store.calls_by_key(&[places::to_be_weighed()]).await?;
    if waiting.is_empty() {
        return Ok(false);
    }
    let mut more: BTreeSet<Minute> = BTreeSet::new();
    let mut done: BTreeSet<Minute> = BTreeSet::new();
    for minute in whole_calls(&waiting) {
        done.insert(minute.clone());
        more.extend(weigh_minute(store, rules, clock, at, &minute, &done).await?);
    }
    while done.len() < MINUTES
        && let Some(minute) = more.pop_last()
        && done.insert(minute.clone())
    {
        more.extend(weigh_minute(store, rules, clock, at, &minute, &done).await?);
        more.retain(|m| !done.contains(m));
    }
    if waiting.iter().any(|call| places::undecided(call).is_empty()) {
        release(store, at, &done).await?;
    }
    Ok(true)
}

/// All minutes of as many calls as make up a turn. Never some of one call's: it waits until all of its minutes have been weighed in one
/// turn, and would wait for ever.
fn whole_calls(waiting: &[Arc<Call>]) -> BTreeSet<Minute> {
    let mut minutes = BTreeSet::new();
    for call in waiting {
        if minutes.len() >= MINUTES {
            break;
        }
        minutes.extend(concerned(call));
    }
    minutes
}

/// The minutes in which the legs of a call count.
fn concerned(call: &Call) -> BTreeSet<Minute> {
    let nameless = call.legs.iter().filter(|leg| leg.is_nameless());
    nameless.flat_map(places::minutes).collect()
}

/// What a key has joined since it was put here waits only until its old neighbours have been weighed without it.
async fn release(store: &Store, at: Position, done: &BTreeSet<Minute>) -> Result<(), StoreError> {
    let waiting = store.calls_by_key(&[places::to_be_weighed()]).await?;
    let joined = waiting.into_iter().filter(|call| places::undecided(call).is_empty());
    let released = joined.filter(|call| concerned(call).is_subset(done));
    let upserts: Vec<IndexedCall> =
        released.map(|call| indexed(call, false, Weighed::Done, &BTreeSet::new())).collect();
    write(store, at, Change { upserts, ..Change::default() }).await
}

async fn write(store: &Store, at: Position, mut change: Change) -> Result<(), StoreError> {
    (change.epoch, change.from, change.to) = (at.epoch, at.number, at.number);
    store.apply(&change).await
}

/// Decides one minute again. Returns the minutes on which legs still wait that were read here.
async fn weigh_minute(
    store: &Store,
    rules: &Rules,
    clock: &dyn Clock,
    at: Position,
    minute: &Minute,
    done: &BTreeSet<Minute>,
) -> Result<BTreeSet<Minute>, StoreError> {
    let Some(found) = Found::read(store, minute).await? else { return Ok(BTreeSet::new()) };
    let (found, changes) = found.decided().await?;

    let mut closure = Closure::default();
    let read = found.not_weighed.iter().map(|id| &found.around.calls[id]);
    closure.legs.extend(rejoin::legs_of(changes.replaced.values().chain(read).map(|call| &**call)));
    let facts = gather_facts(store, &closure).await?;
    let mut calls = changes.calls(&found.around, &facts, rules);
    closure.replaced = changes.replaced;
    let orphans = infer_parents(store, &closure.replaced, &mut calls).await?;
    bygone::withhold(&closure.replaced, &mut calls, store.bygone().await?.calls_before);
    // What is weighed for the first time had not been believed to be otherwise.
    let mut believed = closure.replaced.clone();
    believed.retain(|id, _| !found.not_weighed.contains(id));
    let journal = taken_back(&believed, &calls, clock.now(), at.number);
    let mut change = Change { journal, ..difference(&closure, calls, orphans, &facts) };

    let waits = found.tick_off(&mut change, &facts, |call| {
        let minutes = places::undecided(call).into_iter().flat_map(places::minutes);
        minutes.filter(|m| !done.contains(m)).collect()
    });
    write(store, at, change).await?;
    Ok(waits)
}

/// What is stored around a minute.
struct Found {
    around: Around,
    not_weighed: BTreeSet<CallId>,
    crowded: bool,
}

impl Found {
    async fn read(store: &Store, minute: &Minute) -> Result<Option<Found>, StoreError> {
        let (mut calls, mut not_weighed, mut crowded) = (BTreeMap::new(), BTreeSet::new(), false);
        for weighed in [Weighed::NotYet, Weighed::Done] {
            let seconds: Vec<i64> = minute.server_seconds().collect();
            let mut to_read: Vec<&[i64]> = seconds.chunks(SECONDS).collect();
            while let Some(seconds) = to_read.pop() {
                let keys = seconds.iter().map(|s| places::in_second(weighed, &minute.callee, *s));
                let near = store.calls_by_key(&keys.collect::<Vec<_>>()).await?;
                if near.len() >= CROWD && seconds.len() > 1 {
                    to_read.extend(seconds.chunks(1));
                    continue;
                }
                crowded |= near.len() >= CROWD;
                if weighed == Weighed::NotYet {
                    not_weighed.extend(near.iter().map(|call| call.id));
                }
                calls.extend(near.into_iter().map(|call| (call.id, call)));
            }
        }
        let around = |calls| Around::new(calls, minute.clone());
        Ok((!calls.is_empty()).then(|| Found { around: around(calls), not_weighed, crowded }))
    }

    /// Decides off the threads that serve requests.
    async fn decided(self) -> Result<(Found, Changes), StoreError> {
        let decided = tokio::task::spawn_blocking(move || {
            let changes = if self.crowded { self.around.decide_none() } else { self.around.decide() };
            (self, changes)
        });
        decided.await.map_err(|e| StoreError::Other(format!("weighing likeness ended early: {e}")))
    }

    /// Marks what was read here, changed or not, as weighed where no other minute is left in which it counts (`left`). Returns
    /// the minutes that are.
    fn tick_off(
        &self,
        change: &mut Change,
        facts: &Facts,
        left: impl Fn(&Call) -> BTreeSet<Minute>,
    ) -> BTreeSet<Minute> {
        let written = change.upserts.iter().map(|upsert| upsert.call.id);
        let written: BTreeSet<CallId> = written.chain(change.removed.iter().copied()).collect();
        let unchanged =
            self.not_weighed.iter().filter(|id| !written.contains(id)).map(|id| &self.around.calls[id]);
        let changed = std::mem::take(&mut change.upserts).into_iter().map(|upsert| upsert.call);
        let mut waits = BTreeSet::new();
        for (call, is_changed) in changed.map(|c| (c, true)).chain(unchanged.map(|c| (c.clone(), false))) {
            let later = left(&call);
            if is_changed || later.is_empty() {
                let weighed = if later.is_empty() { Weighed::Done } else { Weighed::NotYet };
                let unexplained = facts.is_outside_proxy(&call);
                change.upserts.push(indexed(call, unexplained, weighed, &BTreeSet::new()));
            }
            waits.extend(later);
        }
        waits
    }
}
