//! Pairs at the edge: visitor → Worker, Worker → Worker, Worker → gateway, with the zone's log as an independent witness.
//!
//! What ties a subrequest to the gateway's line is what the Worker sent with it: its own span in the signed header or in
//! `traceparent`, the request id, the ray of the subrequest, its hop. Each is a fresh random value per subrequest.

use super::clocks::Times;
use super::compat::{differ, name_other_paths};
use super::group::Group;
use crate::model::{Basis, Leg, ObserverKind, RequestKey, Side, SpanId, TraceId};
use std::collections::{BTreeMap, BTreeSet};

/// How much a pair is trusted when another leg carries a copy of everything that ties it: only the time tells them apart.
const COPIED_PPM: u32 = 900_000;
/// A key that more legs than this carry ties nothing.
const CROWD: usize = 1_000;

/// Groups every leg of a Worker, a zone, and the server legs of gateways. `rest` gets the places of all other legs.
pub fn pair(legs: &[Leg], times: Times, rest: &mut Vec<usize>) -> Vec<Group> {
    let sorted = Sorted::new(legs, rest);
    let bound = bound_workers(legs, &sorted);
    let mut groups = visitors(legs, &sorted, &bound);
    groups.extend(subrequests(legs, &sorted, &bound, times));
    groups
}

/// The places of the legs by their role at the edge.
struct Sorted {
    worker_servers: Vec<usize>,
    worker_clients: Vec<usize>,
    eyeballs: Vec<usize>,
    zone_subrequests: Vec<usize>,
    gateway_servers: Vec<usize>,
}

impl Sorted {
    fn new(legs: &[Leg], rest: &mut Vec<usize>) -> Self {
        let mut sorted = Sorted {
            worker_servers: vec![],
            worker_clients: vec![],
            eyeballs: vec![],
            zone_subrequests: vec![],
            gateway_servers: vec![],
        };
        for (place, leg) in legs.iter().enumerate() {
            let role = match (leg.observer.kind, leg.side) {
                (ObserverKind::Worker, Side::Server) => &mut sorted.worker_servers,
                (ObserverKind::Worker, Side::Client) => &mut sorted.worker_clients,
                (ObserverKind::Zone, _) if leg.is_subrequest_witness() => &mut sorted.zone_subrequests,
                (ObserverKind::Zone, _) => &mut sorted.eyeballs,
                _ if leg.is_entry() => &mut sorted.gateway_servers,
                _ => &mut *rest,
            };
            role.push(place);
        }
        sorted
    }
}

/// Visitor → Worker: the eyeball's ray is the ray of the Worker's event.
fn visitors(legs: &[Leg], sorted: &Sorted, called_by_worker: &BTreeMap<usize, usize>) -> Vec<Group> {
    let mut witness: BTreeMap<&str, usize> = BTreeMap::new();
    for &place in &sorted.eyeballs {
        if let Some(ray) = &legs[place].ray {
            witness.entry(ray).or_insert(place);
        }
    }
    let mut used = BTreeSet::new();
    let mut groups = Vec::new();
    for &server in &sorted.worker_servers {
        if called_by_worker.contains_key(&server) {
            continue;
        }
        let zone = legs[server].ray.as_deref().and_then(|ray| witness.get(ray)).filter(|z| used.insert(**z));
        groups.push(match zone {
            Some(&zone) => Group::joined(vec![zone], vec![server], Basis::Keyed, 0, 1),
            None => Group::single(server, legs),
        });
    }
    groups.extend(sorted.eyeballs.iter().filter(|z| !used.contains(z)).map(|&z| Group::single(z, legs)));
    groups
}

/// Workers called by a Worker through a service binding: the callee's head names the caller's subrequest as its parent span.
/// Gives callee place → caller place.
fn bound_workers(legs: &[Leg], sorted: &Sorted) -> BTreeMap<usize, usize> {
    let mut by_span = BTreeMap::new();
    for &client in &sorted.worker_clients {
        if let Some(span) = own_span(&legs[client]) {
            by_span.entry(span).or_insert(client);
        }
    }
    let mut taken = BTreeSet::new();
    let mut bound = BTreeMap::new();
    for &server in &sorted.worker_servers {
        let named = legs[server].trace.zip(legs[server].parent_span_id);
        let caller = named.and_then(|(trace, span)| by_span.get(&Key::Span(trace.trace_id, span)));
        if let Some(&client) = caller.filter(|c| taken.insert(**c)) {
            bound.insert(server, client);
        }
    }
    bound
}

