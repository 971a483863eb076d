//! What of a leg is compared, as small numbers: comparing two legs happens millions of times.

use crate::model::{Identity, Leg, Protocol, SpiffeId};
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// One leg. Numbers stand for texts: equal numbers, equal texts, on both sides alike.
#[derive(Debug, Clone)]
pub struct Feature {
    pub start_us: i64,
    /// Milliseconds, as Envoy logs it; 0 where the line does not say.
    pub duration_ms: i64,
    pub observer: u32,
    /// What must be equal: protocol, method, path.
    pub request: u32,
    /// [`Feature::request`] with status and byte counts: what nearly always is.
    pub kind: u32,
    pub status: Option<u16>,
    pub sent_bytes: Option<u64>,
    pub received_bytes: Option<u64>,
    pub authority: Option<u32>,
    /// The parties' full names, where the line tells them.
    pub peer: Option<u32>,
    pub own: Option<u32>,
    /// The connection, by this side's addresses; a network may have rewritten them, but the same way for all its calls.
    pub connection: Option<u32>,
    /// The callee's own address: a network may rewrite only the caller's. Known only where both sides name some in common.
    pub at: Option<u32>,
}

impl Feature {
    pub fn end_us(&self) -> i64 {
        self.start_us + self.duration_ms * 1_000
    }
}

/// Both rows, by start.
#[derive(Debug, Default)]
pub struct Features {
    pub clients: Vec<Feature>,
    pub servers: Vec<Feature>,
    pub requests: usize,
    pub observers: usize,
    pub connections: usize,
}

impl Features {
    pub fn of(clients: &[&Leg], servers: &[&Leg]) -> Self {
        let mut names = Names::default();
        let mut clients: Vec<Feature> = clients.iter().map(|leg| names.feature(leg)).collect();
        let servers: Vec<Feature> = servers.iter().map(|leg| names.feature(leg)).collect();
        let told: HashSet<u32> = servers.iter().filter_map(|s| s.at).collect();
        clients.iter_mut().for_each(|c| c.at = c.at.filter(|at| told.contains(at)));
        Features {
            clients,
            servers,
            requests: names.requests.len(),
            observers: names.observers.len(),
            connections: names.connections.len(),
        }
    }

    /// From the first start to the last end that any leg tells, at least a second.
    pub fn span_us(&self) -> f64 {
        let all = || self.clients.iter().chain(&self.servers);
        let first = all().map(|f| f.start_us).min().unwrap_or(0);
        let last = all().map(|f| f.start_us).max().unwrap_or(0);
        (last - first).max(1_000_000) as f64
    }
}

type Request<'a> = (bool, Option<&'a str>, Option<&'a str>);
type Kind = (u32, Option<u16>, Option<u64>, Option<u64>);

#[derive(Default)]
struct Names<'a> {
    observers: HashMap<&'a str, u32>,
    requests: HashMap<Request<'a>, u32>,
    kinds: HashMap<Kind, u32>,
    texts: HashMap<&'a str, u32>,
    connections: HashMap<(&'a str, &'a str, &'a str), u32>,
}

/// The number of a value, given in the order in which values are first seen: the same for the same rows.
fn number<K: Hash + Eq>(of: &mut HashMap<K, u32>, value: K) -> u32 {
    let next = of.len() as u32;
    *of.entry(value).or_insert(next)
}

impl<'a> Names<'a> {
    fn feature(&mut self, leg: &'a Leg) -> Feature {
        let tcp = leg.protocol == Protocol::Tcp;
        let request = number(&mut self.requests, (tcp, leg.method.as_deref(), leg.path.as_deref()));
        let (sent, received) = (leg.response_body_bytes, leg.request_body_bytes);
        let known = |who: &'a Identity| who.spiffe_id.as_ref().map(SpiffeId::as_str);
        let connection = leg.socket.as_ref().map(|s| (leg.observer.name.as_str(), &*s.client, &*s.server));
        Feature {
            start_us: leg.start.0,
            duration_ms: leg.duration_us.unwrap_or(0) / 1_000,
            observer: number(&mut self.observers, leg.observer.name.as_str()),
            request,
            kind: number(&mut self.kinds, (request, leg.status, sent, received)),
            status: leg.status,
            sent_bytes: sent,
            received_bytes: received,
            authority: leg.authority.as_deref().map(|text| number(&mut self.texts, text)),
            peer: known(&leg.peer).map(|text| number(&mut self.texts, text)),
            own: known(&leg.local).map(|text| number(&mut self.texts, text)),
            at: leg.socket.as_ref().map(|s| number(&mut self.texts, &s.server)),
            connection: connection.map(|c| number(&mut self.connections, c)),
        }
    }
}
