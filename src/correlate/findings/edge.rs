//! Findings about the edge: what went round it, what it did not tell, and where the mesh did what it had refused.

use super::{Absent, Scene};
use crate::correlate::header::{self, Signature};
use crate::model::{Finding, FindingKind, Identity, Leg, ObserverKind, Severity, Side};

pub fn is_worker_event(leg: &Leg) -> bool {
    leg.observer.kind == ObserverKind::Worker && leg.side == Side::Server
}

fn from_edge(scene: &Scene) -> bool {
    scene.custody.from_edge.contains(&scene.call.id)
}

/// A gateway line that no Worker signed and none tells of; or an edge-fronted service reached from inside the mesh by a caller
/// that is not allowed to.
pub fn bypass(scene: &Scene) -> Option<Finding> {
    gateway_bypass(scene).or_else(|| mesh_bypass(scene))
}

fn gateway_bypass(scene: &Scene) -> Option<Finding> {
    let leg = scene.call.legs.iter().find(|l| l.is_entry())?;
    let witnessed = scene.call.legs.iter().any(|l| l.observer.kind == ObserverKind::Worker);
    if scene.rules.header_keys.is_empty() || !leg.shows_headers() || witnessed || from_edge(scene) {
        return None;
    }
    let signature = leg.header.as_ref().map(|h| header::check(h, scene.rules));
    let carried = match signature {
        Some(Signature::Valid) => "a signature that belongs to another request",
        Some(_) => "a signature that does not verify",
        None if leg.malformed_header.is_some() => "a calltrail header that does not parse",
        None => "no signature of the Worker",
    };
    let sentence = format!(
        "{} reached the gateway {} from {} without passing the edge: it carries {carried}.",
        scene.what(),
        leg.local.name,
        leg.peer.name
    );
    Some(scene.seen(FindingKind::Bypass, Severity::High, &[leg], sentence))
}

fn mesh_bypass(scene: &Scene) -> Option<Finding> {
    let call = scene.call;
    let leg = call.legs.iter().find(|l| l.is_mesh_server())?;
    let listed = |names: &[String], who: &Identity| {
        names.iter().any(|n| *n == who.name || who.spiffe_id.as_ref().is_some_and(|id| id.as_str() == n))
    };
    let fronted = listed(&scene.rules.edge_fronted, &call.callee);
    // A gateway's line that has lost its headers accuses nobody: the signature may have been among them.
    let unknown = scene.custody.of_unknown_origin.contains(&call.id);
    if !fronted || unknown || from_edge(scene) || listed(&scene.rules.allowed_mesh_callers, &call.caller) {
        return None;
    }
    let sentence = format!(
        "{} reached {} from {} without passing the edge, which {} may only be reached through.",
        scene.what(),
        call.callee.name,
        call.caller.name,
        call.callee.name
    );
    // Nobody's completeness can be measured where nobody is known: that the caller showed nothing is seen.
    if !call.caller.assurance.is_verified() {
        return Some(scene.seen(FindingKind::Bypass, Severity::High, &[leg], sentence));
    }
    Some(scene.missing(FindingKind::Bypass, Severity::High, Absent::cause(scene, leg), &[leg], sentence))
}

/// Signed by the Worker, but the Worker's own record of it has not come.
pub fn edge_unwitnessed(scene: &Scene) -> Option<Finding> {
    let leg = scene.call.legs.iter().find(|l| l.is_entry())?;
    let recorded = scene.call.legs.iter().any(|l| l.observer.kind == ObserverKind::Worker);
    if recorded || !from_edge(scene) {
        return None;
    }
    let sentence = format!(
        "{} reached the gateway {} with the Worker's signature, but the Worker's record of it is missing.",
        scene.what(),
        leg.local.name
    );
    Some(scene.missing(FindingKind::EdgeUnwitnessed, Severity::Low, Absent::edge(), &[leg], sentence))
}

/// The Worker denied the request and made a subrequest for it that the mesh carried all the same.
pub fn decision_conflict(scene: &Scene) -> Option<Finding> {
    let client =
        scene.call.legs.iter().find(|l| l.observer.kind == ObserverKind::Worker && l.side == Side::Client)?;
    let carried = scene.call.legs.iter().find(|l| l.side == Side::Server)?;
    let event = scene.parent?.legs.iter().find(|l| is_worker_event(l) && Some(l.id) == client.made_by)?;
    let decision = event.edge_decision.as_ref().filter(|d| !d.allowed)?;
    let sentence = format!(
        "The Worker {} denied the request (policy {}) and made {} for it all the same, which {} carried.",
        event.observer.name,
        decision.policy.as_deref().unwrap_or("unnamed"),
        scene.what(),
        carried.observer.name
    );
    Some(scene.seen(FindingKind::DecisionConflict, Severity::High, &[event, client, carried], sentence))
}

/// Something is missing from what the edge's own lines tell: some subrequests may have no record.
pub fn truncated(scene: &Scene) -> Option<Finding> {
    let leg = scene.call.legs.iter().find(|l| tells_not_all(l))?;
    let what = scene.what();
    let sentence = match leg.observer.kind {
        ObserverKind::Zone => format!(
            "The zone's record of {what} at {} holds a part that cannot be read: subrequests may be missing.",
            leg.observer.name
        ),
        _ => format!(
            "The log of the Worker {} for {what} does not hold everything: the carrier cut it, or its records are not numbered \
             without a gap. Records of subrequests may be missing.",
            leg.observer.name
        ),
    };
    Some(scene.seen(FindingKind::Truncated, Severity::Low, &[leg], sentence))
}

/// A line of the edge from which a part is missing: its silence about a subrequest says nothing.
pub fn tells_not_all(leg: &Leg) -> bool {
    leg.truncated && (is_worker_event(leg) || leg.observer.kind == ObserverKind::Zone)
}
