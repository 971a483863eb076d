//! What somebody outside the chain of custody can make calltrail claim: nothing.
//!
//! Each story takes real lines of one request from the bundled capture, and changes them as an attacker would.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use calltrail::correlate::coverage::{Coverage, count};
use calltrail::correlate::facts::Facts;
use calltrail::correlate::rules::{HeaderKey, KeyMaterial};
use calltrail::correlate::why::Joined;
use calltrail::correlate::{Rules, assemble};
use calltrail::decode::{decode_delivery, frame};
use calltrail::model::{
    Attribution, Basis, Call, Delivery, DeliveryId, FindingKind, Leg, ObserverKind, Timestamp,
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::io::Read;
use std::path::Path;

/// Request id of one subrequest of the capture, and the ray of the visitor's request that caused it.
const REQUEST: &str = "d0cf12c2-1a4c-4cd7-a5dc-d09a47aeb7cf";
const RAY: &str = "9e1a1b3c4d635df4";

fn rules() -> Rules {
    let secret = KeyMaterial::HmacSha256(b"trail-key-fullstack-a".to_vec());
    Rules { header_keys: vec![HeaderKey { key_id: None, secret }], ..Rules::default() }
}

/// The first line of a file or folder of the capture that holds the text.
fn line(place: &str, text: &str) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo").join(place);
    let files = if root.is_dir() {
        let mut files: Vec<_> = std::fs::read_dir(&root).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        files
    } else {
        vec![root]
    };
    for file in files {
        let mut body = String::new();
        flate2::read::MultiGzDecoder::new(std::fs::File::open(file).unwrap())
            .read_to_string(&mut body)
            .unwrap();
        if let Some(line) = body.lines().find(|l| l.contains(text)) {
            return serde_json::from_str(line).unwrap();
        }
    }
    panic!("no line of {place} holds {text}")
}

fn gateway_line() -> Value {
    line("mesh/gw.jsonl.gz", REQUEST)
}

fn with(mut line: Value, changes: &[(&str, Value)]) -> Value {
    for (field, value) in changes {
        line[*field] = value.clone();
    }
    line
}

/// The Worker's event as Logpush delivers it when it has cut the logs after the head.
fn event_without_subrequests() -> Value {
    let mut event = line("worker", RAY);
    event["Logs"].as_array_mut().unwrap().truncate(1);
    event["Logs"].as_array_mut().unwrap().push(json!("<<<Logpush: messages truncated>>>"));
    event
}

fn joined(lines: &[Value], rules: &Rules) -> Vec<Call> {
    let (legs, facts) = decoded(lines);
    assemble(legs, &facts, rules)
}

fn decoded(lines: &[Value]) -> (Vec<Leg>, Facts) {
    let body: Vec<String> = lines.iter().map(Value::to_string).collect();
    let delivery = Delivery {
        id: DeliveryId([0; 32]),
        source: "test".to_owned(),
        proxy: None,
        received_at: Timestamp(1_795_490_000_000_000),
        lines: frame::split(body.join("\n").as_bytes(), usize::MAX).unwrap(),
    };
    let decoded = decode_delivery(&delivery, 1);
    assert_eq!(decoded.rejects, vec![]);
    let mut facts = Facts::default();
    facts.add_legs(&decoded.legs);
    (decoded.legs, facts)
}

/// The call that came in at the gateway from this address.
fn entry<'a>(calls: &'a [Call], client: &str) -> &'a Call {
    let from = |c: &&Call| {
        c.legs.iter().any(|l| l.is_entry() && l.socket.as_ref().is_some_and(|s| s.client == client))
    };
    calls.iter().find(from).unwrap_or_else(|| panic!("no call from {client}"))
}

fn has(call: &Call, kind: FindingKind) -> bool {
    call.findings.iter().any(|f| f.kind == kind)
}

const ATTACKER: &str = "203.0.113.66:55555";

/// What an outsider who saw a signed request sends to the gateway: new connection, new request id, the same header.
fn copy_of(line: Value) -> Value {
    let changes = [
        ("unique_id", json!("00000000-0000-4000-8000-000000000001")),
        ("request_id", json!("00000000-0000-4000-8000-000000000002")),
        ("cf_ray", Value::Null),
        ("start_time", json!("2026-11-24T02:56:51.145000Z")),
        ("downstream_direct_remote_address", json!(ATTACKER)),
        ("upstream_local_address", json!("127.0.0.1:50001")),
    ];
    with(line, &changes)
}

