//! A Worker in the real Workers runtime, under `testbed/worker/`: what its tail says, as Logpush would upload it, goes into the
//! real calltrail. The edge's call and the Worker's subrequest must come out with the visitor as their principal.

mod common;

use common::{Backend, Calltrail, Serve, required};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn a_visit_is_two_calls_on_behalf_of_the_user_whose_token_the_worker_checked() {
    let run = Run::of_the_worker();
    let backend = Backend::sqlite();
    let server = Serve::on(&backend).start();
    let answer = server.ingest("workers", run.lines.join("\n").as_bytes()).json();
    assert_eq!(
        (&answer["lines"], &answer["rejected"]["count"]),
        (&Value::from(3), &Value::from(0)),
        "{answer}"
    );
    server.wait_for("/v1/calls?limit=1", |page| page["complete"] == true);

    let header = run.upstream[0]["traceparent"].as_str().unwrap();
    let (trace, span) = (&header[3..35], &header[36..52]);
    let calls = calls_of(&server, trace);
    let [visit, subrequest] = calls.as_slice() else { panic!("a visit and a subrequest, not {calls:?}") };

    assert_eq!(visit["callee"]["kind"], "worker", "{visit}");
    assert_eq!(visit["outcome"]["status"], 200, "{visit}");
    assert_eq!(visit["decisions"][0]["judge"], "worker", "{visit}");
    assert_eq!(visit["decisions"][0]["effect"], "allow", "{visit}");
    assert_eq!(visit["decisions"][0]["rule"], "orders-read", "{visit}");
    assert_eq!(subrequest["caller"]["kind"], "worker", "{subrequest}");
    assert_eq!(subrequest["callee"]["name"], "orders", "{subrequest}");
    assert_eq!(
        subrequest["callee"]["assurance"], "asserted",
        "a name in a record is no certificate: {subrequest}"
    );
    assert_eq!(subrequest["parent_id"], visit["id"], "{subrequest}");
    assert_eq!(subrequest["legs"][0]["span_id"], span, "the span that the callee was told: {subrequest}");

    for (call, attribution) in [(visit, "verified"), (subrequest, "inherited")] {
        let principal = &call["principal"];
        assert_eq!(principal["issuer"], "https://idp.example.com/", "{call}");
        assert_eq!(principal["kind"], "user", "{call}");
        assert_eq!(principal["assurance"], "jwt", "{call}");
        assert_eq!(principal["attribution"], attribution, "{call}");
        let subject = principal["subject"].as_str().unwrap();
        let told = run.upstream[0]["x-calltrail-principal"].as_str().unwrap();
        assert!(told.contains(&format!("p=user:{subject};")), "the callee was told the same: {told}");
    }
}

#[test]
fn a_visitor_whom_the_worker_turned_away_is_a_denied_call() {
    let run = Run::of_the_worker();
    let backend = Backend::sqlite();
    let server = Serve::on(&backend).start();
    server.ingest("workers", run.lines.join("\n").as_bytes());
    server.wait_for("/v1/calls?limit=1", |page| page["complete"] == true);

    let page = server.json("/v1/calls?decision=deny");
    let mut denied: Vec<(Option<&str>, Option<&str>, bool)> = Vec::new();
    for call in page["calls"].as_array().unwrap() {
        let decision = &call["decisions"][0];
        denied.push((decision["rule"].as_str(), decision["reason"].as_str(), call["principal"].is_object()));
    }
    denied.sort();
    // Who was known is named although he was refused; who showed no token is nobody.
    assert_eq!(
        denied,
        [(Some("authn"), Some("no_token"), false), (Some("orders-read"), Some("scope"), true)],
        "{page}"
    );
}

/// What `testbed/worker/run.mjs` prints.
struct Run {
    lines: Vec<String>,
    upstream: Vec<Value>,
}

impl Run {
    fn of_the_worker() -> Run {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("testbed/worker/run.mjs");
        let mut node = Command::new("node");
        node.arg(script).env("CALLTRAIL_TEST_NODE_MODULES", required("CALLTRAIL_TEST_NODE_MODULES"));
        let output = node.stdin(Stdio::null()).output().expect("node runs: install Node.js");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let lines = said["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned());
        Run { lines: lines.collect(), upstream: said["upstream"].as_array().unwrap().clone() }
    }
}

/// Of a trace, with legs, by start.
fn calls_of(server: &Calltrail, trace: &str) -> Vec<Value> {
    let trace = server.json(&format!("/v1/traces/{trace}"));
    let calls = trace["calls"].as_array().unwrap().iter();
    calls.map(|call| server.json(&format!("/v1/calls/{}", call["id"].as_str().unwrap()))).collect()
}
