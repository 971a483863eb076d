//! Where a call's possible parents are looked up: by what their legs name.

use super::edge_pairs::{self, keys_received, keys_sent};
use super::tree_keys::{self, Key, Mark, Marks};
use crate::model::{Call, Leg, LegId, ObserverKind, Side, SocketPair, SpanId, TraceId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// A key that more calls than this share at one proxy tells nothing about which of them caused which.
const CROWD: usize = 2_000;

#[derive(Default)]
pub struct Index {
    pub by_leg: BTreeMap<LegId, usize>,
    pub worker_by_span: BTreeMap<(Option<TraceId>, SpanId), usize>,
    /// Ray of a visitor's request → the call to the Worker, whoever tells of it.
    pub worker_by_ray: BTreeMap<String, usize>,
    pub workers_by_trace: BTreeMap<TraceId, Vec<usize>>,
    /// Span of a Worker's subrequest → the call that it made.
    pub subrequest_by_span: BTreeMap<(TraceId, SpanId), usize>,
    /// What a Worker sent, by its own word or the zone's → subrequests of which no gateway tells.
    unseen_subrequests: BTreeMap<edge_pairs::Key, Vec<usize>>,
    pub by_hop: BTreeMap<String, Vec<usize>>,
    /// Names of observers and callees by numbers of their own.
    names: HashMap<String, u32>,
    /// Observer and a key of the call → calls that it served.
    by_observer: HashMap<(u32, Mark), Vec<usize>>,
    /// Callee and a key of the call → calls that it received.
    by_callee: HashMap<(u32, Mark), Vec<usize>>,
    /// Calls inside the mesh that reached their callee, by a key that tells the requests of one trace apart.
    by_request: HashMap<Mark, Vec<usize>>,
    /// Request ids with which requests left the edge.
    pub of_the_edge: HashSet<Mark>,
    /// Socket → calls of which only the caller's proxy tells.
    lone_clients: HashMap<SocketPair, Vec<usize>>,
    /// Sequence numbers of the records of each Worker's event.
    records: BTreeMap<LegId, BTreeSet<u32>>,
    /// Server leg of a gateway → the call that its line says to have been made of it.
    passed_on: BTreeMap<LegId, usize>,
    /// What each call can be recognised by: each once, in order.
    pub keys: Vec<Vec<Mark>>,
}

impl Index {
    pub fn new(calls: &[Call]) -> Self {
        let mut marks = Marks::default();
        let keys = calls.iter().map(|call| marks.of(&call.legs)).collect();
        let leaves = calls.iter().flat_map(|c| &c.legs).filter(|l| l.leaves_the_edge());
        let requests = leaves.filter_map(Leg::request_key).map(Key::Request);
        let of_the_edge = requests.map(|key| marks.mark(key)).collect();
        let mut index = Index { keys, of_the_edge, ..Index::default() };
        for (i, call) in calls.iter().enumerate() {
            for leg in &call.legs {
                index.by_leg.insert(leg.id, i);
                let received = leg.made_by.filter(|_| leg.observer.kind == ObserverKind::Gateway);
                index.passed_on.extend(received.map(|id| (id, i)));
                index.add(i, leg);
            }
            if let [leg] = &call.legs[..]
                && let Some(socket) = leg.socket.as_ref().filter(|_| leg.is_mesh_client())
            {
                index.lone_clients.entry(socket.clone()).or_default().push(i);
            }
            index.add_served(i, call);
            index.add_unseen(i, call);
        }
        index
    }

    fn add_served(&mut self, i: usize, call: &Call) {
        let servers = call.legs.iter().filter(|l| l.is_mesh_server());
        let observers: BTreeSet<u32> = servers.map(|l| self.number(&l.observer.name)).collect();
        let callee = self.number(&call.callee.name);
        // A Worker names the service that it wants to reach; what received its request is a gateway.
        let from_edge_alone =
            call.legs.iter().all(|l| l.leaves_the_edge() && l.observer.kind != ObserverKind::Gateway);
        for &key in &self.keys[i] {
            if !from_edge_alone {
                self.by_callee.entry((callee, key)).or_default().push(i);
            }
            for &observer in &observers {
                self.by_observer.entry((observer, key)).or_default().push(i);
            }
            if !observers.is_empty() && key.tells_requests_apart() {
                self.by_request.entry(key).or_default().push(i);
            }
        }
    }

    fn number(&mut self, name: &str) -> u32 {
        let next = self.names.len() as u32;
        match self.names.get(name) {
            Some(&known) => known,
            None => *self.names.entry(name.to_owned()).or_insert(next),
        }
    }

    fn add_unseen(&mut self, i: usize, call: &Call) {
        if call.legs.iter().any(|l| l.side == Side::Server) {
            return;
        }
        let sent = call.legs.iter().flat_map(|leg| match leg.observer.kind {
            ObserverKind::Worker => keys_sent(leg),
            _ if leg.is_subrequest_witness() => keys_received(leg),
            _ => vec![],
        });
        for key in sent.collect::<BTreeSet<_>>() {
            self.unseen_subrequests.entry(key).or_default().push(i);
        }
    }

    fn add(&mut self, i: usize, leg: &Leg) {
        let trace = leg.trace.map(|t| t.trace_id);
        if let (ObserverKind::Worker, Some(number)) = (leg.observer.kind, leg.sequence) {
            self.records.entry(leg.made_by.unwrap_or(leg.id)).or_default().insert(number);
        }
        match (leg.observer.kind, leg.side) {
            (ObserverKind::Worker, Side::Server) => {
                if let Some(span) = leg.span_id {
                    self.worker_by_span.insert((trace, span), i);
                }
                if let Some(ray) = &leg.ray {
                    self.worker_by_ray.insert(ray.clone(), i);
                }
                if let Some(trace) = trace {
                    self.workers_by_trace.entry(trace).or_default().push(i);
                }
            }
            (ObserverKind::Worker, Side::Client) => {
                if let (Some(trace), Some(span)) = (trace, leg.span_id) {
                    self.subrequest_by_span.insert((trace, span), i);
                }
            }
            (ObserverKind::Zone, _) if !leg.is_subrequest_witness() => {
                if let Some(ray) = &leg.ray {
                    self.worker_by_ray.entry(ray.clone()).or_insert(i);
                }
            }
            _ if leg.is_mesh_server() => {
                if let Some(hop) = &leg.hop {
                    self.by_hop.entry(hop.clone()).or_default().push(i);
                }
            }
            _ => {}
        }
    }

    /// Calls that the proxy of this name served and that share a key with `child`.
    pub fn served_by(&self, proxy: &str, child: usize) -> Vec<usize> {
        self.near(&self.by_observer, proxy, child)
    }

    /// Calls that a party of this name received and that share a key with `child`.
    pub fn received_by(&self, name: &str, child: usize) -> Vec<usize> {
        self.near(&self.by_callee, name, child)
    }

    /// Each once, in order; never `child` itself.
    fn near(&self, index: &HashMap<(u32, Mark), Vec<usize>>, name: &str, child: usize) -> Vec<usize> {
        let Some(&name) = self.names.get(name) else { return Vec::new() };
        let of_keys = self.keys[child].iter().filter_map(|&key| index.get(&(name, key)));
        let mut near: Vec<usize> = Vec::new();
        of_keys.filter(|near| near.len() <= CROWD).for_each(|calls| near.extend(calls));
        // Rows in order one after the other: a sort that keeps what is sorted merges them.
        near.sort();
        near.dedup();
        near.retain(|&other| other != child);
        near
    }

    /// Calls inside the mesh that are of the same request as `child` by more than its trace.
    pub fn of_same_request(&self, child: usize) -> BTreeSet<usize> {
        let near = self.keys[child].iter().filter_map(|key| self.by_request.get(key));
        near.filter(|near| near.len() <= CROWD).flatten().copied().filter(|&near| near != child).collect()
    }

    pub fn lone_clients(&self, socket: &SocketPair) -> &[usize] {
        self.lone_clients.get(socket).map_or(&[], Vec::as_slice)
    }

    /// Subrequests that no gateway tells of and that sent something which `leg` received.
    pub fn unseen_subrequests(&self, leg: &Leg) -> BTreeSet<usize> {
        let keys = keys_received(leg);
        let near = keys.iter().filter_map(|key| self.unseen_subrequests.get(key));
        near.filter(|near| near.len() <= CROWD).flatten().copied().collect()
    }

    /// Whether a Worker's event tells of everything that it sent: it ended well, was not cut, and none of its records is missing.
    pub fn tells_all(&self, event: &Leg) -> bool {
        let gapless = |of: &BTreeSet<u32>| {
            of.first().zip(of.last()).is_some_and(|(first, last)| (last - first) as usize + 1 == of.len())
        };
        event.worker_outcome.is_none() && !event.truncated && self.records.get(&event.id).is_some_and(gapless)
    }

    /// Whether two calls name the same request id.
    pub fn of_same_request_id(&self, one: usize, other: usize) -> bool {
        tree_keys::common(&self.keys[one], &self.keys[other]).any(Mark::is_request)
    }

    /// What a gateway made of this call, where its own line tells: it made nothing else of it.
    pub fn passed_on_as(&self, call: &Call) -> Option<usize> {
        call.legs.iter().find_map(|l| self.passed_on.get(&l.id)).copied()
    }
}
