//! Does each call hang under the call that was being handled when it was made?

use crate::scene::Scene;
use crate::score::{Score, What};

pub fn measure(scene: &Scene<'_>, score: &mut Score) {
    for (call, real) in scene.real.iter().enumerate().filter(|(_, r)| !r.is_edge() && !r.lines.is_empty()) {
        // Of a call that left no line nobody can know: what it caused is a root.
        let want = real.parent.as_deref().and_then(|p| scene.by_id.get(p).copied());
        let want = want.filter(|&p| !scene.real[p].lines.is_empty());
        let shown = scene.shown_by[call];
        let got = shown.and_then(|index| real_parent(scene, index));
        let inferred = shown.is_some_and(|index| scene.exported[index].parent_inferred);
        let same =
            |a: Option<usize>, b: Option<usize>| a.map(|c| scene.equal_to[c]) == b.map(|c| scene.equal_to[c]);
        let verdict = match () {
            () if shown.is_some() && same(got, want) => Verdict::Right { strictly: got == want },
            () if got.is_some() => Verdict::Wrong,
            () => Verdict::Missed,
        };
        let by_root = score.parents_by_root.entry(format!("{}:{}", real.root_kind, real.kind)).or_default();
        let inferred = if inferred { Some(&mut score.parents_inferred) } else { None };
        for tally in [&mut score.parents, by_root].into_iter().chain(inferred) {
            match verdict {
                Verdict::Right { .. } => tally.right += 1,
                Verdict::Wrong => tally.wrong += 1,
                Verdict::Missed => tally.missed += 1,
            }
        }
        match verdict {
            Verdict::Right { strictly } => score.parents_swapped += usize::from(!strictly),
            Verdict::Wrong | Verdict::Missed => {
                let text = |c: Option<usize>| c.map_or("none".to_owned(), |c| scene.name(c));
                let text = format!("parent of {}: {} instead of {}", scene.name(call), text(got), text(want));
                let what = if got.is_some() { What::WrongParent } else { What::MissedParent };
                score.case(what, scene, Some(call), shown, text);
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Verdict {
    Right { strictly: bool },
    Wrong,
    Missed,
}

/// The real call that stands above the exported one: through the first half of a gateway's call, if need be.
fn real_parent(scene: &Scene<'_>, index: usize) -> Option<usize> {
    let up = |i: usize| scene.exported_by_id.get(scene.exported[i].parent_id.as_deref()?).copied();
    let parent = up(index)?;
    if scene.shows[parent] == scene.shows[index] { scene.shows[up(parent)?] } else { scene.shows[parent] }
}
