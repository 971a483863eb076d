//! Is what was wrong found, and is nobody accused who did nothing?

use crate::export::Labels;
use crate::scene::Scene;
use crate::score::{Score, What};
use crate::truth::{ACCUSING_FINDINGS, RealCall, is_accusation};
use std::collections::{BTreeMap, BTreeSet};

pub fn measure(scene: &Scene<'_>, labels: &Labels, score: &mut Score) {
    let mut raised: BTreeMap<usize, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut unmeasured: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for (index, exported) in scene.exported.iter().enumerate() {
        if let Some(call) = scene.shows[index] {
            let kinds = exported.findings.iter().map(|f| (f.kind.as_str(), index));
            raised.entry(call).or_default().extend(kinds);
            let kept_back = exported.unmeasured.iter().flat_map(|f| labels.stand_for(&f.kind));
            unmeasured.entry(call).or_default().extend(kept_back);
        }
    }
    for (call, real) in scene.real.iter().enumerate().filter(|(_, r)| !r.lines.is_empty()) {
        let mut hit: BTreeSet<String> = BTreeSet::new();
        for (&finding, &index) in raised.get(&call).into_iter().flatten() {
            let stands_for = labels.stand_for(finding);
            hit.extend(stands_for.intersection(&real.findings).cloned());
            let explained =
                !stands_for.is_disjoint(&real.findings) || !stands_for.is_disjoint(&real.tainted_by);
            if !explained {
                count_unexplained(scene, (call, index), finding, score);
            }
            if real.innocent() {
                *score.false_alarms.entry(finding.to_owned()).or_default() += 1;
            }
        }
        let unmeasured = unmeasured.remove(&call).unwrap_or_default();
        count_found(scene, call, &hit, &unmeasured, score);
    }
}

fn count_unexplained(scene: &Scene<'_>, (call, index): (usize, usize), finding: &str, score: &mut Score) {
    let real = &scene.real[call];
    let (own, above) = (&real.findings, &real.tainted_by);
    let name = scene.name(call);
    let accuses = ACCUSING_FINDINGS.contains(&finding);
    if accuses && real.beyond_suspicion() {
        *score.false_accusations.entry(finding.to_owned()).or_default() += 1;
        let text = format!("{finding} on {name}, which did nothing (labels {own:?} after {above:?})");
        score.case(What::FalseAccusation, scene, Some(call), Some(index), text);
    } else {
        let text = match real.innocent() {
            true => format!("{finding} on the innocent call {name}"),
            false => format!("{finding} on {name}, labels {own:?} after {above:?}"),
        };
        score.case(What::UnexplainedFinding, scene, Some(call), Some(index), text);
    }
    score.findings.entry(finding.to_owned()).or_default().wrong += 1;
}

/// A finding of absence that is kept back because no line measures whoever should have told is counted apart where all lines came: none
/// is left that could tell. In the tally of all calls it is missed like any other.
fn count_found(
    scene: &Scene<'_>,
    call: usize,
    hit: &BTreeSet<String>,
    unmeasured: &BTreeSet<String>,
    score: &mut Score,
) {
    let real = &scene.real[call];
    if real.accused() {
        *(if hit.is_empty() { &mut score.accused.missed } else { &mut score.accused.right }) += 1;
    }
    for label in &real.findings {
        let found = hit.contains(label);
        let kept_back = !found && is_complete(real) && unmeasured.contains(label);
        if kept_back {
            *score.findings_unmeasured.entry(label.clone()).or_default() += 1;
        }
        let mut tallies = vec![score.findings.entry(label.clone()).or_default()];
        if is_complete(real) && !kept_back {
            tallies.push(score.findings_complete.entry(label.clone()).or_default());
        }
        for tally in tallies {
            *(if found { &mut tally.right } else { &mut tally.missed }) += 1;
        }
        if !found && !kept_back && is_complete(real) && is_accusation(label) {
            let text = format!("{label} on {} was not found", scene.name(call));
            score.case(What::MissedFinding, scene, Some(call), scene.shown_by[call], text);
        }
    }
}

/// Whatever it wrote has arrived.
fn is_complete(real: &RealCall) -> bool {
    real.lost == 0
}
