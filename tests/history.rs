//! What was believed when, told by a real capture of which some lines come an hour late: on both databases, over the command
//! line and over HTTP.

mod common;

use calltrail::correlate::facts::Facts;
use calltrail::correlate::rules::{HeaderKey, KeyMaterial};
use calltrail::correlate::{Rules, assemble, task};
use calltrail::decode::{decode_delivery, frame};
use calltrail::evidence::delivery_id;
use calltrail::model::{Basis, Call, Clock, Delivery, Leg, LineHash, Side, Timestamp};
use calltrail::store::Store;
use common::{Backend, Serve};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// 2026-11-24T03:10:00Z: a quarter of an hour after the capture; its lines settle as they come.
const IN_TIME: Timestamp = Timestamp(1_795_489_800_000_000);
const LATE: Timestamp = Timestamp(IN_TIME.0 + 3_600_000_000);
const AS_OF: &str = "2100-01-01T00:00:00Z";

/// Shows the same time whenever it is asked.
struct Stopped(Timestamp);

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        self.0
    }
}

fn rules() -> Rules {
    let secret = KeyMaterial::HmacSha256(b"trail-key-fullstack-a".to_vec());
    Rules { header_keys: vec![HeaderKey { key_id: None, secret }], ..Rules::default() }
}

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A line with the source and the proxy that it came from.
type Line = (String, String, Vec<u8>);

fn capture() -> Vec<Line> {
    let mut lines = Vec::new();
    for folder in ["worker", "zone", "mesh"] {
        let entries = std::fs::read_dir(project("demo").join(folder)).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for path in files {
            let mut body = Vec::new();
            let file = std::fs::File::open(&path).unwrap();
            std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(file), &mut body).unwrap();
            let proxy = path.file_name().unwrap().to_str().unwrap().split('.').next().unwrap().to_owned();
            let split = frame::split(&body, usize::MAX).unwrap();
            lines.extend(split.into_iter().map(|line| (folder.to_owned(), proxy.clone(), line)));
        }
    }
    lines
}

/// One delivery per file.
fn deliveries(lines: &[Line], received_at: Timestamp) -> Vec<Delivery> {
    let files = lines.chunk_by(|a, b| (&a.0, &a.1) == (&b.0, &b.1));
    let delivery = |file: &[Line]| {
        let lines: Vec<Vec<u8>> = file.iter().map(|l| l.2.clone()).collect();
        let (source, proxy) = (file[0].0.clone(), Some(file[0].1.clone()));
        let id = delivery_id(&source, proxy.as_deref(), &lines.join(&b'\n'));
        Delivery { id, source, proxy, received_at, lines }
    };
    files.map(delivery).collect()
}

fn legs_of(lines: &[Line]) -> Vec<Leg> {
    deliveries(lines, IN_TIME).iter().flat_map(|d| decode_delivery(d, 1).legs).collect()
}

/// The calls as they are when every line is there.
fn all_calls(lines: &[Line]) -> Vec<Call> {
    let (legs, mut facts) = (legs_of(lines), Facts::default());
    facts.add_legs(&legs);
    assemble(legs, &facts, &rules())
}

/// A plain call from `api` to `billing` whose two ends are proven to be one.
fn plain_call(calls: &[Call]) -> &Call {
    let plain = |c: &&Call| {
        (c.caller.name.as_str(), c.callee.name.as_str()) == ("api", "billing")
            && c.basis == Basis::Proven
            && c.legs.len() == 2
            && c.findings.is_empty()
    };
    calls.iter().find(plain).expect("the capture has plain calls")
}

fn leg(call: &Call, side: Side) -> &Leg {
    call.legs.iter().find(|l| l.side == side).unwrap()
}

/// The capture in time but for some lines, which come late.
async fn told_in_two_parts(backend: &Backend, lines: Vec<Line>, late: impl Fn(&Line) -> bool) {
    let (late, in_time): (Vec<Line>, Vec<Line>) = lines.into_iter().partition(late);
    assert!(!late.is_empty());
    let store = Store::open(&backend.location()).await.unwrap();
    for (part, at) in [(in_time, IN_TIME), (late, LATE)] {
        store.commit(&deliveries(&part, at)).await.unwrap();
        task::catch_up(&store, &rules(), &Stopped(at.plus_us(2_000_000))).await.unwrap();
    }
    store.close().await;
}

