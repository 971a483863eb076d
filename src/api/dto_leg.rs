//! A leg as the API and the export show it. Names are the words of `docs/api.md`; what a line did not say is `null` or absent.
//!
//! It refuses to add anything: what stands here stands in the line, except the identity's assurance, which says how we know.

use super::dto::{IdentityDto, PrincipalRefDto};
use crate::model::{Leg, SocketPair, Verdict};
use serde::{Deserialize, Serialize};

/// Who wrote a line, as an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObserverDto {
    pub kind: String,
    pub name: String,
}

/// The connection between the two proxies, `ip:port` each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketDto {
    pub client: String,
    pub server: String,
}

/// Consul's verdict as the line carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictDto {
    pub effect: String,
    pub policy: Option<String>,
}

/// The Worker's own verdict, from its head record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeDecisionDto {
    pub effect: String,
    pub policy: Option<String>,
    pub reason: Option<String>,
}

/// The peer's leaf certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateDto {
    pub serial: Option<String>,
    pub not_before: Option<String>,
    pub not_after: Option<String>,
}

/// One line's view of the call. The fields up to `socket` are always there; the rest only where the line says them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegDto {
    pub id: String,
    pub side: String,
    pub observer: ObserverDto,
    /// Of Worker records only: the span ids that Envoy logs are never a key between sidecars.
    pub span_id: Option<String>,
    /// SHA-256 of the exact raw line without its newline.
    pub line_sha256: String,
    pub source: String,
    /// Number of the delivery, and the line's place in it from 1.
    pub delivery: u64,
    pub line: u32,
    pub received_at: String,
    pub start: String,
    pub start_us: i64,
    pub duration_us: Option<i64>,
    pub status: Option<u16>,
    /// Envoy's response flags as logged.
    pub flags: Vec<String>,
    pub request_id: Option<String>,
    pub ray: Option<String>,
    pub hop: Option<String>,
    pub parent_hop: Option<String>,
    pub local: IdentityDto,
    pub peer: IdentityDto,
    pub socket: Option<SocketDto>,

    pub protocol: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_details: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub termination_details: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport_failure: Option<String>,
    /// Absent where the line does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_body_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_body_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_span_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_ray: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colo: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_certificate: Option<CertificateDto>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VerdictDto>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge_principal: Option<PrincipalRefDto>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge_decision: Option<EdgeDecisionDto>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_outcome: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

fn effect(allowed: bool) -> String {
    (if allowed { "allow" } else { "deny" }).to_owned()
}

impl From<&SocketPair> for SocketDto {
    fn from(pair: &SocketPair) -> Self {
        SocketDto { client: pair.client.clone(), server: pair.server.clone() }
    }
}

impl From<&Verdict> for VerdictDto {
    fn from(verdict: &Verdict) -> Self {
        VerdictDto { effect: effect(verdict.allowed), policy: verdict.policy.clone() }
    }
}

fn certificate(leg: &Leg) -> Option<CertificateDto> {
    let c = &leg.peer_certificate;
    let known = c.serial.is_some() || c.not_before.is_some() || c.not_after.is_some();
    known.then(|| CertificateDto {
        serial: c.serial.clone(),
        not_before: c.not_before.map(|t| t.to_string()),
        not_after: c.not_after.map(|t| t.to_string()),
    })
}

impl From<&Leg> for LegDto {
    fn from(leg: &Leg) -> Self {
        LegDto {
            id: leg.id.to_string(),
            side: leg.side.to_string(),
            observer: ObserverDto { kind: leg.observer.kind.to_string(), name: leg.observer.name.clone() },
            span_id: leg.span_id.map(|s| s.to_string()),
            line_sha256: leg.line.line_sha256.to_string(),
            source: leg.line.source.to_string(),
            delivery: leg.line.delivery,
            line: leg.line.line,
            received_at: leg.line.received_at.to_string(),
            start: leg.start.to_string(),
            start_us: leg.start.micros(),
            duration_us: leg.duration_us,
            status: leg.status,
            flags: leg.flags.iter().map(str::to_owned).collect(),
            request_id: leg.request_id.clone(),
            ray: leg.ray.clone(),
            hop: leg.hop.clone(),
            parent_hop: leg.parent_hop.clone(),
            local: (&leg.local).into(),
            peer: (&leg.peer).into(),
            socket: leg.socket.as_ref().map(Into::into),
            protocol: leg.protocol.to_string(),
            method: leg.method.clone(),
            authority: leg.authority.clone(),
            path: leg.path.clone(),
            grpc_status: leg.grpc_status,
            response_details: leg.response_details.clone(),
            termination_details: leg.termination_details.clone(),
            transport_failure: leg.transport_failure.clone(),
            attempts: leg.attempts,
            request_body_bytes: leg.request_body_bytes,
            response_body_bytes: leg.response_body_bytes,
            trace_id: leg.trace.map(|t| t.trace_id.to_string()),
            parent_span_id: leg.parent_span_id.map(|s| s.to_string()),
            parent_ray: leg.parent_ray.clone(),
            colo: leg.colo.clone(),
            made_by: leg.made_by.map(|id| id.to_string()),
            connection_id: leg.connection_id,
            peer_certificate: certificate(leg),
            verdict: leg.verdict.as_ref().map(Into::into),
            edge_principal: leg.edge_principal.as_ref().map(Into::into),
            edge_decision: leg.edge_decision.as_ref().map(|d| EdgeDecisionDto {
                effect: effect(d.allowed),
                policy: d.policy.clone(),
                reason: d.reason.clone(),
            }),
            worker_outcome: leg.worker_outcome.clone(),
            truncated: leg.truncated,
        }
    }
}
