//! A [`Leg`]: what one line says about one call, seen from one side.
//!
//! A leg says only what its line says. It is never completed from elsewhere, its clock is never corrected, and an identity in
//! it is marked with how the observer knew it.

use super::RequestKey;
use super::identity::{Assurance, Identity, IdentityKind, words};
use super::ids::{LegId, LineHash, SpanId, TraceId};
use super::time::Timestamp;
use super::trace_context::TraceContext;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// Who made the call saw it leave (`client`), or who received it (`server`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    Client,
    Server,
}
words!(Side { Client => "client", Server => "server" });

/// What sort of program wrote the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObserverKind {
    Worker,
    Gateway,
    Sidecar,
    /// Cloudflare's `http_requests`: an independent witness of what the Worker received and sent. Its legs stand on the
    /// client side: it saw the request on its way to the callee.
    Zone,
}
impl ObserverKind {
    /// Envoy, whatever its place.
    pub fn is_proxy(self) -> bool {
        matches!(self, ObserverKind::Gateway | ObserverKind::Sidecar)
    }
}
words!(ObserverKind { Worker => "worker", Gateway => "gateway", Sidecar => "sidecar", Zone => "zone" });

/// Who wrote the leg, as an instance: a Worker's script, an Envoy node id, a zone's host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Observer {
    pub kind: ObserverKind,
    pub name: String,
}

/// What the two ends spoke. gRPC is HTTP/2 with a `grpc_status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Http1,
    Http2,
    Http3,
    Tcp,
    /// A Worker's own event that is no HTTP request: cron, queue, RPC, alarm.
    Event,
    Unknown,
}
words!(Protocol {
    Http1 => "http/1.1", Http2 => "http/2", Http3 => "http/3", Tcp => "tcp", Event => "event", Unknown => "unknown",
});

impl Protocol {
    pub fn is_http(self) -> bool {
        matches!(self, Protocol::Http1 | Protocol::Http2 | Protocol::Http3)
    }
}

/// Where a leg stands in the evidence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineRef {
    pub source: Arc<str>,
    /// Gap-free number of the delivery, in commit order, from 1.
    pub delivery: u64,
    /// Position of the line in its delivery, from 1.
    pub line: u32,
    pub line_sha256: LineHash,
    /// When the delivery was received: what lateness is judged by.
    pub received_at: Timestamp,
}

/// How long before its first and after its last logged request a connection is taken to have been there: uses of the same ends
/// that lie further apart are two connections. Twice five minutes of clocks that are off, and one for idle pools.
pub const CONNECTION_SLACK_US: i64 = 660_000_000;

/// The TCP connection between the caller's proxy and the callee's, as `ip:port` texts: the caller's end and the callee's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketPair {
    pub client: String,
    pub server: String,
}

/// Whose proxy a connection belongs to, as that proxy's own lines say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder {
    /// The observer's name.
    pub proxy: String,
    /// [`Identity::key`] of the workload behind it.
    pub party: String,
}

/// Envoy's response flags, comma-separated as logged (`UF,URX`); empty for `-`.
/// Source: Envoy, "Access logging", `%RESPONSE_FLAGS%`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResponseFlags(pub String);

impl ResponseFlags {
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split(',').map(str::trim).filter(|f| !f.is_empty() && *f != "-")
    }

    pub fn has(&self, flag: &str) -> bool {
        self.iter().any(|f| f == flag)
    }
}

/// The user, service token or cron job on whose behalf something runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal {
    /// `user`, `service`, `worker`, `cron` or what the Worker's author chose.
    pub kind: String,
    /// As the Worker wrote it: by default an HMAC of issuer and subject, never a name.
    pub subject: String,
    pub issuer: Option<String>,
}

/// The Worker's own verdict, from its head record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeDecision {
    pub allowed: bool,
    pub policy: Option<String>,
    pub reason: Option<String>,
}

/// Consul's verdict on this request, as the line carries it (never the rule in force at its time).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Verdict {
    pub allowed: bool,
    /// `consul-intentions-layer4`, `consul-intentions-layer7-1`, ...; a denial by default names none.
    pub policy: Option<String>,
}