#[test]
fn a_copied_header_gets_no_principal_even_where_the_workers_record_was_cut_off() {
    let genuine = gateway_line();
    let genuine_client = genuine["downstream_direct_remote_address"].as_str().unwrap().to_owned();
    let calls = joined(&[event_without_subrequests(), genuine.clone(), copy_of(genuine)], &rules());
    assert!(entry(&calls, &genuine_client).principal.is_some(), "the request it was issued for keeps it");
    let copy = entry(&calls, ATTACKER);
    assert_eq!(copy.principal, None);
    assert_eq!(copy.parent_id, None);
    assert_eq!(copy.caller.name, "203.0.113.66");
    assert!(
        copy.claimed.is_some() && has(copy, FindingKind::ReplayedHeader) && has(copy, FindingKind::Bypass)
    );
    let passed_on = calls.iter().find(|c| c.parent_id == Some(copy.id)).expect("what the gateway made of it");
    assert_eq!(passed_on.principal, None);
}

#[test]
fn the_workers_ids_without_its_signature_are_at_most_presumed() {
    let unsigned = with(
        gateway_line(),
        &[("calltrail", Value::Null), ("downstream_direct_remote_address", json!(ATTACKER))],
    );
    let calls = joined(&[line("worker", RAY), unsigned], &rules());
    let attribution = entry(&calls, ATTACKER).principal.as_ref().map(|p| p.attribution);
    assert_eq!(attribution, Some(Attribution::Presumed));
}

#[test]
fn the_workers_ids_without_signature_or_record_are_a_bypass() {
    let unsigned = with(
        gateway_line(),
        &[("calltrail", Value::Null), ("downstream_direct_remote_address", json!(ATTACKER))],
    );
    let zone = line("zone", REQUEST);
    let calls = joined(&[event_without_subrequests(), zone, unsigned], &rules());
    let call = entry(&calls, ATTACKER);
    assert_eq!(call.principal, None);
    assert!(has(call, FindingKind::Bypass));
}

#[test]
fn a_header_of_a_version_that_no_key_covers_is_forged() {
    let ed25519 = HeaderKey { key_id: Some("a".to_owned()), secret: KeyMaterial::Ed25519([7; 32]) };
    let rules = Rules { header_keys: vec![ed25519], ..Rules::default() };
    let calls = joined(&[event_without_subrequests(), copy_of(gateway_line())], &rules);
    let call = entry(&calls, ATTACKER);
    assert_eq!(call.principal, None);
    assert!(has(call, FindingKind::ForgedHeader) && has(call, FindingKind::Bypass));
}

#[test]
fn without_any_key_a_gateway_line_alone_is_at_most_presumed() {
    let calls = joined(&[event_without_subrequests(), gateway_line()], &Rules::default());
    let entry = calls.iter().find(|c| c.legs.iter().any(|l| l.is_entry())).unwrap();
    assert_eq!(entry.principal.as_ref().map(|p| p.attribution), Some(Attribution::Presumed));
}

#[test]
fn a_header_signed_long_before_it_enters_is_a_replay() {
    let late = with(copy_of(gateway_line()), &[("start_time", json!("2026-11-24T09:00:00.000000Z"))]);
    let calls = joined(&[late], &rules());
    let call = entry(&calls, ATTACKER);
    assert_eq!(call.principal, None);
    assert!(has(call, FindingKind::ReplayedHeader));
}

#[test]
fn a_fresh_signature_alone_names_the_principal_as_signed() {
    let calls = joined(&[gateway_line()], &rules());
    let call = calls.iter().find(|c| c.legs.iter().any(|l| l.is_entry())).unwrap();
    assert_eq!(call.principal.as_ref().map(|p| p.attribution), Some(Attribution::Signed));
    assert!(has(call, FindingKind::EdgeUnwitnessed));
}

#[test]
fn a_visitor_cannot_choose_a_principal_or_a_parent_by_a_header() {
    let header = gateway_line()["calltrail"].clone();
    let mut eyeball = line("zone", "\"ClientRequestSource\":\"eyeball\"");
    eyeball["RayID"] = json!("9e1a1b3c4dffffff");
    eyeball["EdgeStartTimestamp"] = json!("2026-11-24T02:56:51.135Z");
    eyeball["EdgeEndTimestamp"] = json!("2026-11-24T02:56:51.140Z");
    eyeball["RequestHeaders"] = json!({ "x-calltrail-principal": header });
    let calls = joined(&[event_without_subrequests(), eyeball], &rules());
    let zone = calls.iter().find(|c| c.legs.iter().all(|l| l.observer.kind == ObserverKind::Zone)).unwrap();
    assert_eq!((zone.parent_id, &zone.principal), (None, &None));
}

/// The line of the sidecar in front of the service that the gateway called.
fn service_line() -> Value {
    line("mesh/catalog-sidecar-proxy.jsonl.gz", "780185df-cb7d-4087-b8e9-61fc19de5a91")
}

