//! `assemble(legs) -> calls`: the join as one pure function.
//!
//! Independent of the order of the legs and of duplicates; given the union of several sets that share nothing, it gives the
//! union of their calls. That is what lets the task work in any batches and still reach the same result.

use super::clocks::{Clocks, Times};
use super::contest::Contested;
use super::custody::{Custody, attribute};
use super::decisions::judge;
use super::facts::Facts;
use super::group::Group;
use super::rules::Rules;
use super::{build, components, edge_pairs, findings, legs::distinct, mesh_pairs, tree};
use crate::model::{Call, Leg};
use rayon::prelude::*;

/// Calls by start, then id. `legs` must be closed: whatever shares a key with one of them is among them.
pub fn assemble(legs: impl IntoIterator<Item = Leg>, facts: &Facts, rules: &Rules) -> Vec<Call> {
    let sets = components::apart(distinct(legs));
    let mut calls: Vec<Call> =
        sets.into_par_iter().flat_map_iter(|legs| assemble_one(legs, facts, rules)).collect();
    calls.sort_by_key(|call| (call.start, call.id));
    calls
}

/// The calls of one component, whose legs are distinct and in order.
fn assemble_one(legs: Vec<Leg>, facts: &Facts, rules: &Rules) -> Vec<Call> {
    let clocks = Clocks::estimate(&legs);
    let times = Times { clocks: &clocks, slack_us: pairing_slack_us(rules) };
    let groups = pairs(&clocks.in_common_time(&legs), times);
    calls(legs, &groups, &clocks, facts, rules)
}

/// Which legs are one call. `compared`: distinct legs in their common time.
pub(super) fn pairs(compared: &[Leg], times: Times) -> Vec<Group> {
    let mut in_mesh = Vec::new();
    let mut groups = edge_pairs::pair(compared, times, &mut in_mesh);
    groups.extend(mesh_pairs::pair(compared, &in_mesh, times));
    groups
}

/// The calls of the groups, with everything that follows from them.
pub(super) fn calls(
    legs: Vec<Leg>,
    groups: &[Group],
    clocks: &Clocks,
    facts: &Facts,
    rules: &Rules,
) -> Vec<Call> {
    grown(legs, groups, clocks, facts, rules).calls
}

/// Calls, with what was found on the way and stands on none of them.
pub(super) struct Grown {
    pub(super) calls: Vec<Call>,
    pub(super) contested: Contested,
    pub(super) custody: Custody,
}

pub(super) fn grown(
    legs: Vec<Leg>,
    groups: &[Group],
    clocks: &Clocks,
    facts: &Facts,
    rules: &Rules,
) -> Grown {
    let mut calls: Vec<Call> = groups.iter().map(|group| build::call(group, &legs, facts, rules)).collect();
    hand_out(legs, groups, &mut calls);
    calls.sort_by_key(|call| (call.start, call.id));
    let contested = tree::grow(&mut calls, clocks, facts, rules);
    let custody = attribute(&mut calls, &contested, clocks, rules);
    calls.iter_mut().for_each(judge);
    findings::find(&mut calls, &custody, facts, rules);
    Grown { calls, contested, custody }
}

/// Each call gets the legs of its group: each leg is of one.
fn hand_out(legs: Vec<Leg>, groups: &[Group], calls: &mut [Call]) {
    let mut legs: Vec<Option<Leg>> = legs.into_iter().map(Some).collect();
    for (group, call) in groups.iter().zip(calls) {
        call.legs = group.members().filter_map(|place| legs[place].take()).collect();
    }
}

/// Two clocks may each be off by the bound.
pub fn pairing_slack_us(rules: &Rules) -> i64 {
    rules.skew_bound_us.saturating_mul(2)
}
