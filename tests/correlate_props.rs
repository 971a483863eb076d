//! The join is a function of the set of lines: order, duplicates, and how they were cut into deliveries never change it.
//!
//! The lines are those of the bundled capture, attacks among them; whole requests are drawn from it, so that each case has
//! calls with two sides, retries and fan-out. What may differ between two runs is only where a line stands in the evidence,
//! and that is blanked before the comparison. What is counted of the calls as they come is what a scan of them counts.

#[path = "common/scan.rs"]
mod scan;

use calltrail::correlate::facts::Facts;
use calltrail::correlate::rules::{HeaderKey, KeyMaterial};
use calltrail::correlate::{Rules, assemble, task};
use calltrail::decode::{decode_delivery, frame};
use calltrail::evidence::delivery_id;
use calltrail::model::{Call, CallFilter, Delivery, DeliveryId, Leg, Sources, SystemClock, Timestamp};
use calltrail::store::{Location, Order, Store};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::OnceLock;

/// When the three classes of lines were received: at once, within the grace period, and a day late.
const RECEIVED: [Timestamp; 3] =
    [Timestamp(1_795_489_030_000_000), Timestamp(1_795_489_090_000_000), Timestamp(1_795_575_400_000_000)];
const AS_OF: Timestamp = Timestamp(1_795_600_000_000_000);

/// One raw line with the proxy whose file it stands in, and the class of its lateness.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RawLine {
    proxy: Option<String>,
    bytes: Vec<u8>,
    late: usize,
}

impl RawLine {
    /// As if its headers had never been logged: nothing but the socket ties it to anything.
    fn stripped(&self) -> RawLine {
        let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_slice(&self.bytes) else {
            return self.clone();
        };
        for name in ["traceparent", "tracestate", "request_id", "cf_ray", "calltrail"] {
            if let Some(value) = fields.get_mut(name) {
                *value = serde_json::Value::Null;
            }
        }
        RawLine { bytes: serde_json::to_vec(&fields).unwrap(), ..self.clone() }
    }
}

fn rules() -> Rules {
    let secret = KeyMaterial::HmacSha256(b"trail-key-fullstack-a".to_vec());
    Rules { header_keys: vec![HeaderKey { key_id: None, secret }], ..Rules::default() }
}

/// Every line of the capture, by the trace (or, without one, the request) that it belongs to.
fn requests() -> &'static Vec<Vec<RawLine>> {
    static REQUESTS: OnceLock<Vec<Vec<RawLine>>> = OnceLock::new();
    REQUESTS.get_or_init(|| {
        let mut by_request: BTreeMap<String, Vec<RawLine>> = BTreeMap::new();
        for folder in ["mesh", "worker", "zone"] {
            for line in capture(folder) {
                by_request.entry(request_of(&line)).or_default().push(line);
            }
        }
        by_request.into_values().collect()
    })
}

fn capture(folder: &str) -> Vec<RawLine> {
    let mut lines = Vec::new();
    let mut files: Vec<_> =
        std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("demo").join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
    files.sort();
    for path in files {
        let mut body = Vec::new();
        let file = std::fs::File::open(&path).unwrap();
        flate2::read::MultiGzDecoder::new(file).read_to_end(&mut body).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let proxy = (folder == "mesh").then(|| name.split('.').next().unwrap().to_owned());
        lines.extend(frame::split(&body, usize::MAX).unwrap().into_iter().map(|bytes| RawLine {
            proxy: proxy.clone(),
            bytes,
            late: 0,
        }));
    }
    lines
}

fn request_of(line: &RawLine) -> String {
    let legs = legs_of(std::slice::from_ref(line));
    let trace = legs.iter().flat_map(Leg::trace_ids).next().map(|t| t.to_string());
    trace
        .or_else(|| legs.iter().find_map(|l| Some(l.request_key()?.to_string())))
        .or_else(|| legs.iter().find_map(|l| l.ray.clone()))
        .unwrap_or_default()
}

fn legs_of(lines: &[RawLine]) -> Vec<Leg> {
    let decode = |line: &RawLine| decode_delivery(&delivery(std::slice::from_ref(line), 0), 1).legs;
    lines.iter().flat_map(decode).collect()
}

