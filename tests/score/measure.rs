//! How well an export agrees with what really happened.
//!
//! The measure: two legs that stand in one exported call are a *pair*. A pair is right when one real call left both lines;
//! a pair of a real call that no exported call shows is missed. The call through a gateway is exported as two calls (to the
//! gateway, and on to the service), so that the Worker's record is never paired with the service's line: neither is expected.
//! A real call is then looked up by the exported call that holds most of its lines, and that one's parent, principal and
//! findings are compared.

use crate::truth::{RealCall, Role};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Of an exported call, what is judged.
#[derive(Debug, Deserialize)]
pub struct Exported {
    pub id: String,
    pub parent_id: Option<String>,
    pub principal: Option<ExportedPrincipal>,
    pub legs: Vec<ExportedLeg>,
    pub findings: Vec<ExportedFinding>,
}

#[derive(Debug, Deserialize)]
pub struct ExportedPrincipal {
    pub subject: String,
}

#[derive(Debug, Deserialize)]
pub struct ExportedFinding {
    pub kind: String,
}

#[derive(Debug, Deserialize)]
pub struct ExportedLeg {
    pub line_sha256: String,
    pub span_id: Option<String>,
}

/// Our finding's name to the labels that it may stand for. Empty: the label has nothing to do with truth's list.
pub type Labels = BTreeMap<String, BTreeSet<String>>;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    pub right: usize,
    pub wrong: usize,
    pub missed: usize,
}

impl Tally {
    pub fn precision(self) -> f64 {
        ratio(self.right, self.right + self.wrong)
    }

    pub fn recall(self) -> f64 {
        ratio(self.right, self.right + self.missed)
    }
}

/// 1 where there was nothing to get wrong.
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (precision, recall) = (100.0 * self.precision(), 100.0 * self.recall());
        let Tally { right, wrong, missed } = self;
        write!(
            f,
            "{right} right, {wrong} wrong, {missed} missed: precision {precision:.2} %, recall {recall:.2} %"
        )
    }
}

/// The verdict, with an example of each thing that went wrong.
#[derive(Debug, Default)]
pub struct Score {
    pub real_calls: usize,
    pub exported_calls: usize,
    /// Legs whose line truth does not know.
    pub unknown_legs: usize,
    pub pairs: Tally,
    pub parents: Tally,
    /// Every call that was given a subject: whether it is the right one. Nothing is missed here.
    pub principals: Tally,
    /// Only the calls whose subject the lines can prove: `missed` is one without a subject or with another.
    pub provable_principals: Tally,
    pub findings: BTreeMap<String, Tally>,
    /// Of the calls that truth accuses, those with a finding that stands for one of the labels, and those without.
    pub accused: Tally,
    /// Findings on calls with which nothing was wrong, by name.
    pub false_alarms: BTreeMap<String, usize>,
    pub exceptions: Vec<String>,
}

impl std::fmt::Display for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{} real calls, {} exported, {} unknown legs",
            self.real_calls, self.exported_calls, self.unknown_legs
        )?;
        writeln!(f, "pairs       {}", self.pairs)?;
        writeln!(f, "parents     {}", self.parents)?;
        writeln!(f, "principals  {}", self.principals)?;
        writeln!(f, "  provable  {}", self.provable_principals)?;
        for (label, tally) in &self.findings {
            writeln!(f, "finding     {label:<24} {tally}")?;
        }
        writeln!(f, "accused     {}", self.accused)?;
        writeln!(f, "false alarms {:?}", self.false_alarms)?;
        self.exceptions.iter().try_for_each(|e| writeln!(f, "  {e}"))
    }
}

/// One line's part in one real call. A Worker's line has one per record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    call: usize,
    line: usize,
}

struct Scene<'a> {
    real: &'a [RealCall],
    exported: &'a [Exported],
    by_id: BTreeMap<&'a str, usize>,
    exported_by_id: BTreeMap<&'a str, usize>,
    /// The marks of each exported call.
    marks: Vec<BTreeSet<Mark>>,
    /// The real call that each exported call shows, and for each real call the exported call that shows most of it.
    shows: Vec<Option<usize>>,
    shown_by: Vec<Option<usize>>,
}

pub fn score(real: &[RealCall], exported: &[Exported], labels: &Labels) -> Score {
    let mut score = Score { real_calls: real.len(), exported_calls: exported.len(), ..Score::default() };
    let scene = Scene::new(real, exported, &mut score);
    scene.score_pairs(&mut score);
    scene.score_parents(&mut score);
    scene.score_principals(&mut score);
    scene.score_findings(labels, &mut score);
    score
}

/// Every part that a leg's line may have in a real call; the span tells the records of a Worker's line apart.
fn resolve(real: &[RealCall], known: &[Mark], leg: &ExportedLeg) -> Vec<Mark> {
    let span_of = |m: &Mark| real[m.call].lines[m.line].span.as_deref();
    let exact: Vec<Mark> = known
        .iter()
        .copied()
        .filter(|m| leg.span_id.is_some() && span_of(m) == leg.span_id.as_deref())
        .collect();
    if exact.is_empty() { known.to_vec() } else { exact }
}

