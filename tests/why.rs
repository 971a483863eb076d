//! `calltrail why` on a real capture, over the command line and over HTTP: three hard cases as they read, and what holds for
//! every explanation.

mod common;
#[path = "nameless/traffic.rs"]
#[allow(dead_code, reason = "the stories about likeness itself use the rest")]
mod traffic;

use calltrail::correlate::facts::Facts;
use calltrail::correlate::rules::{HeaderKey, KeyMaterial};
use calltrail::correlate::why::{self, By, How, Joined, Kind, RunnerUp, Weight, Why};
use calltrail::correlate::{Rules, task};
use calltrail::decode::{decode_delivery, frame};
use calltrail::model::{Basis, Call, CallFilter, Delivery, DeliveryId, Leg, SystemClock, Timestamp};
use calltrail::store::{Location, Order, Store};
use common::{Backend, Serve};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const AS_OF: &str = "2100-01-01T00:00:00Z";

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The whole capture, imported once for all stories.
fn capture() -> &'static Backend {
    static CAPTURE: OnceLock<Backend> = OnceLock::new();
    CAPTURE.get_or_init(|| {
        let backend = Backend::sqlite();
        for (source, folder) in [("logpush-workers", "worker"), ("logpush-zone", "zone"), ("mesh", "mesh")] {
            let path = project("demo").join(folder);
            let rules = project("demo/calltrail.toml");
            let words =
                ["import", "--source", source, "--rules", rules.to_str().unwrap(), path.to_str().unwrap()];
            backend.run(&words);
        }
        backend
    })
}

fn why(id: &str, form: &str) -> String {
    let rules = project("demo/calltrail.toml");
    let words = ["why", id, "--format", form, "--as-of", AS_OF, "--rules", rules.to_str().unwrap()];
    capture().run(&words)
}

fn why_json(id: &str) -> Value {
    serde_json::from_str(&why(id, "json")).unwrap()
}

