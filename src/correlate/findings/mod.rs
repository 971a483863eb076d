//! What is wrong or unproven, each with a sentence that a person understands.
//!
//! One small rule per finding: it looks at a call with its surroundings and says at most one thing. A rule that concludes from
//! something *missing* names the observer that should have reported it; the finding then counts only once the call has
//! settled, and while that observer's measured coverage is good enough. What each does not prove: `docs/findings.md`.

mod chain;
mod edge;
mod outcome;
mod sides;

use super::coverage;
use super::custody::Custody;
use super::facts::Facts;
use super::rules::Rules;
use crate::model::{Call, CallId, Finding, FindingKind, Leg, Severity, TraceId};
use std::collections::{BTreeMap, BTreeSet};

/// The coverage row by which it is judged whether a Worker's record is missing or the Worker's logs are.
pub const EDGE_OBSERVER: &str = "edge";

/// A call with what a rule may know around it.
pub struct Scene<'a> {
    pub call: &'a Call,
    pub parent: Option<&'a Call>,
    pub custody: &'a Custody,
    pub facts: &'a Facts,
    pub rules: &'a Rules,
    /// Trace ids that a Worker's event has.
    pub edge_traces: &'a BTreeSet<TraceId>,
}

/// Who should have reported what is missing.
pub struct Absent {
    /// Key of the party whose proxy that is, or [`EDGE_OBSERVER`].
    observer: String,
    instance: Option<String>,
}

impl Absent {
    fn edge() -> Self {
        Absent { observer: EDGE_OBSERVER.to_owned(), instance: None }
    }

    /// The proxy of the call's caller; `server` is the leg that met it.
    fn caller(call: &Call, server: &Leg) -> Self {
        let instance = coverage::caller_instance(server).filter(|_| server.peer.key() == call.caller.key());
        Absent { observer: call.caller.key(), instance }
    }

    /// The connections of the call's caller: that none of them is unknown where the other end met it.
    fn connections(call: &Call, server: &Leg) -> Self {
        let Absent { instance, .. } = Absent::caller(call, server);
        Absent {
            observer: coverage::connections_of(&call.caller.key()),
            instance: instance.map(|i| coverage::connections_of(&i)),
        }
    }

    /// Whoever would have told what led the caller to make the call: its proxy, as far as its lines show the headers by which that is
    /// known; where it never logged the connection, what its connections are known by.
    fn cause(scene: &Scene, server: &Leg) -> Self {
        if scene.facts.is_outside_proxy(scene.call) {
            return Absent::connections(scene.call, server);
        }
        let Absent { observer, instance } = Absent::caller(scene.call, server);
        let chains = coverage::chains_of(instance.as_ref().unwrap_or(&observer));
        Absent { observer, instance: Some(chains) }
    }

    /// The proxy of the call's callee; `client` is the leg that met it.
    fn callee(call: &Call, client: &Leg) -> Self {
        let instance = coverage::callee_instance(client).filter(|_| client.peer.key() == call.callee.key());
        Absent { observer: call.callee.key(), instance }
    }
}

type Rule = fn(&Scene) -> Option<Finding>;

const RULES: &[Rule] = &[
    outcome::denied,
    edge::bypass,
    edge::edge_unwitnessed,
    sides::no_client_leg,
    sides::lost,
    edge::decision_conflict,
    chain::identity_mismatch,
    chain::broken_chain,
    chain::forged_header,
    chain::replayed_header,
    sides::unverified,
    sides::status_mismatch,
    outcome::stopped,
    sides::clock_skew,
    edge::truncated,
    sides::certificate_age,
];

/// Sets `findings` on every call.
pub fn find(calls: &mut [Call], custody: &Custody, facts: &Facts, rules: &Rules) {
    let place: BTreeMap<CallId, usize> = calls.iter().enumerate().map(|(i, c)| (c.id, i)).collect();
    let edge_traces = calls.iter().flat_map(|c| &c.legs).filter(|l| edge::is_worker_event(l));
    let edge_traces: BTreeSet<TraceId> = edge_traces.filter_map(|l| l.trace.map(|t| t.trace_id)).collect();
    let cut = calls.iter().flat_map(|c| &c.legs).filter(|l| edge::tells_not_all(l));
    let cut_traces: BTreeSet<TraceId> = cut.flat_map(Leg::trace_ids).collect();
    let mut found: Vec<Vec<Finding>> = Vec::with_capacity(calls.len());
    for call in calls.iter() {
        let parent = call.parent_id.and_then(|id| place.get(&id)).map(|&p| &calls[p]);
        let scene = Scene { call, parent, custody, facts, rules, edge_traces: &edge_traces };
        let edge_is_cut = call.legs.iter().flat_map(Leg::trace_ids).any(|t| cut_traces.contains(&t));
        let findings = RULES.iter().filter_map(|rule| rule(&scene));
        let below_gateway = || led_in_by_gateway(call, calls, &place);
        found.push(findings.filter(|f| !(edge_is_cut && needs_whole_edge(f, below_gateway))).collect());
    }
    for (call, findings) in calls.iter_mut().zip(found) {
        call.findings = findings;
    }
}

/// Concludes from what the edge did not tell: not where a part of what it told is known to be missing. What proxies did not tell is
/// another matter: whoever copies the trace of a request whose log was cut must not hide behind that, so that only what a gateway led
/// in is spared.
fn needs_whole_edge(finding: &Finding, below_gateway: impl Fn() -> bool) -> bool {
    match finding.kind {
        FindingKind::EdgeUnwitnessed => true,
        FindingKind::Bypass => finding.absent_observer.is_some() && below_gateway(),
        _ => false,
    }
}

/// Whether the call, or one that led to it, came in at a gateway.
fn led_in_by_gateway(call: &Call, calls: &[Call], place: &BTreeMap<CallId, usize>) -> bool {
    let parent = |call: &&Call| call.parent_id.and_then(|id| place.get(&id)).map(|&p| &calls[p]);
    let above = std::iter::successors(Some(call), parent).take(calls.len());
    above.into_iter().any(|call| call.legs.iter().any(Leg::is_entry))
}

impl Scene<'_> {
    /// Something that a line says: it holds from the moment at which we had all the lines that say it.
    fn seen(&self, kind: FindingKind, severity: Severity, evidence: &[&Leg], sentence: String) -> Finding {
        let known_at = evidence.iter().map(|l| l.line.received_at).max();
        Finding {
            kind,
            severity,
            sentence,
            evidence: evidence.iter().map(|l| l.id).collect(),
            raised_at: known_at.unwrap_or(self.call.settles_at),
            absent_observer: None,
            absent_instance: None,
        }
    }

    /// Something that is missing from what `absent` should have reported: it holds once no more is expected.
    fn missing(
        &self,
        kind: FindingKind,
        severity: Severity,
        absent: Absent,
        evidence: &[&Leg],
        sentence: String,
    ) -> Finding {
        Finding {
            raised_at: self.call.settles_at,
            absent_observer: Some(absent.observer),
            absent_instance: absent.instance,
            ..self.seen(kind, severity, evidence, sentence)
        }
    }

    /// `GET /orders/1`, or the protocol where there is no method.
    fn what(&self) -> String {
        match (&self.call.method, &self.call.path) {
            (Some(method), Some(path)) => format!("{method} {path}"),
            (Some(method), None) => method.clone(),
            _ => format!("a {} connection", self.call.protocol),
        }
    }
}
