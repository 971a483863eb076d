//! The whole call as bytes: the row structs below in postcard's encoding, which [`dictionary`](super::dictionary) compresses.
//!
//! It is derived data: a version that this program does not know is an error that says to derive everything again, never a guess.
//! The version stands before the compressed bytes; raise it there when a row struct or the meaning of a number changes.

use super::StoreError;
use super::error::inconsistent;
use super::packed_leg::{Code, IdentityRow, LegRow, PrincipalRow, codes, owned};
use crate::model::*;
use serde::{Deserialize, Serialize};

codes!(Basis { Proven = 0, Keyed = 1, Inferred = 2, Single = 3 });
codes!(Attribution { Verified = 0, Inherited = 1, Signed = 2, Presumed = 3, Deferred = 4 });
codes!(Judge { Worker = 0, Intention = 1 });
codes!(Effect { Allow = 0, Deny = 1 });
codes!(Stage { Edge = 0, Gateway = 1, ClientSidecar = 2, ServerSidecar = 3, Application = 4 });
codes!(Severity { Info = 0, Low = 1, Medium = 2, High = 3 });
codes!(FindingKind {
    Denied = 0, Bypass = 1, EdgeUnwitnessed = 2, NoClientLeg = 3, Lost = 4, DecisionConflict = 5,
    IdentityMismatch = 6, BrokenChain = 7, ForgedHeader = 8, ReplayedHeader = 9, Unverified = 10,
    StatusMismatch = 11, Stopped = 12, ClockSkew = 13, Truncated = 14, CertificateAge = 15, SilentSource = 16, LowCoverage = 17,
    FormatGap = 18, BlindWindow = 19,
});

pub(super) fn pack(call: &Call) -> Result<Vec<u8>, StoreError> {
    let bytes = Vec::with_capacity(256 + 768 * call.legs.len());
    let mut row = CallRow::from(call);
    row.shift(call.start.micros().wrapping_neg());
    let packed = postcard::to_extend(&row, bytes);
    packed.map_err(|e| StoreError::Other(format!("packing call {}: {e}", call.id)))
}

pub(super) fn unpack(row: &[u8]) -> Result<Call, StoreError> {
    let mut row: CallRow<'_> = postcard::from_bytes(row).map_err(|e| inconsistent("call", e))?;
    row.shift(row.start_us);
    row.try_into()
}

#[derive(Serialize, Deserialize)]
struct DecisionRow<'a> {
    judge: u8,
    effect: u8,
    #[serde(borrow)]
    rule: Option<&'a str>,
    reason: Option<&'a str>,
    leg: [u8; 16],
}

impl<'a> From<&'a Decision> for DecisionRow<'a> {
    fn from(d: &'a Decision) -> Self {
        DecisionRow {
            judge: d.judge.code(),
            effect: d.effect.code(),
            rule: d.rule.as_deref(),
            reason: d.reason.as_deref(),
            leg: d.leg.0,
        }
    }
}

