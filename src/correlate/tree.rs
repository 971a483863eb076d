//! Which call caused which.
//!
//! Strongest first: what the line itself says (a Worker's subrequest, a gateway's forwarding); a parent hop that the same
//! proxy has logged; then the call that the caller's own proxy was serving at that moment, by request id, signed header or
//! trace. Parent and child are then seen by one proxy and one clock. Without any: a root.

use super::clocks::Clocks;
use super::facts::{Facts, client_side, lone_mesh_server};
use super::header::{self, Signature};
use super::rules::Rules;
use super::tree_keys::{Key, TRACE_RANK};
use crate::model::{Call, Leg, LegId, ObserverKind, Side, SpanId, TraceId};
use std::collections::{BTreeMap, BTreeSet};

/// Sets `parent_id` and completes `trace_id` from the parent where a call has none of its own.
pub fn grow(calls: &mut [Call], clocks: &Clocks, facts: &Facts, rules: &Rules) {
    let wood = Wood { calls, clocks, facts, rules, index: Index::new(calls) };
    let mut parents: Vec<Option<usize>> = vec![None; calls.len()];
    let mut order: Vec<usize> = (0..calls.len()).collect();
    order.sort_by_key(|&i| (calls[i].start, calls[i].id));
    let mut served = Served::default();
    for &child in &order {
        let found = wood.parent(child, &mut served);
        parents[child] = found.filter(|&p| !leads_to(&parents, p, child));
    }
    for child in 0..calls.len() {
        calls[child].parent_id = parents[child].map(|p| calls[p].id);
    }
    for &child in &order {
        inherit_trace(calls, &parents, child);
    }
}

/// Whether walking up from `from` meets `target`: a parent link that would close a circle is not made.
fn leads_to(parents: &[Option<usize>], from: usize, target: usize) -> bool {
    let mut at = Some(from);
    while let Some(i) = at {
        if i == target {
            return true;
        }
        at = parents[i];
    }
    false
}

fn inherit_trace(calls: &mut [Call], parents: &[Option<usize>], child: usize) {
    let mut at = parents[child];
    while let (None, Some(p)) = (calls[child].trace_id, at) {
        calls[child].trace_id = calls[p].trace_id;
        at = parents[p];
    }
}

/// How often a parent was already given a child of a kind: among parents that nobody can tell apart, each gets its own.
type Served = BTreeMap<(usize, String), usize>;

struct Index {
    by_leg: BTreeMap<LegId, usize>,
    worker_by_span: BTreeMap<(Option<TraceId>, SpanId), usize>,
    worker_by_ray: BTreeMap<String, usize>,
    workers_by_trace: BTreeMap<TraceId, Vec<usize>>,
    /// Span of a Worker's subrequest → the call that it made.
    subrequest_by_span: BTreeMap<(TraceId, SpanId), usize>,
    by_hop: BTreeMap<String, Vec<usize>>,
    /// Observer name and a key of the call → calls that it served.
    by_observer: BTreeMap<(String, Key), Vec<usize>>,
    /// Callee's identity key and a key of the call → calls that it received.
    by_callee: BTreeMap<(String, Key), Vec<usize>>,
    /// What each call can be recognised by.
    keys: Vec<BTreeSet<Key>>,
}

impl Index {
    fn new(calls: &[Call]) -> Self {
        let mut index = Index {
            by_leg: BTreeMap::new(),
            worker_by_span: BTreeMap::new(),
            worker_by_ray: BTreeMap::new(),
            workers_by_trace: BTreeMap::new(),
            subrequest_by_span: BTreeMap::new(),
            by_hop: BTreeMap::new(),
            by_observer: BTreeMap::new(),
            by_callee: BTreeMap::new(),
            keys: calls.iter().map(|call| call.legs.iter().flat_map(Key::of).collect()).collect(),
        };
        for (i, call) in calls.iter().enumerate() {
            for leg in &call.legs {
                index.by_leg.insert(leg.id, i);
                index.add(i, leg);
            }
            index.add_served(i, call);
        }
        index
    }

    fn add_served(&mut self, i: usize, call: &Call) {
        let observers: BTreeSet<&str> =
            call.legs.iter().filter(|l| l.is_mesh_server()).map(|l| l.observer.name.as_str()).collect();
        for key in &self.keys[i] {
            self.by_callee.entry((call.callee.key(), key.clone())).or_default().push(i);
            for observer in &observers {
                self.by_observer.entry(((*observer).to_owned(), key.clone())).or_default().push(i);
            }
        }
    }

    /// Calls under `name` that share a key with `child`, each once.
    fn near(&self, index: &BTreeMap<(String, Key), Vec<usize>>, name: &str, child: usize) -> Vec<usize> {
        let keys = self.keys[child].iter();
        let found: BTreeSet<usize> = keys
            .filter_map(|key| index.get(&(name.to_owned(), key.clone())))
            .filter(|near| near.len() <= CROWD)
            .flatten()
            .copied()
            .collect();
        found.into_iter().collect()
    }

