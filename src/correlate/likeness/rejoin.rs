//! What a call says whose legs were joined for being alike, and what its legs say once they are parted again.
//!
//! Such a call names nothing that others could share, so it is built from its own legs alone; what its client leg's own line
//! told of a parent (a gateway's line says what it served) stays with it. It accuses nobody: of its findings only those stand
//! that one line says by itself.

use super::places;
use crate::correlate::assemble::calls;
use crate::correlate::clocks::Clocks;
use crate::correlate::facts::Facts;
use crate::correlate::group::Group;
use crate::correlate::legs::distinct;
use crate::correlate::rules::Rules;
use crate::model::{Basis, Call, CallId, FindingKind, Leg};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The call of a client leg and the server legs of its attempts. `told`: the call in which the client leg stood until now.
pub fn together(told: &Call, client: &Leg, servers: &[&Leg], ppm: u32, facts: &Facts, rules: &Rules) -> Call {
    let legs: Vec<Leg> = [client].into_iter().chain(servers.iter().copied()).cloned().collect();
    let mut places: Vec<usize> = (1..legs.len()).collect();
    places.sort_by_key(|&i| (legs[i].start, legs[i].id));
    let group = Group::joined(vec![0], places, Basis::Inferred, ppm, 1);
    let mut call = one_call(legs, group, facts, rules);
    call.findings.retain(|finding| told_by_one_line(finding.kind));
    inherit(&mut call, told);
    call
}

/// The call of a leg that has no partner any more. `told`: the call in which it stood until now.
pub fn alone(told: &Call, leg: &Leg, facts: &Facts, rules: &Rules) -> Call {
    let legs = vec![leg.clone()];
    let group = Group::single(0, &legs);
    let mut call = one_call(legs, group, facts, rules);
    if told.id == leg.id {
        inherit(&mut call, told);
    }
    call
}

fn one_call(legs: Vec<Leg>, group: Group, facts: &Facts, rules: &Rules) -> Call {
    let made = calls(legs, &[group], &Clocks::default(), facts, rules);
    made.into_iter().next().expect("a group is a call")
}

fn inherit(call: &mut Call, told: &Call) {
    (call.parent_id, call.parent_inferred) = (told.parent_id, told.parent_inferred);
    (call.principal, call.claimed) = (told.principal.clone(), told.claimed.clone());
}

fn told_by_one_line(kind: FindingKind) -> bool {
    use FindingKind::*;
    matches!(kind, Denied | Stopped | Unverified | CertificateAge | Truncated)
}

/// Joins again what was joined for being alike and came apart only because the legs were joined anew by their keys.
pub fn again(replaced: &BTreeMap<CallId, Arc<Call>>, calls: &mut Vec<Call>, facts: &Facts, rules: &Rules) {
    let alike = replaced.values().filter_map(|old| Some((old, places::pair(old)?)));
    let place: BTreeMap<_, usize> =
        calls.iter().enumerate().filter_map(|(i, c)| Some((places::lone(c)?.id, i))).collect();
    let mut gone = Vec::new();
    for (old, (client, servers)) in alike {
        let Some(&c) = place.get(&client.id) else { continue };
        let lone: Vec<usize> = servers.iter().filter_map(|s| place.get(&s.id).copied()).collect();
        if lone.len() < servers.len() {
            continue;
        }
        let legs: Vec<Leg> = [c].iter().chain(&lone).map(|&i| calls[i].legs[0].clone()).collect();
        let servers: Vec<&Leg> = legs[1..].iter().collect();
        calls[c] = together(&calls[c], &legs[0], &servers, old.confidence_ppm, facts, rules);
        gone.extend(lone.iter().map(|&s| calls[s].id));
    }
    calls.retain(|call| !gone.contains(&call.id));
}

/// Each leg once, of calls that were read more than once.
pub fn legs_of<'a>(calls: impl IntoIterator<Item = &'a Call>) -> Vec<Leg> {
    distinct(calls.into_iter().flat_map(|call| call.legs.iter().cloned()))
}
