//! The simulated world: visitors, Workers, gateways, sidecars, services and attackers, and what is true of their calls.
//!
//! `simulate` is a function of configuration and seed: no clock, no files. First everything that happens is decided, request by
//! request, with its times (`edge`, `mesh`, `endings`, `background`, `attacks`); then the requests get their connections, in the
//! order in which they were sent (`connections`); then every observer tells what it saw (`observers`). What a perfect judge would
//! say is noted where a thing happens (`truth`).

mod attacks;
mod background;
pub mod config;
mod connections;
mod dice;
pub mod distributions;
mod edge;
mod endings;
mod exchange;
pub mod headers;
mod mesh;
mod observers;
mod routes;
pub mod signature;
mod topology;
mod truth;
mod worker;

pub use config::{Config, PRESETS};

use crate::records::{CallNo, Record, TrueCall, WorkerEvent, ZoneRecord};
use dice::Dice;
use distributions::{BETWEEN_VISITORS_SIGMA, PATH_IDS, log_normal};
use edge::{Visit, Visitor};
use exchange::Exchange;
use headers::{Headers, TraceContext};
use signature::Signer;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use topology::{ServiceNo, Topology};
use truth::Ledger;

/// What happened, as it is told and as it was.
pub struct World {
    /// In the order in which they were written: a line is written when what it tells of has ended.
    pub records: Vec<Record>,
    pub calls: Vec<TrueCall>,
}

/// A request of the edge that an attacker may have seen.
#[derive(Debug, Clone)]
struct Past {
    /// As the first service received them.
    headers: Headers,
    start_us: i64,
    end_us: i64,
    /// Services that the trace has reached.
    touched: BTreeSet<ServiceNo>,
    /// Visitors send this trace with other requests, too: who will be called in it is not known yet.
    is_shared: bool,
}

/// How many requests an attacker has to choose from.
const REMEMBERED: usize = 64;

struct Sim<'a> {
    config: &'a Config,
    dice: Dice,
    topology: Topology,
    signer: Signer,
    people: Vec<Visitor>,
    ledger: Ledger,
    exchanges: Vec<Exchange>,
    events: Vec<WorkerEvent>,
    rows: Vec<ZoneRecord>,
    past: VecDeque<Past>,
    /// Services that the root at hand has reached so far.
    touched: BTreeSet<ServiceNo>,
    /// Headers that it has sent to gateways.
    sent: Vec<(Headers, CallNo)>,
    /// A header of another request that the first compromised service of the root at hand will send instead of the right one.
    swap: Option<Arc<headers::Signed>>,
}

pub fn simulate(config: &Config, seed: u64) -> World {
    let mut sim = Sim::new(config, seed);
    sim.run();
    let Sim { mut dice, topology, mut ledger, mut exchanges, events, rows, .. } = sim;
    connections::connect(&mut exchanges, &topology, config, &mut dice);
    ledger.finish(&exchanges, &topology);
    let records = observers::tell(&exchanges, events, rows, &topology, &mut dice);
    World { records, calls: ledger.calls }
}

impl<'a> Sim<'a> {
    fn new(config: &'a Config, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let topology = Topology::new(config, &mut dice);
        let signer = Signer::new(&config.rules.header_key, &config.rules.issuer);
        let people = (0..config.users.max(2))
            .map(|i| {
                let is_service = (i as f64) < config.service_token_share * config.users as f64;
                let kind = if is_service { "service" } else { "user" };
                Visitor { kind, subject: Arc::from(signer.subject(&format!("{kind}-{i}"))) }
            })
            .collect();
        Sim {
            config,
            dice,
            topology,
            signer,
            people,
            ledger: Ledger::default(),
            exchanges: Vec::new(),
            events: Vec::new(),
            rows: Vec::new(),
            past: VecDeque::new(),
            touched: BTreeSet::new(),
            sent: Vec::new(),
            swap: None,
        }
    }

