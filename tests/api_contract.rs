//! What programs rely on: statuses, the shape of errors, pages that neither repeat nor skip, filters that agree with the rows.

mod common;

use common::http::send;
use common::{Backend, Calltrail, Serve};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Captures whose calls differ in caller, callee, decision and findings.
const UPLOADS: &[(&str, &[u8])] = &[
    ("mesh", include_bytes!("fixtures/envoy/recommended/a_chain_keeps_its_trace_over_two_calls.ndjson")),
    (
        "mesh",
        include_bytes!("fixtures/envoy/recommended/both_sides_of_a_traced_call_verify_each_other.ndjson"),
    ),
    ("mesh", include_bytes!("fixtures/envoy/recommended/an_intention_denial_names_no_rule.ndjson")),
    ("mesh", include_bytes!("fixtures/envoy/recommended/a_tcp_connection_has_no_request.ndjson")),
    ("logpush", include_bytes!("fixtures/worker/logpush/denied_by_the_workers_policy.ndjson")),
    ("logpush", include_bytes!("fixtures/worker/logpush/three_parallel_calls.ndjson")),
    ("mesh", b"not json"),
];

/// A server that has joined the captures.
fn filled() -> (Backend, Calltrail) {
    let backend = Backend::sqlite();
    let server = Serve::on(&backend).start();
    for (source, body) in UPLOADS {
        server.ingest(source, body);
    }
    server.wait_for("/v1/calls?limit=1", |page| page["complete"] == json!(true));
    (backend, server)
}

fn rows(page: &Value, name: &str) -> Vec<Value> {
    page[name].as_array().unwrap_or_else(|| panic!("no {name} in {page}")).clone()
}

/// Walks a list from its first page to its last.
fn walk(server: &Calltrail, path: &str, name: &str) -> Vec<Value> {
    let (mut all, mut next) = (Vec::new(), String::new());
    loop {
        let page = server.json(&format!("{path}{next}"));
        all.extend(rows(&page, name));
        match page["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => return all,
        }
    }
}

