//! Weighs every possible pair, lets the probable ones correct clocks, delays, losses and connections, and weighs again.

use super::belief::{Edge, marginals};
use super::delays::{Delays, EARLIEST_US, LATEST_US, Logarithms};
use super::features::{Feature, Features};
use super::offset::{Offset, Offsets};
use super::sweep::refine;
use super::ties::Ties;
use crate::correlate::compat::differ;
use std::collections::{BTreeMap, HashMap};

const ROUNDS: usize = 6;
/// Possible partners that are looked at, and kept, for one client leg and one server's proxy.
const LOOKED_AT: usize = 96;
const KEPT: usize = 16;
/// How often both sides of a call say the same: status and byte counts differ where a call was cut short (14 of 1,004 in
/// `fullstack-a`, 16 of 1,349 in `hop`); the authority never did.
const ALIKE: f64 = 0.985;
/// How often both sides name the same address of the callee where they name the same ones at all.
const SAME_ADDRESS: f64 = 0.998;
/// Share of lines that are lost, before anything is known, and within which bounds it is believed.
const LOSS: f64 = 0.05;
const LOSS_BOUNDS: (f64, f64) = (0.002, 0.98);
/// Pairs that tell the clocks' difference: sure ones, near the usual moment.
const SURE: f64 = 0.8;
const NEAR_US: f64 = 4_000.0;

/// A possible pair at the end.
pub struct Believed {
    pub client: usize,
    pub server: usize,
    pub probability: f64,
    pub late_us: f64,
}

/// All pairs that were possible, by client, and how far the clocks are apart.
pub fn believe(features: &Features, offsets: Offsets) -> (Vec<Believed>, Offsets) {
    let mut belief = Belief::new(features, offsets);
    for _ in 0..ROUNDS {
        belief.weigh();
        belief.correct();
    }
    let edges = belief.weigh();
    refine(&edges, &mut belief.probability, features.servers.len());
    let pairs = belief.candidates.iter().zip(&belief.probability);
    let believed = pairs.map(|(pair, p)| Believed {
        client: pair.client as usize,
        server: pair.server as usize,
        probability: *p,
        late_us: pair.late_us,
    });
    (believed.collect(), belief.offsets)
}

/// A client leg and a server leg that could be one call.
struct Candidate {
    client: u32,
    server: u32,
    late_us: f64,
    longer_ms: i64,
    /// What does not change from round to round, as a natural logarithm.
    alike: f64,
}

struct Belief<'a> {
    features: &'a Features,
    offsets: Offsets,
    delays: Delays,
    ties: Ties,
    candidates: Vec<Candidate>,
    probability: Vec<f64>,
    /// Share of a client's proxy's legs whose server leg is lost, and the other way round.
    unanswered: Vec<f64>,
    unasked: Vec<f64>,
}

impl<'a> Belief<'a> {
    fn new(features: &'a Features, offsets: Offsets) -> Self {
        let mut belief = Belief {
            features,
            offsets,
            delays: Delays::prior(),
            ties: Ties::none(features),
            candidates: Vec::new(),
            probability: Vec::new(),
            unanswered: vec![LOSS; features.observers],
            unasked: vec![LOSS; features.observers],
        };
        belief.candidates = belief.all_candidates();
        belief.probability = vec![0.0; belief.candidates.len()];
        belief
    }

    fn all_candidates(&self) -> Vec<Candidate> {
        let chance = Chance::new(self.features);
        let by_request = by_request(&self.features.servers);
        let delays = self.delays.logarithms();
        let mut candidates = Vec::new();
        for (place, client) in self.features.clients.iter().enumerate() {
            for (&(_, observer), offset) in
                self.offsets.range((client.observer, 0)..=(client.observer, u32::MAX))
            {
                let Some(servers) = by_request.get(&(observer, client.request)) else { continue };
                let mut near = self.near(place, client, servers, offset, &chance);
                near.sort_by(|a, b| {
                    let weight = |c: &Candidate| c.alike + delays.of(c.late_us, c.longer_ms);
                    weight(b).total_cmp(&weight(a)).then(a.server.cmp(&b.server))
                });
                near.truncate(KEPT);
                candidates.extend(near);
            }
        }
        candidates
    }

    fn near(
        &self,
        place: usize,
        client: &Feature,
        servers: &[u32],
        offset: &Offset,
        chance: &Chance,
    ) -> Vec<Candidate> {
        let usual = client.start_us as f64 + offset.when(client.start_us);
        let start = |s: u32| self.features.servers[s as usize].start_us as f64;
        let from = servers.partition_point(|s| start(*s) < usual + EARLIEST_US as f64);
        let within = servers[from..].iter().take_while(|s| start(**s) <= usual + LATEST_US as f64);
        let fitting = within.take(LOOKED_AT).filter_map(|&s| {
            let server = &self.features.servers[s as usize];
            let names_agree = !differ(&client.peer, &server.own) && !differ(&client.own, &server.peer);
            names_agree.then(|| Candidate {
                client: place as u32,
                server: s,
                late_us: server.start_us as f64 - usual,
                longer_ms: client.duration_ms - server.duration_ms,
                alike: chance.likeness(client, server, s),
            })
        });
        fitting.collect()
    }

