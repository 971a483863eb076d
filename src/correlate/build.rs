//! From a group of legs to a call: who, what, when, what came of it. The legs themselves, parents, principals and findings come after.

use super::facts::Facts;
use super::group::Group;
use super::header;
use super::outcome::outcome;
use super::rules::{Come, Rules};
use crate::model::{Assurance, Call, Identity, IdentityKind, Leg, ObserverKind, Timestamp, TraceId};

pub fn call(group: &Group, legs: &[Leg], facts: &Facts, rules: &Rules) -> Call {
    let first_client = group.clients.first().map(|&i| &legs[i]);
    let first_server = group.servers.first().map(|&i| &legs[i]);
    let canonical = first_client.or(first_server).expect("a group has a leg");
    let members: Vec<&Leg> = group.members().map(|i| &legs[i]).collect();
    let (settles_at, amended) = settling(&members, rules);
    Call {
        id: canonical.id,
        trace_id: trace_id(&members),
        parent_id: None,
        parent_inferred: false,
        caller: caller(group, legs, facts, rules),
        callee: callee(group, legs),
        principal: None,
        claimed: None,
        protocol: canonical.protocol,
        method: first_known(&members, |l| l.method.clone()),
        authority: first_known(&members, |l| l.authority.clone()),
        path: first_known(&members, |l| l.path.clone()),
        start: canonical.start,
        decisions: Vec::new(),
        outcome: outcome(group, legs),
        basis: group.basis,
        confidence_ppm: group.confidence_ppm,
        ambiguous: group.ambiguous,
        settles_at,
        amended,
        findings: Vec::new(),
        legs: Vec::new(),
    }
}

fn first_known<T>(legs: &[&Leg], get: impl Fn(&Leg) -> Option<T>) -> Option<T> {
    legs.iter().find_map(|leg| get(leg))
}

/// A trace id that a proxy or Worker logged as the request's own, else the signed header's copy.
fn trace_id(legs: &[&Leg]) -> Option<TraceId> {
    // What the zone saw of a visitor's request is the visitor's choice: it comes last.
    let by_zone = |l: &&&Leg| l.observer.kind == ObserverKind::Zone;
    let own = legs.iter().filter(|l| !by_zone(l)).chain(legs.iter().filter(by_zone)).find_map(|l| l.trace);
    own.map(|t| t.trace_id).or_else(|| first_known(legs, |l| l.header.as_ref().map(|h| h.trace_id)))
}

/// What the callee's side verified, if it verified anything; else what the caller says of itself. At a gateway a valid
/// signature says that a Worker called. Where the caller's line is missing and the callee's side verified nothing: whose proxy is
/// known to have had the connection, which is as good as the addresses that both of them log.
fn caller(group: &Group, legs: &[Leg], facts: &Facts, rules: &Rules) -> Identity {
    let seen = group.servers.iter().map(|&i| &legs[i].peer).min_by_key(|peer| peer.assurance);
    if let Some(peer) = seen.filter(|peer| peer.assurance.is_verified()) {
        return peer.clone();
    }
    let signed = group.servers.iter().any(|&i| legs[i].is_entry() && header::is_signed(&legs[i], rules));
    let own = group.own_client(legs).map(|leg| &leg.local);
    match (own, signed) {
        (Some(worker), true) => Identity { assurance: Assurance::Signed, ..worker.clone() },
        (Some(own), false) => own.clone(),
        // The zone saw a Worker's subrequest, or the signature holds, but no line names the script.
        (None, true) => unnamed_worker(Assurance::Signed),
        (None, false) if group.clients.iter().any(|&i| legs[i].parent_ray.is_some()) => {
            unnamed_worker(Assurance::Asserted)
        }
        (None, false) => {
            holder(group, legs, facts).or_else(|| seen.cloned()).unwrap_or_else(|| visitor(group, legs))
        }
    }
}

fn holder(group: &Group, legs: &[Leg], facts: &Facts) -> Option<Identity> {
    let leg = group.servers.first().map(|&i| &legs[i]).filter(|l| l.is_mesh_server())?;
    let holder = facts.holder(leg.socket.as_ref()?, leg.start)?;
    Identity::of_key(&holder.party, Assurance::Asserted)
}

fn unnamed_worker(assurance: Assurance) -> Identity {
    Identity { kind: IdentityKind::Worker, name: "worker".to_owned(), spiffe_id: None, assurance }
}

fn visitor(group: &Group, legs: &[Leg]) -> Identity {
    group.clients.first().map_or_else(Identity::unknown, |&i| legs[i].local.clone())
}

/// What the callee's side says of itself, if there is such a leg; else what the caller's side saw.
fn callee(group: &Group, legs: &[Leg]) -> Identity {
    let own = group.servers.iter().map(|&i| &legs[i].local).min_by_key(|local| local.assurance);
    let seen = group.clients.iter().map(|&i| &legs[i].peer).min_by_key(|peer| peer.assurance);
    match (own, seen) {
        (Some(own), Some(seen))
            if seen.assurance.stronger_than(own.assurance) && own.agrees_with(seen) != Some(false) =>
        {
            // A server leg in a format that prints no certificate, and a client that saw it: the same party, better known.
            Identity { kind: own.kind, ..seen.clone() }
        }
        (Some(own), _) => own.clone(),
        (None, Some(seen)) => seen.clone(),
        (None, None) => Identity::unknown(),
    }
}

/// When no more legs are expected, and whether one came after that.
///
/// Live: the grace period (see `Rules::grace_us_after`) runs from the last end that a leg tells. Lines that are imported long
/// after the fact settle at once; what comes more than the grace period after the first of them amends the call.
pub(super) fn settling(legs: &[&Leg], rules: &Rules) -> (Timestamp, bool) {
    let mut in_order: Vec<&Leg> = legs.to_vec();
    in_order.sort_by_key(|l| l.line.received_at);
    let first_received = in_order.first().map(|l| l.line.received_at).unwrap_or_default();
    let last_end = legs.iter().map(|leg| leg.end()).max().unwrap_or_default();
    let mut come = Come::default();
    let mut expected_until: Option<Timestamp> = None;
    let mut amended = false;
    for leg in in_order {
        amended |= expected_until.is_some_and(|until| leg.line.received_at > until);
        come.add(leg, rules);
        let grace_us = rules.grace_us_after(&come);
        let until = leg.end().plus_us(grace_us).max(first_received.plus_us(grace_us));
        expected_until = expected_until.max(Some(until));
    }
    (last_end.plus_us(rules.grace_us_after(&come)).max(first_received), amended)
}
