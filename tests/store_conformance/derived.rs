//! What the correlator writes, and what it asks for.

use crate::bed::Bed;
use crate::fixtures::*;
use calltrail::model::*;
use calltrail::store::{Change, Connection, IndexedCall, Order, Position, StoreError, StoredReject, Totals};

async fn all(bed: &Bed) -> Vec<Call> {
    let page = bed.store.calls(&CallFilter::default(), LATER, Order::OldestFirst, None, 10_000).await;
    page.unwrap().rows
}

pub async fn a_call_comes_back_whole(bed: &Bed) {
    let full = Call {
        trace_id: Some(TraceId([7; 16])),
        parent_id: Some(id(50)),
        parent_inferred: true,
        principal: Some(principal("u-1")),
        claimed: Some(Principal { kind: "cron".into(), subject: "nightly".into(), issuer: None }),
        authority: Some("api".into()),
        decisions: vec![
            decision(Effect::Allow, id(1)),
            Decision {
                judge: Judge::Worker,
                rule: None,
                reason: Some("no role".into()),
                ..decision(Effect::Deny, id(2))
            },
        ],
        outcome: Outcome {
            status: None,
            grpc_status: Some(7),
            flags: vec!["upstream connection failure".into()],
            attempts: 0,
            duration_us: Some(-3),
            request_body_bytes: Some(1),
            response_body_bytes: Some(2),
            stopped_at: Some(Stage::ServerSidecar),
            stopped_why: Some("no rule allowed it".into()),
        },
        basis: Basis::Inferred,
        confidence_ppm: 730_000,
        ambiguous: 398,
        amended: true,
        findings: vec![
            finding(FindingKind::Denied, Severity::Medium),
            finding(FindingKind::Stopped, Severity::Info),
        ],
        legs: vec![full_leg(1), bare_leg(id(2), Side::Client).into()],
        ..call(1, 5)
    };
    derive_calls(&bed.store, [full.clone(), call(3, 6)]).await;
    assert_eq!(all(bed).await, [full, call(3, 6)]);
}

pub async fn whoever_lost_the_office_writes_nothing(bed: &Bed) {
    let old = bed.store.take_correlator().await.unwrap();
    let new = bed.another().await.take_correlator().await.unwrap();
    assert!(new.epoch > old.epoch);
    let change = Change {
        upserts: vec![IndexedCall { call: call(1, 0).into(), keys: vec![1], orphan: true }],
        rejects: vec![reject(1, 1)],
        ..Change::default()
    };
    let stale = Change { epoch: old.epoch, from: 0, to: 1, ..change.clone() };
    assert!(matches!(bed.store.apply(&stale).await, Err(StoreError::Fenced)));
    let elsewhere = Change { epoch: new.epoch, from: 3, to: 4, ..change.clone() };
    assert!(matches!(bed.store.apply(&elsewhere).await, Err(StoreError::Fenced)));
    assert_eq!(bed.store.totals().await.unwrap(), Totals::default());
    assert_eq!(all(bed).await, []);
    assert_eq!(bed.store.calls_by_key(&[1]).await.unwrap(), []);

    bed.store.apply(&Change { epoch: new.epoch, from: 0, to: 1, ..change }).await.unwrap();
    let totals = bed.store.totals().await.unwrap();
    assert_eq!((totals.calls, totals.rejects, totals.position), (1, 1, 1));
}

pub async fn of_two_changes_from_one_position_one_is_written(bed: &Bed) {
    let at = bed.store.take_correlator().await.unwrap();
    let change = |n| Change {
        epoch: at.epoch,
        from: at.number,
        to: at.number + 1,
        upserts: vec![indexed(call(n, 0))],
        ..Change::default()
    };
    let (first, second) = (change(1), change(2));
    let (first, second) = tokio::join!(bed.store.apply(&first), bed.store.apply(&second));
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    assert_eq!(all(bed).await.len(), 1);
}