    fn weigh(&mut self) -> Vec<Edge> {
        let delays = self.delays.logarithms();
        let edges: Vec<Edge> = (self.candidates.iter().zip(&self.probability))
            .map(|(pair, own)| Edge {
                client: pair.client,
                server: pair.server,
                weight: self.weight(pair, *own, &delays).clamp(-60.0, 60.0).exp(),
            })
            .collect();
        self.probability = marginals(&edges, self.features.servers.len());
        edges
    }

    fn weight(&self, pair: &Candidate, own: f64, delays: &Logarithms) -> f64 {
        let (client, server) = self.legs(pair);
        let lost = self.unanswered[client.observer as usize];
        let stray = self.unasked[server.observer as usize];
        pair.alike
            + delays.of(pair.late_us, pair.longer_ms)
            + self.ties.evidence(client.connection, server.connection, own)
            + ((1.0 - lost) / lost).ln()
            - stray.ln()
    }

    fn legs(&self, pair: &Candidate) -> (&'a Feature, &'a Feature) {
        (&self.features.clients[pair.client as usize], &self.features.servers[pair.server as usize])
    }

    /// Learns from what is probable now.
    fn correct(&mut self) {
        self.correct_offsets();
        (self.delays, self.ties) = (Delays::prior(), Ties::none(self.features));
        let features = self.features;
        let (mut answered, mut asked) = (Share::new(features.observers), Share::new(features.observers));
        features.clients.iter().for_each(|c| answered.of[c.observer as usize] += 1.0);
        features.servers.iter().for_each(|s| asked.of[s.observer as usize] += 1.0);
        for (pair, &p) in self.candidates.iter_mut().zip(&self.probability) {
            let (client, server) =
                (&features.clients[pair.client as usize], &features.servers[pair.server as usize]);
            if let Some(offset) = self.offsets.get(&(client.observer, server.observer)) {
                pair.late_us = (server.start_us - client.start_us) as f64 - offset.when(client.start_us);
            }
            self.delays.learn(pair.late_us, pair.longer_ms, p);
            self.ties.vote(client.connection, server.connection, p);
            answered.part[client.observer as usize] += p;
            asked.part[server.observer as usize] += p;
        }
        (self.unanswered, self.unasked) = (answered.missing(), asked.missing());
    }

    /// A straight line through the differences of the sure pairs, per pair of proxies.
    fn correct_offsets(&mut self) {
        let mut lines: BTreeMap<(u32, u32), Line> = BTreeMap::new();
        for (pair, &p) in self.candidates.iter().zip(&self.probability) {
            if p >= SURE && pair.late_us.abs() <= NEAR_US {
                let (client, server) = self.legs(pair);
                let proxies = (client.observer, server.observer);
                let at_us = self.offsets.get(&proxies).map_or(0, |o| o.at_us);
                let difference = (server.start_us - client.start_us) as f64;
                lines.entry(proxies).or_default().add((client.start_us - at_us) as f64, difference, p);
            }
        }
        for (proxies, line) in lines {
            if let Some(offset) = self.offsets.get_mut(&proxies) {
                (offset.offset_us, offset.drift) = line.fitted().unwrap_or((offset.offset_us, offset.drift));
            }
        }
    }
}

fn by_request(servers: &[Feature]) -> HashMap<(u32, u32), Vec<u32>> {
    let mut by_request: HashMap<(u32, u32), Vec<u32>> = HashMap::new();
    for (place, server) in servers.iter().enumerate() {
        by_request.entry((server.observer, server.request)).or_default().push(place as u32);
    }
    by_request
}

/// Sums by observer: how many legs there are, and how many of them have a partner.
struct Share {
    part: Vec<f64>,
    of: Vec<f64>,
}

impl Share {
    fn new(observers: usize) -> Self {
        Share { part: vec![0.0; observers], of: vec![0.0; observers] }
    }

    /// The share that has none, counting a score of legs of which [`LOSS`] have none.
    fn missing(&self) -> Vec<f64> {
        let missing = |(part, of): (&f64, &f64)| (of - part + 20.0 * LOSS) / (of + 20.0);
        self.part.iter().zip(&self.of).map(missing).map(|m| m.clamp(LOSS_BOUNDS.0, LOSS_BOUNDS.1)).collect()
    }
}

/// Weighted least squares of a difference over time.
#[derive(Default)]
struct Line {
    weight: f64,
    time: f64,
    difference: f64,
    time_squared: f64,
    product: f64,
}

/// Below this many pairs, or over a shorter time, a slope would be noise.
const SLOPE_FROM: f64 = 50.0;
/// Clocks that drift apart faster than this are taken not to drift.
const FASTEST: f64 = 500e-6;

impl Line {
    fn add(&mut self, time: f64, difference: f64, weight: f64) {
        self.weight += weight;
        self.time += weight * time;
        self.difference += weight * difference;
        self.time_squared += weight * time * time;
        self.product += weight * time * difference;
    }

