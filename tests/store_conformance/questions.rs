//! Questions: pages, filters, and which findings hold.

use crate::bed::Bed;
use crate::fixtures::*;
use calltrail::model::*;
use calltrail::store::{Change, IndexedCall, Order};

fn answered(status: Option<u16>) -> Outcome {
    Outcome { status, ..call(1, 1).outcome }
}

async fn found(bed: &Bed, filter: CallFilter) -> Vec<LegId> {
    let page = bed.store.calls(&filter, LATER, Order::OldestFirst, None, 100).await.unwrap();
    assert_eq!(page.next, None);
    ids(&page.rows)
}

pub async fn pages_show_every_call_once_also_when_starts_are_equal(bed: &Bed) {
    // Twenty-three calls at three times, so that pages end between equal starts.
    let calls: Vec<Call> = (0..23).map(|n| call(n * 7 % 23, i64::from(n % 3))).collect();
    derive_calls(&bed.store, calls.clone()).await;
    let mut expected: Vec<(Timestamp, LegId)> = calls.iter().map(|c| (c.start, c.id)).collect();
    expected.sort();
    for (order, limit) in [(Order::OldestFirst, 4), (Order::NewestFirst, 5), (Order::NewestFirst, 23)] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = bed.store.calls(&CallFilter::default(), LATER, order, after, limit).await.unwrap();
            assert!(page.rows.len() <= limit as usize);
            seen.extend(page.rows.iter().map(|c| (c.start, c.id)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if order == Order::NewestFirst {
            seen.reverse();
        }
        assert_eq!(seen, expected, "{order:?} by {limit}");
    }
}

pub async fn each_filter_finds_its_calls_and_no_others(bed: &Bed) {
    let trace = TraceId([9; 16]);
    let unmeshed = Identity { spiffe_id: None, assurance: Assurance::Asserted, ..service("web") };
    derive_calls(
        &bed.store,
        [
            call(1, 10),
            Call { principal: Some(principal("u-1")), trace_id: Some(trace), ..call(2, 20) },
            Call {
                caller: unmeshed,
                callee: service("db"),
                basis: Basis::Keyed,
                outcome: answered(Some(503)),
                ..call(3, 30)
            },
            Call { decisions: vec![decision(Effect::Allow, id(4))], outcome: answered(None), ..call(4, 40) },
            Call {
                decisions: vec![decision(Effect::Allow, id(5)), decision(Effect::Deny, id(5))],
                findings: vec![finding(FindingKind::Denied, Severity::Medium)],
                outcome: answered(Some(500)),
                ..call(5, 50)
            },
        ],
    )
    .await;
    let failed = Some(StatusClass::ServerError);
    let spiffe = |name: &str| service(name).spiffe_id.map(|id| id.to_string());
    let all = CallFilter::default;
    let cases = [
        ("all", all(), vec![1, 2, 3, 4, 5]),
        ("from is in", CallFilter { from: Some(HOUR.plus_us(20)), ..all() }, vec![2, 3, 4, 5]),
        ("to is out", CallFilter { to: Some(HOUR.plus_us(20)), ..all() }, vec![1]),
        ("principal", CallFilter { principal: Some("u-1".into()), ..all() }, vec![2]),
        ("caller by name", CallFilter { caller: Some("web".into()), ..all() }, vec![1, 2, 3, 4, 5]),
        ("caller by id", CallFilter { caller: spiffe("web"), ..all() }, vec![1, 2, 4, 5]),
        ("names match exactly", CallFilter { caller: Some("WEB".into()), ..all() }, vec![]),
        ("callee by name", CallFilter { callee: Some("db".into()), ..all() }, vec![3]),
        ("callee by id", CallFilter { callee: spiffe("db"), ..all() }, vec![3]),
        ("allowed", CallFilter { decision: Some(Effect::Allow), ..all() }, vec![4]),
        ("denied by any judge", CallFilter { decision: Some(Effect::Deny), ..all() }, vec![5]),
        ("failed", CallFilter { status: Some(StatusClass::ServerError), ..all() }, vec![3, 5]),
        ("well", CallFilter { status: Some(StatusClass::Successful), ..all() }, vec![1, 2]),
        ("no status", CallFilter { status: Some(StatusClass::None), ..all() }, vec![4]),
        ("redirected", CallFilter { status: Some(StatusClass::Redirection), ..all() }, vec![]),
        ("callee and status", CallFilter { callee: spiffe("api"), status: failed, ..all() }, vec![5]),
        ("caller and status", CallFilter { caller: spiffe("web"), status: failed, ..all() }, vec![5]),
        ("trace and status", CallFilter { trace_id: Some(trace), status: failed, ..all() }, vec![]),
        (
            "finding and status",
            CallFilter { finding: Some(FindingKind::Denied), status: failed, ..all() },
            vec![5],
        ),
        ("finding", CallFilter { finding: Some(FindingKind::Denied), ..all() }, vec![5]),
        ("finding of none", CallFilter { finding: Some(FindingKind::Lost), ..all() }, vec![]),
        ("basis", CallFilter { basis: Some(Basis::Keyed), ..all() }, vec![3]),
        ("trace", CallFilter { trace_id: Some(trace), ..all() }, vec![2]),
        (
            "all that is set must hold",
            CallFilter { finding: Some(FindingKind::Denied), callee: Some("db".into()), ..all() },
            vec![],
        ),
        (
            "everything at once",
            CallFilter {
                from: Some(HOUR),
                to: Some(LATER),
                caller: Some("web".into()),
                callee: spiffe("api"),
                decision: Some(Effect::Deny),
                status: failed,
                finding: Some(FindingKind::Denied),
                basis: Some(Basis::Single),
                ..all()
            },
            vec![5],
        ),
    ];
    for (name, filter, expected) in cases {
        let expected: Vec<LegId> = expected.into_iter().map(id).collect();
        assert_eq!(found(bed, filter).await, expected, "{name}");
    }
}

pub async fn a_trace_is_listed_by_start(bed: &Bed) {
    let trace = TraceId([9; 16]);
    let of_trace = |n, at| Call { trace_id: Some(trace), ..call(n, at) };
    derive_calls(&bed.store, [of_trace(1, 30), of_trace(2, 10), call(3, 20), of_trace(4, 10)]).await;
    let listed = async |limit| {
        let page = bed.store.trace(&trace, LATER, limit).await.unwrap();
        (ids(&page.rows), page.next.is_some())
    };
    assert_eq!(listed(3).await, (vec![id(2), id(4), id(1)], false));
    assert_eq!(listed(2).await, (vec![id(2), id(4)], true), "and says that there are more");
    assert_eq!(bed.store.trace(&TraceId([1; 16]), LATER, 9).await.unwrap().rows, []);
}

pub async fn calls_under_a_key_are_listed_by_start_up_to_a_limit(bed: &Bed) {
    let under = |key, n, at| IndexedCall { keys: vec![key], ..indexed(call(n, at)) };
    let upserts = vec![under(5, 1, 30), under(6, 2, 10), under(7, 3, 20), under(5, 4, 10)];
    derive(&bed.store, Change { upserts, ..Change::default() }).await;
    let listed = async |limit| {
        let page = bed.store.calls_with_keys(&[5, 6], LATER, limit).await.unwrap();
        (ids(&page.rows), page.next.is_some())
    };
    assert_eq!(listed(3).await, (vec![id(2), id(4), id(1)], false));
    assert_eq!(listed(2).await, (vec![id(2), id(4)], true), "and says that there are more");
}

/// The correlator replaces a call by one whose list of findings is another, again and again; whoever asks meanwhile sees the
/// findings of the one or of the other, never those of one at the places of the other's.
pub async fn a_call_that_is_being_replaced_never_shows_another_ones_findings(bed: &Bed) {
    let denied = finding(FindingKind::Denied, Severity::Medium);
    // Does not hold: nothing is known of the observer.
    let unproven =
        Finding { absent_observer: Some("nobody".into()), ..finding(FindingKind::Lost, Severity::High) };
    let of = |findings: &[&Finding]| Call {
        trace_id: Some(TraceId([9; 16])),
        findings: findings.iter().copied().cloned().collect(),
        ..call(1, 0)
    };
    let versions = [of(&[&denied]), of(&[&unproven, &denied])];
    derive_calls(&bed.store, [versions[0].clone()]).await;
    let writer = bed.another().await;
    let replacing = async {
        for n in 1..120 {
            derive_calls(&writer, [versions[n % 2].clone()]).await;
        }
    };
    let asking = async {
        let (store, mut asked) = (&bed.store, 0);
        loop {
            let listed =
                store.calls(&CallFilter::default(), LATER, Order::NewestFirst, None, 9).await.unwrap();
            let mut seen = listed.rows;
            seen.extend(store.call_by_leg(&id(1), LATER).await.unwrap());
            seen.extend(store.trace(&TraceId([9; 16]), LATER, 9).await.unwrap().rows);
            let findings = store.findings(&FindingFilter::default(), LATER, None, 9).await.unwrap();
            seen.extend(findings.rows.into_iter().map(|(call, _)| call));
            assert_eq!(seen.len(), 4, "it is always there, and always denied");
            for call in &seen {
                assert_eq!(call.findings, std::slice::from_ref(&denied), "after {asked} rounds");
            }
            asked += 1;
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = replacing => {}
        () = asking => {}
    }
}

pub async fn a_finding_holds_from_when_it_was_raised(bed: &Bed) {
    let at = |us| HOUR.plus_us(us);
    let raised = |kind, us| Finding { raised_at: at(us), ..finding(kind, Severity::Low) };
    let accused = Call {
        trace_id: Some(TraceId([9; 16])),
        findings: vec![raised(FindingKind::Lost, 50), raised(FindingKind::Denied, 10)],
        ..call(1, 0)
    };
    let upserts = vec![IndexedCall { keys: vec![5], ..indexed(accused.clone()) }];
    derive(&bed.store, Change { upserts, ..Change::default() }).await;

    let kinds = |call: &Call| call.findings.iter().map(|f| f.kind).collect::<Vec<_>>();
    for (as_of, expected) in [
        (at(9), vec![]),
        (at(10), vec![FindingKind::Denied]),
        (at(49), vec![FindingKind::Denied]),
        (at(50), vec![FindingKind::Lost, FindingKind::Denied]),
    ] {
        let store = &bed.store;
        let page = store.calls(&CallFilter::default(), as_of, Order::NewestFirst, None, 9).await.unwrap();
        assert_eq!(kinds(&page.rows[0]), expected, "listed");
        assert_eq!(kinds(&store.call_by_leg(&id(1), as_of).await.unwrap().unwrap()), expected, "by id");
        assert_eq!(
            kinds(&store.trace(&TraceId([9; 16]), as_of, 9).await.unwrap().rows[0]),
            expected,
            "by trace"
        );
        assert_eq!(kinds(&store.calls_with_keys(&[5], as_of, 9).await.unwrap().rows[0]), expected, "by key");
        let findings = store.findings(&FindingFilter::default(), as_of, None, 9).await.unwrap();
        assert_eq!(findings.rows.iter().map(|(_, f)| f.kind).collect::<Vec<_>>(), expected, "as findings");
        assert!(findings.rows.iter().all(|(call, _)| kinds(call) == expected), "with its call");
        let filter = CallFilter { finding: Some(FindingKind::Lost), ..CallFilter::default() };
        let page = store.calls(&filter, as_of, Order::NewestFirst, None, 9).await.unwrap();
        assert_eq!(!page.rows.is_empty(), expected.contains(&FindingKind::Lost), "as a filter");
    }
    // Whoever derives sees them all.
    let accused = std::sync::Arc::new(accused);
    assert_eq!(bed.store.calls_by_key(&[5]).await.unwrap(), std::slice::from_ref(&accused));
    let received = bed.store.calls_serving(&service("api").key(), HOUR, LATER, 0, 9).await.unwrap();
    assert_eq!(received, [accused]);
}

pub async fn absence_is_held_against_nobody_who_did_not_report_well(bed: &Bed) {
    let observer = service("api").key();
    let lost =
        Finding { absent_observer: Some(observer.clone()), ..finding(FindingKind::Lost, Severity::High) };
    let denied = finding(FindingKind::Denied, Severity::Medium);
    derive_calls(&bed.store, [Call { findings: vec![lost, denied], ..call(1, 0) }]).await;
    let holds = async || {
        let listed =
            found(bed, CallFilter { finding: Some(FindingKind::Lost), ..CallFilter::default() }).await;
        let call = bed.store.call_by_leg(&id(1), LATER).await.unwrap().unwrap();
        let held = call.findings.iter().any(|f| f.kind == FindingKind::Lost);
        assert_eq!(!listed.is_empty(), held, "the filter and the call agree");
        assert!(call.findings.iter().any(|f| f.kind == FindingKind::Denied), "what a line says holds");
        held
    };
    assert!(!holds().await, "nothing is known of the observer");
    // Each step adds to what stands there.
    for (step, delta, expected) in [
        ("another hour and another party do not count", [0, 0, 0, 0], false),
        ("98 of 100 that others received, with nothing measured inbound", [0, 0, 100, 98], false),
        ("99 of 100", [0, 0, 0, 1], true),
        ("measured inbound: 98 of 100", [100, 98, 0, 0], false),
        ("99 of 100", [0, 1, 0, 0], true),
        ("a late call that it did not report: 99 of 101", [1, 0, 0, 0], false),
        ("which is withdrawn", [-1, 0, 0, 0], true),
    ] {
        let mut rows = vec![coverage(&observer, delta)];
        if delta == [0; 4] {
            let good = coverage("service:other", [100, 100, 0, 0]);
            let hour = HOUR.plus_us(3_600_000_000);
            rows = vec![
                good.clone(),
                calltrail::store::CoverageDelta { identity: observer.clone(), hour, ..good },
            ];
        }
        derive(&bed.store, Change { coverage: rows, ..Change::default() }).await;
        assert_eq!(holds().await, expected, "{step}");
    }
    for (step, who, delta, expected) in [
        (
            "of 100 calls all may have come by chance: 96 of 100 of all proxies",
            "mesh",
            [100, 96, 0, 0],
            false,
        ),
        ("97 of 100", "mesh", [0, 1, 0, 0], true),
        ("96 of 100 again", "mesh", [0, -1, 0, 0], false),
        ("299 calls are still too few", &observer, [199, 200, 0, 0], false),
        ("300 speak for themselves", &observer, [1, 1, 0, 0], true),
    ] {
        derive(&bed.store, Change { coverage: vec![coverage(who, delta)], ..Change::default() }).await;
        assert_eq!(holds().await, expected, "{step}");
    }
}

pub async fn a_page_of_findings_never_parts_those_of_one_call(bed: &Bed) {
    let accused = |n, at, count| Call {
        findings: vec![finding(FindingKind::Stopped, Severity::Low); count],
        ..call(n, at)
    };
    derive_calls(&bed.store, [accused(1, 10, 2), accused(2, 20, 3), accused(3, 20, 1), call(4, 30)]).await;
    for limit in 1..=7 {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = bed.store.findings(&FindingFilter::default(), LATER, after, limit).await.unwrap();
            seen.extend(page.rows.iter().map(|(call, _)| call.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, [3, 2, 2, 2, 1, 1].map(id), "by {limit}");
    }
}

pub async fn findings_are_filtered(bed: &Bed) {
    let accused = |n, at, findings| Call { findings, ..call(n, at) };
    let (lost, denied) =
        (finding(FindingKind::Lost, Severity::High), finding(FindingKind::Denied, Severity::Medium));
    derive_calls(
        &bed.store,
        [
            accused(1, 10, vec![lost.clone()]),
            accused(2, 20, vec![denied.clone(), lost.clone()]),
            Call { callee: service("db"), ..accused(3, 30, vec![denied.clone()]) },
        ],
    )
    .await;
    let all = FindingFilter::default;
    for (name, filter, expected) in [
        ("all", all(), vec![(3, &denied), (2, &denied), (2, &lost), (1, &lost)]),
        ("kind", FindingFilter { kind: Some(FindingKind::Lost), ..all() }, vec![(2, &lost), (1, &lost)]),
        (
            "severity",
            FindingFilter { severity: Some(Severity::Medium), ..all() },
            vec![(3, &denied), (2, &denied)],
        ),
        ("callee", FindingFilter { callee: Some("db".into()), ..all() }, vec![(3, &denied)]),
        ("from", FindingFilter { from: Some(HOUR.plus_us(30)), ..all() }, vec![(3, &denied)]),
        ("to", FindingFilter { to: Some(HOUR.plus_us(20)), ..all() }, vec![(1, &lost)]),
    ] {
        let page = bed.store.findings(&filter, LATER, None, 100).await.unwrap();
        let found: Vec<_> = page.rows.iter().map(|(call, finding)| (call.id, finding)).collect();
        let expected: Vec<_> = expected.into_iter().map(|(n, finding)| (id(n), finding)).collect();
        assert_eq!(found, expected, "{name}");
    }
}

pub async fn a_call_with_two_findings_of_a_kind_is_listed_once(bed: &Bed) {
    let twice =
        |n, at| Call { findings: vec![finding(FindingKind::Denied, Severity::Low); 2], ..call(n, at) };
    derive_calls(&bed.store, (0..5).map(|n| twice(n, i64::from(n / 2)))).await;
    let filter = CallFilter { finding: Some(FindingKind::Denied), ..CallFilter::default() };
    for limit in 1..=6 {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = bed.store.calls(&filter, LATER, Order::OldestFirst, after, limit).await.unwrap();
            seen.extend(ids(&page.rows));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, (0..5).map(id).collect::<Vec<_>>(), "by {limit}");
    }
}
