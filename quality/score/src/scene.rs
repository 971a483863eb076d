//! Lays the exported calls over the real ones: which line of which real call is each leg, and which real call does each exported
//! call show?

use crate::export::{Exported, ExportedLeg};
use crate::score::Score;
use crate::truth::{LineHash, RealCall, Role};
use std::collections::HashMap;

/// One line's part in one real call. A Worker's line has one per record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    pub call: usize,
    pub line: usize,
}

pub struct Scene<'a> {
    pub real: &'a [RealCall],
    pub exported: &'a [Exported],
    pub by_id: HashMap<&'a str, usize>,
    pub exported_by_id: HashMap<&'a str, usize>,
    /// The marks of each exported call, sorted, each once.
    pub marks: Vec<Vec<Mark>>,
    /// The real call that each exported one shows: most of its legs belong to it.
    pub shows: Vec<Option<usize>>,
    /// For each real call the exported call that shows most of it.
    pub shown_by: Vec<Option<usize>>,
    /// For each real call the first of those that cannot be told from it; itself where it stands alone.
    pub equal_to: Vec<usize>,
    taken: Vec<Vec<bool>>,
}

impl<'a> Scene<'a> {
    pub fn new(real: &'a [RealCall], exported: &'a [Exported], score: &mut Score) -> Self {
        let mut by_line: HashMap<LineHash, Vec<Mark>> = HashMap::with_capacity(real.len() * 3);
        for (call, r) in real.iter().enumerate() {
            for (line, l) in r.lines.iter().enumerate() {
                by_line.entry(l.sha256).or_default().push(Mark { call, line });
            }
        }
        let mut scene = Scene {
            real,
            exported,
            by_id: real.iter().enumerate().map(|(i, r)| (r.id.as_str(), i)).collect(),
            exported_by_id: exported.iter().enumerate().map(|(i, e)| (e.id.as_str(), i)).collect(),
            marks: Vec::with_capacity(exported.len()),
            shows: Vec::with_capacity(exported.len()),
            shown_by: vec![None; real.len()],
            equal_to: equals(real),
            taken: real.iter().map(|r| vec![false; r.lines.len()]).collect(),
        };
        for e in exported {
            scene.place(e, &by_line, score);
        }
        scene
    }

    fn place(&mut self, exported: &Exported, by_line: &HashMap<LineHash, Vec<Mark>>, score: &mut Score) {
        let known = |leg: &ExportedLeg| by_line.get(&leg.line_sha256).map_or(&[][..], |v| v);
        let choices: Vec<Vec<Mark>> =
            exported.legs.iter().map(|leg| resolve(self.real, known(leg), leg)).collect();
        score.unknown_legs += choices.iter().filter(|c| c.is_empty()).count();
        let votes = |call: usize| choices.iter().flatten().filter(|m| m.call == call).count();
        // Of a line that belongs to several calls take the one that the other legs speak for; of lines that are equal to the last
        // byte, one that no other exported call has taken.
        let taken = |m: &Mark| self.taken[m.call][m.line];
        let part = |m: &Mark| (self.role(*m), self.real[m.call].lines[m.line].span.clone());
        let best = |c: &Vec<Mark>| {
            let equal_lines = c.windows(2).all(|two| part(&two[0]) == part(&two[1]));
            c.iter().copied().min_by_key(|m| {
                (equal_lines && taken(m), std::cmp::Reverse(votes(m.call)), taken(m), m.call, m.line)
            })
        };
        let mut marks: Vec<Mark> = choices.iter().filter_map(best).collect();
        let first = marks.first().map(|m| m.call);
        marks.sort_unstable();
        marks.dedup();
        let held = |call: usize| marks.iter().filter(|m| m.call == call).count();
        let calls = marks.iter().map(|m| m.call);
        let shows = calls.max_by_key(|&c| (held(c), Some(c) == first, std::cmp::Reverse(c)));
        if let Some(call) = shows {
            let held_by = |index: usize| self.marks[index].iter().filter(|m| m.call == call).count();
            if self.shown_by[call].is_none_or(|best| held(call) > held_by(best)) {
                self.shown_by[call] = Some(self.marks.len());
            }
        }
        marks.iter().for_each(|m| self.taken[m.call][m.line] = true);
        self.marks.push(marks);
        self.shows.push(shows);
    }

    pub fn role(&self, mark: Mark) -> Role {
        self.real[mark.call].lines[mark.line].role
    }

    /// Not expected of an export that shows the way through a gateway as two calls.
    pub fn spans_the_gateway(&self, a: Mark, b: Mark) -> bool {
        let roles = [self.role(a), self.role(b)];
        a.call == b.call
            && roles.contains(&Role::Callee)
            && (roles.contains(&Role::Worker) || roles.contains(&Role::Zone))
    }

    /// For people: kind, parties, path and id of a real call.
    pub fn name(&self, call: usize) -> String {
        let r = &self.real[call];
        let text = |t: &Option<String>| t.clone().unwrap_or_else(|| "?".to_owned());
        let id = r.id.get(..8).unwrap_or(&r.id);
        format!("{} {} -> {} {} ({id})", r.kind, text(&r.caller), text(&r.callee), text(&r.path))
    }

    /// The lines of two marks, for people.
    pub fn lines(&self, a: Mark, b: Mark) -> String {
        let line = |m: Mark| {
            let l = &self.real[m.call].lines[m.line];
            format!("{:?} {}", l.role, &l.sha256.to_string()[..12])
        };
        format!("{}, {}", line(a), line(b))
    }
}

/// Every part that a leg's line may have in a real call; the span tells the records of a Worker's line apart, the side the halves of
/// a gateway's.
fn resolve(real: &[RealCall], known: &[Mark], leg: &ExportedLeg) -> Vec<Mark> {
    let line = |m: &Mark| &real[m.call].lines[m.line];
    let only = |from: &[Mark], keep: &dyn Fn(&Mark) -> bool| -> Vec<Mark> {
        let kept: Vec<Mark> = from.iter().copied().filter(|m| keep(m)).collect();
        if kept.is_empty() { from.to_vec() } else { kept }
    };
    if known.len() <= 1 {
        return known.to_vec();
    }
    let exact = only(known, &|m| leg.span_id.is_some() && line(m).span == leg.span_id);
    only(&exact, &|m| line(m).side().is_none() || leg.side.is_none() || line(m).side() == leg.side)
}

fn equals(real: &[RealCall]) -> Vec<usize> {
    let mut first: HashMap<u64, usize> = HashMap::new();
    let equal = |(i, r): (usize, &RealCall)| match r.interchangeable {
        Some(group) => *first.entry(group).or_insert(i),
        None => i,
    };
    real.iter().enumerate().map(equal).collect()
}

/// Every two of `marks`.
pub fn pairs(marks: &[Mark]) -> impl Iterator<Item = (Mark, Mark)> + '_ {
    marks.iter().enumerate().flat_map(|(i, a)| marks[i + 1..].iter().map(move |b| (*a, *b)))
}
