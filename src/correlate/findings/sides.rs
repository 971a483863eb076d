//! Findings about the two sides of a call: one is missing, they disagree, or one could not say who the other was.

use super::{Absent, Scene};
use crate::model::{Assurance, Finding, FindingKind, IdentityKind, Leg, ObserverKind, Severity, Side};

/// A genuine certificate, but the caller's own proxy never saw this connection: a workload that went round its sidecar.
pub fn no_client_leg(scene: &Scene) -> Option<Finding> {
    let call = scene.call;
    if call.caller.assurance != Assurance::Mtls || !scene.facts.is_outside_proxy(call) {
        return None;
    }
    let leg = call.legs.first()?;
    let sentence = format!(
        "{} at {} came with the certificate of {}, over a connection that the proxy of {} never made.",
        scene.what(),
        call.callee.name,
        call.caller.name,
        call.caller.name
    );
    Some(scene.missing(
        FindingKind::NoClientLeg,
        Severity::High,
        Absent::connections(call, leg),
        &[leg],
        sentence,
    ))
}

/// Flags with which nothing was sent, so that nothing can have arrived.
const NOT_SENT: &[&str] = &["UH", "UF", "NR", "NC", "UO", "DF", "DPE", "RL"];

/// Sent or answered by the caller's side, unknown to the callee's side, which reports completely.
pub fn lost(scene: &Scene) -> Option<Finding> {
    let call = scene.call;
    let [leg] = &call.legs[..] else { return None };
    let sent = leg.socket.is_some() && !NOT_SENT.iter().any(|flag| leg.flags.has(flag));
    let to_mesh = leg.peer.assurance == Assurance::Mtls && leg.peer.kind != IdentityKind::External;
    if leg.side != Side::Client || !leg.observer.kind.is_proxy() || !sent || !to_mesh {
        return None;
    }
    let sentence = format!(
        "{} sent {} to {}, whose proxy has no record of it.",
        call.caller.name,
        scene.what(),
        call.callee.name
    );
    Some(scene.missing(FindingKind::Lost, Severity::Medium, Absent::callee(call, leg), &[leg], sentence))
}

/// Accepted by a proxy that knows its own certificate and saw none of the caller.
pub fn unverified(scene: &Scene) -> Option<Finding> {
    let accepted = |l: &&Leg| {
        l.is_mesh_server()
            && l.local.assurance == Assurance::Mtls
            && !l.peer.assurance.is_verified()
            && l.verdict.as_ref().is_none_or(|v| v.allowed)
    };
    let leg = scene.call.legs.iter().find(accepted)?;
    let sentence = format!(
        "{} accepted {} from a caller that showed no certificate.",
        scene.call.callee.name,
        scene.what()
    );
    Some(scene.seen(FindingKind::Unverified, Severity::Medium, &[leg], sentence))
}

/// The sides saw different statuses that no retry, reset, timeout or denial explains.
pub fn status_mismatch(scene: &Scene) -> Option<Finding> {
    let call = scene.call;
    let client =
        call.legs.iter().find(|l| l.side == Side::Client && l.observer.kind != ObserverKind::Zone)?;
    let server = call.legs.iter().rfind(|l| l.side == Side::Server)?;
    let (sent, seen) = server.status.zip(client.status)?;
    let explained = call.outcome.attempts > 1
        || call.outcome.stopped_at.is_some()
        || client.flags.iter().chain(server.flags.iter()).next().is_some();
    if sent == seen || explained {
        return None;
    }
    let sentence = format!(
        "{} answered {} with {sent}, but {} saw {seen}.",
        call.callee.name,
        scene.what(),
        call.caller.name
    );
    Some(scene.seen(FindingKind::StatusMismatch, Severity::Medium, &[client, server], sentence))
}

/// The two observers' clocks are further apart than the bound, told by a server side that lies outside its client side.
pub fn clock_skew(scene: &Scene) -> Option<Finding> {
    let client = scene.call.legs.iter().find(|l| l.side == Side::Client && l.observer.kind.is_proxy())?;
    let server = scene.call.legs.iter().find(|l| l.side == Side::Server && l.observer.kind.is_proxy())?;
    let apart_us = (client.start.0 - server.start.0).max(server.start.0 - client.end().0);
    if apart_us <= scene.rules.skew_bound_us {
        return None;
    }
    let sentence = format!(
        "The clocks of {} and {} are at least {} ms apart.",
        client.observer.name,
        server.observer.name,
        apart_us / 1_000
    );
    Some(scene.seen(FindingKind::ClockSkew, Severity::Low, &[client, server], sentence))
}

/// A leaf certificate that lives longer, or has lived longer, than the policy allows.
pub fn certificate_age(scene: &Scene) -> Option<Finding> {
    scene.call.legs.iter().find_map(|leg| {
        let hours = |us: i64| us / 3_600_000_000;
        let beyond = |us: Option<i64>, bound: Option<i64>| us.filter(|us| bound.is_some_and(|b| *us > b));
        let (begins, ends) = (leg.peer_certificate.not_before, leg.peer_certificate.not_after);
        let lifetime_us = begins.zip(ends).map(|(begins, ends)| ends.0 - begins.0);
        let age_us = begins.map(|begins| leg.start.0 - begins.0);
        let too_long = beyond(lifetime_us, scene.rules.certificate_max_lifetime_us)
            .map(|us| format!("lives {} hours", hours(us)));
        let too_old = || {
            beyond(age_us, scene.rules.certificate_max_age_us)
                .map(|us| format!("was {} hours old and had not been rotated", hours(us)))
        };
        let why = too_long.or_else(too_old)?;
        let sentence = format!("The certificate that {} showed to {} {why}.", leg.peer.name, leg.local.name);
        Some(scene.seen(FindingKind::CertificateAge, Severity::Low, &[leg], sentence))
    })
}
