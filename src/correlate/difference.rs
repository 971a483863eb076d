//! What must be written so that the store says what the calls say that a step has made.

use super::adopt::is_orphan;
use super::closure::Closure;
use super::coverage::{self, Coverage};
use super::facts::Facts;
use super::likeness::places::{self, Weighed};
use super::listen::Reporters;
use super::{keys, statistics};
use crate::model::{Call, CallId, LegId, Timestamp};
use crate::store::{Change, CoverageDelta, Heard, IndexedCall};
use rayon::prelude::*;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// `calls` take the place of those that the closure replaces; of the stored `orphans` only the parent has changed.
pub(super) fn difference(closure: &Closure, calls: Vec<Call>, orphans: Vec<Call>, facts: &Facts) -> Change {
    let undecided =
        closure.replaced.values().flat_map(|call| places::undecided(call)).map(|leg| leg.id).collect();
    let to_be_weighed = |call: Arc<Call>| {
        let unexplained = facts.is_outside_proxy(&call);
        indexed(call, unexplained, Weighed::NotYet, &undecided)
    };
    let calls: Vec<Arc<Call>> = calls.into_iter().map(Arc::new).collect();
    let old = || closure.replaced.values().map(|call| &**call);
    let new = || calls.iter().map(|call| &**call);
    let is_changed = |call: &&Arc<Call>| closure.replaced.get(&call.id).is_none_or(|old| *old != **call);
    let kept: HashSet<CallId> =
        calls.iter().map(|c| c.id).filter(|id| closure.replaced.contains_key(id)).collect();
    let (mut upserts, (statistics, (coverage, reporters))): (Vec<_>, _) = rayon::join(
        || calls.par_iter().filter(is_changed).cloned().map(to_be_weighed).collect(),
        || {
            rayon::join(
                || statistics::difference(old(), new()),
                || (measured(old(), new()), reporters(old(), new())),
            )
        },
    );
    upserts.extend(orphans.into_iter().map(Arc::new).map(to_be_weighed));
    let removed = old().map(|call| call.id).filter(|id| !kept.contains(id)).collect();
    let heard = Heard { reporters, ..Heard::default() };
    Change { upserts, removed, statistics, coverage, heard, ..Change::default() }
}

fn measured<'a>(
    old: impl Iterator<Item = &'a Call>,
    new: impl Iterator<Item = &'a Call>,
) -> Vec<CoverageDelta> {
    let mut measured = Coverage::new();
    old.for_each(|call| coverage::count(&mut measured, call, -1));
    new.for_each(|call| coverage::count(&mut measured, call, 1));
    measured.into_iter().filter(|(_, counts)| *counts != [0; 4]).map(delta).collect()
}

fn reporters<'a>(
    old: impl Iterator<Item = &'a Call>,
    new: impl Iterator<Item = &'a Call>,
) -> Vec<(String, String, i64)> {
    let mut reporters = Reporters::default();
    old.for_each(|call| reporters.count(call, -1));
    new.for_each(|call| reporters.count(call, 1));
    reporters.changes()
}

/// `unexplained`: as [`keys::of_call`] has it. `undecided`: legs about which likeness decided before.
pub(super) fn indexed(
    call: impl Into<Arc<Call>>,
    unexplained: bool,
    weighed: Weighed,
    undecided: &BTreeSet<LegId>,
) -> IndexedCall {
    let call = call.into();
    let mut keys = keys::of_call(&call, unexplained);
    keys.extend(places::keys_of(&call, weighed, undecided));
    IndexedCall { keys, orphan: is_orphan(&call), call }
}

pub(super) fn delta(((identity, hour), counts): ((String, Timestamp), coverage::Counts)) -> CoverageDelta {
    let [inbound_expected, inbound_seen, outbound_expected, outbound_seen] = counts;
    CoverageDelta { identity, hour, inbound_expected, inbound_seen, outbound_expected, outbound_seen }
}