    fn add(&mut self, i: usize, leg: &Leg) {
        let trace = leg.trace.map(|t| t.trace_id);
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
            _ if leg.is_mesh_server() => {
                if let Some(hop) = &leg.hop {
                    self.by_hop.entry(hop.clone()).or_default().push(i);
                }
            }
            _ => {}
        }
    }
}

/// All calls among which parents are sought, with what must be known to choose.
struct Wood<'a> {
    calls: &'a [Call],
    clocks: &'a Clocks,
    facts: &'a Facts,
    rules: &'a Rules,
    index: Index,
}

impl Wood<'_> {
    fn parent(&self, child: usize, served: &mut Served) -> Option<usize> {
        let call = &self.calls[child];
        let told =
            call.legs.iter().find_map(|l| l.made_by).and_then(|id| self.index.by_leg.get(&id)).copied();
        if told.is_some() {
            return told.filter(|&p| p != child);
        }
        if call.legs.iter().any(|l| l.observer.kind == ObserverKind::Worker && l.side == Side::Server) {
            return self.of_worker(call).filter(|&p| p != child);
        }
        if call.legs.iter().any(|l| l.is_entry() || l.observer.kind == ObserverKind::Zone) {
            return self.of_gateway(child);
        }
        if self.facts.is_outside_proxy(call) {
            return None;
        }
        self.by_parent_hop(child)
            .or_else(|| self.by_service(child, served))
            .or_else(|| self.by_subrequest(child))
    }

    /// The gateway's line is missing: its connection is known, and the Worker's record of the subrequest has no other end.
    fn by_subrequest(&self, child: usize) -> Option<usize> {
        let leg = lone_mesh_server(&self.calls[child])?;
        let spans = [
            leg.header.as_ref().map(|h| (h.trace_id, h.span_id)),
            leg.trace.map(|t| (t.trace_id, t.parent_id)),
        ];
        let sent =
            spans.into_iter().flatten().find_map(|span| self.index.subrequest_by_span.get(&span).copied())?;
        let unseen = self.calls[sent].legs.iter().all(|l| l.side == Side::Client);
        (unseen && self.covers(sent, leg)).then_some(sent)
    }

    /// A Worker called by RPC names its caller's own span.
    fn of_worker(&self, call: &Call) -> Option<usize> {
        let leg = call.legs.iter().find(|l| l.observer.kind == ObserverKind::Worker)?;
        let span = leg.parent_span_id?;
        self.index.worker_by_span.get(&(leg.trace.map(|t| t.trace_id), span)).copied()
    }

    /// A gateway's line whose subrequest record is missing: by the zone's `ParentRayID`, else by the header's own trace,
    /// unless the Worker's record says that the header was made for another request.
    fn of_gateway(&self, child: usize) -> Option<usize> {
        let call = &self.calls[child];
        let by_ray = call
            .legs
            .iter()
            .find_map(|l| l.parent_ray.as_ref())
            .and_then(|ray| self.index.worker_by_ray.get(ray));
        if let Some(&parent) = by_ray {
            return Some(parent);
        }
        // What a visitor sends to the zone is the visitor's word, whatever header it carries.
        let of_subrequest = |l: &&Leg| l.header.is_some() && (l.is_entry() || l.parent_ray.is_some());
        let leg = call.legs.iter().find(of_subrequest)?;
        let header = leg.header.as_ref()?;
        let sent = self.index.subrequest_by_span.get(&(header.trace_id, header.span_id));
        let made_for_another = sent.is_some_and(|&i| i != child);
        if made_for_another || header::check(header, self.rules) == Signature::Invalid {
            return None;
        }
        let serving = self.index.workers_by_trace.get(&header.trace_id)?.iter().copied();
        serving.filter(|&p| p != child && self.covers(p, leg)).min_by_key(|&p| self.calls[p].start)
    }

    /// The application's claim of the hop that it was serving, believed only if the same proxy logged that hop.
    fn by_parent_hop(&self, child: usize) -> Option<usize> {
        let leg = client_side(&self.calls[child])?;
        let served = self.index.by_hop.get(leg.parent_hop.as_ref()?)?;
        served.iter().copied().find(|&p| {
            p != child
                && self.calls[p]
                    .legs
                    .iter()
                    .any(|s| same_proxy(s, leg) && s.hop == leg.parent_hop && s.start <= leg.start)
        })
    }

    /// The call that the caller's own proxy was serving when this one left.
    fn by_service(&self, child: usize, served: &mut Served) -> Option<usize> {
        let call = &self.calls[child];
        let mut sent_to_caller = self.index.near(&self.index.by_callee, &call.caller.key(), child);
        let Some(leg) = client_side(call) else {
            let leg = call.legs.first()?;
            return self.best_parent(child, leg, self.rules.skew_bound_us, &sent_to_caller, served);
        };
        let served_by_proxy = self.index.near(&self.index.by_observer, &leg.observer.name, child);
        self.best_parent(child, leg, 0, &served_by_proxy, served).or_else(|| {
            // The line of the caller's proxy is missing, but whoever called it saw the request leave for it.
            sent_to_caller.retain(|&p| !self.calls[p].legs.iter().any(Leg::is_mesh_server));
            let unseen = sent_to_caller;
            self.best_parent(child, leg, self.rules.skew_bound_us, &unseen, served)
        })
    }

    /// Weight of the keys that two calls share. Two trace ids are never brought together by a weaker key: calls that both name
    /// traces, and none in common, share nothing.
    fn shared_keys(&self, parent: usize, child: usize) -> Option<u32> {
        let (parent, child) = (&self.index.keys[parent], &self.index.keys[child]);
        let shared: u32 = child.intersection(parent).map(|k| 1 << k.rank()).fold(0, |all, bit| all | bit);
        let names_trace = |keys: &BTreeSet<Key>| keys.iter().any(|k| matches!(k, Key::Trace(_)));
        let apart = shared & (1 << TRACE_RANK) == 0 && names_trace(parent) && names_trace(child);
        (shared > 0 && !apart).then_some(shared)
    }

    /// Of the calls in `near`, the one whose work the leg of `child` most likely is.
    fn best_parent(
        &self,
        child: usize,
        leg: &Leg,
        slack_us: i64,
        near: &[usize],
        served: &mut Served,
    ) -> Option<usize> {
        let call = &self.calls[child];
        let kind = format!("{:?} {:?} {}", call.method, call.path, call.callee.key());
        let best = near
            .iter()
            .copied()
            .filter(|&p| p != child)
            .filter_map(|p| {
                let serving = serving(&self.calls[p], leg, self.clocks, slack_us)?;
                Some(((self.shared_keys(p, child)?, serving), p))
            })
            // A header is issued for one request: with it, a call that began after that had ended is not its work. Where the
            // format does not print it, nobody can say that there was none.
            .filter(|((_, serving), _)| *serving || carries_no_header(call))
            .map(|((keys, serving), p)| {
                let before = served.get(&(p, kind.clone())).copied().unwrap_or(0);
                let other_resource = !same_resource(self.calls[p].path.as_deref(), call.path.as_deref());
                // Of those that had ended, the last; of those that were being served, the one with fewest such children.
                let recency = if serving { 0 } else { -self.calls[p].end().0 };
                let rank =
                    (std::cmp::Reverse(keys), !serving, other_resource, recency, before, self.calls[p].start);
                ((rank, self.calls[p].id), p)
            })
            .min()?;
        *served.entry((best.1, kind)).or_default() += 1;
        Some(best.1)
    }

    /// Whether the leg began while any side saw the call under way, as far as the clocks can tell.
    fn covers(&self, parent: usize, leg: &Leg) -> bool {
        let (at, slack_us) = (self.clocks.start(leg), self.rules.skew_bound_us);
        self.calls[parent].legs.iter().any(|l| {
            self.clocks.start(l) <= at.plus_us(slack_us) && self.clocks.end(l).plus_us(slack_us) >= at
        })
    }
}

