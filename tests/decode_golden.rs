//! Real lines and the legs that come out of them: one snapshot per fixture, printed as a table that a person can check.
//!
//! The fixtures are bytes that Envoy, the Workers runtime and a zone proxy wrote; each is named for what it proves.

use calltrail::decode::{DecodedDelivery, decode_delivery, frame};
use calltrail::model::{Delivery, DeliveryId, Identity, Leg, LegId, SignedPrincipal, Timestamp};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

fn delivery(source: &str, body: &[u8]) -> Delivery {
    Delivery {
        id: DeliveryId([0; 32]),
        source: source.to_owned(),
        proxy: None,
        received_at: Timestamp(1_795_500_000_000_000),
        lines: frame::split(body, usize::MAX).unwrap(),
    }
}

fn decode(body: impl AsRef<[u8]>) -> DecodedDelivery {
    decode_delivery(&delivery("test", body.as_ref()), 1)
}

fn fixture_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn read(fixture: &str) -> Vec<u8> {
    let path = fixture_root().join(fixture);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every fixture of a folder, in order of its name.
fn fixtures(folder: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(fixture_root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".ndjson"))
        .collect();
    names.sort();
    assert!(!names.is_empty(), "no fixtures in {folder}");
    names
}

fn check_folder(folder: &str) {
    for name in fixtures(folder) {
        let decoded = decode(read(&format!("{folder}/{name}")));
        let snapshot = format!("{folder}/{}", name.trim_end_matches(".ndjson")).replace('/', "__");
        insta::assert_snapshot!(snapshot, table(&decoded));
    }
}

#[test]
fn envoy_lines_in_the_recommended_format() {
    check_folder("envoy/recommended");
}

#[test]
fn envoy_lines_in_consuls_default_format() {
    check_folder("envoy/default");
}

#[test]
fn envoy_lines_with_tracing_on() {
    check_folder("envoy/tracing_on");
}

#[test]
fn envoy_lines_with_hop_ids() {
    check_folder("hop");
}

#[test]
fn worker_events_from_logpush() {
    check_folder("worker/logpush");
}

#[test]
fn worker_events_from_a_tail_worker() {
    check_folder("worker/tail");
}

#[test]
fn http_requests_of_the_zone() {
    check_folder("zone");
}

fn ids(decoded: &DecodedDelivery) -> BTreeSet<LegId> {
    decoded.legs.iter().map(|leg| leg.id).collect()
}

/// Console output of 20 and 300 kB is cut by Logpush and by the runtime at different places, so the two differ there.
#[test]
fn an_event_is_the_same_legs_by_logpush_and_by_tail() {
    let mut compared = 0;
    for name in fixtures("worker/logpush") {
        let logpush = decode(read(&format!("worker/logpush/{name}")));
        let tail = decode(read(&format!("worker/tail/{name}")));
        if logpush.legs.iter().any(|leg| leg.truncated) {
            assert!(ids(&logpush).is_subset(&ids(&tail)), "{name}");
            continue;
        }
        let told_by_records = |decoded: &DecodedDelivery| {
            let legs = decoded.legs.iter().filter(|leg| leg.span_id.is_some());
            legs.map(|leg| leg.id).collect::<BTreeSet<_>>()
        };
        assert_eq!(told_by_records(&logpush), told_by_records(&tail), "{name}");
        compared += told_by_records(&logpush).len();
    }
    assert!(compared > 100, "{compared} legs compared");
}

/// The lab's tail Worker ran without script names; a deployed one has them.
#[test]
fn an_event_without_records_is_the_same_leg_by_both_carriers_once_the_script_is_named() {
    let name = "exception_before_anything_was_logged.ndjson";
    let logpush = decode(read(&format!("worker/logpush/{name}")));
    let tail = String::from_utf8(read(&format!("worker/tail/{name}"))).unwrap();
    let tail = decode(tail.replace(r#""scriptName":null"#, r#""scriptName":"edge""#));
    assert_eq!(ids(&logpush), ids(&tail));
}

/// The contract and the format that is shipped name the same fields.
#[test]
fn every_field_of_the_recommended_format_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let format = std::fs::read(root.join("integrations/consul/access-log-format.json")).unwrap();
    let format: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&format).unwrap();
    let contract = std::fs::read_to_string(root.join("docs/wire.md")).unwrap();
    for field in format.keys() {
        assert!(contract.contains(&format!("\n| `{field}` |")), "{field} has no row in docs/wire.md");
    }
}

// --- the table

fn table(decoded: &DecodedDelivery) -> String {
    let mut out = String::new();
    for leg in &decoded.legs {
        write_leg(&mut out, leg);
        out.push('\n');
    }
    for (line, reject) in &decoded.rejects {
        writeln!(out, "line {line} rejected, {}: {}", reject.reason, reject.detail).unwrap();
    }
    out
}

