//! Two real Envoys as Consul would run them, a caller's sidecar and a callee's, with mutual TLS between them and the access log
//! format that the project ships. What they log goes into the real calltrail, and what comes out must be what happened.

#[path = "real_envoy/certificates.rs"]
mod certificates;
mod common;
#[path = "real_envoy/mesh.rs"]
mod mesh;

use common::{Backend, Calltrail, Serve, http};
use mesh::{API, Mesh, WEB};
use serde_json::Value;

const ALLOWED_TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const DENIED_TRACE: &str = "5bf92f3577b34da6a3ce929d0e0e4737";

#[test]
fn a_call_between_two_real_sidecars_is_one_call_with_both_identities_from_the_handshake() {
    let mut mesh = Mesh::start();
    let allowed = request(&mesh, "/orders?card=secret", ALLOWED_TRACE, "request-1");
    assert_eq!((allowed.status, allowed.text().as_str()), (200, "orders"));
    let denied = request(&mesh, "/admin", DENIED_TRACE, "request-2");
    assert_eq!(denied.status, 403, "{}", denied.text());
    let (web_lines, api_lines) = mesh.stop();
    assert_eq!((web_lines.len(), api_lines.len()), (2, 2), "{web_lines:?}\n{api_lines:?}");

    let backend = Backend::sqlite();
    let server = Serve::on(&backend).start();
    // As shippers do: each proxy's log on its own, and the callee's first.
    server.ingest("mesh", api_lines.join("\n").as_bytes());
    server.ingest("mesh", web_lines.join("\n").as_bytes());
    server.wait_for("/v1/calls?limit=1", |page| page["complete"] == true);

    let call = only_call_of(&server, ALLOWED_TRACE);
    assert_both_verified(&call);
    assert_eq!(call["outcome"]["status"], 200, "{call}");
    assert_eq!(
        (&call["method"], &call["path"]),
        (&"GET".into(), &"/orders".into()),
        "the query is not kept: {call}"
    );
    assert_eq!(effects(&call), ["allow"], "{call}");

    let call = only_call_of(&server, DENIED_TRACE);
    assert_both_verified(&call);
    assert_eq!(call["outcome"]["status"], 403, "{call}");
    assert_eq!(effects(&call), ["deny"], "{call}");
    assert_eq!(call["outcome"]["stopped_at"], "server_sidecar", "{call}");
    let findings: Vec<&Value> = call["findings"].as_array().unwrap().iter().map(|f| &f["kind"]).collect();
    assert!(findings.contains(&&Value::from("denied")), "{call}");
}

fn request(mesh: &Mesh, path: &str, trace: &str, request_id: &str) -> common::Answer {
    let traceparent = format!("00-{trace}-00f067aa0ba902b7-01");
    let headers = [("traceparent", traceparent.as_str()), ("x-request-id", request_id)];
    http::send(mesh.entrance(), "GET", path, &headers, &[]).unwrap()
}

/// With its legs.
fn only_call_of(server: &Calltrail, trace: &str) -> Value {
    let page = server.json(&format!("/v1/calls?trace={trace}"));
    let calls = page["calls"].as_array().unwrap();
    assert_eq!(calls.len(), 1, "one request is one call: {page}");
    let call = server.json(&format!("/v1/calls/{}", calls[0]["id"].as_str().unwrap()));
    assert_eq!(call["legs"].as_array().map(Vec::len), Some(2), "{call}");
    call
}

fn assert_both_verified(call: &Value) {
    for (party, spiffe_id) in [("caller", WEB), ("callee", API)] {
        assert_eq!(call[party]["spiffe_id"], spiffe_id, "{call}");
        assert_eq!(call[party]["assurance"], "mtls", "{call}");
        assert_eq!(call[party]["kind"], "service", "{call}");
    }
    assert!(["proven", "keyed"].map(Value::from).contains(&call["basis"]), "{call}");
    assert_eq!((&call["confidence"], &call["ambiguous"]), (&Value::from(1.0), &Value::from(1)), "{call}");
}

fn effects(call: &Value) -> Vec<&str> {
    call["decisions"].as_array().unwrap().iter().map(|d| d["effect"].as_str().unwrap()).collect()
}