impl<'a> Scene<'a> {
    fn new(real: &'a [RealCall], exported: &'a [Exported], score: &mut Score) -> Self {
        let mut by_line: BTreeMap<&str, Vec<Mark>> = BTreeMap::new();
        for (call, r) in real.iter().enumerate() {
            for (line, l) in r.lines.iter().enumerate() {
                by_line.entry(&l.sha256).or_default().push(Mark { call, line });
            }
        }
        let mut scene = Scene {
            real,
            exported,
            by_id: real.iter().enumerate().map(|(i, r)| (r.id.as_str(), i)).collect(),
            exported_by_id: exported.iter().enumerate().map(|(i, e)| (e.id.as_str(), i)).collect(),
            marks: Vec::new(),
            shows: Vec::new(),
            shown_by: vec![None; real.len()],
        };
        for e in exported {
            scene.place(e, &by_line, score);
        }
        scene
    }

    /// Decides which real call an exported one shows: the one that most of its legs belong to.
    fn place(&mut self, exported: &Exported, by_line: &BTreeMap<&str, Vec<Mark>>, score: &mut Score) {
        let choices: Vec<Vec<Mark>> = exported
            .legs
            .iter()
            .map(|leg| resolve(self.real, by_line.get(leg.line_sha256.as_str()).map_or(&[][..], |v| v), leg))
            .collect();
        score.unknown_legs += choices.iter().filter(|c| c.is_empty()).count();
        let mut votes: BTreeMap<usize, usize> = BTreeMap::new();
        choices.iter().flatten().for_each(|m| *votes.entry(m.call).or_default() += 1);
        // Of a line that belongs to several calls take the one that the other legs speak for.
        let marks: BTreeSet<Mark> = choices
            .iter()
            .filter_map(|c| c.iter().copied().max_by_key(|m| (votes[&m.call], m.call)))
            .collect();
        let held = |call: usize| marks.iter().filter(|m| m.call == call).count();
        let shows = votes.keys().copied().filter(|c| held(*c) > 0).max_by_key(|c| (held(*c), *c));
        if let Some(call) = shows {
            let index = self.marks.len();
            let better = self.shown_by[call].is_none_or(|best| {
                let best_held = self.marks[best].iter().filter(|m| m.call == call).count();
                held(call) > best_held
            });
            if better {
                self.shown_by[call] = Some(index);
            }
        }
        self.marks.push(marks);
        self.shows.push(shows);
    }

    fn role(&self, mark: Mark) -> Role {
        self.real[mark.call].lines[mark.line].role
    }

    /// Not expected of an export that shows the way through a gateway as two calls.
    fn spans_the_gateway(&self, a: Mark, b: Mark) -> bool {
        let roles = [self.role(a), self.role(b)];
        a.call == b.call
            && roles.contains(&Role::Callee)
            && (roles.contains(&Role::Worker) || roles.contains(&Role::Zone))
    }

    fn score_pairs(&self, score: &mut Score) {
        let mut seen = BTreeSet::new();
        for (index, marks) in self.marks.iter().enumerate() {
            for (a, b) in pairs(marks) {
                if self.spans_the_gateway(a, b) || !seen.insert((a, b)) {
                    continue;
                }
                if a.call == b.call {
                    score.pairs.right += 1;
                } else {
                    score.pairs.wrong += 1;
                    let id = &self.exported[index].id;
                    score.exceptions.push(format!(
                        "wrong pair in {id}: {} and {}",
                        self.name(a.call),
                        self.name(b.call)
                    ));
                }
            }
        }
        for (call, real) in self.real.iter().enumerate() {
            let marks: BTreeSet<Mark> = (0..real.lines.len()).map(|line| Mark { call, line }).collect();
            let missed = |(a, b): &(Mark, Mark)| !self.spans_the_gateway(*a, *b) && !seen.contains(&(*a, *b));
            let count = pairs(&marks).filter(missed).count();
            score.pairs.missed += count;
            if count > 0 {
                score.exceptions.push(format!("missed {count} pairs of {}", self.name(call)));
            }
        }
    }

    /// The real call that stands above the exported one: through the first half of a gateway's call, if need be.
    fn real_parent(&self, index: usize) -> Option<usize> {
        let up = |i: usize| self.exported_by_id.get(self.exported[i].parent_id.as_deref()?).copied();
        let parent = up(index)?;
        if self.shows[parent] == self.shows[index] { self.shows[up(parent)?] } else { self.shows[parent] }
    }