/// Whether a possible parent was still being served when the leg left; `None` when it began later.
pub(super) fn serving(parent: &Call, leg: &Leg, clocks: &Clocks, slack_us: i64) -> Option<bool> {
    // What the callee's proxy says of when it served; the caller's view only where that is missing.
    let served = parent.legs.iter().any(|s| s.side == Side::Server);
    let left = clocks.start(leg);
    let seen = parent.legs.iter().filter(|s| !served || s.side == Side::Server);
    seen.filter(|s| clocks.start(s) <= left.plus_us(slack_us))
        .map(|s| clocks.end(s).plus_us(slack_us) >= left)
        .max()
}

/// Applications hand on the id of what they were asked for: `/orders/120` asks for `/invoices/120`.
pub(super) fn same_resource(parent: Option<&str>, child: Option<&str>) -> bool {
    let last = |path: Option<&str>| {
        path.and_then(|p| p.rsplit('/').next()).map(str::to_owned).filter(|s| !s.is_empty())
    };
    last(parent).is_some() && last(parent) == last(child)
}

pub(super) fn same_proxy(a: &Leg, b: &Leg) -> bool {
    a.observer == b.observer
}

/// Whether a side's format would show a calltrail header, and no side shows one.
fn carries_no_header(call: &Call) -> bool {
    let logged = call.legs.iter().any(|l| l.header_logged);
    logged && call.legs.iter().all(|l| l.header.is_none() && l.malformed_header.is_none())
}

/// A key that more calls than this share at one proxy tells nothing about which of them caused which.
const CROWD: usize = 2_000;
