//! Pairs inside the mesh: the caller's proxy and the callee's proxy, by hop id, socket pair, request id and trace, in that
//! order. Never by arrival order, and never across a contradiction (see [`super::compat`]).

use super::align::{align, nest, strain_us};
use super::alike::{Alike, interchangeable};
use super::attempts::Attempts;
use super::clocks::Times;
use super::compat::{both_verified, contradiction_but_time, differ, slack_of};
use super::group::{CERTAIN_PPM, Choice, Group, Rule};
use super::rivals::Rivals;
use super::runs::{WEIGHED_PAIRS, may_be_one, may_stand_in_row, runs};
use super::sockets::{ToldSockets, name_other_sockets};
use crate::model::{Basis, Leg, Protocol, RequestKey, Side};
use std::collections::{BTreeMap, BTreeSet};

/// Confidence that two legs are one call and no other's of the same kind, by what could still have swapped them. Set by what simulated
/// worlds with and without faults show (`docs/join-quality.md`).
const ORDERED_HTTP1_PPM: u32 = 970_000;
const ORDERED_EVEN_PPM: u32 = 850_000;
const ORDERED_UNEVEN_PPM: u32 = 750_000;
const BY_TRACE_PPM: u32 = 800_000;
/// Of a pair that nothing else here could be meant by, where nobody knows how far the clocks are apart.
const ALONE_PPM: u32 = 999_000;
/// Of more lines than this with one request id nobody asks which were attempts of one request.
const MOST_ATTEMPTS: usize = 256;
/// Of a pair whose ends name different connections, by what else ties it: something between them rewrites addresses, or another's
/// line has been taken for one that is lost.
const HOP_OTHER_SOCKET_PPM: u32 = 999_000;
const REQUEST_OTHER_SOCKET_PPM: u32 = 990_000;

/// Groups the legs of sidecars and the client legs of gateways.
pub fn pair(legs: &[Leg], places: &[usize], times: Times) -> Vec<Group> {
    let mut join = Join::new(legs, places, times);
    join.under(Rule::Hop).by_hop();
    for alike in Alike::BY_REQUEST {
        join.under(Rule::SocketAndRequest).by_socket(alike);
    }
    join.under(Rule::Socket).by_socket(Alike::BY_CONNECTION);
    for alike in Alike::BY_REQUEST {
        // Where something rewrites the caller's address, the callee's is still the same on both ends.
        join.under(Rule::Request)
            .by_request(|leg| Some((alike.key(leg)?, Some(leg.socket.as_ref()?.server.clone()))));
        join.under(Rule::Request).by_request(|leg| Some((alike.key(leg)?, None)));
    }
    join.under(Rule::Trace).by_trace();
    join.under(Rule::Request).other_attempts();
    join.groups()
}

struct Join<'a> {
    legs: &'a [Leg],
    times: Times<'a>,
    clients: Vec<usize>,
    servers: Vec<usize>,
    /// Client place → its servers so far.
    taken_by: BTreeMap<usize, Vec<usize>>,
    free_servers: BTreeSet<usize>,
    by_hop: BTreeSet<usize>,
    /// Clients whose pair kept the order of a row of several: how even the two rows were.
    ordered: BTreeMap<usize, u32>,
    rule: Rule,
    choices: BTreeMap<usize, Choice>,
    told: ToldSockets<'a>,
}

impl<'a> Join<'a> {
    fn new(legs: &'a [Leg], places: &[usize], times: Times<'a>) -> Self {
        let clients = places.iter().copied().filter(|&i| legs[i].side == Side::Client);
        let servers: Vec<usize> = places.iter().copied().filter(|&i| legs[i].side == Side::Server).collect();
        Join {
            legs,
            times,
            clients: clients.collect(),
            free_servers: servers.iter().copied().collect(),
            servers,
            taken_by: BTreeMap::new(),
            by_hop: BTreeSet::new(),
            ordered: BTreeMap::new(),
            rule: Rule::Hop,
            choices: BTreeMap::new(),
            told: ToldSockets::new(legs, places),
        }
    }

    fn under(&mut self, rule: Rule) -> &mut Self {
        self.rule = rule;
        self
    }

