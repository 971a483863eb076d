//! Made-up traffic between two services behind a network that rewrites addresses, as Consul's default format logs it, with the
//! truth beside it.
//!
//! What the lines look like is Envoy's; how calls arrive, wait and end is drawn from what the captures `fullstack-a` and `hop`
//! show: the quantiles below are theirs, in microseconds. It refuses to put anything on a line that Consul's default format
//! does not print.

use calltrail::decode::decode_delivery;
use calltrail::model::{Delivery, DeliveryId, Leg, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;

/// Start at the callee's proxy after the start at the caller's: 921 HTTP/1.1 calls of `fullstack-a`, without those that had to
/// make a connection first, which come on top.
const LATE_US: &[(f64, f64)] = &[
    (0.0, 78.0),
    (0.05, 154.0),
    (0.25, 223.0),
    (0.5, 317.0),
    (0.75, 752.0),
    (0.9, 1_458.0),
    (0.97, 3_200.0),
    (1.0, 6_000.0),
];
/// The same of 1,349 HTTP/2 calls of `hop`, most of them in a fan-out of 24 to 30 on two busy cores.
const LATE_BUSY_US: &[(f64, f64)] = &[
    (0.0, 155.0),
    (0.05, 275.0),
    (0.25, 1_000.0),
    (0.5, 1_789.0),
    (0.75, 3_142.0),
    (0.9, 5_267.0),
    (0.95, 7_653.0),
    (0.99, 19_651.0),
    (1.0, 21_223.0),
];
/// A new connection between two sidecars (TCP and TLS): the tail of the same captures.
const CONNECT_US: &[(f64, f64)] = &[(0.0, 4_000.0), (0.5, 7_000.0), (0.9, 11_000.0), (1.0, 14_000.0)];
/// End at the caller's proxy after the end at the callee's, read from the durations' rounding.
const BACK_US: &[(f64, f64)] = &[(0.0, 60.0), (0.5, 190.0), (0.9, 600.0), (0.99, 2_500.0), (1.0, 5_000.0)];
/// How long the callee took.
const WORK_US: &[(f64, f64)] = &[
    (0.0, 300.0),
    (0.05, 1_500.0),
    (0.25, 4_600.0),
    (0.5, 8_300.0),
    (0.75, 11_500.0),
    (0.9, 16_000.0),
    (0.95, 25_000.0),
    (0.99, 160_000.0),
    (1.0, 490_000.0),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Http1,
    Http2,
}

#[derive(Debug, Clone)]
pub struct Traffic {
    pub seed: u64,
    pub calls_per_second: f64,
    pub seconds: f64,
    pub wire: Wire,
    /// Share of calls that all ask for the same path and get the same bytes: 20 % in `fullstack-a`, 42 % in `hop`.
    pub identical: f64,
    /// The others ask for one of so many paths.
    pub paths: u32,
    pub loss: f64,
    /// Each proxy's clock is off by at most this.
    pub skew_us: f64,
    /// And runs fast or slow by at most this.
    pub drift_ppm: f64,
    pub callers: u32,
    pub instances: u32,
    /// Calls come in fan-outs of so many at once.
    pub fan_out: u32,
    pub nat: bool,
}

impl Default for Traffic {
    fn default() -> Self {
        Traffic {
            seed: 1,
            calls_per_second: 100.0,
            seconds: 60.0,
            wire: Wire::Http1,
            identical: 0.2,
            paths: 1_000,
            loss: 0.02,
            skew_us: 2_500_000.0,
            drift_ppm: 20.0,
            callers: 1,
            instances: 1,
            fan_out: 1,
            nat: true,
        }
    }
}

/// A line with the proxy that wrote it and the call that it is about.
#[derive(Debug, Clone)]
pub struct Line {
    pub proxy: String,
    pub json: String,
    pub call: u32,
}

/// 2026-11-24T04:00:00Z.
const BEGIN_US: f64 = 1_795_492_800_000_000.0;

impl Traffic {
    pub fn lines(&self) -> Vec<Line> {
        World::new(self).run()
    }
}

struct Connection {
    busy_until_us: f64,
    client_port: u16,
    nat_port: u16,
    instance: u32,
    uses: u32,
}

struct World<'a> {
    of: &'a Traffic,
    random: StdRng,
    /// Offset and drift by proxy.
    clocks: BTreeMap<String, (f64, f64)>,
    pools: BTreeMap<u32, Vec<Connection>>,
    next_port: u16,
}