    /// Value at time 0 and slope.
    fn fitted(&self) -> Option<(f64, f64)> {
        if self.weight < 3.0 {
            return None;
        }
        let (time, difference) = (self.time / self.weight, self.difference / self.weight);
        let spread = self.time_squared / self.weight - time * time;
        let together = self.product / self.weight - time * difference;
        let steep = self.weight >= SLOPE_FROM && spread > 1e12;
        let slope = if steep { together / spread } else { 0.0 };
        let slope = if slope.abs() <= FASTEST { slope } else { 0.0 };
        Some((difference - slope * time, slope))
    }
}

/// How likely a server leg looks like this by chance.
struct Chance {
    span_us: f64,
    request: Vec<f64>,
    kind: HashMap<u32, f64>,
    durations: HashMap<(u32, u32), f64>,
    duration: HashMap<u32, f64>,
    /// Server legs by the callee's address.
    at: HashMap<u32, f64>,
    all: f64,
    /// Server legs of the same request that begin within half a second, per microsecond.
    around: Vec<f64>,
}

/// Server legs that stand for the whole callee where a request is rare.
const FEW: f64 = 20.0;

impl Chance {
    fn new(features: &Features) -> Self {
        let mut chance = Chance {
            span_us: features.span_us(),
            request: vec![0.0; features.requests],
            kind: HashMap::new(),
            durations: HashMap::new(),
            duration: HashMap::new(),
            at: HashMap::new(),
            all: features.servers.len() as f64,
            around: around(features),
        };
        for server in &features.servers {
            let (place, _) = duration_place(server.duration_ms);
            chance.request[server.request as usize] += 1.0;
            *chance.kind.entry(server.kind).or_default() += 1.0;
            *chance.durations.entry((server.request, place)).or_default() += 1.0;
            *chance.duration.entry(place).or_default() += 1.0;
            server.at.into_iter().for_each(|at| *chance.at.entry(at).or_default() += 1.0);
        }
        chance
    }

    /// How much likelier the server leg's kind, duration and moment are if it is the client's than by chance, but for the
    /// densities of [`Delays`]; as a natural logarithm.
    fn likeness(&self, client: &Feature, server: &Feature, place: u32) -> f64 {
        let of_request = self.request[server.request as usize];
        let rate = of_request / self.span_us + self.around[place as usize];
        let (bin, width_ms) = duration_place(server.duration_ms);
        let anywhere = (self.duration.get(&bin).copied().unwrap_or(0.0) + 0.5) / (self.all + 0.5 * 40.0);
        let here = self.durations.get(&(server.request, bin)).copied().unwrap_or(0.0);
        let duration = (here + FEW * anywhere) / (of_request + FEW) / width_ms;
        agreement(client, server, self.kind.get(&server.kind).copied().unwrap_or(1.0) / of_request)
            + self.address(client, server)
            - rate.ln()
            - duration.ln()
    }

    fn address(&self, client: &Feature, server: &Feature) -> f64 {
        match (client.at, server.at) {
            (Some(sent), Some(came)) if sent == came => {
                let share = self.at.get(&came).copied().unwrap_or(1.0) / self.all;
                (SAME_ADDRESS / share + 1.0 - SAME_ADDRESS).ln()
            }
            (Some(_), Some(_)) => (1.0 - SAME_ADDRESS).ln(),
            _ => 0.0,
        }
    }
}

/// Same status, byte counts and authority, against how common this kind is among the request's server legs.
fn agreement(client: &Feature, server: &Feature, share: f64) -> f64 {
    let authority = if differ(&client.authority, &server.authority) { (1.0 - ALIKE).ln() } else { 0.0 };
    if client.kind == server.kind {
        return authority + (ALIKE / share + 1.0 - ALIKE).ln();
    }
    let differs = |differs: bool| if differs { (1.0 - ALIKE).ln() } else { 0.0 };
    authority
        + differs(client.status.is_some() && server.status.is_some() && client.status != server.status)
        + differs(known_and_other(client.sent_bytes, server.sent_bytes))
        + differs(known_and_other(client.received_bytes, server.received_bytes))
}

fn known_and_other(a: Option<u64>, b: Option<u64>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if a != b)
}

/// Durations up to 16 ms one by one, then in steps of about an eighth.
fn duration_place(duration_ms: i64) -> (u32, f64) {
    let ms = duration_ms.max(0) as u64;
    if ms < 16 {
        return (ms as u32, 1.0);
    }
    let power = ms.ilog2();
    let step = 1u64 << (power - 3);
    (16 + (power - 4) * 8 + ((ms >> (power - 3)) & 7) as u32, step as f64)
}

fn around(features: &Features) -> Vec<f64> {
    const HALF_US: i64 = 500_000;
    let mut starts: HashMap<u32, Vec<i64>> = HashMap::new();
    features.servers.iter().for_each(|s| starts.entry(s.request).or_default().push(s.start_us));
    let near = |server: &Feature| {
        let starts = &starts[&server.request];
        let from = starts.partition_point(|s| *s < server.start_us - HALF_US);
        let to = starts.partition_point(|s| *s <= server.start_us + HALF_US);
        (to - from - 1) as f64 / (2 * HALF_US) as f64
    };
    features.servers.iter().map(near).collect()
}
