//! Our own spans and metrics, as a collector receives them: the real program, and a listener that keeps what is posted to it.

mod common;

use common::collector::{Export, collector};
use common::{Backend, Serve};
use std::net::TcpListener;

#[test]
fn spans_and_metrics_are_posted_to_the_collector_that_the_environment_names() {
    let (address, exports) = collector();
    let backend = Backend::sqlite();
    let endpoint = format!("http://{address}");
    let serve = Serve::on(&backend).env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
    // Without TLS, a machine that has no certificates must do.
    let serve = serve.env("SSL_CERT_FILE", "/nowhere-at-all").env("SSL_CERT_DIR", "/nowhere-at-all");
    let mut server = serve.start();
    assert_eq!(server.get("/v1/calls").unwrap().status, 200);
    server.ingest("mesh?token=ct_c4n4ry", include_bytes!("fixtures/crash/web-calls-api.client.jsonl"));
    assert!(server.terminate().success(), "{}", server.log());

    // What was waiting is sent before the program ends.
    let exports: Vec<Export> = exports.try_iter().collect();
    let of = |path: &str| exports.iter().filter(|export| export.path == path).collect::<Vec<_>>();
    let (spans, points) = (of("/v1/traces"), of("/v1/metrics"));
    let said = |exports: &[&Export], text: &str| exports.iter().any(|export| export.says(text));
    for text in ["calltrail", "request", "/v1/calls", "/ingest/{source}"] {
        assert!(said(&spans, text), "no span says {text}: {} exports", spans.len());
    }
    for text in ["calltrail_http_requests", "calltrail_ingest_lines", "/v1/calls"] {
        assert!(said(&points, text), "no metric says {text}: {} exports", points.len());
    }
    assert!(exports.iter().all(|export| export.content_type == "application/x-protobuf"));
    assert!(!exports.iter().any(|export| export.says("ct_c4n4ry")), "a token in a query is not exported");
}

#[test]
fn a_collector_that_is_gone_keeps_nobody_from_starting_or_stopping() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let backend = Backend::sqlite();
    let mut server =
        Serve::on(&backend).env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{gone}")).start();
    assert_eq!(server.get("/healthz").unwrap().status, 200);
    assert!(server.terminate().success(), "{}", server.log());
}
