//! Counting: what dashboards ask for.

use crate::bed::Bed;
use crate::fixtures::*;
use calltrail::model::*;
use calltrail::store::{CallGroup, CallTotals, CountScope, Quantile};

/// A step of the stories, in microseconds.
const STEP: i64 = 1_000_000;

fn all(filter: &CallFilter) -> CountScope<'_> {
    CountScope { filter, as_of: LATER, at_most: 1_000 }
}

fn answered(status: Option<u16>, duration_us: Option<i64>, call: Call) -> Call {
    let outcome = Outcome { status, duration_us, ..call.outcome.clone() };
    Call { outcome, ..call }
}

fn denied(call: Call) -> Call {
    let decisions = vec![decision(Effect::Allow, call.id), decision(Effect::Deny, call.id)];
    Call { decisions, findings: vec![finding(FindingKind::Denied, Severity::Medium)], ..call }
}

pub async fn calls_are_counted_by_step_and_by_whatever_they_are_grouped_by(bed: &Bed) {
    let by_user = Call { principal: Some(principal("u-1")), ..call(1, 0) };
    let to_db = Call { callee: service("db"), basis: Basis::Proven, ..call(2, STEP - 1) };
    let judged = Call { decisions: vec![decision(Effect::Allow, id(3))], ..call(3, STEP) };
    let failed = denied(answered(Some(503), None, call(4, 5 * STEP)));
    derive_calls(&bed.store, [by_user, to_db, judged, failed]).await;

    for (by, expected) in [
        (CallGroup::Callee, vec![(0, "api", 1), (0, "db", 1), (1, "api", 1), (5, "api", 1)]),
        (CallGroup::Caller, vec![(0, "web", 2), (1, "web", 1), (5, "web", 1)]),
        (CallGroup::Principal, vec![(0, "u-1", 1), (0, "", 1), (1, "", 1), (5, "", 1)]),
        (CallGroup::StatusClass, vec![(0, "2xx", 2), (1, "2xx", 1), (5, "5xx", 1)]),
        (CallGroup::Basis, vec![(0, "proven", 1), (0, "single", 1), (1, "single", 1), (5, "single", 1)]),
        (CallGroup::Effect, vec![(0, "", 2), (1, "allow", 1), (5, "deny", 1)]),
    ] {
        let counts = bed.store.call_counts(all(&CallFilter::default()), by, STEP).await.unwrap();
        let counts: Vec<(i64, &str, i64)> = counts
            .iter()
            .map(|c| ((c.at_us - HOUR.micros()) / STEP, c.label.as_deref().unwrap_or(""), c.calls))
            .collect();
        assert_eq!(counts, expected, "{by:?}");
    }
    let spiffe = service("db").spiffe_id.map(|id| id.to_string());
    for (name, filter, calls) in [
        (
            "time",
            CallFilter {
                from: Some(HOUR.plus_us(STEP)),
                to: Some(HOUR.plus_us(5 * STEP)),
                ..CallFilter::default()
            },
            1,
        ),
        ("callee", CallFilter { callee: spiffe, ..CallFilter::default() }, 1),
        ("principal", CallFilter { principal: Some("u-1".into()), ..CallFilter::default() }, 1),
        ("decision", CallFilter { decision: Some(Effect::Deny), ..CallFilter::default() }, 1),
        ("finding", CallFilter { finding: Some(FindingKind::Denied), ..CallFilter::default() }, 1),
        ("finding of none", CallFilter { finding: Some(FindingKind::Lost), ..CallFilter::default() }, 0),
        ("basis", CallFilter { basis: Some(Basis::Single), ..CallFilter::default() }, 3),
    ] {
        assert_eq!(bed.store.call_totals(all(&filter)).await.unwrap().calls, calls, "{name}");
    }
}

