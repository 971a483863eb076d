//! What leaves the program: calls, findings and pages as JSON, for the query API, `--server` commands and the export alike.
//!
//! The names are a contract (`docs/api.md`): fields are added, never renamed. The order of the fields is fixed, so that equal
//! evidence exports byte-identically. Nothing is decided here: what depends on the time of asking is handed an `as_of`.

pub use super::dto_leg::{CertificateDto, EdgeDecisionDto, LegDto, ObserverDto, SocketDto, VerdictDto};
pub use super::dto_sources::{CoverageDto, ReporterDto, ShareDto, SourceDto, SourceFindingDto, SourcesPage};
use crate::model::{Call, CallPrincipal, Decision, Finding, Identity, Outcome, Principal, Timestamp};
use crate::store::StoredReject;
use serde::{Deserialize, Serialize};

/// A party of a call, and how it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityDto {
    /// Short name, for people and filters.
    pub name: String,
    pub spiffe_id: Option<String>,
    pub kind: String,
    pub assurance: String,
}

/// On whose behalf the call ran, and how that is known here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrincipalDto {
    pub subject: String,
    pub issuer: Option<String>,
    pub kind: String,
    pub attribution: String,
    pub assurance: String,
}

/// A principal that somebody names, without a word on whether it is true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrincipalRefDto {
    pub subject: String,
    pub kind: String,
    pub issuer: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionDto {
    pub judge: String,
    pub effect: String,
    pub rule: Option<String>,
    pub reason: Option<String>,
    /// The leg whose line carries the verdict.
    pub leg_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeDto {
    pub status: Option<u16>,
    pub grpc_status: Option<u16>,
    /// Response flags in words.
    pub flags: Vec<String>,
    pub attempts: u32,
    pub duration_us: Option<i64>,
    pub request_body_bytes: Option<u64>,
    pub response_body_bytes: Option<u64>,
    pub stopped_at: Option<String>,
    pub stopped_why: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingDto {
    pub kind: String,
    pub severity: String,
    pub sentence: String,
    /// Ids of the legs whose lines say it.
    pub evidence: Vec<String>,
}

/// One call. In lists `legs` is left out unless asked for; one call and the export have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallDto {
    pub id: String,
    pub trace_id: Option<String>,
    pub parent_id: Option<String>,
    /// True when the parent was inferred from time and identity alone: no principal passes over it.
    pub parent_inferred: bool,
    pub caller: IdentityDto,
    pub callee: IdentityDto,
    pub principal: Option<PrincipalDto>,
    pub claimed_principal: Option<PrincipalRefDto>,
    pub protocol: String,
    pub method: Option<String>,
    pub authority: Option<String>,
    pub path: Option<String>,
    /// RFC 3339 with microseconds, in UTC.
    pub start: String,
    pub start_us: i64,
    pub decisions: Vec<DecisionDto>,
    pub outcome: OutcomeDto,
    pub basis: String,
    /// 0 to 1; 1 for everything but `inferred`.
    pub confidence: f64,
    /// Size of the group of interchangeable calls; 1 when it stands alone.
    pub ambiguous: u32,
    pub state: String,
    pub settles_at: String,
    pub findings: Vec<FindingDto>,
    /// Only in the answer to an id that is not the call's own any more (or is one of its other legs'): the id it has now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legs: Option<Vec<LegDto>>,
}

/// A page of calls. `next` goes into the parameter `cursor`; `null` on the last page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallsPage {
    pub calls: Vec<CallDto>,
    pub next: Option<String>,
    /// Everything that had been accepted when this was answered has been joined.
    pub complete: bool,
    /// Calls that started before this may have been removed; `null` when none ever was.
    pub removed_before: Option<String>,
    pub as_of: String,
}

/// Several calls fit an id that is not unique (a request id with retries, a trace id).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallMatches {
    pub calls: Vec<CallDto>,
    pub note: String,
    pub as_of: String,
    /// As for a page, and there are no more calls than these.
    pub complete: bool,
}

