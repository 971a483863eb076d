//! The verdict, with an example of each thing that went wrong.

use crate::calibration::{self, Calibration};
use crate::export::{Exported, Labels};
use crate::scene::Scene;
use crate::tally::{PairTally, Tally};
use crate::truth::{ABSENCE_FINDINGS, RealCall};
use crate::{findings, pairs, parents, principals};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Cases of one sort that are kept with their text; all are counted.
const KEPT_PER_SORT: usize = 40;

/// A way to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    WrongProven,
    WrongKeyed,
    /// Inferred.
    WrongPair,
    FalseAccusation,
    WrongPrincipal,
    WrongParent,
    MissedPair,
    MissedParent,
    MissedPrincipal,
    MissedFinding,
    UnexplainedFinding,
}

/// One thing that went wrong, for whoever looks for its cause.
#[derive(Debug, Clone, Serialize)]
pub struct Case {
    pub what: What,
    /// Which world it was in; set by whoever scores several.
    pub world: Option<u64>,
    pub scenario: String,
    /// Places in the world's truth and in its export.
    pub real: Option<usize>,
    pub exported: Option<usize>,
    pub text: String,
}

#[derive(Debug, Default, Clone, Serialize)]
pub struct Score {
    pub real_calls: usize,
    pub exported_calls: usize,
    /// Legs whose line truth does not know.
    pub unknown_legs: usize,
    /// Calls that nobody can tell apart judged as a group.
    pub pairs: Tally,
    /// Each pair by itself.
    pub pairs_strict: Tally,
    /// Of `pairs`, those between calls that nobody can tell apart.
    pub pairs_in_groups: Tally,
    /// By the basis of the exported call.
    pub by_basis: BTreeMap<String, PairTally>,
    /// Only the pairs of two proxies, each by itself; the same by basis.
    pub mesh_strict: Tally,
    pub mesh_by_basis: BTreeMap<String, PairTally>,
    pub parents: Tally,
    /// Of the right ones, how many are only as right as their group is.
    pub parents_swapped: usize,
    pub parents_inferred: Tally,
    /// By kind of root and kind of call.
    pub parents_by_root: BTreeMap<String, Tally>,
    /// Every call that was given a subject: whether it is the right one. Nothing is missed here.
    pub principals: Tally,
    pub principals_wrong_under_attack: usize,
    /// Only the calls whose subject the lines can prove: `missed` is one without a subject or with another.
    pub provable_principals: Tally,
    pub findings: BTreeMap<String, Tally>,
    /// The same for the calls that lost no line.
    pub findings_complete: BTreeMap<String, Tally>,
    /// Of the calls that lost no line and are not in that tally, those whose finding is kept back because no line measures whoever should
    /// have told.
    pub findings_unmeasured: BTreeMap<String, usize>,
    /// Of the calls that truth accuses, those with a finding that stands for one of the labels, and those without.
    pub accused: Tally,
    /// Findings on calls with which nothing was wrong, by name.
    pub false_alarms: BTreeMap<String, usize>,
    /// Of findings that accuse, those on calls that no attack had led to.
    pub false_accusations: BTreeMap<String, usize>,
    pub calibration: Calibration,
    /// Of exported calls with several legs, those marked as one of a group that cannot be told apart, and all: by protocol and
    /// whether a hop id was logged.
    pub ambiguous: BTreeMap<String, (usize, usize)>,
    /// How many cases of each sort there were, by scenario.
    pub counted: BTreeMap<What, BTreeMap<String, usize>>,
    pub cases: Vec<Case>,
}

pub fn score(real: &[RealCall], exported: &[Exported], labels: &Labels) -> Score {
    let mut score = Score { real_calls: real.len(), exported_calls: exported.len(), ..Score::default() };
    let scene = Scene::new(real, exported, &mut score);
    pairs::measure(&scene, &mut score);
    parents::measure(&scene, &mut score);
    principals::measure(&scene, &mut score);
    findings::measure(&scene, labels, &mut score);
    calibration::measure(&scene, &mut score);
    exported.iter().for_each(|e| score.count_ambiguous(e));
    score
}

impl Score {
    pub(crate) fn case(
        &mut self,
        what: What,
        scene: &Scene<'_>,
        real: Option<usize>,
        exported: Option<usize>,
        text: String,
    ) {
        let scenario = real.map(|r| scene.real[r].scenario.clone()).unwrap_or_default();
        *self.counted.entry(what).or_default().entry(scenario.clone()).or_default() += 1;
        self.cases.push(Case { what, world: None, scenario, real, exported, text });
    }

    fn count_ambiguous(&mut self, exported: &Exported) {
        if exported.legs.len() < 2 {
            return;
        }
        let hop = exported.legs.iter().all(|l| l.hop.is_some());
        let sort = format!("{}{}", exported.protocol, if hop { " with hop id" } else { "" });
        let (marked, all) = self.ambiguous.entry(sort).or_default();
        *marked += usize::from(exported.ambiguous > 1);
        *all += 1;
    }

    pub fn count(&self, what: What) -> usize {
        self.counted.get(&what).map_or(0, |by_scenario| by_scenario.values().sum())
    }

