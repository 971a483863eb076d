//! The filter options that `calls`, `findings` and `export` share, checked by the command line's parser.

use crate::api::stats::StatsQuestion;
use crate::model::{
    Basis, CallFilter, Effect, FindingFilter, FindingKind, Severity, StatusClass, Timestamp, TraceId,
};
use clap::Args;

/// A moment to ask about; everything is judged as it stood then.
#[derive(Debug, Clone, Default, Args)]
pub struct AsOf {
    /// Judge as of this time: what is open, settled or found missing depends on it [default: now]
    #[arg(long, value_name = "TIME")]
    pub as_of: Option<Timestamp>,
}

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which calls")]
pub struct CallArgs {
    /// Started at or after: 2026-11-24T02:56:50Z or 2026-11-24
    #[arg(long, value_name = "TIME")]
    pub from: Option<Timestamp>,
    /// Started before
    #[arg(long, value_name = "TIME")]
    pub to: Option<Timestamp>,
    /// On behalf of this subject
    #[arg(long, value_name = "SUBJECT")]
    pub principal: Option<String>,
    /// Made by this service: short name or SPIFFE id
    #[arg(long, value_name = "NAME")]
    pub caller: Option<String>,
    /// Made to this service: short name or SPIFFE id
    #[arg(long, value_name = "NAME")]
    pub callee: Option<String>,
    /// Allowed or denied: allow, deny
    #[arg(long, value_name = "EFFECT")]
    pub decision: Option<Effect>,
    /// Answered with a status of this class: 1xx, 2xx, 3xx, 4xx, 5xx, none
    #[arg(long, value_name = "CLASS", alias = "status-class")]
    pub status: Option<StatusClass>,
    /// With this finding: denied, bypass, broken_chain, ...
    #[arg(long, value_name = "FINDING")]
    pub finding: Option<FindingKind>,
    /// Joined on this basis: proven, keyed, inferred, single
    #[arg(long, value_name = "BASIS")]
    pub basis: Option<Basis>,
    /// Of this trace
    #[arg(long, value_name = "TRACE_ID", value_parser = TraceId::parse)]
    pub trace: Option<TraceId>,
}

impl CallArgs {
    pub fn filter(&self) -> CallFilter {
        CallFilter {
            from: self.from,
            to: self.to,
            principal: self.principal.clone(),
            caller: self.caller.clone(),
            callee: self.callee.clone(),
            decision: self.decision,
            status: self.status,
            finding: self.finding,
            basis: self.basis,
            trace_id: self.trace,
        }
    }
}

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which findings")]
pub struct FindingArgs {
    /// On calls that started at or after: 2026-11-24T02:56:50Z or 2026-11-24
    #[arg(long, value_name = "TIME")]
    pub from: Option<Timestamp>,
    /// On calls that started before
    #[arg(long, value_name = "TIME")]
    pub to: Option<Timestamp>,
    /// Of this kind: denied, bypass, broken_chain, ...
    #[arg(long, value_name = "FINDING", alias = "kind")]
    pub finding: Option<FindingKind>,
    /// Of this severity: info, low, medium, high
    #[arg(long, value_name = "SEVERITY")]
    pub severity: Option<Severity>,
    /// On calls made to this service: short name or SPIFFE id
    #[arg(long, value_name = "NAME")]
    pub callee: Option<String>,
}

impl FindingArgs {
    pub fn filter(&self) -> FindingFilter {
        FindingFilter {
            from: self.from,
            to: self.to,
            kind: self.finding,
            severity: self.severity,
            callee: self.callee.clone(),
        }
    }
}

type Parameters = Vec<(&'static str, String)>;

fn set<T: ToString>(name: &'static str, value: &Option<T>) -> Option<(&'static str, String)> {
    value.as_ref().map(|v| (name, v.to_string()))
}

/// The same questions as query parameters of the HTTP API.
pub fn call_parameters(f: &CallFilter) -> Parameters {
    let all = [
        set("from", &f.from),
        set("to", &f.to),
        set("principal", &f.principal),
        set("caller", &f.caller),
        set("callee", &f.callee),
        set("decision", &f.decision),
        set("status", &f.status),
        set("finding", &f.finding),
        set("basis", &f.basis),
        set("trace", &f.trace_id),
    ];
    all.into_iter().flatten().collect()
}

pub fn finding_parameters(f: &FindingFilter) -> Parameters {
    let all = [
        set("from", &f.from),
        set("to", &f.to),
        set("kind", &f.kind),
        set("severity", &f.severity),
        set("callee", &f.callee),
    ];
    all.into_iter().flatten().collect()
}

pub fn stats_parameters(q: &StatsQuestion) -> Parameters {
    let by: Vec<&str> = q.by.iter().map(|dimension| dimension.as_str()).collect();
    let all = [
        set("from", &q.from),
        set("to", &q.to),
        set("caller", &q.filter.caller),
        set("callee", &q.filter.callee),
        set("decision", &q.filter.effect),
        set("status_class", &q.filter.status_class),
        set("step", &q.step),
        (!by.is_empty()).then(|| ("by", by.join(","))),
    ];
    all.into_iter().flatten().collect()
}