fn is_line(line: &Line, hash: LineHash) -> bool {
    use sha2::{Digest, Sha256};
    Sha256::digest(&line.2)[..] == hash.0
}

fn history(backend: &Backend, id: &str, form: &str) -> String {
    let rules = project("demo/calltrail.toml");
    let words = ["history", id, "--format", form, "--as-of", AS_OF, "--rules", rules.to_str().unwrap()];
    backend.run(&words)
}

fn history_json(backend: &Backend, id: &str) -> Value {
    serde_json::from_str(&history(backend, id, "json")).unwrap()
}

fn events(history: &Value) -> Vec<(String, String)> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    history["events"].as_array().unwrap().iter().map(|e| (text(&e["what"]), text(&e["about"]))).collect()
}

async fn a_late_line_withdraws_what_its_absence_had_raised(backend: &Backend) {
    let lines = capture();
    let calls = all_calls(&lines);
    let call = plain_call(&calls);
    let late = leg(call, Side::Server).line.line_sha256;
    let id = call.id.to_string();
    told_in_two_parts(backend, lines, |l| is_line(l, late)).await;

    let told = history_json(backend, &id);
    let lost: Vec<&Value> =
        told["events"].as_array().unwrap().iter().filter(|e| e["about"] == "lost").collect();
    assert_eq!(lost.len(), 2, "{told:#}");
    assert_eq!((&lost[0]["what"], &lost[0]["at"]), (&json!("finding_raised"), &json!(IN_TIME.to_string())));
    assert_eq!(lost[1]["what"], "finding_withdrawn");
    assert_eq!(lost[1]["at"], LATE.plus_us(2_000_000).to_string());
    let now: Value = serde_json::from_str(&backend.run(&["call", &id, "--format", "json"])).unwrap();
    assert_eq!(
        (&now["findings"], &now["state"], &now["basis"]),
        (&json!([]), &json!("amended"), &json!("proven"))
    );
    let server = now["legs"].as_array().unwrap().iter().find(|l| l["side"] == "server").unwrap();
    assert_eq!(lost[1]["delivery"], server["delivery"], "the delivery that did it");
    insta::assert_snapshot!(history(backend, &id, "page"));

    // As it was told before the line came.
    let before = ["history", &id, "--format", "json", "--as-of", "2026-11-24T03:30:00Z"];
    let before: Value = serde_json::from_str(&backend.run(&before)).unwrap();
    let words: Vec<String> = events(&before).into_iter().map(|(what, _)| what).collect();
    assert_eq!(words, ["first_seen", "settled", "finding_raised"], "{before:#}");

    // What was believed does not follow from the lines: a rebuild leaves it, and adds nothing.
    let rules = project("demo/calltrail.toml");
    backend.run(&["rebuild", "--rules", rules.to_str().unwrap()]);
    assert_eq!(events(&history_json(backend, &id)), events(&told));
}

async fn every_id_that_a_call_ever_had_finds_it(backend: &Backend) {
    let lines = capture();
    let calls = all_calls(&lines);
    let call = plain_call(&calls);
    let (late, id) = (leg(call, Side::Client).line.line_sha256, call.id.to_string());
    let known_as = leg(call, Side::Server).id.to_string();
    told_in_two_parts(backend, lines, |l| is_line(l, late)).await;

    let told = history_json(backend, &known_as);
    assert_eq!((&told["call_id"], &told["superseded_by"]), (&json!(id), &json!(id)), "{told:#}");
    assert_eq!(told["former_ids"], json!([known_as]), "{told:#}");
    let superseded = told["events"].as_array().unwrap().iter().find(|e| e["about"] == "superseded").unwrap();
    assert_eq!((&superseded["before"], &superseded["after"]), (&json!(known_as), &json!(id)));
    let words: BTreeSet<(String, String)> = events(&told).into_iter().collect();
    for expected in [("renamed", ""), ("amended", ""), ("changed", "basis")] {
        assert!(words.contains(&(expected.0.to_owned(), expected.1.to_owned())), "{expected:?}: {told:#}");
    }
    assert_eq!(history_json(backend, &id)["events"], told["events"]);
    let found: Value = serde_json::from_str(&backend.run(&["call", &known_as, "--format", "json"])).unwrap();
    assert_eq!(found["superseded_by"], json!(id));
}

