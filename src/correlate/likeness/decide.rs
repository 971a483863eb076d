//! Decides one minute of one callee: of the calls that are at hand around it, which legs are joined for being alike, and which
//! calls change thereby. Pure; [`super::stored`] brings the calls and writes the change.

use super::places::{self, Minute};
use super::{Alike, LEAST, alike, rejoin};
use crate::correlate::facts::Facts;
use crate::correlate::rules::Rules;
use crate::model::{Call, CallId, Leg, LegId, Side};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Legs of one side in one minute, beyond which nothing is paired.
const MOST_LEGS: usize = 250_000;

/// The calls around a minute of a callee whose legs nothing but likeness can pair, or has paired.
pub struct Around {
    minute: Minute,
    pub calls: BTreeMap<CallId, Arc<Call>>,
    /// Leg → its call.
    call_of: BTreeMap<LegId, CallId>,
    clients: Vec<Leg>,
    servers: Vec<Leg>,
}

impl Around {
    pub fn new(calls: BTreeMap<CallId, Arc<Call>>, minute: Minute) -> Around {
        let (mut clients, mut servers, mut call_of) = (Vec::new(), Vec::new(), BTreeMap::new());
        let (sent, came) = (minute.client_seconds(), minute.server_seconds());
        for call in calls.values() {
            for leg in places::undecided(call) {
                call_of.insert(leg.id, call.id);
                let of_callee = places::callees(leg).contains(&minute.callee.as_str());
                let second = places::second(leg.start);
                match leg.side {
                    Side::Client if of_callee && sent.contains(&second) => clients.push(leg.clone()),
                    Side::Server if of_callee && came.contains(&second) => servers.push(leg.clone()),
                    _ => {}
                }
            }
        }
        clients.sort_by_key(|l| (l.start, l.id));
        servers.sort_by_key(|l| (l.start, l.id));
        Around { minute, calls, call_of, clients, servers }
    }

    /// What must become of the calls of this minute's client legs.
    pub fn decide(&self) -> Changes {
        if self.clients.len().max(self.servers.len()) > MOST_LEGS {
            return self.changes(&[]);
        }
        let (clients, servers): (Vec<&Leg>, Vec<&Leg>) =
            (self.clients.iter().collect(), self.servers.iter().collect());
        let mut chosen = alike(&clients, &servers, places::SLACK_US, LEAST);
        chosen.retain(|pair| self.minute.holds(&self.clients[pair.client], pair.late_us));
        self.changes(&chosen)
    }

    /// As [`Around::decide`], where there is too much to say who is whose.
    pub fn decide_none(&self) -> Changes {
        self.changes(&[])
    }

    fn call(&self, leg: &LegId) -> &Arc<Call> {
        &self.calls[&self.call_of[leg]]
    }

    fn changes(&self, chosen: &[Alike]) -> Changes {
        let own: BTreeSet<LegId> = self.clients.iter().map(|client| client.id).collect();
        let mut partner: BTreeMap<LegId, Found> = BTreeMap::new();
        for pair in chosen {
            // What stands with a client leg of another minute or service stays there.
            let elsewhere = |s: usize| {
                let taken = places::pair(self.call(&self.servers[s].id));
                taken.is_some_and(|(client, _)| !own.contains(&client.id))
            };
            if !elsewhere(pair.server) {
                let servers: Vec<usize> = pair.servers().filter(|&s| !elsewhere(s)).collect();
                partner.insert(self.clients[pair.client].id, Found { servers, ..Found::of(pair) });
            }
        }
        let mut changes = Changes::default();
        let mut kept: BTreeSet<LegId> = BTreeSet::new();
        for client in &self.clients {
            let old = self.call(&client.id);
            let ids =
                |servers: &mut dyn Iterator<Item = &Leg>| servers.map(|s| s.id).collect::<BTreeSet<_>>();
            let before = places::pair(old).map(|(_, servers)| (ids(&mut servers.iter()), old.confidence_ppm));
            let now = partner.get(&client.id);
            let now_ids =
                now.map(|f| (ids(&mut f.servers.iter().map(|&s| &self.servers[s])), f.confidence_ppm));
            if before == now_ids {
                continue;
            }
            changes.replaced.insert(old.id, old.clone());
            kept.insert(client.id);
            match now {
                Some(found) => {
                    for &server in &found.servers {
                        let other = self.call(&self.servers[server].id);
                        changes.replaced.insert(other.id, other.clone());
                        kept.insert(self.servers[server].id);
                    }
                    changes.now.push(Now::Together(found.clone()));
                }
                None => changes.now.push(Now::Alone(client.id)),
            }
        }
        // Server legs that lost their client leg, unless another has them now.
        let parted =
            changes.replaced.values().filter_map(|call| places::pair(call)).flat_map(|(_, servers)| servers);
        let alone: Vec<Now> =
            parted.map(|s| s.id).filter(|server| !kept.contains(server)).map(Now::Alone).collect();
        changes.now.extend(alone);
        changes
    }
}

