//! What is wrong or unproven, each with a sentence that a person understands.
//!
//! One small rule per finding: it looks at a call with its surroundings and says at most one thing. A rule that concludes from
//! something *missing* names the observer that should have reported it; the finding then counts only once the call has
//! settled, and while that observer's measured coverage is good enough. What each does not prove: `docs/findings.md`.

mod chain;
mod edge;
mod outcome;
mod sides;

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
    let mut found: Vec<Vec<Finding>> = Vec::with_capacity(calls.len());
    for call in calls.iter() {
        let parent = call.parent_id.and_then(|id| place.get(&id)).map(|&p| &calls[p]);
        let scene = Scene { call, parent, custody, facts, rules, edge_traces: &edge_traces };
        found.push(RULES.iter().filter_map(|rule| rule(&scene)).collect());
    }
    for (call, findings) in calls.iter_mut().zip(found) {
        call.findings = findings;
    }
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
        }
    }

    /// Something that is missing from what `observer` should have reported: it holds once no more is expected.
    fn missing(
        &self,
        kind: FindingKind,
        severity: Severity,
        observer: String,
        evidence: &[&Leg],
        sentence: String,
    ) -> Finding {
        Finding {
            raised_at: self.call.settles_at,
            absent_observer: Some(observer),
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
