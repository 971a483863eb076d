//! Statistics held against a scan of the calls that are stored: the sums exactly, quantiles within their bound.
#![allow(dead_code)]

use calltrail::model::statistic::{DAY_US, HOUR_US, MINUTE_US};
use calltrail::model::{
    Call, CallFilter, CountedParty, Dimension, EffectClass, Histogram, Identity, StatisticFilter,
    StatusClass, Steps, Timestamp,
};
use calltrail::store::{Order, StatisticRow, StatisticScope, Store};
use std::collections::BTreeMap;

const PERCENTS: &[i64] = &[1, 50, 95, 99, 100];

/// Panics where the statistics of any grain are not what the stored calls say.
pub async fn statistics_equal_a_scan(store: &Store) {
    let everything = CallFilter::default();
    let calls =
        store.calls(&everything, Timestamp::MAX, Order::OldestFirst, None, 100_000).await.unwrap().rows;
    let starts = calls.iter().map(|c| c.start.micros());
    let (first, last) = (starts.clone().min().unwrap_or(0), starts.max().unwrap_or(0));
    for (step_us, grain_us) in [(MINUTE_US, MINUTE_US), (HOUR_US, HOUR_US), (7 * DAY_US, DAY_US)] {
        let from = Timestamp(first - first.rem_euclid(step_us));
        let steps = Steps { from, to: Timestamp(last + 1), step_us, grain_us };
        let of_caller = [Dimension::Caller, Dimension::StatusClass];
        for by in [&[][..], &[Dimension::Callee], &of_caller, Dimension::ALL] {
            let filter = StatisticFilter::default();
            let scope = StatisticScope { steps, filter: &filter, by, percents: PERCENTS, most: 1_000_000 };
            compare(&store.statistics(scope).await.unwrap(), &scanned(&calls, steps, by));
        }
    }
}

type Key = (i64, Option<CountedParty>, Option<CountedParty>, Option<EffectClass>, Option<StatusClass>);
/// Calls, failed, request bytes, response bytes; durations in order.
type Sums = ([i64; 4], Vec<i64>);

fn scanned(calls: &[Call], steps: Steps, by: &[Dimension]) -> BTreeMap<Key, Sums> {
    let mut sums: BTreeMap<Key, Sums> = BTreeMap::new();
    for call in calls {
        let told = |d, party: &Identity| by.contains(&d).then(|| counted(party));
        let effect = match call.effect().map(|e| e.as_str()) {
            None => EffectClass::None,
            Some("allow") => EffectClass::Allow,
            Some(_) => EffectClass::Deny,
        };
        let class = call.outcome.status_class().parse().unwrap();
        let at = call.start.micros() - (call.start.micros() - steps.from.micros()) % steps.step_us;
        let key = (
            at,
            told(Dimension::Caller, &call.caller),
            told(Dimension::Callee, &call.callee),
            by.contains(&Dimension::Decision).then_some(effect),
            by.contains(&Dimension::StatusClass).then_some(class),
        );
        let (counts, durations) = sums.entry(key).or_default();
        let bytes = |n: Option<u64>| n.unwrap_or(0) as i64;
        let o = &call.outcome;
        let one = [1, call.failed().into(), bytes(o.request_body_bytes), bytes(o.response_body_bytes)];
        counts.iter_mut().zip(one).for_each(|(sum, n)| *sum += n);
        durations.extend(o.duration_us);
    }
    sums.values_mut().for_each(|(_, durations)| durations.sort_unstable());
    sums
}

fn counted(party: &Identity) -> CountedParty {
    let (key, name) = match (party.kind.as_str(), party.assurance.as_str()) {
        ("user", _) => ("user:all users".to_owned(), "all users".to_owned()),
        ("unknown", "address") => ("unknown:all addresses".to_owned(), "all addresses".to_owned()),
        _ => (party.key(), party.name.clone()),
    };
    CountedParty { key, name }
}

fn compare(told: &[StatisticRow], scanned: &BTreeMap<Key, Sums>) {
    let key =
        |r: &StatisticRow| (r.at.micros(), r.caller.clone(), r.callee.clone(), r.effect, r.status_class);
    let told_sums: BTreeMap<Key, ([i64; 4], i64, i64)> = told
        .iter()
        .map(|r| {
            let counts = [r.calls, r.failed, r.request_body_bytes, r.response_body_bytes];
            (key(r), (counts, r.timed, r.duration_sum_us))
        })
        .collect();
    assert_eq!(told_sums.len(), told.len(), "a row twice");
    let expected = scanned.iter().map(|(key, (counts, durations))| {
        (key.clone(), (*counts, durations.len() as i64, durations.iter().sum()))
    });
    assert_eq!(told_sums, expected.collect(), "statistics (left) and a scan of the calls (right) differ");
    for row in told {
        let durations = &scanned[&key(row)].1;
        for (percent, told) in PERCENTS.iter().zip(&row.quantiles_us) {
            let place = ((durations.len() as i64 * percent + 99) / 100).max(1) as usize - 1;
            let within = |truth: &i64| {
                told.is_some_and(|told| (told - truth).abs() as f64 <= *truth as f64 * Histogram::ERROR)
            };
            let right = durations.get(place).map_or(told.is_none(), within);
            assert!(right, "p{percent} is told as {told:?} of {durations:?}");
        }
    }
}
