//! Every measure that needs nothing but calltrail runs, and what it finds stands in the document. How fast it was is no matter here.

use calltrail_bench::bench::Bench;
use calltrail_bench::figures::Figures;
use calltrail_bench::goals::GOALS;
use calltrail_bench::measures::Measure;
use calltrail_bench::options::Options;
use calltrail_bench::report::document;
use clap::Parser;
use std::path::PathBuf;

/// Built with the tests of the workspace, two folders above this one.
fn calltrail() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let program = here.ancestors().nth(2).unwrap().join("calltrail");
    assert!(program.exists(), "{} is missing: run `cargo build`", program.display());
    program
}

fn bench(work: &std::path::Path) -> Bench {
    let words = "bench --quick --lines 900 --live-lines 1500 --live-rate 25 --stored-lines 900 --questions 3 --program";
    let mut words: Vec<PathBuf> = words.split(' ').map(PathBuf::from).collect();
    words.extend([calltrail(), PathBuf::from("--work"), work.to_owned()]);
    Bench::prepare(Options::parse_from(words).resolved()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_measure_of_calltrail_alone_gives_its_figures() {
    let work = tempfile::tempdir().unwrap();
    let bench = bench(work.path());
    let mut figures = Figures::default();
    let alone = ["import", "decode", "sqlite-bare", "live", "idle", "queries", "growth"];
    for (name, measure) in Measure::ALL.iter().filter(|(name, _)| alone.contains(name)) {
        let sample = measure.run(&bench, 0).await.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert!(sample.iter().all(|(_, value)| value.is_finite()), "{sample:?}");
        figures.add(0, sample);
    }
    let text = document(&bench, &figures);
    assert!(!text.contains('{'), "a mark was left: {text}");
    assert!(GOALS.iter().all(|goal| text.contains(goal.what)));
    assert!(
        figures.median("query.trace.p99_ms").is_some() && figures.median("live.visible_p99_ms").is_some()
    );
    assert!(figures.median("import.stored_bytes_per_request").unwrap() > 100.0);
}
