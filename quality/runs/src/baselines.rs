//! What others would make of the same lines.
//!
//! * **OpenTelemetry-style**: the service graph of the collector's `servicegraph` connector. A client span and a server span are one
//!   edge if they share trace id and span id (the server's parent span), and if both arrive within 10 seconds; what waits longer is
//!   forgotten. An access log has one span to offer: the parent id of the `traceparent` that both proxies logged, or the Worker's own
//!   span of the subrequest.
//! * **Trace-id group-by**: whatever names one trace id belongs together, and runs on behalf of the user at whose edge request the
//!   trace id was seen first.

use crate::judged;
use calltrail::model::{Leg, ObserverKind, Side, SpanId, Timestamp, TraceId};
use calltrail_score::export::ExportedPrincipal;
use calltrail_score::{Exported, ExportedLeg};
use std::collections::{BTreeMap, HashMap};

/// The connector's `store.ttl` in the terms.
const WAIT_US: i64 = 10_000_000;

/// Pairs by trace id and span id.
pub fn by_span(legs: &[Leg]) -> Vec<Exported> {
    let mut in_order: Vec<&Leg> = legs.iter().collect();
    in_order.sort_by_key(|l| (l.line.received_at, l.line.delivery, l.line.line));
    let mut waiting: HashMap<(TraceId, SpanId), Edge<'_>> = HashMap::new();
    let mut pairs = Vec::new();
    for leg in in_order {
        let Some(key) = span(leg) else { continue };
        let now = leg.line.received_at;
        let edge = waiting.entry(key).or_insert(Edge { since: now, client: None, server: None });
        if now > edge.since.plus_us(WAIT_US) {
            *edge = Edge { since: now, client: None, server: None };
        }
        match leg.side {
            Side::Client => edge.client = Some(leg),
            Side::Server => edge.server = Some(leg),
        }
        if let (Some(client), Some(server)) = (edge.client, edge.server) {
            pairs.push(joined(pairs.len(), [client, server].map(judged::leg).to_vec(), None));
            waiting.remove(&key);
        }
    }
    pairs
}

struct Edge<'a> {
    since: Timestamp,
    client: Option<&'a Leg>,
    server: Option<&'a Leg>,
}

fn span(leg: &Leg) -> Option<(TraceId, SpanId)> {
    let trace = leg.trace.as_ref()?;
    match leg.observer.kind {
        // The zone's rows are no spans.
        ObserverKind::Zone => None,
        ObserverKind::Worker if leg.side == Side::Client => Some((trace.trace_id, leg.span_id?)),
        ObserverKind::Worker => Some((trace.trace_id, leg.parent_span_id?)),
        ObserverKind::Gateway | ObserverKind::Sidecar => Some((trace.trace_id, trace.parent_id)),
    }
}

/// One "call" per trace, which holds all that names it.
pub fn traces(legs: &[Leg]) -> Vec<Exported> {
    let groups = by_trace(legs).into_values().map(|group| group.into_iter().map(judged::leg).collect());
    groups.enumerate().map(|(i, legs)| joined(i, legs, None)).collect()
}

/// Every leg by itself, with the user of its trace.
pub fn users_of_traces(legs: &[Leg]) -> Vec<Exported> {
    let mut all = Vec::new();
    for group in by_trace(legs).into_values() {
        let user = group
            .iter()
            .filter(|l| l.observer.kind == ObserverKind::Worker && l.edge_principal.is_some())
            .min_by_key(|l| l.start)
            .and_then(|l| l.edge_principal.as_ref())
            .map(|p| p.subject.clone());
        for leg in group {
            all.push(joined(all.len(), vec![judged::leg(leg)], user.clone()));
        }
    }
    all
}

fn by_trace(legs: &[Leg]) -> BTreeMap<TraceId, Vec<&Leg>> {
    let mut groups: BTreeMap<TraceId, Vec<&Leg>> = BTreeMap::new();
    for leg in legs {
        if let Some(trace) = &leg.trace {
            groups.entry(trace.trace_id).or_default().push(leg);
        }
    }
    groups
}

fn joined(number: usize, legs: Vec<ExportedLeg>, subject: Option<String>) -> Exported {
    Exported {
        id: number.to_string(),
        parent_id: None,
        parent_inferred: false,
        principal: subject.map(|subject| ExportedPrincipal { subject }),
        basis: "baseline".to_owned(),
        confidence: 1.0,
        ambiguous: 1,
        protocol: String::new(),
        legs,
        findings: Vec::new(),
        unmeasured: Vec::new(),
    }
}
