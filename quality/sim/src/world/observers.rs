//! What each observer writes down: a line of the caller's proxy, one of the callee's per attempt that arrived, the Worker's event, the
//! zone's rows.

use super::dice::Dice;
use super::exchange::{App, Attempt, Exchange, Face, Verdict};
use super::headers::Headers;
use super::mesh::upstream_listener_port;
use super::topology::{Instance, Speaks, Topology};
use crate::records::{Direction, EnvoyRecord, Record, Role, WorkerEvent, ZoneRecord};
use serde_json::json;

/// The listener that Consul opens for other sidecars.
const PUBLIC_PORT: u16 = 20_000;
const GATEWAY_PORT: u16 = 18_443;
/// Applications listen from here on, in the order of the services.
const FIRST_APP_PORT: usize = 9_000;

pub fn tell(
    exchanges: &[Exchange],
    events: Vec<WorkerEvent>,
    rows: Vec<ZoneRecord>,
    topology: &Topology,
    dice: &mut Dice,
) -> Vec<Record> {
    let mut records: Vec<(i64, Record)> = Vec::with_capacity(exchanges.len() * 3);
    let mut envoy = |record: EnvoyRecord| {
        records.push((record.start_us + record.duration_us, Record::Envoy(record)));
    };
    for exchange in exchanges {
        if exchange.around.is_none() {
            envoy(caller_line(exchange, topology, dice));
        }
        for attempt in exchange.attempts.iter().filter(|a| a.reached) {
            envoy(callee_line(exchange, attempt, topology, dice));
        }
    }
    records.extend(events.into_iter().map(|event| (event.end_us, Record::Worker(event))));
    records.extend(rows.into_iter().map(|row| (row.end_us, Record::Zone(row))));
    records.sort_by_key(|(at_us, _)| *at_us);
    records.into_iter().map(|(_, record)| record).collect()
}

/// What a line of any side has in common.
fn line(
    exchange: &Exchange,
    of: &Instance,
    logged: &Headers,
    face: &Face,
    is_tcp: bool,
    dice: &mut Dice,
) -> EnvoyRecord {
    EnvoyRecord {
        proxy: of.proxy.clone(),
        direction: Direction::Outbound,
        calls: vec![exchange.call],
        role: Role::Caller,
        start_us: 0,
        duration_us: 0,
        unique_id: dice.uuid(),
        is_tcp,
        method: exchange.method.clone(),
        authority: exchange.authority.clone(),
        path: exchange.path.clone(),
        protocol: None,
        response_code: face.code,
        response_flags: face.flags.to_owned(),
        response_code_details: face.details.map(str::to_owned),
        connection_termination_details: face.termination.map(str::to_owned),
        upstream_transport_failure_reason: face.failure.map(str::to_owned),
        grpc_status: face.grpc_status,
        attempts: face.attempts,
        bytes_received: face.bytes_received,
        bytes_sent: face.bytes_sent,
        traceparent: logged.trace.as_ref().map(|t| t.traceparent()),
        tracestate: logged.tracestate.clone(),
        request_id: logged.request_id.clone(),
        cf_ray: logged.cf_ray.clone(),
        envoy_trace_id: logged.envoy_trace_id.clone(),
        downstream_peer_uri_san: None,
        downstream_local_uri_san: None,
        downstream_peer_serial: None,
        downstream_tls_version: None,
        upstream_peer_uri_san: None,
        upstream_local_uri_san: None,
        upstream_cluster: None,
        upstream_host: None,
        upstream_local_address: None,
        downstream_direct_remote_address: None,
        downstream_local_address: None,
        requested_server_name: None,
        connection_id: 0,
        rbac: None,
        calltrail: logged.calltrail.as_ref().map(|c| c.text.clone()),
        hop: logged.hop.clone(),
        parent_hop: logged.parent_hop.clone(),
        prints_hop: false,
        downstream_peer_certificate: None,
        upstream_peer_certificate: None,
        x_forwarded_for: logged.x_forwarded_for.clone(),
    }
}

fn protocol(speaks: Speaks) -> Option<String> {
    match speaks {
        Speaks::Tcp => None,
        Speaks::Http1 => Some("HTTP/1.1".to_owned()),
        Speaks::Http2 | Speaks::Grpc => Some("HTTP/2".to_owned()),
    }
}