pub async fn totals_tell_failures_from_denials(bed: &Bed) {
    let stopped = |call: Call| {
        let outcome =
            Outcome { status: None, stopped_at: Some(Stage::ServerSidecar), ..call.outcome.clone() };
        Call { outcome, ..call }
    };
    let unavailable = Call {
        outcome: Outcome { grpc_status: Some(14), ..call(4, 4).outcome },
        callee: service("db"),
        basis: Basis::Keyed,
        ..call(4, 4)
    };
    derive_calls(
        &bed.store,
        [
            Call { basis: Basis::Proven, ..call(1, 1) },
            answered(Some(404), None, call(2, 2)),
            answered(Some(500), None, call(3, 3)),
            unavailable,
            answered(None, None, call(5, 5)),
            stopped(call(6, 6)),
            denied(stopped(call(7, 7))),
        ],
    )
    .await;
    let filter = CallFilter::default();
    let expected = CallTotals { label: None, calls: 7, failed: 3, denied: 1, proven: 1, keyed: 1 };
    assert_eq!(bed.store.call_totals(all(&filter)).await.unwrap(), expected);

    let api = CallTotals { label: Some("api".into()), calls: 6, failed: 2, keyed: 0, ..expected.clone() };
    let db = CallTotals { label: Some("db".into()), calls: 1, failed: 1, denied: 0, proven: 0, keyed: 1 };
    assert_eq!(bed.store.top(all(&filter), CallGroup::Callee, 9).await.unwrap(), [api.clone(), db]);
    assert_eq!(bed.store.top(all(&filter), CallGroup::Callee, 1).await.unwrap(), [api]);
    assert_eq!(bed.store.top(all(&filter), CallGroup::Principal, 9).await.unwrap(), [], "nobody is named");

    let none = CallFilter { callee: Some("nobody".into()), ..CallFilter::default() };
    assert_eq!(bed.store.call_totals(all(&none)).await.unwrap(), CallTotals::default());
}

pub async fn counting_stops_at_its_bound_with_the_newest(bed: &Bed) {
    derive_calls(&bed.store, (0..10).map(|n| call(n, i64::from(n) * STEP))).await;
    let filter = CallFilter::default();
    let scope = CountScope { at_most: 3, ..all(&filter) };
    assert_eq!(bed.store.call_totals(scope).await.unwrap().calls, 3);
    let counts = bed.store.call_counts(scope, CallGroup::Callee, STEP).await.unwrap();
    let at: Vec<i64> = counts.iter().map(|c| (c.at_us - HOUR.micros()) / STEP).collect();
    assert_eq!(at, [7, 8, 9]);
}

pub async fn quantiles_are_durations_that_a_call_really_took(bed: &Bed) {
    let took = |n: u32, at, duration_us| answered(Some(200), duration_us, call(n, at));
    let hundred = (1..=100).map(|n| took(n, 0, Some(i64::from(n * 7 % 101) * 10)));
    let alone = [took(200, STEP, Some(42)), took(201, STEP, None), took(202, 2 * STEP, None)];
    derive_calls(&bed.store, hundred.chain(alone)).await;
    let filter = CallFilter::default();
    let found = bed.store.durations(all(&filter), STEP, &[50, 95, 99]).await.unwrap();
    let at =
        |step, percent, duration_us| Quantile { at_us: HOUR.micros() + step * STEP, percent, duration_us };
    let expected =
        [at(0, 50, 500), at(0, 95, 950), at(0, 99, 990), at(1, 50, 42), at(1, 95, 42), at(1, 99, 42)];
    assert_eq!(found, expected);
}

pub async fn findings_are_counted_by_severity_while_they_hold(bed: &Bed) {
    let (low, high) =
        (finding(FindingKind::Stopped, Severity::Low), finding(FindingKind::Bypass, Severity::High));
    let not_yet = Finding { raised_at: LATER.plus_us(1), ..high.clone() };
    let missing = Finding { absent_observer: Some("service:unheard".into()), ..high.clone() };
    let accused = |n, at, findings| Call { findings, ..call(n, at) };
    derive_calls(
        &bed.store,
        [
            accused(1, 10, vec![low.clone(), high.clone()]),
            accused(2, 20, vec![low.clone(), not_yet, missing]),
            accused(3, 30, vec![low]),
        ],
    )
    .await;
    let count = async |to, at_most| {
        let mut counts = bed.store.finding_counts(HOUR, HOUR.plus_us(to), LATER, at_most).await.unwrap();
        counts.sort();
        counts
    };
    assert_eq!(count(30, 100).await, [(Severity::Low, 2), (Severity::High, 1)]);
    assert_eq!(count(31, 100).await, [(Severity::Low, 3), (Severity::High, 1)]);
    assert_eq!(count(31, 2).await, [(Severity::Low, 2)], "the newest two");
    assert_eq!(count(0, 100).await, []);
}