/// What the same gateway sent for somebody else over the same connection, five seconds before.
fn earlier_on_the_same_connection() -> Value {
    let changes = [
        ("unique_id", json!("00000000-0000-4000-8000-000000000003")),
        ("request_id", json!("00000000-0000-4000-8000-000000000004")),
        ("traceparent", json!("00-a7de4f937c5e8afcc682c2e88cf343ea-00000000000000aa-01")),
        ("calltrail", Value::Null),
        ("cf_ray", Value::Null),
        ("start_time", json!("2026-11-24T02:56:46.132715Z")),
        ("downstream_direct_remote_address", json!("172.71.0.9:40000")),
    ];
    with(gateway_line(), &changes)
}

fn received_by_service(calls: &[Call]) -> &Call {
    let lone = |c: &&Call| c.legs.iter().all(|l| l.is_mesh_server()) && c.callee.name == "catalog";
    calls.iter().find(lone).expect("the service's line alone")
}

#[test]
fn where_the_gateways_line_is_lost_the_workers_record_is_the_parent_and_no_other_request_of_its_trace() {
    let calls = joined(&[line("worker", RAY), earlier_on_the_same_connection(), service_line()], &rules());
    let call = received_by_service(&calls);
    let parent = calls.iter().find(|c| Some(c.id) == call.parent_id).expect("a parent");
    assert!(parent.legs.iter().all(|l| l.observer.kind == ObserverKind::Worker), "{parent:?}");
    assert_eq!(call.principal.as_ref().map(|p| p.attribution), Some(Attribution::Presumed));
    assert!(!has(call, FindingKind::ReplayedHeader) && !has(call, FindingKind::BrokenChain));
}

#[test]
fn a_gateway_that_passed_a_request_on_did_not_make_a_second_call_of_it() {
    let genuine = [line("worker", RAY), gateway_line(), service_line()];
    // Somebody sent a copy of everything to the gateway, whose line of that is lost.
    let copied = [
        ("unique_id", json!("00000000-0000-4000-8000-000000000005")),
        ("start_time", json!("2026-11-24T02:56:51.137001Z")),
    ];
    let calls = joined(&[&genuine[..], &[with(service_line(), &copied)]].concat(), &rules());
    let copy = received_by_service(&calls);
    assert_eq!((copy.parent_id, &copy.principal), (None, &None));
    assert!(has(copy, FindingKind::ReplayedHeader));
}

#[test]
fn what_a_worker_without_a_ray_sent_is_witnessed_by_the_zone_all_the_same() {
    let mut zone = line("zone", REQUEST);
    zone.as_object_mut().unwrap().remove("ParentRayID");
    let calls = joined(&[line("worker", RAY), zone, gateway_line()], &rules());
    let of_zone = |c: &&Call| c.legs.iter().any(|l| l.observer.kind == ObserverKind::Zone);
    let witnessed = calls.iter().find(of_zone).unwrap();
    assert_eq!(witnessed.legs.len(), 3, "the Worker's record, the zone's and the gateway's");
    assert!(!has(witnessed, FindingKind::ReplayedHeader));
}

#[test]
fn a_gateway_line_that_lost_its_headers_accuses_nobody_below_it() {
    let lost = ["request_id", "traceparent", "calltrail", "cf_ray"].map(|field| (field, Value::Null));
    let rules = Rules { edge_fronted: vec!["catalog".to_owned()], ..rules() };
    let calls = joined(&[line("worker", RAY), with(gateway_line(), &lost), service_line()], &rules);
    let call = calls.iter().find(|c| c.caller.name == "gw" && c.callee.name == "catalog").unwrap();
    assert!(call.parent_id.is_some());
    for kind in [FindingKind::Bypass, FindingKind::ReplayedHeader, FindingKind::BrokenChain] {
        assert!(!has(call, kind), "{kind}");
    }
}

/// The header that the edge's key makes for this principal on the request of [`gateway_line`].
fn signed_for(kind: &str, subject: &str) -> Value {
    let (trace, span) = ("a7de4f937c5e8afcc682c2e88cf343ea", "108bb395ed9f5590");
    let issued_ms = 1_795_489_011_131_i64;
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(b"trail-key-fullstack-a").unwrap();
    mac.update(format!("{trace}.{span}.{kind}:{subject}.{issued_ms}").as_bytes());
    let text = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    json!(format!("v1;c={trace}-{span};p={kind}:{subject};t={issued_ms};m={}", &text[..22]))
}

#[test]
fn a_header_that_a_worker_signed_for_the_worker_that_called_it_names_no_user() {
    let of = |kind: &str, subject: &str| {
        let line = with(gateway_line(), &[("calltrail", signed_for(kind, subject))]);
        let calls = joined(&[line], &rules());
        calls.into_iter().find(|c| c.legs.iter().any(|l| l.is_entry())).unwrap()
    };
    let of_user = of("user", "BIe_W9tp9xNA2cFA-mdUql");
    assert_eq!(of_user.principal.map(|p| p.attribution), Some(Attribution::Signed));
    let of_worker = of("worker", "edge");
    assert_eq!((&of_worker.principal, &of_worker.claimed), (&None, &None));
    assert!(!has(&of_worker, FindingKind::Bypass) && !has(&of_worker, FindingKind::IdentityMismatch));
}