    pub fn false_accusations(&self) -> usize {
        self.false_accusations.values().sum()
    }

    /// Adds the verdict on another world.
    pub fn add(&mut self, other: Score) {
        self.real_calls += other.real_calls;
        self.exported_calls += other.exported_calls;
        self.unknown_legs += other.unknown_legs;
        self.pairs.add(other.pairs);
        self.pairs_strict.add(other.pairs_strict);
        self.pairs_in_groups.add(other.pairs_in_groups);
        other.by_basis.into_iter().for_each(|(k, t)| self.by_basis.entry(k).or_default().add(t));
        self.mesh_strict.add(other.mesh_strict);
        other.mesh_by_basis.into_iter().for_each(|(k, t)| self.mesh_by_basis.entry(k).or_default().add(t));
        self.parents.add(other.parents);
        self.parents_swapped += other.parents_swapped;
        self.parents_inferred.add(other.parents_inferred);
        add_tallies(&mut self.parents_by_root, other.parents_by_root);
        self.principals.add(other.principals);
        self.principals_wrong_under_attack += other.principals_wrong_under_attack;
        self.provable_principals.add(other.provable_principals);
        add_tallies(&mut self.findings, other.findings);
        add_tallies(&mut self.findings_complete, other.findings_complete);
        add_counts(&mut self.findings_unmeasured, other.findings_unmeasured);
        self.accused.add(other.accused);
        add_counts(&mut self.false_alarms, other.false_alarms);
        add_counts(&mut self.false_accusations, other.false_accusations);
        self.calibration.add(&other.calibration);
        for (sort, (marked, all)) in other.ambiguous {
            let own = self.ambiguous.entry(sort).or_default();
            *own = (own.0 + marked, own.1 + all);
        }
        for (what, by_scenario) in other.counted {
            add_counts(self.counted.entry(what).or_default(), by_scenario);
        }
        self.cases.extend(other.cases);
        self.forget_cases();
    }

    /// Keeps some cases of each sort.
    pub fn forget_cases(&mut self) {
        let mut kept: BTreeMap<(What, String), usize> = BTreeMap::new();
        self.cases.retain(|case| {
            let n = kept.entry((case.what, case.scenario.clone())).or_default();
            *n += 1;
            *n <= KEPT_PER_SORT
        });
    }
}

fn add_tallies(own: &mut BTreeMap<String, Tally>, other: BTreeMap<String, Tally>) {
    other.into_iter().for_each(|(key, tally)| own.entry(key).or_default().add(tally));
}

fn add_counts(own: &mut BTreeMap<String, usize>, other: BTreeMap<String, usize>) {
    other.into_iter().for_each(|(key, count)| *own.entry(key).or_default() += count);
}

impl Score {
    /// Everything but the cases.
    pub fn summary(&self) -> String {
        Score { cases: Vec::new(), ..self.clone() }.to_string()
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Score { real_calls, exported_calls, unknown_legs, .. } = self;
        writeln!(f, "{real_calls} real calls, {exported_calls} exported, {unknown_legs} unknown legs")?;
        writeln!(f, "pairs       {}", self.pairs)?;
        writeln!(f, "  strictly  {}", self.pairs_strict)?;
        writeln!(f, "  of equals {}", self.pairs_in_groups)?;
        writeln!(f, "  in mesh   {} (strictly)", self.mesh_strict)?;
        self.by_basis.iter().try_for_each(|(basis, tally)| writeln!(f, "  {basis:<9} {tally}"))?;
        for (sort, (marked, all)) in &self.ambiguous {
            writeln!(f, "ambiguous   {marked} of {all} {sort}")?;
        }
        writeln!(f, "parents     {} ({} swapped among equals)", self.parents, self.parents_swapped)?;
        writeln!(f, "  inferred  {}", self.parents_inferred)?;
        self.parents_by_root.iter().try_for_each(|(sort, tally)| writeln!(f, "  {sort:<24} {tally}"))?;
        let attacks = self.principals_wrong_under_attack;
        writeln!(f, "principals  {} ({attacks} of the wrong ones under attack)", self.principals)?;
        writeln!(f, "  provable  {}", self.provable_principals)?;
        for (label, tally) in &self.findings {
            let absence = if ABSENCE_FINDINGS.contains(&label.as_str()) { "absence" } else { "" };
            let complete = self.findings_complete.get(label).copied().unwrap_or_default();
            let recall = 100.0 * complete.recall();
            writeln!(f, "finding     {label:<24} {absence:<8} {tally}; with all lines recall {recall:.2} %")?;
        }
        writeln!(
            f,
            "kept back, since nothing measures whoever should have told {:?}",
            self.findings_unmeasured
        )?;
        writeln!(f, "accused     {}", self.accused)?;
        writeln!(f, "false alarms {:?}", self.false_alarms)?;
        writeln!(f, "false accusations {:?}", self.false_accusations)?;
        writeln!(f, "confidence  {}", self.calibration)?;
        for (what, by_scenario) in &self.counted {
            writeln!(f, "{what:?}: {} {by_scenario:?}", self.count(*what))?;
        }
        self.cases.iter().try_for_each(|case| writeln!(f, "  {}", case.text))
    }
}
