//! What really happened, as the two captures wrote it down while they ran, read into one shape.
//!
//! `fullstack-a` and `hop` name some fields differently; nothing else here knows that.

use serde::Deserialize;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

/// One real call.
#[derive(Debug, Deserialize)]
pub struct RealCall {
    #[serde(alias = "truth_call_id", alias = "call")]
    pub id: String,
    pub kind: String,
    pub caller: Option<String>,
    pub callee: Option<String>,
    pub path: Option<String>,
    /// The call that was being handled when this one was made.
    pub parent: Option<String>,
    /// Subject of the user for whom it was really made.
    #[serde(default)]
    pub principal: Option<String>,
    /// Whether the lines can prove that subject.
    #[serde(default)]
    pub principal_provable: bool,
    /// What was wrong with it, in the capture's own labels.
    pub findings: BTreeSet<String>,
    /// Labels of the calls that led to it: a finding that follows from one of them is no false alarm.
    #[serde(default)]
    pub tainted_by: BTreeSet<String>,
    pub lines: Vec<RealLine>,
}

/// A line that this call left behind.
#[derive(Debug, Deserialize)]
pub struct RealLine {
    pub sha256: String,
    pub role: Role,
    /// Which record of a Worker's line, which holds several calls.
    pub span: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    WorkerHead,
    WorkerEnvelope,
    ZoneEyeball,
    Worker,
    Zone,
    Gateway,
    Caller,
    Callee,
}

/// Labels that describe how a call went without anything being wrong with it.
pub const HARMLESS: [&str; 3] = ["retried", "context_lost", "background"];

/// Labels that accuse or forbid: a call with one of them must carry a finding. The others (`timeout`, `upstream_503`,
/// `worker_exception`, `client_abort`) lie on every call that handed such an outcome on as well, and there `stopped` does not
/// belong: it says which call got no further.
pub const ACCUSATIONS: [&str; 18] = [
    "bypass",
    "edge_bypass",
    "header_replay",
    "header_forged",
    "stolen_trace",
    "edge_denied",
    "intention_denied",
    "intention_deny_l4",
    "intention_deny_l7",
    "intention_deny_jwt",
    "intention_deny_l4_tcp",
    "intention_deny_default",
    "no_hop",
    "invented_hop",
    "replayed_hop",
    "same_identity",
    "other_identity",
    "denied",
];

impl RealCall {
    pub fn accused(&self) -> bool {
        self.findings.iter().any(|label| ACCUSATIONS.contains(&label.as_str()))
    }

    /// Nothing was wrong with it, nor with what led to it.
    pub fn innocent(&self) -> bool {
        self.findings.iter().chain(&self.tainted_by).all(|label| HARMLESS.contains(&label.as_str()))
    }

    pub fn is_edge(&self) -> bool {
        self.kind == "edge"
    }
}

pub fn load(gzipped: &Path) -> Vec<RealCall> {
    let file = std::fs::File::open(gzipped).unwrap_or_else(|e| panic!("{}: {e}", gzipped.display()));
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"));
    text.lines().map(parse).collect()
}
