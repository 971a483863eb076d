//! What really happened: by the captures, which wrote it down while they ran, or by the simulator, which made it up.
//!
//! The captures `fullstack-a` and `hop` and the simulator name some fields differently; nothing else here knows that. In the captures'
//! truth the way Worker → gateway → service is one call, in the simulator's two: see [`RealLine::side`].

use crate::export::Side;
use anyhow::{Context, Result};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

/// SHA-256 of a raw line without its newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineHash(pub [u8; 32]);

impl<'de> Deserialize<'de> for LineHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.as_bytes(), &mut bytes)
            .map_err(|e| serde::de::Error::custom(format!("`{text}` is no SHA-256 in hex: {e}")))?;
        Ok(LineHash(bytes))
    }
}

impl std::fmt::Display for LineHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// One real call.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RealCall {
    #[serde(alias = "truth_call_id", alias = "call")]
    pub id: String,
    pub kind: String,
    pub caller: Option<String>,
    pub callee: Option<String>,
    pub path: Option<String>,
    /// The call that was being handled when this one was made.
    pub parent: Option<String>,
    /// `edge`, `attack`, `background`; empty where truth does not say.
    #[serde(default)]
    pub root_kind: String,
    #[serde(default)]
    pub scenario: String,
    /// Subject of the user for whom it was really made.
    #[serde(default)]
    pub principal: Option<String>,
    /// Whether the lines can prove that subject.
    #[serde(default)]
    pub principal_provable: bool,
    /// The lines that are left name nobody else than another user than that: whoever goes by them is not to blame.
    #[serde(default)]
    pub principal_hidden: bool,
    /// What was wrong with it, in truth's own labels.
    #[serde(default)]
    pub findings: BTreeSet<String>,
    /// Labels of the calls that led to it: a finding that follows from one of them is no false alarm.
    #[serde(default)]
    pub tainted_by: BTreeSet<String>,
    /// Calls with the same number cannot be told apart by anything but time.
    #[serde(default)]
    pub interchangeable: Option<u64>,
    /// In `hop`: whether the parent hop that the lines carry is the true one.
    #[serde(default)]
    pub parent_hop_is: Option<String>,
    /// The lines that arrived.
    pub lines: Vec<RealLine>,
    /// The lines that it left and that did not arrive.
    #[serde(default, deserialize_with = "count")]
    pub lost: usize,
}

/// A line that this call left behind.
#[derive(Debug, Clone, Deserialize)]
pub struct RealLine {
    pub sha256: LineHash,
    pub role: Role,
    /// Which record of a Worker's line, which holds several calls.
    #[serde(default)]
    pub span: Option<String>,
    /// Which half of a gateway's line, where truth has two calls for its two halves.
    #[serde(default)]
    pub side: Option<Side>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    WorkerHead,
    WorkerEnvelope,
    ZoneEyeball,
    #[serde(alias = "worker_record")]
    Worker,
    #[serde(alias = "zone_subrequest")]
    Zone,
    Gateway,
    Caller,
    Callee,
}

impl RealLine {
    /// The side from which this line tells of the call; `None` for a gateway whose both halves belong to it.
    pub fn side(&self) -> Option<Side> {
        match self.role {
            Role::WorkerHead | Role::WorkerEnvelope | Role::Callee => Some(Side::Server),
            Role::ZoneEyeball | Role::Worker | Role::Zone | Role::Caller => Some(Side::Client),
            Role::Gateway => self.side,
        }
    }
}

/// Labels that describe how a call went without anything being wrong with it.
pub const HARMLESS: [&str; 3] = ["retried", "context_lost", "background"];

/// The captures' labels that accuse or forbid: a call with one of them must carry a finding. The others (`timeout`, `upstream_503`,
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

/// Findings that accuse somebody: never to be raised on a call with which, and with whose ancestors, nothing of the kind was wrong.
pub const ACCUSING_FINDINGS: [&str; 7] = [
    "bypass",
    "no_client_leg",
    "broken_chain",
    "forged_header",
    "replayed_header",
    "identity_mismatch",
    "decision_conflict",
];

/// Findings that conclude from something that is not there.
pub const ABSENCE_FINDINGS: [&str; 4] = ["no_client_leg", "broken_chain", "edge_unwitnessed", "lost"];

impl RealCall {
    pub fn accused(&self) -> bool {
        self.findings.iter().any(|l| is_accusation(l))
    }

    /// Nothing was wrong with it, nor with what led to it.
    pub fn innocent(&self) -> bool {
        self.findings.iter().chain(&self.tainted_by).all(|label| HARMLESS.contains(&label.as_str()))
    }

    /// Neither it nor what led to it was part of an attack.
    pub fn beyond_suspicion(&self) -> bool {
        let attack = |l: &String| is_accusation(l) && !l.contains("denied") && !l.contains("deny_");
        !self.findings.iter().chain(&self.tainted_by).any(attack)
    }

    pub fn is_edge(&self) -> bool {
        self.kind == "edge"
    }
}

/// Says that somebody did what he should not have done, or that he was stopped from it.
pub fn is_accusation(label: &str) -> bool {
    ACCUSATIONS.contains(&label) || ACCUSING_FINDINGS.contains(&label)
}

/// Reads truth from JSON lines, gzipped where the name ends in `.gz`.
pub fn load(path: &Path) -> Result<Vec<RealCall>> {
    let file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut text = String::new();
    let gzipped = path.extension().is_some_and(|e| e == "gz");
    let mut reader: Box<dyn Read> =
        if gzipped { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
    reader.read_to_string(&mut text).with_context(|| format!("cannot read {}", path.display()))?;
    let parse = |(n, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("{}, line {}", path.display(), n + 1))
    };
    text.lines().enumerate().map(parse).collect()
}

/// The captures list what was lost, the simulator counts it.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Lost {
        Count(usize),
        List(Vec<serde::de::IgnoredAny>),
    }
    Ok(match Lost::deserialize(deserializer)? {
        Lost::Count(n) => n,
        Lost::List(list) => list.len(),
    })
}
