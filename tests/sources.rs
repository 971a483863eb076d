//! Silence is not guilt: what calltrail concludes, and does not conclude, when lines of somebody are missing; and what it says of
//! the source instead. Real lines, left out, copied under other addresses and times, or cut.

#[path = "common/bench.rs"]
mod bench;
mod common;

use bench::{AS_OF, Bench, project, unzipped};
use common::{Backend, Serve};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const CLIENT: &str = include_str!("fixtures/crash/web-calls-api.client.jsonl");
const SERVER: &str = include_str!("fixtures/crash/web-calls-api.server.jsonl");

/// Of the demo's capture: every proxy.
const PROXIES: &[&str] = &[
    "admin-sidecar-proxy",
    "api-sidecar-proxy",
    "billing-sidecar-proxy",
    "cart-sidecar-proxy",
    "catalog-sidecar-proxy",
    "cron-sidecar-proxy",
    "dead-sidecar-proxy",
    "gw",
    "jwtapi-sidecar-proxy",
    "ledger-sidecar-proxy",
    "legacyapp-sidecar-proxy",
    "stock-sidecar-proxy",
    "vault-sidecar-proxy",
    "web-sidecar-proxy",
];

/// The capture, with the lines of each proxy that pass.
fn with_lines_that(bench: &Bench, pass: impl Fn(&str, &Value) -> bool) {
    let rules = project("demo/calltrail.toml");
    for (source, folder) in [("logpush-workers", "demo/worker"), ("logpush-zone", "demo/zone")] {
        bench.ok(&["import", "--source", source, "--rules", &rules, &project(folder)]);
    }
    let mut files = Vec::new();
    for proxy in PROXIES {
        let lines = unzipped(&format!("demo/mesh/{proxy}.jsonl.gz"));
        let kept = lines.lines().filter(|line| pass(proxy, &serde_json::from_str(line).unwrap()));
        let kept: String = kept.flat_map(|line| [line, "\n"]).collect();
        if !kept.is_empty() {
            files.push(bench.write(&format!("{proxy}.jsonl"), kept));
        }
    }
    let mut arguments = vec!["import", "--source", "mesh", "--rules", &rules];
    arguments.extend(files.iter().map(String::as_str));
    bench.ok(&arguments);
}

/// What is concluded from something missing: kind and call.
fn accusations(bench: &Bench) -> BTreeSet<(String, String)> {
    let absent = ["no_client_leg", "lost", "broken_chain", "edge_unwitnessed", "replayed_header", "bypass"];
    let mut found = BTreeSet::new();
    for call in bench.calls() {
        for finding in call["findings"].as_array().unwrap() {
            let kind = finding["kind"].as_str().unwrap();
            if absent.contains(&kind) {
                found.insert((kind.to_owned(), call["id"].as_str().unwrap().to_owned()));
            }
        }
    }
    found
}

/// Findings on sources at a time: kind and sentence.
fn on_sources(bench: &Bench, as_of: &str) -> Vec<(String, String)> {
    let page: Value =
        serde_json::from_str(&bench.ok(&["sources", "--format", "json", "--as-of", as_of])).unwrap();
    let findings = page["findings"].as_array().unwrap().iter();
    findings.map(|f| ["kind", "sentence"].map(|k| f[k].as_str().unwrap().to_owned()).into()).collect()
}

