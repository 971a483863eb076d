//! Rows as Grafana's Infinity data source reads them: flat, times in epoch milliseconds, one list under `rows`.
//!
//! What stands in a call is flattened here for eyes; whoever wants all of it follows the id to `/v1/calls/{id}`. Column names
//! are what the dashboards in `dashboards/` name: a test holds the two together.

use crate::model::{Call, Finding, Severity, Timestamp};
use crate::store::CallTotals;
use serde::Serialize;

/// The body of every answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rows<T> {
    pub rows: Vec<T>,
    pub from_ms: i64,
    pub to_ms: i64,
    /// Length of a step, where there are steps: what was asked for, or longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallRow {
    pub start_ms: i64,
    pub id: String,
    pub trace_id: Option<String>,
    pub principal: Option<String>,
    pub attribution: Option<String>,
    pub caller: String,
    pub caller_assurance: String,
    pub callee: String,
    pub callee_assurance: String,
    pub method: Option<String>,
    pub path: Option<String>,
    pub decision: Option<String>,
    /// Who judged, by which rule.
    pub judged_by: String,
    pub status: Option<u16>,
    /// Where and why it stopped, or what the proxies flagged; empty for what went well.
    pub outcome: String,
    pub duration_us: Option<i64>,
    pub basis: String,
    pub confidence: f64,
    pub ambiguous: u32,
    pub state: String,
    /// Kinds, separated by commas.
    pub findings: String,
}

impl CallRow {
    pub fn new(call: &Call, as_of: Timestamp) -> Self {
        CallRow {
            start_ms: call.start.millis(),
            id: call.id.to_string(),
            trace_id: call.trace_id.map(|t| t.to_string()),
            principal: call.principal.as_ref().map(|p| p.principal.subject.clone()),
            attribution: call.principal.as_ref().map(|p| p.attribution.to_string()),
            caller: call.caller.name.clone(),
            caller_assurance: call.caller.assurance.to_string(),
            callee: call.callee.name.clone(),
            callee_assurance: call.callee.assurance.to_string(),
            method: call.method.clone(),
            path: call.path.clone(),
            decision: call.effect().map(|e| e.to_string()),
            judged_by: judged_by(call),
            status: call.outcome.status,
            outcome: outcome(call),
            duration_us: call.outcome.duration_us,
            basis: call.basis.to_string(),
            confidence: f64::from(call.confidence_ppm) / 1e6,
            ambiguous: call.ambiguous,
            state: call.state(as_of).to_string(),
            findings: joined(call.findings.iter().map(|f| f.kind.to_string())),
        }
    }
}

fn joined(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

/// `worker: allow (admins-only), intention: deny`.
fn judged_by(call: &Call) -> String {
    joined(call.decisions.iter().map(|d| match &d.rule {
        Some(rule) => format!("{}: {} ({rule})", d.judge, d.effect),
        None => format!("{}: {}", d.judge, d.effect),
    }))
}

fn outcome(call: &Call) -> String {
    let o = &call.outcome;
    match (&o.stopped_at, &o.stopped_why) {
        (Some(at), Some(why)) => format!("stopped at {at}: {why}"),
        (Some(at), None) => format!("stopped at {at}"),
        (None, _) => joined(o.flags.iter().cloned()),
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FindingRow {
    pub start_ms: i64,
    pub kind: String,
    pub severity: String,
    pub sentence: String,
    pub call_id: String,
    pub principal: Option<String>,
    pub caller: String,
    pub callee: String,
    pub method: Option<String>,
    pub path: Option<String>,
    pub status: Option<u16>,
}

impl From<&(Call, Finding)> for FindingRow {
    fn from((call, finding): &(Call, Finding)) -> Self {
        FindingRow {
            start_ms: call.start.millis(),
            kind: finding.kind.to_string(),
            severity: finding.severity.to_string(),
            sentence: finding.sentence.clone(),
            call_id: call.id.to_string(),
            principal: call.principal.as_ref().map(|p| p.principal.subject.clone()),
            caller: call.caller.name.clone(),
            callee: call.callee.name.clone(),
            method: call.method.clone(),
            path: call.path.clone(),
            status: call.outcome.status,
        }
    }
}

/// A point of a long series; `value` is a number of calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PointRow {
    pub ts: i64,
    pub label: String,
    pub value: i64,
}

/// A point of a long series of durations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DurationRow {
    pub ts: i64,
    /// `p95`: 95 % of the calls took no longer.
    pub label: String,
    pub duration_us: i64,
}

/// The only row of a summary. Shares are from 0 to 1, and absent where nothing was counted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SummaryRow {
    pub calls: i64,
    pub failed: i64,
    pub failed_share: Option<f64>,
    pub denied: i64,
    pub denied_share: Option<f64>,
    pub proven: i64,
    pub keyed: i64,
    /// Calls whose two sides were joined by proof or by an unguessable key.
    pub joined_share: Option<f64>,
    pub findings_high: i64,
    pub findings_medium: i64,
    pub findings_low: i64,
    pub findings_info: i64,
    /// `false`: the range may hold more than is counted, and the numbers are of its newest calls and findings.
    pub all_counted: bool,
    /// Everything that had been accepted when this was answered has been joined.
    pub complete: bool,
}

impl SummaryRow {
    pub fn new(totals: &CallTotals, findings: &[(Severity, i64)]) -> Self {
        let share = |part: i64| (totals.calls > 0).then(|| part as f64 / totals.calls as f64);
        let found = |wanted| findings.iter().filter(|(s, _)| *s == wanted).map(|(_, count)| count).sum();
        SummaryRow {
            calls: totals.calls,
            failed: totals.failed,
            failed_share: share(totals.failed),
            denied: totals.denied,
            denied_share: share(totals.denied),
            proven: totals.proven,
            keyed: totals.keyed,
            joined_share: share(totals.proven + totals.keyed),
            findings_high: found(Severity::High),
            findings_medium: found(Severity::Medium),
            findings_low: found(Severity::Low),
            findings_info: found(Severity::Info),
            all_counted: true,
            complete: true,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TopRow {
    pub label: String,
    pub calls: i64,
    pub failed: i64,
    pub denied: i64,
}

/// A choice for a dashboard's variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ValueRow {
    pub value: String,
}
