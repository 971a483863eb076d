//! The same requests as spans of Zipkin's format 2, one for each line, with what of the line a tracer would put into tags.

use super::request::Request;
use super::tell::Teller;
use calltrail_sim::records::{Direction, EnvoyRecord};
use serde_json::{Value, json};

pub fn worker(teller: &Teller, of: &Request) -> String {
    let event = teller.event(of);
    let head = event.head.as_ref();
    let tags = json!({
        "http.method": event.method,
        "http.url": event.url,
        "http.status_code": event.status.unwrap_or_default().to_string(),
        "ray": event.ray,
        "principal": head.and_then(|head| head.subject.clone()),
        "principal.kind": head.and_then(|head| head.kind.clone()),
        "decision": head.map(|head| head.decision.clone()),
        "policy": head.map(|head| head.policy.clone()),
    });
    let names = Names { service: "edge", name: "fetch", id: of.worker_span, parent: None };
    span(of, names, (event.start_us, event.end_us - event.start_us), tags)
}

pub fn gateway(teller: &Teller, of: &Request) -> String {
    let names = Names { service: "gw", name: "proxy", id: of.subrequest_span, parent: Some(of.worker_span) };
    mesh(of, names, &teller.gateway(of))
}

pub fn service(teller: &Teller, of: &Request) -> String {
    let record = teller.sidecar(of);
    let id = of.subrequest_ray;
    let names = Names { service: &record.proxy.service, name: "serve", id, parent: Some(of.subrequest_span) };
    mesh(of, names, &record)
}

struct Names<'a> {
    service: &'a str,
    name: &'a str,
    id: u64,
    parent: Option<u64>,
}

fn mesh(of: &Request, names: Names, record: &EnvoyRecord) -> String {
    let tags = json!({
        "http.method": record.method,
        "http.path": record.path,
        "http.status_code": record.response_code.to_string(),
        "request_id": record.request_id,
        "node_id": record.proxy.node_id,
        "direction": if record.direction == Direction::Inbound { "inbound" } else { "outbound" },
        "upstream_cluster": record.upstream_cluster,
        "peer": record.upstream_host.clone().unwrap_or_default(),
        "response_flags": record.response_flags,
        "request_size": record.bytes_received.to_string(),
        "response_size": record.bytes_sent.to_string(),
        "caller": record.downstream_peer_uri_san.clone().unwrap_or_default(),
    });
    span(of, names, (record.start_us, record.duration_us), tags)
}

fn span(of: &Request, names: Names, (start_us, duration_us): (i64, i64), tags: Value) -> String {
    let mut span = json!({
        "traceId": format!("{:032x}", of.trace_id),
        "id": format!("{:016x}", names.id),
        "kind": "SERVER",
        "name": names.name,
        "timestamp": start_us,
        "duration": duration_us.max(1),
        "localEndpoint": {"serviceName": names.service},
        "tags": tags,
    });
    if let Some(parent) = names.parent {
        span["parentId"] = json!(format!("{parent:016x}"));
    }
    span.to_string()
}