fn caller_line(exchange: &Exchange, topology: &Topology, dice: &mut Dice) -> EnvoyRecord {
    let own = &topology.proxies[exchange.from];
    let service = topology.of(exchange.from);
    let callee = exchange.to.map(|to| &topology.services[to]);
    let speaks = callee.map_or(Speaks::Http1, |c| c.speaks);
    let is_tcp = speaks == Speaks::Tcp;
    let mut record = line(exchange, own, &exchange.logged, &exchange.face, is_tcp, dice);
    (record.start_us, record.duration_us) = (exchange.start_us, exchange.end_us - exchange.start_us);
    record.protocol = if own.proxy.is_gateway { protocol(Speaks::Http1) } else { protocol(speaks) };
    record.upstream_cluster = callee.map(|c| c.cluster.clone());
    record.prints_hop = service.prints_hop;
    if let Some(socket) = exchange.app_socket {
        record.connection_id = socket.connection_id;
        record.downstream_direct_remote_address = Some(match exchange.entry {
            Some(_) => format!("172.71.{}.10:{}", socket.serial % 4, socket.port),
            None => format!("127.0.0.1:{}", socket.port),
        });
    }
    record.downstream_local_address = Some(match exchange.to {
        _ if own.proxy.is_gateway => format!("{}:{GATEWAY_PORT}", own.proxy.address),
        Some(to) => format!("127.0.0.1:{}", upstream_listener_port(to)),
        None => format!("127.0.0.1:{}", upstream_listener_port(0)),
    });
    if let Some(entry) = exchange.entry {
        record.role = Role::Gateway;
        record.calls = if entry == exchange.call { vec![entry] } else { vec![entry, exchange.call] };
    }
    if let Some((last, to)) = exchange.attempts.last().and_then(|a| Some((a, a.to?))) {
        let peer = &topology.proxies[to];
        record.upstream_host = Some(format!("{}:{PUBLIC_PORT}", peer.proxy.address));
        if let Some(socket) = last.socket {
            record.upstream_local_address = Some(format!("{}:{}", own.proxy.address, socket.port));
            record.upstream_local_uri_san = Some(service.spiffe_id.clone());
            record.upstream_peer_uri_san = callee.map(|c| c.spiffe_id.clone());
            record.upstream_peer_certificate = Some(peer.certificate);
        }
    }
    record
}

fn callee_line(exchange: &Exchange, attempt: &Attempt, topology: &Topology, dice: &mut Dice) -> EnvoyRecord {
    let to = attempt.to.expect("an attempt that arrived has somebody who received it");
    let own = &topology.proxies[to];
    let service = topology.of(to);
    let is_tcp = service.speaks == Speaks::Tcp;
    let caller = &topology.proxies[exchange.from];
    let mut record = line(exchange, own, &attempt.logged, &attempt.face, is_tcp, dice);
    (record.start_us, record.duration_us) = (attempt.arrived_us, attempt.served_us - attempt.arrived_us);
    (record.direction, record.role) = (Direction::Inbound, Role::Callee);
    record.protocol = protocol(service.speaks);
    record.prints_hop = service.prints_hop;
    record.downstream_local_uri_san = Some(service.spiffe_id.clone());
    record.downstream_peer_uri_san = Some(topology.of(exchange.from).spiffe_id.clone());
    record.downstream_peer_serial = Some(caller.certificate_serial.clone());
    record.downstream_peer_certificate = Some(caller.certificate);
    record.downstream_tls_version = Some("TLSv1.2".to_owned());
    record.upstream_cluster = Some("local_app".to_owned());
    record.downstream_local_address = Some(format!("{}:{PUBLIC_PORT}", own.proxy.address));
    if let Some(socket) = attempt.socket {
        let address = exchange.around.as_ref().unwrap_or(&caller.proxy.address);
        record.downstream_direct_remote_address = Some(format!("{address}:{}", socket.port));
        record.connection_id = socket.connection_id;
    }
    if attempt.face.app != App::NotTried {
        record.upstream_host = Some(format!("127.0.0.1:{}", FIRST_APP_PORT + own.service));
    }
    if attempt.face.app == App::Reached {
        record.upstream_local_address = Some(format!("127.0.0.1:{}", 40_000 + dice.below(24)));
    }
    record.rbac = verdict(attempt.face.verdict);
    record
}

fn verdict(of: Verdict) -> Option<serde_json::Value> {
    let allowed = |policy: String| {
        Some(json!({"enforced_effective_policy_id": policy, "enforced_engine_result": "allowed"}))
    };
    match of {
        Verdict::Unsaid => None,
        Verdict::Allowed(None) => allowed("consul-intentions-layer4".to_owned()),
        Verdict::Allowed(Some(number)) => allowed(format!("consul-intentions-layer7-{number}")),
        Verdict::Denied => Some(json!({"enforced_engine_result": "denied"})),
    }
}
