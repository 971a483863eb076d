//! Simulated worlds: made, damaged, joined and scored one after the other on several threads, so that millions of calls never need more
//! memory than a few worlds.

use crate::captures::{self, Common};
use crate::clocks;
use crate::{derive, explain, judged};
use calltrail::correlate::Rules;
use calltrail::correlate::rules::{HeaderKey, KeyMaterial};
use calltrail::model::{Delivery, DeliveryId, Leg, Timestamp};
use calltrail_score::score::What;
use calltrail_score::{Exported, Labels, LineHash, RealCall, RealLine, Role, Score, Side, Tally, score};
use calltrail_sim::faults::{self, Change, Faults, Nat, Received};
use calltrail_sim::records::{self, TrueCall};
use calltrail_sim::truth::{self, Truth};
use calltrail_sim::world::{Config, simulate};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// Worlds of one kind: how they are made, and what happens to their lines.
#[derive(Debug, Clone)]
pub struct Plan {
    pub config: Config,
    pub faults: Faults,
    /// Tells calltrail of the outages, as an operator would in the rules file.
    pub declares_outages: bool,
    /// In the rules file: how far a clock may be off.
    pub skew_bound_us: Option<i64>,
}

/// A world as calltrail gets it, and the truth.
pub struct Input {
    pub deliveries: Vec<Delivery>,
    pub truth: Vec<RealCall>,
    pub rules: Rules,
    pub received: Received,
}

impl Plan {
    /// The `n`th world of a seed.
    pub fn world(&self, seed: u64, n: u32) -> Input {
        let (config, seed) = self.config.nth_world(seed, n);
        let world = simulate(&config, seed);
        let received = faults::apply(world.records, &self.faults, seed);
        let mut truth = real_calls(&Truth::of(&world.calls, &received));
        let deliveries = deliveries(&received);
        if self.faults.nat != Nat::None {
            // The world's own groups rest on the connection, which nobody can follow through a NAT.
            let stripped = self.faults.strip_headers_percent >= 100.0;
            let common = Common { headers: !stripped, sockets: false };
            captures::mark_equals(&mut truth, &derive::decode(&deliveries).0, |_| common);
        }
        let mut rules = rules(&config);
        if let Some(bound_us) = self.skew_bound_us {
            rules.skew_bound_us = bound_us;
        }
        if self.declares_outages {
            declare(&mut rules, &received);
        }
        Input { deliveries, truth, rules, received }
    }
}

/// What was made of the same lines by somebody else.
pub type Baseline = fn(&[Leg]) -> Vec<Exported>;

/// The verdict on many worlds: ours, and on each baseline.
#[derive(Default)]
pub struct Verdict {
    pub ours: Score,
    pub baselines: Vec<Score>,
    pub worlds: u32,
    pub rejects: usize,
    /// Calls whose bounds of the clocks' difference hold the true one, and those whose do not.
    pub clock_bounds: Tally,
    /// The first cases with their legs.
    pub explained: Vec<String>,
}

/// Which cases to explain, and how many of each world.
#[derive(Clone, Default)]
pub struct Show {
    pub what: Vec<What>,
    pub scenario: Option<String>,
    pub most: usize,
}

/// Runs `worlds` worlds of a plan. `threads` at a time are in memory.
pub fn run(
    plan: &Plan,
    seed: u64,
    worlds: u32,
    threads: usize,
    baselines: &[Baseline],
    show: &Show,
) -> Verdict {
    let next = AtomicU32::new(0);
    let total =
        Mutex::new(Verdict { baselines: vec![Score::default(); baselines.len()], ..Verdict::default() });
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= worlds {
                        return;
                    }
                    let one = run_one(plan, seed, n, baselines, show);
                    add(&mut total.lock().expect("a thread that scored a world panicked"), one);
                }
            });
        }
    });
    total.into_inner().expect("a thread that scored a world panicked")
}

fn run_one(plan: &Plan, seed: u64, n: u32, baselines: &[Baseline], show: &Show) -> Verdict {
    let input = plan.world(seed, n);
    let (legs, rejects) = derive::decode(&input.deliveries);
    let labels = Labels::own_names();
    let of_baseline = |baseline: &Baseline| score(&input.truth, &baseline(&legs), &labels);
    let baselines: Vec<Score> = baselines.iter().map(of_baseline).collect();
    let derived = derive::join(legs, &input.rules);
    let mut ours = score(&input.truth, &judged::exported(&derived, judged::AS_OF), &labels);
    ours.cases.iter_mut().for_each(|case| case.world = Some(n.into()));
    let wanted = |c: &&calltrail_score::Case| {
        show.what.contains(&c.what) && show.scenario.as_ref().is_none_or(|s| c.scenario == *s)
    };
    let cases = ours.cases.iter().filter(wanted).take(show.most);
    let explained =
        cases.map(|c| format!("world {n}: {}", explain::explain(c, &input.truth, &derived))).collect();
    ours.forget_cases();
    let clock_bounds = clocks::measure(&derived.calls, &input.received.clocks);
    Verdict { ours, baselines, worlds: 1, rejects, clock_bounds, explained }
}

