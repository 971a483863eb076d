//! Envoy's access log in Consul's default format: neither trace headers nor identities, times in milliseconds, and not even who
//! wrote it.

use super::time;
use crate::records::EnvoyRecord;
use serde::Serialize;

#[derive(Serialize)]
pub struct Line<'a> {
    authority: Option<&'a str>,
    bytes_received: u64,
    bytes_sent: u64,
    connection_termination_details: Option<&'a str>,
    downstream_local_address: Option<&'a str>,
    downstream_remote_address: Option<String>,
    duration: i64,
    method: Option<&'a str>,
    path: Option<&'a str>,
    protocol: Option<&'a str>,
    request_id: Option<&'a str>,
    requested_server_name: Option<&'a str>,
    response_code: u16,
    response_code_details: Option<&'a str>,
    response_flags: &'a str,
    route_name: Option<&'a str>,
    start_time: String,
    upstream_cluster: Option<&'a str>,
    upstream_host: Option<&'a str>,
    upstream_local_address: Option<&'a str>,
    upstream_service_time: Option<String>,
    upstream_transport_failure_reason: Option<&'a str>,
    user_agent: Option<&'a str>,
    x_forwarded_for: Option<&'a str>,
}

impl<'a> Line<'a> {
    #[rustfmt::skip] // a table
    pub fn of(r: &'a EnvoyRecord) -> Self {
        Line {
            authority: r.authority.as_deref(),
            bytes_received: r.bytes_received,
            bytes_sent: r.bytes_sent,
            connection_termination_details: r.connection_termination_details.as_deref(),
            downstream_local_address: r.downstream_local_address.as_deref(),
            downstream_remote_address: remote_address(r),
            duration: r.duration_us.div_euclid(1_000),
            method: r.method.as_deref(),
            path: r.path.as_deref(),
            protocol: r.protocol.as_deref(),
            request_id: r.request_id.as_deref(),
            requested_server_name: r.requested_server_name.as_deref(),
            response_code: r.response_code,
            response_code_details: r.response_code_details.as_deref(),
            response_flags: &r.response_flags,
            // Consul names no routes.
            route_name: None,
            start_time: time::millis(r.start_us),
            upstream_cluster: r.upstream_cluster.as_deref(),
            upstream_host: r.upstream_host.as_deref(),
            upstream_local_address: r.upstream_local_address.as_deref(),
            upstream_service_time: upstream_service_time(r),
            upstream_transport_failure_reason: r.upstream_transport_failure_reason.as_deref(),
            user_agent: None,
            x_forwarded_for: r.x_forwarded_for.as_deref(),
        }
    }
}

/// Consul sets `use_remote_address: false`, so behind another proxy Envoy's idea of the client is the last element of
/// X-Forwarded-For, which has no port: it prints 0.
fn remote_address(record: &EnvoyRecord) -> Option<String> {
    let last = |list: &str| Some(list.rsplit(',').next()?.trim().to_owned()).filter(|a| !a.is_empty());
    match record.x_forwarded_for.as_deref().and_then(last) {
        Some(v6) if v6.contains(':') => Some(format!("[{v6}]:0")),
        Some(v4) => Some(format!("{v4}:0")),
        None => record.downstream_direct_remote_address.clone(),
    }
}

/// A header of the response, so a text, and only where there was one from upstream: neither Envoy's own answers nor a switch of
/// protocols have it. A little less than the whole duration.
fn upstream_service_time(record: &EnvoyRecord) -> Option<String> {
    const BY_THE_UPSTREAM: [&str; 3] = ["via_upstream", "downstream_remote_disconnect", "http2.remote_reset"];
    let details = record.response_code_details.as_deref().unwrap_or_default();
    let answered = BY_THE_UPSTREAM.contains(&details) && !matches!(record.response_code, 0 | 101);
    answered.then(|| ((record.duration_us - 400).max(0) / 1_000).to_string())
}
