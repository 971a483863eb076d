//! However calls are laid out on disk, they are found and read alike.

use crate::bed::Bed;
use crate::fixtures::*;
use calltrail::model::*;
use calltrail::store::{Change, IndexedCall, Order, Store};

pub async fn calls_are_found_by_their_keys_however_many_changes_wrote_them(bed: &Bed) {
    let mut expected = std::collections::BTreeMap::new();
    for step in 0..90_u32 {
        // Three new ones, one that is written again under other keys, one that goes.
        let mut upserts: Vec<u32> = (step * 3..step * 3 + 3).collect();
        let gone = (step % 3 == 2).then(|| step * 2);
        upserts.extend((step > 5).then(|| step - 5));
        let indexed_by_step = upserts.iter().map(|n| {
            let keys = vec![7, i64::from(n % 11) + 100, i64::from(*n) + 1_000, i64::from(step) << 40];
            IndexedCall { keys, ..indexed(call(*n, i64::from(*n))) }
        });
        let upserts: Vec<IndexedCall> = indexed_by_step.collect();
        expected.extend(upserts.iter().map(|u| (u.call.id, u.keys.clone())));
        gone.inspect(|n| drop(expected.remove(&id(*n))));
        let upserts = upserts.into_iter().filter(|u| gone.is_none_or(|n| u.call.id != id(n))).collect();
        let removed = gone.into_iter().map(id).collect();
        derive(&bed.store, Change { upserts, removed, ..Change::default() }).await;
    }
    // One who wrote all of it, and one who reads it for the first time.
    for store in [bed.store.clone(), bed.another().await] {
        for key in [7, 100, 110, 1_000, 1_002, 1_007, 1_268, 3 << 40, 89 << 40, 5] {
            let found: Vec<LegId> = ids(&store.calls_by_key(&[key]).await.unwrap());
            let under: Vec<LegId> =
                expected.iter().filter(|(_, keys)| keys.contains(&key)).map(|(id, _)| *id).collect();
            assert_eq!(found, under, "under {key}");
        }
        for n in [0, 1, 4, 80, 269] {
            let found = store.call_by_leg(&id(n), LATER).await.unwrap();
            assert_eq!(found.map(|call| call.id), expected.contains_key(&id(n)).then(|| id(n)), "{n}");
        }
    }
    assert_eq!(bed.store.totals().await.unwrap().calls, expected.len() as u64);
}

/// As many as a dictionary is trained from, and more.
const MANY: u32 = 16_100;

pub async fn calls_are_read_whether_a_dictionary_packed_them_or_none(bed: &Bed) {
    let told = |n: u32| Call {
        legs: vec![full_leg(n), bare_leg(id(n), Side::Client).into()],
        ..call(n, i64::from(n))
    };
    derive_calls(&bed.store, [told(0)]).await;
    derive_calls(&bed.store, (1..MANY).map(told)).await;
    derive_calls(&bed.store, [told(MANY)]).await;
    let other: Store = bed.another().await;
    derive_calls(&other, [told(MANY + 1)]).await;
    for store in [&bed.store, &other, &bed.another().await] {
        for n in [0, 1, MANY - 1, MANY, MANY + 1] {
            assert_eq!(store.call_by_leg(&id(n), LATER).await.unwrap(), Some(told(n)), "{n}");
        }
    }
    assert_eq!(bed.bytes("select bytes from dictionary").await.len(), 1);
    let packed = bed.bytes("select packed from call where number > 16100").await;
    assert!(packed.iter().all(|bytes| bytes.len() < 120), "{}", packed[0].len());
}

/// Calls that are written together stand in buckets of 65,536; these stand in the last of one and the first of the next ones.
pub async fn pages_go_on_from_bucket_to_bucket(bed: &Bed) {
    let at = [50, 10, 30, 30, 70, 20, 60, 30, 40, 5, 80, 30];
    let mut calls = Vec::new();
    for (n, at) in (0..).zip(at) {
        let next = if n < 4 { 65_534 + n } else { 131_068 + n };
        let statement = format!("update correlator set next_call = {next} returning cast('' as bytea)");
        let statement = statement.replace("bytea", if bed.is_sqlite() { "blob" } else { "bytea" });
        bed.bytes(Box::leak(statement.into_boxed_str())).await;
        let caller = service(if n % 5 == 4 { "other" } else { "web" });
        let call = Call { principal: Some(principal("u-1")), caller, ..call(n as u32, at) };
        calls.push(call.clone());
        derive_calls(&bed.store, [call]).await;
    }
    let by = |caller: Option<&str>, principal: Option<&str>, callee: Option<&str>| CallFilter {
        caller: caller.map(str::to_owned),
        principal: principal.map(str::to_owned),
        callee: callee.map(str::to_owned),
        ..CallFilter::default()
    };
    for filter in [
        by(Some("web"), None, None),
        by(None, Some("u-1"), None),
        by(Some("web"), Some("u-1"), None),
        by(Some("other"), None, Some("api")),
        CallFilter {
            from: Some(HOUR.plus_us(20)),
            to: Some(HOUR.plus_us(60)),
            ..by(None, Some("u-1"), Some("api"))
        },
    ] {
        let matches = |c: &&Call| {
            filter.caller.as_deref().is_none_or(|name| c.caller.name == name)
                && filter.from.is_none_or(|from| c.start >= from)
                && filter.to.is_none_or(|to| c.start < to)
        };
        let mut expected: Vec<(Timestamp, LegId)> =
            calls.iter().filter(matches).map(|c| (c.start, c.id)).collect();
        expected.sort();
        for order in [Order::OldestFirst, Order::NewestFirst] {
            for limit in [1, 2, 3, 5, 20] {
                assert_eq!(pages(bed, &filter, order, limit).await, expected, "{filter:?} {order:?} {limit}");
            }
            expected.reverse();
        }
    }
}

