//! Findings about how a call ended: refused by a judge, or stopped short of the application.

use super::Scene;
use crate::model::{Effect, Finding, FindingKind, Judge, Leg, Severity};

/// Any judge denied.
pub fn denied(scene: &Scene) -> Option<Finding> {
    let call = scene.call;
    let decision = call.decisions.iter().find(|d| d.effect == Effect::Deny)?;
    let leg = call.legs.iter().find(|l| l.id == decision.leg)?;
    let rule = decision.rule.as_deref().map(|r| format!(" by {r}")).unwrap_or_default();
    let reason = decision.reason.as_deref().map(|r| format!(" ({r})")).unwrap_or_default();
    let judge = match decision.judge {
        Judge::Worker => format!("the Worker {}", leg.observer.name),
        Judge::Intention => format!("the intentions of {}", call.callee.name),
    };
    let sentence = format!("{} was denied to {}: {judge}{rule}{reason}.", scene.what(), call.caller.name);
    Some(scene.seen(FindingKind::Denied, Severity::Medium, &[leg], sentence))
}

/// Did not get its answer from the application. A denial is told by `denied`.
pub fn stopped(scene: &Scene) -> Option<Finding> {
    let call = scene.call;
    let (stage, why) = call.outcome.stopped_at.zip(call.outcome.stopped_why.as_deref())?;
    if call.effect() == Some(Effect::Deny) {
        return None;
    }
    let sentence = format!(
        "{} from {} to {} stopped at the {}: {why}.",
        scene.what(),
        call.caller.name,
        call.callee.name,
        stage.as_str().replace('_', " ")
    );
    let evidence: Vec<&Leg> = call.legs.iter().collect();
    Some(scene.seen(FindingKind::Stopped, Severity::Low, &evidence, sentence))
}
