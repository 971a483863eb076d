//! A leg as bytes: the row struct of [`packed`](super::packed) for legs, and the small numbers that stand for words.
//!
//! The numbers are written to disk: a word's number never changes, and a new word takes the next one. Tuples stand for the small
//! structs that only a leg holds. `serde(borrow)` on one field lets the whole struct borrow from the bytes.

use super::StoreError;
use super::error::inconsistent;
use super::packed_text::{HeaderRow, IdRow, id_text};
use crate::model::*;
use serde::{Deserialize, Serialize};

pub(super) trait Code: Sized {
    fn code(self) -> u8;
    fn from_code(code: u8) -> Result<Self, StoreError>;
}

macro_rules! codes {
    ($type:ident { $($variant:ident = $code:literal),+ $(,)? }) => {
        impl Code for $type {
            fn code(self) -> u8 {
                match self { $($type::$variant => $code),+ }
            }
            fn from_code(code: u8) -> Result<Self, StoreError> {
                match code {
                    $($code => Ok($type::$variant),)+
                    _ => Err(inconsistent("call", format!("{code} is no {}", stringify!($type)))),
                }
            }
        }
    };
}
pub(super) use codes;

codes!(IdentityKind { User = 0, Service = 1, Worker = 2, Gateway = 3, External = 4, Unknown = 5 });
codes!(Assurance { Mtls = 0, Jwt = 1, Signed = 2, Asserted = 3, Address = 4, None = 5 });
codes!(Side { Client = 0, Server = 1 });
codes!(ObserverKind { Worker = 0, Gateway = 1, Sidecar = 2, Zone = 3 });
codes!(Protocol { Http1 = 0, Http2 = 1, Http3 = 2, Tcp = 3, Event = 4, Unknown = 5 });

#[derive(Serialize, Deserialize)]
pub(super) struct IdentityRow<'a> {
    kind: u8,
    name: &'a str,
    #[serde(borrow)]
    spiffe_id: Option<&'a str>,
    assurance: u8,
}

impl<'a> From<&'a Identity> for IdentityRow<'a> {
    fn from(i: &'a Identity) -> Self {
        IdentityRow {
            kind: i.kind.code(),
            name: &i.name,
            spiffe_id: i.spiffe_id.as_ref().map(SpiffeId::as_str),
            assurance: i.assurance.code(),
        }
    }
}

