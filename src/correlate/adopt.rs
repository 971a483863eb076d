//! A parent for calls that carry no trace: what was the caller's own proxy serving when this one left?
//!
//! TCP connections carry no headers and some applications forward none, so nothing but time and the proxy ties them to what
//! caused them. Such a parent is *inferred*: it makes the tree readable, and no principal passes over it.

use crate::model::{Call, CallId, IdentityKind, Leg, ObserverKind, Side, Timestamp};

/// How long a call may have been served when it made an orphan: bounds the search, not a rule about requests.
pub const SEARCH_BACK_US: i64 = 3_600_000_000;

/// A root inside the mesh that names no trace and whose caller's own proxy saw it leave.
pub fn is_orphan(call: &Call) -> bool {
    let unexplained = call.parent_id.is_none() || call.parent_inferred;
    unexplained
        && call.caller.kind == IdentityKind::Service
        && client_side(call).is_some()
        && call.legs.iter().all(|l| l.made_by.is_none() && l.trace_ids().next().is_none())
}

/// When a call that could have caused this orphan must have started.
pub fn search_window(orphan: &Call) -> Option<(Timestamp, Timestamp)> {
    let left = client_side(orphan)?.start;
    Some((left.plus_us(-SEARCH_BACK_US), left))
}

/// The one call that the same proxy was serving during all of the orphan; with several, the one whose kind of request is
/// alone in it; without a single best: none.
pub fn adopt<'a>(orphan: &Call, candidates: impl IntoIterator<Item = &'a Call>) -> Option<CallId> {
    let leg = client_side(orphan)?;
    let mut serving: Vec<(&Call, &Leg)> = Vec::new();
    for call in candidates {
        let contains = |s: &&Leg| {
            s.side == Side::Server
                && s.observer == leg.observer
                && s.start <= leg.start
                && s.end() >= leg.end()
        };
        if let Some(server) =
            call.legs.iter().find(contains).filter(|_| call.id != orphan.id && !is_orphan(call))
        {
            serving.push((call, server));
        }
    }
    match &serving[..] {
        [(only, _)] => Some(only.id),
        _ => None,
    }
}

fn client_side(call: &Call) -> Option<&Leg> {
    call.legs.iter().find(|l| l.side == Side::Client && l.observer.kind == ObserverKind::Sidecar)
}
