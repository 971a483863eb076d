//! Weighs likeness where it is stored: each minute of a callee in which a leg without a key has come, gone or changed, as a
//! whole, from the store to the store.
//!
//! It comes after the keys: what a key joins is no business of likeness. What is still to be weighed stands in the store, under
//! one key, written with the calls themselves: a crash loses nothing of it. When nothing is left, what is stored follows from the
//! legs alone.

use super::places::{self, Minute, Weighed};
use super::{Alike, LEAST, alike, rejoin};
use crate::correlate::adopt::is_orphan;
use crate::correlate::believed::taken_back;
use crate::correlate::closure::Closure;
use crate::correlate::facts::Facts;
use crate::correlate::rules::Rules;
use crate::correlate::task::{difference, gather_facts};
use crate::correlate::{inferred::infer_parents, keys};
use crate::model::{Call, CallId, Clock, Leg, LegId, Side};
use crate::store::{Change, IndexedCall, Position, Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// Minutes weighed before others get their turn.
const MINUTES: usize = 16;
/// Calls that the store gives for one key at most: where a second has more, nobody can say who is whose.
const CROWD: usize = 20_000;
/// Legs of one side in one minute, beyond which nothing is paired.
const MOST_LEGS: usize = 250_000;

/// Weighs some of what is still to be weighed; false when nothing was. `at`: where the correlator stands.
pub async fn weigh(
    store: &Store,
    rules: &Rules,
    clock: &dyn Clock,
    at: Position,
) -> Result<bool, StoreError> {
    let waiting = store.calls_by_key(&[places::to_be_weighed()]).await?;
    if waiting.is_empty() {
        return Ok(false);
    }
    let mut to_do: BTreeSet<Minute> = waiting.iter().flat_map(|call| concerned(call, rules)).collect();
    let mut done: BTreeSet<Minute> = BTreeSet::new();
    while done.len() < MINUTES
        && let Some(minute) = to_do.pop_last()
    {
        done.insert(minute.clone());
        let more = weigh_minute(store, rules, clock, at, &minute, &done).await?;
        to_do.extend(more.into_iter().filter(|m| !done.contains(m)));
    }
    if waiting.iter().any(|call| places::undecided(call).is_empty()) {
        release(store, rules, at, &done).await?;
    }
    Ok(true)
}

/// The minutes in which the legs of a call count.
fn concerned(call: &Call, rules: &Rules) -> BTreeSet<Minute> {
    let nameless = call.legs.iter().filter(|leg| leg.is_nameless());
    nameless.flat_map(|leg| places::minutes(leg, places::slack_us(rules))).collect()
}

/// What a key has joined since it was put here waits only until its old neighbours have been weighed without it.
async fn release(
    store: &Store,
    rules: &Rules,
    at: Position,
    done: &BTreeSet<Minute>,
) -> Result<(), StoreError> {
    let waiting = store.calls_by_key(&[places::to_be_weighed()]).await?;
    let joined = waiting.into_iter().filter(|call| places::undecided(call).is_empty());
    let released = joined.filter(|call| concerned(call, rules).is_subset(done));
    let upserts: Vec<IndexedCall> = released.map(|call| indexed(call, false, Weighed::Done)).collect();
    write(store, at, Change { upserts, ..Change::default() }).await
}

async fn write(store: &Store, at: Position, mut change: Change) -> Result<(), StoreError> {
    (change.epoch, change.from, change.to) = (at.epoch, at.number, at.number);
    store.apply(&change).await
}

/// Decides one minute again. Returns the minutes on which legs still wait that were read here.
async fn weigh_minute(
    store: &Store,
    rules: &Rules,
    clock: &dyn Clock,
    at: Position,
    minute: &Minute,
    done: &BTreeSet<Minute>,
) -> Result<BTreeSet<Minute>, StoreError> {
    let slack_us = places::slack_us(rules);
    let Some(found) = Found::read(store, minute, slack_us).await? else { return Ok(BTreeSet::new()) };
    let (found, chosen) = found.paired(minute.clone(), slack_us).await?;
    let changes = found.changes(minute, &chosen);

    let mut closure = Closure::default();
    let read = found.not_weighed.iter().map(|id| &found.calls[id]);
    for leg in rejoin::legs_of(changes.replaced.values().chain(read)) {
        closure.legs.entry(leg.id).or_default().push(leg);
    }
    closure.replaced = changes.replaced;
    let facts = gather_facts(store, &closure).await?;
    let mut calls: Vec<Call> = changes.now.iter().map(|now| now.call(&found, &facts, rules)).collect();
    let orphans = infer_parents(store, &closure.replaced, &mut calls).await?;
    // What is weighed for the first time had not been believed to be otherwise.
    let mut believed = closure.replaced.clone();
    believed.retain(|id, _| !found.not_weighed.contains(id));
    let journal = taken_back(&believed, &calls, clock.now(), at.number);
    let mut change = Change { journal, ..difference(&closure, calls, orphans, &facts) };

    let waits = found.tick_off(&mut change, &facts, |call| {
        let minutes = places::undecided(call).into_iter().flat_map(|l| places::minutes(l, slack_us));
        minutes.filter(|m| !done.contains(m)).collect()
    });
    write(store, at, change).await?;
    Ok(waits)
}

fn indexed(call: Call, unexplained: bool, weighed: Weighed) -> IndexedCall {
    let keys = keys_of(&call, unexplained, weighed);
    IndexedCall { keys, orphan: is_orphan(&call), call }
}

fn keys_of(call: &Call, unexplained: bool, weighed: Weighed) -> Vec<i64> {
    let mut keys = keys::of_call(call, unexplained);
    keys.extend(places::keys_of(call, weighed, &BTreeSet::new()));
    keys
}

/// What is stored around a minute.
struct Found {
    calls: BTreeMap<CallId, Call>,
    not_weighed: BTreeSet<CallId>,
    /// Leg → its call.
    call_of: BTreeMap<LegId, CallId>,
    clients: Vec<Leg>,
    servers: Vec<Leg>,
    crowded: bool,
}

impl Found {
    async fn read(store: &Store, minute: &Minute, slack_us: i64) -> Result<Option<Found>, StoreError> {
        let (mut calls, mut not_weighed, mut crowded) = (BTreeMap::new(), BTreeSet::new(), false);
        for second in minute.server_seconds(slack_us) {
            for weighed in [Weighed::NotYet, Weighed::Done] {
                let key = places::in_second(weighed, &minute.callee, second);
                let near = store.calls_by_key(&[key]).await?;
                crowded |= near.len() >= CROWD;
                if weighed == Weighed::NotYet {
                    not_weighed.extend(near.iter().map(|call| call.id));
                }
                calls.extend(near.into_iter().map(|call| (call.id, call)));
            }
        }
        Ok((!calls.is_empty()).then(|| Found::of(calls, not_weighed, crowded, minute, slack_us)))
    }

    fn of(
        calls: BTreeMap<CallId, Call>,
        not_weighed: BTreeSet<CallId>,
        crowded: bool,
        minute: &Minute,
        slack_us: i64,
    ) -> Found {
        let (mut clients, mut servers, mut call_of) = (Vec::new(), Vec::new(), BTreeMap::new());
        let (sent, came) = (minute.client_seconds(), minute.server_seconds(slack_us));
        for call in calls.values() {
            for leg in places::undecided(call) {
                call_of.insert(leg.id, call.id);
                let of_callee = leg.callee().name == minute.callee;
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
        Found { calls, not_weighed, call_of, clients, servers, crowded }
    }

    /// Pairs them off the threads that serve requests.
    async fn paired(self, minute: Minute, slack_us: i64) -> Result<(Found, Vec<Alike>), StoreError> {
        let crowded = self.crowded || self.clients.len().max(self.servers.len()) > MOST_LEGS;
        let paired = tokio::task::spawn_blocking(move || {
            if crowded {
                return (self, Vec::new());
            }
            let (clients, servers): (Vec<&Leg>, Vec<&Leg>) =
                (self.clients.iter().collect(), self.servers.iter().collect());
            let mut chosen = alike(&clients, &servers, slack_us, LEAST);
            chosen.retain(|pair| minute.holds(&self.clients[pair.client], pair.late_us));
            (self, chosen)
        });
        paired.await.map_err(|e| StoreError::Other(format!("weighing likeness ended early: {e}")))
    }

    fn call(&self, leg: &LegId) -> &Call {
        &self.calls[&self.call_of[leg]]
    }

    /// Marks what was read here, changed or not, as weighed where no other minute is left in which it counts (`left`). Returns
    /// the minutes that are.
    fn tick_off(
        &self,
        change: &mut Change,
        facts: &Facts,
        left: impl Fn(&Call) -> BTreeSet<Minute>,
    ) -> BTreeSet<Minute> {
        let written = change.upserts.iter().map(|upsert| upsert.call.id);
        let written: BTreeSet<CallId> = written.chain(change.removed.iter().copied()).collect();
        let unchanged = self.not_weighed.iter().filter(|id| !written.contains(id)).map(|id| &self.calls[id]);
        let changed = std::mem::take(&mut change.upserts).into_iter().map(|upsert| upsert.call);
        let mut waits = BTreeSet::new();
        for (call, is_changed) in changed.map(|c| (c, true)).chain(unchanged.map(|c| (c.clone(), false))) {
            let later = left(&call);
            if is_changed || later.is_empty() {
                let weighed = if later.is_empty() { Weighed::Done } else { Weighed::NotYet };
                let unexplained = facts.is_outside_proxy(&call);
                change.upserts.push(indexed(call, unexplained, weighed));
            }
            waits.extend(later);
        }
        waits
    }

    /// What must become of the calls of this minute's client legs.
    fn changes(&self, minute: &Minute, chosen: &[Alike]) -> Changes {
        let mut partner: BTreeMap<LegId, &Alike> = BTreeMap::new();
        for pair in chosen {
            // A server leg that stands with a client leg of another minute: clocks were set back in between. It stays there.
            let taken = places::pair(self.call(&self.servers[pair.server].id));
            if taken.is_none_or(|(client, _)| minute.client_seconds().contains(&places::second(client.start)))
            {
                partner.insert(self.clients[pair.client].id, pair);
            }
        }
        let mut changes = Changes::default();
        let mut kept: BTreeSet<LegId> = BTreeSet::new();
        for client in &self.clients {
            let old = self.call(&client.id);
            let before = places::pair(old).map(|(_, server)| (server.id, old.confidence_ppm));
            let now = partner.get(&client.id).map(|p| (self.servers[p.server].id, p.confidence_ppm));
            if before == now {
                continue;
            }
            changes.replaced.insert(old.id, old.clone());
            kept.insert(client.id);
            match partner.get(&client.id) {
                Some(pair) => {
                    let server = &self.servers[pair.server];
                    let other = self.call(&server.id);
                    changes.replaced.insert(other.id, other.clone());
                    kept.insert(server.id);
                    changes.now.push(Now::Together(pair.client, pair.server, pair.confidence_ppm));
                }
                None => changes.now.push(Now::Alone(client.id)),
            }
        }
        // Server legs that lost their client leg, unless another has them now.
        let parted =
            changes.replaced.values().filter_map(|call| places::pair(call)).map(|(_, server)| server.id);
        let alone: Vec<Now> = parted.filter(|server| !kept.contains(server)).map(Now::Alone).collect();
        changes.now.extend(alone);
        changes
    }
}

#[derive(Default)]
struct Changes {
    replaced: BTreeMap<CallId, Call>,
    now: Vec<Now>,
}

/// What becomes of legs: by their places among the minute's client and server legs, or by id.
enum Now {
    Together(usize, usize, u32),
    Alone(LegId),
}

impl Now {
    fn call(&self, found: &Found, facts: &Facts, rules: &Rules) -> Call {
        match self {
            Now::Together(client, server, ppm) => {
                let (client, server) = (&found.clients[*client], &found.servers[*server]);
                rejoin::together(found.call(&client.id), client, server, *ppm, facts, rules)
            }
            Now::Alone(leg) => {
                let told = found.call(leg);
                let own = told.legs.iter().find(|l| l.id == *leg).expect("a leg of its call");
                rejoin::alone(told, own, facts, rules)
            }
        }
    }
}