#[test]
fn a_proxy_whose_file_is_left_out_for_a_while_is_told_of_once_and_accuses_nobody_until_it_comes() {
    let (whole, broken) = (Bench::new(), Bench::new());
    with_lines_that(&whole, |_, _| true);
    let expected = accusations(&whole);
    assert!(expected.len() > 20, "the capture holds attacks: {expected:?}");
    assert_eq!(on_sources(&whole, AS_OF), [], "and nothing is wrong with its sources");

    let late = |line: &Value| line["start_time"].as_str().unwrap() > "2026-11-24T02:56:53";
    with_lines_that(&broken, |proxy, line| proxy != "catalog-sidecar-proxy" || !late(line));
    let wrong: Vec<_> = accusations(&broken).difference(&expected).cloned().collect();
    assert_eq!(wrong, [], "who was merely not logged is not accused");
    let told = on_sources(&broken, AS_OF);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, "low_coverage");
    assert!(told[0].1.starts_with("The proxy of catalog logged "), "{told:?}");

    let lines = unzipped("demo/mesh/catalog-sidecar-proxy.jsonl.gz");
    let missing = lines.lines().filter(|line| late(&serde_json::from_str(line).unwrap()));
    let missing: String = missing.flat_map(|line| [line, "\n"]).collect();
    let file = broken.write("late.jsonl", missing);
    broken.ok(&["import", "--source", "mesh", "--rules", &project("demo/calltrail.toml"), &file]);
    assert_eq!(on_sources(&broken, AS_OF), [], "it has withdrawn itself");
    assert_eq!(accusations(&broken), expected);
}

#[test]
fn a_proxy_that_never_sent_a_line_is_told_of_by_the_findings_that_it_keeps_from_being_raised() {
    let bench = Bench::new();
    with_lines_that(&bench, |proxy, _| proxy != "cron-sidecar-proxy");
    let told = on_sources(&bench, AS_OF);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, "silent_source");
    assert!(told[0].1.starts_with("No line has ever come from the proxy of cron: "), "{told:?}");
}

// --- lines of many instances and hours, made from one real call ---

/// Midnight of a day long past, so that no line is of the future wherever this runs.
const DAY_SECONDS: i64 = 1_704_153_600;

struct Made {
    client: String,
    server: String,
}

/// A call from `web` to `api` at a second of the day, over a connection of its own, to an instance of `api`.
fn made(n: i64, second: f64, from: &str, to: &str) -> Made {
    let (mut client, mut server): (Value, Value) =
        (serde_json::from_str(CLIENT).unwrap(), serde_json::from_str(SERVER).unwrap());
    let caller = format!("{from}:{}", 10_000 + n);
    for (side, line) in [("c", &mut client), ("s", &mut server)] {
        line["start_time"] = json!(format!("{:.3}", DAY_SECONDS as f64 + second));
        line["request_id"] = json!(format!("request-{n}"));
        line["traceparent"] = json!(format!("00-{:032x}-00000000000000ff-01", n + 1));
        line["unique_id"] = json!(format!("{side}-{n}"));
        line["cf_ray"] = Value::Null;
    }
    client["upstream_local_address"] = json!(caller);
    client["upstream_host"] = json!(to);
    client["node_id"] = json!(format!("web-{from}-sidecar-proxy"));
    server["downstream_direct_remote_address"] = json!(caller);
    server["downstream_local_address"] = json!(to);
    server["node_id"] = json!(format!("api-{to}-sidecar-proxy"));
    Made { client: client.to_string() + "\n", server: server.to_string() + "\n" }
}

fn import(bench: &Bench, source: &str, name: &str, lines: &[String]) {
    let file = bench.write(name, lines.concat());
    let mut arguments = vec!["import", "--source", source, &file];
    let rules = bench.path("rules.toml").to_str().unwrap().to_owned();
    if bench.path("rules.toml").exists() {
        arguments.extend(["--rules", &rules]);
    }
    bench.ok(&arguments);
}

#[test]
fn of_three_instances_the_dead_one_accuses_nobody_and_the_others_still_do() {
    let bench = Bench::new();
    let (mut lines, mut left_out) = (Vec::new(), Vec::new());
    let instances = ["10.0.1.1:20000", "10.0.1.2:20000", "10.0.1.3:20000"];
    for n in 0..960 {
        let call = made(n, n as f64 * 0.375, "10.0.0.1", instances[n as usize % 3]);
        lines.push(call.client);
        // The third is dead from the start; one call got lost on its way to the second.
        match n % 3 {
            2 => left_out.push(call.server),
            1 if n == 100 => {}
            _ => lines.push(call.server),
        }
    }
    import(&bench, "mesh", "lines.jsonl", &lines);
    let lost: Vec<Value> = bench.calls().into_iter().filter(|c| c["findings"][0]["kind"] == "lost").collect();
    assert_eq!(lost.len(), 1, "only on the instance that reports: {lost:?}");
    assert_eq!(lost[0]["legs"][0]["socket"]["server"], instances[1]);
    let told = on_sources(&bench, AS_OF);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].1.contains("The proxy of api logged 639 of 960 calls"), "{told:?}");

    // With most of them there, the party as a whole looks well; the instance does not.
    import(&bench, "mesh", "late.jsonl", &left_out[4..]);
    let told = on_sources(&bench, AS_OF);
    assert!(told[0].1.contains("The proxy of api at 10.0.1.3:20000 logged 316 of 320 calls"), "{told:?}");
    import(&bench, "mesh", "later.jsonl", &left_out[..4]);
    assert_eq!(on_sources(&bench, AS_OF), []);
}

