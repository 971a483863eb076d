//! What an Envoy access log line means: a server leg (a request came in), a client leg (one went out), or at a gateway both.
//!
//! The semantics were measured on Consul 1.22 with Envoy 1.36 and 1.40; `docs/wire.md` has them field by field. It refuses to
//! name a party more surely than the line does, and to take a log entry written before the end of a request for a call.

use super::envoy_identity::{self as identity, Role};
use super::envoy_wire::{EnvoyLine, RbacMetadata, WrappedLine};
use super::line::{Line, blank_leg, leg_id};
use super::shape::{self, Shape};
use super::wire_object::Number;
use super::{http_fields, mapped, reject, timestamp};
use crate::model::{
    Certificate, CustomFormat, Identity, IdentityKind, LegFields, LegId, Protocol, Reject, RejectReason,
    ResponseFlags, Side, SocketPair, Timestamp, Verdict,
};

const WHAT: &str = "an Envoy line";

pub fn decode(text: &str, line: &Line<'_>) -> Result<Vec<LegFields>, Reject> {
    let mut wire: EnvoyLine = serde_json::from_str(text).map_err(|e| reject::json(&e, WHAT))?;
    // The name under which a described format hands its duration over: on a line it is nobody's word.
    wire.duration_us = Number::default();
    legs(&wire, line, prints_principal_header(text))
}

/// The legs of a line that has been read, whatever its fields were called.
pub fn legs(wire: &EnvoyLine<'_>, line: &Line<'_>, header_logged: bool) -> Result<Vec<LegFields>, Reject> {
    let mut legs = EnvoyEntry::new(wire, line)?.legs();
    legs.iter_mut().for_each(|leg| leg.header_logged = header_logged);
    Ok(legs)
}

/// Whether the format has the calltrail header at all: null in a field that is printed means that none came, no field means
/// nothing. Inside a JSON string the quotes would be escaped, so the text can only be a key.
fn prints_principal_header(text: &str) -> bool {
    text.contains("\"calltrail\":") || text.contains("\"x_calltrail_principal\":")
}

/// `{"proxy","line"}`: the inner text is what Envoy wrote; hash and position stay those of the outer line.
pub fn decode_wrapped(
    text: &str,
    line: &Line<'_>,
    formats: &[CustomFormat],
) -> Result<Vec<LegFields>, Reject> {
    let outer: WrappedLine = serde_json::from_str(text).map_err(|e| reject::json(&e, "a wrapped line"))?;
    let inner =
        outer.line.get().ok_or_else(|| reject::missing("a wrapped line", "text in its field line"))?;
    let line = Line {
        reference: line.reference.clone(),
        proxy: outer.proxy.get().or(line.proxy),
        occurrence: line.occurrence,
    };
    if let Some(format) = mapped::described(inner, &line, formats) {
        return mapped::decode(inner, &line, format);
    }
    match shape::of(inner) {
        Shape::Envoy => decode(inner, &line),
        _ => Err(reject::unknown_shape(inner)),
    }
}

/// A line with what both of its legs share.
struct EnvoyEntry<'l> {
    wire: &'l EnvoyLine<'l>,
    line: &'l Line<'l>,
    role: Role,
    start: Timestamp,
    protocol: Protocol,
}

impl<'l> EnvoyEntry<'l> {
    fn new(wire: &'l EnvoyLine<'l>, line: &'l Line<'l>) -> Result<Self, Reject> {
        if let Some(version) = wire.ct.get().filter(|ct| ct.starts_with("calltrail/") && *ct != "calltrail/1")
        {
            let shown: String = version.chars().take(16).collect();
            return Err(Reject::new(
                RejectReason::UnknownFormat,
                format!("{WHAT} of format {shown}, and calltrail/1 is the newest that this version reads"),
            ));
        }
        if let Some(kind) = wire.access_log_type.get().filter(|kind| !ends_a_call(kind)) {
            let shown: String = kind.chars().take(32).collect();
            return Err(Reject::new(
                RejectReason::InvalidField,
                format!("{WHAT} with access_log_type {shown}: log requests at their end only"),
            ));
        }
        let start = match (wire.start_ns.get(), wire.start_time.get()) {
            (None, None) => return Err(reject::missing(WHAT, "start_time")),
            (nanos, time) => nanos.and_then(timestamp::parse).or_else(|| time.and_then(timestamp::parse)),
        };
        let start = start.ok_or_else(|| reject::invalid(WHAT, "start_time", "a time (RFC 3339)"))?;
        Ok(EnvoyEntry { wire, line, role: identity::role(wire, line), start, protocol: protocol(wire) })
    }

    fn legs(&self) -> Vec<LegFields> {
        match self.role {
            Role::Inbound => vec![self.server_leg()],
            Role::Outbound => vec![self.client_leg(None)],
            Role::ApiGateway | Role::TerminatingGateway => {
                let server = self.server_leg();
                // A gateway that chose no cluster answered by itself: no second call was made.
                let client = self.wire.upstream_cluster.get().map(|_| self.client_leg(Some(server.id)));
                std::iter::once(server).chain(client).collect()
            }
        }
    }

