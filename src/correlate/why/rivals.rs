//! The next best: which other leg each side of a call could have been paired with, and what decided against it.

use super::Joined;
use super::alike;
use super::evidence::{Attempt, Evidence, Kind, Weight};
use super::pair::{at_edge, excluded_by};
use super::row::outside_us;
use super::words;
use crate::correlate::align::strain_us;
use crate::correlate::clocks::Times;
use crate::correlate::edge_pairs;
use crate::correlate::group::{Group, Rule};
use crate::correlate::sockets::ToldSockets;
use crate::model::{CallId, Leg, LegId, ObserverKind, Side};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The best other choice for one leg of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerUp {
    /// The leg of the call that stays.
    pub of: LegId,
    /// The leg of the call that it would have stood in for.
    pub instead_of: Option<LegId>,
    pub leg: Leg,
    /// The call that it belongs to.
    pub call: CallId,
    pub evidence: Vec<Evidence>,
    /// What made the difference.
    pub decided_by: Kind,
    pub sentence: String,
}

/// All other legs that one leg of the call was held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub of: LegId,
    /// Legs of the other side that nothing excludes.
    pub fitting: usize,
    /// Those that something excludes, by what.
    pub excluded: BTreeMap<Kind, usize>,
    pub best: Option<RunnerUp>,
}

/// For each leg of the call, what else it could have been paired with.
pub fn fields(joined: &Joined, group: &Group) -> Vec<Field> {
    let told = joined.told();
    group.members().map(|place| field(joined, &told, group, place)).collect()
}

/// What keeps two legs from being one call: what they say of each other, or where the other ends of their connections are.
fn excluded(told: &ToldSockets, client: &Leg, server: &Leg, times: Times) -> Option<Kind> {
    let elsewhere = || (!at_edge(client) && told.elsewhere(client, server)).then_some(Kind::Connection);
    excluded_by(client, server, times).or_else(elsewhere)
}

fn field(joined: &Joined, told: &ToldSockets, group: &Group, place: usize) -> Field {
    let legs = &joined.compared;
    let own = &legs[place];
    let mut field = Field { of: own.id, fitting: 0, excluded: BTreeMap::new(), best: None };
    let mut best: Option<(Nearness, usize)> = None;
    for other in (0..legs.len()).filter(|&o| !group.members().any(|m| m == o)) {
        let Some((client, server)) = sides(own, &legs[other]) else { continue };
        let ties = ties(client, server);
        let excluded = excluded(told, client, server, joined.times());
        if ties.is_empty() && (excluded.is_some() || !client.is_nameless() && !server.is_nameless()) {
            continue;
        }
        match excluded {
            None => field.fitting += 1,
            Some(kind) => *field.excluded.entry(kind).or_default() += 1,
        }
        let parties = client.peer.agrees_with(&server.local) != Some(false)
            && client.local.agrees_with(&server.peer) != Some(false);
        let apart_us = (client.start.0 - server.start.0).abs();
        let unlike = ties.is_empty() && !alike::same_answer(client, server);
        let nearness = (
            excluded.is_some(),
            !parties || unlike,
            Reverse(strength(&ties)),
            strain_us(client, server),
            apart_us,
        );
        if best.as_ref().is_none_or(|(known, _)| nearness < *known) {
            best = Some((nearness, other));
        }
    }
    field.best = best.map(|(_, other)| runner_up(joined, told, group, place, other));
    field
}

type Nearness = (bool, bool, Reverse<u32>, i64, i64);

/// The two as client and server, if they can be the two sides of the same sort of call.
fn sides<'a>(own: &'a Leg, other: &'a Leg) -> Option<(&'a Leg, &'a Leg)> {
    let (client, server) = match (own.side, other.side) {
        (Side::Client, Side::Server) => (own, other),
        (Side::Server, Side::Client) => (other, own),
        _ => return None,
    };
    let of_worker = server.observer.kind == ObserverKind::Worker;
    let fitting = match client.observer.kind {
        ObserverKind::Worker => of_worker || server.is_entry(),
        // The zone tells of visitors' requests and of a Worker's subrequests.
        ObserverKind::Zone if client.parent_ray.is_some() => server.is_entry(),
        ObserverKind::Zone => of_worker,
        _ => server.is_mesh_server(),
    };
    // A program's own record of a request is no record of the calls that it made meanwhile.
    let same_event = client.made_by == Some(server.id);
    (fitting && !same_event).then_some((client, server))
}