/// A finding with the call that it is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingRow {
    pub kind: String,
    pub severity: String,
    pub sentence: String,
    pub evidence: Vec<String>,
    pub raised_at: String,
    pub call_id: String,
    pub trace_id: Option<String>,
    pub start: String,
    pub start_us: i64,
    pub caller: IdentityDto,
    pub callee: IdentityDto,
    pub principal: Option<PrincipalDto>,
    pub method: Option<String>,
    pub path: Option<String>,
    pub status: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingsPage {
    pub findings: Vec<FindingRow>,
    /// Findings on sources, the latest first; all of them, on the first page.
    #[serde(default)]
    pub source_findings: Vec<SourceFindingDto>,
    pub next: Option<String>,
    pub complete: bool,
    pub as_of: String,
}

/// A call in its trace's tree: the rows stand in the order in which a tree is printed, children after their parent by start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceRow {
    /// 0 for a root.
    pub depth: u32,
    #[serde(flatten)]
    pub call: CallDto,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceDto {
    pub trace_id: String,
    pub calls: Vec<TraceRow>,
    /// As for a page, and the trace has no more calls than these.
    pub complete: bool,
    pub as_of: String,
}

/// The raw line behind a leg. One of `text` and `base64` is there: lines that are no UTF-8 come as base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceLine {
    /// The legs of the call that this line yielded.
    pub leg_ids: Vec<String>,
    pub source: String,
    pub delivery: u64,
    pub line: u32,
    pub received_at: String,
    pub line_sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceDto {
    pub call_id: String,
    pub lines: Vec<EvidenceLine>,
    /// How many more lines there were, which have been removed.
    pub removed_lines: usize,
}

/// A line that is kept and could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectDto {
    pub source: String,
    pub delivery: u64,
    pub line: u32,
    pub received_at: String,
    pub reason: String,
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectsPage {
    pub rejects: Vec<RejectDto>,
    pub complete: bool,
    pub as_of: String,
}

impl From<&Identity> for IdentityDto {
    fn from(identity: &Identity) -> Self {
        IdentityDto {
            name: identity.name.clone(),
            spiffe_id: identity.spiffe_id.as_ref().map(|id| id.to_string()),
            kind: identity.kind.to_string(),
            assurance: identity.assurance.to_string(),
        }
    }
}

impl From<&CallPrincipal> for PrincipalDto {
    fn from(p: &CallPrincipal) -> Self {
        PrincipalDto {
            subject: p.principal.subject.clone(),
            issuer: p.principal.issuer.clone(),
            kind: p.principal.kind.clone(),
            attribution: p.attribution.to_string(),
            assurance: p.assurance.to_string(),
        }
    }
}

impl From<&Principal> for PrincipalRefDto {
    fn from(p: &Principal) -> Self {
        PrincipalRefDto { subject: p.subject.clone(), kind: p.kind.clone(), issuer: p.issuer.clone() }
    }
}

impl From<&Decision> for DecisionDto {
    fn from(d: &Decision) -> Self {
        DecisionDto {
            judge: d.judge.to_string(),
            effect: d.effect.to_string(),
            rule: d.rule.clone(),
            reason: d.reason.clone(),
            leg_id: d.leg.to_string(),
        }
    }
}

impl From<&Outcome> for OutcomeDto {
    fn from(o: &Outcome) -> Self {
        OutcomeDto {
            status: o.status,
            grpc_status: o.grpc_status,
            flags: o.flags.clone(),
            attempts: o.attempts,
            duration_us: o.duration_us,
            request_body_bytes: o.request_body_bytes,
            response_body_bytes: o.response_body_bytes,
            stopped_at: o.stopped_at.map(|s| s.to_string()),
            stopped_why: o.stopped_why.clone(),
        }
    }
}

impl From<&Finding> for FindingDto {
    fn from(f: &Finding) -> Self {
        FindingDto {
            kind: f.kind.to_string(),
            severity: f.severity.to_string(),
            sentence: f.sentence.clone(),
            evidence: f.evidence.iter().map(|id| id.to_string()).collect(),
        }
    }
}