    fn fits(&self, client: usize, server: usize) -> bool {
        may_be_one(&self.legs[client], &self.legs[server], self.times, &self.told)
    }

    /// Attempts that may still be told by a server leg.
    fn room(&self, client: usize) -> usize {
        let attempts = self.legs[client].most_attempts();
        attempts.saturating_sub(self.taken_by.get(&client).map_or(0, Vec::len))
    }

    fn take(&mut self, client: usize, server: usize, clients: usize, servers: usize) {
        self.free_servers.remove(&server);
        self.choices.insert(server, Choice { rule: self.rule, clients, servers });
        self.taken_by.entry(client).or_default().push(server);
    }

    fn buckets<K: Ord>(&self, key: impl Fn(&Leg) -> Option<K>) -> BTreeMap<K, (Vec<usize>, Vec<usize>)> {
        let mut buckets: BTreeMap<K, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
        for &client in self.clients.iter().filter(|&&c| self.room(c) > 0) {
            if let Some(key) = key(&self.legs[client]) {
                buckets.entry(key).or_default().0.push(client);
            }
        }
        for &server in &self.free_servers {
            if let Some(key) = key(&self.legs[server]) {
                buckets.entry(key).or_default().1.push(server);
            }
        }
        buckets.retain(|_, (clients, servers)| !clients.is_empty() && !servers.is_empty());
        buckets
    }

    /// One client line and the server lines of its attempts carry the same fresh id. More server lines than attempts: somebody
    /// replayed it, and the socket of the last attempt says which is real.
    fn by_hop(&mut self) {
        for (_, (clients, servers)) in self.buckets(|leg| leg.hop.clone()) {
            let [client] = clients[..] else { continue };
            let mut fitting: Vec<usize> = servers.into_iter().filter(|&s| self.fits(client, s)).collect();
            let (leg, row) = (&self.legs[client], fitting.len());
            fitting.sort_by_key(|&s| (self.legs[s].socket != leg.socket, strain_us(leg, &self.legs[s]), s));
            for server in fitting.into_iter().take(self.room(client)) {
                self.take(client, server, 1, row);
                self.by_hop.insert(client);
            }
        }
    }

    /// The last attempt of each client leg went over the socket that both proxies log.
    fn by_socket(&mut self, alike: Alike) {
        for (_, (clients, servers)) in self.buckets(|leg| Some((leg.socket.clone()?, alike.key(leg)?))) {
            self.in_order(&clients, &servers);
        }
    }

    /// Aligns each run of legs that could be each other's sides by itself: what else went over the connection at other times
    /// must not matter.
    fn in_order(&mut self, clients: &[usize], servers: &[usize]) {
        let mut clients: Vec<usize> =
            clients.iter().copied().filter(|c| !self.taken_by.contains_key(c)).collect();
        let mut servers = servers.to_vec();
        // The legs stand in the order of their own clocks; here they are compared in a common time.
        let by_start = |&place: &usize| (self.legs[place].start, place);
        clients.sort_by_key(by_start);
        servers.sort_by_key(by_start);
        let slack_us = clients.first().map_or(0, |&c| slack_of(&self.legs[c], self.times.slack_us));
        let fits = |c: &Leg, s: &Leg| may_stand_in_row(c, s, self.times, &self.told);
        for (clients, servers) in runs(self.legs, &clients, &servers, slack_us, fits) {
            self.align_run(&clients, &servers);
        }
    }

