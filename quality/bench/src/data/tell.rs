//! What the three observers write of a request: the records of the simulator, printed by the simulator's own code, which is held
//! against real lines there.

use super::cast::{Cast, GATEWAY, ISSUER, spiffe_id};
use super::request::{Outcome, Request};
use calltrail_sim::lines;
use calltrail_sim::records::{
    Direction, EnvoyRecord, Proxy, Record, Role, WorkerEvent, WorkerHead, WorkerRecord,
};
use calltrail_sim::world::headers::TraceContext;
use serde_json::json;
use std::sync::Arc;

const MESH_HOST: &str = "mesh.example.com";
const EDGE_HOST: &str = "edge.example.com";
const WORKER_ADDRESS: &str = "2a06:98c0:3600::103";
const DENIED: &str = "rbac_access_denied_matched_policy[none]";
const METHODS: [&str; 8] = ["GET", "GET", "GET", "POST", "GET", "PUT", "GET", "DELETE"];
const ROUTES: [&str; 8] = [
    "/v1/items",
    "/v1/orders",
    "/v1/search",
    "/v1/orders",
    "/v1/users",
    "/v1/carts",
    "/health/deep",
    "/v1/sessions",
];

/// Turns requests into lines.
pub struct Teller<'a> {
    cast: &'a Cast,
    gateway_spiffe_id: String,
}

impl<'a> Teller<'a> {
    pub fn new(cast: &'a Cast) -> Self {
        Teller { cast, gateway_spiffe_id: spiffe_id(GATEWAY) }
    }

    pub fn worker_line(&self, of: &Request) -> String {
        lines::line(&Record::Worker(self.event(of)))
    }

    pub fn gateway_line(&self, of: &Request) -> String {
        lines::line(&Record::Envoy(self.gateway(of)))
    }

    pub fn service_line(&self, of: &Request) -> String {
        lines::line(&Record::Envoy(self.sidecar(of)))
    }

    pub(super) fn event(&self, of: &Request) -> WorkerEvent {
        let (method, path) = (METHODS[usize::from(of.route)], path(of));
        let name = &self.cast.services[usize::from(of.service)].name;
        WorkerEvent {
            script: "edge".to_owned(),
            cron: None,
            ray: Some(ray(of.visitor_ray)),
            url: format!("https://{EDGE_HOST}/{name}{path}"),
            method: method.to_owned(),
            status: Some(status(of)),
            outcome: "ok".to_owned(),
            start_us: of.times.event,
            end_us: of.times.event_end,
            call: 0,
            head: Some(self.head(of)),
            records: vec![self.record(of, path)],
            chatter: vec![(
                format!("{method} {name} for tenant-{} served from cache=miss", of.object % 97),
                of.times.event_end,
            )],
            exceptions: Vec::new(),
        }
    }

    fn head(&self, of: &Request) -> WorkerHead {
        let who = &self.cast.principals[of.principal as usize];
        WorkerHead {
            trace_id: format!("{:032x}", of.trace_id),
            span_id: format!("{:016x}", of.worker_span),
            parent_span_id: None,
            issuer: Some(ISSUER.to_owned()),
            subject: Some(who.subject.clone()),
            kind: Some(who.kind.to_owned()),
            decision: "allow".to_owned(),
            policy: self.cast.services[usize::from(of.service)].name.clone(),
            reason: None,
            sequence: 0,
            at_us: of.times.decided,
        }
    }

    fn record(&self, of: &Request, path: String) -> WorkerRecord {
        WorkerRecord {
            call: 0,
            trace_id: format!("{:032x}", of.trace_id),
            span_id: format!("{:016x}", of.subrequest_span),
            request_id: uuid(of.request_id),
            service: self.cast.services[usize::from(of.service)].name.clone(),
            host: MESH_HOST.to_owned(),
            method: METHODS[usize::from(of.route)].to_owned(),
            path,
            attempt: 0,
            start_us: of.times.decided,
            duration_us: of.times.answered - of.times.decided,
            status: Some(status(of)),
            error: None,
            ray: Some(ray(of.subrequest_ray)),
            upstream_service_ms: Some(((of.times.gateway_end - of.times.gateway_start) / 1_000) as u64),
            hop: None,
            sequence: 1,
        }
    }

    pub(super) fn gateway(&self, of: &Request) -> EnvoyRecord {
        let own = &self.cast.gateways[usize::from(of.gateway)];
        let service = &self.cast.services[usize::from(of.service)];
        let peer = &service.instances[usize::from(of.instance)];
        EnvoyRecord {
            role: Role::Gateway,
            start_us: of.times.gateway_start,
            duration_us: of.times.gateway_end - of.times.gateway_start,
            unique_id: uuid(of.gateway_line),
            upstream_local_uri_san: Some(self.gateway_spiffe_id.clone()),
            upstream_peer_uri_san: Some(service.spiffe_id.clone()),
            upstream_cluster: Some(service.cluster.clone()),
            upstream_host: Some(format!("{}:20000", peer.address)),
            upstream_local_address: Some(format!("{}:{}", own.address, of.mesh_socket.port)),
            downstream_direct_remote_address: Some(format!(
                "172.71.{}.10:{}",
                of.edge_socket.connection_id % 4,
                of.edge_socket.port
            )),
            downstream_local_address: Some(format!("{}:18443", own.address)),
            connection_id: of.edge_socket.connection_id,
            x_forwarded_for: Some(WORKER_ADDRESS.to_owned()),
            ..self.line(of, own)
        }
    }

