//! Something wrong or unproven about a call, with a sentence that a person understands and the lines that say it.

use super::identity::words;
use super::ids::LegId;
use super::time::Timestamp;

/// What is wrong. `docs/findings.md` says of each when it is raised and what it does not prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FindingKind {
    Denied,
    Bypass,
    EdgeUnwitnessed,
    NoClientLeg,
    Lost,
    DecisionConflict,
    IdentityMismatch,
    BrokenChain,
    ForgedHeader,
    ReplayedHeader,
    Unverified,
    StatusMismatch,
    Stopped,
    ClockSkew,
    Truncated,
    CertificateAge,
    SilentSource,
    LowCoverage,
    FormatGap,
    BlindWindow,
}
words!(FindingKind {
    Denied => "denied", Bypass => "bypass", EdgeUnwitnessed => "edge_unwitnessed", NoClientLeg => "no_client_leg",
    Lost => "lost", DecisionConflict => "decision_conflict", IdentityMismatch => "identity_mismatch",
    BrokenChain => "broken_chain", ForgedHeader => "forged_header", ReplayedHeader => "replayed_header",
    Unverified => "unverified", StatusMismatch => "status_mismatch", Stopped => "stopped", ClockSkew => "clock_skew",
    Truncated => "truncated", CertificateAge => "certificate_age",
    SilentSource => "silent_source", LowCoverage => "low_coverage", FormatGap => "format_gap", BlindWindow => "blind_window",
});

impl FindingKind {
    /// On a source, not on a call.
    pub fn is_on_source(self) -> bool {
        use FindingKind::{BlindWindow, FormatGap, LowCoverage, SilentSource};
        matches!(self, SilentSource | LowCoverage | FormatGap | BlindWindow)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Info,
    Low,
    Medium,
    High,
}
words!(Severity { Info => "info", Low => "low", Medium => "medium", High => "high" });

impl Severity {
    /// From here on a finding is held against somebody.
    pub const ACCUSES: Severity = Severity::Medium;
}

/// A finding on one call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Finding {
    pub kind: FindingKind,
    pub severity: Severity,
    /// One sentence, with names and numbers, that can be read alone.
    pub sentence: String,
    /// The legs whose lines say it.
    pub evidence: Vec<LegId>,
    /// From when on it holds: at once for what a line says, when the call has settled for what is missing.
    pub raised_at: Timestamp,
    /// For a finding that says that something is *missing*: the identity key of the observer that should have reported. It
    /// counts only while that observer's measured coverage in the hour of the call is good enough.
    pub absent_observer: Option<String>,
    /// Which instance of it that would have been, where its address is known: `KEY@HOST` or `KEY@HOST:PORT`.
    pub absent_instance: Option<String>,
}