/// A front end that nobody calls: a call every 10 s for an hour and a half, each over a new connection. Its own proxy's lines of
/// minutes 60 to 70 apart, and somebody's who has its certificate in minutes 30 and 65.
fn front_end() -> (Vec<String>, Vec<String>) {
    let (mut lines, mut silent) = (Vec::new(), Vec::new());
    for n in 0..540 {
        let call = made(n, n as f64 * 10.0, "10.0.0.1", "10.0.1.1:20000");
        lines.push(call.server);
        if (360..420).contains(&n) { silent.push(call.client) } else { lines.push(call.client) }
    }
    for (n, minute) in [(1_000, 30.5), (1_001, 65.5)] {
        lines.push(made(n, minute * 60.0, "10.0.0.1", "10.0.1.1:20000").server);
    }
    (lines, silent)
}

fn bypasses(bench: &Bench) -> Vec<String> {
    let accused = bench.calls().into_iter().filter(|c| c["findings"][0]["kind"] == "no_client_leg");
    accused.map(|c| c["start"].as_str().unwrap()[11..19].to_owned()).collect()
}

#[test]
fn a_front_end_that_breaks_its_rhythm_is_blind_and_nobody_has_gone_round_it() {
    let bench = Bench::new();
    let (lines, silent) = front_end();
    import(&bench, "front", "front.jsonl", &lines);
    assert_eq!(bypasses(&bench), ["00:30:30"], "not the 60 calls whose lines are missing");
    let told = on_sources(&bench, "2024-01-02T01:31:00Z");
    let kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    assert!(kinds.contains(&"blind_window") && !kinds.contains(&"silent_source"), "{told:?}");
    assert!(told.iter().any(|(_, s)| s.contains("the proxy of web between 2024-01-02T00:59:00")), "{told:?}");

    import(&bench, "front", "late.jsonl", &silent);
    assert_eq!(bypasses(&bench), ["00:30:30", "01:05:30"], "with its lines there, the other bypass shows");
    assert_eq!(on_sources(&bench, "2024-01-02T01:31:00Z"), [], "the silence never was one");
    let told = on_sources(&bench, "2024-01-02T02:31:00Z");
    assert_eq!(told.len(), 1, "now the whole source says nothing: {told:?}");
    assert!(told[0].0 == "silent_source" && told[0].1.contains("the source front since"), "{told:?}");
}

#[test]
fn a_declared_outage_holds_at_once_and_for_what_was_derived_before() {
    let bench = Bench::new();
    let (lines, silent) = front_end();
    import(&bench, "front", "front.jsonl", &[lines, silent].concat());
    assert_eq!(bypasses(&bench), ["00:30:30", "01:05:30"]);
    bench.write(
        "rules.toml",
        "[[blind]]\nsource = \"front\"\nfrom = \"2024-01-02T00:20:00Z\"\nto = \"2024-01-02T00:40:00Z\"\n",
    );
    import(&bench, "front", "one.jsonl", &[made(2_000, 5_400.0, "10.0.0.1", "10.0.1.1:20000").client]);
    assert_eq!(bypasses(&bench), ["01:05:30"]);
    let told = on_sources(&bench, "2024-01-02T01:31:00Z");
    assert!(told.len() == 1 && told[0].1.contains("The source front is declared blind"), "{told:?}");
}

