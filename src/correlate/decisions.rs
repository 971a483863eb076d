//! The verdicts that the lines carry. A line is judged by the verdict it carries, never by the rule in force at its time.

use crate::model::{Call, Decision, Effect, Judge, Leg, Verdict};

/// Sets `decisions` from the legs, in the order of the legs.
pub fn judge(call: &mut Call) {
    call.decisions = call.legs.iter().flat_map(decisions_of).collect();
}

fn decisions_of(leg: &Leg) -> Vec<Decision> {
    let worker = leg.edge_decision.as_ref().map(|d| Decision {
        judge: Judge::Worker,
        effect: effect(d.allowed),
        rule: d.policy.clone(),
        reason: d.reason.clone(),
        leg: leg.id,
    });
    let mesh = leg.verdict.as_ref().map(|v| Decision {
        judge: Judge::Intention,
        effect: effect(v.allowed),
        rule: v.policy.clone(),
        reason: reason(v),
        leg: leg.id,
    });
    worker.into_iter().chain(mesh).collect()
}

fn effect(allowed: bool) -> Effect {
    if allowed { Effect::Allow } else { Effect::Deny }
}

/// Envoy names no policy when it denies because nothing allowed: default deny, an explicit deny, a missing or wrong token all
/// look the same in its log.
fn reason(verdict: &Verdict) -> Option<String> {
    (!verdict.allowed && verdict.policy.is_none()).then(|| "no intention allowed it".to_owned())
}
