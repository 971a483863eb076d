//! Real lines and the calls that come out of them: one snapshot per scenario, printed as a person would tell it.
//!
//! The fixtures are those of the decoder's suite; here they are joined. Facts and coverage are taken from the scenario's own
//! lines, and findings of absence are shown with a question mark: whether they hold is decided by coverage when asked.

use calltrail::correlate::facts::Facts;
use calltrail::correlate::{Rules, assemble};
use calltrail::decode::{decode_delivery, frame};
use calltrail::model::{Call, Delivery, DeliveryId, Timestamp};
use std::fmt::Write;
use std::path::Path;

fn joined(fixture: &Path) -> Vec<Call> {
    let body = std::fs::read(fixture).unwrap_or_else(|e| panic!("{}: {e}", fixture.display()));
    let delivery = Delivery {
        id: DeliveryId([0; 32]),
        source: "test".to_owned(),
        proxy: None,
        received_at: Timestamp(1_795_500_000_000_000),
        lines: frame::split(&body, usize::MAX).unwrap(),
    };
    let decoded = decode_delivery(&delivery, 1);
    assert_eq!(decoded.rejects, vec![], "{}", fixture.display());
    let mut facts = Facts::default();
    facts.add_legs(&decoded.legs);
    assemble(decoded.legs, &facts, &Rules::default())
}

fn told(calls: &[Call]) -> String {
    let mut text = String::new();
    for (n, call) in calls.iter().enumerate() {
        let parent = call.parent_id.and_then(|id| calls.iter().position(|c| c.id == id));
        let of = parent.map_or_else(|| "root".to_owned(), |p| format!("of {}", p + 1));
        let parties = format!(
            "{} ({}) -> {} ({})",
            call.caller.name, call.caller.assurance, call.callee.name, call.callee.assurance
        );
        writeln!(text, "{}. {parties}  {}  [{of}]", n + 1, request(call)).unwrap();
        writeln!(text, "   {} of {}; {}", call.basis, legs(call), outcome(call)).unwrap();
        for decision in &call.decisions {
            let rule = decision.rule.as_deref().unwrap_or("-");
            writeln!(text, "   {} by {} {rule}", decision.effect, decision.judge).unwrap();
        }
        if let Some(principal) = &call.principal {
            let who = format!("{} {}", principal.principal.kind, principal.principal.subject);
            writeln!(text, "   for {who}, {} ({})", principal.attribution, principal.assurance).unwrap();
        }
        for finding in &call.findings {
            let doubt = if finding.absent_observer.is_some() { "?" } else { "" };
            writeln!(text, "   ! {}{doubt}: {}", finding.kind, finding.sentence).unwrap();
        }
    }
    text
}

fn request(call: &Call) -> String {
    match (&call.method, &call.path) {
        (Some(method), Some(path)) => format!("{method} {path}"),
        _ => call.protocol.to_string(),
    }
}

fn legs(call: &Call) -> String {
    let legs: Vec<String> = call.legs.iter().map(|l| format!("{} {}", l.observer.kind, l.side)).collect();
    legs.join(" + ")
}

fn outcome(call: &Call) -> String {
    let o = &call.outcome;
    let status = o.status.map_or_else(|| "no status".to_owned(), |s| s.to_string());
    let grpc = o.grpc_status.map(|g| format!(" grpc {g}")).unwrap_or_default();
    let stopped =
        o.stopped_at.zip(o.stopped_why.as_deref()).map(|(at, why)| format!("; stopped at {at}: {why}"));
    let flags = if o.flags.is_empty() { String::new() } else { format!("; {}", o.flags.join(", ")) };
    format!("{status}{grpc}, {} attempt(s){flags}{}", o.attempts, stopped.unwrap_or_default())
}

fn check_folder(folder: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let mut fixtures: Vec<_> = std::fs::read_dir(&root).unwrap().map(|e| e.unwrap().path()).collect();
    fixtures.retain(|p| p.extension().is_some_and(|e| e == "ndjson"));
    fixtures.sort();
    assert!(!fixtures.is_empty(), "no fixtures in {folder}");
    for fixture in fixtures {
        let name = format!("{folder}__{}", fixture.file_stem().unwrap().to_str().unwrap()).replace('/', "__");
        insta::assert_snapshot!(name, told(&joined(&fixture)));
    }
}

#[test]
fn calls_of_real_sidecars_in_the_recommended_format() {
    check_folder("envoy/recommended");
}

#[test]
fn calls_of_real_sidecars_in_consuls_default_format() {
    check_folder("envoy/default");
}

#[test]
fn calls_of_real_sidecars_while_envoy_traces() {
    check_folder("envoy/tracing_on");
}

#[test]
fn calls_of_a_real_worker() {
    check_folder("worker/logpush");
}
