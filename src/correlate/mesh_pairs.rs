//! Pairs inside the mesh: the caller's proxy and the callee's proxy, by hop id, socket pair, request id and trace, in that
//! order. Never by arrival order, and never across a contradiction (see [`super::compat`]).

use super::align::{align, strain_us};
use super::compat::{both_verified, contradiction, share_a_key};
use super::group::{Choice, Group, Rule};
use crate::model::{Basis, IdentityKind, Leg, Protocol, Side};
use std::collections::{BTreeMap, BTreeSet};

/// Of more legs than this that overlap in time, rivals are assumed and not counted one by one.
const COUNTED_RIVALS: usize = 2_000;
/// More pairs than this are not weighed one by one: the order of the rows decides.
const WEIGHED_PAIRS: usize = 250_000;

/// Confidence of a pair that keeps the order of requests on its connection, by what could still have swapped it.
const ORDERED_HTTP1_PPM: u32 = 990_000;
const ORDERED_EVEN_PPM: u32 = 950_000;
const ORDERED_UNEVEN_PPM: u32 = 850_000;
const BY_TRACE_PPM: u32 = 800_000;

/// Groups the legs of sidecars and the client legs of gateways.
pub fn pair(legs: &[Leg], places: &[usize], slack_us: i64) -> Vec<Group> {
    let mut join = Join::new(legs, places, slack_us);
    join.under(Rule::Hop).by_hop();
    join.under(Rule::SocketAndRequest).by_socket(true);
    join.under(Rule::Socket).by_socket(false);
    join.under(Rule::Request).by_request();
    join.under(Rule::Trace).by_trace();
    join.groups()
}

struct Join<'a> {
    legs: &'a [Leg],
    slack_us: i64,
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
}

impl<'a> Join<'a> {
    fn new(legs: &'a [Leg], places: &[usize], slack_us: i64) -> Self {
        // What a terminating gateway sends on goes to a server outside the mesh: no proxy of ours sees it arrive.
        let clients = places.iter().copied().filter(|&i| legs[i].side == Side::Client);
        let servers: Vec<usize> = places.iter().copied().filter(|&i| legs[i].side == Side::Server).collect();
        Join {
            legs,
            slack_us,
            clients: clients.collect(),
            free_servers: servers.iter().copied().collect(),
            servers,
            taken_by: BTreeMap::new(),
            by_hop: BTreeSet::new(),
            ordered: BTreeMap::new(),
            rule: Rule::Hop,
            choices: BTreeMap::new(),
        }
    }

    fn under(&mut self, rule: Rule) -> &mut Self {
        self.rule = rule;
        self
    }

    fn fits(&self, client: usize, server: usize) -> bool {
        self.legs[client].peer.kind != IdentityKind::External
            && contradiction(&self.legs[client], &self.legs[server], self.slack_us).is_none()
    }