/// What ties two legs, strongest first.
pub fn ties(client: &Leg, server: &Leg) -> Vec<Kind> {
    let same = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
    let by_worker = client.observer.kind == ObserverKind::Worker;
    let span = by_worker && edge_pairs::shared_keys(client, server) > 0;
    let ray = at_edge(client) && same(&client.ray, &server.ray);
    let trace = client.trace_ids().any(|t| server.trace_ids().any(|other| other == t));
    let all = [
        (Kind::Hop, same(&client.hop, &server.hop)),
        (Kind::Span, span),
        (Kind::Connection, client.socket.is_some() && client.socket == server.socket),
        (Kind::Ray, ray),
        (Kind::RequestId, client.same_request(server) == Some(true)),
        (Kind::Trace, trace),
    ];
    all.into_iter().filter(|(_, holds)| *holds).map(|(kind, _)| kind).collect()
}

fn strength(ties: &[Kind]) -> u32 {
    ties.iter().map(|kind| 1 << (Kind::Trace as u32 - *kind as u32)).sum()
}

pub fn named(ties: &[Kind]) -> String {
    let name = |kind: &Kind| match kind {
        Kind::RequestId => "request id".to_owned(),
        Kind::Span => "what the Worker sent".to_owned(),
        other => other.to_string(),
    };
    words::listed(&ties.iter().map(name).collect::<Vec<_>>())
}

fn runner_up(joined: &Joined, told: &ToldSockets, group: &Group, place: usize, other: usize) -> RunnerUp {
    let legs = &joined.compared;
    let (own, rival) = (&legs[place], &legs[other]);
    let (client, server) = sides(own, rival).unwrap_or((own, rival));
    let chosen = partner(joined, group, place, rival);
    let (at_client, at_server) = if own.side == Side::Client { (place, other) } else { (other, place) };
    let mut evidence = joined.between(at_client, at_server, Attempt::ONLY);
    if excluded_by(client, server, joined.times()).is_none()
        && excluded(told, client, server, joined.times()).is_some()
    {
        let connections = evidence.iter_mut().filter(|e| e.kind == Kind::Connection);
        connections.for_each(|e| e.weight = Weight::Excluding);
    }
    let (decided_by, sentence) = decided(joined, group, (place, other), chosen, &evidence);
    RunnerUp {
        of: own.id,
        instead_of: chosen.map(|p| legs[p].id),
        leg: joined.legs[other].clone(),
        call: joined.call_of(other),
        evidence,
        decided_by,
        sentence,
    }
}

/// The leg of the call on the rival's side that the rival would stand in for: the one that it is most like.
fn partner(joined: &Joined, group: &Group, place: usize, rival: &Leg) -> Option<usize> {
    let legs = &joined.compared;
    let others = if legs[place].side == Side::Client { &group.servers } else { &group.clients };
    others
        .iter()
        .copied()
        .min_by_key(|&p| (legs[p].socket != rival.socket, (legs[p].start.0 - rival.start.0).abs(), p))
}

/// What decided against a rival, and the sentence that says so.
fn decided(
    joined: &Joined,
    group: &Group,
    (place, other): (usize, usize),
    chosen: Option<usize>,
    evidence: &[Evidence],
) -> (Kind, String) {
    if let Some(excluding) = evidence.iter().find(|e| e.weight == Weight::Excluding) {
        return (excluding.kind, format!("it cannot be: {}", excluding.sentence));
    }
    let legs = &joined.compared;
    if let Some(found) = by_likeness(joined, group, (place, other), chosen) {
        return found;
    }
    let tied = |o: usize| sides(&legs[place], &legs[o]).map_or(vec![], |(c, s)| ties(c, s));
    let rival_ties = tied(other);
    let Some(chosen) = chosen else {
        return (Kind::Time, unpaired(joined, other));
    };
    let chosen_ties = tied(chosen);
    if strength(&chosen_ties) > strength(&rival_ties) {
        let missing = chosen_ties.iter().find(|k| !rival_ties.contains(k)).copied().unwrap_or(Kind::Trace);
        let weaker = match rival_ties.is_empty() {
            true => "it shares no id".to_owned(),
            false => format!("it shares the {} alone", named(&rival_ties)),
        };
        return (missing, format!("{weaker}, the one that was chosen the {}", named(&chosen_ties)));
    }
    by_order(joined, group, (place, other), chosen)
        .unwrap_or_else(|| by_attempts_or_time(joined, group, place, other))
}

