//! What a world is made of: how many calls, which scenarios in which proportion, which proxies can do what.
//!
//! Shares are between 0 and 1; weights are relative to each other. Names of scenarios are those of `TrueCall::scenario`.

use super::routes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// About how many calls: the last request is not cut.
    pub calls: usize,
    /// First visitor, microseconds since the epoch.
    pub start_us: i64,
    /// Number of this world among those that are read together: it sets addresses and names of proxies apart.
    pub world: u32,
    /// Requests of visitors and attackers and background jobs, per second.
    pub roots_per_second: f64,
    /// Weights of what visitors ask for.
    pub visitors: BTreeMap<String, f64>,
    /// Share of roots that are background jobs, and their weights.
    pub background_share: f64,
    pub background: BTreeMap<String, f64>,
    /// Share of roots that are attacks, and their weights.
    pub attack_share: f64,
    pub attacks: BTreeMap<String, f64>,
    /// Visitors without a valid token; how many of them come again with one.
    pub unauthenticated_share: f64,
    pub retry_after_401_share: f64,
    /// Visitors who use a service token.
    pub service_token_share: f64,
    pub users: usize,
    /// Visitors who send a traceparent of their own, and how many of those send it with several requests.
    pub inbound_trace_share: f64,
    pub shared_inbound_trace_share: f64,
    pub gateways: usize,
    pub instances_per_service: usize,
    /// Services whose proxies trace: each writes its own span over the application's.
    pub tracing_share: f64,
    /// Services whose proxies set, and print, a hop id. Of the others half print what comes along, if anybody sets one.
    pub hop_share: f64,
    /// Services whose applications hand on every header, the hop id too, of those that hand on the trace's.
    pub forwards_hop_share: f64,
    /// Requests of applications that claim another hop than the one they serve: an invented one, or an older one.
    pub false_hop_share: f64,
    /// The Worker sends a hop id of its own.
    pub worker_hop: bool,
    /// The zone's own records of requests and subrequests are delivered.
    pub zone_log: bool,
    /// HTTP/1.1 services speak HTTP/2 instead.
    pub all_http2: bool,
    /// Identical calls at once, or one after another, from one request.
    pub fan_out: (i64, i64),
    pub connections: Connections,
    pub rules: Rules,
}

/// How connections are used.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Connections {
    pub http2_per_pair: usize,
    /// An idle HTTP/1.1 connection is closed after this.
    pub idle_seconds: i64,
    /// A port rests this long before it is used again.
    pub port_rest_seconds: i64,
    /// Of new connections, those that take a port that has rested.
    pub port_reuse_share: f64,
}

/// What calltrail is told: the key that the Worker signs with, and the services that are reached only through the edge.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Throw-away key of a simulated lab.
    pub header_key: String,
    pub issuer: String,
    pub edge_fronted: Vec<String>,
    pub allowed_mesh_callers: Vec<String>,
}

impl Default for Connections {
    fn default() -> Self {
        Connections { http2_per_pair: 2, idle_seconds: 20, port_rest_seconds: 60, port_reuse_share: 0.5 }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            header_key: "trail-key-simulated".to_owned(),
            issuer: "https://idp.example.com/".to_owned(),
            edge_fronted: vec!["web".to_owned()],
            allowed_mesh_callers: Vec::new(),
        }
    }
}

impl Default for Config {
    /// Resembles `fullstack-a`: 336 visitors in 7.3 s, 10 % of them refused, 38 attacks, 25 background calls, one gateway; with
    /// everything that the capture lacks mixed in.
    fn default() -> Self {
        Config {
            calls: 20_000,
            start_us: 1_795_492_800_000_000,
            world: 0,
            roots_per_second: 50.0,
            visitors: weights(routes::VISITORS.iter().map(|r| (r.name, r.weight))),
            background_share: 0.06,
            background: weights(routes::BACKGROUND.iter().copied()),
            attack_share: 0.08,
            attacks: weights(routes::ATTACKS.iter().copied()),
            unauthenticated_share: 0.1,
            retry_after_401_share: 0.5,
            service_token_share: 0.3,
            users: 12,
            inbound_trace_share: 0.12,
            shared_inbound_trace_share: 0.5,
            gateways: 2,
            instances_per_service: 2,
            tracing_share: 0.2,
            hop_share: 0.0,
            forwards_hop_share: 0.6,
            false_hop_share: 0.0,
            worker_hop: false,
            zone_log: true,
            all_http2: false,
            fan_out: (2, 12),
            connections: Connections::default(),
            rules: Rules::default(),
        }
    }
}

