//! Envoy's access log in the recommended format. Consul hands the format on with its keys sorted, so lines are sorted, too.

use super::{first_bytes, time};
use crate::records::{Direction, EnvoyRecord};
use serde::Serialize;

#[derive(Serialize)]
pub struct Line<'a> {
    access_log_type: &'static str,
    attempts: u32,
    authority: Option<&'a str>,
    bytes_received: u64,
    bytes_sent: u64,
    calltrail: Option<&'a str>,
    cf_ray: Option<&'a str>,
    connection_id: u64,
    connection_termination_details: Option<&'a str>,
    ct: &'static str,
    /// A number by nature, a text in the log: CEL prints it so.
    direction: &'static str,
    downstream_direct_remote_address: Option<&'a str>,
    downstream_local_address: Option<&'a str>,
    downstream_local_uri_san: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    downstream_peer_cert_end: IfAsked<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    downstream_peer_cert_start: IfAsked<String>,
    downstream_peer_serial: Option<&'a str>,
    downstream_peer_uri_san: Option<&'a str>,
    downstream_tls_version: Option<&'a str>,
    duration_ms: i64,
    envoy_trace_id: Option<&'a str>,
    grpc_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hop: IfAsked<&'a str>,
    method: Option<&'a str>,
    node_cluster: &'a str,
    node_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_hop: IfAsked<&'a str>,
    path: Option<&'a str>,
    protocol: Option<&'a str>,
    rbac: Option<&'a serde_json::Value>,
    request_id: Option<&'a str>,
    requested_server_name: Option<&'a str>,
    response_code: u16,
    response_code_details: Option<&'a str>,
    response_flags: &'a str,
    start_time: String,
    traceparent: Option<&'a str>,
    tracestate: Option<&'a str>,
    unique_id: &'a str,
    upstream_cluster: Option<&'a str>,
    upstream_host: Option<&'a str>,
    upstream_local_address: Option<&'a str>,
    upstream_local_uri_san: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_peer_cert_end: IfAsked<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_peer_cert_start: IfAsked<String>,
    upstream_peer_uri_san: Option<&'a str>,
    upstream_transport_failure_reason: Option<&'a str>,
}

/// A field that only some proxies' format asks for: where it does, an absent value is `null`, as any other.
type IfAsked<T> = Option<Option<T>>;

impl<'a> Line<'a> {
    #[rustfmt::skip] // a table
    pub fn of(record: &'a EnvoyRecord) -> Self {
        let r = record;
        let asks_hop = r.prints_hop;
        let if_hop = |value: Option<&'a str>| asks_hop.then_some(value);
        let date = |at_s: Option<i64>| asks_hop.then(|| at_s.map(time::seconds));
        Line {
            access_log_type: if r.is_tcp { "TcpConnectionEnd" } else { "DownstreamEnd" },
            attempts: r.attempts,
            authority: cut(&r.authority, 256),
            bytes_received: r.bytes_received,
            bytes_sent: r.bytes_sent,
            calltrail: cut(&r.calltrail, 512),
            cf_ray: cut(&r.cf_ray, 64),
            connection_id: r.connection_id,
            connection_termination_details: r.connection_termination_details.as_deref(),
            ct: "calltrail/1",
            direction: match r.direction { Direction::Inbound => "1", Direction::Outbound => "2" },
            downstream_direct_remote_address: r.downstream_direct_remote_address.as_deref(),
            downstream_local_address: r.downstream_local_address.as_deref(),
            downstream_local_uri_san: r.downstream_local_uri_san.as_deref(),
            downstream_peer_cert_end: date(r.downstream_peer_certificate.map(|(_, end)| end)),
            downstream_peer_cert_start: date(r.downstream_peer_certificate.map(|(start, _)| start)),
            downstream_peer_serial: r.downstream_peer_serial.as_deref(),
            downstream_peer_uri_san: r.downstream_peer_uri_san.as_deref(),
            downstream_tls_version: r.downstream_tls_version.as_deref(),
            duration_ms: r.duration_us.div_euclid(1_000),
            envoy_trace_id: r.envoy_trace_id.as_deref(),
            grpc_status: r.grpc_status,
            hop: if_hop(cut(&r.hop, 64)),
            method: r.method.as_deref(),
            node_cluster: &r.proxy.service,
            node_id: &r.proxy.node_id,
            parent_hop: if_hop(cut(&r.parent_hop, 64)),
            path: cut(&r.path, 1024).map(without_query),
            protocol: r.protocol.as_deref(),
            rbac: r.rbac.as_ref(),
            request_id: cut(&r.request_id, 128),
            requested_server_name: r.requested_server_name.as_deref(),
            response_code: r.response_code,
            response_code_details: r.response_code_details.as_deref(),
            response_flags: &r.response_flags,
            start_time: time::micros(r.start_us),
            traceparent: cut(&r.traceparent, 128),
            tracestate: cut(&r.tracestate, 512),
            unique_id: &r.unique_id,
            upstream_cluster: r.upstream_cluster.as_deref(),
            upstream_host: r.upstream_host.as_deref(),
            upstream_local_address: r.upstream_local_address.as_deref(),
            upstream_local_uri_san: r.upstream_local_uri_san.as_deref(),
            upstream_peer_cert_end: date(r.upstream_peer_certificate.map(|(_, end)| end)),
            upstream_peer_cert_start: date(r.upstream_peer_certificate.map(|(start, _)| start)),
            upstream_peer_uri_san: r.upstream_peer_uri_san.as_deref(),
            upstream_transport_failure_reason: r.upstream_transport_failure_reason.as_deref(),
        }
    }
}

/// `:256` after an operator: the first so many bytes.
fn cut(value: &Option<String>, max_bytes: usize) -> Option<&str> {
    value.as_deref().map(|text| first_bytes(text, max_bytes))
}

/// `%PATH(NQ:PATH)%`.
fn without_query(path: &str) -> &str {
    path.split_once('?').map_or(path, |(path, _)| path)
}
