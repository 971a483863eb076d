//! Real lines as records: the lab's run that the demo shows. None of it says what the lines mean: values are put where the writer takes
//! them from.

#![allow(dead_code)] // each test uses its part

use calltrail_sim::records::*;
use chrono::DateTime;
use serde_json::{Map, Value};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

pub type Object = Map<String, Value>;

/// All that the lab's programs logged in one run, each record telling of a call of its own.
pub fn all_records() -> Vec<Record> {
    static RECORDS: LazyLock<Vec<Record>> = LazyLock::new(read_records);
    RECORDS.clone()
}

fn read_records() -> Vec<Record> {
    let objects = |directory: &str| lines_of(&root().join(directory)).into_iter().map(|line| object(&line));
    let envoys = objects("demo/mesh").map(|line| {
        let role = match (text(&line, "node_id").as_deref(), text(&line, "direction").as_deref()) {
            (Some("gw"), _) => Role::Gateway,
            (_, Some("1")) => Role::Callee,
            _ => Role::Caller,
        };
        Record::Envoy(EnvoyRecord { role, ..envoy(&line) })
    });
    let workers = objects("demo/worker").map(|line| Record::Worker(worker(&line)));
    let rows = objects("demo/zone").map(|line| Record::Zone(zone(&line)));
    let mut next = 0..;
    let mut call = || next.next().unwrap();
    envoys.chain(workers).chain(rows).map(|record| with_calls(record, &mut call)).collect()
}

fn with_calls(mut record: Record, call: &mut impl FnMut() -> CallNo) -> Record {
    match &mut record {
        Record::Envoy(envoy) => envoy.calls = vec![call()],
        Record::Worker(event) => {
            event.call = call();
            event.records.iter_mut().for_each(|record| record.call = call());
        }
        Record::Zone(row) => row.call = call(),
    }
    record
}

// Files.

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn lines_of(directory: &Path) -> Vec<String> {
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

pub fn object(line: &str) -> Object {
    serde_json::from_str(line).unwrap()
}

pub fn text(object: &Object, key: &str) -> Option<String> {
    object.get(key)?.as_str().map(str::to_owned)
}

pub fn number<T: TryFrom<i64>>(object: &Object, key: &str) -> Option<T> {
    T::try_from(object.get(key)?.as_i64()?).ok()
}

fn time_us(object: &Object, key: &str) -> i64 {
    DateTime::parse_from_rfc3339(&text(object, key).unwrap()).unwrap().timestamp_micros()
}

// Records.

pub fn envoy(line: &Object) -> EnvoyRecord {
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

pub fn envoy_by_default(line: &Object) -> EnvoyRecord {
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
pub fn record_of(entry: &Value) -> Option<Object> {
    serde_json::from_str(entry["Message"][0].as_str()?).ok()
}

pub fn worker(line: &Object) -> WorkerEvent {
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
        cron: event["Cron"].as_str().map(str::to_owned),
        url: event["Request"]["URL"].as_str().unwrap_or_default().to_owned(),
        method: event["Request"]["Method"].as_str().unwrap_or_default().to_owned(),
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

pub fn zone(row: &Object) -> ZoneRecord {
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