pub async fn a_replaced_call_leaves_no_keys_and_no_findings_behind(bed: &Bed) {
    let accused = Call { findings: vec![finding(FindingKind::Lost, Severity::High); 2], ..call(1, 0) };
    let before = IndexedCall { call: (accused).into(), keys: vec![10, 20, i64::MIN], orphan: true };
    derive(&bed.store, Change { upserts: vec![before], ..Change::default() }).await;
    assert_eq!(bed.store.totals().await.unwrap().findings, 2);

    let after = IndexedCall { call: call(1, 9).into(), keys: vec![20, 30], orphan: false };
    derive(&bed.store, Change { upserts: vec![after], ..Change::default() }).await;
    let found = async |key| bed.store.calls_by_key(&[key]).await.unwrap().len();
    assert_eq!([found(10).await, found(20).await, found(30).await, found(i64::MIN).await], [0, 1, 1, 0]);
    let findings = bed.store.findings(&FindingFilter::default(), LATER, None, 10).await.unwrap();
    assert_eq!(findings.rows, []);
    assert_eq!(all(bed).await, [call(1, 9)]);
    assert_eq!(bed.store.orphans(&[(service("web").key(), (HOUR, LATER))], 10).await.unwrap(), []);
    let totals = bed.store.totals().await.unwrap();
    assert_eq!((totals.calls, totals.findings), (1, 0));
}

pub async fn a_removed_call_is_gone(bed: &Bed) {
    let accused = Call { findings: vec![finding(FindingKind::Lost, Severity::High)], ..call(1, 0) };
    let first = IndexedCall { call: (accused).into(), keys: vec![10], orphan: false };
    derive(&bed.store, Change { upserts: vec![first, indexed(call(2, 0))], ..Change::default() }).await;
    // An id that was never there is no error: the correlator removes what it no longer makes.
    derive(&bed.store, Change { removed: vec![id(1), id(77)], ..Change::default() }).await;
    assert_eq!(all(bed).await, [call(2, 0)]);
    assert_eq!(bed.store.calls_by_key(&[10]).await.unwrap(), []);
    assert_eq!(bed.store.call_by_leg(&id(1), LATER).await.unwrap(), None);
    let totals = bed.store.totals().await.unwrap();
    assert_eq!((totals.calls, totals.findings), (1, 0));
}

pub async fn a_call_is_found_by_every_id_it_ever_had(bed: &Bed) {
    derive_calls(&bed.store, [call(1, 0), call(2, 0)]).await;
    // The legs turn out to be one call's.
    let joined = Call {
        legs: vec![bare_leg(id(1), Side::Client).into(), bare_leg(id(2), Side::Server).into()],
        ..call(1, 0)
    };
    let change = Change { upserts: vec![indexed(joined.clone())], removed: vec![id(2)], ..Change::default() };
    derive(&bed.store, change).await;
    for asked in [id(1), id(2)] {
        assert_eq!(bed.store.call_by_leg(&asked, LATER).await.unwrap(), Some(joined.clone()), "{asked}");
    }
    assert_eq!(bed.store.call_by_leg(&id(3), LATER).await.unwrap(), None);
    // Same beginning, other id: the key is only a hash.
    let LegId(mut near) = id(1);
    near[15] = 0;
    assert_eq!(bed.store.call_by_leg(&LegId(near), LATER).await.unwrap(), None);
}

