//! What must be written so that the store says what the calls say that a step has made.

use super::adopt::is_orphan;
use super::closure::Closure;
use super::coverage::{self, Coverage};
use super::facts::Facts;
use super::likeness::places::{self, Weighed};
use super::listen::Reporters;
use super::{keys, statistics};
use crate::model::{Call, CallId, LegId, Timestamp};
use crate::store::{Change, CoverageDelta, IndexedCall};
use std::collections::BTreeSet;
use std::sync::Arc;

/// `calls` take the place of those that the closure replaces; of the stored `orphans` only the parent has changed.
pub(super) fn difference(closure: &Closure, calls: Vec<Call>, orphans: Vec<Call>, facts: &Facts) -> Change {
    let undecided =
        closure.replaced.values().flat_map(|call| places::undecided(call)).map(|leg| leg.id).collect();
    let to_be_weighed = |call: Call| {
        let unexplained = facts.is_outside_proxy(&call);
        indexed(call, unexplained, Weighed::NotYet, &undecided)
    };
    let mut measured: Coverage = Coverage::new();
    let (mut change, mut reporters) = (Change::default(), Reporters::default());
    let kept: BTreeSet<CallId> = calls.iter().map(|c| c.id).collect();
    for old in closure.replaced.values() {
        coverage::count(&mut measured, old, -1);
        reporters.count(old, -1);
        if !kept.contains(&old.id) {
            change.removed.push(old.id);
        }
    }
    change.statistics = statistics::difference(closure.replaced.values().map(|call| &**call), calls.iter());
    for call in calls {
        coverage::count(&mut measured, &call, 1);
        reporters.count(&call, 1);
        if closure.replaced.get(&call.id).is_none_or(|old| **old != call) {
            change.upserts.push(to_be_weighed(call));
        }
    }
    change.upserts.extend(orphans.into_iter().map(to_be_weighed));
    change.heard.reporters = reporters.changes();
    change.coverage = measured.into_iter().filter(|(_, counts)| *counts != [0; 4]).map(delta).collect();
    change
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