    pub(super) fn sidecar(&self, of: &Request) -> EnvoyRecord {
        let service = &self.cast.services[usize::from(of.service)];
        let own = &service.instances[usize::from(of.instance)];
        let gateway = &self.cast.gateways[usize::from(of.gateway)];
        let denied = of.outcome == Outcome::Denied;
        let line = self.line(of, own);
        EnvoyRecord {
            direction: Direction::Inbound,
            role: Role::Callee,
            start_us: of.times.service_start,
            duration_us: of.times.service_end - of.times.service_start,
            unique_id: uuid(of.service_line),
            attempts: if denied { 0 } else { 1 },
            response_code_details: if denied { Some(DENIED.to_owned()) } else { line.response_code_details },
            downstream_local_uri_san: Some(service.spiffe_id.clone()),
            downstream_peer_uri_san: Some(self.gateway_spiffe_id.clone()),
            downstream_peer_serial: Some(format!("{:02x}", of.gateway + 9)),
            downstream_tls_version: Some("TLSv1.2".to_owned()),
            upstream_cluster: Some("local_app".to_owned()),
            upstream_host: (!denied).then(|| format!("127.0.0.1:{}", 9_000 + of.service)),
            upstream_local_address: (!denied).then(|| format!("127.0.0.1:{}", 40_000 + of.object % 24)),
            downstream_direct_remote_address: Some(format!("{}:{}", gateway.address, of.mesh_socket.port)),
            downstream_local_address: Some(format!("{}:20000", own.address)),
            connection_id: of.mesh_socket.connection_id,
            rbac: Some(verdict(denied)),
            ..line
        }
    }

    /// What the lines of both sides have in common.
    fn line(&self, of: &Request, own: &Arc<Proxy>) -> EnvoyRecord {
        let denied = of.outcome == Outcome::Denied;
        let trace = TraceContext {
            trace_id: format!("{:032x}", of.trace_id),
            span_id: format!("{:016x}", of.subrequest_span),
        };
        let who = &self.cast.principals[of.principal as usize];
        let signed = self.cast.signer.sign(&trace, who.kind, &who.subject, of.times.decided);
        EnvoyRecord {
            method: Some(METHODS[usize::from(of.route)].to_owned()),
            authority: Some(MESH_HOST.to_owned()),
            path: Some(path(of)),
            protocol: Some("HTTP/1.1".to_owned()),
            response_code: status(of),
            response_code_details: Some("via_upstream".to_owned()),
            bytes_received: u64::from(if METHODS[usize::from(of.route)] == "GET" {
                0
            } else {
                of.request_bytes
            }),
            bytes_sent: u64::from(if denied { 19 } else { of.response_bytes }),
            traceparent: Some(trace.traceparent()),
            request_id: Some(uuid(of.request_id)),
            cf_ray: Some(format!("{}-AMS", ray(of.subrequest_ray))),
            calltrail: Some(signed.text),
            ..blank(own)
        }
    }
}

/// Everything that a line need not say: a table of the record's fields.
fn blank(own: &Arc<Proxy>) -> EnvoyRecord {
    EnvoyRecord {
        proxy: own.clone(),
        direction: Direction::Outbound,
        calls: Vec::new(),
        role: Role::Caller,
        start_us: 0,
        duration_us: 0,
        unique_id: String::new(),
        is_tcp: false,
        method: None,
        authority: None,
        path: None,
        protocol: None,
        response_code: 0,
        response_flags: "-".to_owned(),
        response_code_details: None,
        connection_termination_details: None,
        upstream_transport_failure_reason: None,
        grpc_status: None,
        attempts: 1,
        bytes_received: 0,
        bytes_sent: 0,
        traceparent: None,
        tracestate: None,
        request_id: None,
        cf_ray: None,
        envoy_trace_id: None,
        downstream_peer_uri_san: None,
        downstream_local_uri_san: None,
        downstream_peer_serial: None,
        downstream_tls_version: None,
        upstream_peer_uri_san: None,
        upstream_local_uri_san: None,
        upstream_cluster: None,
        upstream_host: None,
        upstream_local_address: None,
        downstream_direct_remote_address: None,
        downstream_local_address: None,
        requested_server_name: None,
        connection_id: 0,
        rbac: None,
        calltrail: None,
        hop: None,
        parent_hop: None,
        prints_hop: false,
        downstream_peer_certificate: None,
        upstream_peer_certificate: None,
        x_forwarded_for: None,
    }
}

fn verdict(denied: bool) -> serde_json::Value {
    if denied {
        return json!({"enforced_engine_result": "denied"});
    }
    json!({"enforced_effective_policy_id": "consul-intentions-layer7-0", "enforced_engine_result": "allowed"})
}

fn status(of: &Request) -> u16 {
    match of.outcome {
        Outcome::Denied => 403,
        Outcome::Status(status) => status,
    }
}

fn path(of: &Request) -> String {
    format!("{}/{}", ROUTES[usize::from(of.route)], of.object)
}

/// Rays of one day begin alike.
fn ray(number: u64) -> String {
    format!("9e1{:013x}", number >> 12)
}

/// Of version 4.
fn uuid(number: u128) -> String {
    let hex = format!(
        "{:032x}",
        (number & !(0xf000_u128 << 64) & !(0xc000_u128 << 48)) | (0x4000_u128 << 64) | (0x8000_u128 << 48)
    );
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_are_of_version_4() {
        assert_eq!(super::uuid(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(super::uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
