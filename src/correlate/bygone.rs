//! What must not be held against anybody because calls have been removed: of their time it is not known any more who said what.
//!
//! A line that comes after its call was removed becomes a call of its own. That its other side, its parent or its request at the
//! edge are missing then says nothing. What had been said before, of a call that is still there, stays.

use crate::model::{Call, CallId, Finding, FindingKind, LegId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long after a removed call another may start that belongs to it.
const SLACK_US: i64 = 3_600_000_000;

/// Takes from calls of such a time the findings that rest on something that is missing, unless they were there before.
pub(super) fn withhold(
    replaced: &BTreeMap<CallId, Arc<Call>>,
    calls: &mut [Call],
    removed_before: Option<Timestamp>,
) {
    let Some(blind_before) = removed_before.map(|before| before.plus_us(SLACK_US)) else { return };
    let of_then = |call: &&mut Call| call.start < blind_before && call.findings.iter().any(rests_on_absence);
    let mut told: Option<BTreeSet<(LegId, FindingKind)>> = None;
    for call in calls.iter_mut().filter(of_then) {
        let told = told.get_or_insert_with(|| told_before(replaced));
        let legs: Vec<LegId> = call.legs.iter().map(|leg| leg.id).collect();
        call.findings
            .retain(|f| !rests_on_absence(f) || legs.iter().any(|leg| told.contains(&(*leg, f.kind))));
    }
}

fn rests_on_absence(finding: &Finding) -> bool {
    // That a header was issued for this request is told by the request's own call.
    finding.absent_observer.is_some() || finding.kind == FindingKind::ReplayedHeader
}

fn told_before(replaced: &BTreeMap<CallId, Arc<Call>>) -> BTreeSet<(LegId, FindingKind)> {
    let mut told = BTreeSet::new();
    for call in replaced.values() {
        for finding in &call.findings {
            told.extend(call.legs.iter().map(|leg| (leg.id, finding.kind)));
        }
    }
    told
}
