//! The counters behind `/metrics`, and the same numbers through OpenTelemetry where an exporter is set up. Names and labels come
//! from [`super::names`] and from nowhere else.

use super::names;
use crate::model::RejectReason;
use opentelemetry::KeyValue;
use opentelemetry::metrics as otel;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

type Labels = Vec<(&'static str, String)>;
type Counters = Family<Labels, Counter>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// Sources with a label value of their own.
const MAX_SOURCES: usize = 256;

/// What the store holds, as the caller read it just now.
#[derive(Debug, Clone, Copy, Default)]
pub struct Held {
    pub deliveries: u64,
    pub lines: u64,
    pub calls: u64,
    pub findings: u64,
    pub rejects: u64,
    /// The correlator's.
    pub position: u64,
}

/// All counters of one server.
pub struct Metrics {
    registry: Registry,
    sources: Mutex<BTreeSet<String>>,
    deliveries: Both,
    lines: Both,
    bytes: Both,
    rejected: Both,
    requests: Both,
    commit: Histogram,
    commit_otel: otel::Histogram<f64>,
    request_duration: Histograms,
    request_duration_otel: otel::Histogram<f64>,
    totals: TotalGauges,
}

/// A counter in both worlds.
struct Both {
    scraped: Counters,
    pushed: otel::Counter<u64>,
}

struct TotalGauges {
    deliveries: Gauge,
    lines: Gauge,
    calls: Gauge,
    findings: Gauge,
    rejects: Gauge,
    position: Gauge,
    lag: Gauge,
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_5, 2.0, 16))
}

fn register<M: Metric + Clone>(registry: &mut Registry, name: names::MetricName, metric: M) -> M {
    registry.register(name.registered(), name.help, metric.clone());
    metric
}

impl Both {
    fn new(registry: &mut Registry, meter: &otel::Meter, name: names::MetricName) -> Self {
        Both {
            scraped: register(registry, name, Counters::default()),
            pushed: meter.u64_counter(name.registered()).with_description(name.help).build(),
        }
    }

    fn add(&self, labels: Labels, n: u64) {
        let attributes: Vec<KeyValue> = labels.iter().map(|(k, v)| KeyValue::new(*k, v.clone())).collect();
        self.scraped.get_or_create(&labels).inc_by(n);
        self.pushed.add(n, &attributes);
    }
}

impl TotalGauges {
    fn new(registry: &mut Registry) -> Self {
        let mut gauge = |name| register(registry, name, Gauge::default());
        TotalGauges {
            deliveries: gauge(names::STORED_DELIVERIES),
            lines: gauge(names::STORED_LINES),
            calls: gauge(names::STORED_CALLS),
            findings: gauge(names::STORED_FINDINGS),
            rejects: gauge(names::STORED_REJECTS),
            position: gauge(names::POSITION),
            lag: gauge(names::LAG),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Set up OpenTelemetry first: the instruments belong to the meter that is global at this moment.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let meter = opentelemetry::global::meter("calltrail");
        let mut both = |name| Both::new(&mut registry, &meter, name);
        let (deliveries, lines, bytes) = (both(names::DELIVERIES), both(names::LINES), both(names::BYTES));
        let (rejected, requests) = (both(names::REJECTED), both(names::REQUESTS));
        let histogram = |name: names::MetricName| {
            meter.f64_histogram(name.name).with_unit("s").with_description(name.help).build()
        };
        Metrics {
            deliveries,
            lines,
            bytes,
            rejected,
            requests,
            commit: register(&mut registry, names::COMMIT, seconds()),
            commit_otel: histogram(names::COMMIT),
            request_duration: register(
                &mut registry,
                names::REQUEST_DURATION,
                Histograms::new_with_constructor(seconds),
            ),
            request_duration_otel: histogram(names::REQUEST_DURATION),
            totals: TotalGauges::new(&mut registry),
            registry,
            sources: Mutex::default(),
        }
    }

    fn source(&self, name: &str) -> (&'static str, String) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.contains(name) || (sources.len() < MAX_SOURCES && sources.insert(name.to_owned())) {
            return ("source", name.to_owned());
        }
        ("source", names::OTHER_SOURCES.to_owned())
    }