fn subrequests(
    legs: &[Leg],
    sorted: &Sorted,
    called_by_worker: &BTreeMap<usize, usize>,
    times: Times,
) -> Vec<Group> {
    let bound: BTreeMap<usize, usize> = called_by_worker.iter().map(|(&s, &c)| (c, s)).collect();
    let clients: Vec<usize> =
        sorted.worker_clients.iter().copied().filter(|c| !bound.contains_key(c)).collect();
    let to_gateway = best_pairs(legs, &clients, &sorted.gateway_servers, times);

    let mut witness_of_client =
        one_to_one(zone_edges(legs, &sorted.zone_subrequests, &sorted.worker_clients));
    let mut witness_of_gateway =
        one_to_one(zone_edges(legs, &sorted.zone_subrequests, &sorted.gateway_servers));
    let mut groups = Vec::new();
    let mut seen = BTreeSet::new();
    for &client in &sorted.worker_clients {
        let gateway = to_gateway.get(&client).copied();
        let server = bound.get(&client).map(|&s| (s, Basis::Keyed, 0)).or(gateway);
        let zone = witness_of_client
            .remove(&client)
            .or_else(|| gateway.and_then(|(g, ..)| witness_of_gateway.remove(&g)))
            .filter(|z| seen.insert(*z));
        seen.extend(server.map(|(s, ..)| s));
        groups.push(subrequest(legs, client, zone, server));
    }
    for &gateway in sorted.gateway_servers.iter().filter(|g| !seen.contains(g)).collect::<Vec<_>>() {
        let zone = witness_of_gateway.remove(&gateway).filter(|z| seen.insert(*z));
        groups.push(match zone {
            Some(zone) => Group::joined(vec![zone], vec![gateway], Basis::Keyed, 0, 1),
            None => Group::single(gateway, legs),
        });
    }
    groups.extend(
        sorted.zone_subrequests.iter().filter(|z| !seen.contains(z)).map(|&z| Group::single(z, legs)),
    );
    groups
}

fn subrequest(
    legs: &[Leg],
    client: usize,
    zone: Option<usize>,
    server: Option<(usize, Basis, u32)>,
) -> Group {
    let clients: Vec<usize> = std::iter::once(client).chain(zone).collect();
    match server {
        Some((server, basis, ppm)) => Group::joined(clients, vec![server], basis, ppm, 1),
        None if zone.is_some() => Group::joined(clients, vec![], Basis::Keyed, 0, 1),
        None => Group::single(client, legs),
    }
}

/// How many of the values that the Worker sent with its subrequest the other leg carries.
pub(super) fn shared_keys(client: &Leg, other: &Leg) -> u32 {
    let span = own_span(client);
    let header = span.is_some() && other.header.as_ref().map(|h| Key::Span(h.trace_id, h.span_id)) == span;
    let traceparent = span.is_some() && other.trace.map(|t| Key::Span(t.trace_id, t.parent_id)) == span;
    let request = client.same_request(other) == Some(true);
    let ray = client.ray.is_some() && client.ray == other.ray;
    let hop = client.hop.is_some() && (client.hop == other.parent_hop || client.hop == other.hop);
    [header, traceparent, request, ray, hop].into_iter().filter(|k| *k).count() as u32
}

/// What cannot be the same subrequest: another method, path, trace, request id, or a header made for another span.
pub(super) fn contradicts(client: &Leg, other: &Leg) -> bool {
    name_other_paths(client, other)
        || differ(&client.method, &other.method)
        || client.same_request(other) == Some(false)
        || differ(&client.trace.map(|t| t.trace_id), &other.trace.map(|t| t.trace_id))
        || differ(&own_span(client), &other.header.as_ref().map(|h| Key::Span(h.trace_id, h.span_id)))
}

/// `(keys shared, not told by time, strain, client, server)` for every pair that shares a key and has no contradiction. Whose clock is
/// taken to be off so that a copy may be the one is of less weight than whose clock says so.
type Edge = (std::cmp::Reverse<u32>, bool, i64, usize, usize);

/// The places of legs by what they received.
fn by_key_received(legs: &[Leg], places: &[usize]) -> BTreeMap<Key, Vec<usize>> {
    let mut by_key: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
    for &place in places {
        for key in keys_received(&legs[place]) {
            by_key.entry(key).or_default().push(place);
        }
    }
    by_key
}

fn edges(legs: &[Leg], clients: &[usize], servers: &[usize], times: Times) -> Vec<Edge> {
    let by_key = by_key_received(legs, servers);
    let mut edges = BTreeSet::new();
    for &client in clients {
        let near: BTreeSet<usize> = keys_sent(&legs[client])
            .iter()
            .filter_map(|k| by_key.get(k))
            .filter(|near| near.len() <= CROWD)
            .flatten()
            .copied()
            .collect();
        for server in near.into_iter().filter(|&s| !contradicts(&legs[client], &legs[s])) {
            let strain = super::align::strain_us(&legs[client], &legs[server]);
            edges.insert((
                std::cmp::Reverse(shared_keys(&legs[client], &legs[server])),
                !times.clocks.speak_for(&legs[client], &legs[server]),
                strain,
                client,
                server,
            ));
        }
    }
    edges.into_iter().collect()
}

/// What a Worker sends with a subrequest, and a gateway or the zone receives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// A span is a name only within its trace.
    Span(TraceId, SpanId),
    Request(RequestKey),
    Ray(Box<str>),
    Hop(Box<str>),
}

fn own_span(leg: &Leg) -> Option<Key> {
    Some(Key::Span(leg.trace?.trace_id, leg.span_id?))
}