    fn align_run(&mut self, clients: &[usize], servers: &[usize]) {
        let row = |places: &[usize]| places.iter().map(|&i| &self.legs[i]).collect::<Vec<_>>();
        let compatible = |c: &Leg, s: &Leg| may_stand_in_row(c, s, self.times, &self.told);
        let mut pairs = align(&row(clients), &row(servers), compatible);
        let http2 = clients.first().is_some_and(|&c| self.legs[c].protocol == Protocol::Http2);
        let weighed = clients.len().saturating_mul(servers.len()) <= WEIGHED_PAIRS;
        if http2 && weighed && pairs.len() < clients.len().min(servers.len()) {
            // Requests that run side by side overtake each other.
            let nested = nest(&row(clients), &row(servers), compatible);
            pairs = if nested.len() > pairs.len() { nested } else { pairs };
        }
        let even = clients.len() == servers.len();
        for (c, s) in pairs {
            if clients.len() > 1 || servers.len() > 1 {
                let ppm = match (http2, even) {
                    (false, _) => ORDERED_HTTP1_PPM,
                    (true, true) => ORDERED_EVEN_PPM,
                    (true, false) => ORDERED_UNEVEN_PPM,
                };
                self.ordered.insert(clients[c], ppm);
            }
            self.take(clients[c], servers[s], clients.len(), servers.len());
        }
    }

    /// Earlier attempts, and ends whose format or network hides the socket: by request id, in order where nothing was retried,
    /// else by who contains whom.
    fn by_request<K: Ord>(&mut self, key: impl Fn(&Leg) -> Option<(K, Option<String>)>) {
        for (_, (clients, servers)) in self.buckets(key) {
            let fresh =
                clients.iter().all(|c| !self.taken_by.contains_key(c) && self.legs[*c].most_attempts() <= 1);
            if fresh {
                self.in_order(&clients, &servers);
            } else {
                self.by_containment(&clients, &servers, ORDERED_UNEVEN_PPM);
            }
        }
    }

    /// Where the caller's format does not say how many attempts it made: lines of one proxy with the same request id, one after the other
    /// while the request was under way, of which each failed but the last. Of several equal requests each gets one in turn.
    fn other_attempts(&mut self) {
        let mut free: BTreeMap<RequestKey, Vec<usize>> = BTreeMap::new();
        for &server in &self.free_servers {
            if let Some(request) = self.legs[server].request_key() {
                free.entry(request).or_default().push(server);
            }
        }
        for (request, servers) in free.into_iter().filter(|(_, servers)| servers.len() <= MOST_ATTEMPTS) {
            let told_one = |c: &usize| {
                let leg = &self.legs[*c];
                let taken = self.taken_by.get(c).is_some_and(|taken| taken.len() == 1);
                taken && leg.attempts.is_none() && leg.request_key().as_ref() == Some(&request)
            };
            let clients: Vec<usize> = self.clients.iter().copied().filter(told_one).collect();
            let mut grew = true;
            while std::mem::take(&mut grew) {
                for &client in &clients {
                    grew |= self.take_attempt(client, &servers);
                }
            }
        }
    }

    fn take_attempt(&mut self, client: usize, near: &[usize]) -> bool {
        let leg = &self.legs[client];
        let known: Vec<&Leg> = self.taken_by[&client].iter().map(|&s| &self.legs[s]).collect();
        let attempts = Attempts::new(leg, &known);
        let fits = |s: &&usize| {
            self.free_servers.contains(s) && contradiction_but_time(leg, &self.legs[**s]).is_none()
        };
        let free: Vec<(usize, &Leg)> = near.iter().filter(fits).map(|&s| (s, &self.legs[s])).collect();
        let next = attempts.next(&free);
        next.into_iter().for_each(|server| self.take(client, server, 1, near.len()));
        next.is_some()
    }

    /// One side's request id is unknown: the trace, the identities, method, path and time must do.
    fn by_trace(&mut self) {
        for (_, (clients, servers)) in self.buckets(|leg| leg.trace.map(|t| t.trace_id)) {
            self.by_containment(&clients, &servers, BY_TRACE_PPM);
        }
    }

    fn by_containment(&mut self, clients: &[usize], servers: &[usize], ppm: u32) {
        if clients.len().saturating_mul(servers.len()) > WEIGHED_PAIRS {
            return self.in_order(clients, servers);
        }
        let mut edges = Vec::new();
        for &client in clients {
            for &server in servers.iter().filter(|&&s| self.fits(client, s)) {
                edges.push((strain_us(&self.legs[client], &self.legs[server]), client, server));
            }
        }
        edges.sort_unstable();
        for (_, client, server) in edges {
            if self.room(client) > 0 && self.free_servers.contains(&server) {
                if clients.len() > 1 {
                    self.ordered.entry(client).or_insert(ppm);
                }
                self.take(client, server, clients.len(), servers.len());
            }
        }
    }