impl<'a> World<'a> {
    fn new(of: &'a Traffic) -> Self {
        let mut random = StdRng::seed_from_u64(of.seed);
        let callers = (0..of.callers).map(caller);
        let names = callers.chain((0..of.instances).map(instance)).collect::<Vec<_>>();
        let mut clock = || {
            let ppm = random.random_range(-1.0..1.0) * of.drift_ppm;
            (random.random_range(-1.0..1.0) * of.skew_us, ppm / 1e6)
        };
        let clocks = names.into_iter().map(|name| (name, clock())).collect();
        World { of, random, clocks, pools: BTreeMap::new(), next_port: 0 }
    }

    fn run(mut self) -> Vec<Line> {
        let (mut at_us, mut lines, mut call) = (0.0, Vec::new(), 0);
        while at_us < self.of.seconds * 1e6 {
            let gap: f64 = -self.random.random_range(1e-9..1.0f64).ln();
            at_us += gap * 1e6 * f64::from(self.of.fan_out) / self.of.calls_per_second;
            let by = self.random.random_range(0..self.of.callers);
            for _ in 0..self.of.fan_out {
                let jitter = if self.of.fan_out > 1 { self.random.random_range(0.0..800.0) } else { 0.0 };
                self.call(&mut lines, call, by, at_us + jitter);
                call += 1;
            }
        }
        lines
    }

    fn call(&mut self, lines: &mut Vec<Line>, call: u32, by: u32, at_us: f64) {
        let (method, path, received, sent) = self.request();
        let late_table = if self.of.fan_out > 1 { LATE_BUSY_US } else { LATE_US };
        let late = self.draw(late_table);
        let (mut work, back) = (self.draw(WORK_US), self.draw(BACK_US));
        let status = match self.random.random_range(0..100) {
            0 => 503,
            1 | 2 => 404,
            _ => 200,
        };
        if status != 200 {
            work /= 4.0;
        }
        let (connection, connect) = self.connection(by, at_us, late + work);
        let served_at = at_us + connect + late;
        let (client_port, nat_port, to) = connection;
        let address = format!("10.1.0.{}:21000", 20 + to);
        let own = format!("10.2.0.{}:{client_port}", 10 + by);
        let seen = if self.of.nat { format!("192.168.7.1:{nat_port}") } else { own.clone() };
        let listener = if self.of.nat { format!("172.16.0.{}:20000", 20 + to) } else { address.clone() };
        let cluster = "api.default.dc1.internal.890dbd4a-f58f-4860-5088-1530ad7a115b.consul";
        let protocol = if self.of.wire == Wire::Http1 { "HTTP/1.1" } else { "HTTP/2" };
        let line = |start: String,
                    duration: i64,
                    down_local: &str,
                    down: &str,
                    cluster: &str,
                    host: &str,
                    local: &str| {
            serde_json::json!({
                "authority": "127.0.0.1:9191", "bytes_received": received, "bytes_sent": sent,
                "connection_termination_details": null, "downstream_local_address": down_local,
                "downstream_remote_address": down, "duration": duration, "method": method, "path": path,
                "protocol": protocol, "request_id": null, "requested_server_name": null, "response_code": status,
                "response_code_details": "via_upstream", "response_flags": "-", "route_name": null, "start_time": start,
                "upstream_cluster": cluster, "upstream_host": host, "upstream_local_address": local,
                "upstream_service_time": "8", "upstream_transport_failure_reason": null, "user_agent": "app/1.0",
                "x_forwarded_for": null
            })
            .to_string()
        };
        let took = |us: f64| (us / 1_000.0).floor() as i64;
        let client = line(
            self.told(&caller(by), at_us),
            took(connect + late + work + back),
            "127.0.0.1:9191",
            "127.0.0.1:40000",
            cluster,
            &address,
            &own,
        );
        let server = line(
            self.told(&instance(to), served_at),
            took(work),
            &listener,
            &seen,
            "local_app",
            "127.0.0.1:9002",
            "127.0.0.1:50002",
        );
        for (proxy, json) in [(caller(by), client), (instance(to), server)] {
            if self.random.random_range(0.0..1.0) >= self.of.loss {
                lines.push(Line { proxy, json, call });
            }
        }
    }