fn delivery(lines: &[RawLine], nth: usize) -> Delivery {
    let body: Vec<u8> = lines.iter().flat_map(|l| [&l.bytes[..], b"\n"].concat()).collect();
    let proxy = lines[0].proxy.clone();
    let id = match nth {
        0 => DeliveryId([0; 32]),
        _ => delivery_id("capture", proxy.as_deref(), &body),
    };
    Delivery {
        id,
        source: "capture".to_owned(),
        proxy,
        received_at: RECEIVED[lines[0].late],
        lines: lines.iter().map(|l| l.bytes.clone()).collect(),
    }
}

/// Blanks what says only where a line was stored.
fn without_places(mut calls: Vec<Call>) -> Vec<Call> {
    for leg in calls.iter_mut().flat_map(|c| &mut c.legs) {
        (leg.line.delivery, leg.line.line) = (0, 0);
    }
    calls.sort_by_key(|c| (c.start, c.id));
    calls
}

/// The calls that only one of two runs has, a line each, so that a failure can be read.
fn differences(one: &[Call], other: &[Call]) -> String {
    let told = |sign: char, calls: &[Call], others: &[Call]| {
        let alone = calls.iter().filter(|c| !others.contains(c));
        alone.map(|c| format!("{sign} {}\n", line_of(c))).collect::<String>()
    };
    told('-', one, other) + &told('+', other, one)
}

fn line_of(call: &Call) -> String {
    let legs: Vec<String> = call
        .legs
        .iter()
        .map(|l| {
            let named = if l.request_id.is_some() { "" } else { ", nameless" };
            format!("{} {}{named} {} at {}", l.observer.name, l.side, &l.id.to_string()[..6], l.start)
        })
        .collect();
    let parent = call.parent_id.map_or_else(|| "root".to_owned(), |p| format!("of {}", &p.to_string()[..6]));
    let findings: Vec<&str> = call.findings.iter().map(|f| f.kind.as_str()).collect();
    format!(
        "{} {:?} {} {} ppm, {} alike, {parent}, trace {:?}, for {:?}, amended {}, settles {}, {findings:?}\n    {}",
        &call.id.to_string()[..6],
        call.path,
        call.basis,
        call.confidence_ppm,
        call.ambiguous,
        call.trace_id,
        call.principal.as_ref().map(|p| p.attribution),
        call.amended,
        call.settles_at,
        legs.join("\n    ")
    )
}

fn joined(legs: Vec<Leg>) -> Vec<Call> {
    let mut facts = Facts::default();
    facts.add_legs(&legs);
    without_places(assemble(legs, &facts, &rules()))
}