pub async fn hostile_names_do_not_stop_the_correlator(bed: &Bed) {
    let name = format!("nul \0 and {}", "long ".repeat(2_000));
    let party = || Identity { spiffe_id: None, name: name.clone(), ..service("x") };
    let absent =
        Finding { absent_observer: Some(party().key()), ..finding(FindingKind::Lost, Severity::High) };
    let hostile = Call {
        caller: party(),
        callee: party(),
        principal: Some(principal(&name)),
        findings: vec![absent],
        ..call(1, 0)
    };
    let change = Change {
        upserts: vec![IndexedCall { orphan: true, ..indexed(hostile.clone()) }, indexed(call(2, 0))],
        rejects: vec![StoredReject { detail: "a \0 stood there".into(), ..reject(1, 1) }],
        coverage: vec![coverage(&party().key(), [100, 100, 0, 0])],
        ..Change::default()
    };
    derive(&bed.store, change).await;
    for filter in [
        CallFilter { caller: Some(name.clone()), ..CallFilter::default() },
        CallFilter { callee: Some(name.clone()), ..CallFilter::default() },
        CallFilter { principal: Some(name.clone()), ..CallFilter::default() },
        CallFilter { finding: Some(FindingKind::Lost), ..CallFilter::default() },
    ] {
        let page = bed.store.calls(&filter, LATER, Order::NewestFirst, None, 10).await.unwrap();
        assert!(page.rows == [hostile.clone()], "{} calls", page.rows.len());
    }
    assert_eq!(bed.store.orphans(&[(party().key(), (HOUR, HOUR))], 10).await.unwrap().len(), 1);
    assert_eq!(bed.store.rejects(10).await.unwrap()[0].detail, "a \u{fffd} stood there");
}

fn used(port: u16, first: i64, last: i64) -> Connection {
    let socket = SocketPair { client: format!("10.0.0.1:{port}"), server: "10.0.0.2:20000".into() };
    let holder = Holder { proxy: "web-sidecar-proxy".to_owned(), party: "service:web".to_owned() };
    Connection { socket, holder, first: HOUR.plus_us(first), last: HOUR.plus_us(last) }
}

pub async fn a_port_that_is_used_again_is_another_connection(bed: &Bed) {
    let month = 30 * 86_400_000_000;
    let (gap, socket) = (CONNECTION_SLACK_US, |port| used(port, 0, 0).socket);
    // Within one change and across several.
    let connections =
        vec![used(1, 50, 60), used(1, 40, 55), used(2, 1, 2), used(1, 2 * month, 2 * month + 9)];
    derive(&bed.store, Change { connections, ..Change::default() }).await;
    derive(&bed.store, Change { connections: vec![used(1, 45, 90)], ..Change::default() }).await;
    let known = bed.store.known_connections(&[socket(2), socket(3), socket(1)]).await.unwrap();
    assert_eq!(known, [used(1, 40, 90), used(1, 2 * month, 2 * month + 9), used(2, 1, 2)]);
    assert_eq!(bed.store.known_connections(&[]).await.unwrap(), []);

    // The same uses in any order of arrival: two that are one gap apart are one, and one microsecond more parts them.
    let uses = [used(7, 0, 10), used(7, 10 + gap, 20 + gap), used(7, 21 + 2 * gap, 30 + 2 * gap)];
    for (port, order) in (10..).zip([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]) {
        for n in order {
            let connections = vec![Connection { socket: socket(port), ..uses[n].clone() }];
            derive(&bed.store, Change { connections, ..Change::default() }).await;
        }
        let known = bed.store.known_connections(&[socket(port)]).await.unwrap();
        let expected = [used(port, 0, 20 + gap), used(port, 21 + 2 * gap, 30 + 2 * gap)];
        assert_eq!(known, expected, "arrived as {order:?}");
    }
}

pub async fn spans_that_come_to_touch_are_one(bed: &Bed) {
    let gap = CONNECTION_SLACK_US;
    let (early, late) = (used(1, 0, 10), used(1, 3 * gap, 4 * gap));
    derive(&bed.store, Change { connections: vec![early, late], ..Change::default() }).await;
    let between = used(1, gap, 2 * gap);
    derive(&bed.store, Change { connections: vec![between], ..Change::default() }).await;
    let whole = used(1, 0, 4 * gap);
    assert_eq!(bed.store.known_connections(std::slice::from_ref(&whole.socket)).await.unwrap(), [whole]);
}

