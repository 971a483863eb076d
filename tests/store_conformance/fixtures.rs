//! Deliveries and calls to tell stories with.

use calltrail::evidence::delivery_id;
use calltrail::model::*;
use calltrail::store::{Change, CoverageDelta, IndexedCall, Position, Store};

/// 2026-11-24T02:00:00Z: the start of an hour.
pub const HOUR: Timestamp = Timestamp(1_795_485_600_000_000);
/// Long after everything has settled.
pub const LATER: Timestamp = Timestamp(HOUR.0 + 10 * 3_600_000_000);

pub fn delivery(source: &str, lines: &[&[u8]]) -> Delivery {
    let body = lines.join(&b'\n');
    Delivery {
        id: delivery_id(source, None, &body),
        source: source.to_owned(),
        proxy: None,
        received_at: HOUR.plus_us(7),
        lines: lines.iter().map(|line| line.to_vec()).collect(),
    }
}

pub fn id(n: u32) -> LegId {
    let mut bytes = [0x11; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    LegId(bytes)
}

pub fn service(name: &str) -> Identity {
    Identity {
        kind: IdentityKind::Service,
        name: name.to_owned(),
        spiffe_id: Some(format!("spiffe://td.consul/ns/default/dc/dc1/svc/{name}").parse().unwrap()),
        assurance: Assurance::Mtls,
    }
}

/// A leg about which only the least is known.
pub fn bare_leg(id: LegId, side: Side) -> LegFields {
    LegFields {
        id,
        line: LineRef {
            source: "mesh".into(),
            delivery: 1,
            line: 1,
            line_sha256: LineHash([3; 32]),
            received_at: HOUR,
        },
        side,
        observer: Observer { kind: ObserverKind::Sidecar, name: "web-sidecar-1".to_owned() },
        made_by: None,
        local: Identity::unknown(),
        peer: Identity::unknown(),
        peer_certificate: Certificate::default(),
        protocol: Protocol::Tcp,
        start: HOUR,
        duration_us: None,
        method: None,
        authority: None,
        path: None,
        status: None,
        grpc_status: None,
        flags: ResponseFlags::default(),
        response_details: None,
        termination_details: None,
        transport_failure: None,
        attempts: Some(1),
        request_body_bytes: None,
        response_body_bytes: None,
        trace: None,
        span_id: None,
        parent_span_id: None,
        request_id: None,
        ray: None,
        parent_ray: None,
        colo: None,
        hop: None,
        parent_hop: None,
        header_logged: false,
        header: None,
        malformed_header: None,
        socket: None,
        connection_id: None,
        verdict: None,
        edge_principal: None,
        edge_decision: None,
        worker_outcome: None,
        truncated: false,
        sequence: None,
    }
}

/// A leg that says all that a leg can say, a different value in each field.
pub fn full_leg(id_number: u32) -> Leg {
    let text = |text: &str| Some(text.to_owned());
    let fields = LegFields {
        made_by: Some(id(99)),
        local: service("web"),
        peer: Identity {
            kind: IdentityKind::External,
            assurance: Assurance::Address,
            spiffe_id: None,
            name: "198.51.100.7".into(),
        },
        peer_certificate: Certificate {
            serial: text("0a:1b"),
            not_before: Some(HOUR.plus_us(-5)),
            not_after: Some(HOUR.plus_us(5)),
        },
        protocol: Protocol::Http2,
        start: Timestamp(-1),
        duration_us: Some(1_234),
        method: text("POST"),
        authority: text("api.example"),
        path: text("/grüße \0"),
        status: Some(503),
        grpc_status: Some(14),
        flags: ResponseFlags("UF,URX".to_owned()),
        response_details: text("upstream_reset"),
        termination_details: text("rbac_access_denied_matched_policy[none]"),
        transport_failure: text("TLS_error"),
        attempts: Some(3),
        request_body_bytes: Some(u64::MAX),
        response_body_bytes: Some(0),
        trace: Some(TraceContext { trace_id: TraceId([1; 16]), parent_id: SpanId([2; 8]) }),
        span_id: Some(SpanId([3; 8])),
        parent_span_id: Some(SpanId([4; 8])),
        request_id: text("11111111-2222-4333-8444-555555555555"),
        ray: text("8c0ffee"),
        parent_ray: text("8c0ffed"),
        colo: text("FRA"),
        hop: text("hop"),
        parent_hop: text("parent hop"),
        header_logged: true,
        header: Some(SignedPrincipal {
            trace_id: TraceId([5; 16]),
            span_id: SpanId([6; 8]),
            principal_kind: "user".into(),
            subject: "u-1".into(),
            issued_at: HOUR,
            version: "v2".into(),
            key_id: text("k1"),
            audience: text("mesh"),
            signature: "sig".into(),
            signed_text: "v2.text".into(),
        }),
        malformed_header: text("v9;"),
        socket: Some(SocketPair { client: "10.0.0.1:4000".into(), server: "10.0.0.2:20000".into() }),
        connection_id: Some(77),
        verdict: Some(Verdict { allowed: false, policy: text("consul-intentions-layer4") }),
        edge_principal: Some(Principal { kind: "user".into(), subject: "u-1".into(), issuer: text("idp") }),
        edge_decision: Some(EdgeDecision { allowed: true, policy: text("p"), reason: text("r") }),
        worker_outcome: text("exception"),
        truncated: true,
        sequence: Some(4),
        ..bare_leg(id(id_number), Side::Server)
    };
    fields.into()
}

/// A call from `web` to `api` of one leg, starting `at_us` after the hour.
pub fn call(n: u32, at_us: i64) -> Call {
    let start = HOUR.plus_us(at_us);
    Call {
        id: id(n),
        trace_id: None,
        parent_id: None,
        parent_inferred: false,
        caller: service("web"),
        callee: service("api"),
        principal: None,
        claimed: None,
        protocol: Protocol::Http1,
        method: Some("GET".to_owned()),
        authority: None,
        path: Some("/".to_owned()),
        start,
        decisions: Vec::new(),
        outcome: Outcome {
            status: Some(200),
            grpc_status: None,
            flags: Vec::new(),
            attempts: 1,
            duration_us: None,
            request_body_bytes: None,
            response_body_bytes: None,
            stopped_at: None,
            stopped_why: None,
        },
        basis: Basis::Single,
        confidence_ppm: 1_000_000,
        ambiguous: 1,
        settles_at: start.plus_us(120_000_000),
        amended: false,
        findings: Vec::new(),
        legs: vec![LegFields { start, ..bare_leg(id(n), Side::Client) }.into()],
    }
}

pub fn principal(subject: &str) -> CallPrincipal {
    CallPrincipal {
        principal: Principal { kind: "user".into(), subject: subject.into(), issuer: Some("idp".into()) },
        attribution: Attribution::Inherited,
        assurance: Assurance::Jwt,
    }
}

pub fn decision(effect: Effect, leg: LegId) -> Decision {
    Decision { judge: Judge::Intention, effect, rule: Some("layer4".into()), reason: None, leg }
}

pub fn finding(kind: FindingKind, severity: Severity) -> Finding {
    Finding {
        kind,
        severity,
        sentence: format!("{kind} on this call."),
        evidence: vec![id(1)],
        raised_at: HOUR,
        absent_observer: None,
        absent_instance: None,
    }
}

pub fn indexed(call: Call) -> IndexedCall {
    IndexedCall { call: call.into(), keys: Vec::new(), orphan: false }
}

/// The correlator writes a change from where it stands.
pub async fn derive(store: &Store, change: Change) -> Position {
    let at = store.take_correlator().await.unwrap();
    let change = Change { epoch: at.epoch, from: at.number, to: at.number + 1, ..change };
    store.apply(&change).await.unwrap();
    Position { number: change.to, epoch: at.epoch }
}

pub async fn derive_calls(store: &Store, calls: impl IntoIterator<Item = Call>) -> Position {
    let upserts = calls.into_iter().map(indexed).collect();
    derive(store, Change { upserts, ..Change::default() }).await
}

pub fn ids<C: std::borrow::Borrow<Call>>(calls: &[C]) -> Vec<LegId> {
    calls.iter().map(|c| c.borrow().id).collect()
}

/// Of the hour: inbound expected and seen, outbound expected and seen.
pub fn coverage(identity: &str, counts: [i64; 4]) -> CoverageDelta {
    let [inbound_expected, inbound_seen, outbound_expected, outbound_seen] = counts;
    CoverageDelta {
        identity: identity.to_owned(),
        hour: HOUR,
        inbound_expected,
        inbound_seen,
        outbound_expected,
        outbound_seen,
    }
}
