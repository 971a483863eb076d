//! Calls whose lines share no key, through the store: what is paired there follows from the set of lines alone, whatever the order
//! and the cuts in which they came, and accuses nobody.

#[path = "common/scan.rs"]
mod scan;
#[path = "nameless/traffic.rs"]
mod traffic;

use calltrail::correlate::{Rules, task};
use calltrail::evidence::delivery_id;
use calltrail::model::{Basis, Call, CallFilter, Delivery, FindingKind, LegId, Side, SystemClock, Timestamp};
use calltrail::store::{Location, Order, Store};
use proptest::prelude::*;
use std::collections::BTreeMap;
use traffic::{Line, Traffic, Wire};

const RECEIVED: Timestamp = Timestamp(1_795_493_000_000_000);
const AS_OF: Timestamp = Timestamp(1_795_600_000_000_000);

/// What the store holds after the lines came in these deliveries, the correlator catching up after each, and after a rebuild.
async fn derived(deliveries: Vec<Delivery>) -> (Vec<Call>, Vec<Call>) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&Location::Directory(directory.path().to_owned())).await.unwrap();
    for delivery in deliveries {
        store.commit(&[delivery]).await.unwrap();
        task::catch_up(&store, &Rules::default(), &SystemClock).await.unwrap();
    }
    let live = stored(&store).await;
    scan::statistics_equal_a_scan(&store).await;
    store.reset_derived().await.unwrap();
    task::catch_up(&store, &Rules::default(), &SystemClock).await.unwrap();
    let rebuilt = stored(&store).await;
    scan::statistics_equal_a_scan(&store).await;
    store.close().await;
    (live, rebuilt)
}

/// All calls; what says only where a line was stored is blanked.
async fn stored(store: &Store) -> Vec<Call> {
    let (mut calls, mut after) = (Vec::new(), None);
    loop {
        let page =
            store.calls(&CallFilter::default(), AS_OF, Order::OldestFirst, after, 10_000).await.unwrap();
        calls.extend(page.rows);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    for leg in calls.iter_mut().flat_map(|c: &mut Call| &mut c.legs) {
        (leg.line.delivery, leg.line.line) = (0, 0);
    }
    calls.sort_by_key(|c| (c.start, c.id));
    calls
}

/// The lines as deliveries of at most `most` lines of one proxy, in the order given.
fn cut(lines: &[Line], most: usize) -> Vec<Delivery> {
    let runs = lines.chunk_by(|a, b| a.proxy == b.proxy).flat_map(|run| run.chunks(most));
    runs.map(|lines| {
        let body: Vec<u8> = lines.iter().flat_map(|l| [l.json.as_bytes(), b"\n"].concat()).collect();
        let row: Vec<&Line> = lines.iter().collect();
        traffic::delivery(&lines[0].proxy, &row, delivery_id("mesh", Some(&lines[0].proxy), &body), RECEIVED)
    })
    .collect()
}

fn by_proxy(mut lines: Vec<Line>) -> Vec<Line> {
    lines.sort_by(|a, b| a.proxy.cmp(&b.proxy));
    lines
}

fn truth(lines: &[Line]) -> BTreeMap<LegId, u32> {
    traffic::legs(lines).into_iter().map(|(leg, call)| (leg.id, call)).collect()
}

fn traffic(seed: u64, wire: Wire) -> Traffic {
    // The default rules take clocks to be off by 2 s at most.
    Traffic { seed, wire, calls_per_second: 8.0, seconds: 75.0, skew_us: 2_000_000.0, ..Traffic::default() }
}

#[tokio::test]
async fn most_calls_of_a_stripped_mesh_behind_nat_are_paired_and_nobody_is_accused() {
    let lines = by_proxy(traffic(3, Wire::Http2).lines());
    let truth = truth(&lines);
    let (calls, _) = derived(cut(&lines, usize::MAX)).await;

    let pairs: Vec<&Call> = calls.iter().filter(|c| c.legs.len() == 2).collect();
    let right = pairs.iter().filter(|c| truth[&c.legs[0].id] == truth[&c.legs[1].id]).count();
    let mut ends: BTreeMap<u32, u32> = BTreeMap::new();
    truth.values().for_each(|call| *ends.entry(*call).or_default() += 1);
    let whole = ends.values().filter(|n| **n == 2).count();
    assert!(right as f64 >= 0.995 * pairs.len() as f64, "{right} of {} are right", pairs.len());
    assert!(right as f64 >= 0.9 * whole as f64, "{right} of {whole} are found");
    for call in pairs {
        assert_eq!((call.basis, call.ambiguous), (Basis::Inferred, 1));
        assert!(call.confidence_ppm < 1_000_000);
        assert_eq!((call.legs[0].side, call.legs[1].side), (Side::Client, Side::Server));
        let accusing = call.findings.iter().filter(|f| f.kind != FindingKind::Stopped);
        assert_eq!(accusing.count(), 0, "{:?}", call.findings);
    }
    assert_eq!(calls.iter().map(|c| c.legs.len()).sum::<usize>(), truth.len(), "each leg stands in one call");
}

/// Two stores' calls, a line each where they differ.
fn differences(one: &[Call], other: &[Call]) -> String {
    let told = |sign: char, calls: &[Call], others: &[Call]| {
        let alone = calls.iter().filter(|c| !others.contains(c)).take(6);
        let line = |c: &Call| {
            let legs: Vec<String> =
                c.legs.iter().map(|l| format!("{} {} {}", l.observer.name, l.start, l.id)).collect();
            format!(
                "{sign} {} {} {} ppm, parent {:?}: {legs:?}\n",
                c.id, c.basis, c.confidence_ppm, c.parent_id
            )
        };
        alone.map(line).collect::<String>()
    };
    told('-', one, other) + &told('+', other, one)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(20_261_124),
        ..ProptestConfig::default()
    })]

    #[test]
    fn order_and_cuts_do_not_change_who_is_paired(
        (lines, shuffled) in (0..1_000u64, any::<bool>()).prop_flat_map(|(seed, http2)| {
            let lines = by_proxy(traffic(seed, if http2 { Wire::Http2 } else { Wire::Http1 }).lines());
            // Pieces of each proxy's lines, in any order.
            let pieces: Vec<Vec<Line>> = lines.chunks(300).map(<[Line]>::to_vec).collect();
            (Just(lines), Just(pieces).prop_shuffle())
        }),
        most in 150..300usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let shuffled: Vec<Line> = shuffled.into_iter().flatten().collect();
        let (whole, pieces) = runtime.block_on(async {
            (derived(cut(&lines, usize::MAX)).await, derived(cut(&shuffled, most)).await)
        });
        prop_assert!(whole.0.iter().any(|c| c.legs.len() == 2), "something is paired");
        prop_assert!(pieces.0 == pieces.1, "live (-) and rebuilt (+):\n{}", differences(&pieces.0, &pieces.1));
        prop_assert!(whole.0 == pieces.0, "at once (-) and in pieces (+):\n{}", differences(&whole.0, &pieces.0));
    }
}