async fn the_workers_late_log_changes_how_the_principal_is_known(backend: &Backend) {
    let lines = capture();
    let calls = all_calls(&lines);
    let entry =
        |c: &&Call| c.legs.iter().any(Leg::is_entry) && c.principal.is_some() && c.findings.is_empty();
    let call = calls.iter().find(entry).unwrap();
    let gateway = leg(call, Side::Server).id.to_string();
    told_in_two_parts(backend, lines, |l| l.0 == "worker").await;

    let told = history_json(backend, &gateway);
    let changed = |about: &str| {
        let mut events = told["events"].as_array().unwrap().iter();
        events.find(|e| e["about"] == about).unwrap_or_else(|| panic!("no {about} in {told:#}")).clone()
    };
    let principal = changed("principal");
    assert!(principal["before"].as_str().unwrap().ends_with(", signed"), "{principal}");
    assert!(principal["after"].as_str().unwrap().ends_with(", inherited"), "{principal}");
    assert_eq!(changed("caller")["after"], "worker:edge");
}

/// Lines that come before more are expected no longer take nothing back.
async fn what_is_completed_in_time_leaves_no_trace_in_the_journal(backend: &Backend) {
    let lines = capture();
    let calls = all_calls(&lines);
    let call = plain_call(&calls);
    let late = leg(call, Side::Server).line.line_sha256;
    let (last, first): (Vec<Line>, Vec<Line>) = lines.into_iter().partition(|l| is_line(l, late));
    let store = Store::open(&backend.location()).await.unwrap();
    // Within seconds of the call itself, as proxies that flush at different times deliver.
    for (part, after_us) in [(first, 1_000_000), (last, 9_000_000)] {
        let at = call.end().plus_us(after_us);
        store.commit(&deliveries(&part, at)).await.unwrap();
        task::catch_up(&store, &rules(), &Stopped(at)).await.unwrap();
    }
    let ids: Vec<_> = call.legs.iter().map(|l| l.id).collect();
    assert_eq!(store.journal(&ids).await.unwrap(), []);
    store.close().await;
    let words: Vec<String> =
        events(&history_json(backend, &call.id.to_string())).into_iter().map(|(what, _)| what).collect();
    assert_eq!(words, ["first_seen", "completed", "settled"]);
}

#[test]
fn a_server_tells_the_past_as_the_command_line_does() {
    let backend = Backend::sqlite();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lines = capture();
    let calls = all_calls(&lines);
    let call = plain_call(&calls);
    let late = leg(call, Side::Server).line.line_sha256;
    runtime.block_on(told_in_two_parts(&backend, lines, |l| is_line(l, late)));
    let by_command = history_json(&backend, &call.id.to_string());
    let rules = project("demo/calltrail.toml");
    let server = Serve::on(&backend).arg("--rules").arg(rules.to_str().unwrap()).start();
    let over_http = server.json(&format!("/v1/calls/{}/history?as_of={AS_OF}", call.id));
    assert_eq!(over_http, by_command);
    assert_eq!(server.get("/v1/calls/nobody/history").unwrap().status, 404);
    let wrong = server.get(&format!("/v1/calls/{}/history?asof=x", call.id)).unwrap();
    assert!(wrong.status == 400 && wrong.text().contains("as_of"), "{}", wrong.text());
}

/// Each story once for each database.
macro_rules! stories {
    ($($story:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $story() { crate::$story(&crate::Backend::sqlite()).await })+
        }
        mod postgres {
            $(#[tokio::test] async fn $story() { crate::$story(&crate::Backend::postgres()).await })+
        }
    };
}

stories! {
    a_late_line_withdraws_what_its_absence_had_raised,
    every_id_that_a_call_ever_had_finds_it,
    the_workers_late_log_changes_how_the_principal_is_known,
    what_is_completed_in_time_leaves_no_trace_in_the_journal,
}