fn write_leg(out: &mut String, leg: &Leg) {
    let made_by = leg.made_by.map(|id| format!(", made by {}", short(id))).unwrap_or_default();
    writeln!(
        out,
        "line {} {} leg {} by {} {}{made_by}",
        leg.line.line,
        leg.side,
        short(leg.id),
        leg.observer.kind,
        leg.observer.name
    )
    .unwrap();
    writeln!(out, "  {} -> {}", party(leg.caller()), party(leg.callee())).unwrap();
    row(
        out,
        "request",
        [
            Some(leg.protocol.to_string()),
            leg.method.clone(),
            leg.authority.clone(),
            leg.path.clone(),
            leg.status.map(|s| s.to_string()),
            leg.grpc_status.map(|s| format!("grpc {s}")),
            (!leg.flags.0.is_empty()).then(|| leg.flags.0.clone()),
        ],
    );
    row(
        out,
        "time",
        [
            Some(leg.start.to_string()),
            leg.duration_us.map(|us| format!("+{us}us")),
            leg.attempts.filter(|n| *n != 1).map(|n| format!("attempts {n}")),
            leg.request_body_bytes.map(|n| format!("received {n}")),
            leg.response_body_bytes.map(|n| format!("sent {n}")),
        ],
    );
    row(
        out,
        "details",
        [leg.response_details.clone(), leg.termination_details.clone(), leg.transport_failure.clone()],
    );
    write_keys(out, leg);
    row(out, "verdict", [leg.verdict.as_ref().map(|v| effect(v.allowed, v.policy.as_deref(), None))]);
    row(
        out,
        "edge",
        [
            leg.edge_principal
                .as_ref()
                .map(|p| format!("{}:{} of {}", p.kind, p.subject, p.issuer.as_deref().unwrap_or("?"))),
            leg.edge_decision.as_ref().map(|d| effect(d.allowed, d.policy.as_deref(), d.reason.as_deref())),
            leg.worker_outcome.as_ref().map(|o| format!("outcome {o}")),
            leg.truncated.then(|| "truncated".to_owned()),
            leg.sequence.map(|q| format!("q {q}")),
        ],
    );
}

fn write_keys(out: &mut String, leg: &Leg) {
    row(
        out,
        "keys",
        [
            leg.trace.map(|t| format!("trace {}-{}", t.trace_id, t.parent_id)),
            leg.span_id.map(|s| format!("span {s}")),
            leg.parent_span_id.map(|s| format!("parent span {s}")),
            leg.request_id.as_ref().map(|r| format!("rid {r}")),
        ],
    );
    row(
        out,
        "rays",
        [
            leg.ray.as_ref().map(|r| format!("ray {r}")),
            leg.colo.as_ref().map(|c| format!("colo {c}")),
            leg.parent_ray.as_ref().map(|r| format!("parent ray {r}")),
        ],
    );
    row(
        out,
        "hops",
        [
            leg.hop.as_ref().map(|h| format!("hop {h}")),
            leg.parent_hop.as_ref().map(|h| format!("parent hop {h}")),
        ],
    );
    row(
        out,
        "socket",
        [
            leg.socket.as_ref().map(|s| format!("{} > {}", s.client, s.server)),
            leg.connection_id.map(|n| format!("connection {n}")),
        ],
    );
    let certificate = &leg.peer_certificate;
    row(
        out,
        "peer certificate",
        [
            certificate.serial.as_ref().map(|s| format!("serial {s}")),
            certificate.not_before.map(|t| format!("from {t}")),
            certificate.not_after.map(|t| format!("until {t}")),
        ],
    );
    row(
        out,
        "header",
        [leg.header.as_ref().map(header), leg.malformed_header.as_ref().map(|h| format!("malformed {h:?}"))],
    );
}

fn row<const N: usize>(out: &mut String, label: &str, cells: [Option<String>; N]) {
    let cells: Vec<String> = cells.into_iter().flatten().collect();
    if !cells.is_empty() {
        writeln!(out, "  {label}: {}", cells.join(" ")).unwrap();
    }
}

fn short(id: LegId) -> String {
    id.to_string()[..8].to_owned()
}

/// Trust domains of the lab are long random names; their first digits tell them apart.
fn party(identity: &Identity) -> String {
    let Identity { kind, name, spiffe_id, assurance } = identity;
    let id = spiffe_id.as_ref().map(|id| {
        let domain = id.trust_domain();
        format!(" {}", id.as_str().replace(domain, &domain[..8]))
    });
    format!("{kind} {name} ({assurance}{})", id.unwrap_or_default())
}

fn effect(allowed: bool, rule: Option<&str>, reason: Option<&str>) -> String {
    let words = [Some(if allowed { "allow" } else { "deny" }), rule, reason];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn header(h: &SignedPrincipal) -> String {
    format!(
        "{} {}:{} for {}-{} issued {}",
        h.version, h.principal_kind, h.subject, h.trace_id, h.span_id, h.issued_at
    )
}