fn by_likeness(
    joined: &Joined,
    group: &Group,
    (place, other): (usize, usize),
    chosen: Option<usize>,
) -> Option<(Kind, String)> {
    let legs = &joined.compared;
    let ours = sides(&legs[place], &legs[chosen?])?;
    let theirs = sides(&legs[place], &legs[other])?;
    alike::is_alike(group, ours.0, ours.1).then(|| alike::less_like(ours, theirs))
}

fn unpaired(joined: &Joined, other: usize) -> String {
    let taken = joined.group_of(other).members().count() > 1;
    if taken {
        "nothing excludes it, and it has a nearer counterpart".to_owned()
    } else {
        "nothing excludes it, and too little ties it".to_owned()
    }
}

/// Several of each on one connection, or under one id: the rows were laid side by side.
fn by_order(
    joined: &Joined,
    group: &Group,
    (place, other): (usize, usize),
    chosen: usize,
) -> Option<(Kind, String)> {
    let legs = &joined.compared;
    let (client, server) = if legs[place].side == Side::Client { (place, chosen) } else { (chosen, place) };
    let row = joined.row(group, client, server)?;
    let at = |places: &[usize], p: usize| places.iter().position(|&x| x == p).map(|i| i + 1);
    let theirs = at(&row.clients, other).or_else(|| at(&row.servers, other))?;
    let (c, s) = (at(&row.clients, client)?, at(&row.servers, server)?);
    let rows = if row.clients.len() == row.servers.len() {
        format!("{} requests on both sides", row.clients.len())
    } else {
        format!(
            "{} requests on the client's side and {} on the server's",
            row.clients.len(),
            row.servers.len()
        )
    };
    let ours = if c == s {
        format!("this one is the {} on both", words::ordinal(c))
    } else {
        format!("the client's line is the {} and the server's the {}", words::ordinal(c), words::ordinal(s))
    };
    let swapped = swapped(joined, (client, server), other);
    let sentence = format!(
        "it shares the {} as well, and nothing but the order tells the two apart: of {rows}, {ours}, the other is the \
         {}; {swapped}",
        named(&ties(&legs[client], &legs[server])),
        words::ordinal(theirs)
    );
    Some((Kind::Order, sentence))
}

/// What the times would say to the other pairing.
fn swapped(joined: &Joined, (client, server): (usize, usize), other: usize) -> String {
    let legs = &joined.compared;
    let counterpart = joined.group_of(other);
    let (c2, s2) = match legs[other].side {
        Side::Server => (counterpart.clients.first().copied(), Some(other)),
        Side::Client => (Some(other), counterpart.servers.last().copied()),
    };
    let out = |c: usize, s: usize| outside_us(&legs[c], &legs[s]);
    let new =
        [s2.map(|s| out(client, s)), c2.map(|c| out(c, server))].into_iter().flatten().max().unwrap_or(0);
    let now = [Some(out(client, server)), c2.zip(s2).map(|(c, s)| out(c, s))]
        .into_iter()
        .flatten()
        .max()
        .unwrap_or(0);
    match (now <= 1_000, new <= 1_000) {
        (true, true) => "swapped, the times would fit as well".to_owned(),
        (true, false) => {
            format!("swapped, a server's part would lie {} outside its client's", words::span(new))
        }
        (false, true) => format!(
            "swapped, the times would fit, while now a server's part lies {} outside its client's",
            words::span(now)
        ),
        (false, false) => "neither way do all times fit".to_owned(),
    }
}

fn by_attempts_or_time(joined: &Joined, group: &Group, place: usize, other: usize) -> (Kind, String) {
    let legs = &joined.compared;
    if legs[place].side == Side::Client && group.servers.len() >= legs[place].most_attempts() {
        let attempts = words::count(legs[place].most_attempts(), "attempt", "attempts");
        let sentence = format!("the client made {attempts}, and as many lines that fit better are here");
        return (Kind::Attempts, sentence);
    }
    let rival = joined.group_of(other);
    if rival.choices.iter().any(|(_, c)| matches!(c.rule, Rule::Hop | Rule::SocketAndRequest)) {
        return (Kind::Connection, "it has a counterpart of its own that shares more with it".to_owned());
    }
    (Kind::Time, "its time fits less well".to_owned())
}