#[derive(Default)]
pub struct Changes {
    pub replaced: BTreeMap<CallId, Arc<Call>>,
    now: Vec<Now>,
}

/// What becomes of legs: by their places among the minute's client and server legs, or by id.
enum Now {
    Together(Found),
    Alone(LegId),
}

/// What is found for a client leg: all by their places.
#[derive(Clone)]
struct Found {
    client: usize,
    servers: Vec<usize>,
    confidence_ppm: u32,
}

impl Found {
    fn of(pair: &Alike) -> Found {
        Found { client: pair.client, servers: vec![], confidence_ppm: pair.confidence_ppm }
    }
}

impl Changes {
    /// The calls that take the place of those replaced.
    pub fn calls(&self, around: &Around, facts: &Facts, rules: &Rules) -> Vec<Call> {
        self.now.iter().map(|now| now.call(around, facts, rules)).collect()
    }
}

impl Now {
    fn call(&self, around: &Around, facts: &Facts, rules: &Rules) -> Call {
        match self {
            Now::Together(found) => {
                let client = &around.clients[found.client];
                let servers: Vec<&Leg> = found.servers.iter().map(|&s| &around.servers[s]).collect();
                let ppm = found.confidence_ppm;
                rejoin::together(around.call(&client.id), client, &servers, ppm, facts, rules)
            }
            Now::Alone(leg) => {
                let told = around.call(leg);
                let own = told.legs.iter().find(|l| l.id == *leg).expect("a leg of its call");
                rejoin::alone(told, own, facts, rules)
            }
        }
    }
}

/// The same for all calls of a set at once, for whoever has no store.
pub fn decide_all(calls: Vec<Call>, facts: &Facts, rules: &Rules) -> Vec<Call> {
    let mut minutes: BTreeMap<Minute, BTreeSet<CallId>> = BTreeMap::new();
    for call in &calls {
        for minute in places::undecided(call).into_iter().flat_map(places::minutes) {
            minutes.entry(minute).or_default().insert(call.id);
        }
    }
    let mut by_id: HashMap<CallId, Arc<Call>> =
        calls.into_iter().map(|call| (call.id, Arc::new(call))).collect();
    let mut moved: HashMap<CallId, CallId> = HashMap::new();
    for (minute, ids) in minutes.into_iter().rev() {
        let now = ids.iter().map(|id| moved.get(id).unwrap_or(id));
        let near = now.filter_map(|id| Some((*id, by_id.get(id)?.clone()))).collect();
        let around = Around::new(near, minute);
        let changes = around.decide();
        let calls = changes.calls(&around, facts, rules);
        changes.replaced.keys().for_each(|id| drop(by_id.remove(id)));
        for call in calls {
            moved.extend(call.legs.iter().map(|leg| (leg.id, call.id)));
            by_id.insert(call.id, Arc::new(call));
        }
    }
    let mut calls: Vec<Call> = by_id.into_values().map(Arc::unwrap_or_clone).collect();
    calls.sort_by_key(|call| (call.start, call.id));
    calls
}