fn catalog_to_billing() -> Value {
    line("mesh/catalog-sidecar-proxy.jsonl.gz", "3ad65550-8ca8-4975-8b43-6b81930c68fc")
}

fn billing_line() -> Value {
    line("mesh/billing-sidecar-proxy.jsonl.gz", "98e0ea77-ab02-44c1-b795-42d35a6f7597")
}

const ANOTHER_ID: &str = "00000000-0000-4000-8000-00000000000a";
const ANOTHER_TRACE: &str = "00-000000000000000000000000000000aa-00000000000000aa-01";

/// What catalog's proxy sent for somebody else over the same connection, five seconds before.
fn earlier_from_catalog() -> Value {
    let changes = [
        ("unique_id", json!("00000000-0000-4000-8000-000000000006")),
        ("request_id", json!("00000000-0000-4000-8000-000000000007")),
        ("traceparent", json!(ANOTHER_TRACE)),
        ("calltrail", Value::Null),
        ("cf_ray", Value::Null),
        ("start_time", json!("2026-11-24T02:56:46.138878Z")),
    ];
    with(catalog_to_billing(), &changes)
}

/// Calls of a whole request down to catalog, and these lines below it.
fn below_catalog(lines: &[Value]) -> Vec<Call> {
    let whole = [line("worker", RAY), gateway_line(), service_line(), earlier_from_catalog()];
    joined(&[&whole[..], lines].concat(), &rules())
}

fn received_by_billing(calls: &[Call]) -> &Call {
    let by_billing = |c: &&Call| c.legs.iter().any(|l| l.is_mesh_server()) && c.callee.name == "billing";
    calls.iter().find(by_billing).expect("billing's line")
}

#[test]
fn where_the_callers_line_is_missing_another_id_or_no_header_inherits_nothing() {
    let calls = below_catalog(&[billing_line()]);
    assert!(received_by_billing(&calls).principal.is_some(), "the same id and header do");
    for (field, value) in [("request_id", json!(ANOTHER_ID)), ("calltrail", Value::Null)] {
        let calls = below_catalog(&[with(billing_line(), &[(field, value)])]);
        assert_eq!(received_by_billing(&calls).principal, None, "{field}");
    }
}

#[test]
fn a_header_on_a_request_of_another_id_and_another_trace_inherits_nothing() {
    let ids = [("request_id", json!(ANOTHER_ID)), ("traceparent", json!(ANOTHER_TRACE))];
    let calls = below_catalog(&[with(catalog_to_billing(), &ids), with(billing_line(), &ids)]);
    assert_eq!(received_by_billing(&calls).principal, None);
    let calls = below_catalog(&[with(catalog_to_billing(), &ids[..1]), with(billing_line(), &ids[..1])]);
    assert!(received_by_billing(&calls).principal.is_some(), "an application may give each call its own id");
}

#[test]
fn what_went_round_its_proxy_is_held_against_it_by_what_is_known_of_its_connections() {
    let unknown = with(billing_line(), &[("downstream_direct_remote_address", json!("127.0.0.1:58999"))]);
    let calls = below_catalog(&[unknown]);
    for kind in [FindingKind::BrokenChain, FindingKind::ReplayedHeader] {
        let finding = received_by_billing(&calls).findings.iter().find(|f| f.kind == kind);
        let absent = finding.and_then(|f| f.absent_observer.as_deref()).unwrap_or_default();
        assert!(absent.starts_with("connections of spiffe://"), "{kind}: {absent}");
    }
}

/// The Worker's log of a request was cut, and somebody inside the mesh copies its trace to reach what only the edge may.
#[test]
fn a_trace_whose_log_was_cut_is_no_way_round_the_edge() {
    let mut rules = rules();
    rules.edge_fronted = vec!["billing".to_owned()];
    let copied = with(
        billing_line(),
        &[("calltrail", Value::Null), ("request_id", json!("11111111-2222-4333-8444-555555555555"))],
    );
    let calls = joined(
        &[
            event_without_subrequests(),
            with(copied, &[("traceparent", gateway_line()["traceparent"].clone())]),
        ],
        &rules,
    );
    assert!(has(received_by_billing(&calls), FindingKind::Bypass), "{calls:#?}");
}

/// What another service sends to catalog, with everything that it has copied of the request that catalog is serving.
fn thief(changes: &[(&str, Value)]) -> Value {
    let copied = [
        ("unique_id", json!("00000000-0000-4000-8000-000000000008")),
        (
            "downstream_peer_uri_san",
            json!("spiffe://0e764799-5b37-d4f2-8a08-fd145694ce35.consul/ns/default/dc/dc1/svc/thief"),
        ),
        ("downstream_direct_remote_address", json!("127.0.0.77:40000")),
        ("path", json!("/price/1")),
        ("start_time", json!("2026-11-24T02:56:51.135000Z")),
        ("duration_ms", json!(8)),
    ];
    with(with(service_line(), &copied), changes)
}