/// `x-calltrail-principal` as a line echoes it, parsed but not yet checked: whether the signature holds is decided in
/// `correlate`, where the keys are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignedPrincipal {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub principal_kind: String,
    pub subject: String,
    pub issued_at: Timestamp,
    /// Version tag of the header: `v1` (HMAC-SHA256, 22 characters) or `v2` (Ed25519 with key id and audience).
    pub version: String,
    pub key_id: Option<String>,
    pub audience: Option<String>,
    /// The signature's text as it stands in the header.
    pub signature: String,
    /// Exactly the bytes that were signed.
    pub signed_text: String,
}

/// Of the peer's leaf certificate, what the line tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Certificate {
    pub serial: Option<String>,
    pub not_before: Option<Timestamp>,
    pub not_after: Option<Timestamp>,
}

/// What a [`Leg`] says. Times are microseconds by the observer's own clock; byte counts are of bodies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegFields {
    pub id: LegId,
    pub line: LineRef,
    pub side: Side,
    pub observer: Observer,
    /// The server leg, written by the same line, whose handling made this client leg: a Worker's subrequest and a gateway's
    /// forwarding say so themselves. This is the parent, exactly.
    pub made_by: Option<LegId>,

    /// The observer's own workload, and the other party.
    pub local: Identity,
    pub peer: Identity,
    pub peer_certificate: Certificate,

    pub protocol: Protocol,
    pub start: Timestamp,
    /// `None` where the line does not say when it ended.
    pub duration_us: Option<i64>,
    pub method: Option<String>,
    pub authority: Option<String>,
    /// Without the query string.
    pub path: Option<String>,
    /// HTTP status; `None` where no response was seen (Envoy's 0) and for TCP.
    pub status: Option<u16>,
    pub grpc_status: Option<u16>,
    pub flags: ResponseFlags,
    pub response_details: Option<String>,
    pub termination_details: Option<String>,
    pub transport_failure: Option<String>,
    /// Upstream attempts that a client leg made (Envoy retries); 0 when none was made; `None` where the line does not say.
    pub attempts: Option<u32>,
    pub request_body_bytes: Option<u64>,
    pub response_body_bytes: Option<u64>,

    pub trace: Option<TraceContext>,
    /// The Worker's own span: of its invocation (server leg) or of the subrequest (client leg). `None` for Envoy, whose logged
    /// span ids are never a key between sidecars.
    pub span_id: Option<SpanId>,
    pub parent_span_id: Option<SpanId>,
    pub request_id: Option<String>,
    /// The ray of this very request (of the visitor's on a Worker's server leg, of the subrequest elsewhere), without colo.
    pub ray: Option<String>,
    /// The ray of the request whose handling made this one (`ParentRayID`).
    pub parent_ray: Option<String>,
    pub colo: Option<String>,
    pub hop: Option<String>,
    pub parent_hop: Option<String>,
    /// The format prints the calltrail header, so that its absence says that none came.
    pub header_logged: bool,
    pub header: Option<SignedPrincipal>,
    /// A calltrail header was there but does not parse: kept as seen, and a finding.
    pub malformed_header: Option<String>,

    pub socket: Option<SocketPair>,
    pub connection_id: Option<u64>,

    pub verdict: Option<Verdict>,
    pub edge_principal: Option<Principal>,
    pub edge_decision: Option<EdgeDecision>,
    /// The Worker's event ended otherwise than `ok` (`exception`, `canceled`, `exceededCpu`, ...).
    pub worker_outcome: Option<String>,
    /// Its line does not tell everything: the carrier cut the event's logs, a record is missing among those that it holds, or a
    /// merged part could not be read. Subrequests may be missing.
    pub truncated: bool,
    /// The Worker's sequence number of the record (`q`): a gap says that a record is missing.
    pub sequence: Option<u32>,
}

/// One line's view of one call, cheap to clone: it is held by everything that has to do with the call, and changed by nobody once it
/// has been read. Whoever does change a field of it changes a copy of his own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leg(Arc<LegFields>);

impl Deref for Leg {
    type Target = LegFields;
    fn deref(&self) -> &LegFields {
        &self.0
    }
}

impl DerefMut for Leg {
    fn deref_mut(&mut self) -> &mut LegFields {
        Arc::make_mut(&mut self.0)
    }
}

impl From<LegFields> for Leg {
    fn from(fields: LegFields) -> Leg {
        Leg(Arc::new(fields))
    }
}

