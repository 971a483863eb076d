//! A world on disk: whoever reads the files finds what truth says is in them.

mod lab;

use calltrail_sim::faults::*;
use calltrail_sim::records::*;
use calltrail_sim::truth::{Side, Truth};
use calltrail_sim::write::write;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The lab's lines as if each had been a call of its own, a child of the one before it.
fn lab() -> (Vec<TrueCall>, Vec<Record>) {
    let records = lab::all_records();
    let count = records
        .iter()
        .map(|record| if let Record::Worker(event) = record { 1 + event.records.len() } else { 1 })
        .sum();
    ((0..count).map(call).collect(), records)
}

fn call(number: CallNo) -> TrueCall {
    TrueCall {
        kind: "http".to_owned(),
        caller: "web".to_owned(),
        callee: "api".to_owned(),
        method: Some("GET".to_owned()),
        path: Some("/".to_owned()),
        status: 200,
        start_us: 0,
        end_us: 1,
        parent: number.checked_sub(1),
        root_kind: "edge".to_owned(),
        principal: Some("alice".to_owned()),
        principal_provable: true,
        findings: Vec::new(),
        tainted_by: Vec::new(),
        interchangeable: None,
        attempts: 1,
        scenario: "chain".to_owned(),
    }
}

fn new_directory(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&directory);
    directory
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Everything that can happen at once.
fn bad_day() -> Faults {
    Faults {
        loss_percent: PerSource::same(10.0),
        duplicate_lines_percent: 10.0,
        duplicate_deliveries_percent: 10.0,
        recut_deliveries_percent: 10.0,
        late_lines_percent: 10.0,
        reorder_window_lines: 20,
        random_outages: RandomOutages { proxies: 1, sources: 0, seconds: 60 },
        clock: ClockFaults { offset_max_s: 300.0, drift_max_ppm: 50.0, steps: 1, step_max_s: 2.0 },
        truncate_worker_logs_chars: Some(400),
        strip_headers_percent: 20.0,
        default_format_percent: 30.0,
        nat: Nat::PerConnection,
        ..Faults::default()
    }
}

#[test]
fn truth_points_at_lines_that_stand_where_it_says() {
    let (calls, records) = lab();
    let directory = new_directory("bad_day");
    write(&directory, &calls, &apply(records, &bad_day(), 3)).unwrap();
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let rows: Vec<Value> =
        read(&directory.join("truth.jsonl")).lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    assert_eq!(rows.len(), calls.len());
    for row in &rows {
        for leg in row["lines"].as_array().unwrap() {
            let name = leg["file"].as_str().unwrap();
            let lines = files
                .entry(name.to_owned())
                .or_insert_with(|| read(&directory.join(name)).lines().map(str::to_owned).collect());
            let line = &lines[leg["line"].as_u64().unwrap() as usize - 1];
            assert_eq!(leg["sha256"].as_str().unwrap(), sha256(line));
            // In Consul's default format two lines of like calls within a millisecond can be the same bytes.
            if name.starts_with("mesh/") && !leg["changed"].to_string().contains("default_format") {
                let copies = lines.iter().filter(|other| *other == line).count();
                assert_eq!(copies as u64, leg["count"].as_u64().unwrap(), "{line}");
            }
            if let Some(span) = leg["span"].as_str() {
                assert!(line.contains(&format!(r#"\"{span}\""#)), "{span} in {line}");
            }
        }
        let (kept, lost) = (row["lines"].as_array().unwrap().len(), row["lost"].as_array().unwrap().len());
        assert_eq!(kept + lost, 1, "each of these calls has left one line: {row}");
    }
    assert!(rows.iter().any(|row| row["lost"][0]["why"] == "outage"));
    assert!(rows.iter().any(|row| row["lost"][0]["why"] == "truncated"));
    assert!(rows.iter().any(|row| row["lines"][0]["count"] == 2));
}

#[test]
fn every_received_line_stands_in_one_file() {
    let (calls, records) = lab();
    let directory = new_directory("all_files");
    let received = apply(records, &bad_day(), 3);
    write(&directory, &calls, &received).unwrap();
    let lines_in = |sub: &str| -> usize {
        let entries = std::fs::read_dir(directory.join(sub)).unwrap();
        entries.map(|entry| read(&entry.unwrap().path()).lines().count()).sum()
    };
    let rows = read(&directory.join("http_requests.ndjson")).lines().count();
    assert_eq!(lines_in("mesh") + lines_in("worker") + rows, received.lines.len());
    let clocks: Value = serde_json::from_str(&read(&directory.join("clocks.json"))).unwrap();
    assert_eq!(clocks[0]["proxy"], "admin-sidecar-proxy");
    assert_eq!(clocks[0]["pieces"].as_array().unwrap().len(), 2);
    let blind: Value = serde_json::from_str(&read(&directory.join("blind.json"))).unwrap();
    assert!(blind[0]["who"]["proxy"].is_string());
}

#[test]
fn nothing_is_written_among_the_files_of_another_run() {
    let directory = new_directory("used");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("old.jsonl"), "{}").unwrap();
    let (calls, records) = lab();
    let error = write(&directory, &calls, &apply(records, &Faults::default(), 3)).unwrap_err();
    assert!(error.to_string().contains("is not empty"), "{error}");
}

#[test]
fn a_gateways_line_tells_one_half_of_each_of_two_calls() {
    let mut records = lab::all_records();
    records.retain_mut(|record| match record {
        Record::Envoy(envoy) if envoy.role == Role::Gateway => {
            envoy.calls = vec![0, 1];
            true
        }
        _ => false,
    });
    records.truncate(1);
    let calls = [TrueCall { kind: "edge_call".to_owned(), ..call(0) }, call(1)];
    let received = apply(records, &Faults::default(), 3);
    let truth = Truth::of(&calls, &received);
    assert_eq!(
        truth.legs.iter().map(|leg| leg.side).collect::<Vec<_>>(),
        [Some(Side::Server), Some(Side::Client)]
    );
    assert_eq!(truth.legs[0].sha256, truth.legs[1].sha256);
    assert_eq!(truth.root(1), (0, 1));
}

#[test]
fn a_principal_can_be_proven_only_by_a_line_that_can_carry_the_header() {
    let (calls, records) = lab();
    let provable = |faults: Faults, role: Role| {
        let received = apply(records.clone(), &faults, 3);
        let truth = Truth::of(&calls, &received);
        let of_role = truth.legs.iter().filter(|leg| leg.role == role);
        of_role.map(|leg| truth.principal_provable(leg.call)).collect::<Vec<bool>>()
    };
    let stripped = Faults { strip_headers_percent: 100.0, ..Faults::default() };
    let by_default = Faults { default_format_percent: 100.0, ..Faults::default() };
    assert!(provable(Faults::default(), Role::Callee).iter().all(|yes| *yes));
    assert!(provable(stripped.clone(), Role::Callee).iter().all(|yes| !yes));
    assert!(provable(by_default, Role::Callee).iter().all(|yes| !yes));
    assert!(provable(stripped, Role::WorkerRecord).iter().all(|yes| *yes));
}

fn sha256(line: &str) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(line))
}