fn received_from_thief(calls: &[Call]) -> &Call {
    calls.iter().find(|c| c.caller.name == "thief").expect("the thief's call")
}

#[test]
fn nobody_is_named_for_what_a_request_or_a_copy_of_it_may_have_caused() {
    let below = [catalog_to_billing(), billing_line()];
    let served_together = below_catalog(&[&below[..], &[thief(&[])]].concat());
    let call = received_by_billing(&served_together);
    assert_eq!(call.principal, None);
    assert_eq!(call.claimed.as_ref().map(|p| p.subject.as_str()), Some("mbcGhAYEyvbyM5Lv0B1vl4"));
    assert!(!has(call, FindingKind::ReplayedHeader) && !has(call, FindingKind::BrokenChain));
    assert_eq!(received_from_thief(&served_together).principal, None);

    let over = thief(&[("duration_ms", json!(1))]);
    let calls = below_catalog(&[&below[..], &[over]].concat());
    assert!(received_by_billing(&calls).principal.is_some(), "the copy had been answered before");
}

#[test]
fn what_a_forged_header_led_to_is_not_the_work_of_the_request_whose_trace_and_span_it_names() {
    let genuine = service_line()["calltrail"].as_str().unwrap().to_owned();
    let forged = [("calltrail", json!(genuine.replace("service:mbc", "service:abc")))];
    let below = [with(catalog_to_billing(), &forged), with(billing_line(), &forged), thief(&forged)];
    let calls = below_catalog(&below);
    let call = received_by_billing(&calls);
    assert_eq!((call.parent_id, &call.principal), (Some(received_from_thief(&calls).id), &None));
}

#[test]
fn where_no_clock_tells_a_request_at_the_gateway_from_its_copy_none_is_named_and_none_accused() {
    // Everything is copied, path and ids included, and sent to another gateway two seconds later.
    let copied = |start: &str| {
        let changes = [
            ("unique_id", json!("00000000-0000-4000-8000-000000000009")),
            ("node_id", json!("gw-other")),
            ("downstream_direct_remote_address", json!(ATTACKER)),
            ("upstream_local_address", json!("127.0.0.1:50001")),
            ("start_time", json!(start)),
        ];
        with(gateway_line(), &changes)
    };
    let copy = copied("2026-11-24T02:56:53.145000Z");
    let calls = joined(&[line("worker", RAY), gateway_line(), copy.clone()], &rules());
    assert!(has(entry(&calls, ATTACKER), FindingKind::ReplayedHeader), "the Worker's clock tells the copy");
    assert!(calls.iter().any(|c| c.legs.iter().any(Leg::is_entry) && c.principal.is_some()));

    let late = with(gateway_line(), &[("start_time", json!("2026-11-24T02:56:54.132000Z"))]);
    for call in joined(&[line("worker", RAY), late, copy], &rules()) {
        if call.legs.iter().any(Leg::is_entry) {
            assert_eq!(call.principal, None);
            assert!(!has(&call, FindingKind::ReplayedHeader) && !has(&call, FindingKind::Bypass));
        }
    }
}

/// Another call that catalog makes to billing within the same request: the line of each side, dated by its own clock.
fn catalog_asks_billing(path: &str, sent: &str, received: &str) -> [Value; 2] {
    let dated = |line: Value, side: &str, time: &str| {
        let changes = [
            ("unique_id", json!(format!("{side} {path}"))),
            ("path", json!(path)),
            ("start_time", json!(format!("2026-11-24T{time}Z"))),
            ("duration_ms", json!(1)),
        ];
        with(line, &changes)
    };
    [dated(catalog_to_billing(), "sent", sent), dated(billing_line(), "received", received)]
}

/// The call of this path to billing of which billing's own line tells.
fn received_at<'a>(calls: &'a [Call], path: &str) -> &'a Call {
    let at = |c: &&Call| c.legs.iter().any(|l| l.is_mesh_server()) && c.path.as_deref() == Some(path);
    calls.iter().find(at).unwrap_or_else(|| panic!("no line of billing's tells of {path}"))
}

/// What catalog received from the gateway.
fn received_from_gateway(calls: &[Call]) -> &Call {
    let at = |c: &&Call| c.caller.name == "gw" && c.callee.name == "catalog";
    calls.iter().find(at).expect("the gateway's call to catalog")
}

