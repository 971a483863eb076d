//! Is each call's subject the user for whom it was really made?

use crate::scene::Scene;
use crate::score::{Score, What};

pub fn measure(scene: &Scene<'_>, score: &mut Score) {
    for (call, real) in scene.real.iter().enumerate().filter(|(_, r)| !r.lines.is_empty()) {
        let shown = scene.shown_by[call];
        let given = shown.and_then(|i| scene.exported[i].principal.as_ref()).map(|p| p.subject.as_str());
        let right = given.is_some() && given == real.principal.as_deref();
        if let Some(subject) = given.filter(|_| !right && !real.principal_hidden) {
            score.principals.wrong += 1;
            score.principals_wrong_under_attack += usize::from(!real.beyond_suspicion());
            let text = format!(
                "principal of {}: {subject} instead of {:?}, labels {:?} after {:?}",
                scene.name(call),
                real.principal,
                real.findings,
                real.tainted_by
            );
            score.case(What::WrongPrincipal, scene, Some(call), shown, text);
        }
        score.principals.right += usize::from(right);
        if real.principal_provable && !real.is_edge() {
            score.provable_principals.right += usize::from(right);
            score.provable_principals.missed += usize::from(!right);
            if given.is_none() {
                let text = format!("principal of {} is missing", scene.name(call));
                score.case(What::MissedPrincipal, scene, Some(call), shown, text);
            }
        }
    }
}
