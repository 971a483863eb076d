//! Several processes on one Postgres: servers, and commands at a terminal. One derives; none takes another's work away.

mod common;

use common::{Backend, Calltrail, Serve};
use std::process::Command;

const CLIENT: &[u8] = include_bytes!("fixtures/crash/web-calls-api.client.jsonl");
const SERVER: &[u8] = include_bytes!("fixtures/crash/web-calls-api.server.jsonl");
const CHAIN: &[u8] =
    include_bytes!("fixtures/envoy/recommended/a_chain_keeps_its_trace_over_two_calls.ndjson");

/// Calls, once everything that was committed has been joined.
fn calls(server: &Calltrail) -> usize {
    server.wait_for("/v1/calls", |page| page["complete"] == true)["calls"].as_array().unwrap().len()
}

#[test]
fn an_import_beside_a_running_server_lets_the_server_derive() {
    let backend = Backend::postgres();
    let mut server = Serve::on(&backend).start();
    server.ingest("mesh", CLIENT);
    assert_eq!(calls(&server), 1);

    let file = backend.directory().join("api.jsonl");
    std::fs::write(&file, SERVER).unwrap();
    backend.run(&["import", "--source", "mesh", file.to_str().unwrap()]);
    let listed = backend.run(&["calls", "--format", "ndjson"]);
    assert!(listed.contains("\"proven\""), "when the import has ended, both sides are one call:\n{listed}");

    server.ingest("mesh", CHAIN);
    assert_eq!(calls(&server), 3);
    assert!(!server.log().contains("another correlator"), "{}", server.log());
    assert!(server.terminate().success());
}

#[test]
fn a_rebuild_is_refused_while_a_server_derives() {
    let backend = Backend::postgres();
    let mut server = Serve::on(&backend).start();
    server.ingest("mesh", CLIENT);
    assert_eq!(calls(&server), 1);

    let mut rebuild = Command::new(env!("CARGO_BIN_EXE_calltrail"));
    backend.point(rebuild.arg("rebuild"));
    let output = rebuild.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("stop it first"), "{said}");
    assert_eq!(calls(&server), 1, "nothing was thrown away");

    assert!(server.terminate().success());
    assert!(backend.run(&["rebuild"]).starts_with("1 call "));
}

#[test]
fn of_two_servers_the_second_derives_when_the_first_is_gone() {
    let backend = Backend::postgres();
    let mut first = Serve::on(&backend).start();
    first.ingest("mesh", CLIENT);
    assert_eq!(calls(&first), 1);
    let second = Serve::on(&backend).start();
    second.ingest("mesh", SERVER);
    assert_eq!(calls(&second), 1, "the first hears of what the second took");
    first.kill();
    second.ingest("mesh", CHAIN);
    assert_eq!(calls(&second), 3);
    assert!(!second.log().contains("another correlator"), "{}", second.log());
}
