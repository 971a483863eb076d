//! Holds the dashboards in `dashboards/` against the real server with the demo's data: each query of each panel, variable and
//! annotation is asked as Grafana would ask it, and each column that a dashboard names must be in the rows that come back.
//!
//! Grafana itself is not run here: what it does with the rows is not tested, that it gets them is.
#![allow(clippy::unwrap_used)]

#[path = "dashboards/bundle.rs"]
mod bundle;
mod common;
#[path = "dashboards/demo.rs"]
mod demo;

use bundle::{Dashboard, Query};
use demo::Demo;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

#[test]
fn what_is_committed_is_what_the_generator_writes() {
    let output = Command::new("python3").args(["dashboards/generate.py", "--check"]).output();
    let output = output.expect("the generator needs python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn each_query_is_answered_with_the_columns_that_the_dashboards_name() {
    let demo = Demo::start();
    for dashboard in bundle::all() {
        for query in dashboard.queries() {
            let rows = demo.rows(&query, &[]);
            assert!(!rows.is_empty(), "{}: no rows", query.place);
            for column in &query.columns {
                let values: Vec<&Value> = rows
                    .iter()
                    .map(|row| row.get(column).unwrap_or_else(|| panic!("{}: no {column}", query.place)))
                    .collect();
                assert!(values.iter().any(|v| !v.is_null()), "{}: {column} is always null", query.place);
            }
            for column in query.named_columns() {
                assert!(
                    query.columns.contains(&column),
                    "{}: names {column:?}, asks not for it",
                    query.place
                );
            }
        }
    }
}

#[test]
fn values_have_the_types_that_the_dashboards_say() {
    let demo = Demo::start();
    for query in bundle::all().iter().flat_map(Dashboard::queries) {
        for row in demo.rows(&query, &[]) {
            for (column, kind) in &query.kinds {
                let value = &row[column];
                let fits = value.is_null()
                    || match kind.as_str() {
                        "string" => value.is_string(),
                        "number" => value.is_number(),
                        "boolean" => value.is_boolean(),
                        // Milliseconds, not seconds and not microseconds: in the year of the demo.
                        "timestamp_epoch" => value
                            .as_i64()
                            .is_some_and(|ms| (1_767_225_600_000..1_798_761_600_000).contains(&ms)),
                        _ => panic!("{}: {column} is of unknown type {kind}", query.place),
                    };
                assert!(fits, "{}: {column}={value} is no {kind}", query.place);
            }
        }
    }
}

#[test]
fn series_come_in_the_order_of_time_with_one_value_per_label_and_step() {
    let demo = Demo::start();
    for query in bundle::all().iter().flat_map(Dashboard::queries).filter(|q| q.format == "timeseries") {
        let points: Vec<(i64, String)> = demo
            .rows(&query, &[])
            .iter()
            .map(|row| (row["ts"].as_i64().unwrap(), row["label"].as_str().unwrap().to_owned()))
            .collect();
        assert!(points.is_sorted_by(|a, b| a < b), "{}: {points:?}", query.place);
        let labels: BTreeSet<&String> = points.iter().map(|(_, label)| label).collect();
        // A chart that gives colours by name gives one to each name that can come.
        let colored = query.overridden_labels();
        let missed: Vec<_> = labels.iter().filter(|label| !colored.contains(**label)).collect();
        assert!(colored.is_empty() || missed.is_empty(), "{}: no colour for {missed:?}", query.place);
    }
}

#[test]
fn each_variable_filters_by_each_of_its_values() {
    let demo = Demo::start();
    for dashboard in bundle::all() {
        for (variable, values) in dashboard.query_variables() {
            let choices = demo.rows(&values, &[]);
            for choice in choices.iter().map(|row| row["value"].as_str().unwrap()) {
                for query in dashboard.queries().iter().filter(|q| q.uses(&variable)) {
                    let rows = demo.rows(query, &[(&variable, choice)]);
                    let column = if variable == "finding" { "findings" } else { variable.as_str() };
                    for cell in rows.iter().filter_map(|row| row.get(column)?.as_str()) {
                        let fits = cell.split(", ").any(|word| word == choice);
                        assert!(fits, "{}: {variable}={choice} gave {cell}", query.place);
                    }
                    let seen = ["principal", "caller", "callee"].contains(&variable.as_str());
                    assert!(!seen || !rows.is_empty(), "{}: {variable}={choice} finds nothing", query.place);
                }
            }
        }
    }
}

#[test]
fn a_parameter_that_calltrail_does_not_know_fails() {
    let demo = Demo::start();
    for query in bundle::all().iter().flat_map(Dashboard::queries) {
        let path = format!("{}&colour=red", query.path(&[]));
        let answer = demo.server.get(&path).unwrap();
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
    }
    for path in ["/api/grafana/calls?from=now-1h", "/api/grafana/series?by=colour", "/api/grafana/series"] {
        assert_eq!(demo.server.get(path).unwrap().status, 400, "{path}");
    }
    assert_eq!(demo.server.get("/api/grafana/values/colour").unwrap().status, 404);
}

#[test]
fn links_lead_to_calls_and_dashboards_that_are_there() {
    let demo = Demo::start();
    let all = bundle::all();
    for query in all.iter().flat_map(Dashboard::queries) {
        for link in &query.links {
            if let Some(rest) = link.strip_prefix("/d/") {
                let (uid, parameters) = rest.split_once('?').unwrap();
                let to = all.iter().find(|d| d.uid == uid);
                let to = to.unwrap_or_else(|| panic!("{}: no dashboard {uid}", query.place));
                assert!(
                    parameters.starts_with("${__url_time_range}"),
                    "{}: {link} forgets the time",
                    query.place
                );
                for name in parameters.split("&var-").skip(1) {
                    let name = name.split('=').next().unwrap();
                    assert!(to.variables().contains(name), "{}: {uid} has no variable {name}", query.place);
                }
            } else {
                let path =
                    link.strip_prefix("${calltrail:raw}").expect("a link leads to calltrail or a dashboard");
                let column = path.split_once("${__data.fields.").unwrap().1.trim_end_matches('}');
                let rows = demo.rows(&query, &[]);
                let id = rows[0][column].as_str().unwrap();
                let call = demo.server.json(&path.replace(&format!("${{__data.fields.{column}}}"), id));
                assert_eq!(call["id"], id, "{}", query.place);
            }
        }
    }
}

#[test]
fn the_documented_link_shows_the_whole_demo() {
    let docs = std::fs::read_to_string("docs/dashboards.md").unwrap();
    let query =
        docs.split("/d/calltrail-overview?").nth(1).expect("docs/dashboards.md links the demo's range");
    let query = query.split(|c: char| c.is_whitespace() || c == ')').next().unwrap();
    let demo = Demo::start();
    let shown = demo.server.json(&format!("/api/grafana/summary?{query}"))["rows"][0].clone();
    let all = demo.server.json("/api/grafana/summary?from=1795478400000&to=1795564800000")["rows"][0].clone();
    assert_eq!(shown, all);
    assert_eq!(shown["all_counted"], true);
}

#[test]
fn numbers_agree_with_each_other_and_with_the_calls() {
    let demo = Demo::start();
    let ask = |path: &str| demo.server.json(&format!("/api/grafana/{path}{}", demo::RANGE))["rows"].clone();
    let sum = |rows: &Value, column: &str| -> i64 {
        rows.as_array().unwrap().iter().map(|row| row[column].as_i64().unwrap()).sum()
    };
    let summary = ask("summary?")[0].clone();
    let calls = summary["calls"].as_i64().unwrap();
    for by in ["caller", "callee", "status_class", "basis", "effect"] {
        assert_eq!(sum(&ask(&format!("series?by={by}&step=1000&")), "value"), calls, "by {by}");
    }
    let callees = ask("top?by=callee&limit=1000&");
    for column in ["calls", "failed", "denied"] {
        assert_eq!(sum(&callees, column), summary[column].as_i64().unwrap(), "{column}");
    }
    let denied = ask("calls?decision=deny&limit=1000&");
    assert_eq!(denied.as_array().unwrap().len() as i64, summary["denied"].as_i64().unwrap());
    let high = ask("findings?severity=high&limit=1000&");
    assert_eq!(high.as_array().unwrap().len() as i64, summary["findings_high"].as_i64().unwrap());
}

#[test]
fn dashboards_follow_the_house_rules() {
    let mut uids = BTreeSet::new();
    for dashboard in bundle::all() {
        assert!(uids.insert(dashboard.uid.clone()), "{} twice", dashboard.uid);
        let faults = dashboard.faults();
        assert!(faults.is_empty(), "{}:\n{}", dashboard.uid, faults.join("\n"));
    }
    assert_eq!(uids, ["calltrail-audit", "calltrail-overview"].map(str::to_owned).into());
}

#[test]
fn provisioning_names_what_the_dashboards_use_and_pins_what_it_runs() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let source = read("dashboards/provisioning/datasources/calltrail.yaml");
    for line in ["uid: calltrail\n", "type: yesoreyeram-infinity-datasource\n"] {
        assert!(source.contains(line), "{line}");
    }
    let compose = read("dashboards/compose.yaml");
    let image = compose.lines().find_map(|l| l.trim().strip_prefix("image: grafana/grafana:")).unwrap();
    assert!(image.split('.').count() == 3 && image.split('.').all(|n| n.parse::<u32>().is_ok()), "{image}");
    assert!(compose.contains("yesoreyeram-infinity-datasource@3."), "the plugin is pinned");
    let provider = read("dashboards/provisioning/dashboards/calltrail.yaml");
    let path = provider.lines().find_map(|l| l.trim().strip_prefix("path: ")).unwrap();
    assert!(compose.contains(&format!("./json:{path}:ro")), "{path} is where compose puts the dashboards");
}

/// A query cannot be asked twice in two ways: the same place names the same query.
#[test]
fn each_query_has_a_place_of_its_own() {
    for dashboard in bundle::all() {
        let places: Vec<String> = dashboard.queries().into_iter().map(|q: Query| q.place).collect();
        assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), places.len(), "{places:?}");
    }
}
