//! Every metric of ours, in one list: name, kind, labels, what it counts. `docs/metrics.md` is this list as a table, and a test
//! holds the two together.

/// One metric as `/metrics` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricName {
    /// As scraped, with the suffix of its kind.
    pub name: &'static str,
    pub kind: &'static str,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

const fn metric(
    name: &'static str,
    kind: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricName {
    MetricName { name, kind, labels, help }
}

pub const DELIVERIES: MetricName = metric(
    "calltrail_ingest_deliveries_total",
    "counter",
    &["source", "result"],
    "Uploads that were acknowledged: stored, or duplicate of one stored before",
);
pub const LINES: MetricName =
    metric("calltrail_ingest_lines_total", "counter", &["source"], "Lines of the uploads that were stored");
pub const BYTES: MetricName = metric(
    "calltrail_ingest_body_bytes_total",
    "counter",
    &["source"],
    "Bytes of the uploads that were stored, after decompression",
);
pub const REJECTED: MetricName = metric(
    "calltrail_ingest_rejected_lines_total",
    "counter",
    &["source", "reason"],
    "Lines that are kept as evidence and could not be read",
);
pub const COMMIT: MetricName = metric(
    "calltrail_ingest_commit_duration_seconds",
    "histogram",
    &[],
    "From the hand-over of an upload to the writer until it was durable",
);
pub const REQUESTS: MetricName = metric(
    "calltrail_http_requests_total",
    "counter",
    &["route", "method", "status"],
    "HTTP requests that were answered",
);
pub const REQUEST_DURATION: MetricName = metric(
    "calltrail_http_request_duration_seconds",
    "histogram",
    &["route"],
    "From the head of a request until its answer was ready",
);
pub const STORED_DELIVERIES: MetricName =
    metric("calltrail_store_deliveries", "gauge", &[], "Deliveries in the store");
pub const STORED_LINES: MetricName = metric("calltrail_store_lines", "gauge", &[], "Lines in the store");
pub const STORED_CALLS: MetricName = metric("calltrail_store_calls", "gauge", &[], "Calls in the store");
pub const STORED_FINDINGS: MetricName =
    metric("calltrail_store_findings", "gauge", &[], "Findings in the store, those not yet due included");
pub const STORED_REJECTS: MetricName =
    metric("calltrail_store_rejects", "gauge", &[], "Rejected lines in the store");
pub const POSITION: MetricName = metric(
    "calltrail_correlator_position",
    "gauge",
    &[],
    "Number of the last delivery that has been joined and written out",
);
pub const LAG: MetricName = metric(
    "calltrail_correlator_lag_deliveries",
    "gauge",
    &[],
    "Deliveries that are stored and not yet joined",
);

/// All of them, in the order of the documentation.
pub const ALL: &[MetricName] = &[
    DELIVERIES,
    LINES,
    BYTES,
    REJECTED,
    COMMIT,
    REQUESTS,
    REQUEST_DURATION,
    STORED_DELIVERIES,
    STORED_LINES,
    STORED_CALLS,
    STORED_FINDINGS,
    STORED_REJECTS,
    POSITION,
    LAG,
];

/// Values of the label `result`.
pub const RESULTS: &[&str] = &["stored", "duplicate"];
/// Value of `source` once there are more sources than a server should have: an open server takes any name.
pub const OTHER_SOURCES: &str = "other";
/// Value of `route` for paths that are not known.
pub const NO_ROUTE: &str = "none";

impl MetricName {
    /// The name as it is registered: the text format adds `_total` to counters by itself.
    pub fn registered(&self) -> &'static str {
        self.name.strip_suffix("_total").unwrap_or(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RejectReason;

    /// The table of the documentation, written from the list.
    fn table() -> String {
        let mut text = String::from("| metric | kind | labels | what it counts |\n|---|---|---|---|\n");
        for m in ALL {
            let labels: Vec<String> = m.labels.iter().map(|l| format!("`{l}`")).collect();
            text += &format!("| `{}` | {} | {} | {} |\n", m.name, m.kind, labels.join(", "), m.help);
        }
        text
    }

    #[test]
    fn the_documentation_holds_this_very_list() {
        let page = include_str!("../../docs/metrics.md");
        assert!(page.contains(&table()), "docs/metrics.md should hold:\n{}", table());
        for reason in RejectReason::ALL {
            assert!(
                page.contains(&format!("`{reason}`")),
                "docs/metrics.md does not name the reason {reason}"
            );
        }
    }

    #[test]
    fn names_carry_their_prefix_and_their_unit() {
        for m in ALL {
            assert!(m.name.starts_with("calltrail_"), "{}", m.name);
            assert_eq!(m.name.ends_with("_total"), m.kind == "counter", "{}", m.name);
        }
    }
}
