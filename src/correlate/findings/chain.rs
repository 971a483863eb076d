//! Findings about the chain of custody: headers that were copied, forged or replayed, and callers that the trace does not
//! explain. Any workload can copy a header, none another's certificate.

use super::{Absent, Scene};
use crate::correlate::custody::valid_header;
use crate::correlate::facts::client_side;
use crate::correlate::header::{self, Signature};
use crate::model::{Assurance, Call, Finding, FindingKind, IdentityKind, Leg, Severity, Side};

/// The signed header names another principal than the edge's record of the same request.
pub fn identity_mismatch(scene: &Scene) -> Option<Finding> {
    let call = scene.call;
    let (principal, claimed) = call.principal.as_ref().zip(call.claimed.as_ref())?;
    if carried_by_parent(scene) {
        return None;
    }
    let leg = call.legs.iter().find(|l| l.header.is_some())?;
    let sentence = format!(
        "{} at {} ran for {} by the edge's record, but its signed header names {}.",
        scene.what(),
        call.callee.name,
        principal.principal.subject,
        claimed.subject
    );
    Some(scene.seen(FindingKind::IdentityMismatch, Severity::High, &[leg], sentence))
}

/// A verified caller that nothing in the trace called, on a request that says it belongs to that trace.
pub fn broken_chain(scene: &Scene) -> Option<Finding> {
    let call = scene.call;
    let in_mesh = call.caller.kind == IdentityKind::Service && call.caller.assurance == Assurance::Mtls;
    if call.parent_id.is_some() || !in_mesh {
        return None;
    }
    if hides_its_chain(call) {
        return None;
    }
    let of_the_edge = |leg: &Leg| leg.trace_ids().any(|t| scene.edge_traces.contains(&t));
    let header = valid_header(call, scene.rules);
    let leg = call.legs.iter().find(|l| of_the_edge(l) || (header.is_some() && l.header.is_some()))?;
    let sentence = format!(
        "{} was called by {} in the name of a request from the edge, and nothing shows that this request led {} to do so.",
        call.callee.name, call.caller.name, call.caller.name
    );
    Some(scene.missing(FindingKind::BrokenChain, Severity::High, Absent::cause(scene, leg), &[leg], sentence))
}

/// The caller's own line of this call names neither the trace nor the header that the callee's names: its format does not print them, or
/// they were cut off, and what its proxy tells of the request that led to this one is no better.
fn hides_its_chain(call: &Call) -> bool {
    let names = |l: &&Leg| l.trace_ids().next().is_some();
    let told = call.legs.iter().filter(|l| l.side == Side::Server).any(|l| names(&l));
    client_side(call).is_some_and(|own| told && !names(&own))
}

/// A calltrail header whose signature does not verify, or that does not parse.
pub fn forged_header(scene: &Scene) -> Option<Finding> {
    let forged = |l: &&Leg| {
        let invalid = l.header.as_ref().is_some_and(|h| header::check(h, scene.rules) == Signature::Invalid);
        invalid || l.malformed_header.is_some()
    };
    let leg = scene.call.legs.iter().find(forged)?;
    if carried_by_parent(scene) {
        return None;
    }
    let claim = match &leg.header {
        Some(h) => format!(
            "names {} {} and carries a signature that the edge did not make",
            h.principal_kind, h.subject
        ),
        None => "does not follow the grammar that the edge writes".to_owned(),
    };
    let sentence = format!(
        "The calltrail header of {} from {} to {} {claim}.",
        scene.what(),
        scene.call.caller.name,
        scene.call.callee.name
    );
    Some(scene.seen(FindingKind::ForgedHeader, Severity::High, &[leg], sentence))
}

/// A header that the edge did issue, on a call that the request it was issued for does not explain.
pub fn replayed_header(scene: &Scene) -> Option<Finding> {
    let call = scene.call;
    let header = valid_header(call, scene.rules)?;
    let leg = call.legs.iter().find(|l| l.header.as_ref() == Some(header))?;
    if carried_by_parent(scene) {
        return None;
    }
    let sentence = format!(
        "{} from {} to {} carries a header that the edge issued for {} on another request.",
        scene.what(),
        call.caller.name,
        call.callee.name,
        header.subject
    );
    let (kind, severity) = (FindingKind::ReplayedHeader, Severity::High);
    match scene.custody.edge_span.get(&call.id) {
        Some(span) if *span == header.span_id => None,
        Some(_) => Some(scene.seen(kind, severity, &[leg], sentence)),
        None if scene.custody.replayed_at_gateway.contains(&call.id) => {
            Some(scene.seen(kind, severity, &[leg], sentence))
        }
        // That the edge sent it is told by the zone.
        None if leg.is_entry() || leg.is_subrequest_witness() => None,
        None if hides_its_chain(call) => None,
        // Nobody's completeness can be measured where nobody is known.
        None if call.caller.assurance > Assurance::Asserted => {
            Some(scene.seen(kind, severity, &[leg], sentence))
        }
        None => Some(scene.missing(kind, severity, Absent::cause(scene, leg), &[leg], sentence)),
    }
}

/// The same header came in with the call that caused this one: the finding stands there.
fn carried_by_parent(scene: &Scene) -> bool {
    let text =
        |l: &Leg| l.header.as_ref().map(|h| h.signed_text.clone()).or_else(|| l.malformed_header.clone());
    let own = scene.call.legs.iter().find_map(text);
    scene.parent.is_some_and(|p| own.is_some() && p.legs.iter().any(|l| text(l) == own))
}