pub async fn calls_are_found_by_party_and_time(bed: &Bed) {
    let orphan = |n, at, orphan| IndexedCall { orphan, ..indexed(call(n, at)) };
    let other = Call { callee: service("db"), caller: service("api"), ..call(4, 20) };
    let upserts = vec![orphan(3, 30, true), orphan(1, 10, true), orphan(2, 20, false), indexed(other)];
    derive(&bed.store, Change { upserts, ..Change::default() }).await;
    let at = |us| HOUR.plus_us(us);
    let orphans = bed.store.orphans(&[(service("web").key(), (at(0), at(30)))], 9).await.unwrap();
    assert_eq!(ids(&orphans), [id(1), id(3)]);
    let first = bed.store.orphans(&[(service("web").key(), (at(0), at(30)))], 1).await.unwrap();
    assert_eq!(ids(&first), [id(1)], "of a window in which there are too many the first");
    let windows = [(10, 10), (11, 29), (30, 31)].map(|(from, to)| (service("web").key(), (at(from), at(to))));
    let others = [(service("api").key(), (at(0), at(30))), (service("nobody").key(), (at(0), at(30)))];
    for limit in [2, 1] {
        let found = bed.store.orphans(&[&windows[..], &others].concat(), limit).await.unwrap();
        assert_eq!(ids(&found), [id(1), id(3)], "each in its own window, whether asked for together or not");
    }
}

pub async fn what_an_identity_was_serving_is_found_by_the_time_of_serving(bed: &Bed) {
    let served = |n, from: i64, to: i64| {
        let start = HOUR.plus_us(from);
        let leg = LegFields { start, duration_us: Some(to - from), ..bare_leg(id(n), Side::Server) };
        Call { legs: vec![leg.into()], ..call(n, from) }
    };
    let other = Call { callee: service("db"), ..served(4, 0, 100) };
    derive_calls(&bed.store, [served(1, 10, 90), served(2, 20, 30), served(3, 40, 50), other]).await;
    let api = service("api").key();
    let serving = async |from, to, back_us, limit| {
        let (from, to) = (HOUR.plus_us(from), HOUR.plus_us(to));
        ids(&bed.store.calls_serving(&api, from, to, back_us, limit).await.unwrap())
    };
    assert_eq!(serving(35, 38, 1_000, 9).await, [id(1)], "it began before and ended after");
    assert_eq!(
        serving(30, 40, 1_000, 9).await,
        [id(3), id(2), id(1)],
        "both ends belong to it, newest first"
    );
    assert_eq!(serving(31, 39, 1_000, 9).await, [id(1)]);
    assert_eq!(serving(30, 40, 1_000, 2).await, [id(3), id(2)], "the newest of them");
    assert_eq!(serving(30, 40, 10, 9).await, [id(3), id(2)], "not those that started too long before");
    assert_eq!(serving(91, 99, 1_000, 9).await, []);
}

pub async fn many_calls_in_one_change_are_all_there(bed: &Bed) {
    let upserts: Vec<IndexedCall> = (0..1_500)
        .map(|n| IndexedCall {
            keys: vec![i64::from(n), i64::from(n % 7) - 10],
            ..indexed(call(n, i64::from(n)))
        })
        .collect();
    derive(&bed.store, Change { upserts: upserts.clone(), ..Change::default() }).await;
    assert_eq!(all(bed).await.len(), 1_500);
    let keys: Vec<i64> = (0..1_500).chain([-10]).collect();
    let found = ids(&bed.store.calls_by_key(&keys).await.unwrap());
    assert_eq!(found, (0..1_500).map(id).collect::<Vec<_>>(), "each once, by id");
    assert_eq!(bed.store.calls_by_key(&[-10]).await.unwrap().len(), 215);
    // All of them again, each under another key.
    let again = upserts.into_iter().map(|u| IndexedCall { keys: vec![-1], ..u }).collect();
    derive(&bed.store, Change { upserts: again, removed: vec![id(7)], ..Change::default() }).await;
    assert_eq!(bed.store.calls_by_key(&[-10, 5]).await.unwrap(), []);
    assert_eq!(bed.store.calls_by_key(&[-1]).await.unwrap().len(), 1_500, "to replace outweighs to remove");
    assert_eq!(bed.store.totals().await.unwrap().calls, 1_500);
}

