//! The joins, parents, principals and findings of two real captures against what really happened while they were made.
//!
//! Works on what a user gets: the real binary imports the lines and exports the calls. `docs/score-mapping.md` says how the
//! captures' labels map to findings and how to run the captures' own scorer on the same export.

use calltrail_score::export::{self, ExportedPrincipal};
use calltrail_score::truth::{self, ACCUSATIONS, HARMLESS};
use calltrail_score::{Exported, Labels, RealCall, Score, Tally, perfect, score as measure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Long after every grace period: what is missing then is missing.
const AS_OF: &str = "2100-01-01T00:00:00Z";

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn calltrail(data_dir: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(env!("CARGO_BIN_EXE_calltrail"))
        .args(arguments)
        .arg("--data-dir")
        .arg(data_dir)
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Imports each (source, path) under the rules and exports every call.
fn import_and_export(rules: Option<&str>, inputs: &[(&str, &str)]) -> Vec<Exported> {
    let data = tempfile::tempdir().unwrap();
    let rules = rules.map(|r| project(r).to_str().unwrap().to_owned());
    for (source, path) in inputs {
        let path = project(path);
        let mut arguments = vec!["import", "--source", source, path.to_str().unwrap()];
        arguments.extend(rules.iter().flat_map(|r| ["--rules", r]));
        calltrail(data.path(), &arguments);
    }
    let ndjson = calltrail(data.path(), &["export", "calls", "--as-of", AS_OF]);
    if let Some(keep) = std::env::var_os("CALLTRAIL_SCORE_KEEP") {
        let name = inputs[0].1.replace('/', "-");
        std::fs::write(Path::new(&keep).join(format!("{name}.ndjson")), &ndjson).unwrap();
    }
    let text = String::from_utf8(ndjson).unwrap();
    export::parse(&text).unwrap()
}

fn labels() -> Labels {
    Labels::load(&project("tests/fixtures/score/findings.json")).unwrap()
}

fn real(capture: &str) -> Vec<RealCall> {
    truth::load(&project(&format!("tests/fixtures/score/{capture}/truth.jsonl.gz"))).unwrap()
}

/// 99 of 100, both ways.
fn assert_good(what: &str, tally: Tally, score: &Score) {
    assert!(tally.right > 0, "{what}: nothing was right\n{score}");
    assert!(tally.precision() >= 0.99 && tally.recall() >= 0.99, "{what}: {tally}\n{score}");
}

/// Every call that truth accuses is found, nothing is raised that truth does not explain, and nothing at all on an innocent call.
fn assert_findings(score: &Score) {
    assert_good("accused calls", score.accused, score);
    for (label, tally) in &score.findings {
        assert!(tally.precision() >= 0.99, "finding {label}: {tally}\n{score}");
        // A stolen trace id may show itself by another finding on the same call: `accused` has counted it.
        let expected = ACCUSATIONS.contains(&label.as_str()) && label != "stolen_trace";
        assert!(!expected || tally.recall() >= 0.99, "finding {label}: {tally}\n{score}");
    }
    assert!(score.false_alarms.is_empty(), "findings on innocent calls: {:?}\n{score}", score.false_alarms);
}

#[test]
fn from_the_edge_through_the_mesh_with_attacks_among_the_calls() {
    let real = real("fullstack-a");
    let exported = import_and_export(
        Some("demo/calltrail.toml"),
        &[("logpush-workers", "demo/worker"), ("logpush-zone", "demo/zone"), ("mesh", "demo/mesh")],
    );
    let score = measure(&real, &exported, &labels());
    println!("{score}");
    assert_eq!(score.unknown_legs, 0, "{score}");
    assert_good("pairs", score.pairs, &score);
    assert_good("parents", score.parents, &score);
    assert_good("principals", score.principals, &score);
    assert_good("provable principals", score.provable_principals, &score);
    assert_findings(&score);
}

#[test]
fn a_mesh_that_sets_hop_ids_with_hundreds_of_identical_requests() {
    let real = real("hop");
    let exported = import_and_export(None, &[("mesh", "tests/fixtures/score/hop/mesh")]);
    let score = measure(&real, &exported, &labels());
    println!("{score}");
    assert_eq!(score.unknown_legs, 0, "{score}");
    assert_good("pairs", score.pairs, &score);
    assert_good("parents", score.parents, &score);
    assert_findings(&score);
}

/// The measure itself: an export that says exactly what happened scores 1, and each kind of damage is seen.
#[test]
fn the_measure_sees_each_kind_of_damage() {
    let real = real("fullstack-a");
    let perfectly = measure(&real, &perfect(&real), &labels_as_they_are(&real));
    assert_eq!(
        (perfectly.pairs.wrong, perfectly.pairs.missed, perfectly.unknown_legs),
        (0, 0, 0),
        "{perfectly}"
    );
    assert_eq!((perfectly.parents.wrong, perfectly.parents.missed), (0, 0), "{perfectly}");
    assert_eq!((perfectly.principals.wrong, perfectly.provable_principals.missed), (0, 0), "{perfectly}");
    assert!(perfectly.false_alarms.is_empty(), "{perfectly}");

    let mut damaged = perfect(&real);
    let stolen = damaged[700].legs.pop().unwrap();
    damaged[900].legs.push(stolen);
    damaged[800].parent_id = Some(damaged[3].id.clone());
    damaged[850].principal = Some(ExportedPrincipal { subject: "somebody else".to_owned() });
    let score = measure(&real, &damaged, &labels_as_they_are(&real));
    assert!(score.pairs.wrong > 0 && score.pairs.missed > 0, "{score}");
    assert!(score.parents.wrong > 0 && score.principals.wrong > 0, "{score}");
}

/// Calls whose subject nobody can prove, but which were given the right one, must not make up for provable ones without.
#[test]
fn a_subject_that_could_be_proven_and_is_missing_is_seen_among_however_many_others() {
    let real = real("fullstack-a");
    let mut forgetful = perfect(&real);
    let provable = |id: &str| real.iter().any(|r| r.id == id && r.principal_provable && !r.is_edge());
    let mut forgotten = 0;
    for call in forgetful.iter_mut().filter(|c| provable(&c.id)).step_by(50) {
        call.principal = None;
        forgotten += 1;
    }
    let score = measure(&real, &forgetful, &labels_as_they_are(&real));
    assert_eq!((score.provable_principals.missed, score.principals.wrong), (forgotten, 0), "{score}");
    assert!(score.provable_principals.recall() < 0.99, "{score}");
}

/// For a perfect export, which names its findings as the capture does.
fn labels_as_they_are(real: &[RealCall]) -> Labels {
    let all = real.iter().flat_map(|r| &r.findings);
    Labels::new(
        all.filter(|l| !HARMLESS.contains(&l.as_str())).map(|l| (l.clone(), [l.clone()].into())).collect(),
    )
}