fn ids(calls: &[Value]) -> Vec<String> {
    calls.iter().map(|c| c["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_mistake_has_its_status_and_its_problem() {
    let (_data, server) = filled();
    for (method, path, status, kind, hint) in [
        ("GET", "/v1/cals", 404, "unknown-path", "/v1/calls"),
        ("GET", "/nothing/here", 404, "unknown-path", "/v1/findings"),
        ("POST", "/ingest/a%20b", 404, "unknown-path", "/ingest/NAME"),
        ("POST", "/ingest/%ff", 404, "unknown-path", "/ingest/NAME"),
        ("POST", "/ingest/mesh?prox=web", 400, "bad-parameter", "\"proxy\""),
        ("GET", "/ingest/mesh", 405, "wrong-method", "POST"),
        ("DELETE", "/v1/calls", 405, "wrong-method", "GET"),
        ("GET", "/v1/calls?princpal=x", 400, "bad-parameter", "\"principal\""),
        ("GET", "/v1/calls?from=yesterday", 400, "bad-parameter", "RFC 3339"),
        ("GET", "/v1/calls?limit=5000", 400, "bad-parameter", "1000"),
        ("GET", "/v1/calls?cursor=nonsense", 400, "bad-parameter", "next"),
        ("GET", "/v1/calls?basis=sure", 400, "bad-parameter", "proven"),
        ("GET", "/v1/calls/no-such-id", 404, "not-found", "x-request-id"),
        ("GET", "/v1/calls/%ff", 404, "not-found", "x-request-id"),
        ("GET", "/v1/calls/no-such-id/evidence", 404, "not-found", "x-request-id"),
        ("GET", "/v1/traces/xyz", 400, "bad-parameter", "32 lower-case"),
        ("GET", "/v1/traces/ffffffffffffffffffffffffffffffff", 404, "not-found", "no call of trace"),
        ("GET", "/v1/findings?kind=bad", 400, "bad-parameter", "denied"),
        ("GET", "/v1/stats?step=60", 400, "bad-parameter", "5m"),
        ("GET", "/v1/stats?by=principal", 400, "bad-parameter", "status_class"),
        ("GET", "/v1/stats?from=2026-11-25&to=2026-11-24", 400, "bad-parameter", "before"),
        ("GET", "/v1/stats?from=2020-01-01&to=2026-01-01&step=1m", 400, "bad-parameter", "longer step"),
        ("GET", "/v1/stats?finding=denied", 400, "bad-parameter", "\"decision\""),
        ("GET", "/v1/rejects?limit=x", 400, "bad-parameter", "1000"),
    ] {
        let answer = send(server.address, method, path, &[], b"").unwrap();
        let what = format!("{method} {path}: {}", answer.text());
        assert_eq!(answer.status, status, "{what}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
        let problem = answer.json();
        assert_eq!(problem["type"], format!("urn:calltrail:problem:{kind}"), "{what}");
        assert_eq!(problem["status"], status, "{what}");
        assert!(!problem["title"].as_str().unwrap().is_empty(), "{what}");
        assert!(problem["detail"].as_str().unwrap().contains(hint), "{what}");
    }
    let headers = [("content-encoding", "br")];
    let answer = send(server.address, "POST", "/ingest/mesh", &headers, b"x").unwrap();
    assert_eq!(answer.status, 415, "{}", answer.text());
}

#[test]
fn pages_of_any_size_walk_the_same_rows_in_both_directions() {
    let (_data, server) = filled();
    let newest = ids(&walk(&server, "/v1/calls?limit=1000", "calls"));
    assert!(newest.len() > 5, "{newest:?}");
    assert_eq!(newest.iter().collect::<BTreeSet<_>>().len(), newest.len(), "no row twice");
    for limit in [1, 2, 3] {
        assert_eq!(ids(&walk(&server, &format!("/v1/calls?limit={limit}"), "calls")), newest, "{limit}");
        let oldest = ids(&walk(&server, &format!("/v1/calls?order=oldest&limit={limit}"), "calls"));
        assert_eq!(oldest, newest.iter().rev().cloned().collect::<Vec<_>>(), "{limit}");
    }
}

#[test]
fn a_walk_keeps_the_time_of_its_first_page() {
    let (_data, server) = filled();
    let first = server.json("/v1/calls?limit=1");
    let cursor = first["next"].as_str().unwrap();
    let second = server.json(&format!("/v1/calls?limit=1&cursor={cursor}"));
    assert_eq!(first["as_of"], second["as_of"]);
}

#[test]
fn each_filter_gives_exactly_the_rows_that_say_so() {
    let (_data, server) = filled();
    let all = walk(&server, "/v1/calls?limit=1000", "calls");
    let denied = |call: &Value| rows(call, "decisions").iter().any(|d| d["effect"] == "deny");
    let found = |call: &Value| rows(call, "findings").iter().any(|f| f["kind"] == "denied");
    let start = all[all.len() / 2]["start"].as_str().unwrap().to_owned();
    let trace = all.iter().find_map(|c| c["trace_id"].as_str()).unwrap().to_owned();
    let principal = all.iter().find_map(|c| c["principal"]["subject"].as_str()).unwrap().to_owned();
    let spiffe = all.iter().find_map(|c| c["callee"]["spiffe_id"].as_str()).unwrap().to_owned();
    type Holds<'a> = Box<dyn Fn(&Value) -> bool + 'a>;
    let cases: Vec<(String, Holds<'_>)> = vec![
        ("caller=web".to_owned(), Box::new(|c| c["caller"]["name"] == "web")),
        ("callee=api".to_owned(), Box::new(|c| c["callee"]["name"] == "api")),
        (format!("callee={spiffe}"), Box::new(|c| c["callee"]["spiffe_id"] == spiffe)),
        ("decision=deny".to_owned(), Box::new(denied)),
        ("finding=denied".to_owned(), Box::new(found)),
        ("basis=single".to_owned(), Box::new(|c| c["basis"] == "single")),
        (
            "status=2xx".to_owned(),
            Box::new(|c| c["outcome"]["status"].as_i64().is_some_and(|s| s / 100 == 2)),
        ),
        (format!("trace={trace}"), Box::new(|c| c["trace_id"] == trace)),
        (format!("principal={principal}"), Box::new(|c| c["principal"]["subject"] == principal)),
        (format!("from={start}"), Box::new(|c| c["start"].as_str().unwrap() >= start.as_str())),
        (format!("to={start}"), Box::new(|c| c["start"].as_str().unwrap() < start.as_str())),
    ];
    for (query, holds) in cases {
        let expected = ids(&all.iter().filter(|c| holds(c)).cloned().collect::<Vec<_>>());
        assert!(!expected.is_empty() && expected.len() < all.len(), "{query} would tell nothing");
        let got = ids(&walk(&server, &format!("/v1/calls?limit=2&{query}"), "calls"));
        assert_eq!(got, expected, "{query}");
    }
}

#[test]
fn a_call_has_the_names_that_programs_read() {
    let (_data, server) = filled();
    let page = server.json("/v1/calls?limit=1");
    let row = &rows(&page, "calls")[0];
    assert!(row.get("legs").is_none(), "a list leaves the legs out unless asked");
    let call = server.json(&format!("/v1/calls/{}", row["id"].as_str().unwrap()));
    for name in [
        "id",
        "trace_id",
        "parent_id",
        "caller",
        "callee",
        "principal",
        "claimed_principal",
        "protocol",
        "method",
        "authority",
        "path",
        "start",
        "start_us",
        "decisions",
        "outcome",
        "basis",
        "confidence",
        "ambiguous",
        "state",
        "settles_at",
        "findings",
        "legs",
    ] {
        assert!(call.get(name).is_some(), "no {name} in {call}");
    }
    for name in ["name", "spiffe_id", "kind", "assurance"] {
        assert!(call["caller"].get(name).is_some(), "no {name} in {}", call["caller"]);
    }
    for name in
        ["id", "side", "observer", "span_id", "line_sha256", "source", "delivery", "line", "received_at"]
    {
        assert!(call["legs"][0].get(name).is_some(), "no {name} in {}", call["legs"][0]);
    }
}

#[test]
fn findings_walk_in_pages_and_name_their_call() {
    let (_data, server) = filled();
    let all = walk(&server, "/v1/findings?limit=1000", "findings");
    assert!(all.iter().any(|f| f["kind"] == "denied"), "{all:#?}");
    let denied = walk(&server, "/v1/findings?kind=denied&limit=1000", "findings");
    assert!(denied.iter().all(|f| f["kind"] == "denied"));
    for finding in &all {
        let call = server.json(&format!("/v1/calls/{}", finding["call_id"].as_str().unwrap()));
        let kinds: Vec<Value> = rows(&call, "findings").iter().map(|f| f["kind"].clone()).collect();
        assert!(kinds.contains(&finding["kind"]), "{finding}");
    }
}

/// How often each value comes, of rows that stand for so many calls each.
fn counted<'a>(rows: impl Iterator<Item = (&'a Value, i64)>) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    rows.for_each(|(value, calls)| {
        *counts.entry(value.as_str().unwrap_or("none").to_owned()).or_default() += calls;
    });
    counts
}