#[test]
fn the_hop_of_a_request_that_has_ended_names_nobody_for_what_is_sent_with_its_header_later() {
    let (served, sent) = ("0000000000000000000000000000000a", "0000000000000000000000000000000b");
    let joined_at = |sent_at: &str, received_at: &str| {
        let [client, server] = catalog_asks_billing("/rates/late", sent_at, received_at);
        let lines = [
            line("worker", RAY),
            gateway_line(),
            with(service_line(), &[("hop", json!(served))]),
            with(client, &[("hop", json!(sent)), ("parent_hop", json!(served))]),
            with(server, &[("hop", json!(sent)), ("parent_hop", json!(served))]),
        ];
        joined(&lines, &rules())
    };
    let calls = joined_at("02:56:51.140000", "02:56:51.140300");
    let call = received_at(&calls, "/rates/late");
    assert_eq!(call.parent_id, Some(received_from_gateway(&calls).id));
    assert!(call.principal.is_some(), "the request was being served");

    let calls = joined_at("02:56:53.140000", "02:56:53.140300");
    let call = received_at(&calls, "/rates/late");
    assert_eq!((call.parent_id, &call.principal), (None, &None));
}

#[test]
fn a_clock_that_was_set_back_while_a_request_was_served_orders_nothing_in_it() {
    // Catalog's clock was set back by 300 ms between its two calls: by its lines it made the second before it was asked.
    let before = catalog_asks_billing("/rates/before", "02:56:51.140000", "02:56:51.140300");
    let after = catalog_asks_billing("/rates/after", "02:56:50.844000", "02:56:51.144300");
    let calls = below_catalog(&[before, after].concat());
    let call = received_at(&calls, "/rates/after");
    assert_eq!(call.legs.len(), 2, "{call:#?}");
    assert_eq!(call.parent_id, Some(received_from_gateway(&calls).id));
    assert!(call.principal.is_some());
}

#[test]
fn what_a_copy_led_to_is_not_the_requests_because_the_callees_clock_was_set_back_to_its_time() {
    // Catalog serves the copy a second after the request. By then billing's clock has been set back by that second: no pair is made
    // of the two lines of what the copy led to, and billing's alone would have it under way with the request.
    let calls = below_catalog(
        &[
            &catalog_asks_billing("/rates/1", "02:56:51.138000", "02:56:51.138300")[..],
            &catalog_asks_billing("/rates/2", "02:56:51.141000", "02:56:51.141300"),
            &[thief(&[("start_time", json!("2026-11-24T02:56:52.138000Z"))])],
            &catalog_asks_billing("/rates/stolen", "02:56:52.140000", "02:56:51.140300"),
        ]
        .concat(),
    );
    let call = received_at(&calls, "/rates/stolen");
    assert_eq!(call.legs.len(), 1, "{call:#?}");
    assert_eq!((call.parent_id, &call.principal), (Some(received_from_thief(&calls).id), &None));
}

/// No id of the request is left on the line.
fn nameless(line: Value) -> Value {
    with(line, &["request_id", "traceparent", "calltrail", "cf_ray"].map(|field| (field, Value::Null)))
}

const CATALOG: &str = "spiffe://0e764799-5b37-d4f2-8a08-fd145694ce35.consul/ns/default/dc/dc1/svc/catalog";
const BILLING: &str = "spiffe://0e764799-5b37-d4f2-8a08-fd145694ce35.consul/ns/default/dc/dc1/svc/billing";

#[test]
fn what_a_call_itself_led_to_is_no_rival_of_what_caused_it() {
    // Catalog's line of its call to billing is lost, so that only clocks seconds apart could tell that billing's call back to catalog
    // came later.
    let back = [
        ("unique_id", json!("00000000-0000-4000-8000-00000000000b")),
        ("path", json!("/back")),
        ("start_time", json!("2026-11-24T02:56:51.141000Z")),
        ("duration_ms", json!(3)),
    ];
    let sent = [
        ("node_id", json!("billing-sidecar-proxy")),
        ("node_cluster", json!("billing")),
        (
            "upstream_cluster",
            json!("catalog.default.dc1.internal.0e764799-5b37-d4f2-8a08-fd145694ce35.consul"),
        ),
        ("upstream_host", json!("127.0.0.1:21003")),
        ("upstream_local_address", json!("127.0.0.1:59000")),
        ("upstream_local_uri_san", json!(BILLING)),
        ("upstream_peer_uri_san", json!(CATALOG)),
    ];
    let received = [
        ("downstream_direct_remote_address", json!("127.0.0.1:59000")),
        ("downstream_peer_uri_san", json!(BILLING)),
    ];
    let lines = [
        billing_line(),
        with(with(catalog_to_billing(), &back), &sent),
        with(with(service_line(), &back), &received),
    ];
    let calls = below_catalog(&lines);
    let call = received_by_billing(&calls);
    assert_eq!(call.parent_id, Some(received_from_gateway(&calls).id));
    assert!(call.principal.is_some(), "{call:#?}");
    let back = calls.iter().find(|c| c.path.as_deref() == Some("/back")).unwrap();
    assert_eq!((back.parent_id, back.legs.len()), (Some(call.id), 2));
    assert!(back.principal.is_some());
}

