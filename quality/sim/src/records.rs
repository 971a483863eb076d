//! What happened, as each observer would tell it, before it has a format: the border between the world (`world`), what goes wrong
//! on the way (`faults`) and the serialisation (`lines`).
//!
//! Times are true microseconds since the epoch; an observer's clock error is a fault, applied later. Every record names the true
//! calls that it tells of.

/// Place of a call in the world's list of true calls.
pub type CallNo = usize;

/// What a record says of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    WorkerHead,
    WorkerRecord,
    /// A Worker's event without the module's records.
    WorkerEnvelope,
    ZoneEyeball,
    ZoneSubrequest,
    /// The gateway's line: server side of what came from outside, client side of what it passed on.
    Gateway,
    /// The caller's sidecar.
    Caller,
    /// The callee's sidecar.
    Callee,
}

/// One line to be.
// Nearly all are Envoy's: boxing the largest would cost an allocation for each.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone)]
pub enum Record {
    Envoy(EnvoyRecord),
    Worker(WorkerEvent),
    Zone(ZoneRecord),
}

/// Who writes access-log lines.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Proxy {
    /// `web-sidecar-proxy-1`; also the name of its file.
    pub node_id: String,
    /// `web`.
    pub service: String,
    /// IPv4 address of its pod.
    pub address: String,
    pub is_gateway: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Inbound,
    Outbound,
}

/// An Envoy access-log line. A `None` is printed as `null`, as Envoy prints `-` operators in JSON.
#[derive(Debug, Clone)]
pub struct EnvoyRecord {
    pub proxy: std::sync::Arc<Proxy>,
    pub direction: Direction,
    /// The calls it tells of: one, or for a gateway that the truth splits, both its halves.
    pub calls: Vec<CallNo>,
    pub role: Role,
    pub start_us: i64,
    pub duration_us: i64,
    pub unique_id: String,
    pub is_tcp: bool,
    pub method: Option<String>,
    pub authority: Option<String>,
    /// With its query, if it has one: only Consul's default format prints that.
    pub path: Option<String>,
    /// `HTTP/1.1`, `HTTP/2`, or `None` for TCP.
    pub protocol: Option<String>,
    pub response_code: u16,
    /// `-` where none.
    pub response_flags: String,
    pub response_code_details: Option<String>,
    pub connection_termination_details: Option<String>,
    pub upstream_transport_failure_reason: Option<String>,
    pub grpc_status: Option<u16>,
    pub attempts: u32,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub traceparent: Option<String>,
    pub tracestate: Option<String>,
    pub request_id: Option<String>,
    pub cf_ray: Option<String>,
    pub envoy_trace_id: Option<String>,
    pub downstream_peer_uri_san: Option<String>,
    pub downstream_local_uri_san: Option<String>,
    pub downstream_peer_serial: Option<String>,
    pub downstream_tls_version: Option<String>,
    pub upstream_peer_uri_san: Option<String>,
    pub upstream_local_uri_san: Option<String>,
    pub upstream_cluster: Option<String>,
    pub upstream_host: Option<String>,
    pub upstream_local_address: Option<String>,
    pub downstream_direct_remote_address: Option<String>,
    pub downstream_local_address: Option<String>,
    pub requested_server_name: Option<String>,
    pub connection_id: u64,
    /// Metadata of the RBAC filter as Envoy prints it.
    pub rbac: Option<serde_json::Value>,
    pub calltrail: Option<String>,
    pub hop: Option<String>,
    pub parent_hop: Option<String>,
    /// Whether this proxy's format has the hop fields and the certificates' dates.
    pub prints_hop: bool,
    /// Certificates' validity, epoch seconds: downstream peer, upstream peer.
    pub downstream_peer_certificate: Option<(i64, i64)>,
    pub upstream_peer_certificate: Option<(i64, i64)>,
    /// X-Forwarded-For as the proxy received it: all that Consul's default format knows of a visitor behind Cloudflare.
    pub x_forwarded_for: Option<String>,
}

