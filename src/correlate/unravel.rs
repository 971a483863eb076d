//! Deriving again where not everything can be: the position goes back to the first delivery whose lines are still there, and what
//! was derived from these alone is taken back, by differences. What rests on removed lines, or stood in a time of which calls have been
//! removed, stays as it is.
//!
//! Broken off, nothing is lost: the position is back already, and whoever derives next finds what is left of the calls and joins it
//! again with the same lines.

use super::coverage::{self, Coverage};
use super::difference::delta;
use super::listen::Reporters;
use super::statistics;
use crate::model::{Call, Timestamp};
use crate::store::{Bygone, Change, Position, Store, StoreError};

/// Calls looked at in one step.
const CALLS: u32 = 4_096;

/// What was left as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    pub calls: u64,
    /// The lines of so many deliveries are gone.
    pub deliveries: u64,
}

/// Where nothing is gone, all that was derived is thrown away at once. Until this returns nobody else may derive.
pub async fn take_back(store: &Store) -> Result<Kept, StoreError> {
    let (at, bygone) = store.begin_again().await?;
    if bygone.is_nothing() {
        return Ok(Kept::default());
    }
    let mut kept = Kept { calls: 0, deliveries: bygone.evidence_through };
    let mut after = 0;
    loop {
        let calls = store.calls_after(after, CALLS).await?;
        let Some((last, _)) = calls.last() else { return Ok(kept) };
        after = *last;
        let all = calls.len();
        let again: Vec<Call> =
            calls.into_iter().map(|(_, call)| call).filter(|call| comes_again(call, bygone)).collect();
        kept.calls += (all - again.len()) as u64;
        store.apply(&taken_back(&again, at)).await?;
    }
}

fn comes_again(call: &Call, bygone: Bygone) -> bool {
    let before = bygone.calls_before.unwrap_or(Timestamp(i64::MIN));
    call.start >= before && call.legs.iter().all(|leg| leg.line.delivery > bygone.evidence_through)
}

fn taken_back(calls: &[Call], at: Position) -> Change {
    let (mut measured, mut reporters) = (Coverage::new(), Reporters::default());
    for call in calls {
        coverage::count(&mut measured, call, -1);
        reporters.count(call, -1);
    }
    let mut change = Change { epoch: at.epoch, from: at.number, to: at.number, ..Change::default() };
    change.removed = calls.iter().map(|call| call.id).collect();
    change.statistics = statistics::difference(calls.iter(), std::iter::empty());
    change.heard.reporters = reporters.changes();
    change.coverage = measured.into_iter().filter(|(_, counts)| *counts != [0; 4]).map(delta).collect();
    change
}
