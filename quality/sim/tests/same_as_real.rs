//! Real lines, read into records and written again, are the same bytes: so what the simulator writes differs from reality by its
//! values alone, never by a key, an order or a type.
//!
//! The real lines are those of the project's demo and test fixtures: a whole run of a lab with Workers, gateway and sidecars, a run
//! with hop ids, and single situations of a mesh (denials, timeouts, retries, TCP, websockets, gateways, attacks).

mod lab;

use calltrail_sim::lines::{self, EnvoyFormat};
use calltrail_sim::records::*;
use lab::*;
use serde_json::Value;

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

/// The lab's cron had its time from a test, so that is put into both.
#[test]
fn a_cron_event() {
    let line = lines_of(&root().join("tests/fixtures/worker/logpush"))
        .into_iter()
        .find(|line| line.contains(r#""EventType":"scheduled""#))
        .unwrap();
    let ours = lines::line(&Record::Worker(worker(&object(&line))));
    let scheduled = |line: &str| object(line)["Event"]["ScheduledTimeMs"].as_i64().unwrap();
    let (theirs_ms, ours_ms) = (scheduled(&line), scheduled(&ours));
    assert_eq!(ours, line.replacen(&theirs_ms.to_string(), &ours_ms.to_string(), 1));
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

/// Writes each line of a directory's files again and compares; how many there were.
fn check_dir(directory: &str, write: impl Fn(&str) -> String) -> usize {
    let lines = lines_of(&root().join(directory));
    for line in &lines {
        assert_eq!(&write(line), line);
    }
    lines.len()
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