pub(super) fn keys_sent(leg: &Leg) -> Vec<Key> {
    let span = own_span(leg);
    let request = leg.request_key().map(Key::Request);
    let ray = leg.ray.as_deref().map(|r| Key::Ray(r.into()));
    let hop = leg.hop.as_deref().map(|h| Key::Hop(h.into()));
    [span, request, ray, hop].into_iter().flatten().collect()
}

pub(super) fn keys_received(leg: &Leg) -> Vec<Key> {
    let header = leg.header.as_ref().map(|h| Key::Span(h.trace_id, h.span_id));
    let parent = leg.trace.map(|t| Key::Span(t.trace_id, t.parent_id));
    let request = leg.request_key().map(Key::Request);
    let ray = leg.ray.as_deref().map(|r| Key::Ray(r.into()));
    // What a gateway was sent as a hop stands in `hop` on its entry; formats that keep only what it passes on, in `parent_hop`.
    let hops = [&leg.hop, &leg.parent_hop].into_iter().flatten().map(|h| Key::Hop(h.as_str().into()));
    [header, parent, request, ray].into_iter().flatten().chain(hops).collect()
}

/// Client → (server, basis, confidence): strongest pairs first, each leg once. `keyed` where neither had another to choose.
fn best_pairs(
    legs: &[Leg],
    clients: &[usize],
    servers: &[usize],
    times: Times,
) -> BTreeMap<usize, (usize, Basis, u32)> {
    let slack_us = times.slack_us.saturating_mul(4);
    let edges: Vec<Edge> = edges(legs, clients, servers, times)
        .into_iter()
        .filter(|&(.., c, s)| super::compat::overlap(&legs[c], &legs[s], slack_us))
        .collect();
    let rivals = Rivals::new(&edges);
    let signs = legs.iter().any(|l| l.leaves_the_edge() && l.header.is_some());
    let mut chosen: BTreeMap<usize, (usize, Basis, u32)> = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for &(keys, .., client, server) in &edges {
        if chosen.contains_key(&client) || taken.contains(&server) {
            continue;
        }
        taken.insert(server);
        // A rival that shares as many keys sent a copy of everything: only the time tells them apart.
        let copied = rivals.strongest(client, server) >= keys.0;
        // So may whoever copied all but the header, which he cannot have seen: the true line may have lost what tells of it.
        let lacks_header = signs && legs[server].shows_headers() && legs[server].header.is_none();
        let basis = if copied || lacks_header { Basis::Inferred } else { Basis::Keyed };
        chosen.insert(client, (server, basis, COPIED_PPM));
    }
    chosen
}

/// Who else shares keys with either leg of a pair.
struct Rivals {
    of_client: BTreeMap<usize, Vec<(usize, u32)>>,
    of_server: BTreeMap<usize, Vec<(usize, u32)>>,
}

impl Rivals {
    fn new(edges: &[Edge]) -> Self {
        let mut rivals = Rivals { of_client: BTreeMap::new(), of_server: BTreeMap::new() };
        for &(keys, .., client, server) in edges {
            rivals.of_client.entry(client).or_default().push((server, keys.0));
            rivals.of_server.entry(server).or_default().push((client, keys.0));
        }
        rivals
    }

    /// Keys shared by the best other choice of either leg; 0 when there is none.
    fn strongest(&self, client: usize, server: usize) -> u32 {
        let others = |row: Option<&Vec<(usize, u32)>>, own: usize| {
            row.into_iter().flatten().filter(|(other, _)| *other != own).map(|(_, keys)| *keys).max()
        };
        let by_client = others(self.of_client.get(&client), server);
        by_client.max(others(self.of_server.get(&server), client)).unwrap_or(0)
    }
}

/// Witness pairs `(other place, zone place)`, strongest first: what the zone saw sent is what the other leg sent or received.
fn zone_edges(legs: &[Leg], zones: &[usize], others: &[usize]) -> Vec<(usize, usize)> {
    let by_key = by_key_received(legs, zones);
    let mut edges = BTreeSet::new();
    for &other in others {
        let mut keys = keys_received(&legs[other]);
        keys.extend(own_span(&legs[other]));
        let near = keys.iter().filter_map(|k| by_key.get(k)).filter(|near| near.len() <= CROWD);
        for zone in near.flatten() {
            let shared = keys_received(&legs[*zone]).iter().filter(|k| keys.contains(k)).count();
            if !contradicts(&legs[*zone], &legs[other]) {
                edges.insert((std::cmp::Reverse(shared), other, *zone));
            }
        }
    }
    edges.into_iter().map(|(_, other, zone)| (other, zone)).collect()
}

fn one_to_one(edges: Vec<(usize, usize)>) -> BTreeMap<usize, usize> {
    let mut used = BTreeSet::new();
    let mut pairs = BTreeMap::new();
    for (other, zone) in edges {
        if !pairs.contains_key(&other) && used.insert(zone) {
            pairs.insert(other, zone);
        }
    }
    pairs
}
