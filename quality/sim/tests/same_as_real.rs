//! Real lines, read into records and written again, are the same bytes: so what the simulator writes differs from reality by its
//! values alone, never by a key, an order or a type.
//!
//! The real lines are those of the project's demo and test fixtures: a whole run of a lab with Workers, gateway and sidecars, a run
//! with hop ids, and single situations of a mesh (denials, timeouts, retries, TCP, websockets, gateways, attacks).

use calltrail_sim::lines::{self, EnvoyFormat};
use calltrail_sim::records::*;
use chrono::DateTime;
use serde_json::{Map, Value};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Object = Map<String, Value>;

#[test]
fn every_mesh_line_of_the_lab() {
    let read = check_dir("demo/mesh", |line| lines::line(&Record::Envoy(envoy(&object(line)))));
    assert_eq!(read, 2729);
}

#[test]
fn every_mesh_line_with_hop_ids() {
    let write = |line: &str| lines::line(&Record::Envoy(envoy(&object(line))));
    assert_eq!(check_dir("tests/fixtures/score/hop/mesh", write), 3272);
    assert!(check_dir("tests/fixtures/hop", write) >= 20);
}

/// These lines are from before the format had the field `calltrail`, so it stands in ours alone.
#[test]
fn every_situation_in_the_recommended_format() {
    let read = check_dir("tests/fixtures/envoy/recommended", |line| {
        let ours = lines::line(&Record::Envoy(envoy(&object(line))));
        assert!(ours.contains(r#""calltrail":null,"#));
        ours.replacen(r#""calltrail":null,"#, "", 1)
    });
    assert!(read >= 90, "{read} lines");
}

/// Here two values are made up: the application's name and how long the upstream took. All else is the same.
#[test]
fn every_situation_in_consuls_default_format() {
    let mut read = 0;
    for wrapped in lines_of(&root().join("tests/fixtures/envoy/default")) {
        let line = text(&object(&wrapped), "line").unwrap();
        let real = object(&line);
        let ours = object(&lines::envoy_line(&envoy_by_default(&real), EnvoyFormat::ConsulDefault));
        assert!(ours.keys().eq(real.keys()), "{line}");
        for (key, value) in real.iter().filter(|(key, _)| *key != "user_agent") {
            if key == "upstream_service_time" {
                assert_eq!(kind(&ours[key]), kind(value), "{key} of {line}");
            } else {
                assert_eq!(&ours[key], value, "{key} of {line}");
            }
        }
        assert_eq!(
            order(&lines::envoy_line(&envoy_by_default(&real), EnvoyFormat::ConsulDefault)),
            order(&line)
        );
        read += 1;
    }
    assert!(read >= 75, "{read} lines");
}

/// What every proxy behind Cloudflare logs of its client in that format: the last address of X-Forwarded-For, with port 0.
#[test]
fn behind_another_proxy_the_default_format_knows_no_port() {
    let real = object(&lines_of(&root().join("demo/mesh"))[0]);
    let mut record = envoy(&real);
    let remote = |record: &EnvoyRecord| {
        let line = object(&lines::envoy_line(record, EnvoyFormat::ConsulDefault));
        (text(&line, "downstream_remote_address"), text(&line, "x_forwarded_for"))
    };
    assert_eq!(remote(&record), (record.downstream_direct_remote_address.clone(), None));
    record.x_forwarded_for = Some("198.51.100.7, 2a06:98c0:3600::103".to_owned());
    assert_eq!(remote(&record).0.as_deref(), Some("[2a06:98c0:3600::103]:0"));
    record.x_forwarded_for = Some("198.51.100.7".to_owned());
    assert_eq!(remote(&record), (Some("198.51.100.7:0".to_owned()), Some("198.51.100.7".to_owned())));
}

#[test]
fn every_event_of_the_labs_worker() {
    let events = lines_of(&root().join("demo/worker"));
    for line in &events {
        assert_eq!(lines::line(&Record::Worker(worker(&object(line)))), on_one_clock(line));
    }
    assert_eq!(events.len(), 336);
}

/// Among them denials, exceptions, retries by the Worker, clients that went away, forty calls in one event.
#[test]
fn every_fetch_event_in_the_form_that_is_simulated() {
    let situations: Vec<String> = lines_of(&root().join("tests/fixtures/worker/logpush"))
        .into_iter()
        .filter(|line| line.contains(r#""EventType":"fetch""#) && is_simulated(line))
        .collect();
    assert!(situations.len() >= 20, "{} situations", situations.len());
    for line in situations {
        assert_eq!(lines::line(&Record::Worker(worker(&object(&line)))), on_one_clock(&line));
    }
}

/// Not simulated: records in other shapes than head and call, logs cut by Logpush, several arguments to one `console.log`.
fn is_simulated(line: &str) -> bool {
    let other = [
        r#"\"k\":\"b\""#,
        r#"\"k\":\"all\""#,
        r#"\"k\":\"n\""#,
        "truncated>>>",
        "exceeded",
        "\"warn\"",
        "\"foo\"",
    ];
    let shape_of_later =
        |record: &Object| record.contains_key("w") && text(record, "k").as_deref() == Some("c");
    let logs = object(line)["Logs"].as_array().unwrap().clone();
    !other.iter().any(|mark| line.contains(mark))
        && !logs.iter().filter_map(record_of).any(|r| shape_of_later(&r))
}

#[test]
fn every_row_of_the_zone() {
    let read = check_dir("demo/zone", |line| lines::line(&Record::Zone(zone(&object(line)))));
    assert_eq!(read, 658);
}

/// The lab's clock goes on between the arrival of a response and the line that logs it; Cloudflare's stands still. So such an entry
/// is dated by its own record here.
fn on_one_clock(line: &str) -> String {
    const KEY: &str = "\"TimestampMs\":";
    let event = object(line);
    let entries = event["Logs"].as_array().unwrap();
    let mut parts: Vec<String> = line.split(KEY).map(str::to_owned).collect();
    let first = parts.len() - entries.len();
    for (entry, part) in entries.iter().zip(&mut parts[first..]) {
        let logged_ms = entry["TimestampMs"].as_i64().unwrap();
        if let Some(ended_ms) =
            record_of(entry).and_then(|r| Some(r.get("ts")?.as_i64()? + r["ms"].as_i64()?))
        {
            assert!((0..=1).contains(&(logged_ms - ended_ms)), "{line}");
            *part = part.replacen(&logged_ms.to_string(), &ended_ms.to_string(), 1);
        }
    }
    parts.join(KEY)
}

// Files.

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Writes each line of a directory's files again and compares; how many there were.
fn check_dir(directory: &str, write: impl Fn(&str) -> String) -> usize {
    let lines = lines_of(&root().join(directory));
    for line in &lines {
        assert_eq!(&write(line), line);
    }
    lines.len()
}

fn lines_of(directory: &Path) -> Vec<String> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files.iter().flat_map(|file| read(file).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn read(file: &Path) -> String {
    let bytes = std::fs::read(file).unwrap();
    let mut text = String::new();
    match file.extension().is_some_and(|e| e == "gz") {
        true => flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).map(drop).unwrap(),
        false => text = String::from_utf8(bytes).unwrap(),
    }
    text
}

// Values.

fn object(line: &str) -> Object {
    serde_json::from_str(line).unwrap()
}

fn text(object: &Object, key: &str) -> Option<String> {
    object.get(key)?.as_str().map(str::to_owned)
}

fn number<T: TryFrom<i64>>(object: &Object, key: &str) -> Option<T> {
    T::try_from(object.get(key)?.as_i64()?).ok()
}

fn time_us(object: &Object, key: &str) -> i64 {
    DateTime::parse_from_rfc3339(&text(object, key).unwrap()).unwrap().timestamp_micros()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Keys in the order in which they stand.
fn order(line: &str) -> Vec<String> {
    let mut keys: Vec<(usize, String)> =
        object(line).keys().map(|key| (line.find(&format!("\"{key}\":")).unwrap(), key.clone())).collect();
    keys.sort();
    keys.into_iter().map(|(_, key)| key).collect()
}

// Real lines as records. None of it says what the lines mean: values are put where the writer takes them from.

fn envoy(line: &Object) -> EnvoyRecord {
    let direction = text(line, "direction");
    let certificate = |side: &str| {
        let at_s = |end: &str| {
            let key = format!("{side}_peer_cert_{end}");
            text(line, &key).map(|_| time_us(line, &key) / 1_000_000)
        };
        Some((at_s("start")?, at_s("end")?))
    };
    EnvoyRecord {
        direction: if direction.as_deref() == Some("1") { Direction::Inbound } else { Direction::Outbound },
        duration_us: number::<i64>(line, "duration_ms").unwrap_or_default() * 1_000,
        downstream_direct_remote_address: text(line, "downstream_direct_remote_address"),
        prints_hop: line.contains_key("hop"),
        downstream_peer_certificate: certificate("downstream"),
        upstream_peer_certificate: certificate("upstream"),
        x_forwarded_for: None,
        ..common(line)
    }
}

fn envoy_by_default(line: &Object) -> EnvoyRecord {
    EnvoyRecord {
        duration_us: number::<i64>(line, "duration").unwrap() * 1_000,
        downstream_direct_remote_address: text(line, "downstream_remote_address"),
        x_forwarded_for: text(line, "x_forwarded_for"),
        ..common(line)
    }
}

fn common(line: &Object) -> EnvoyRecord {
    let get = |key: &str| text(line, key);
    EnvoyRecord {
        proxy: Arc::new(Proxy {
            node_id: get("node_id").unwrap_or_default(),
            service: get("node_cluster").unwrap_or_default(),
            address: String::new(),
            is_gateway: false,
        }),
        direction: Direction::Inbound,
        calls: Vec::new(),
        role: Role::Callee,
        start_us: time_us(line, "start_time"),
        duration_us: 0,
        unique_id: get("unique_id").unwrap_or_default(),
        is_tcp: get("access_log_type").as_deref() == Some("TcpConnectionEnd"),
        method: get("method"),
        authority: get("authority"),
        path: get("path"),
        protocol: get("protocol"),
        response_code: number(line, "response_code").unwrap(),
        response_flags: get("response_flags").unwrap(),
        response_code_details: get("response_code_details"),
        connection_termination_details: get("connection_termination_details"),
        upstream_transport_failure_reason: get("upstream_transport_failure_reason"),
        grpc_status: number(line, "grpc_status"),
        attempts: number(line, "attempts").unwrap_or_default(),
        bytes_received: number(line, "bytes_received").unwrap(),
        bytes_sent: number(line, "bytes_sent").unwrap(),
        traceparent: get("traceparent"),
        tracestate: get("tracestate"),
        request_id: get("request_id"),
        cf_ray: get("cf_ray"),
        envoy_trace_id: get("envoy_trace_id"),
        downstream_peer_uri_san: get("downstream_peer_uri_san"),
        downstream_local_uri_san: get("downstream_local_uri_san"),
        downstream_peer_serial: get("downstream_peer_serial"),
        downstream_tls_version: get("downstream_tls_version"),
        upstream_peer_uri_san: get("upstream_peer_uri_san"),
        upstream_local_uri_san: get("upstream_local_uri_san"),
        upstream_cluster: get("upstream_cluster"),
        upstream_host: get("upstream_host"),
        upstream_local_address: get("upstream_local_address"),
        downstream_direct_remote_address: None,
        downstream_local_address: get("downstream_local_address"),
        requested_server_name: get("requested_server_name"),
        connection_id: number(line, "connection_id").unwrap_or_default(),
        rbac: line.get("rbac").filter(|rbac| !rbac.is_null()).cloned(),
        calltrail: get("calltrail"),
        hop: get("hop"),
        parent_hop: get("parent_hop"),
        prints_hop: false,
        downstream_peer_certificate: None,
        upstream_peer_certificate: None,
        x_forwarded_for: None,
    }
}

/// A log entry's first argument, if it is an object.
fn record_of(entry: &Value) -> Option<Object> {
    serde_json::from_str(entry["Message"][0].as_str()?).ok()
}

fn worker(line: &Object) -> WorkerEvent {
    let (event, logs) = (&line["Event"], line["Logs"].as_array().unwrap());
    let at_us = |entry: &Value| entry["TimestampMs"].as_i64().unwrap() * 1_000;
    let start_us = number::<i64>(line, "EventTimestampMs").unwrap() * 1_000;
    let wall_us = number::<i64>(line, "WallTimeMs").unwrap() * 1_000;
    let records: Vec<(Object, i64)> = logs.iter().filter_map(|e| Some((record_of(e)?, at_us(e)))).collect();
    let of_kind =
        |kind: &'static str| records.iter().filter(move |(r, _)| text(r, "k").as_deref() == Some(kind));
    WorkerEvent {
        script: text(line, "ScriptName").unwrap(),
        ray: event["RayID"].as_str().filter(|ray| !ray.is_empty()).map(str::to_owned),
        url: event["Request"]["URL"].as_str().unwrap().to_owned(),
        method: event["Request"]["Method"].as_str().unwrap().to_owned(),
        status: event["Response"]["Status"].as_u64().map(|status| status as u16),
        outcome: text(line, "Outcome").unwrap(),
        start_us,
        end_us: start_us + wall_us,
        call: 0,
        head: of_kind("h").next().map(|(record, at_us)| head(record, *at_us)),
        records: of_kind("c").map(|(record, _)| call(record)).collect(),
        chatter: logs
            .iter()
            .filter(|e| record_of(e).is_none())
            .map(|e| (e["Message"][0].as_str().unwrap().to_owned(), at_us(e)))
            .collect(),
        exceptions: line["Exceptions"].as_array().unwrap().iter().map(exception).collect(),
    }
}

fn exception(entry: &Value) -> (String, String, i64) {
    let get = |key: &str| entry[key].as_str().unwrap().to_owned();
    (get("Name"), get("Message"), entry["TimestampMs"].as_i64().unwrap() * 1_000)
}

fn head(record: &Object, at_us: i64) -> WorkerHead {
    let get = |key: &str| text(record, key);
    WorkerHead {
        trace_id: get("t").unwrap(),
        span_id: get("w").unwrap(),
        parent_span_id: get("wp"),
        issuer: get("iss"),
        subject: get("sub"),
        kind: get("kind"),
        decision: get("d").unwrap(),
        policy: get("pol").unwrap(),
        reason: get("why"),
        sequence: number(record, "q").unwrap(),
        at_us,
    }
}

fn call(record: &Object) -> WorkerRecord {
    let get = |key: &str| text(record, key);
    WorkerRecord {
        call: 0,
        trace_id: get("t").unwrap(),
        span_id: get("s").unwrap(),
        request_id: get("rid").unwrap(),
        service: get("svc").unwrap(),
        host: get("host").unwrap(),
        method: get("m").unwrap(),
        path: get("p").unwrap(),
        attempt: number(record, "a").unwrap_or(0),
        start_us: number::<i64>(record, "ts").unwrap() * 1_000,
        duration_us: number::<i64>(record, "ms").unwrap() * 1_000,
        status: number(record, "st").filter(|status| *status > 0),
        error: get("err"),
        ray: get("ur"),
        upstream_service_ms: get("eu").map(|ms| ms.parse().unwrap()),
        hop: get("hop"),
        sequence: number(record, "q").unwrap(),
    }
}

fn zone(row: &Object) -> ZoneRecord {
    let by_worker = row["WorkerSubrequest"] == true;
    let header = |name: &str| row["RequestHeaders"][name].as_str().map(str::to_owned);
    let get = |key: &str| text(row, key).unwrap();
    ZoneRecord {
        call: 0,
        role: if by_worker { Role::ZoneSubrequest } else { Role::ZoneEyeball },
        host: get("ClientRequestHost"),
        method: get("ClientRequestMethod"),
        path: get("ClientRequestPath"),
        start_us: time_us(row, "EdgeStartTimestamp"),
        end_us: time_us(row, "EdgeEndTimestamp"),
        status: number(row, "EdgeResponseStatus").unwrap(),
        ray: get("RayID"),
        parent_ray: Some(get("ParentRayID")).filter(|ray| ray != "00"),
        traceparent: header("traceparent"),
        request_id: header("x-request-id"),
        calltrail: header("x-calltrail-principal"),
    }
}
