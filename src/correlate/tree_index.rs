//! Where a call's possible parents are looked up: by what their legs name.

use super::edge_pairs::{self, keys_received, keys_sent};
use super::tree_keys::Key;
use crate::model::{Call, Leg, LegId, ObserverKind, Side, SpanId, TraceId};
use std::collections::{BTreeMap, BTreeSet};

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
    /// Observer name and a key of the call → calls that it served.
    by_observer: BTreeMap<(String, Key), Vec<usize>>,
    /// Callee's name and a key of the call → calls that it received.
    by_callee: BTreeMap<(String, Key), Vec<usize>>,
    /// Calls inside the mesh that reached their callee, by a key that tells the requests of one trace apart.
    by_request: BTreeMap<Key, Vec<usize>>,
    /// Request ids with which requests left the edge.
    pub of_the_edge: BTreeSet<Key>,
    /// Sequence numbers of the records of each Worker's event.
    records: BTreeMap<LegId, BTreeSet<u32>>,
    /// Server leg of a gateway → the call that its line says to have been made of it.
    passed_on: BTreeMap<LegId, usize>,
    /// What each call can be recognised by.
    pub keys: Vec<BTreeSet<Key>>,
}

impl Index {
    pub fn new(calls: &[Call]) -> Self {
        let keys = calls.iter().map(|call| call.legs.iter().flat_map(Key::of).collect()).collect();
        let mut index = Index { keys, ..Index::default() };
        for (i, call) in calls.iter().enumerate() {
            for leg in &call.legs {
                index.by_leg.insert(leg.id, i);
                let received = leg.made_by.filter(|_| leg.observer.kind == ObserverKind::Gateway);
                index.passed_on.extend(received.map(|id| (id, i)));
                index.add(i, leg);
            }
            index.add_served(i, call);
            index.add_unseen(i, call);
        }
        index
    }

    fn add_served(&mut self, i: usize, call: &Call) {
        let observers: BTreeSet<&str> =
            call.legs.iter().filter(|l| l.is_mesh_server()).map(|l| l.observer.name.as_str()).collect();
        // A Worker names the service that it wants to reach; what received its request is a gateway.
        let from_edge_alone =
            call.legs.iter().all(|l| l.leaves_the_edge() && l.observer.kind != ObserverKind::Gateway);
        for key in &self.keys[i] {
            if !from_edge_alone {
                self.by_callee.entry((call.callee.name.clone(), key.clone())).or_default().push(i);
            }
            for observer in &observers {
                self.by_observer.entry(((*observer).to_owned(), key.clone())).or_default().push(i);
            }
            if !observers.is_empty() && key.tells_requests_apart() {
                self.by_request.entry(key.clone()).or_default().push(i);
            }
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
        if leg.leaves_the_edge() {
            self.of_the_edge.extend(leg.request_key().map(Key::Request));
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
    fn near(&self, index: &BTreeMap<(String, Key), Vec<usize>>, name: &str, child: usize) -> Vec<usize> {
        let keys = self.keys[child].iter();
        let of_keys = keys.filter_map(|key| index.get(&(name.to_owned(), key.clone())));
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
        self.keys[one].intersection(&self.keys[other]).any(|k| matches!(k, Key::Request(_)))
    }

    /// What a gateway made of this call, where its own line tells: it made nothing else of it.
    pub fn passed_on_as(&self, call: &Call) -> Option<usize> {
        call.legs.iter().find_map(|l| self.passed_on.get(&l.id)).copied()
    }
}
