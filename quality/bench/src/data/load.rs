//! The requests as a live load: lines in the order in which they would arrive, in batches of one sender each.
//!
//! A proxy flushes its log every 10 s, Logpush sends after 30 to 60 s: mesh lines come 0 to 10 s after the request has ended, Worker
//! lines 30 to 60 s. Lateness is by the lines' own clock.

use super::cast::Cast;
use super::files::gzip;
use super::request::{Request, Requests};
use super::spans;
use super::tell::Teller;
use super::{LINES, Recipe};
use anyhow::Result;

pub struct Batch {
    /// Name of the source.
    pub source: &'static str,
    pub lines: usize,
    /// Compressed.
    pub body: Vec<u8>,
    /// Trace of a line before which nothing of its request has come.
    pub first_of_trace: Option<u128>,
}

#[derive(Clone, Copy, PartialEq)]
enum Line {
    Worker,
    Gateway,
    Service,
}

const MESH_LATE_US: u64 = 10_000_000;
const WORKER_LATE_US: (u64, u64) = (30_000_000, 60_000_000);
pub const MESH: &str = "mesh";
pub const WORKER: &str = "logpush-workers";

/// What the senders send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Lines,
    /// The same as spans for Zipkin, one for each line.
    Spans,
}

/// Everything is made before the load begins, so that making it costs the server nothing.
pub fn batches(cast: &Cast, recipe: &Recipe, lines_per_batch: usize, form: Form) -> Result<Vec<Batch>> {
    let requests: Vec<Request> = Requests::new(cast, recipe).collect();
    let mut arrivals: Vec<(i64, u32, Line)> = Vec::with_capacity(requests.len() * LINES as usize);
    for (place, request) in (0u32..).zip(&requests) {
        for line in [Line::Worker, Line::Gateway, Line::Service] {
            arrivals.push((arrives(request, line), place, line));
        }
    }
    arrivals.sort_unstable_by_key(|(at_us, place, _)| (*at_us, *place));
    let plans = cut(&arrivals, lines_per_batch);
    fill_all(cast, &requests, &plans, form)
}

fn arrives(of: &Request, line: Line) -> i64 {
    // Bits that nothing else depends on.
    let (end_us, (low, high), dice) = match line {
        Line::Worker => (of.times.event_end, WORKER_LATE_US, of.worker_span),
        Line::Gateway => (of.times.gateway_end, (0, MESH_LATE_US), of.subrequest_span),
        Line::Service => (of.times.service_end, (0, MESH_LATE_US), of.visitor_ray),
    };
    end_us + (low + dice % (high - low)) as i64
}

type Plan = (&'static str, Vec<(u32, Line)>);

/// Mesh and Worker lines in batches of their own, ordered by when the last line of each is there.
fn cut(arrivals: &[(i64, u32, Line)], lines_per_batch: usize) -> Vec<Plan> {
    let (mut plans, mut open): (Vec<Plan>, [Vec<(u32, Line)>; 2]) = Default::default();
    for (_, place, line) in arrivals {
        let is_worker = *line == Line::Worker;
        let batch = &mut open[usize::from(is_worker)];
        batch.push((*place, *line));
        if batch.len() == lines_per_batch {
            plans.push((source(is_worker), std::mem::take(batch)));
        }
    }
    for (is_worker, batch) in [false, true].into_iter().zip(open).filter(|(_, batch)| !batch.is_empty()) {
        plans.push((source(is_worker), batch));
    }
    plans
}

fn source(is_worker: bool) -> &'static str {
    if is_worker { WORKER } else { MESH }
}

fn fill_all(cast: &Cast, requests: &[Request], plans: &[Plan], form: Form) -> Result<Vec<Batch>> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let share = plans.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let parts: Vec<_> = plans
            .chunks(share)
            .map(|part| {
                scope.spawn(move || part.iter().map(|plan| fill(cast, requests, plan, form)).collect())
            })
            .collect();
        let mut all = Vec::with_capacity(plans.len());
        for part in parts {
            let part: Result<Vec<Batch>> = part.join().expect("a maker does not panic");
            all.extend(part?);
        }
        Ok(all)
    })
}

fn fill(cast: &Cast, requests: &[Request], (source, lines): &Plan, form: Form) -> Result<Batch> {
    let teller = Teller::new(cast);
    let told: Vec<String> =
        lines.iter().map(|(place, line)| tell(&teller, &requests[*place as usize], *line, form)).collect();
    let first_of_trace =
        lines.iter().rev().find_map(|(place, line)| first_of(&requests[*place as usize], *line));
    let body = match form {
        Form::Lines => gzip(told.iter().map(String::as_str))?,
        Form::Spans => gzip(std::iter::once(format!("[{}]", told.join(",")).as_str()))?,
    };
    Ok(Batch { source, lines: lines.len(), body, first_of_trace })
}

fn tell(teller: &Teller, request: &Request, line: Line, form: Form) -> String {
    match (form, line) {
        (Form::Lines, Line::Worker) => teller.worker_line(request),
        (Form::Lines, Line::Gateway) => teller.gateway_line(request),
        (Form::Lines, Line::Service) => teller.service_line(request),
        (Form::Spans, Line::Worker) => spans::worker(teller, request),
        (Form::Spans, Line::Gateway) => spans::gateway(teller, request),
        (Form::Spans, Line::Service) => spans::service(teller, request),
    }
}

fn first_of(request: &Request, line: Line) -> Option<u128> {
    let others = [Line::Worker, Line::Gateway, Line::Service].into_iter().filter(|other| *other != line);
    let is_first = others.map(|other| arrives(request, other)).all(|at_us| at_us > arrives(request, line));
    is_first.then_some(request.trace_id)
}