#[test]
fn a_job_that_was_idle_is_judged_by_the_day_before_once_it_reports_again() {
    let bench = Bench::new();
    let at = |hour: f64, n| made(n, hour * 3_600.0, "10.0.0.1", "10.0.1.1:20000");
    let (first, attack, again) = (at(1.0, 1), at(9.5, 2), at(20.0, 3));
    import(&bench, "mesh", "first.jsonl", &[first.client, first.server, attack.server]);
    assert_eq!(bypasses(&bench), Vec::<String>::new(), "nobody knows whether it still reports");
    import(&bench, "mesh", "again.jsonl", &[again.client, again.server]);
    assert_eq!(bypasses(&bench), ["09:30:00"]);
}

#[test]
fn a_record_that_is_missing_from_a_workers_event_marks_it_and_holds_nothing_against_the_edge() {
    let text = include_str!("fixtures/worker/logpush/three_parallel_calls.ndjson");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let is_record = |entry: &Value, q: i64| {
        let message = entry["Message"][0].as_str().unwrap_or_default();
        serde_json::from_str::<Value>(message).is_ok_and(|record| record["q"] == q)
    };
    let with_three = |line: &&Value| {
        let logs = line["Logs"].as_array().unwrap();
        (0..3).all(|q| logs.iter().any(|entry| is_record(entry, q)))
    };
    let whole = lines.iter().find(with_three).expect("an event with two subrequests");
    let mut cut = whole.clone();
    cut["Logs"].as_array_mut().unwrap().retain(|entry| !is_record(entry, 1));
    let kinds = |line: &Value| {
        let bench = Bench::new();
        import(&bench, "logpush", "worker.ndjson", &[line.to_string()]);
        let calls = bench.calls();
        let findings = calls.iter().flat_map(|c| c["findings"].as_array().unwrap().clone());
        findings.map(|f| f["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(!kinds(whole).contains(&"truncated".to_owned()));
    assert_eq!(kinds(&cut).iter().filter(|kind| *kind == "truncated").count(), 1);
}

#[test]
fn sources_and_their_findings_are_answered_over_http() {
    let backend = Backend::sqlite();
    let server = Serve::on(&backend).start();
    let default_format =
        include_bytes!("fixtures/envoy/default/a_chain_keeps_its_trace_over_two_calls.ndjson");
    server.ingest("legacy", default_format);
    server.ingest("legacy", b"this is no line\n");
    server.ingest("mesh", [CLIENT, SERVER].concat().as_bytes());
    let page = server.wait_for("/v1/sources", |page| page["complete"] == json!(true));
    let sources = page["sources"].as_array().unwrap();
    assert_eq!(sources.iter().map(|s| s["name"].as_str().unwrap()).collect::<Vec<_>>(), ["legacy", "mesh"]);
    assert_eq!((&sources[0]["deliveries"], &sources[0]["rejects"]), (&json!(2), &json!(1)));
    let observers = sources[1]["observers"].as_array().unwrap();
    assert_eq!(observers.len(), 2, "{observers:#?}");
    let api = observers.iter().find(|o| o["name"].as_str().unwrap().starts_with("api")).unwrap();
    assert_eq!(api["format_lacks"], json!([]));
    assert_eq!(api["coverage"]["inbound"]["seen"], 1);
    assert!(api["coverage"]["inbound"]["low"].as_f64().unwrap() < 0.5, "one call proves little");

    let gaps = server.json("/v1/findings?kind=format_gap");
    assert_eq!(gaps["findings"], json!([]));
    let gaps = gaps["source_findings"].as_array().unwrap();
    assert!(!gaps.is_empty() && gaps.iter().all(|gap| gap["sources"] == json!(["legacy"])), "{gaps:#?}");
    let sentence = gaps[0]["sentence"].as_str().unwrap();
    assert!(sentence.contains("traceparent") && sentence.contains("recommended format"), "{sentence}");
    assert_eq!(server.json("/v1/findings?kind=denied")["source_findings"], json!([]));
    assert_eq!(server.json("/v1/findings?severity=high")["source_findings"], json!([]));
}