impl TryFrom<DecisionRow<'_>> for Decision {
    type Error = StoreError;
    fn try_from(row: DecisionRow<'_>) -> Result<Self, StoreError> {
        Ok(Decision {
            judge: Judge::from_code(row.judge)?,
            effect: Effect::from_code(row.effect)?,
            rule: owned(row.rule),
            reason: owned(row.reason),
            leg: LegId(row.leg),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct OutcomeRow<'a> {
    status: Option<u16>,
    grpc_status: Option<u16>,
    #[serde(borrow)]
    flags: Vec<&'a str>,
    attempts: u32,
    duration_us: Option<i64>,
    request_body_bytes: Option<u64>,
    response_body_bytes: Option<u64>,
    stopped_at: Option<u8>,
    stopped_why: Option<&'a str>,
}

impl<'a> From<&'a Outcome> for OutcomeRow<'a> {
    fn from(o: &'a Outcome) -> Self {
        OutcomeRow {
            status: o.status,
            grpc_status: o.grpc_status,
            flags: o.flags.iter().map(String::as_str).collect(),
            attempts: o.attempts,
            duration_us: o.duration_us,
            request_body_bytes: o.request_body_bytes,
            response_body_bytes: o.response_body_bytes,
            stopped_at: o.stopped_at.map(Stage::code),
            stopped_why: o.stopped_why.as_deref(),
        }
    }
}

impl TryFrom<OutcomeRow<'_>> for Outcome {
    type Error = StoreError;
    fn try_from(row: OutcomeRow<'_>) -> Result<Self, StoreError> {
        Ok(Outcome {
            status: row.status,
            grpc_status: row.grpc_status,
            flags: row.flags.into_iter().map(str::to_owned).collect(),
            attempts: row.attempts,
            duration_us: row.duration_us,
            request_body_bytes: row.request_body_bytes,
            response_body_bytes: row.response_body_bytes,
            stopped_at: row.stopped_at.map(Stage::from_code).transpose()?,
            stopped_why: owned(row.stopped_why),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct FindingRow<'a> {
    kind: u8,
    severity: u8,
    sentence: &'a str,
    evidence: Vec<[u8; 16]>,
    raised_at_us: i64,
    #[serde(borrow)]
    absent_observer: Option<&'a str>,
    absent_instance: Option<&'a str>,
}

impl<'a> From<&'a Finding> for FindingRow<'a> {
    fn from(f: &'a Finding) -> Self {
        FindingRow {
            kind: f.kind.code(),
            severity: f.severity.code(),
            sentence: &f.sentence,
            evidence: f.evidence.iter().map(|id| id.0).collect(),
            raised_at_us: f.raised_at.micros(),
            absent_observer: f.absent_observer.as_deref(),
            absent_instance: f.absent_instance.as_deref(),
        }
    }
}

impl TryFrom<FindingRow<'_>> for Finding {
    type Error = StoreError;
    fn try_from(row: FindingRow<'_>) -> Result<Self, StoreError> {
        Ok(Finding {
            kind: FindingKind::from_code(row.kind)?,
            severity: Severity::from_code(row.severity)?,
            sentence: row.sentence.to_owned(),
            evidence: row.evidence.into_iter().map(LegId).collect(),
            raised_at: Timestamp(row.raised_at_us),
            absent_observer: owned(row.absent_observer),
            absent_instance: owned(row.absent_instance),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct CallRow<'a> {
    id: [u8; 16],
    trace_id: Option<[u8; 16]>,
    parent_id: Option<[u8; 16]>,
    parent_inferred: bool,
    #[serde(borrow)]
    caller: IdentityRow<'a>,
    callee: IdentityRow<'a>,
    principal: Option<(PrincipalRow<'a>, u8, u8)>,
    claimed: Option<PrincipalRow<'a>>,
    protocol: u8,
    method: Option<&'a str>,
    authority: Option<&'a str>,
    path: Option<&'a str>,
    start_us: i64,
    decisions: Vec<DecisionRow<'a>>,
    outcome: OutcomeRow<'a>,
    basis: u8,
    confidence_ppm: u32,
    ambiguous: u32,
    settles_at_us: i64,
    amended: bool,
    findings: Vec<FindingRow<'a>>,
    legs: Vec<LegRow<'a>>,
}

impl CallRow<'_> {
    /// Moves all times but its start: told from there on they are small numbers.
    fn shift(&mut self, by_us: i64) {
        self.settles_at_us = self.settles_at_us.wrapping_add(by_us);
        self.findings.iter_mut().for_each(|f| f.raised_at_us = f.raised_at_us.wrapping_add(by_us));
        self.legs.iter_mut().for_each(|leg| leg.shift(by_us));
    }
}

impl<'a> From<&'a Call> for CallRow<'a> {
    fn from(c: &'a Call) -> Self {
        let principal =
            |p: &'a CallPrincipal| ((&p.principal).into(), p.attribution.code(), p.assurance.code());
        CallRow {
            id: c.id.0,
            trace_id: c.trace_id.map(|id| id.0),
            parent_id: c.parent_id.map(|id| id.0),
            parent_inferred: c.parent_inferred,
            caller: (&c.caller).into(),
            callee: (&c.callee).into(),
            principal: c.principal.as_ref().map(principal),
            claimed: c.claimed.as_ref().map(PrincipalRow::from),
            protocol: c.protocol.code(),
            method: c.method.as_deref(),
            authority: c.authority.as_deref(),
            path: c.path.as_deref(),
            start_us: c.start.micros(),
            decisions: c.decisions.iter().map(DecisionRow::from).collect(),
            outcome: (&c.outcome).into(),
            basis: c.basis.code(),
            confidence_ppm: c.confidence_ppm,
            ambiguous: c.ambiguous,
            settles_at_us: c.settles_at.micros(),
            amended: c.amended,
            findings: c.findings.iter().map(FindingRow::from).collect(),
            legs: c.legs.iter().map(LegRow::from).collect(),
        }
    }
}

impl TryFrom<CallRow<'_>> for Call {
    type Error = StoreError;
    fn try_from(row: CallRow<'_>) -> Result<Self, StoreError> {
        let principal = |(principal, attribution, assurance): (PrincipalRow<'_>, u8, u8)| {
            Ok::<_, StoreError>(CallPrincipal {
                principal: principal.into(),
                attribution: Attribution::from_code(attribution)?,
                assurance: Assurance::from_code(assurance)?,
            })
        };
        Ok(Call {
            id: LegId(row.id),
            trace_id: row.trace_id.map(TraceId),
            parent_id: row.parent_id.map(LegId),
            parent_inferred: row.parent_inferred,
            caller: row.caller.try_into()?,
            callee: row.callee.try_into()?,
            principal: row.principal.map(principal).transpose()?,
            claimed: row.claimed.map(Principal::from),
            protocol: Protocol::from_code(row.protocol)?,
            method: owned(row.method),
            authority: owned(row.authority),
            path: owned(row.path),
            start: Timestamp(row.start_us),
            decisions: each(row.decisions)?,
            outcome: row.outcome.try_into()?,
            basis: Basis::from_code(row.basis)?,
            confidence_ppm: row.confidence_ppm,
            ambiguous: row.ambiguous,
            settles_at: Timestamp(row.settles_at_us),
            amended: row.amended,
            findings: each(row.findings)?,
            legs: each(row.legs)?,
        })
    }
}

fn each<R, T: TryFrom<R, Error = StoreError>>(rows: Vec<R>) -> Result<Vec<T>, StoreError> {
    rows.into_iter().map(T::try_from).collect()
}