/// Some requests of the capture, some lines stripped of their ids, some late; and the same shuffled, some of them twice.
fn shuffled_lines(most: usize) -> impl Strategy<Value = (Vec<RawLine>, Vec<RawLine>)> {
    let picks = prop::collection::vec(0..requests().len(), 1..most);
    let choices =
        prop::collection::vec((0..3usize, prop::bool::weighted(0.1), prop::bool::weighted(0.3)), 64);
    (picks, choices).prop_flat_map(|(mut picks, choices)| {
        picks.sort_unstable();
        picks.dedup();
        let chosen = picks.iter().flat_map(|&i| requests()[i].clone()).enumerate().map(|(i, line)| {
            let (late, stripped, twice) = choices[i % choices.len()];
            let line = RawLine { late, ..line };
            (if stripped { line.stripped() } else { line }, twice)
        });
        let chosen: Vec<(RawLine, bool)> = chosen.collect();
        let lines: Vec<RawLine> = chosen.iter().map(|(line, _)| line.clone()).collect();
        let twice = chosen.into_iter().filter(|(_, twice)| *twice).map(|(line, _)| line);
        let more: Vec<RawLine> = lines.iter().cloned().chain(twice).collect();
        (Just(lines), Just(more).prop_shuffle())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_and_duplicates_do_not_change_the_calls((lines, shuffled) in shuffled_lines(12)) {
        let (straight, shuffled) = (joined(legs_of(&lines)), joined(legs_of(&shuffled)));
        prop_assert!(straight == shuffled, "{}", differences(&straight, &shuffled));
    }

    #[test]
    fn requests_that_share_nothing_are_joined_as_if_alone(a in 0..requests().len(), b in 0..requests().len()) {
        prop_assume!(a != b);
        let (a, b) = (legs_of(&requests()[a]), legs_of(&requests()[b]));
        let keys = |legs: &[Leg]| legs.iter().flat_map(calltrail::correlate::keys::shared).collect::<std::collections::BTreeSet<i64>>();
        prop_assume!(keys(&a).is_disjoint(&keys(&b)));
        let mut apart = [joined(a.clone()), joined(b.clone())].concat();
        apart.sort_by_key(|c| (c.start, c.id));
        prop_assert_eq!(joined([a, b].concat()), apart);
    }

    #[test]
    fn every_leg_is_in_exactly_one_call((lines, _) in shuffled_lines(12)) {
        let legs = calltrail::correlate::legs::distinct(legs_of(&lines));
        let mut placed: Vec<_> = joined(legs.clone()).iter().flat_map(|c| c.legs.iter().map(|l| l.id)).collect();
        let mut all: Vec<_> = legs.iter().map(|l| l.id).collect();
        placed.sort_unstable();
        all.sort_unstable();
        prop_assert_eq!(placed, all);
    }
}

/// The same cases each time, so that a red run is red again; `PROPTEST_RNG_SEED=N` explores others.
fn seed() -> proptest::test_runner::RngSeed {
    let asked = std::env::var("PROPTEST_RNG_SEED").ok().and_then(|n| n.parse().ok());
    proptest::test_runner::RngSeed::Fixed(asked.unwrap_or(20_261_124))
}

/// What the store holds after the lines came in these deliveries, one derivation step after each; and what it holds after it
/// has derived everything again at once.
async fn derived(deliveries: Vec<Delivery>) -> (Stored, Stored) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&Location::Directory(directory.path().to_owned())).await.unwrap();
    for delivery in deliveries {
        store.commit(&[delivery]).await.unwrap();
        task::catch_up(&store, &rules(), &SystemClock).await.unwrap();
    }
    let live = stored(&store).await;
    scan::statistics_equal_a_scan(&store).await;
    store.reset_derived().await.unwrap();
    task::catch_up(&store, &rules(), &SystemClock).await.unwrap();
    let rebuilt = stored(&store).await;
    scan::statistics_equal_a_scan(&store).await;
    store.close().await;
    (live, rebuilt)
}

/// Calls, and what is known of the sources.
type Stored = (Vec<Call>, Sources);

async fn stored(store: &Store) -> Stored {
    let page = store.calls(&CallFilter::default(), AS_OF, Order::OldestFirst, None, 10_000).await.unwrap();
    (page.rows, store.sources(AS_OF).await.unwrap())
}

/// Blanks what counts lines and deliveries: some came twice, and in other pieces.
fn without_counts(mut known: Sources) -> Sources {
    known.sources.iter_mut().for_each(|s| (s.deliveries, s.lines) = (0, 0));
    known.observers.iter_mut().for_each(|o| o.legs = 0);
    known
}

/// Consecutive lines of one proxy, at most `most` of them, make a delivery.
fn cut(lines: &[RawLine], most: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for run in lines.chunk_by(|a, b| (&a.proxy, a.late) == (&b.proxy, b.late)) {
        deliveries.extend(run.chunks(most).map(|lines| delivery(lines, 1)));
    }
    deliveries
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, rng_seed: seed(), ..ProptestConfig::default() })]

    #[test]
    fn batching_does_not_change_what_is_stored((lines, shuffled) in shuffled_lines(8), most in 1..9usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut in_order = lines.clone();
        in_order.sort_by(|a, b| (&a.proxy, a.late).cmp(&(&b.proxy, b.late)));
        let (whole, pieces) = runtime.block_on(async {
            (derived(cut(&in_order, usize::MAX)).await, derived(cut(&shuffled, most)).await)
        });
        let ((live, rebuilt), (heard, heard_again)) = ((pieces.0.0, pieces.1.0), (pieces.0.1, pieces.1.1));
        prop_assert!(live == rebuilt, "live (-) and rebuilt (+) differ:\n{}", differences(&live, &rebuilt));
        prop_assert_eq!(&heard, &heard_again);
        let (calls, pieces) = (without_places(whole.0.0), without_places(live));
        prop_assert!(calls == pieces, "at once (-) and in pieces (+) differ:\n{}", differences(&calls, &pieces));
        prop_assert_eq!(without_counts(whole.0.1), without_counts(heard));
    }
}
