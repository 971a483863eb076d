//! Do the legs that stand together belong together?

use crate::scene::{Mark, Scene, pairs};
use crate::score::{Score, What};
use crate::tally::Tally;
use crate::truth::Role;
use std::collections::{HashMap, HashSet};

/// Pairs of one sort within a group of equal calls: which group, which two roles.
type Sort = (usize, Role, Role);

pub fn measure(scene: &Scene<'_>, score: &mut Score) {
    let mut seen: HashSet<(Mark, Mark)> = HashSet::with_capacity(scene.real.len() * 2);
    let mut shown_in_groups: HashMap<Sort, usize> = HashMap::new();
    for (index, marks) in scene.marks.iter().enumerate() {
        for (a, b) in pairs(marks) {
            if !scene.spans_the_gateway(a, b) && seen.insert((a, b)) {
                count_shown(scene, index, (a, b), &mut shown_in_groups, score);
            }
        }
    }
    let mut real_in_groups: HashMap<Sort, usize> = HashMap::new();
    for (call, real) in scene.real.iter().enumerate() {
        let marks: Vec<Mark> = (0..real.lines.len()).map(|line| Mark { call, line }).collect();
        let expected = pairs(&marks).filter(|(a, b)| !scene.spans_the_gateway(*a, *b));
        let mut missed = 0;
        for (a, b) in expected {
            let is_missed = !seen.contains(&(a, b));
            missed += usize::from(is_missed);
            score.mesh_strict.missed += usize::from(is_missed && is_in_mesh(scene, a, b));
            if real.interchangeable.is_some() {
                *real_in_groups.entry(sort(scene, a, b)).or_default() += 1;
            }
        }
        count_missed(scene, call, missed, score);
    }
    add_groups(&shown_in_groups, &real_in_groups, score);
    name_missed_of_groups(scene, &seen, &shown_in_groups, &real_in_groups, score);
}

/// Of the groups of which pairs are missing: which calls have not got theirs, nor stand with another's.
fn name_missed_of_groups(
    scene: &Scene<'_>,
    seen: &HashSet<(Mark, Mark)>,
    shown: &HashMap<Sort, usize>,
    real: &HashMap<Sort, usize>,
    score: &mut Score,
) {
    for (call, truth) in scene.real.iter().enumerate().filter(|(_, t)| t.interchangeable.is_some()) {
        let marks: Vec<Mark> = (0..truth.lines.len()).map(|line| Mark { call, line }).collect();
        let missing = pairs(&marks).filter(|(a, b)| !scene.spans_the_gateway(*a, *b)).find(|&(a, b)| {
            let sort = sort(scene, a, b);
            !seen.contains(&(a, b)) && shown.get(&sort).unwrap_or(&0) < real.get(&sort).unwrap_or(&0)
        });
        if missing.is_some() {
            let text = format!("missed a pair of the equals of {}", scene.name(call));
            score.case(What::MissedPair, scene, Some(call), scene.shown_by[call], text);
        }
    }
}

fn sort(scene: &Scene<'_>, a: Mark, b: Mark) -> Sort {
    let (x, y) = (scene.role(a), scene.role(b));
    (scene.equal_to[a.call], x.min(y), x.max(y))
}

/// Two proxies' views of one call.
fn is_in_mesh(scene: &Scene<'_>, a: Mark, b: Mark) -> bool {
    let by_proxy = |m| matches!(scene.role(m), Role::Gateway | Role::Caller | Role::Callee);
    by_proxy(a) && by_proxy(b)
}

fn count_shown(
    scene: &Scene<'_>,
    index: usize,
    (a, b): (Mark, Mark),
    in_groups: &mut HashMap<Sort, usize>,
    score: &mut Score,
) {
    let exported = &scene.exported[index];
    let grouped = scene.real[a.call].interchangeable.is_some();
    let equal = scene.equal_to[a.call] == scene.equal_to[b.call];
    let right = a.call == b.call;
    let mut bases = vec![score.by_basis.entry(exported.basis.clone()).or_default()];
    if is_in_mesh(scene, a, b) {
        bases.push(score.mesh_by_basis.entry(exported.basis.clone()).or_default());
        *(if right { &mut score.mesh_strict.right } else { &mut score.mesh_strict.wrong }) += 1;
    }
    for basis in bases {
        match (right, equal) {
            (true, _) => basis.right += 1,
            (false, true) => basis.swapped += 1,
            (false, false) => basis.wrong += 1,
        }
    }
    if grouped && equal {
        *in_groups.entry(sort(scene, a, b)).or_default() += 1;
    } else {
        *(if right { &mut score.pairs.right } else { &mut score.pairs.wrong }) += 1;
    }
    *(if right { &mut score.pairs_strict.right } else { &mut score.pairs_strict.wrong }) += 1;
    let certain = matches!(exported.basis.as_str(), "proven" | "keyed");
    if !right && (certain || !equal) {
        let what = match exported.basis.as_str() {
            "proven" => What::WrongProven,
            "keyed" => What::WrongKeyed,
            _ => What::WrongPair,
        };
        let text = format!(
            "{} wrong pair in {}: {} and {} ({})",
            exported.basis,
            exported.id,
            scene.name(a.call),
            scene.name(b.call),
            scene.lines(a, b)
        );
        score.case(what, scene, Some(a.call), Some(index), text);
    }
}

fn count_missed(scene: &Scene<'_>, call: usize, missed: usize, score: &mut Score) {
    if missed == 0 {
        return;
    }
    score.pairs_strict.missed += missed;
    if scene.real[call].interchangeable.is_none() {
        score.pairs.missed += missed;
        let text = format!("missed {missed} pairs of {}", scene.name(call));
        score.case(What::MissedPair, scene, Some(call), scene.shown_by[call], text);
    }
}

/// A group is right as far as it shows as many pairs of each sort as there were.
fn add_groups(shown: &HashMap<Sort, usize>, real: &HashMap<Sort, usize>, score: &mut Score) {
    let mut group = Tally::default();
    for (sort, &count) in real {
        let shown = shown.get(sort).copied().unwrap_or(0);
        group.right += shown.min(count);
        group.wrong += shown.saturating_sub(count);
        group.missed += count.saturating_sub(shown);
    }
    let strangers = shown.iter().filter(|(sort, _)| !real.contains_key(sort));
    group.wrong += strangers.map(|(_, n)| n).sum::<usize>();
    score.pairs.add(group);
    score.pairs_in_groups.add(group);
}