/// Without what the moment of the import decides.
fn lasting(page: &str) -> String {
    let mut text = String::new();
    for line in page.lines() {
        match line.split_once(", since 20") {
            Some((before, _)) => text.push_str(&format!("{before}, since [when it was imported].")),
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

const RETRY: &str = "66a35378e03887b006deeb511309f351";
const FAN_OUT: &str = "5b5c4c8a461c1612735cbbfe0c1ca9fc";
const BYPASS: &str = "65303c122039085c9c0a7fab78466a61";

#[test]
fn a_retry_is_explained() {
    insta::assert_snapshot!(lasting(&why(RETRY, "page")));
}

#[test]
fn one_of_several_identical_requests_at_a_time_is_explained() {
    insta::assert_snapshot!(lasting(&why(FAN_OUT, "page")));
}

#[test]
fn a_bypass_with_a_genuine_certificate_is_explained() {
    insta::assert_snapshot!(lasting(&why(BYPASS, "page")));
}

#[test]
fn a_page_fits_a_hundred_columns() {
    for id in [RETRY, FAN_OUT, BYPASS] {
        let page = why(id, "page");
        let longest = page.lines().map(|l| l.chars().count()).max().unwrap();
        assert!(longest <= 100, "{longest} columns:\n{page}");
        assert!(!page.contains('\x1b'), "no colour where there is no terminal");
    }
}

#[test]
fn programs_read_each_piece_of_evidence_with_both_values() {
    let why = why_json(FAN_OUT);
    assert_eq!((&why["basis"]["by"], &why["basis"]["confidence"]), (&json!("order"), &json!(0.85)));
    let pair = &why["pairs"][0];
    let connection = pair["for"].as_array().unwrap().iter().find(|e| e["kind"] == "connection").unwrap();
    assert_eq!(connection["client"], connection["server"]);
    assert_eq!(connection["weight"], "strong");
    let rival = &why["alternatives"][0]["runner_up"];
    assert_eq!((&rival["decided_by"], &rival["instead_of"]), (&json!("order"), &pair["server"]));
    assert!(rival["against"].as_array().unwrap().iter().all(|e| e["weight"] != "excluding"), "{rival}");
    let ids: Vec<&Value> = why["legs"].as_array().unwrap().iter().map(|l| &l["id"]).collect();
    assert!(ids.contains(&&rival["leg"]) && ids.contains(&&pair["client"]));
    assert_eq!(why["parent"]["how"], "service");
    assert_eq!(why["principal"].as_array().unwrap().last().unwrap()["principal"]["attribution"], "inherited");
    assert_eq!((&why["note"], &why["complete"]), (&Value::Null, &json!(true)));
}

#[test]
fn a_server_explains_as_the_command_line_does_and_refuses_what_is_no_one_call() {
    let rules = project("demo/calltrail.toml");
    let backend = Backend::sqlite();
    let server = Serve::on(&backend).arg("--rules").arg(rules.to_str().unwrap()).start();
    let lines = |name: &str| {
        let mut text = Vec::new();
        let file = std::fs::File::open(project("demo/mesh").join(name)).unwrap();
        std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(file), &mut text).unwrap();
        text
    };
    for name in ["gw", "web-sidecar-proxy", "api-sidecar-proxy"] {
        server.ingest("mesh", &lines(&format!("{name}.jsonl.gz")));
    }
    server.wait_for("/v1/calls?limit=1", |page| page["complete"] == json!(true));
    let over_http = server.json(&format!("/v1/calls/{RETRY}/why?as_of={AS_OF}"));
    assert_eq!(over_http["call"]["id"], RETRY);
    let url = format!("http://{}", server.address);
    let by_command = backend.run(&["why", RETRY, "--format", "json", "--as-of", AS_OF, "--server", &url]);
    assert_eq!(serde_json::from_str::<Value>(&by_command).unwrap(), over_http);
    // By the id of one of its attempts.
    let attempt = over_http["pairs"][0]["server"].as_str().unwrap();
    let by_leg = server.json(&format!("/v1/calls/{attempt}/why?as_of={AS_OF}"));
    assert_eq!(by_leg["call"]["superseded_by"], RETRY);
    assert_eq!(by_leg["pairs"], over_http["pairs"]);

    let trace = over_http["call"]["trace_id"].as_str().unwrap();
    let several = server.get(&format!("/v1/calls/{trace}/why")).unwrap();
    assert_eq!(several.status, 400, "{}", several.text());
    assert!(several.text().contains("ask for one of them"), "{}", several.text());
    assert_eq!(server.get("/v1/calls/nobody/why").unwrap().status, 404);
}

#[test]
fn other_rules_than_those_of_the_join_are_noticed() {
    let rules = Backend::sqlite();
    std::fs::create_dir_all(rules.data()).unwrap();
    let empty = rules.data().join("other.toml");
    std::fs::write(&empty, "").unwrap();
    // Without the key the gateway's line is signed by nobody that could be checked.
    let edge = entry_call();
    let words = ["why", &edge, "--format", "json", "--as-of", AS_OF, "--rules", empty.to_str().unwrap()];
    let why: Value = serde_json::from_str(&capture().run(&words)).unwrap();
    assert!(why["call"]["caller"]["assurance"] != "signed", "{why}");
}

fn entry_call() -> String {
    let retry = why_json(RETRY);
    let steps = retry["principal"].as_array().unwrap();
    let entry = steps.iter().find(|s| s["call"]["callee"]["name"] == "gw").unwrap();
    entry["call"]["id"].as_str().unwrap().to_owned()
}

fn all_legs() -> Vec<Leg> {
    let mut legs = Vec::new();
    let folders = ["worker", "zone", "mesh"].map(|folder| project("demo").join(folder));
    let files = folders.iter().flat_map(|f| std::fs::read_dir(f).unwrap()).map(|entry| entry.unwrap().path());
    for (number, path) in (1..).zip(files) {
        let mut body = Vec::new();
        let file = std::fs::File::open(&path).unwrap();
        std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(file), &mut body).unwrap();
        let delivery = Delivery {
            id: DeliveryId([0; 32]),
            source: "capture".to_owned(),
            proxy: Some(path.file_name().unwrap().to_str().unwrap().split('.').next().unwrap().to_owned()),
            received_at: Timestamp(1_795_500_000_000_000),
            lines: frame::split(&body, usize::MAX).unwrap().into_iter().collect(),
        };
        legs.extend(decode_delivery(&delivery, number).legs);
    }
    legs
}

/// Whatever the call, its explanation agrees with it.
#[test]
fn no_explanation_disagrees_with_the_join() {
    let secret = KeyMaterial::HmacSha256(b"trail-key-fullstack-a".to_vec());
    let rules = Rules { header_keys: vec![HeaderKey { key_id: None, secret }], ..Rules::default() };
    let legs = all_legs();
    let mut facts = Facts::default();
    facts.add_legs(&legs);
    let calls = calltrail::correlate::assemble(legs.clone(), &facts, &rules);
    let joined = Joined::new(legs, &facts, &rules);
    // Each kind of call is among these; all of them would take long in a debug build.
    for call in calls.iter().step_by(7) {
        let why = joined.explain(&call.id, None).unwrap();
        agrees(call, &why);
    }
}

fn agrees(call: &Call, why: &Why) {
    assert_eq!(&why.call, call);
    let told = format!("{why:#?}");
    for pair in &why.pairs {
        let excluding = pair.evidence.iter().find(|e| e.weight == Weight::Excluding);
        assert_eq!(excluding, None, "a pair that was made is excluded\n{told}");
        assert!(pair.evidence.iter().any(|e| e.is_for()), "nothing speaks for a pair\n{told}");
    }
    for field in &why.fields {
        let excluded = field.best.as_ref().map(|b| b.evidence.iter().any(|e| e.weight == Weight::Excluding));
        assert!(
            excluded != Some(field.fitting == 0) || excluded == Some(true) || field.fitting > 0,
            "{told}"
        );
        let rivals = field.fitting > 0 && call.basis == Basis::Proven && call.legs.len() > 1;
        let by_hop = why.basis.by == By::Hop;
        let order = |r: &RunnerUp| r.decided_by == Kind::Order;
        assert!(
            !rivals || by_hop || !field.best.as_ref().is_some_and(order),
            "proven, and order decided\n{told}"
        );
    }
    assert_eq!(why.parent.how == How::None, call.parent_id.is_none(), "{told}");
    assert_eq!(why.principal.last().unwrap().principal, call.principal, "{told}");
    assert_eq!(why.findings.len(), call.findings.len());
    assert!(why.findings.iter().all(|f| !f.evidence.is_empty()), "{told}");
}

/// A stripped mesh behind a network that rewrites addresses: nothing but likeness joins its calls.
#[tokio::test]
async fn a_pair_that_is_merely_alike_is_explained_with_its_rivals() {
    let traffic = traffic::Traffic {
        seed: 3,
        wire: traffic::Wire::Http2,
        calls_per_second: 8.0,
        seconds: 62.0,
        skew_us: 0.0,
        ..traffic::Traffic::default()
    };
    let mut lines = traffic.lines();
    lines.sort_by(|a, b| a.proxy.cmp(&b.proxy));
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&Location::Directory(directory.path().to_owned())).await.unwrap();
    for (n, lines) in (1..).zip(lines.chunk_by(|a, b| a.proxy == b.proxy)) {
        let row: Vec<&traffic::Line> = lines.iter().collect();
        let received = Timestamp(1_795_493_000_000_000);
        let delivery = traffic::delivery(&lines[0].proxy, &row, DeliveryId([n; 32]), received);
        store.commit(&[delivery]).await.unwrap();
    }
    let rules = Rules::default();
    task::catch_up(&store, &rules, &SystemClock).await.unwrap();
    let later = Timestamp(1_795_600_000_000_000);
    let page = store.calls(&CallFilter::default(), later, Order::OldestFirst, None, 10_000).await.unwrap();
    let pairs: Vec<&Call> = page.rows.iter().filter(|c| c.legs.len() == 2).collect();
    assert!(pairs.len() > 100, "{}", pairs.len());
    let mut rivals = 0;
    for call in pairs.iter().step_by(60) {
        let why = why::explain(&store, &rules, call).await.unwrap().unwrap();
        let told = format!("{why:#?}");
        assert_eq!(&&why.call, call, "{told}");
        assert_eq!(why.basis.by, By::Likeness, "{told}");
        assert!(why.basis.sentence.contains("probability"), "{told}");
        assert!(why.pairs[0].evidence.iter().all(|e| e.weight != Weight::Excluding), "{told}");
        rivals += why.fields.iter().filter(|f| f.best.is_some()).count();
    }
    assert!(rivals > 0, "some of them had rivals");
    // A line that found no partner has the nearest others named, too.
    let lone = page.rows.iter().find(|c| c.legs.len() == 1).unwrap();
    let why = why::explain(&store, &rules, lone).await.unwrap().unwrap();
    assert_eq!((&why.call, why.basis.by), (lone, By::Nothing));
}