async fn pages(bed: &Bed, filter: &CallFilter, order: Order, limit: u32) -> Vec<(Timestamp, LegId)> {
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = bed.store.calls(filter, LATER, order, after, limit).await.unwrap();
        seen.extend(page.rows.iter().map(|call| (call.start, call.id)));
        after = page.next;
        if after.is_none() {
            return seen;
        }
    }
}

/// More than stand in a run that is always held.
pub async fn calls_are_found_whether_the_filters_are_held_or_read_in_pieces(bed: &Bed) {
    let with_keys = |n: u32| {
        let keys = (0..60).map(|key| (i64::from(n) * 60 + key) * 104_729).collect();
        IndexedCall { keys, ..indexed(call(n, i64::from(n))) }
    };
    derive(&bed.store, Change { upserts: (0..1_500).map(with_keys).collect(), ..Change::default() }).await;
    assert_eq!(bed.bytes("select filter from key_run").await, [Vec::<u8>::new()]);
    assert!(bed.bytes("select bytes from key_filter").await.len() > 100);
    let reader = bed.another().await;
    reader.hold_keys(0);
    let first = HOUR.plus_us(-1);
    for store in [&bed.store, &reader, &bed.another().await] {
        for n in (0..1_500_i64).step_by(111) {
            let keys: Vec<i64> = (0..60).map(|key| (n * 60 + key) * 104_729).collect();
            let missing: Vec<i64> = keys.iter().map(|key| key + 1).collect();
            assert_eq!(ids(&store.calls_by_key(&keys[7..8]).await.unwrap()), [id(n as u32)]);
            assert_eq!(ids(&store.calls_by_key(&keys).await.unwrap()), [id(n as u32)]);
            assert!(store.calls_by_key(&missing).await.unwrap().is_empty());
        }
        // So many that the filter is read whole.
        let many: Vec<i64> = (0..1_500).map(|n| n * 60 * 104_729).collect();
        assert_eq!(store.calls_by_key_near(&many, first, first).await.unwrap().len(), 1_500);
    }
}

pub async fn what_is_looked_for_near_a_time_is_found_there_and_need_not_be_found_elsewhere(bed: &Bed) {
    const DAY: i64 = 86_400_000_000;
    let at = |n: u32, day: i64| IndexedCall { keys: vec![7, i64::from(n)], ..indexed(call(n, day * DAY)) };
    for (n, day) in [(1, 0), (2, 10), (3, 20)] {
        derive(&bed.store, Change { upserts: vec![at(n, day)], ..Change::default() }).await;
    }
    let near = async |store: &Store, days: [i64; 2]| {
        let [first, last] = days.map(|day| HOUR.plus_us(day * DAY));
        ids(&store.calls_by_key_near(&[7], first, last).await.unwrap())
    };
    for store in [&bed.store, &bed.another().await] {
        assert_eq!(near(store, [0, 0]).await, [id(1)]);
        assert_eq!(near(store, [11, 12]).await, [id(2)]);
        assert_eq!(near(store, [5, 6]).await, []);
        assert_eq!(near(store, [9, 19]).await, [id(2), id(3)]);
        assert_eq!(ids(&store.calls_by_key(&[7]).await.unwrap()), [id(1), id(2), id(3)]);
        assert_eq!(store.call_by_leg(&id(3), LATER).await.unwrap().map(|call| call.id), Some(id(3)));
    }
    // Written again on another day, it is there once.
    derive(&bed.store, Change { upserts: vec![at(2, 11)], ..Change::default() }).await;
    assert_eq!(bed.store.totals().await.unwrap().calls, 3);
    // What is merged lies in the time of all of it.
    for n in 4..40 {
        derive(&bed.store, Change { upserts: vec![at(n, 30)], ..Change::default() }).await;
    }
    let merged = near(&bed.another().await, [30, 30]).await;
    assert!((4..40).all(|n| merged.contains(&id(n))), "{merged:?}");
    assert!(near(&bed.another().await, [50, 60]).await.is_empty());
    // Where an older calltrail wrote, nobody knows of which time the calls are.
    bed.alter("update key_run set first_us = null, last_us = null").await;
    assert_eq!(near(&bed.another().await, [50, 60]).await.len(), 39);
}