fn weights<'a>(of: impl Iterator<Item = (&'a str, f64)>) -> BTreeMap<String, f64> {
    of.map(|(name, weight)| (name.to_owned(), weight)).collect()
}

/// What `Config::preset` knows.
pub const PRESETS: &[&str] =
    &["default", "http1", "http2-fanout", "hop", "mixed", "stripped", "attacks", "no-attacks"];

impl Config {
    pub fn preset(name: &str) -> Option<Self> {
        let base = Config::default();
        let quiet = |mut config: Config| {
            config.attack_share = 0.0;
            config.background.remove("copied_trace");
            config.background.remove("copied_header");
            config.visitors.remove("putoff_signed");
            config
        };
        let config = match name {
            "default" => base,
            "no-attacks" => quiet(base),
            "attacks" => Config { attack_share: 0.4, ..base },
            "http1" => {
                let mut config = base;
                config.visitors.retain(|name, _| !routes::HTTP2_ROUTES.contains(&name.as_str()));
                config
            }
            "http2-fanout" => Config { all_http2: true, fan_out: (8, 40), tracing_share: 0.0, ..base },
            "hop" => Config {
                hop_share: 1.0,
                false_hop_share: 0.01,
                forwards_hop_share: 0.8,
                worker_hop: true,
                all_http2: true,
                ..base
            },
            "mixed" => Config {
                hop_share: 0.5,
                false_hop_share: 0.02,
                tracing_share: 0.5,
                gateways: 1,
                worker_hop: true,
                ..base
            },
            // 1,000 calls a second between web and api.
            "stripped" => Config { roots_per_second: 1_000.0, ..quiet(base) },
            _ => return None,
        };
        Some(config)
    }

    /// The `n`th of many worlds that can be imported together, and its seed: an hour of its own,
    /// before the others so that none lies in the future, and addresses and names.
    pub fn nth_world(&self, seed: u64, n: u32) -> (Self, u64) {
        let start_us = self.start_us - i64::from(n) * 3_600_000_000;
        // Any odd constant spreads the numbers; this is the golden ratio's.
        let sub_seed = seed ^ u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (Config { start_us, world: self.world + n, ..self.clone() }, sub_seed)
    }

    /// What could not be simulated, in a sentence: a scenario that is not known would never occur.
    pub fn check(&self) -> Result<(), String> {
        let sets =
            [("visitors", &self.visitors), ("background", &self.background), ("attacks", &self.attacks)];
        for (name, set) in sets {
            if let Some(unknown) = set.keys().find(|key| routes::known(key).is_none()) {
                return Err(format!("{name}: there is no scenario named {unknown:?}"));
            }
        }
        if !self.roots_per_second.is_finite() || self.roots_per_second <= 0.0 {
            return Err("roots_per_second must be above 0".to_owned());
        }
        if self.fan_out.0 < 1 || self.fan_out.1 < self.fan_out.0 {
            return Err("fan_out must be two numbers, the smaller first, from 1 on".to_owned());
        }
        Ok(())
    }
}

impl Rules {
    /// The rules file with which calltrail is to read the world.
    pub fn as_toml(&self, seed: u64) -> String {
        let list = |names: &[String]| format!("{names:?}");
        format!(
            "# Rules for a simulated world (seed {seed}). A throw-away key.\n\n\
             [[header.key]]\nalgorithm = \"hmac-sha256\"\nsecret = {:?}\n\n\
             [edge]\nservices = {}\nallowed_mesh_callers = {}\n",
            self.header_key,
            list(&self.edge_fronted),
            list(&self.allowed_mesh_callers),
        )
    }
}
