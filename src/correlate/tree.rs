//! Which call caused which.
//!
//! Strongest first: what the line itself says (a Worker's subrequest, a gateway's forwarding); a parent hop that the same
//! proxy has logged; then the call that the caller's own proxy was serving at that moment, by request id, signed header or
//! trace. Parent and child are then seen by one proxy and one clock. Without any: a root.

use super::facts::Facts;
use super::header::{self, Signature};
use super::rules::Rules;
use crate::model::{Call, Leg, LegId, ObserverKind, Side, SpanId, Timestamp, TraceId};
use std::collections::BTreeMap;

/// Sets `parent_id` and completes `trace_id` from the parent where a call has none of its own.
pub fn grow(calls: &mut [Call], facts: &Facts, rules: &Rules) {
    let index = Index::new(calls);
    let mut parents: Vec<Option<usize>> = vec![None; calls.len()];
    let mut order: Vec<usize> = (0..calls.len()).collect();
    order.sort_by_key(|&i| (calls[i].start, calls[i].id));
    let mut served = Served::default();
    for &child in &order {
        let found = index.parent(calls, child, facts, rules, &mut served);
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
    subrequest_by_span: BTreeMap<SpanId, usize>,
    by_hop: BTreeMap<String, Vec<usize>>,
    /// Observer name → calls that it served.
    by_observer: BTreeMap<String, Vec<usize>>,
    /// Callee's identity key → calls that it received.
    by_callee: BTreeMap<String, Vec<usize>>,
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
        };
        for (i, call) in calls.iter().enumerate() {
            for leg in &call.legs {
                index.by_leg.insert(leg.id, i);
                index.add(i, leg);
            }
            index.by_callee.entry(call.callee.key()).or_default().push(i);
        }
        index
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
                if let Some(span) = leg.span_id {
                    self.subrequest_by_span.insert(span, i);
                }
            }
            _ if leg.is_mesh_server() => {
                let served = self.by_observer.entry(leg.observer.name.clone()).or_default();
                if served.last() != Some(&i) {
                    served.push(i);
                }
                if let Some(hop) = &leg.hop {
                    self.by_hop.entry(hop.clone()).or_default().push(i);
                }
            }
            _ => {}
        }
    }

    fn parent(&self, calls: &[Call], child: usize, facts: &Facts, rules: &Rules, served: &mut Served) -> Option<usize> {
        let call = &calls[child];
        let told = call.legs.iter().find_map(|l| l.made_by).and_then(|id| self.by_leg.get(&id)).copied();
        if told.is_some() {
            return told.filter(|&p| p != child);
        }
        if call.legs.iter().any(|l| l.observer.kind == ObserverKind::Worker && l.side == Side::Server) {
            return self.of_worker(call).filter(|&p| p != child);
        }
        if call.legs.iter().any(|l| l.is_entry() || l.observer.kind == ObserverKind::Zone) {
            return self.of_gateway(calls, child, rules);
        }
        if facts.is_outside_proxy(call) {
            return None;
        }
        self.by_parent_hop(calls, child).or_else(|| self.by_service(calls, child, rules, served))
    }

    /// A Worker called by RPC names its caller's own span.
    fn of_worker(&self, call: &Call) -> Option<usize> {
        let leg = call.legs.iter().find(|l| l.observer.kind == ObserverKind::Worker)?;
        let span = leg.parent_span_id?;
        self.worker_by_span.get(&(leg.trace.map(|t| t.trace_id), span)).copied()
    }

    /// A gateway's line whose subrequest record is missing: by the zone's `ParentRayID`, else by the header's own trace,
    /// unless the Worker's record says that the header was made for another request.
    fn of_gateway(&self, calls: &[Call], child: usize, rules: &Rules) -> Option<usize> {
        let call = &calls[child];
        let by_ray = call.legs.iter().find_map(|l| l.parent_ray.as_ref()).and_then(|ray| self.worker_by_ray.get(ray));
        if let Some(&parent) = by_ray {
            return Some(parent);
        }
        let leg = call.legs.iter().find(|l| l.header.is_some())?;
        let header = leg.header.as_ref()?;
        let made_for_another = self.subrequest_by_span.get(&header.span_id).is_some_and(|&i| i != child);
        if made_for_another || header::check(header, rules) == Signature::Invalid {
            return None;
        }
        let serving = self.workers_by_trace.get(&header.trace_id)?.iter().copied();
        serving.filter(|&p| p != child && covers(&calls[p], leg.start, rules.skew_bound_us)).min_by_key(|&p| calls[p].start)
    }

    /// The application's claim of the hop that it was serving, believed only if the same proxy logged that hop.
    fn by_parent_hop(&self, calls: &[Call], child: usize) -> Option<usize> {
        let leg = client_side(&calls[child])?;
        let served = self.by_hop.get(leg.parent_hop.as_ref()?)?;
        served.iter().copied().find(|&p| {
            p != child && calls[p].legs.iter().any(|s| same_proxy(s, leg) && s.hop == leg.parent_hop && s.start <= leg.start)
        })
    }

    /// The call that the caller's own proxy was serving when this one left.
    fn by_service(&self, calls: &[Call], child: usize, rules: &Rules, served: &mut Served) -> Option<usize> {
        let call = &calls[child];
        let (leg, slack_us, near) = match client_side(call) {
            Some(leg) => (leg, 0, self.by_observer.get(&leg.observer.name)),
            None => (call.legs.first()?, rules.skew_bound_us, self.by_callee.get(&call.caller.key())),
        };
        let kind = format!("{:?} {:?} {}", call.method, call.path, call.callee.key());
        let best = near?
            .iter()
            .copied()
            .filter(|&p| p != child)
            .filter_map(|p| Some((likeness(&calls[p], leg, slack_us)?, p)))
            // A header is issued for one request: with it, a call that began after that had ended is not its work.
            .filter(|((_, serving), _)| *serving || leg.header.is_none())
            .map(|((keys, serving), p)| {
                let before = served.get(&(p, kind.clone())).copied().unwrap_or(0);
                let other_resource = !same_resource(calls[p].path.as_deref(), call.path.as_deref());
                // Of those that had ended, the last; of those that were being served, the one with fewest such children.
                let recency = if serving { 0 } else { -calls[p].end().0 };
                let rank = (std::cmp::Reverse(keys), !serving, other_resource, recency, before, calls[p].start);
                ((rank, calls[p].id), p)
            })
            .min()?;
        *served.entry((best.1, kind)).or_default() += 1;
        Some(best.1)
    }
}