impl CallDto {
    /// The call as it stands at `as_of`, with its legs.
    pub fn new(call: &Call, as_of: Timestamp) -> Self {
        CallDto { legs: Some(call.legs.iter().map(Into::into).collect()), ..Self::without_legs(call, as_of) }
    }

    /// The call as it stands at `as_of`: findings that are raised only later are not in it.
    pub fn without_legs(call: &Call, as_of: Timestamp) -> Self {
        CallDto {
            id: call.id.to_string(),
            trace_id: call.trace_id.map(|t| t.to_string()),
            parent_id: call.parent_id.map(|p| p.to_string()),
            parent_inferred: call.parent_inferred,
            caller: (&call.caller).into(),
            callee: (&call.callee).into(),
            principal: call.principal.as_ref().map(Into::into),
            claimed_principal: call.claimed.as_ref().map(Into::into),
            protocol: call.protocol.to_string(),
            method: call.method.clone(),
            authority: call.authority.clone(),
            path: call.path.clone(),
            start: call.start.to_string(),
            start_us: call.start.micros(),
            decisions: call.decisions.iter().map(Into::into).collect(),
            outcome: (&call.outcome).into(),
            basis: call.basis.to_string(),
            confidence: f64::from(call.confidence_ppm) / 1e6,
            ambiguous: call.ambiguous,
            state: call.state(as_of).to_string(),
            settles_at: call.settles_at.to_string(),
            findings: call.findings.iter().filter(|f| f.raised_at <= as_of).map(Into::into).collect(),
            superseded_by: None,
            legs: None,
        }
    }
}

impl From<&(Call, Finding)> for FindingRow {
    fn from((call, finding): &(Call, Finding)) -> Self {
        FindingRow {
            kind: finding.kind.to_string(),
            severity: finding.severity.to_string(),
            sentence: finding.sentence.clone(),
            evidence: finding.evidence.iter().map(|id| id.to_string()).collect(),
            raised_at: finding.raised_at.to_string(),
            call_id: call.id.to_string(),
            trace_id: call.trace_id.map(|t| t.to_string()),
            start: call.start.to_string(),
            start_us: call.start.micros(),
            caller: (&call.caller).into(),
            callee: (&call.callee).into(),
            principal: call.principal.as_ref().map(Into::into),
            method: call.method.clone(),
            path: call.path.clone(),
            status: call.outcome.status,
        }
    }
}

impl From<&StoredReject> for RejectDto {
    fn from(r: &StoredReject) -> Self {
        RejectDto {
            source: r.source.clone(),
            delivery: r.delivery,
            line: r.line,
            received_at: r.received_at.to_string(),
            reason: r.reason.to_string(),
            detail: r.detail.clone(),
        }
    }
}

/// Puts the calls of a trace in the order in which a tree is printed: roots by start, each followed by its children by start.
/// A call whose parent is not among them is a root; a parent that is its own descendant (which the join rules out) hides
/// nothing: what was not reached from a root is appended as a root.
pub fn tree(calls: &[Call], as_of: Timestamp) -> Vec<TraceRow> {
    use std::collections::{BTreeMap, HashSet};
    let ids: HashSet<_> = calls.iter().map(|c| c.id).collect();
    let mut ordered: Vec<&Call> = calls.iter().collect();
    ordered.sort_by_key(|c| (c.start, c.id));
    let mut children: BTreeMap<_, Vec<&Call>> = BTreeMap::new();
    for call in &ordered {
        children.entry(call.parent_id.filter(|p| ids.contains(p))).or_default().push(call);
    }
    let roots = children.get(&None).cloned().unwrap_or_default();
    let (mut rows, mut seen) = (Vec::with_capacity(calls.len()), HashSet::new());
    for root in roots.into_iter().chain(ordered) {
        let mut stack = vec![(root, 0)];
        while let Some((call, depth)) = stack.pop() {
            if !seen.insert(call.id) {
                continue;
            }
            rows.push(TraceRow { depth, call: CallDto::without_legs(call, as_of) });
            let below = children.get(&Some(call.id)).into_iter().flatten().rev();
            stack.extend(below.map(|child| (*child, depth + 1)));
        }
    }
    rows
}