    fn server_leg(&self) -> LegFields {
        let wire = self.wire;
        let mut leg = self.shared_leg(Side::Server);
        leg.local = self.server_identity().unwrap_or_else(Identity::unknown);
        let remote = self.downstream_address();
        leg.peer = identity::verified(wire.downstream_peer_uri_san.get())
            .or_else(|| identity::by_address(wire.downstream_direct_remote_address.get().or(remote)))
            .unwrap_or_else(Identity::unknown);
        leg.peer_certificate = Certificate {
            serial: wire.downstream_peer_serial.owned(),
            not_before: wire.downstream_peer_cert_start.get().and_then(timestamp::parse),
            not_after: wire.downstream_peer_cert_end.get().and_then(timestamp::parse),
        };
        leg.socket = socket_pair(remote, wire.downstream_local_address.get());
        leg.connection_id = wire.connection_id.unsigned();
        leg.verdict = verdict(wire);
        let (hop, parent_hop) = (wire.hop.get(), wire.parent_hop.get());
        (leg.hop, leg.parent_hop) = match self.role {
            // The gateway sets a new hop id for what it sends on; the one that it received is logged as the parent.
            Role::ApiGateway => (http_fields::hop(parent_hop), None),
            _ => (http_fields::hop(hop), http_fields::hop(parent_hop)),
        };
        leg
    }

    fn client_leg(&self, made_by: Option<LegId>) -> LegFields {
        let wire = self.wire;
        let mut leg = self.shared_leg(Side::Client);
        leg.made_by = made_by;
        let (own_kind, peer_kind) = match self.role {
            Role::ApiGateway => (IdentityKind::Gateway, IdentityKind::Service),
            Role::TerminatingGateway => (IdentityKind::Gateway, IdentityKind::External),
            Role::Inbound | Role::Outbound => (IdentityKind::Service, IdentityKind::Service),
        };
        leg.local = identity::verified(wire.upstream_local_uri_san.get())
            .map(|own| Identity { kind: own_kind, ..own })
            .or_else(|| identity::own_name(wire, self.line, own_kind))
            .unwrap_or_else(Identity::unknown);
        leg.peer = identity::verified(wire.upstream_peer_uri_san.get())
            .or_else(|| identity::by_cluster(wire.upstream_cluster.get(), peer_kind))
            .or_else(|| identity::by_address(wire.upstream_host.get()))
            .unwrap_or_else(Identity::unknown);
        leg.peer_certificate = Certificate {
            serial: None,
            not_before: wire.upstream_peer_cert_start.get().and_then(timestamp::parse),
            not_after: wire.upstream_peer_cert_end.get().and_then(timestamp::parse),
        };
        leg.socket = socket_pair(wire.upstream_local_address.get(), wire.upstream_host.get());
        leg.connection_id = wire.upstream_connection_id.unsigned();
        if self.role == Role::TerminatingGateway {
            // It passes the hop id on unchanged: that names the call that came in, not this one.
            leg.parent_hop = http_fields::hop(wire.hop.get());
        } else {
            leg.hop = http_fields::hop(wire.hop.get());
            leg.parent_hop = http_fields::hop(wire.parent_hop.get());
        }
        leg
    }

    /// What the line says about the request, whichever side of it a leg stands for.
    fn shared_leg(&self, side: Side) -> LegFields {
        let wire = self.wire;
        let id = match wire.unique_id.get() {
            Some(unique) => leg_id("envoy", &[unique, side.as_str()]),
            None => self.line.own_leg_id(side.as_str()),
        };
        let observer = identity::observer(wire, self.line, self.role);
        let mut leg = blank_leg(id, self.line, side, observer, self.start);
        leg.protocol = self.protocol;
        leg.duration_us = wire.duration_us.0.or_else(|| timestamp::duration_us(wire.duration_ms));
        leg.method = wire.method.owned();
        leg.authority = wire.authority.owned();
        leg.path = wire.path.get().map(http_fields::path);
        leg.status = http_fields::status(wire.response_code.0);
        leg.grpc_status = wire.grpc_status.get().and_then(grpc_status);
        leg.flags = ResponseFlags(wire.response_flags.owned().unwrap_or_default());
        leg.response_details = wire.response_code_details.owned();
        leg.termination_details = wire.connection_termination_details.owned();
        leg.transport_failure = wire.upstream_transport_failure_reason.owned();
        leg.attempts = wire.attempts.unsigned().and_then(|n| u32::try_from(n).ok());
        leg.request_body_bytes = wire.bytes_received.unsigned();
        leg.response_body_bytes = wire.bytes_sent.unsigned();
        leg.trace = http_fields::trace(wire.traceparent.get());
        leg.request_id = wire.request_id.owned();
        (leg.ray, leg.colo) = http_fields::ray(wire.cf_ray.get());
        http_fields::set_principal_header(&mut leg, wire.calltrail.get());
        leg
    }