    fn groups(mut self) -> Vec<Group> {
        let mut rivals = Rivals::new(self.legs, &self.clients, &self.servers, self.times);
        rivals.set_apart(&self.taken_by);
        let lone_clients = self.clients.iter().copied().filter(|c| !self.taken_by.contains_key(c));
        rivals.note_alone(lone_clients.chain(self.free_servers.iter().copied()));
        let interchangeable = interchangeable(self.legs, &self.clients);
        let mut groups = Vec::new();
        for client in self.clients.clone() {
            let Some(mut servers) = self.taken_by.remove(&client) else {
                groups.push(Group::single(client, self.legs));
                continue;
            };
            servers.sort_unstable();
            let basis = self.basis(client, &servers, &rivals);
            let ambiguous = match basis {
                Basis::Inferred => interchangeable.get(&client).copied().unwrap_or(1),
                _ => 1,
            };
            let ppm = match basis {
                Basis::Inferred => self.confidence_ppm(client, &servers, &rivals),
                _ => CERTAIN_PPM,
            };
            let choices = servers.iter().filter_map(|s| Some((*s, *self.choices.get(s)?))).collect();
            let group = Group::joined(vec![client], servers, basis, ppm, ambiguous);
            groups.push(Group { choices, ..group });
        }
        groups.extend(self.free_servers.iter().map(|&s| Group::single(s, self.legs)));
        groups
    }

    /// Of a pair that is inferred.
    fn confidence_ppm(&self, client: usize, servers: &[usize], rivals: &Rivals) -> u32 {
        let by_hop = self.by_hop.contains(&client);
        if name_other_sockets(&self.legs[client], &self.legs[servers[0]]) {
            if by_hop {
                return HOP_OTHER_SOCKET_PPM;
            }
            if rivals.none_with_request(client, servers) {
                return REQUEST_OTHER_SOCKET_PPM;
            }
        }
        match self.ordered.get(&client) {
            Some(&ppm) => ppm,
            None if by_hop || rivals.none_with_request(client, servers) => ALONE_PPM,
            None => ORDERED_UNEVEN_PPM,
        }
    }

    fn basis(&self, client: usize, servers: &[usize], rivals: &Rivals) -> Basis {
        let leg = &self.legs[client];
        // A key that nobody else here carries may have been carried by lines that are lost: what was another request's end then
        // stands at another time.
        let at_its_time = servers.iter().all(|&s| self.times.clocks.speak_for(leg, &self.legs[s]));
        let certificates = servers.iter().all(|&s| both_verified(leg, &self.legs[s]));
        // The connections of earlier attempts are told by one end only: a line on another than the last one's may be a replay.
        let other_socket = servers.len() == 1 && name_other_sockets(leg, &self.legs[servers[0]])
            || self.by_hop.contains(&client)
                && servers.iter().any(|&s| differ(&leg.socket, &self.legs[s].socket));
        // Lines that have lost their ids are not known to be alone: their true other sides may be among those that have theirs.
        let stripped = |l: &Leg| l.is_nameless() && l.protocol != Protocol::Tcp;
        if other_socket || stripped(leg) || servers.iter().any(|&s| stripped(&self.legs[s])) {
            return Basis::Inferred;
        }
        if self.by_hop.contains(&client) && servers.iter().all(|&s| leg.hop == self.legs[s].hop) {
            return if certificates { Basis::Proven } else { Basis::Keyed };
        }
        let one_socket =
            servers.len() == 1 && leg.socket.is_some() && leg.socket == self.legs[servers[0]].socket;
        let sequential = matches!(leg.protocol, Protocol::Http1 | Protocol::Tcp);
        if !at_its_time {
            return Basis::Inferred;
        }
        if one_socket && sequential && rivals.none_on_socket(client, servers) {
            return if certificates { Basis::Proven } else { Basis::Keyed };
        }
        if rivals.none_with_request(client, servers) && !rivals.may_be_missing(client, servers) {
            return Basis::Keyed;
        }
        Basis::Inferred
    }
}