#[test]
fn who_contests_a_principal_is_told_with_the_call_and_the_line() {
    let whole = [line("worker", RAY), gateway_line(), service_line()];
    let (legs, facts) = decoded(&[&whole[..], &[catalog_to_billing(), billing_line(), thief(&[])]].concat());
    let rules = rules();
    let calls = assemble(legs.clone(), &facts, &rules);
    let (call, rival) = (received_by_billing(&calls), received_from_thief(&calls));
    let why = Joined::new(legs, &facts, &rules).explain(&call.legs[0].id, None).unwrap();
    let sentence = &why.principal.last().unwrap().sentence;
    for part in
        [&rival.id.to_string(), "from thief", "/price/1", "catalog-sidecar-proxy logged at", "nobody known"]
    {
        assert!(sentence.contains(part), "{part}: {sentence}");
    }
}

#[test]
fn what_came_over_another_gateways_connection_is_not_of_the_request_that_this_one_received() {
    let other = |line: Value| {
        let changes = [("node_id", json!("gw-other")), ("upstream_local_address", json!("127.0.0.1:38000"))];
        with(line, &changes)
    };
    // The other gateway's line of a copy is lost, and so is catalog's of the genuine request.
    let copy = [
        ("unique_id", json!("00000000-0000-4000-8000-00000000000c")),
        ("downstream_direct_remote_address", json!("127.0.0.1:38000")),
        ("start_time", json!("2026-11-24T02:56:51.137001Z")),
    ];
    let lines = [
        line("worker", RAY),
        gateway_line(),
        other(earlier_on_the_same_connection()),
        with(service_line(), &copy),
    ];
    let calls = joined(&lines, &rules());
    assert_eq!(received_by_service(&calls).principal, None);
}

#[test]
fn what_a_gateway_sent_to_another_path_was_not_made_of_the_request_for_this_one() {
    let copy = [
        ("unique_id", json!("00000000-0000-4000-8000-00000000000d")),
        ("path", json!("/items/999")),
        ("start_time", json!("2026-11-24T02:56:51.437001Z")),
    ];
    let calls = joined(&[line("worker", RAY), gateway_line(), with(service_line(), &copy)], &rules());
    assert_eq!(received_by_service(&calls).principal, None);
}

#[test]
fn what_the_zone_saw_a_worker_send_did_not_go_round_the_edge() {
    let rules = Rules { edge_fronted: vec!["catalog".to_owned()], ..rules() };
    let below = [earlier_on_the_same_connection(), service_line()];
    let calls = joined(&[&[line("zone", REQUEST)][..], &below].concat(), &rules);
    assert!(!has(received_by_service(&calls), FindingKind::Bypass));
    let calls = joined(&below, &rules);
    assert!(
        has(received_by_service(&calls), FindingKind::Bypass),
        "without it nothing shows where it came from"
    );
}

/// A call of catalog's a second after it had answered the request, by both ends; it carries the request's ids, and no header.
fn later_without_header() -> [Value; 2] {
    let lines = catalog_asks_billing("/rates/late", "02:56:52.140000", "02:56:52.140300");
    lines.map(|line| with(line, &[("calltrail", Value::Null)]))
}

#[test]
fn what_is_being_served_with_the_same_id_comes_before_what_had_ended() {
    let calls = below_catalog(&later_without_header());
    let call = received_at(&calls, "/rates/late");
    assert_eq!(call.principal.as_ref().map(|p| p.attribution), Some(Attribution::Deferred));
    // The line of the copy that catalog is serving by then names the request id only.
    let copy = thief(&[
        ("start_time", json!("2026-11-24T02:56:52.138000Z")),
        ("traceparent", Value::Null),
        ("calltrail", Value::Null),
        ("cf_ray", Value::Null),
    ]);
    let calls = below_catalog(&[&later_without_header()[..], &[copy]].concat());
    let call = received_at(&calls, "/rates/late");
    assert_eq!((call.parent_id, &call.principal), (Some(received_from_thief(&calls).id), &None));
}

#[test]
fn work_that_outlives_its_request_is_nobodys_where_lines_of_that_request_have_lost_their_ids() {
    let whole = [line("worker", RAY), gateway_line(), nameless(service_line())];
    let calls = joined(&[&whole[..], &later_without_header()].concat(), &rules());
    assert_eq!(received_at(&calls, "/rates/late").principal, None);
}

