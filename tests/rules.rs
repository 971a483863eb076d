//! The rules file as an operator meets it: what it puts in force, what is wrong in it, and lines in a format of his own.

#[path = "common/bench.rs"]
mod bench;

use bench::{Bench, project, unzipped};
use serde_json::{Map, Value, json};

const EVERYTHING: &str = r#"
[header]
audience = "mesh.example.com"
[[header.key]]
algorithm = "hmac-sha256"
secret = "c4n4ry"
[join]
grace_seconds = 90
grace_seconds_of = { logpush-workers = 600 }
[edge]
services = ["web", "payments"]
allowed_mesh_callers = ["gw", "reconciler"]
[certificate]
max_age_hours = 36
[[formats]]
name = "acme"
has = "up.cluster"
[formats.fields]
start_time = "ts"
upstream_cluster = "up.cluster"
[[blind]]
source = "mesh"
from = "2026-11-24T02:00:00Z"
"#;

#[test]
fn check_prints_what_is_in_force_and_never_a_secret() {
    let bench = Bench::new();
    let said = bench.ok(&["rules", "check", &bench.write("calltrail.toml", EVERYTHING)]);
    for part in [
        "1 key (hmac-sha256), audience mesh.example.com",
        "90 s of grace",
        "600 s for logpush-workers",
        "clocks may be 2 s apart",
        "web, payments through the edge only, or by gw, reconciler",
        "lifetime at most any, age at most 36 h",
        "acme: lines with up.cluster; 2 fields, durations in ms",
        "mesh from 2026-11-24T02:00:00.000000Z until further notice",
        "warning: format \"acme\" names neither traceparent nor request_id nor hop",
    ] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
    assert!(!said.contains("c4n4ry"), "{said}");
    assert!(bench.ok(&["rules", "check"]).starts_with("no rules file: the defaults"));
}

#[test]
fn check_finds_the_file_in_the_data_directory_and_names_that_nobody_has_seen() {
    let bench = Bench::new();
    bench.ok(&["import", "--source", "mesh", &project("demo/mesh/gw.jsonl.gz")]);
    bench.write("data/calltrail.toml", EVERYTHING);
    let said = bench.ok(&["rules", "check"]);
    let warnings: Vec<&str> = said.lines().filter(|line| line.contains("no stored call was")).collect();
    assert_eq!(warnings.len(), 2, "{said}");
    assert!(warnings[0].contains("\"payments\"") && warnings[1].contains("\"reconciler\""), "{said}");
}

#[test]
fn a_file_that_cannot_be_used_fails_with_its_line_and_the_nearest_key() {
    let bench = Bench::new();
    let file = bench.write("calltrail.toml", "[join]\ngrace_secs = 3\n");
    let output = bench.run(&["rules", "check", &file]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("calltrail.toml:2:") && said.contains("\"grace_seconds\""), "{said}");
}

/// The line as a proxy would have written it whose operator chose other names, nesting and units.
fn renamed(line: &str, names: &[(&str, &str)]) -> String {
    let ours: Map<String, Value> = serde_json::from_str(line).unwrap();
    let mut theirs = json!({});
    for (field, path) in names {
        let value = match *field {
            "duration" => json!(ours["duration_ms"].as_f64().unwrap() / 1e3),
            "start_time" => {
                json!(ours["start_time"].as_str().unwrap().replace('T', " ").trim_end_matches('Z'))
            }
            _ => ours.get(*field).cloned().unwrap_or(Value::Null),
        };
        let place = path.split('.').fold(&mut theirs, |object, key| &mut object[key]);
        *place = value;
    }
    theirs.to_string()
}

const NAMES: &[(&str, &str)] = &[
    ("start_time", "when"),
    ("duration", "took"),
    ("unique_id", "id"),
    ("access_log_type", "type"),
    ("node_id", "proxy.id"),
    ("node_cluster", "proxy.service"),
    ("direction", "proxy.direction"),
    ("method", "request.method"),
    ("authority", "request.host"),
    ("path", "request.path"),
    ("protocol", "request.protocol"),
    ("request_id", "request.headers.x_request_id"),
    ("traceparent", "request.headers.traceparent"),
    ("cf_ray", "request.headers.ray"),
    ("calltrail", "request.headers.principal"),
    ("response_code", "response.status"),
    ("response_flags", "response.flags"),
    ("response_code_details", "response.details"),
    ("connection_termination_details", "response.ended"),
    ("upstream_transport_failure_reason", "response.failure"),
    ("grpc_status", "response.grpc"),
    ("attempts", "attempts"),
    ("bytes_received", "request.body"),
    ("bytes_sent", "response.body"),
    ("connection_id", "down.connection"),
    ("downstream_direct_remote_address", "down.remote"),
    ("downstream_local_address", "down.local"),
    ("downstream_local_uri_san", "down.own"),
    ("downstream_peer_uri_san", "down.peer"),
    ("downstream_peer_serial", "down.serial"),
    ("requested_server_name", "down.sni"),
    ("upstream_cluster", "up.cluster"),
    ("upstream_host", "up.host"),
    ("upstream_local_address", "up.local"),
    ("upstream_local_uri_san", "up.own"),
    ("upstream_peer_uri_san", "up.peer"),
    ("rbac", "verdict"),
];

#[test]
fn the_same_lines_under_other_names_are_the_same_calls() {
    let files = ["gw", "web-sidecar-proxy", "catalog-sidecar-proxy"];
    let (plain, custom) = (Bench::new(), Bench::new());
    let fields: String = NAMES.iter().map(|(ours, theirs)| format!("{ours} = \"{theirs}\"\n")).collect();
    let rules = custom.write(
        "rules.toml",
        format!(
            "[[formats]]\nname = \"acme\"\nhas = \"up.cluster\"\nduration_unit = \"s\"\ntime_format = \"%Y-%m-%d %H:%M:%S%.f\"\n\
             [formats.fields]\n{fields}"
        ),
    );
    for file in files {
        let path = format!("demo/mesh/{file}.jsonl.gz");
        plain.ok(&["import", "--source", "mesh", &project(&path)]);
        let lines: String = unzipped(&path).lines().map(|line| renamed(line, NAMES) + "\n").collect();
        let said = custom.ok(&[
            "import",
            "--source",
            "mesh",
            "--rules",
            &rules,
            &custom.write(&format!("{file}.log"), lines),
        ]);
        assert!(said.contains("0 rejects"), "{said}");
    }
    let told = |bench: &Bench| -> Vec<String> {
        let tell = |call: Value| {
            ["id", "caller", "callee", "basis", "outcome", "decisions", "parent_id", "principal", "start"]
                .map(|key| call[key].to_string())
                .join(" ")
        };
        bench.calls().into_iter().map(tell).collect()
    };
    let (plain, custom) = (told(&plain), told(&custom));
    assert!(plain.len() > 500);
    assert_eq!(plain, custom);
}

#[test]
fn a_line_without_a_mapped_field_is_a_reject_that_names_it() {
    let bench = Bench::new();
    let rules = bench.write("rules.toml", EVERYTHING);
    let lines = "{\"up\": {\"cluster\": \"local_app\"}}\n{\"up\": {\"cluster\": \"local_app\"}, \"ts\": 1795489010}\n";
    let said = bench.ok(&["import", "--source", "mesh", "--rules", &rules, &bench.write("acme.log", lines)]);
    assert!(said.contains("1 leg") && said.contains("1 reject"), "{said}");
    assert!(said.contains("missing_field: a line of format \"acme\" without ts"), "{said}");
}