impl TryFrom<IdentityRow<'_>> for Identity {
    type Error = StoreError;
    fn try_from(row: IdentityRow<'_>) -> Result<Self, StoreError> {
        let spiffe_id = row.spiffe_id.map(str::parse).transpose();
        Ok(Identity {
            kind: IdentityKind::from_code(row.kind)?,
            name: row.name.to_owned(),
            spiffe_id: spiffe_id.map_err(|e| inconsistent("call", e))?,
            assurance: Assurance::from_code(row.assurance)?,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct PrincipalRow<'a> {
    kind: &'a str,
    subject: &'a str,
    #[serde(borrow)]
    issuer: Option<&'a str>,
}

impl<'a> From<&'a Principal> for PrincipalRow<'a> {
    fn from(p: &'a Principal) -> Self {
        PrincipalRow { kind: &p.kind, subject: &p.subject, issuer: p.issuer.as_deref() }
    }
}

impl From<PrincipalRow<'_>> for Principal {
    fn from(row: PrincipalRow<'_>) -> Self {
        Principal { kind: row.kind.to_owned(), subject: row.subject.to_owned(), issuer: owned(row.issuer) }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct LegRow<'a> {
    id: [u8; 16],
    #[serde(borrow)]
    line: LineRow<'a>,
    side: u8,
    observer_kind: u8,
    observer_name: &'a str,
    made_by: Option<[u8; 16]>,
    local: IdentityRow<'a>,
    peer: IdentityRow<'a>,
    certificate: (Option<&'a str>, Option<i64>, Option<i64>),
    protocol: u8,
    start_us: i64,
    duration_us: Option<i64>,
    method: Option<&'a str>,
    authority: Option<&'a str>,
    path: Option<&'a str>,
    status: Option<u16>,
    grpc_status: Option<u16>,
    flags: &'a str,
    response_details: Option<&'a str>,
    termination_details: Option<&'a str>,
    transport_failure: Option<&'a str>,
    attempts: Option<u32>,
    request_body_bytes: Option<u64>,
    response_body_bytes: Option<u64>,
    trace: Option<([u8; 16], [u8; 8])>,
    span_id: Option<[u8; 8]>,
    parent_span_id: Option<[u8; 8]>,
    #[serde(borrow)]
    request_id: Option<IdRow<'a>>,
    ray: Option<IdRow<'a>>,
    parent_ray: Option<IdRow<'a>>,
    colo: Option<&'a str>,
    hop: Option<IdRow<'a>>,
    parent_hop: Option<IdRow<'a>>,
    header_logged: bool,
    header: Option<HeaderRow<'a>>,
    malformed_header: Option<&'a str>,
    socket: Option<(&'a str, &'a str)>,
    connection_id: Option<u64>,
    verdict: Option<(bool, Option<&'a str>)>,
    edge_principal: Option<PrincipalRow<'a>>,
    edge_decision: Option<(bool, Option<&'a str>, Option<&'a str>)>,
    worker_outcome: Option<&'a str>,
    truncated: bool,
    sequence: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct LineRow<'a> {
    source: &'a str,
    delivery: u64,
    line: u32,
    line_sha256: [u8; 32],
    received_at_us: i64,
}

impl LegRow<'_> {
    /// Moves its times, so that they are told from the call's start on.
    pub(super) fn shift(&mut self, by_us: i64) {
        self.start_us = self.start_us.wrapping_add(by_us);
        self.line.received_at_us = self.line.received_at_us.wrapping_add(by_us);
        if let Some(header) = &mut self.header {
            header.issued_at_us = header.issued_at_us.wrapping_add(by_us);
        }
    }
}

pub(super) fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

impl<'a> From<&'a LineRef> for LineRow<'a> {
    fn from(line: &'a LineRef) -> Self {
        LineRow {
            source: &line.source,
            delivery: line.delivery,
            line: line.line,
            line_sha256: line.line_sha256.0,
            received_at_us: line.received_at.micros(),
        }
    }
}

impl<'a> From<&'a Leg> for LegRow<'a> {
    fn from(l: &'a Leg) -> Self {
        LegRow {
            id: l.id.0,
            line: LineRow::from(&l.line),
            side: l.side.code(),
            observer_kind: l.observer.kind.code(),
            observer_name: &l.observer.name,
            made_by: l.made_by.map(|id| id.0),
            local: (&l.local).into(),
            peer: (&l.peer).into(),
            certificate: (
                l.peer_certificate.serial.as_deref(),
                l.peer_certificate.not_before.map(Timestamp::micros),
                l.peer_certificate.not_after.map(Timestamp::micros),
            ),
            protocol: l.protocol.code(),
            start_us: l.start.micros(),
            duration_us: l.duration_us,
            method: l.method.as_deref(),
            authority: l.authority.as_deref(),
            path: l.path.as_deref(),
            status: l.status,
            grpc_status: l.grpc_status,
            flags: &l.flags.0,
            response_details: l.response_details.as_deref(),
            termination_details: l.termination_details.as_deref(),
            transport_failure: l.transport_failure.as_deref(),
            attempts: l.attempts,
            request_body_bytes: l.request_body_bytes,
            response_body_bytes: l.response_body_bytes,
            trace: l.trace.map(|t| (t.trace_id.0, t.parent_id.0)),
            span_id: l.span_id.map(|id| id.0),
            parent_span_id: l.parent_span_id.map(|id| id.0),
            request_id: IdRow::of(l.request_id.as_ref()),
            ray: IdRow::of(l.ray.as_ref()),
            parent_ray: IdRow::of(l.parent_ray.as_ref()),
            colo: l.colo.as_deref(),
            hop: IdRow::of(l.hop.as_ref()),
            parent_hop: IdRow::of(l.parent_hop.as_ref()),
            header_logged: l.header_logged,
            header: l.header.as_ref().map(HeaderRow::from),
            malformed_header: l.malformed_header.as_deref(),
            socket: l.socket.as_ref().map(|s| (s.client.as_str(), s.server.as_str())),
            connection_id: l.connection_id,
            verdict: l.verdict.as_ref().map(|v| (v.allowed, v.policy.as_deref())),
            edge_principal: l.edge_principal.as_ref().map(PrincipalRow::from),
            edge_decision: l
                .edge_decision
                .as_ref()
                .map(|d| (d.allowed, d.policy.as_deref(), d.reason.as_deref())),
            worker_outcome: l.worker_outcome.as_deref(),
            truncated: l.truncated,
            sequence: l.sequence,
        }
    }
}