    fn server_identity(&self) -> Option<Identity> {
        let wire = self.wire;
        if self.role == Role::ApiGateway {
            // Its listener shows no mesh certificate; the one that it shows upstream says who it is.
            return identity::verified(wire.upstream_local_uri_san.get())
                .map(|own| Identity { kind: IdentityKind::Gateway, ..own })
                .or_else(|| identity::own_name(wire, self.line, IdentityKind::Gateway));
        }
        identity::verified(wire.downstream_local_uri_san.get()).or_else(|| match self.role {
            // A terminating gateway stands in for the service that was asked for.
            Role::TerminatingGateway => {
                identity::by_cluster(wire.upstream_cluster.get(), IdentityKind::Service)
            }
            _ => identity::own_name(wire, self.line, IdentityKind::Service)
                .or_else(|| identity::by_address(wire.downstream_local_address.get())),
        })
    }

    /// The caller's end of the connection. Consul's default format has only the address that X-Forwarded-For can forge; what is
    /// forged has port 0.
    fn downstream_address(&self) -> Option<&str> {
        let fallback =
            || self.wire.downstream_remote_address.get().filter(|address| !address.ends_with(":0"));
        self.wire.downstream_direct_remote_address.get().or_else(fallback)
    }
}

/// Consul asks for entries at the end only; other configurations write more of them per request, and counting each as a call
/// would count it twice. Source: Envoy, `%ACCESS_LOG_TYPE%`.
fn ends_a_call(access_log_type: &str) -> bool {
    matches!(access_log_type, "DownstreamEnd" | "TcpConnectionEnd" | "NotSet")
}

fn protocol(wire: &EnvoyLine<'_>) -> Protocol {
    if wire.access_log_type.get().is_some_and(|kind| kind.starts_with("Tcp")) {
        return Protocol::Tcp;
    }
    match wire.protocol.get() {
        Some("HTTP/1.1" | "HTTP/1.0") => Protocol::Http1,
        Some("HTTP/2") => Protocol::Http2,
        Some("HTTP/3") => Protocol::Http3,
        Some(_) => Protocol::Unknown,
        None if wire.method.get().is_none() && wire.response_code_details.get().is_none() => Protocol::Tcp,
        None => Protocol::Unknown,
    }
}

fn socket_pair(client: Option<&str>, server: Option<&str>) -> Option<SocketPair> {
    Some(SocketPair { client: client?.to_owned(), server: server?.to_owned() })
}

/// Consul's verdict: from the RBAC filter's metadata, else from the details in which a denial stands (for TCP the only place).
/// A JWT that the intention demands and the request lacks reads the same as no matching intention (measured).
fn verdict(wire: &EnvoyLine<'_>) -> Option<Verdict> {
    let details = [&wire.response_code_details, &wire.connection_termination_details];
    let denied = details.iter().find_map(|field| denial(field.get()?));
    denied.or_else(|| engine_verdict(&wire.rbac)).or_else(|| engine_verdict(&wire.network_rbac))
}

fn engine_verdict(rbac: &RbacMetadata<'_>) -> Option<Verdict> {
    let allowed = match rbac.enforced_engine_result.get()? {
        "allowed" => true,
        "denied" => false,
        _ => return None,
    };
    Some(Verdict { allowed, policy: rbac.enforced_effective_policy_id.owned() })
}

fn denial(details: &str) -> Option<Verdict> {
    if details.starts_with("jwt_authn_access_denied") {
        return Some(Verdict { allowed: false, policy: None });
    }
    let rest = details.strip_prefix("rbac_access_denied")?;
    let policy = rest.strip_prefix("_matched_policy[").and_then(|rest| rest.split(']').next());
    let policy = policy.filter(|name| !name.is_empty() && *name != "none").map(str::to_owned);
    Some(Verdict { allowed: false, policy })
}

/// `%GRPC_STATUS_NUMBER%` gives the number, `%GRPC_STATUS%` a name in one of two spellings.
fn grpc_status(text: &str) -> Option<u16> {
    const NAMES: [&str; 17] = [
        "ok",
        "canceled",
        "unknown",
        "invalidargument",
        "deadlineexceeded",
        "notfound",
        "alreadyexists",
        "permissiondenied",
        "resourceexhausted",
        "failedprecondition",
        "aborted",
        "outofrange",
        "unimplemented",
        "internal",
        "unavailable",
        "dataloss",
        "unauthenticated",
    ];
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let name: String = text.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect();
    NAMES
        .iter()
        .position(|known| *known == name || (*known == "canceled" && name == "cancelled"))
        .map(|n| n as u16)
}