    /// An upload was acknowledged.
    pub fn delivered(&self, source: &str, duplicate: bool, lines: u64, body_bytes: u64) {
        let source = self.source(source);
        let result = names::RESULTS[usize::from(duplicate)].to_owned();
        self.deliveries.add(vec![source.clone(), ("result", result)], 1);
        if !duplicate {
            self.lines.add(vec![source.clone()], lines);
            self.bytes.add(vec![source], body_bytes);
        }
    }

    pub fn rejected(&self, source: &str, reason: RejectReason, lines: u64) {
        self.rejected.add(vec![self.source(source), ("reason", reason.to_string())], lines);
    }

    pub fn committed(&self, took: Duration) {
        self.commit.observe(took.as_secs_f64());
        self.commit_otel.record(took.as_secs_f64(), &[]);
    }

    pub fn answered(&self, route: &str, method: &str, status: u16, took: Duration) {
        let labels =
            vec![("route", route.to_owned()), ("method", method.to_owned()), ("status", status.to_string())];
        self.requests.add(labels, 1);
        let route = route.to_owned();
        self.request_duration_otel.record(took.as_secs_f64(), &[KeyValue::new("route", route.clone())]);
        self.request_duration.get_or_create(&vec![("route", route)]).observe(took.as_secs_f64());
    }

    /// What the store holds at this moment, then everything in the OpenMetrics text format.
    pub fn scrape(&self, held: &Held) -> String {
        let set = |gauge: &Gauge, n: u64| gauge.set(i64::try_from(n).unwrap_or(i64::MAX));
        set(&self.totals.deliveries, held.deliveries);
        set(&self.totals.lines, held.lines);
        set(&self.totals.calls, held.calls);
        set(&self.totals.findings, held.findings);
        set(&self.totals.rejects, held.rejects);
        set(&self.totals.position, held.position);
        set(&self.totals.lag, held.deliveries.saturating_sub(held.position));
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Writing to a String does not fail; an empty scrape would hide it if it ever did.
            Err(error) => format!("# cannot encode: {error}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used() -> String {
        let metrics = Metrics::new();
        metrics.delivered("mesh", false, 3, 900);
        metrics.delivered("mesh", true, 3, 900);
        metrics.rejected("mesh", RejectReason::NotJson, 1);
        metrics.committed(Duration::from_millis(2));
        metrics.answered("/v1/calls", "GET", 200, Duration::from_millis(1));
        metrics.scrape(&Held { deliveries: 5, position: 3, ..Held::default() })
    }

    #[test]
    fn everything_that_is_scraped_stands_in_the_list_and_the_other_way_round() {
        let text = used();
        let scraped: BTreeSet<&str> =
            text.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let listed: BTreeSet<&str> = names::ALL.iter().map(|m| m.registered()).collect();
        assert_eq!(scraped, listed);
    }

    #[test]
    fn a_duplicate_is_counted_once_as_such_and_adds_no_lines() {
        let text = used();
        assert!(text.contains("calltrail_ingest_lines_total{source=\"mesh\"} 3"), "{text}");
        assert!(text.contains("{source=\"mesh\",result=\"duplicate\"} 1"), "{text}");
        assert!(text.contains("calltrail_correlator_lag_deliveries 2"), "{text}");
    }

    #[test]
    fn an_open_server_that_is_sent_endless_names_keeps_its_labels_bounded() {
        let metrics = Metrics::new();
        (0..2 * MAX_SOURCES).for_each(|n| metrics.delivered(&format!("s{n}"), false, 1, 1));
        let text = metrics.scrape(&Held::default());
        assert!(text.contains("calltrail_ingest_lines_total{source=\"other\"} 256"), "{text}");
    }
}
