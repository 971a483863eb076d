//! What may go wrong between a program that logs and calltrail. The default: nothing, with the delays that Envoy and Logpush always have.

use serde::{Deserialize, Serialize};

/// Percentages are from 0 to 100.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Share of the lines of each source that are lost, one by one.
    pub loss_percent: PerSource,
    /// Periods in which a proxy or a whole source delivers nothing; what it would have sent is lost.
    pub outages: Vec<Outage>,
    /// The same, at moments and on proxies left to chance.
    pub random_outages: RandomOutages,
    /// Share of the lines that come a second time, in a later delivery.
    pub duplicate_lines_percent: f64,
    /// Share of the deliveries that come a second time, byte for byte.
    pub duplicate_deliveries_percent: f64,
    /// Share of the deliveries whose lines come a second time, cut into other deliveries.
    pub recut_deliveries_percent: f64,
    /// Share of the lines that come late, by up to `late_max_s`.
    pub late_lines_percent: f64,
    pub late_max_s: u32,
    /// Lines of one delivery are shuffled within windows of so many; 0 or 1: not at all.
    pub reorder_window_lines: usize,
    /// Deliveries are under way for up to so long, and so overtake each other.
    pub transit_max_s: f64,
    pub clock: ClockFaults,
    /// A Worker's time stands still between its I/O, as it does at Cloudflare.
    pub frozen_worker_clocks: bool,
    /// Logs and exceptions of a Worker's event share so many characters (Logpush: 16,384); `None`: no limit.
    pub truncate_worker_logs_chars: Option<usize>,
    /// Share of the mesh's lines that have no trace context, request id, ray, signed header or hop, as if none had been sent.
    pub strip_headers_percent: f64,
    /// Share of the proxies that log in Consul's default format.
    pub default_format_percent: f64,
    pub nat: Nat,
    /// How often an Envoy writes its buffer to its log.
    pub envoy_flush_s: u32,
    /// Length of Logpush's batches, shortest and longest.
    pub logpush_batch_s: (u32, u32),
    pub max_lines_per_delivery: usize,
}

impl Default for Faults {
    fn default() -> Self {
        Faults {
            loss_percent: PerSource::default(),
            outages: Vec::new(),
            random_outages: RandomOutages::default(),
            duplicate_lines_percent: 0.0,
            duplicate_deliveries_percent: 0.0,
            recut_deliveries_percent: 0.0,
            late_lines_percent: 0.0,
            late_max_s: 86_400,
            reorder_window_lines: 0,
            transit_max_s: 0.0,
            clock: ClockFaults::default(),
            frozen_worker_clocks: false,
            truncate_worker_logs_chars: None,
            strip_headers_percent: 0.0,
            default_format_percent: 0.0,
            nat: Nat::None,
            envoy_flush_s: 10,
            logpush_batch_s: (30, 60),
            max_lines_per_delivery: 5_000,
        }
    }
}

/// Who sends: the mesh's proxies, the Workers' events, the zone's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Mesh,
    Edge,
    Zone,
}

impl Source {
    pub fn name(self) -> &'static str {
        match self {
            Source::Mesh => "mesh",
            Source::Edge => "edge",
            Source::Zone => "zone",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PerSource {
    pub mesh: f64,
    pub edge: f64,
    pub zone: f64,
}

impl PerSource {
    pub fn same(percent: f64) -> Self {
        PerSource { mesh: percent, edge: percent, zone: percent }
    }

    pub fn of(&self, source: Source) -> f64 {
        match source {
            Source::Mesh => self.mesh,
            Source::Edge => self.edge,
            Source::Zone => self.zone,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// By node id.
    Proxy(String),
    Source(Source),
}

/// Lines that would have been sent from `from_us` on and before `to_us` are lost. True time, microseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outage {
    pub who: Who,
    pub from_us: i64,
    pub to_us: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomOutages {
    pub proxies: usize,
    pub sources: usize,
    pub seconds: u32,
}

/// What is wrong with the clocks of proxies. Each has an error of its own.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClockFaults {
    /// A fixed offset, uniform within plus and minus this.
    pub offset_max_s: f64,
    /// Gained or lost microseconds per second, uniform within plus and minus this.
    pub drift_max_ppm: f64,
    /// Moments at which each clock is set anew, wrongly, uniform within plus and minus `step_max_s` of what it was.
    pub steps: usize,
    pub step_max_s: f64,
}

/// What the callee's sidecar sees of the caller's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nat {
    /// The address itself.
    #[default]
    None,
    /// Another address, the same throughout a connection.
    PerConnection,
    /// Another address at each request: no NAT does that, but nothing is left to join by.
    PerRequest,
}