    /// Attempts that may still be told by a server leg. A timeout or reset can hide how many there were: never below one.
    fn room(&self, client: usize) -> usize {
        let attempts = self.legs[client].attempts.max(1) as usize;
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

    /// The last attempt of each client leg went over the socket that both proxies log. `same_request`: only rows that also
    /// share a request id; then those where one side has none.
    fn by_socket(&mut self, same_request: bool) {
        let buckets = self.buckets(|leg| {
            let request = leg.request_key();
            (request.is_some() || !same_request)
                .then(|| leg.socket.clone().map(|socket| (socket, request.filter(|_| same_request))))
                .flatten()
        });
        for (_, (clients, servers)) in buckets {
            self.in_order(&clients, &servers);
        }
    }

    /// Aligns each run of legs that could be each other's sides by itself: what else went over the connection at other times
    /// must not matter.
    fn in_order(&mut self, clients: &[usize], servers: &[usize]) {
        let clients: Vec<usize> =
            clients.iter().copied().filter(|c| !self.taken_by.contains_key(c)).collect();
        for (clients, servers) in runs(self.legs, &clients, servers, self.slack_us) {
            self.align_run(&clients, &servers);
        }
    }

    fn align_run(&mut self, clients: &[usize], servers: &[usize]) {
        let row = |places: &[usize]| places.iter().map(|&i| &self.legs[i]).collect::<Vec<_>>();
        let pairs = align(&row(clients), &row(servers), |c, s| {
            c.peer.kind != IdentityKind::External && may_pair(c, s, self.slack_us)
        });
        let even = clients.len() == servers.len();
        for (c, s) in pairs {
            if clients.len() > 1 || servers.len() > 1 {
                let http2 = self.legs[clients[c]].protocol == Protocol::Http2;
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
    fn by_request(&mut self) {
        for (_, (clients, servers)) in self.buckets(Leg::request_key) {
            let fresh = clients.iter().all(|c| !self.taken_by.contains_key(c) && self.legs[*c].attempts <= 1);
            if fresh {
                self.in_order(&clients, &servers);
            } else {
                self.by_containment(&clients, &servers, ORDERED_UNEVEN_PPM);
            }
        }
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
        let mut rivals = Rivals::new(self.legs, &self.clients, &self.servers, self.slack_us);
        rivals.set_apart(&self.taken_by);
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
            let ppm = self.ordered.get(&client).copied().unwrap_or(ORDERED_UNEVEN_PPM);
            let choices = servers.iter().filter_map(|s| Some((*s, *self.choices.get(s)?))).collect();
            let group = Group::joined(vec![client], servers, basis, ppm, ambiguous);
            groups.push(Group { choices, ..group });
        }
        groups.extend(self.free_servers.iter().map(|&s| Group::single(s, self.legs)));
        groups
    }

    fn basis(&self, client: usize, servers: &[usize], rivals: &Rivals) -> Basis {
        let leg = &self.legs[client];
        let certificates = servers.iter().all(|&s| both_verified(leg, &self.legs[s]));
        if self.by_hop.contains(&client) && servers.iter().all(|&s| leg.hop == self.legs[s].hop) {
            return if certificates { Basis::Proven } else { Basis::Keyed };
        }
        let one_socket =
            servers.len() == 1 && leg.socket.is_some() && leg.socket == self.legs[servers[0]].socket;
        let sequential = matches!(leg.protocol, Protocol::Http1 | Protocol::Tcp);
        if one_socket && sequential && rivals.none_on_socket(client, servers) {
            return if certificates { Basis::Proven } else { Basis::Keyed };
        }
        if rivals.none_with_request(client, servers) {
            return Basis::Keyed;
        }
        Basis::Inferred
    }
}

/// Nothing speaks against the pair, and either they share a key or one of them has none: two legs that name different kinds
/// of things could only be brought together by standing in the same step.
fn may_pair(client: &Leg, server: &Leg, slack_us: i64) -> bool {
    contradiction(client, server, slack_us).is_none()
        && (share_a_key(client, server) || client.is_nameless() || server.is_nameless())
}

/// The two rows cut into runs that nothing ties: connected sets of clients and servers of which each may be the other's side.
/// Both rows must be sorted by start; legs that fit nothing on the other side are left out.
fn runs(legs: &[Leg], clients: &[usize], servers: &[usize], slack_us: i64) -> Vec<(Vec<usize>, Vec<usize>)> {
    if clients.len().saturating_mul(servers.len()) > WEIGHED_PAIRS {
        return vec![(clients.to_vec(), servers.to_vec())];
    }
    // Each server names the run of the clients it overlaps with; a server that overlaps with several runs makes them one.
    let mut run_of: Vec<usize> = (0..clients.len()).collect();
    let mut server_run: Vec<Option<usize>> = Vec::with_capacity(servers.len());
    for &server in servers {
        let near = (0..clients.len()).filter(|&c| may_pair(&legs[clients[c]], &legs[server], slack_us));
        let joined: BTreeSet<usize> = near.map(|c| run_of[c]).collect();
        let run = joined.first().copied();
        if let Some(run) = run {
            run_of.iter_mut().filter(|r| joined.contains(r)).for_each(|r| *r = run);
            server_run.iter_mut().flatten().filter(|r| joined.contains(r)).for_each(|r| *r = run);
        }
        server_run.push(run);
    }
    let mut runs: BTreeMap<usize, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
    for (&server, run) in servers.iter().zip(&server_run) {
        if let Some(run) = run {
            runs.entry(*run).or_default().1.push(server);
        }
    }
    for (&client, run) in clients.iter().zip(&run_of) {
        if let Some(found) = runs.get_mut(run) {
            found.0.push(client);
        }
    }
    runs.into_values().collect()
}

/// Who else could have been meant.
struct Rivals<'a> {
    legs: &'a [Leg],
    slack_us: i64,
    /// Legs that a key of their own has joined: no rivals to those that share none with them. What they were joined by does not
    /// depend on who else used the connection, and neither may what they leave to others.
    apart: BTreeSet<usize>,
    by_socket: BTreeMap<&'a crate::model::SocketPair, Vec<usize>>,
    by_request: BTreeMap<String, Vec<usize>>,
}

impl<'a> Rivals<'a> {
    fn new(legs: &'a [Leg], clients: &[usize], servers: &[usize], slack_us: i64) -> Self {
        let mut rivals = Rivals {
            legs,
            slack_us,
            apart: BTreeSet::new(),
            by_socket: BTreeMap::new(),
            by_request: BTreeMap::new(),
        };
        for &place in clients.iter().chain(servers) {
            if let Some(socket) = &legs[place].socket {
                rivals.by_socket.entry(socket).or_default().push(place);
            }
            if let Some(request) = legs[place].request_key() {
                rivals.by_request.entry(request).or_default().push(place);
            }
        }
        rivals
    }

    fn set_apart(&mut self, taken_by: &BTreeMap<usize, Vec<usize>>) {
        for (&client, servers) in taken_by {
            if servers.iter().all(|&s| share_a_key(&self.legs[client], &self.legs[s])) {
                self.apart.insert(client);
                self.apart.extend(servers);
            }
        }
    }

    fn none_on_socket(&self, client: usize, servers: &[usize]) -> bool {
        let socket = self.legs[client].socket.as_ref();
        socket.and_then(|s| self.by_socket.get(s)).is_some_and(|near| self.none_among(near, client, servers))
    }

    /// The request id is unique on both sides: one client leg and its attempts.
    fn none_with_request(&self, client: usize, servers: &[usize]) -> bool {
        let Some(request) = self.legs[client].request_key() else { return false };
        servers.iter().all(|&s| self.legs[s].request_key().as_ref() == Some(&request))
            && self.by_request.get(&request).is_some_and(|near| self.none_among(near, client, servers))
    }

    /// Those of `near` that overlap in time with any leg of the group and were not joined by keys that the group does not have.
    fn at_the_time(&self, near: &[usize], client: usize, servers: &[usize]) -> Vec<usize> {
        let group = || servers.iter().chain([&client]).map(|&i| &self.legs[i]);
        let from = group().map(|l| l.start.0).min().unwrap_or(0).saturating_sub(self.slack_us);
        let to = group().map(|l| l.end().0).max().unwrap_or(0).saturating_add(self.slack_us);
        let then = |i: usize| self.legs[i].end().0 >= from && self.legs[i].start.0 <= to;
        let concerns = |i: usize| !self.apart.contains(&i) || group().any(|l| share_a_key(l, &self.legs[i]));
        near.iter().copied().filter(|&i| then(i) && concerns(i)).collect()
    }

    fn none_among(&self, near: &[usize], client: usize, servers: &[usize]) -> bool {
        let near: Vec<usize> = self.at_the_time(near, client, servers);
        if near.len() > COUNTED_RIVALS {
            return false;
        }
        let fits = |c: usize, s: usize| may_pair(&self.legs[c], &self.legs[s], self.slack_us);
        near.iter().all(|&other| match self.legs[other].side {
            Side::Client => other == client || servers.iter().all(|&s| !fits(other, s)),
            Side::Server => servers.contains(&other) || !fits(client, other),
        })
    }
}

/// Size of the group of calls that nobody could tell apart: same connection, ids, method and path, open at the same time.
fn interchangeable(legs: &[Leg], clients: &[usize]) -> BTreeMap<usize, u32> {
    let mut alike: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for &client in clients.iter().filter(|&&c| legs[c].protocol == Protocol::Http2 && legs[c].hop.is_none()) {
        let leg = &legs[client];
        let trace = leg.trace.map(|t| t.trace_id);
        let key =
            (&leg.socket, leg.request_key(), trace, &leg.method, &leg.path, &leg.authority, leg.peer.key());
        alike.entry(key).or_default().push(client);
    }
    let mut sizes = BTreeMap::new();
    for group in alike.into_values() {
        // Runs of overlapping calls: a pause on the connection separates what came before from what comes after.
        let mut run: Vec<usize> = Vec::new();
        let mut run_end = i64::MIN;
        for client in group {
            if legs[client].start.0 > run_end && !run.is_empty() {
                sizes.extend(run.iter().map(|&c| (c, run.len() as u32)));
                run.clear();
            }
            run_end = run_end.max(legs[client].end().0);
            run.push(client);
        }
        sizes.extend(run.iter().map(|&c| (c, run.len() as u32)));
    }
    sizes
}