impl From<LineRow<'_>> for LineRef {
    fn from(row: LineRow<'_>) -> Self {
        LineRef {
            source: row.source.into(),
            delivery: row.delivery,
            line: row.line,
            line_sha256: LineHash(row.line_sha256),
            received_at: Timestamp(row.received_at_us),
        }
    }
}

fn observer(kind: u8, name: &str) -> Result<Observer, StoreError> {
    Ok(Observer { kind: ObserverKind::from_code(kind)?, name: name.to_owned() })
}

fn certificate((serial, not_before, not_after): (Option<&str>, Option<i64>, Option<i64>)) -> Certificate {
    Certificate {
        serial: owned(serial),
        not_before: not_before.map(Timestamp),
        not_after: not_after.map(Timestamp),
    }
}

fn trace((trace_id, parent_id): ([u8; 16], [u8; 8])) -> TraceContext {
    TraceContext { trace_id: TraceId(trace_id), parent_id: SpanId(parent_id) }
}

fn socket((client, server): (&str, &str)) -> SocketPair {
    SocketPair { client: client.to_owned(), server: server.to_owned() }
}

fn edge_decision((allowed, policy, reason): (bool, Option<&str>, Option<&str>)) -> EdgeDecision {
    EdgeDecision { allowed, policy: owned(policy), reason: owned(reason) }
}

impl TryFrom<LegRow<'_>> for Leg {
    type Error = StoreError;
    fn try_from(row: LegRow<'_>) -> Result<Self, StoreError> {
        let fields = LegFields {
            id: LegId(row.id),
            line: row.line.into(),
            side: Side::from_code(row.side)?,
            observer: observer(row.observer_kind, row.observer_name)?,
            made_by: row.made_by.map(LegId),
            local: row.local.try_into()?,
            peer: row.peer.try_into()?,
            peer_certificate: certificate(row.certificate),
            protocol: Protocol::from_code(row.protocol)?,
            start: Timestamp(row.start_us),
            duration_us: row.duration_us,
            method: owned(row.method),
            authority: owned(row.authority),
            path: owned(row.path),
            status: row.status,
            grpc_status: row.grpc_status,
            flags: ResponseFlags(row.flags.to_owned()),
            response_details: owned(row.response_details),
            termination_details: owned(row.termination_details),
            transport_failure: owned(row.transport_failure),
            attempts: row.attempts,
            request_body_bytes: row.request_body_bytes,
            response_body_bytes: row.response_body_bytes,
            trace: row.trace.map(trace),
            span_id: row.span_id.map(SpanId),
            parent_span_id: row.parent_span_id.map(SpanId),
            request_id: id_text(row.request_id),
            ray: id_text(row.ray),
            parent_ray: id_text(row.parent_ray),
            colo: owned(row.colo),
            hop: id_text(row.hop),
            parent_hop: id_text(row.parent_hop),
            header_logged: row.header_logged,
            header: row.header.map(SignedPrincipal::from),
            malformed_header: owned(row.malformed_header),
            socket: row.socket.map(socket),
            connection_id: row.connection_id,
            verdict: row.verdict.map(|(allowed, policy)| Verdict { allowed, policy: owned(policy) }),
            edge_principal: row.edge_principal.map(Principal::from),
            edge_decision: row.edge_decision.map(edge_decision),
            worker_outcome: owned(row.worker_outcome),
            truncated: row.truncated,
            sequence: row.sequence,
        };
        Ok(fields.into())
    }
}
