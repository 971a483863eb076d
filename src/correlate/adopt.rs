//! A parent for calls that carry no trace: what was the caller's own proxy serving when this one left?
//!
//! TCP connections carry no headers and some applications forward none, so nothing but time and the proxy ties them to what
//! caused them. Such a parent is *inferred*: it makes the tree readable, and no principal passes over it.

use super::facts::client_side;
use crate::model::{Call, CallId, IdentityKind, Leg, ROUNDING_US, Timestamp};
use std::collections::BTreeSet;

/// A root inside the mesh that names no trace and whose caller's own proxy saw it leave.
pub fn is_orphan(call: &Call) -> bool {
    let unexplained = call.parent_id.is_none() || call.parent_inferred;
    unexplained
        && call.caller.kind == IdentityKind::Service
        && client_side(call).is_some()
        && call.legs.iter().all(|l| l.made_by.is_none() && l.trace_ids().next().is_none())
}

/// When it left, by the clock of the caller's proxy.
pub fn left_at(orphan: &Call) -> Option<Timestamp> {
    client_side(orphan).map(|leg| leg.start)
}

/// The one call that the same proxy was serving during all of the orphan; with several, none.
pub fn adopt<'a>(orphan: &Call, candidates: impl IntoIterator<Item = &'a Call>) -> Option<CallId> {
    let leg = client_side(orphan)?;
    let contains = |s: &Leg| {
        s.is_mesh_server()
            && s.observer == leg.observer
            && s.start <= leg.start
            // What is logged of an end is cut off: it was up to so much later.
            && s.end().plus_us(ROUNDING_US) >= leg.end()
    };
    let serving = candidates.into_iter().filter(|call| call.legs.iter().any(contains));
    let serving: BTreeSet<CallId> =
        serving.filter(|c| c.id != orphan.id && !is_orphan(c)).map(|c| c.id).collect();
    match serving.len() {
        1 => serving.first().copied(),
        _ => None,
    }
}
