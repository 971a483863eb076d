//! The fast path is honest: the join in memory says of every call exactly what the store says after the same deliveries were
//! committed and derived the way `import` and `serve` do it.

use calltrail::correlate::{Rules, task};
use calltrail::model::{Call, CallFilter, Delivery};
use calltrail::store::{Location, Order, Store};
use calltrail_quality::judged::AS_OF;
use calltrail_quality::worlds::Plan;
use calltrail_quality::{captures, degrade, derive};
use calltrail_sim::faults::{ClockFaults, Faults, Nat, PerSource};
use calltrail_sim::world::Config;
use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

async fn through_the_store(deliveries: &[Delivery], rules: &Rules) -> Vec<Call> {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(&Location::Directory(data.path().to_owned())).await.unwrap();
    // Derived in several steps, as lines come in.
    for some in deliveries.chunks(deliveries.len().div_ceil(4)) {
        store.commit(some).await.unwrap();
        task::catch_up(&store, rules, &calltrail::model::SystemClock).await.unwrap();
    }
    let (mut calls, mut after) = (Vec::new(), None);
    loop {
        let page =
            store.calls(&CallFilter::default(), AS_OF, Order::OldestFirst, after, 1_000).await.unwrap();
        calls.extend(page.rows);
        after = page.next;
        if after.is_none() {
            return calls;
        }
    }
}

fn in_memory(deliveries: &[Delivery], rules: &Rules) -> Vec<Call> {
    let derived = derive::derive(deliveries, rules);
    let holding =
        |call: &Call| Call { findings: derived.findings(call, AS_OF).cloned().collect(), ..call.clone() };
    let mut calls: Vec<Call> = derived.calls.iter().map(holding).collect();
    calls.sort_by_key(|c| (c.start, c.id));
    calls
}

fn assert_same(deliveries: &[Delivery], rules: &Rules) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let stored = runtime.block_on(through_the_store(deliveries, rules));
    let fast = in_memory(deliveries, rules);
    assert!(fast.len() > 500, "only {} calls", fast.len());
    for (fast, stored) in fast.iter().zip(&stored) {
        assert_eq!(fast, stored);
    }
    assert_eq!(fast.len(), stored.len());
}

#[test]
fn of_a_real_capture() {
    let capture = captures::fullstack_a(&root()).unwrap();
    assert_same(&captures::deliveries(&capture.files), &capture.rules);
}

#[test]
fn of_a_damaged_capture() {
    let capture = captures::fullstack_a(&root()).unwrap();
    assert_same(&degrade::degrade(&capture, degrade::Damage::of_the_issue(1)).0, &capture.rules);
}

#[test]
fn where_nothing_is_left_to_join_by_but_likeness() {
    let mut config = Config { calls: 3_000, ..Config::preset("stripped").unwrap() };
    config.start_us += 20_000_000;
    let faults = Faults {
        strip_headers_percent: 100.0,
        default_format_percent: 100.0,
        nat: Nat::PerRequest,
        clock: ClockFaults { offset_max_s: 1.0, ..ClockFaults::default() },
        ..Faults::default()
    };
    let input = Plan { config, faults, declares_outages: false, skew_bound_us: None }.world(7, 0);
    assert_same(&input.deliveries, &input.rules);
}

#[test]
fn of_a_simulated_world_with_all_faults() {
    let config = Config { calls: 1_500, ..Config::default() };
    let faults = Faults {
        loss_percent: PerSource::same(3.0),
        duplicate_lines_percent: 3.0,
        recut_deliveries_percent: 3.0,
        late_lines_percent: 5.0,
        strip_headers_percent: 3.0,
        default_format_percent: 20.0,
        transit_max_s: 20.0,
        clock: ClockFaults { offset_max_s: 1.0, ..ClockFaults::default() },
        ..Faults::default()
    };
    let input = Plan { config, faults, declares_outages: false, skew_bound_us: None }.world(7, 0);
    assert_same(&input.deliveries, &input.rules);
}