    fn request(&mut self) -> (&'static str, String, u64, u64) {
        if self.random.random_range(0.0..1.0) < self.of.identical {
            return ("GET", "/rates/current".to_owned(), 0, 28);
        }
        let id = self.random.random_range(0..self.of.paths.max(1));
        match id % 4 {
            0 => ("POST", "/stock.Stock/Reserve".to_owned(), u64::from(7 + id % 40), 7),
            1 => ("GET", format!("/orders/{id}"), 0, u64::from(300 + id * 7 % 900)),
            2 => ("GET", format!("/invoices/{id}"), 0, 28),
            _ => ("GET", "/items".to_owned(), 0, u64::from(1_000 + id * 13 % 4_000)),
        }
    }

    /// A pooled connection's ends (own port, port after the network's rewriting, instance), and what making it took.
    fn connection(&mut self, by: u32, at_us: f64, busy_us: f64) -> ((u16, u16, u32), f64) {
        let shared = self.of.wire == Wire::Http2;
        let pool = self.pools.entry(by).or_default();
        let free = pool.iter().rposition(|c| (shared || c.busy_until_us <= at_us) && c.uses < 10_000);
        let enough = !shared || pool.len() >= self.of.instances as usize;
        let (place, connect) = match free.filter(|_| enough) {
            Some(place) if shared => {
                let some = self.random.random_range(0..pool.len());
                (if pool[some].uses < 10_000 { some } else { place }, 0.0)
            }
            Some(place) => (place, 0.0),
            None => {
                self.next_port = self.next_port.wrapping_add(1) % 28_000;
                let made = Connection {
                    busy_until_us: 0.0,
                    client_port: 32_000 + self.next_port,
                    nat_port: 1_024 + self.random.random_range(0..60_000),
                    instance: self.random.random_range(0..self.of.instances),
                    uses: 0,
                };
                pool.push(made);
                (pool.len() - 1, quantile(CONNECT_US, self.random.random_range(0.0..1.0)))
            }
        };
        let pool = self.pools.get_mut(&by).expect("just asked for");
        let connection = &mut pool[place];
        connection.uses += 1;
        connection.busy_until_us = at_us + connect + busy_us + 1_000.0;
        ((connection.client_port, connection.nat_port, connection.instance), connect)
    }

    fn draw(&mut self, table: &[(f64, f64)]) -> f64 {
        quantile(table, self.random.random_range(0.0..1.0))
    }

    /// The time as the proxy's clock tells it and its format prints it.
    fn told(&self, proxy: &str, at_us: f64) -> String {
        let (offset, drift) = self.clocks[proxy];
        let us = BEGIN_US + at_us * (1.0 + drift) + offset;
        let ms = (us / 1_000.0).floor() as i64;
        let time = chrono::DateTime::from_timestamp_millis(ms).expect("a time of this century");
        time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    }
}

fn caller(n: u32) -> String {
    if n == 0 { "web-sidecar-proxy".to_owned() } else { format!("web{n}-sidecar-proxy") }
}

/// The second instance's proxy has the service's name for an id only if its operator gave it one.
fn instance(n: u32) -> String {
    if n == 0 { "api-sidecar-proxy".to_owned() } else { format!("api-{n}-sidecar-proxy") }
}

/// Linear between the quantiles.
fn quantile(table: &[(f64, f64)], at: f64) -> f64 {
    let next = table.partition_point(|(q, _)| *q < at).clamp(1, table.len() - 1);
    let ((q0, v0), (q1, v1)) = (table[next - 1], table[next]);
    v0 + (v1 - v0) * (at - q0) / (q1 - q0)
}

/// A delivery of lines of one proxy.
pub fn delivery(proxy: &str, lines: &[&Line], id: DeliveryId, received_at: Timestamp) -> Delivery {
    Delivery {
        id,
        source: "mesh".to_owned(),
        proxy: Some(proxy.to_owned()),
        received_at,
        lines: lines.iter().map(|l| l.json.clone().into_bytes()).collect(),
    }
}

/// The legs of all lines, each with its call, through the decoder.
pub fn legs(lines: &[Line]) -> Vec<(Leg, u32)> {
    let mut by_proxy: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
    lines.iter().for_each(|l| by_proxy.entry(&l.proxy).or_default().push(l));
    let mut legs = Vec::new();
    for (proxy, lines) in by_proxy {
        let decoded = decode_delivery(&delivery(proxy, &lines, DeliveryId([0; 32]), Timestamp(0)), 1);
        assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects.first());
        legs.extend(decoded.legs.into_iter().zip(lines.iter().map(|l| l.call)));
    }
    legs.sort_by_key(|(leg, _)| (leg.start, leg.id));
    legs
}