impl fmt::Debug for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Leg {
    /// When it ended by the observer's clock; its start where the line does not say.
    pub fn end(&self) -> Timestamp {
        self.start.plus_us(self.duration_us.unwrap_or(0))
    }

    /// How many server legs a client leg may have at most: one where the line does not say, and never none, since a timeout or reset
    /// can hide how many there were.
    pub fn most_attempts(&self) -> usize {
        self.attempts.unwrap_or(1).max(1) as usize
    }

    pub fn caller(&self) -> &Identity {
        match self.side {
            Side::Client => &self.local,
            Side::Server => &self.peer,
        }
    }

    pub fn callee(&self) -> &Identity {
        match self.side {
            Side::Client => &self.peer,
            Side::Server => &self.local,
        }
    }

    /// A gateway's view of a request that comes from outside the mesh. A terminating gateway, which sees a caller's mesh
    /// certificate, is the callee's side of a call inside the mesh: it stands for the service that was asked for.
    pub fn is_entry(&self) -> bool {
        self.side == Side::Server
            && self.observer.kind == ObserverKind::Gateway
            && self.peer.assurance != Assurance::Mtls
            && self.local.kind != IdentityKind::Service
    }

    /// The zone's record of what a Worker sent. A Worker that no visitor called has no ray for it to name.
    pub fn is_subrequest_witness(&self) -> bool {
        self.observer.kind == ObserverKind::Zone && self.local.kind == IdentityKind::Worker
    }

    /// One end of a request from the edge to the mesh: told by the Worker, the zone or the gateway.
    pub fn leaves_the_edge(&self) -> bool {
        let by_worker = self.observer.kind == ObserverKind::Worker && self.side == Side::Client;
        by_worker || self.is_subrequest_witness() || self.is_entry()
    }

    /// The format prints the calltrail header, and the line has not lost its headers on the way to us. Only then does a missing
    /// header say anything.
    pub fn shows_headers(&self) -> bool {
        self.header_logged && !self.has_lost_headers()
    }

    /// No header of the request is left: a gateway gives every request an id, so that a line without one, and without any other,
    /// has lost them. One header is enough to see that the others could have been there.
    pub fn has_lost_headers(&self) -> bool {
        let ids = [self.request_id.is_some(), self.hop.is_some(), self.trace.is_some()];
        !ids.contains(&true) && self.header.is_none() && self.malformed_header.is_none()
    }

    /// The callee's side of a call inside the mesh.
    pub fn is_mesh_server(&self) -> bool {
        self.side == Side::Server && self.observer.kind.is_proxy() && !self.is_entry()
    }

    /// The caller's side of a call inside the mesh, or out of it.
    pub fn is_mesh_client(&self) -> bool {
        self.side == Side::Client && self.observer.kind.is_proxy()
    }

    /// Names no trace, request, hop or ray: nothing but its connection, time and parties ties it to anything.
    pub fn is_nameless(&self) -> bool {
        self.trace_ids().next().is_none()
            && self.request_id.as_ref().is_none_or(String::is_empty)
            && [&self.hop, &self.parent_hop, &self.ray, &self.parent_ray].iter().all(|id| id.is_none())
    }

    /// Trace ids that this leg names: of `traceparent`, and of the signed header's own copy.
    pub fn trace_ids(&self) -> impl Iterator<Item = TraceId> {
        let own = self.trace.map(|t| t.trace_id);
        let copy = self.header.as_ref().map(|h| h.trace_id);
        own.into_iter().chain(copy.filter(move |c| Some(*c) != own))
    }

    /// Whether two legs name the same request; `None` when one of them names none. Compares as [`Leg::request_key`] does.
    pub fn same_request(&self, other: &Leg) -> Option<bool> {
        let [one, other] = [self, other].map(|leg| leg.request_id.as_deref().filter(|id| !id.is_empty()));
        let (one, other) = one.zip(other)?;
        Some(one == other || (one.len() == other.len() && RequestKey::of(one) == RequestKey::of(other)))
    }

    /// The request id in the form in which two ends compare it.
    pub fn request_key(&self) -> Option<RequestKey> {
        self.request_id.as_deref().filter(|id| !id.is_empty()).map(RequestKey::of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_one_by_one() {
        let flags = ResponseFlags("UF,URX".to_owned());
        assert!(flags.has("URX") && !flags.has("U"));
        assert_eq!(ResponseFlags("-".to_owned()).iter().count(), 0);
    }
}