fn add(total: &mut Verdict, one: Verdict) {
    total.ours.add(one.ours);
    total.baselines.iter_mut().zip(one.baselines).for_each(|(sum, score)| sum.add(score));
    total.worlds += one.worlds;
    total.rejects += one.rejects;
    total.clock_bounds.add(one.clock_bounds);
    total.explained.extend(one.explained);
}

/// What an operator of this world would have put in the rules file.
fn rules(config: &Config) -> Rules {
    let secret = KeyMaterial::HmacSha256(config.rules.header_key.clone().into_bytes());
    Rules {
        header_keys: vec![HeaderKey { key_id: None, secret }],
        edge_fronted: config.rules.edge_fronted.clone(),
        allowed_mesh_callers: config.rules.allowed_mesh_callers.clone(),
        ..Rules::default()
    }
}

fn declare(rules: &mut Rules, received: &Received) {
    use calltrail_sim::faults::Who;
    for outage in &received.outages {
        // A proxy is no source of its own: its operator can only declare the mesh's.
        let source = match &outage.who {
            Who::Proxy(_) => "mesh",
            Who::Source(source) => source.name(),
        };
        rules.outages.push(calltrail::correlate::rules::Outage {
            source: source.to_owned(),
            from: Timestamp(outage.from_us),
            to: Some(Timestamp(outage.to_us)),
        });
    }
}

/// The deliveries in the order in which they arrived.
fn deliveries(received: &Received) -> Vec<Delivery> {
    let of_a_delivery = received.lines.chunk_by(|a, b| a.delivery == b.delivery);
    let one = |(number, lines): (usize, &[faults::ReceivedLine])| {
        let first = &lines[0];
        // Only the default format does not say who wrote it; then the path of the upload does.
        let unnamed = first.changed.contains(&Change::DefaultFormat);
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(number as u64).to_be_bytes());
        Delivery {
            id: DeliveryId(id),
            source: first.source.to_owned(),
            proxy: first.proxy.as_ref().filter(|_| unnamed).map(|p| p.to_string()),
            received_at: Timestamp(first.received_at_us),
            lines: lines.iter().map(|l| l.text.as_bytes().to_vec()).collect(),
        }
    };
    of_a_delivery.enumerate().map(one).collect()
}

fn real_calls(truth: &Truth<'_>) -> Vec<RealCall> {
    truth.calls.iter().enumerate().map(|(number, call)| real_call(truth, number, call)).collect()
}

fn real_call(truth: &Truth<'_>, number: usize, call: &TrueCall) -> RealCall {
    RealCall {
        id: number.to_string(),
        kind: call.kind.clone(),
        caller: Some(call.caller.clone()),
        callee: Some(call.callee.clone()),
        path: call.path.clone(),
        parent: call.parent.map(|p| p.to_string()),
        root_kind: call.root_kind.clone(),
        scenario: call.scenario.clone(),
        principal: call.principal.clone(),
        principal_provable: truth.principal_provable(number),
        principal_hidden: truth.principal_hidden(number),
        findings: call.findings.iter().cloned().collect(),
        tainted_by: call.tainted_by.iter().cloned().collect(),
        interchangeable: call.interchangeable,
        parent_hop_is: None,
        lines: truth.legs_of(number).iter().map(real_line).collect(),
        lost: truth.lost_of(number).len(),
    }
}

fn real_line(leg: &truth::Leg) -> RealLine {
    let role = match leg.role {
        records::Role::WorkerHead => Role::WorkerHead,
        records::Role::WorkerRecord => Role::Worker,
        records::Role::WorkerEnvelope => Role::WorkerEnvelope,
        records::Role::ZoneEyeball => Role::ZoneEyeball,
        records::Role::ZoneSubrequest => Role::Zone,
        records::Role::Gateway => Role::Gateway,
        records::Role::Caller => Role::Caller,
        records::Role::Callee => Role::Callee,
    };
    let side = leg.side.map(|side| match side {
        truth::Side::Server => Side::Server,
        truth::Side::Client => Side::Client,
    });
    RealLine { sha256: LineHash(leg.sha256), role, span: leg.span.clone(), side }
}