    fn score_parents(&self, score: &mut Score) {
        for (call, real) in self.real.iter().enumerate().filter(|(_, r)| !r.is_edge() && !r.lines.is_empty())
        {
            let want = real.parent.as_deref().and_then(|p| self.by_id.get(p).copied());
            let got = self.shown_by[call].and_then(|index| self.real_parent(index));
            if got == want && self.shown_by[call].is_some() {
                score.parents.right += 1;
                continue;
            }
            let tally = if got.is_some() { &mut score.parents.wrong } else { &mut score.parents.missed };
            *tally += 1;
            let text = |c: Option<usize>| c.map_or("none".to_owned(), |c| self.name(c));
            score.exceptions.push(format!(
                "parent of {}: {} instead of {}",
                self.name(call),
                text(got),
                text(want)
            ));
        }
    }

    fn score_principals(&self, score: &mut Score) {
        for (call, real) in self.real.iter().enumerate().filter(|(_, r)| !r.lines.is_empty()) {
            let given = self.shown_by[call]
                .and_then(|i| self.exported[i].principal.as_ref())
                .map(|p| p.subject.as_str());
            let right = given.is_some() && given == real.principal.as_deref();
            if let Some(subject) = given.filter(|_| !right) {
                score.principals.wrong += 1;
                score.exceptions.push(format!(
                    "principal of {}: {subject} instead of {:?}, labels {:?} after {:?}",
                    self.name(call),
                    real.principal,
                    real.findings,
                    real.tainted_by
                ));
            }
            score.principals.right += usize::from(right);
            if real.principal_provable && !real.is_edge() {
                score.provable_principals.right += usize::from(right);
                score.provable_principals.missed += usize::from(!right);
                if given.is_none() {
                    score.exceptions.push(format!("principal of {} is missing", self.name(call)));
                }
            }
        }
    }

    fn score_findings(&self, labels: &Labels, score: &mut Score) {
        let mut raised: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
        for (index, exported) in self.exported.iter().enumerate() {
            if let Some(call) = self.shows[index] {
                raised.entry(call).or_default().extend(exported.findings.iter().map(|f| f.kind.as_str()));
            }
        }
        for (call, real) in self.real.iter().enumerate().filter(|(_, r)| !r.lines.is_empty()) {
            let mut hit: BTreeSet<&str> = BTreeSet::new();
            for finding in raised.get(&call).into_iter().flatten().copied() {
                let stands_for =
                    labels.get(finding).unwrap_or_else(|| panic!("findings.json does not list {finding}"));
                hit.extend(stands_for.intersection(&real.findings).map(String::as_str));
                let explained =
                    !stands_for.is_disjoint(&real.findings) || !stands_for.is_disjoint(&real.tainted_by);
                if real.innocent() {
                    *score.false_alarms.entry(finding.to_owned()).or_default() += 1;
                    score.exceptions.push(format!("{finding} on the innocent call {}", self.name(call)));
                } else if !explained {
                    score.findings.entry(finding.to_owned()).or_default().wrong += 1;
                    let (own, above) = (&real.findings, &real.tainted_by);
                    score
                        .exceptions
                        .push(format!("{finding} on {}, labels {own:?} after {above:?}", self.name(call)));
                }
            }
            if real.accused() {
                *(if hit.is_empty() { &mut score.accused.missed } else { &mut score.accused.right }) += 1;
            }
            for label in &real.findings {
                let tally = score.findings.entry(label.clone()).or_default();
                if hit.contains(label.as_str()) { tally.right += 1 } else { tally.missed += 1 }
            }
        }
    }

    fn name(&self, call: usize) -> String {
        let r = &self.real[call];
        let text = |t: &Option<String>| t.clone().unwrap_or_else(|| "?".to_owned());
        format!("{} {} -> {} {} ({})", r.kind, text(&r.caller), text(&r.callee), text(&r.path), &r.id[..8])
    }
}

/// The export of somebody who saw everything: for testing the measure.
pub fn perfect(real: &[RealCall]) -> Vec<Exported> {
    let harmless = |label: &String| crate::truth::HARMLESS.contains(&label.as_str());
    let leg =
        |l: &crate::truth::RealLine| ExportedLeg { line_sha256: l.sha256.clone(), span_id: l.span.clone() };
    real.iter()
        .filter(|r| !r.lines.is_empty())
        .map(|r| Exported {
            id: r.id.clone(),
            parent_id: r.parent.clone(),
            principal: r.principal.clone().map(|subject| ExportedPrincipal { subject }),
            legs: r.lines.iter().map(leg).collect(),
            findings: r
                .findings
                .iter()
                .filter(|l| !harmless(l))
                .map(|l| ExportedFinding { kind: l.clone() })
                .collect(),
        })
        .collect()
}

fn pairs(marks: &BTreeSet<Mark>) -> impl Iterator<Item = (Mark, Mark)> {
    marks.iter().flat_map(move |a| {
        marks.range((std::ops::Bound::Excluded(a), std::ops::Bound::Unbounded)).map(move |b| (*a, *b))
    })
}
