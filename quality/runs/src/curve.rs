//! What one large trace costs: time of the join by the number of its legs.

use crate::captures::{self, Capture};
use crate::derive;
use calltrail::correlate::Rules;
use calltrail::model::{Leg, LegId, ObserverKind, Protocol, Side, TraceId};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A trace that would take longer than this, if its cost grew with the square of its legs, is not tried.
const PATIENCE: Duration = Duration::from_secs(25);

pub struct Point {
    pub legs: usize,
    pub took: Duration,
}

pub struct Curve {
    pub shape: &'static str,
    pub points: Vec<Point>,
}

impl Curve {
    /// How many times more than n log n a trace costs, measured from the second point: below that, what is fixed counts most.
    pub fn over_n_log_n(&self, point: &Point) -> f64 {
        let Some(first) = self.points.get(1) else { return 1.0 };
        let n_log_n = |p: &Point| p.legs as f64 * (p.legs as f64).ln();
        (point.took.as_secs_f64() / first.took.as_secs_f64()) / (n_log_n(point) / n_log_n(first))
    }
}

/// Two real shapes, made as large as asked for.
pub fn measure(fullstack: &Capture, hop: &Capture, sizes: &[usize]) -> Vec<Curve> {
    let batch = busiest_trace(&derive::decode(&captures::deliveries(&fullstack.files)).0);
    let mut same = identical_pair(&derive::decode(&captures::deliveries(&hop.files)).0);
    same.iter_mut().for_each(|leg| (leg.hop, leg.parent_hop) = (None, None));
    vec![
        curve(
            "the busiest real request, repeated within one trace on other connections",
            &batch,
            true,
            sizes,
        ),
        curve(
            "one identical request after the other on one HTTP/2 connection, no hop id",
            &same,
            false,
            sizes,
        ),
    ]
}

fn curve(shape: &'static str, pattern: &[Leg], moves: bool, sizes: &[usize]) -> Curve {
    let mut points: Vec<Point> = Vec::new();
    for &size in sizes {
        let grown = |p: &Point| p.took.mul_f64((size as f64 / p.legs as f64).powi(2));
        if points.last().is_some_and(|p| grown(p) > PATIENCE) {
            break;
        }
        let legs = repeated(pattern, size, moves);
        let started = Instant::now();
        let count = derive::join(legs, &Rules::default()).calls.len();
        assert!(count > 0, "a trace of {size} legs has no calls");
        points.push(Point { legs: size, took: started.elapsed() });
    }
    Curve { shape, points }
}

/// Copies of the pattern, 2 ms apart, each leg with an id of its own; where `moves`, on connections of their own.
fn repeated(pattern: &[Leg], legs: usize, moves: bool) -> Vec<Leg> {
    let copy = |n: usize| {
        let (round, place) = (n / pattern.len(), n % pattern.len());
        let mut leg = pattern[place].clone();
        let mut id = leg.id.0;
        id[..8].copy_from_slice(&(round as u64).to_be_bytes());
        leg.id = LegId(id);
        leg.start = leg.start.plus_us(round as i64 * 2_000);
        leg.made_by = leg.made_by.map(|by| {
            let mut id = by.0;
            id[..8].copy_from_slice(&(round as u64).to_be_bytes());
            LegId(id)
        });
        if let Some(socket) = leg.socket.as_mut().filter(|_| moves) {
            socket.client = format!("{}.{round}", socket.client);
        }
        leg
    };
    (0..legs).map(copy).collect()
}

fn busiest_trace(legs: &[Leg]) -> Vec<Leg> {
    let mut by_trace: HashMap<TraceId, Vec<Leg>> = HashMap::new();
    // The edge's legs are one of a kind: what repeats in one trace are calls of the mesh.
    for leg in legs.iter().filter(|l| matches!(l.observer.kind, ObserverKind::Sidecar)) {
        if let Some(trace) = &leg.trace {
            by_trace.entry(trace.trace_id).or_default().push(leg.clone());
        }
    }
    by_trace.into_values().max_by_key(|legs| (legs.len(), legs[0].id)).unwrap_or_default()
}

/// Both ends of one call on an HTTP/2 connection.
fn identical_pair(legs: &[Leg]) -> Vec<Leg> {
    let of = |side: Side| {
        move |l: &&Leg| {
            l.side == side && l.hop.is_some() && l.protocol == Protocol::Http2 && l.socket.is_some()
        }
    };
    let server = |client: &Leg| {
        legs.iter()
            .filter(of(Side::Server))
            .find(|s| s.hop == client.hop && s.observer != client.observer)
            .cloned()
    };
    let sidecars = legs.iter().filter(of(Side::Client)).filter(|l| l.observer.kind == ObserverKind::Sidecar);
    let pair = sidecars.filter_map(|client| Some(vec![client.clone(), server(client)?])).next();
    pair.unwrap_or_default()
}
