//! What happens: one request after another, as numbers. No text is made here, so that millions of them fit in memory and can be
//! told in any order.

use super::Recipe;
use super::cast::Cast;
use super::pool::{Opened, Pool, Socket};
use calltrail_sim::world::distributions::{LogNormal, log_normal};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::HashMap;

#[derive(Debug, Clone, Copy)]
pub struct Request {
    pub trace_id: u128,
    pub request_id: u128,
    pub gateway_line: u128,
    pub service_line: u128,
    pub worker_span: u64,
    pub subrequest_span: u64,
    pub visitor_ray: u64,
    pub subrequest_ray: u64,
    pub service: u16,
    pub instance: u8,
    pub gateway: u8,
    pub principal: u32,
    pub route: u8,
    /// In the path.
    pub object: u32,
    pub outcome: Outcome,
    pub request_bytes: u32,
    pub response_bytes: u32,
    pub times: Times,
    /// Cloudflare's connection to the gateway, and the gateway's to the service.
    pub edge_socket: Socket,
    pub mesh_socket: Socket,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Status(u16),
    /// By an intention, at the service's sidecar.
    Denied,
}

/// Microseconds since the epoch, each as its observer sees it.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    pub event: i64,
    pub decided: i64,
    pub gateway_start: i64,
    pub gateway_end: i64,
    pub service_start: i64,
    pub service_end: i64,
    pub answered: i64,
    pub event_end: i64,
}

/// The requests in the order in which they begin.
pub struct Requests<'a> {
    cast: &'a Cast,
    dice: ChaCha8Rng,
    left: u64,
    clock_us: i64,
    between_us: f64,
    mesh_pools: HashMap<(u8, u16, u8), Pool>,
    edge_pools: HashMap<u8, Pool>,
    opened: HashMap<u8, Opened>,
    accepted: HashMap<(u16, u8), u64>,
    cloudflare: Opened,
    entered: HashMap<u8, u64>,
}

// Medians as in the simulator, where they were fitted to captures.
const DECIDING: LogNormal = log_normal(350.0, 0.5);
const TO_GATEWAY: LogNormal = log_normal(950.0, 0.35);
const TO_SERVICE: LogNormal = log_normal(385.0, 0.4);
const SERVING: LogNormal = log_normal(7_000.0, 0.8);
const REFUSING: LogNormal = log_normal(300.0, 0.4);
const BACK: LogNormal = log_normal(560.0, 0.3);
const TO_WORKER: LogNormal = log_normal(900.0, 0.35);
const ANSWERING: LogNormal = log_normal(300.0, 0.5);
/// A service that takes longer times out, which is not told here.
const SERVING_AT_MOST_US: i64 = 2_000_000;
const OBJECTS: f64 = 50_000.0;

impl<'a> Requests<'a> {
    pub fn new(cast: &'a Cast, recipe: &Recipe) -> Self {
        Requests {
            cast,
            dice: ChaCha8Rng::seed_from_u64(recipe.seed),
            left: recipe.requests,
            clock_us: recipe.start_us,
            between_us: 1_000_000.0 / recipe.requests_per_second,
            mesh_pools: HashMap::new(),
            edge_pools: HashMap::new(),
            opened: HashMap::new(),
            accepted: HashMap::new(),
            cloudflare: Opened::default(),
            entered: HashMap::new(),
        }
    }

    fn unit(&mut self) -> f64 {
        (self.dice.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn id(&mut self) -> u128 {
        (u128::from(self.dice.next_u64()) << 64) | u128::from(self.dice.next_u64())
    }

    fn time(&mut self, of: LogNormal) -> i64 {
        // Box and Muller's: the tail is what matters, and it is exact.
        let (a, b) = (self.unit(), self.unit());
        let normal = (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos();
        (of.median_us * (of.sigma * normal).exp()) as i64
    }

    fn outcome(&mut self) -> Outcome {
        match self.unit() {
            u if u < 0.005 => Outcome::Denied,
            u if u < 0.020 => Outcome::Status(500),
            u if u < 0.025 => Outcome::Status(503),
            u if u < 0.050 => Outcome::Status(404),
            u if u < 0.100 => Outcome::Status(201),
            _ => Outcome::Status(200),
        }
    }

    fn times(&mut self, event: i64, outcome: Outcome) -> Times {
        let decided = event + self.time(DECIDING);
        let gateway_start = decided + self.time(TO_GATEWAY);
        let service_start = gateway_start + self.time(TO_SERVICE);
        let serving = if outcome == Outcome::Denied { REFUSING } else { SERVING };
        let service_end = service_start + self.time(serving).min(SERVING_AT_MOST_US);
        let gateway_end = service_end + self.time(BACK);
        let answered = gateway_end + self.time(TO_WORKER);
        let event_end = answered + self.time(ANSWERING);
        Times { event, decided, gateway_start, gateway_end, service_start, service_end, answered, event_end }
    }

    fn edge_socket(&mut self, gateway: u8, times: &Times) -> Socket {
        let pool = self.edge_pools.entry(gateway).or_default();
        let entered = self.entered.entry(gateway).or_default();
        pool.take(times.gateway_start, times.gateway_end, &mut self.cloudflare, entered)
    }

    fn mesh_socket(&mut self, gateway: u8, service: u16, instance: u8, times: &Times) -> Socket {
        let pool = self.mesh_pools.entry((gateway, service, instance)).or_default();
        let opened = self.opened.entry(gateway).or_default();
        let accepted = self.accepted.entry((service, instance)).or_default();
        pool.take(times.gateway_start, times.gateway_end, opened, accepted)
    }
}

impl Iterator for Requests<'_> {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        self.left = self.left.checked_sub(1)?;
        // Visitors know nothing of each other: the gaps between them are exponential.
        self.clock_us += (-self.between_us * (1.0 - self.unit()).ln()) as i64;
        let (service, principal) = (self.unit(), self.unit());
        let service = self.cast.service_at(service) as u16;
        let instance = (self.unit() * self.cast.services[usize::from(service)].instances.len() as f64) as u8;
        let gateway = (self.unit() * self.cast.gateways.len() as f64) as u8;
        let outcome = self.outcome();
        let times = self.times(self.clock_us, outcome);
        Some(Request {
            trace_id: self.id(),
            request_id: self.id(),
            gateway_line: self.id(),
            service_line: self.id(),
            worker_span: self.dice.next_u64(),
            subrequest_span: self.dice.next_u64(),
            visitor_ray: self.dice.next_u64(),
            subrequest_ray: self.dice.next_u64(),
            service,
            instance,
            gateway,
            principal: self.cast.principal_at(principal) as u32,
            route: (self.unit() * 8.0) as u8,
            object: (self.unit() * OBJECTS) as u32,
            outcome,
            request_bytes: (self.unit() * 2_000.0) as u32,
            response_bytes: (self.unit() * 40_000.0) as u32,
            times,
            edge_socket: self.edge_socket(gateway, &times),
            mesh_socket: self.mesh_socket(gateway, service, instance, &times),
        })
    }
}