fn reject(delivery: u64, line: u32) -> StoredReject {
    StoredReject {
        delivery,
        line,
        source: "mesh".into(),
        received_at: HOUR,
        reason: RejectReason::NotJson,
        detail: "expected a value at column 1".into(),
    }
}

pub async fn rejects_are_listed_newest_first_and_once(bed: &Bed) {
    let rejects = vec![reject(1, 2), reject(1, 1), reject(2, 1), reject(1, 1)];
    derive(&bed.store, Change { rejects, ..Change::default() }).await;
    assert_eq!(bed.store.rejects(10).await.unwrap(), [reject(2, 1), reject(1, 2), reject(1, 1)]);
    assert_eq!(bed.store.rejects(1).await.unwrap(), [reject(2, 1)]);
    assert_eq!(bed.store.totals().await.unwrap().rejects, 3);
}

pub async fn what_is_derived_can_be_thrown_away_and_the_evidence_stays(bed: &Bed) {
    bed.store.commit(&[delivery("mesh", &[b"one", b"two"])]).await.unwrap();
    let accused = Call { findings: vec![finding(FindingKind::Lost, Severity::High)], ..call(1, 0) };
    let change = Change {
        upserts: vec![IndexedCall { keys: vec![5], ..indexed(accused) }],
        rejects: vec![reject(1, 2)],
        coverage: vec![coverage("service:api", [1, 1, 0, 0])],
        ..Change::default()
    };
    let before: Position = derive(&bed.store, change).await;
    let reset = bed.store.reset_derived().await.unwrap();
    assert_eq!(reset.number, 0);
    assert!(reset.epoch > before.epoch, "whoever was deriving is fenced");
    let totals = Totals { deliveries: 1, lines: 2, ..Totals::default() };
    assert_eq!(bed.store.totals().await.unwrap(), totals);
    assert_eq!(all(bed).await, []);
    assert_eq!(bed.store.calls_by_key(&[5]).await.unwrap(), []);
    assert_eq!(bed.store.rejects(9).await.unwrap(), []);
    assert_eq!(bed.store.deliveries_after(0, 9).await.unwrap().len(), 1);
}

/// On its way it is found as if it had been written already, by whoever derives and by nobody else; if it cannot be written, by nobody.
pub async fn what_is_being_written_counts_for_the_next_step_as_written(bed: &Bed) {
    let stored = |n: u32, key| IndexedCall { call: call(n, 0).into(), keys: vec![key], orphan: false };
    let store = bed.store.deriving();
    let at = store.take_correlator().await.unwrap();
    let change = |from, to| Change { epoch: at.epoch, from, to, ..Change::default() };
    let first = Change { upserts: vec![stored(1, 7), stored(2, 7)], ..change(0, 1) };
    let writing = store.begin_to_apply(first);
    assert_eq!(ids(&store.calls_by_key(&[7]).await.unwrap()), [id(1), id(2)]);
    writing.await.unwrap().unwrap();
    assert_eq!(ids(&bed.store.calls_by_key(&[7]).await.unwrap()), [id(1), id(2)]);

    let second = Change { upserts: vec![stored(1, 8)], removed: vec![id(2)], ..change(1, 2) };
    let writing = store.begin_to_apply(second);
    let (by_old, by_new) = (store.calls_by_key(&[7]).await.unwrap(), store.calls_by_key(&[8]).await.unwrap());
    assert_eq!((ids(&by_old), ids(&by_new)), (vec![], vec![id(1)]));
    writing.await.unwrap().unwrap();
    let (by_old, by_new) = (store.calls_by_key(&[7]).await.unwrap(), store.calls_by_key(&[8]).await.unwrap());
    assert_eq!((ids(&by_old), ids(&by_new)), (vec![], vec![id(1)]));

    bed.another().await.take_correlator().await.unwrap();
    let writing = store.begin_to_apply(Change { upserts: vec![stored(3, 9)], ..change(2, 3) });
    assert!(matches!(writing.await.unwrap(), Err(StoreError::Fenced)));
    assert_eq!(store.calls_by_key(&[9]).await.unwrap(), []);
}
