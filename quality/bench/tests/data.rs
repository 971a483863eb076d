//! The made data is what it claims to be: every line decodes, and the lines of each request join to its three calls.

use calltrail::model::{Basis, Call, Delivery, DeliveryId, Timestamp};
use calltrail_bench::data::cast::Cast;
use calltrail_bench::data::files::Files;
use calltrail_bench::data::load::Form;
use calltrail_bench::data::{CALLS, LEGS, LINES, Recipe, load};
use calltrail_quality::derive::derive;
use flate2::read::MultiGzDecoder;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

const RECIPE: Recipe =
    Recipe { seed: 7, requests: 2_600, start_us: Recipe::START_US, requests_per_second: 1_000.0 };

fn lines(gzip: &[u8]) -> Vec<Vec<u8>> {
    let mut body = Vec::new();
    MultiGzDecoder::new(gzip).read_to_end(&mut body).unwrap();
    calltrail::decode::frame::split(&body, usize::MAX).unwrap()
}

fn delivery(source: &str, lines: Vec<Vec<u8>>) -> Delivery {
    Delivery {
        id: DeliveryId([0; 32]),
        source: source.to_owned(),
        proxy: None,
        received_at: Timestamp(RECIPE.start_us),
        lines,
    }
}

fn derived(deliveries: &[Delivery]) -> Vec<Call> {
    let rules = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-rules.toml");
    std::fs::write(&rules, Cast::rules_toml()).unwrap();
    let derived = derive(deliveries, &calltrail::config::rules(Some(&rules), None).unwrap());
    assert_eq!(derived.rejects, 0);
    derived.calls
}

fn is_whole(calls: &[Call]) {
    assert_eq!(calls.len() as u64, RECIPE.requests * CALLS);
    assert_eq!(calls.iter().map(|call| call.legs.len() as u64).sum::<u64>(), RECIPE.requests * LEGS);
    let mut shapes: BTreeMap<(bool, usize), u64> = BTreeMap::new();
    for call in calls {
        *shapes.entry((call.basis == Basis::Single, call.legs.len())).or_default() += 1;
        assert!(call.principal.is_some(), "somebody asked: {call:?}");
    }
    let wanted = [((false, 2), RECIPE.requests * 2), ((true, 1), RECIPE.requests)];
    assert_eq!(shapes, BTreeMap::from(wanted), "two joined calls and the visitor's own in each request");
}

#[test]
fn the_files_decode_and_join_to_three_calls_a_request() {
    let home = tempfile::tempdir().unwrap();
    let files = Files::make(&Cast::new(), RECIPE, home.path()).unwrap();
    let deliveries: Vec<Delivery> = files
        .paths()
        .unwrap()
        .iter()
        .map(|path| delivery("bench", lines(&std::fs::read(path).unwrap())))
        .collect();
    assert_eq!(deliveries.len(), 4, "mesh and Worker, of 2,500 requests and of the rest");
    assert_eq!(deliveries.iter().map(|d| d.lines.len() as u64).sum::<u64>(), RECIPE.requests * LINES);
    is_whole(&derived(&deliveries));
}

#[test]
fn the_load_holds_the_same_requests_with_the_worker_late() {
    let batches = load::batches(&Cast::new(), &RECIPE, 500, Form::Lines).unwrap();
    let deliveries: Vec<Delivery> = batches.iter().map(|b| delivery(b.source, lines(&b.body))).collect();
    assert!(batches.iter().zip(&deliveries).all(|(batch, delivery)| batch.lines == delivery.lines.len()));
    let first_worker = batches.iter().position(|batch| batch.source == load::WORKER).unwrap();
    // The whole recipe takes 2.6 s: every mesh line is there before the first of the Worker's.
    assert_eq!(
        first_worker,
        batches.iter().filter(|batch| batch.source == load::MESH).count() - 1,
        "but for the last, cut short"
    );
    is_whole(&derived(&deliveries));
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let read = |seed: u64| {
        let home = tempfile::tempdir().unwrap();
        let files = Files::make(&Cast::new(), Recipe { seed, requests: 50, ..RECIPE }, home.path()).unwrap();
        files.paths().unwrap().iter().map(|path| std::fs::read(path).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(read(1), read(1));
    assert_ne!(read(1), read(2));
}