/// Applications hand on the id of what they were asked for: `/orders/120` asks for `/invoices/120`.
fn same_resource(parent: Option<&str>, child: Option<&str>) -> bool {
    let last = |path: Option<&str>| path.and_then(|p| p.rsplit('/').next()).map(str::to_owned).filter(|s| !s.is_empty());
    last(parent).is_some() && last(parent) == last(child)
}

/// The caller's own record of a call inside the mesh.
fn client_side(call: &Call) -> Option<&Leg> {
    call.legs.iter().find(|l| l.side == Side::Client && l.observer.kind == ObserverKind::Sidecar)
}

fn same_proxy(a: &Leg, b: &Leg) -> bool {
    a.observer == b.observer
}

/// How a possible parent resembles the leg that left: `(strength of the shared key, still being served)`. `None`: not at all,
/// or it began later.
fn likeness(parent: &Call, leg: &Leg, slack_us: i64) -> Option<(u32, bool)> {
    parent
        .legs
        .iter()
        .filter(|s| s.side == Side::Server && s.start <= leg.start.plus_us(slack_us))
        .filter_map(|s| {
            let serving = s.end().plus_us(slack_us) >= leg.start;
            Some((shared_key(s, leg)?, serving))
        })
        .max()
}

fn shared_key(parent: &Leg, leg: &Leg) -> Option<u32> {
    let header = |l: &Leg| l.header.as_ref().map(|h| (h.trace_id, h.span_id));
    let same_request = leg.request_id.is_some() && parent.request_key() == leg.request_key();
    let same_header = leg.header.is_some() && header(parent) == header(leg);
    let same_trace = leg.trace_ids().any(|t| parent.trace_ids().any(|p| p == t));
    match (same_request, same_header, same_trace) {
        (true, ..) => Some(3),
        (_, true, _) => Some(2),
        (.., true) => Some(1),
        _ => None,
    }
}

fn covers(parent: &Call, at: Timestamp, slack_us: i64) -> bool {
    parent.start <= at.plus_us(slack_us) && parent.end().plus_us(slack_us) >= at
}
