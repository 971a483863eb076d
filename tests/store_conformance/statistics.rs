//! Statistics: sums that are brought up to date by differences and asked for without a look at calls.

use crate::bed::Bed;
use crate::fixtures::*;
use crate::scan::statistics_equal_a_scan;
use calltrail::correlate::statistics::difference;
use calltrail::model::statistic::{DAY_US, HOUR_US, MINUTE_US};
use calltrail::model::*;
use calltrail::store::{Change, StatisticRow, StatisticScope, Store};

/// `new` calls take the place of `old` ones.
async fn replace(store: &Store, old: &[Call], new: &[Call]) {
    let kept = |id: CallId| new.iter().any(|call| call.id == id);
    let change = Change {
        upserts: new.iter().cloned().map(indexed).collect(),
        removed: old.iter().map(|call| call.id).filter(|id| !kept(*id)).collect(),
        statistics: difference(old.iter(), new.iter()),
        ..Change::default()
    };
    derive(store, change).await;
}

fn took(duration_us: i64, call: Call) -> Call {
    let outcome = Outcome { duration_us: Some(duration_us), ..call.outcome.clone() };
    Call { outcome, ..call }
}

fn answered(status: Option<u16>, call: Call) -> Call {
    let outcome = Outcome { status, response_body_bytes: Some(700), ..call.outcome.clone() };
    Call { outcome, ..call }
}

/// Calls of several minutes, hours and days, between several parties, with all outcomes.
fn various() -> Vec<Call> {
    let denied = Call { decisions: vec![decision(Effect::Deny, id(4))], ..call(4, 3 * HOUR_US) };
    let of_user = Identity {
        kind: IdentityKind::User,
        name: "u-1".to_owned(),
        spiffe_id: None,
        assurance: Assurance::Jwt,
    };
    vec![
        took(12, call(1, 0)),
        took(70_000, call(2, MINUTE_US - 1)),
        took(71_000, answered(Some(503), call(3, MINUTE_US))),
        answered(Some(403), denied),
        took(9, Call { callee: service("db"), ..call(5, -1) }),
        took(1 << 50, Call { caller: service("api"), callee: service("db"), ..call(6, 30 * DAY_US) }),
        answered(None, Call { caller: of_user, ..call(7, 5) }),
        Call { start: Timestamp(-1), ..call(8, 0) },
    ]
}

async fn asked(store: &Store, filter: StatisticFilter, by: &[Dimension], most: u32) -> Vec<StatisticRow> {
    let steps = Steps::cut(HOUR.plus_us(-DAY_US), HOUR.plus_us(DAY_US), Some(Step::Us(HOUR_US))).unwrap();
    let scope = StatisticScope { steps, filter: &filter, by, percents: &[50], most };
    store.statistics(scope).await.unwrap()
}

pub async fn sums_and_quantiles_are_those_of_the_calls_at_every_grain(bed: &Bed) {
    let calls: Vec<Call> = various().into_iter().filter(|c| c.outcome.duration_us != Some(1 << 50)).collect();
    replace(&bed.store, &[], &calls[..4]).await;
    statistics_equal_a_scan(&bed.store).await;
    replace(&bed.store, &[], &calls[4..]).await;
    statistics_equal_a_scan(&bed.store).await;
}

pub async fn a_replaced_call_is_counted_where_it_stands_now_and_nowhere_else(bed: &Bed) {
    let old = [took(50, call(1, 0)), took(50, call(2, 0)), call(3, 0)];
    replace(&bed.store, &[], &old).await;
    let moved = took(90_000, answered(Some(500), call(1, 2 * DAY_US)));
    replace(&bed.store, &old[..2], std::slice::from_ref(&moved)).await;
    statistics_equal_a_scan(&bed.store).await;
    replace(&bed.store, &[old[2].clone(), moved], &[]).await;
    statistics_equal_a_scan(&bed.store).await;
    assert_eq!(bed.bytes("select packed from call").await.len(), 0);
    let rows = asked(&bed.store, StatisticFilter::default(), Dimension::ALL, 9).await;
    assert_eq!(rows, [], "sums that have become nothing are no rows");
}

pub async fn a_change_of_many_places_is_counted_whole(bed: &Bed) {
    let calls: Vec<Call> = (0..700).map(|n| took(n.into(), call(n, i64::from(n) * MINUTE_US))).collect();
    replace(&bed.store, &[], &calls).await;
    statistics_equal_a_scan(&bed.store).await;
    replace(&bed.store, &calls[..650], &[]).await;
    statistics_equal_a_scan(&bed.store).await;
}

pub async fn each_filter_counts_its_calls_and_no_others(bed: &Bed) {
    replace(&bed.store, &[], &various()).await;
    let spiffe = service("db").spiffe_id.map(|id| id.to_string());
    let filter = StatisticFilter::default;
    for (name, filter, calls) in [
        ("all", filter(), 6),
        ("caller", StatisticFilter { caller: Some("web".into()), ..filter() }, 5),
        ("users", StatisticFilter { caller: Some("all users".into()), ..filter() }, 1),
        ("nobody", StatisticFilter { caller: Some("nobody".into()), ..filter() }, 0),
        ("callee", StatisticFilter { callee: spiffe, ..filter() }, 1),
        ("denied", StatisticFilter { effect: Some(EffectClass::Deny), ..filter() }, 1),
        ("not judged", StatisticFilter { effect: Some(EffectClass::None), ..filter() }, 5),
        ("4xx", StatisticFilter { status_class: Some(StatusClass::ClientError), ..filter() }, 1),
        ("no status", StatisticFilter { status_class: Some(StatusClass::None), ..filter() }, 1),
        ("pair", StatisticFilter { caller: Some("web".into()), callee: Some("db".into()), ..filter() }, 1),
    ] {
        for by in [&[][..], &[Dimension::Caller, Dimension::StatusClass], Dimension::ALL] {
            let rows = asked(&bed.store, filter.clone(), by, 100).await;
            assert_eq!(rows.iter().map(|row| row.calls).sum::<i64>(), calls, "{name} by {by:?}");
        }
    }
    let rows = asked(&bed.store, filter(), &[Dimension::Callee], 100).await;
    let told: Vec<(i64, &str, i64, Option<i64>)> = rows
        .iter()
        .map(|r| ((r.at.micros() - HOUR.micros()) / HOUR_US, r.callee.as_ref().unwrap(), r))
        .map(|(hour, callee, r)| (hour, callee.name.as_str(), r.calls, r.quantiles_us[0]))
        .collect();
    // 70,000 us lie in a bucket from 69,632 to 73,727.
    assert_eq!(told, [(-1, "db", 1, Some(9)), (0, "api", 4, Some(71_680)), (3, "api", 1, None)]);
}

pub async fn an_answer_that_is_too_long_shows_it(bed: &Bed) {
    let calls: Vec<Call> = (0..5).map(|n| call(n, i64::from(n) * HOUR_US)).collect();
    replace(&bed.store, &[], &calls).await;
    assert_eq!(asked(&bed.store, StatisticFilter::default(), &[], 5).await.len(), 5);
    assert_eq!(asked(&bed.store, StatisticFilter::default(), &[], 3).await.len(), 4);
}

pub async fn statistics_are_thrown_away_with_the_calls(bed: &Bed) {
    replace(&bed.store, &[], &various()).await;
    bed.store.reset_derived().await.unwrap();
    assert_eq!(asked(&bed.store, StatisticFilter::default(), Dimension::ALL, 100).await, []);
    statistics_equal_a_scan(&bed.store).await;
}