#[test]
fn statistics_count_what_the_list_of_calls_lists() {
    let (_data, server) = filled();
    let all = walk(&server, "/v1/calls?limit=1000", "calls");
    let stats = |query: &str| server.json(&format!("/v1/stats?from=2026-01-01&to=2027-01-01&{query}"));
    let of_callees = stats("step=all&by=callee");
    let told = rows(&of_callees, "rows");
    let told = counted(told.iter().map(|row| (&row["callee"], row["calls"].as_i64().unwrap())));
    assert_eq!(told, counted(all.iter().map(|call| (&call["callee"]["name"], 1))));

    let denied = rows(&stats("step=1d&decision=deny"), "rows");
    let of_calls = all.iter().filter(|c| rows(c, "decisions").iter().any(|d| d["effect"] == "deny"));
    assert_eq!(denied.iter().map(|row| row["calls"].as_i64().unwrap()).sum::<i64>(), of_calls.count() as i64);

    let total = &rows(&stats("step=all"), "rows")[0];
    let sum = |name: &str| all.iter().filter_map(|c| c["outcome"][name].as_i64()).sum::<i64>();
    assert_eq!(total["calls"], json!(all.len()));
    assert_eq!(total["duration_sum_us"], json!(sum("duration_us")));
    assert_eq!(total["response_body_bytes"], json!(sum("response_body_bytes")));
    assert!(total["p50_us"].as_i64() <= total["p99_us"].as_i64() && total["p50_us"].is_i64(), "{total}");
}

#[test]
fn statistics_have_the_names_that_programs_read() {
    let (_data, server) = filled();
    let page = server.json(
        "/v1/stats?from=2026-11-24T02:56:50Z&to=2026-11-25&step=1h&by=status_class,caller,decision,callee&callee=api",
    );
    assert_eq!(page["by"], json!(["caller", "callee", "decision", "status_class"]));
    assert_eq!(page["from"], "2026-11-24T02:00:00.000000Z", "the period is that of the rows");
    assert_eq!((&page["step_us"], &page["quantile_error"]), (&json!(3_600_000_000_i64), &json!(0.03125)));
    assert_eq!(page["complete"], true);
    for row in rows(&page, "rows") {
        let names: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
        for name in [
            "at",
            "at_us",
            "caller",
            "caller_kind",
            "callee",
            "callee_kind",
            "decision",
            "status_class",
            "calls",
            "failed",
            "request_body_bytes",
            "response_body_bytes",
            "timed",
            "duration_sum_us",
            "p50_us",
            "p95_us",
            "p99_us",
        ] {
            assert!(names.contains(&name), "no {name} in {row}");
        }
        assert_eq!(row["callee"], "api");
    }
    assert!(!rows(&page, "rows").is_empty());
    assert_eq!(rows(&server.json("/v1/stats?callee=nobody"), "rows"), [] as [Value; 0]);
}

#[test]
fn what_could_not_be_read_is_listed_with_its_place() {
    let (_data, server) = filled();
    let rejects = rows(&server.json("/v1/rejects"), "rejects");
    assert_eq!(rejects.len(), 1, "{rejects:#?}");
    assert_eq!((&rejects[0]["source"], &rejects[0]["line"]), (&json!("mesh"), &json!(1)));
    assert_eq!(rejects[0]["reason"], "not_json");
}

#[test]
fn health_and_metrics_speak_to_machines() {
    let (_data, server) = filled();
    assert_eq!(server.get("/healthz").unwrap().text(), "ok\n");
    let ready = server.json("/readyz");
    assert_eq!((&ready["status"], &ready["lag_deliveries"]), (&json!("ready"), &json!(0)));
    let metrics = server.get("/metrics").unwrap();
    assert!(metrics.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = metrics.text();
    let deliveries = format!("calltrail_store_deliveries {}", UPLOADS.len());
    assert!(text.contains(&deliveries) && text.ends_with("# EOF\n"), "{text}");
    let rejected = "calltrail_ingest_rejected_lines_total{source=\"mesh\",reason=\"not_json\"} 1";
    assert!(text.contains(rejected), "{text}");
}
