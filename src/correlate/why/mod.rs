//! Why a call was joined as it was: for each pair of legs what speaks for and against it, the next best, the rule that set the
//! basis, the parent, the principal hop by hop, and what would withdraw each finding.
//!
//! It decides nothing. It joins the call's component again by the same functions and asks the same predicates for their
//! reasons, so that an explanation cannot disagree with the join. Nothing of it is stored. Only `component` asks the store.

mod alike;
mod basis;
mod component;
mod evidence;
mod findings;
mod history;
mod pair;
mod parent;
mod principal;
mod rivals;
mod row;
mod words;

pub use basis::{BasisWhy, By};
pub use component::explain;
pub use evidence::{Evidence, Kind, Weight};
pub use findings::FindingWhy;
pub use history::{Event, History, What, history};
pub use parent::{How, OtherParent, ParentWhy};
pub use principal::Step;
pub use rivals::{Field, RunnerUp};
pub use row::RowPair;

use super::assemble::{Grown, grown, pairing_slack_us, pairs};
use super::clocks::{Clocks, Times};
use super::contest::Contested;
pub use super::coverage::{CHAINS_OF, CONNECTIONS_OF, MESH, party_of, together_with};
use super::custody::Custody;
use super::facts::Facts;
use super::group::Group;
use super::legs::distinct;
use super::rules::Rules;
use super::sockets::ToldSockets;
use crate::model::{Call, CallId, Leg, LegId};
use evidence::Attempt;
use std::collections::BTreeMap;

/// The explanation of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// As joined now, under the rules at hand.
    pub call: Call,
    pub basis: BasisWhy,
    pub pairs: Vec<PairWhy>,
    /// Where order decided: the rows, as they were paired.
    pub row: Vec<RowPair>,
    /// For each leg of the call, what else it was held against.
    pub fields: Vec<Field>,
    pub parent: ParentWhy,
    pub principal: Vec<Step>,
    pub findings: Vec<FindingWhy>,
}

/// Two legs of the call, and what they say about each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairWhy {
    pub client: LegId,
    pub server: LegId,
    pub evidence: Vec<Evidence>,
}

/// A component, joined, with what led to it.
pub struct Joined<'a> {
    /// By start of their own clocks.
    legs: Vec<Leg>,
    /// The same legs at the same places, in a common time: what is compared.
    compared: Vec<Leg>,
    clocks: Clocks,
    groups: Vec<Group>,
    calls: Vec<Call>,
    contested: Contested,
    custody: Custody,
    facts: &'a Facts,
    rules: &'a Rules,
    /// Place of a leg → its group.
    group_at: Vec<usize>,
    /// Whether a place is that of a leg inside the mesh.
    in_mesh: Vec<bool>,
    call_at: BTreeMap<CallId, usize>,
}

impl<'a> Joined<'a> {
    pub fn new(legs: impl IntoIterator<Item = Leg>, facts: &'a Facts, rules: &'a Rules) -> Self {
        let legs = distinct(legs);
        let clocks = Clocks::estimate(&legs);
        let compared = clocks.in_common_time(&legs).into_owned();
        let times = Times { clocks: &clocks, slack_us: pairing_slack_us(rules) };
        let groups = pairs(&compared, times);
        let Grown { calls, contested, custody } = grown(legs.clone(), &groups, &clocks, facts, rules);
        let mut group_at = vec![0; legs.len()];
        for (i, group) in groups.iter().enumerate() {
            group.members().for_each(|place| group_at[place] = i);
        }
        let in_mesh = legs.iter().map(|l| l.is_mesh_client() || l.is_mesh_server()).collect();
        let call_at = calls.iter().enumerate().map(|(i, c)| (c.id, i)).collect();
        Joined {
            legs,
            compared,
            clocks,
            groups,
            calls,
            contested,
            custody,
            facts,
            rules,
            group_at,
            in_mesh,
            call_at,
        }
    }

    fn times(&self) -> Times<'_> {
        Times { clocks: &self.clocks, slack_us: pairing_slack_us(self.rules) }
    }

    /// Where the other ends of the connections of the component are.
    fn told(&self) -> ToldSockets<'_> {
        let in_mesh: Vec<usize> = (0..self.compared.len()).filter(|&p| self.in_mesh[p]).collect();
        ToldSockets::new(&self.compared, &in_mesh)
    }

    fn call(&self, id: &CallId) -> Option<&Call> {
        self.call_at.get(id).map(|&i| &self.calls[i])
    }

    fn group_of(&self, place: usize) -> &Group {
        &self.groups[self.group_at[place]]
    }

    /// The id of the call that the leg at a place belongs to: that of its canonical leg.
    fn call_of(&self, place: usize) -> CallId {
        let group = self.group_of(place);
        self.legs[group.members().next().unwrap_or(place)].id
    }

    /// Explains the call to which a leg belongs; `None` where the leg is not of this component. `inferred_parent`: as stored,
    /// since it does not follow from the component alone.
    pub fn explain(&self, leg: &LegId, inferred_parent: Option<CallId>) -> Option<Why> {
        let place = self.legs.iter().position(|l| l.id == *leg)?;
        let group = self.group_of(place);
        let mut call = self.call(&self.call_of(place))?.clone();
        if call.parent_id.is_none() && inferred_parent.is_some() {
            (call.parent_id, call.parent_inferred) = (inferred_parent, true);
        }
        Some(Why {
            basis: basis::basis(self, group),
            pairs: self.pairs(group),
            row: self.paired_row(group),
            fields: rivals::fields(self, group),
            parent: parent::parent(self, &call),
            principal: principal::steps(self, &call),
            findings: findings::findings(self, &call),
            call,
        })
    }

    /// What two legs say about each other, in their common time.
    fn between(&self, client: usize, server: usize, attempt: Attempt) -> Vec<Evidence> {
        let mut found = pair::between(&self.compared[client], &self.compared[server], self.times(), attempt);
        let shift_us = |place: usize| self.compared[place].start.0 - self.legs[place].start.0;
        let apart_us = shift_us(client) - shift_us(server);
        if apart_us != 0 {
            let note = format!(
                "; their clocks are {} apart by what the trace itself tells, which is set right here",
                words::span(apart_us.abs())
            );
            found.iter_mut().filter(|e| e.kind == Kind::Time).for_each(|e| e.sentence.push_str(&note));
        }
        found
    }

    /// The caller's own leg with each attempt, and the zone's witness with what it witnessed.
    fn pairs(&self, group: &Group) -> Vec<PairWhy> {
        let pair = |client: usize, server: usize, attempt| PairWhy {
            client: self.legs[client].id,
            server: self.legs[server].id,
            evidence: self.between(client, server, attempt),
        };
        let mut found = Vec::new();
        if let Some(&client) = group.clients.first() {
            let of = group.servers.len();
            let attempts = (1..).map(|number| Attempt { number, of });
            found.extend(group.servers.iter().zip(attempts).map(|(&s, attempt)| pair(client, s, attempt)));
            let witness = |zone: usize| {
                let PairWhy { client, server, mut evidence } = pair(client, zone, Attempt::ONLY);
                evidence.iter_mut().for_each(|e| e.sentence = e.sentence.replace("server's", "zone's"));
                PairWhy { client, server, evidence }
            };
            found.extend(group.clients.iter().skip(1).map(|&zone| witness(zone)));
        }
        found
    }
}