#[test]
fn a_gateway_line_without_the_header_that_the_edge_sends_may_be_a_copy_of_one_that_has_lost_its_ids() {
    let copy = with(copy_of(gateway_line()), &[("calltrail", Value::Null), ("request_id", json!(REQUEST))]);
    let sent = [line("worker", RAY), line("zone", REQUEST)];
    let calls = joined(&[&sent[..], &[nameless(gateway_line()), copy.clone()]].concat(), &rules());
    assert_eq!(entry(&calls, ATTACKER).basis, Basis::Inferred);
    let genuine = joined(&[&sent[..], &[gateway_line()]].concat(), &rules());
    assert!(genuine.iter().any(|c| c.legs.len() == 3 && c.basis == Basis::Keyed));
}

#[test]
fn an_id_that_is_handed_on_makes_no_pair_keyed_where_a_line_of_that_request_is_missing() {
    let http2 = |line: Value| with(line, &[("protocol", json!("HTTP/2"))]);
    let pair = catalog_asks_billing("/rates/1", "02:56:51.138000", "02:56:51.138300").map(http2);
    let above = [line("worker", RAY), gateway_line(), service_line(), earlier_from_catalog()];
    let basis = |lines: &[Value]| received_at(&joined(lines, &rules()), "/rates/1").basis;
    assert_eq!(basis(&[&above[..], &pair].concat()), Basis::Keyed);
    // Catalog's line of what it received is lost: so may be one of each end of a second such call.
    assert_eq!(basis(&[&above[..2], &above[3..], &pair].concat()), Basis::Inferred);
}

#[test]
fn whose_line_names_no_trace_is_not_accused_of_what_its_lines_do_not_show() {
    let other_id = [("request_id", json!(ANOTHER_ID))];
    let received = with(billing_line(), &other_id);
    let told = |sent: Value| {
        let calls = joined(&[line("worker", RAY), sent, received.clone()], &rules());
        let call = received_by_billing(&calls);
        assert_eq!(call.legs.len(), 2);
        (has(call, FindingKind::BrokenChain), has(call, FindingKind::ReplayedHeader))
    };
    let sent = with(catalog_to_billing(), &other_id);
    assert_eq!(told(sent.clone()), (true, true));
    let hidden = [("traceparent", Value::Null), ("calltrail", Value::Null), ("cf_ray", Value::Null)];
    assert_eq!(told(with(sent, &hidden)), (false, false));
}

#[test]
fn a_broken_chain_is_judged_by_how_often_the_callers_lines_show_what_the_other_end_shows() {
    let other_id = [("request_id", json!(ANOTHER_ID))];
    let attack = [with(catalog_to_billing(), &other_id), with(billing_line(), &other_id)];
    let calls = joined(&[&[line("worker", RAY)][..], &attack].concat(), &rules());
    let call = received_by_billing(&calls);
    let finding = call.findings.iter().find(|f| f.kind == FindingKind::BrokenChain).expect("a broken chain");
    let judged_by = finding.absent_instance.clone().unwrap();
    assert_eq!(judged_by, format!("chains of {CATALOG}"));
    assert_eq!(finding.absent_observer.as_deref(), Some(CATALOG));

    let chains = |lines: &[Value]| {
        let mut coverage = Coverage::new();
        joined(lines, &rules()).iter().for_each(|call| count(&mut coverage, call, 1));
        coverage.into_iter().find(|((key, _), _)| *key == judged_by).map(|(_, counts)| counts)
    };
    let whole = [line("worker", RAY), gateway_line(), service_line(), catalog_to_billing(), billing_line()];
    assert_eq!(chains(&whole), Some([2, 2, 0, 0]));
    let mut stripped = whole.clone();
    stripped[2] = nameless(service_line());
    assert_eq!(
        chains(&stripped),
        Some([2, 1, 0, 0]),
        "what the gateway sent with it, catalog's line has lost"
    );
    let bare = whole
        .map(|line| if line["ct"].is_string() { with(line, &[("calltrail", Value::Null)]) } else { line });
    assert_eq!(chains(&bare), None, "where nobody shows a header, nothing tells who hides one");
}

#[test]
fn where_no_proxy_saw_both_what_left_at_another_time_inherits_nothing() {
    // Catalog's line of what it received is lost: only the gateway's clock tells when it was working for the request.
    let at = |sent: &str, received: &str| {
        let lines = [line("worker", RAY), gateway_line(), earlier_from_catalog()];
        let calls =
            joined(&[&lines[..], &catalog_asks_billing("/rates/1", sent, received)].concat(), &rules());
        let call = received_at(&calls, "/rates/1").clone();
        assert_eq!(call.parent_id, Some(received_from_gateway(&calls).id));
        call.principal.is_some()
    };
    assert!(at("02:56:51.138000", "02:56:51.138300"));
    assert!(at("02:56:51.190000", "02:56:51.190300"), "clocks are rarely the same to the millisecond");
    assert!(
        !at("02:56:52.138000", "02:56:52.138300"),
        "a second later it may be of a copy of which no line is left"
    );
}