/// A Worker's invocation as one event of `workers_trace_events`.
#[derive(Debug, Clone)]
pub struct WorkerEvent {
    pub script: String,
    /// `*/5 * * * *`: a scheduled event, which has no request: `url` and `method` are empty, `status` and `ray` absent.
    pub cron: Option<String>,
    /// Absent for a call by service binding, too.
    pub ray: Option<String>,
    pub url: String,
    pub method: String,
    pub status: Option<u16>,
    pub outcome: String,
    /// When the event's envelope is dated, and when the invocation ended (it is sent only then).
    pub start_us: i64,
    pub end_us: i64,
    pub call: CallNo,
    pub head: Option<WorkerHead>,
    pub records: Vec<WorkerRecord>,
    /// Other things the Worker logs: (text, at).
    pub chatter: Vec<(String, i64)>,
    /// (name, message, at).
    pub exceptions: Vec<(String, String, i64)>,
}

/// The head record: who asks, and what was decided.
#[derive(Debug, Clone)]
pub struct WorkerHead {
    pub trace_id: String,
    pub span_id: String,
    pub parent_span_id: Option<String>,
    pub issuer: Option<String>,
    pub subject: Option<String>,
    /// `user`, `service`, `cron`.
    pub kind: Option<String>,
    /// `allow` or `deny`.
    pub decision: String,
    pub policy: String,
    pub reason: Option<String>,
    pub sequence: u32,
    pub at_us: i64,
}

/// One subrequest as the Worker's module records it.
#[derive(Debug, Clone)]
pub struct WorkerRecord {
    pub call: CallNo,
    pub trace_id: String,
    pub span_id: String,
    pub request_id: String,
    pub service: String,
    pub host: String,
    pub method: String,
    pub path: String,
    /// Tries of the same subrequest that went before, where the Worker itself tries again.
    pub attempt: u32,
    /// By the Worker's clock, which stands still while it computes.
    pub start_us: i64,
    pub duration_us: i64,
    pub status: Option<u16>,
    pub error: Option<String>,
    /// Ray of the subrequest.
    pub ray: Option<String>,
    /// `x-envoy-upstream-service-time`, ms.
    pub upstream_service_ms: Option<u64>,
    pub hop: Option<String>,
    pub sequence: u32,
}

/// A row of `http_requests`: the visitor's request, or a Worker's subrequest.
#[derive(Debug, Clone)]
pub struct ZoneRecord {
    pub call: CallNo,
    pub role: Role,
    pub host: String,
    pub method: String,
    pub path: String,
    pub start_us: i64,
    pub end_us: i64,
    pub status: u16,
    pub ray: String,
    pub parent_ray: Option<String>,
    pub traceparent: Option<String>,
    pub request_id: Option<String>,
    pub calltrail: Option<String>,
}

/// A call as it truly was.
#[derive(Debug, Clone)]
pub struct TrueCall {
    /// `edge` (visitor or cron → Worker), `binding` (Worker → Worker), `edge_call` (Worker or outsider → gateway), `http`, `grpc`, `ws`,
    /// `tcp`. Unlike in the captures'
    /// truth, Worker → gateway and gateway → service are two calls here: the second is of kind `http` with caller `gw`.
    pub kind: String,
    pub caller: String,
    pub callee: String,
    pub method: Option<String>,
    pub path: Option<String>,
    pub status: i32,
    pub start_us: i64,
    pub end_us: i64,
    pub parent: Option<CallNo>,
    /// `edge`, `attack`, `background`.
    pub root_kind: String,
    /// Subject for whom the call was really made; `None` for background work and for attacks and all they cause.
    pub principal: Option<String>,
    /// What travels with the request (header with a valid signature, unbroken forwarding) is enough to prove it.
    pub principal_provable: bool,
    /// What a perfect judge would say, by calltrail's own names of findings.
    pub findings: Vec<String>,
    /// Findings that hold of one of its ancestors.
    pub tainted_by: Vec<String>,
    /// Calls with equal number here cannot be told apart by anything but time: same connection, ids, identities, method, path.
    pub interchangeable: Option<u64>,
    pub attempts: u32,
    pub scenario: String,
}
