//! Micro-benchmarks of what every line passes through: hash, decode, join. `cargo bench --bench hot_paths [NAME]`.
//!
//! The lines are those of the bundled capture, so they are real. What a whole import or server makes of them is measured by
//! `cargo xtask bench`; whether a change made a path longer, whatever the machine does, by `cargo xtask bench --instructions`.

use calltrail::correlate::facts::Facts;
use calltrail::correlate::{Rules, assemble};
use calltrail::decode::{decode_delivery, each_line, frame};
use calltrail::evidence::{commitment, delivery_id};
use calltrail::model::{Delivery, DeliveryId, Leg, Timestamp, TraceId};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use flate2::read::MultiGzDecoder;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

fn main() {
    divan::main();
}

/// Files of the capture, and which kind of line they hold.
const WORKER: &str = "worker/20261124T025652Z_20261124T025654Z_f88fcf02.ndjson.gz";
const GATEWAY: &str = "mesh/gw.jsonl.gz";
const SIDECAR: &str = "mesh/web-sidecar-proxy.jsonl.gz";
const ZONE: &str = "zone/http_requests.ndjson.gz";

fn body(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo").join(name);
    let file = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut body = Vec::new();
    MultiGzDecoder::new(file).read_to_end(&mut body).expect("the capture is whole");
    body
}

fn delivery(name: &str) -> Delivery {
    Delivery {
        id: DeliveryId([0; 32]),
        source: "bench".to_owned(),
        proxy: None,
        received_at: Timestamp(1_795_489_100_000_000),
        lines: frame::split(&body(name), usize::MAX).expect("no limit"),
    }
}

#[divan::bench(args = [WORKER, GATEWAY, SIDECAR, ZONE])]
fn decode(bencher: Bencher, name: &str) {
    let delivery = delivery(name);
    bencher.counter(ItemsCount::new(delivery.lines.len())).bench(|| {
        let mut legs = 0;
        each_line(black_box(&delivery), 1, &[], |_, result| legs += result.map_or(0, |legs| legs.len()));
        legs
    });
}

#[divan::bench]
fn split(bencher: Bencher) {
    let body = body(GATEWAY);
    bencher.counter(BytesCount::new(body.len())).bench(|| frame::split(black_box(&body), usize::MAX));
}

/// Identity of an upload.
#[divan::bench]
fn hash_of_a_delivery(bencher: Bencher) {
    let body = body(GATEWAY);
    bencher.counter(BytesCount::new(body.len())).bench(|| delivery_id("bench", None, black_box(&body)));
}

/// The commitment to each line.
#[divan::bench]
fn hash_of_lines(bencher: Bencher) {
    let delivery = delivery(GATEWAY);
    let count = ItemsCount::new(delivery.lines.len());
    bencher
        .counter(count)
        .bench(|| commitment::line_root(&[7; 32], black_box(&delivery.lines).iter().map(Vec::as_slice)));
}

/// Legs of the whole capture by trace, as the correlator takes them.
fn traces() -> Vec<Vec<Leg>> {
    let names =
        [WORKER, GATEWAY, SIDECAR, "mesh/api-sidecar-proxy.jsonl.gz", "mesh/catalog-sidecar-proxy.jsonl.gz"];
    let mut traces: BTreeMap<TraceId, Vec<Leg>> = BTreeMap::new();
    for (name, number) in names.iter().zip(1..) {
        for leg in decode_delivery(&delivery(name), number).legs {
            if let Some(trace) = leg.trace {
                traces.entry(trace.trace_id).or_default().push(leg);
            }
        }
    }
    traces.into_values().collect()
}

#[divan::bench]
fn join_trace_by_trace(bencher: Bencher) {
    let traces = traces();
    let rules = Rules::default();
    let legs = traces.iter().map(Vec::len).sum::<usize>();
    bencher.counter(ItemsCount::new(legs)).with_inputs(|| traces.clone()).bench_values(|traces| {
        let join = |legs: Vec<Leg>| assemble(legs, &Facts::default(), &rules).len();
        traces.into_iter().map(join).sum::<usize>()
    });
}

#[divan::bench]
fn join_all_in_one_batch(bencher: Bencher) {
    let legs: Vec<Leg> = traces().into_iter().flatten().collect();
    let rules = Rules::default();
    let counted = bencher.counter(ItemsCount::new(legs.len()));
    counted.with_inputs(|| legs.clone()).bench_values(|legs| assemble(legs, &Facts::default(), &rules).len());
}
