//! Parents across traces, where they are stored: finds for each orphan what its caller's proxy was serving, and the stored
//! orphans that a new or changed call may have caused.
//!
//! What is decided is in [`super::adopt`]; this only brings together the calls that the decision needs: all that were being
//! served by the orphan's caller at the moment it left, no matter in which step they came.

use super::adopt::{adopt, is_orphan, left_at};
use crate::model::{Call, CallId, Observer, Timestamp};
use crate::store::{Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long before an orphan left the call that made it may have begun.
const BACK_US: i64 = 60_000_000;
/// How far the start of a stored call, told by its caller's clock, may be from its own proxy's.
const SLACK_US: i64 = 10_000_000;
/// Moments that are closer than this are asked for together.
const TOGETHER_US: i64 = 1_000_000;
/// Most calls that are looked at for one question. Where there are more, nothing is inferred.
const LIMIT: u32 = 5_000;

type Window = (Timestamp, Timestamp);

/// Sets the inferred parents among `calls`, which replace `replaced`. Returns the stored orphans whose parent is another now.
pub async fn infer_parents(
    store: &Store,
    replaced: &BTreeMap<CallId, Arc<Call>>,
    calls: &mut [Call],
) -> Result<Vec<Call>, StoreError> {
    let own: BTreeSet<CallId> = calls.iter().map(|c| c.id).chain(replaced.keys().copied()).collect();
    let stored = stored_orphans(store, replaced, calls, &own).await?;
    let orphans = calls.iter().filter(|c| is_orphan(c)).chain(stored.values());
    let moments = merged(orphans.filter_map(|o| left_at(o).map(|left| (o.caller.key(), (left, left)))));
    let mut serving = Serving::at(store, moments, &own).await?;
    serving.add(calls);
    serving.sort();

    let adopted: Vec<Option<CallId>> = calls.iter().map(|c| serving.parent_of(c)).collect();
    for (call, parent) in calls.iter_mut().zip(adopted).filter(|(c, _)| is_orphan(c)) {
        (call.parent_id, call.parent_inferred) = (parent, parent.is_some());
    }
    let changed = stored.into_values().filter_map(|orphan| {
        let parent_id = serving.parent_of(&orphan);
        (parent_id != orphan.parent_id).then(|| Call {
            parent_id,
            parent_inferred: parent_id.is_some(),
            ..orphan
        })
    });
    Ok(changed.collect())
}

/// What of a call matters to orphans: its id and callee, whether it is one itself, and when which proxy served it.
type Served<'a> = (CallId, String, bool, Vec<(&'a Observer, Timestamp, Timestamp)>);

fn served(call: &Call) -> Served<'_> {
    let legs = call.legs.iter().filter(|l| l.is_mesh_server());
    let times = legs.map(|l| (&l.observer, l.start, l.end())).collect();
    (call.id, call.callee.key(), is_orphan(call), times)
}

/// Stored orphans that left while one of the calls that are new, gone or served otherwise than before was being served.
async fn stored_orphans(
    store: &Store,
    replaced: &BTreeMap<CallId, Arc<Call>>,
    calls: &[Call],
    own: &BTreeSet<CallId>,
) -> Result<BTreeMap<CallId, Call>, StoreError> {
    let before: BTreeSet<_> = replaced.values().map(|call| served(call)).collect();
    let after: BTreeSet<_> = calls.iter().map(served).collect();
    let windows = before.symmetric_difference(&after).flat_map(|(_, callee, _, times)| {
        times.iter().map(|(_, start, end)| (callee.clone(), (*start, *end)))
    });
    let mut orphans = BTreeMap::new();
    for orphan in store.orphans(&merged(windows), LIMIT).await? {
        if !own.contains(&orphan.id) {
            orphans.insert(orphan.id, Arc::unwrap_or_clone(orphan));
        }
    }
    Ok(orphans)
}

/// Windows of the same identity that touch or nearly touch, made one.
fn merged(windows: impl Iterator<Item = (String, Window)>) -> Vec<(String, Window)> {
    let mut windows: Vec<(String, Window)> = windows.collect();
    windows.sort_unstable();
    windows.dedup();
    let mut merged: Vec<(String, Window)> = Vec::new();
    for (identity, (from, to)) in windows {
        match merged.last_mut() {
            Some((last, (_, end))) if *last == identity && from <= end.plus_us(TOGETHER_US) => {
                *end = (*end).max(to)
            }
            _ => merged.push((identity, (from, to))),
        }
    }
    merged
}

/// Calls by the identity that served them, and the windows in which there were too many to look at.
#[derive(Default)]
struct Serving {
    by_identity: BTreeMap<String, Vec<Arc<Call>>>,
    crowded: BTreeMap<String, Vec<Window>>,
}

impl Serving {
    async fn at(
        store: &Store,
        moments: Vec<(String, Window)>,
        own: &BTreeSet<CallId>,
    ) -> Result<Self, StoreError> {
        let mut serving = Serving::default();
        for (identity, (from, to)) in moments {
            let (early, late) = (from.plus_us(-SLACK_US), to.plus_us(SLACK_US));
            let mut found = store.calls_serving(&identity, early, late, BACK_US, LIMIT).await?;
            if found.len() >= LIMIT as usize {
                serving.crowded.entry(identity).or_default().push((from, to));
                continue;
            }
            found.retain(|c| !own.contains(&c.id));
            serving.by_identity.entry(identity).or_default().extend(found);
        }
        Ok(serving)
    }

    /// By start, each once.
    fn sort(&mut self) {
        for served in self.by_identity.values_mut() {
            served.sort_by_key(|c| (c.start, c.id));
            served.dedup_by_key(|c| c.id);
        }
    }

    /// The step's own calls, for the identities that have orphans.
    fn add(&mut self, calls: &[Call]) {
        for call in calls {
            if let Some(served) = self.by_identity.get_mut(&call.callee.key()) {
                served.push(Arc::new(call.clone()));
            }
        }
    }

    fn parent_of(&self, orphan: &Call) -> Option<CallId> {
        let left = left_at(orphan).filter(|_| is_orphan(orphan))?;
        let identity = orphan.caller.key();
        let crowded = self.crowded.get(&identity).into_iter().flatten();
        if crowded.into_iter().any(|(from, to)| *from <= left && left <= *to) {
            return None;
        }
        // The same bounds for what is stored and for what came in this step, so that it does not matter which is which.
        let served = self.by_identity.get(&identity)?;
        let first = served.partition_point(|c| c.start < left.plus_us(-BACK_US - SLACK_US));
        let last = served.partition_point(|c| c.start <= left.plus_us(SLACK_US));
        adopt(orphan, served[first..last].iter().map(|call| &**call))
    }
}