    fn run(&mut self) {
        let mean_us = 1_000_000.0 / self.config.roots_per_second;
        let sigma = BETWEEN_VISITORS_SIGMA;
        let between = log_normal(mean_us / (sigma * sigma / 2.0).exp(), sigma);
        let mut at_us = self.config.start_us;
        while self.ledger.calls.len() < self.config.calls {
            let kind = self.dice.unit();
            if kind < self.config.attack_share && !self.config.attacks.is_empty() {
                let name = self.choose(|config| &config.attacks);
                self.attack(name, at_us);
            } else if kind < self.config.attack_share + self.config.background_share {
                let name = self.choose(|config| &config.background);
                self.background(name, at_us);
            } else {
                let name = self.choose(|config| &config.visitors);
                self.visitors(name, at_us);
            }
            at_us += self.dice.log_normal(between);
        }
    }

    fn choose(&mut self, of: impl Fn(&Config) -> &BTreeMap<String, f64>) -> &'static str {
        let weights = of(self.config);
        let place = self.dice.weighted(weights.values().copied());
        weights.keys().nth(place).and_then(|name| routes::known(name)).unwrap_or("orders")
    }

    fn id(&mut self) -> String {
        (100 + self.dice.below(PATH_IDS as usize)).to_string()
    }

    /// One visitor: perhaps refused first, perhaps with several requests in a trace of his own.
    fn visitors(&mut self, name: &str, at_us: i64) {
        let Some(route) = routes::visitor_route(name) else { return };
        let visitor = self.dice.one_of(&self.people).clone();
        let id = self.id();
        let inbound =
            self.dice.chance(self.config.inbound_trace_share).then(|| TraceContext::new(&mut self.dice));
        let is_shared = inbound.is_some() && self.dice.chance(self.config.shared_inbound_trace_share);
        let mut visit = Visit { route, at_us, visitor: Some(visitor), inbound, id: &id };
        if self.dice.chance(self.config.unauthenticated_share) {
            let refused = Visit { visitor: None, inbound: visit.inbound.clone(), ..visit };
            let answered_us = self.visit(&refused);
            if !self.dice.chance(self.config.retry_after_401_share) {
                return;
            }
            visit.at_us = answered_us + self.dice.between(150_000, 2_000_000);
        }
        self.visit(&visit);
        self.recall(is_shared);
        if is_shared {
            self.more_in_the_same_trace(&visit);
        }
    }

    fn more_in_the_same_trace(&mut self, first: &Visit) {
        let mut at_us = first.at_us;
        for _ in 0..self.dice.between(1, 3) {
            let name = self.choose(|config| &config.visitors);
            let Some(route) = routes::visitor_route(name) else { return };
            at_us += self.dice.between(2_000, 400_000);
            // One page, one trace; now and then a script with a token of its own sends it, too.
            let visitor = match self.dice.chance(0.15) {
                true => Some(self.dice.one_of(&self.people).clone()),
                false => first.visitor.clone(),
            };
            let inbound = first.inbound.as_ref().map(|t| t.child(&mut self.dice));
            let id = self.id();
            self.visit(&Visit { route, at_us, visitor, inbound, id: &id });
            self.recall(true);
        }
    }

    fn somebody_else(&mut self, than: &Visitor) -> Visitor {
        let others: Vec<&Visitor> = self.people.iter().filter(|p| p.subject != than.subject).collect();
        (*self.dice.one_of(&others)).clone()
    }

    /// Notes what a Worker sent to a gateway.
    fn remember(&mut self, sent: &Headers, call: CallNo) {
        self.sent.push((Headers { x_forwarded_for: None, ..sent.clone() }, call));
    }

    /// What the root at hand has sent is seen by attackers from now on.
    fn recall(&mut self, is_shared: bool) {
        let touched = self.touched.clone();
        for (headers, call) in std::mem::take(&mut self.sent) {
            let (start_us, end_us) = (self.ledger.calls[call].start_us, self.ledger.calls[call].end_us);
            self.past.push_back(Past { headers, start_us, end_us, touched: touched.clone(), is_shared });
        }
        while self.past.len() > REMEMBERED {
            self.past.pop_front();
        }
    }
}
