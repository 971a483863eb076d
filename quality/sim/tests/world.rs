//! What must hold of every simulated world, whatever its seed.

use calltrail_sim::records::{EnvoyRecord, Record, Role, TrueCall};
use calltrail_sim::world::{Config, PRESETS, World, simulate};
use std::collections::{BTreeMap, BTreeSet};

fn world(preset: &str, calls: usize, seed: u64) -> World {
    let config = Config { calls, ..Config::preset(preset).expect("a preset") };
    simulate(&config, seed)
}

fn envoy(world: &World) -> impl Iterator<Item = &EnvoyRecord> {
    world.records.iter().filter_map(|record| match record {
        Record::Envoy(line) => Some(line),
        _ => None,
    })
}

/// `calls` of a record.
fn told_of(record: &Record) -> Vec<usize> {
    match record {
        Record::Envoy(line) => line.calls.clone(),
        Record::Worker(event) => {
            std::iter::once(event.call).chain(event.records.iter().map(|r| r.call)).collect()
        }
        Record::Zone(row) => vec![row.call],
    }
}

fn story(call: &TrueCall) -> String {
    format!(
        "{} {} -> {} {} {} [{}] {:?}",
        call.kind,
        call.caller,
        call.callee,
        call.method.as_deref().unwrap_or("-"),
        call.path.as_deref().unwrap_or("-"),
        call.scenario,
        call.findings
    )
}

#[test]
fn the_same_seed_is_the_same_world_and_another_is_another() {
    let told = |seed| format!("{:?}", world("default", 2_000, seed).records);
    assert_eq!(told(1), told(1));
    assert_ne!(told(1), told(2));
}

#[test]
fn every_record_names_calls_that_there_are_and_every_call_is_told_of() {
    for preset in PRESETS {
        let world = world(preset, 5_000, 3);
        let mut told = BTreeSet::new();
        for record in &world.records {
            let calls = told_of(record);
            assert!(!calls.is_empty(), "{record:?}");
            assert!(calls.iter().all(|c| *c < world.calls.len()));
            told.extend(calls);
        }
        let untold: Vec<String> =
            (0..world.calls.len()).filter(|c| !told.contains(c)).map(|c| story(&world.calls[c])).collect();
        assert!(untold.is_empty(), "{preset}: nobody tells of {untold:#?}");
    }
}

#[test]
fn a_call_begins_within_what_caused_it_unless_it_was_put_off() {
    let world = world("default", 20_000, 4);
    let mut put_off = 0;
    for call in &world.calls {
        let Some(parent) = call.parent.map(|p| &world.calls[p]) else { continue };
        assert!(call.start_us >= parent.start_us, "{} before {}", story(call), story(parent));
        if call.start_us > parent.end_us {
            put_off += 1;
            let may = ["putoff", "putoff_signed", "later", "throws"];
            assert!(may.contains(&call.scenario.as_str()), "{} after {}", story(call), story(parent));
        }
    }
    assert!(put_off > 0);
}

#[test]
fn no_two_requests_overlap_on_one_http1_connection() {
    let world = world("http1", 20_000, 5);
    // Of a retried call the caller's line tells only of the last connection: its span is not that connection's.
    let mut spans: BTreeMap<(String, String, u64), Vec<(i64, i64)>> = BTreeMap::new();
    for line in envoy(&world).filter(|l| l.role == Role::Callee && l.protocol.as_deref() == Some("HTTP/1.1"))
    {
        let key = (
            line.proxy.node_id.clone(),
            line.downstream_direct_remote_address.clone().expect("it came from somewhere"),
            line.connection_id,
        );
        spans.entry(key).or_default().push((line.start_us, line.start_us + line.duration_us));
    }
    assert!(spans.values().any(|uses| uses.len() > 50), "connections are used many times");
    for (connection, mut uses) in spans {
        uses.sort_unstable();
        for pair in uses.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "{connection:?}: {pair:?}");
        }
    }
}

#[test]
fn http2_carries_many_streams_at_once_and_ports_come_again_on_other_connections() {
    let fanned = world("http2-fanout", 20_000, 6);
    let mut streams: BTreeMap<(&str, u64), usize> = BTreeMap::new();
    for line in envoy(&fanned).filter(|l| l.role == Role::Callee && l.protocol.as_deref() == Some("HTTP/2")) {
        *streams.entry((&line.proxy.node_id, line.connection_id)).or_default() += 1;
    }
    assert!(streams.values().any(|n| *n > 200), "{streams:?}");

    let pooled = world("http1", 40_000, 6);
    let mut by_pair: BTreeMap<(&str, &str), BTreeSet<u64>> = BTreeMap::new();
    for line in envoy(&pooled).filter(|l| l.role == Role::Callee) {
        let from = line.downstream_direct_remote_address.as_deref().unwrap_or_default();
        by_pair.entry((&line.proxy.node_id, from)).or_default().insert(line.connection_id);
    }
    assert!(by_pair.values().any(|connections| connections.len() > 1), "a port is used again");
}

/// Client line and the server lines that it should be joined to.
fn sides(world: &World) -> BTreeMap<usize, (Vec<&EnvoyRecord>, Vec<&EnvoyRecord>)> {
    let mut sides: BTreeMap<usize, (Vec<&EnvoyRecord>, Vec<&EnvoyRecord>)> = BTreeMap::new();
    for line in envoy(world) {
        let call = *line.calls.last().expect("a line tells of something");
        let of = sides.entry(call).or_default();
        if line.role == Role::Callee { of.1.push(line) } else { of.0.push(line) }
    }
    sides
}

#[test]
fn the_two_sides_of_a_call_agree_on_their_connection_and_their_names() {
    let world = world("default", 20_000, 7);
    for (call, (callers, callees)) in sides(&world) {
        let truth = &world.calls[call];
        let [client] = callers[..] else {
            assert!(truth.findings.iter().any(|f| f == "no_client_leg"), "{}", story(truth));
            continue;
        };
        let Some(last) = callees.iter().max_by_key(|l| l.start_us) else { continue };
        assert_eq!(client.upstream_local_address, last.downstream_direct_remote_address, "{}", story(truth));
        assert_eq!(client.upstream_host, last.downstream_local_address);
        assert_eq!(client.upstream_local_uri_san, last.downstream_peer_uri_san);
        assert_eq!(client.upstream_peer_uri_san, last.downstream_local_uri_san);
        assert_eq!(client.attempts as usize, callees.len(), "{}", story(truth));
        assert!(client.start_us < last.start_us);
    }
}

#[test]
fn every_scenario_occurs_in_a_default_world_of_20_000_calls() {
    let config = Config::default();
    let world = simulate(&config, 8);
    let seen: BTreeSet<&str> = world.calls.iter().map(|c| c.scenario.as_str()).collect();
    let all = config.visitors.keys().chain(config.background.keys()).chain(config.attacks.keys());
    let missing: Vec<&String> = all.filter(|name| !seen.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let found: BTreeSet<&str> = world.calls.iter().flat_map(|c| &c.findings).map(String::as_str).collect();
    let expected = [
        "broken_chain",
        "bypass",
        "decision_conflict",
        "denied",
        "edge_unwitnessed",
        "forged_header",
        "identity_mismatch",
        "no_client_leg",
        "replayed_header",
        "stopped",
    ];
    assert_eq!(found, expected.into_iter().collect());
    let kinds: BTreeSet<&str> = world.calls.iter().map(|c| c.kind.as_str()).collect();
    assert_eq!(kinds, ["binding", "edge", "edge_call", "grpc", "http", "tcp", "ws"].into_iter().collect());
}

#[test]
fn what_an_attack_causes_is_tainted_and_nobodys() {
    let world = world("attacks", 10_000, 9);
    for call in world.calls.iter().filter(|c| c.root_kind == "attack") {
        assert_eq!(call.principal, None, "{}", story(call));
        assert!(!call.principal_provable);
        if call.parent.is_some() {
            assert!(!call.tainted_by.is_empty(), "{}", story(call));
        } else {
            assert!(!call.findings.is_empty(), "{}", story(call));
        }
    }
}

#[test]
fn a_world_without_attacks_gives_no_reason_to_accuse_anybody() {
    let world = world("no-attacks", 20_000, 10);
    let harmless = ["denied", "stopped", "edge_unwitnessed"];
    for call in &world.calls {
        assert!(call.findings.iter().all(|f| harmless.contains(&f.as_str())), "{}", story(call));
    }
}

#[test]
fn interchangeable_calls_look_alike_on_every_line_but_for_time() {
    let world = world("http2-fanout", 20_000, 11);
    let sides = sides(&world);
    let mut looks: BTreeMap<u64, BTreeSet<Vec<Option<&str>>>> = BTreeMap::new();
    for (call, (callers, _)) in &sides {
        let Some(group) = world.calls[*call].interchangeable else { continue };
        let line = callers[0];
        let look = vec![
            Some(line.proxy.node_id.as_str()),
            line.upstream_host.as_deref(),
            line.upstream_local_address.as_deref(),
            line.request_id.as_deref(),
            line.method.as_deref(),
            line.path.as_deref(),
            line.calltrail.as_deref(),
        ];
        looks.entry(group).or_default().insert(look);
    }
    assert!(looks.len() > 50, "{}", looks.len());
    assert!(looks.values().all(|of| of.len() == 1));
    let with_hops = self::world("hop", 5_000, 11);
    assert!(with_hops.calls.iter().all(|c| c.interchangeable.is_none()));
}

#[test]
fn a_world_of_20_000_calls_has_about_as_many() {
    let calls = world("default", 20_000, 12).calls.len();
    assert!((20_000..20_400).contains(&calls), "{calls}");
}

#[test]
fn a_hop_id_is_on_both_sides_and_names_the_call_that_the_application_was_serving() {
    let world = world("hop", 10_000, 13);
    let mut served: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let sides = sides(&world);
    for (call, (callers, callees)) in &sides {
        for callee in callees.iter().filter(|l| !l.is_tcp) {
            let hop = callee.hop.as_deref();
            if let Some(hop) = hop {
                served.insert((&callee.proxy.node_id, hop), *call);
            }
            for caller in callers {
                assert_eq!(caller.hop.as_deref(), hop, "{}", story(&world.calls[*call]));
                assert!(hop.is_some_and(|h| h.len() == 32));
            }
        }
    }
    let (mut known, mut invented) = (0, 0);
    for (call, (callers, _)) in &sides {
        let Some((caller, parent_hop)) = callers.first().and_then(|c| Some((c, c.parent_hop.as_deref()?)))
        else {
            continue;
        };
        if caller.role == Role::Caller {
            let Some(parent) = served.get(&(caller.proxy.node_id.as_str(), parent_hop)) else {
                invented += 1;
                continue;
            };
            assert_eq!(Some(*parent), world.calls[*call].parent, "{}", story(&world.calls[*call]));
            known += 1;
        }
    }
    assert!(known > 1_000 && (1..200).contains(&invented), "{known} known, {invented} invented");
}

#[test]
fn a_proxy_that_traces_writes_a_span_of_its_own_and_marks_the_request_id() {
    let config = Config { calls: 3_000, tracing_share: 1.0, attack_share: 0.0, ..Config::default() };
    let world = simulate(&config, 14);
    let mut traced = 0;
    for (call, (callers, callees)) in sides(&world) {
        let (Some(caller), Some(callee)) = (callers.first(), callees.first()) else { continue };
        if caller.is_tcp || caller.role == Role::Gateway {
            continue;
        }
        let (sent, got) = (caller.traceparent.as_deref().unwrap(), callee.traceparent.as_deref().unwrap());
        assert_eq!(sent[..35], got[..35], "one trace: {}", story(&world.calls[call]));
        assert_ne!(sent[36..52], got[36..52], "two spans");
        assert_eq!(caller.envoy_trace_id.as_deref(), Some(&sent[3..35]));
        assert_eq!(caller.request_id.as_deref().map(|id| &id[14..15]), Some("9"));
        traced += 1;
    }
    assert!(traced > 500, "{traced}");
}

#[test]
fn whoever_goes_round_his_proxy_has_no_line_and_a_connection_of_his_own() {
    let world = world("attacks", 10_000, 15);
    let sides = sides(&world);
    let mut uses: BTreeMap<(&str, u64), usize> = BTreeMap::new();
    for line in envoy(&world).filter(|l| l.role == Role::Callee) {
        *uses.entry((&line.proxy.node_id, line.connection_id)).or_default() += 1;
    }
    let bypasses = |c: &&usize| world.calls[**c].findings.iter().any(|f| f == "no_client_leg");
    let found: Vec<&usize> = sides.keys().filter(bypasses).collect();
    assert!(found.len() > 100);
    for call in found {
        let (callers, callees) = &sides[call];
        assert!(callers.is_empty(), "{}", story(&world.calls[*call]));
        assert_eq!(uses[&(callees[0].proxy.node_id.as_str(), callees[0].connection_id)], 1);
    }
}

#[test]
fn worlds_that_are_read_together_share_no_proxy_no_address_and_no_id() {
    let base = Config { calls: 2_000, ..Config::default() };
    let told: Vec<BTreeSet<String>> = (0..3)
        .map(|n| {
            let (config, seed) = base.nth_world(16, n);
            let world = simulate(&config, seed);
            let names = envoy(&world).flat_map(|l| {
                [l.proxy.node_id.clone(), l.proxy.address.clone(), l.unique_id.clone()]
                    .into_iter()
                    .chain(l.traceparent.as_ref().map(|t| t[3..35].to_owned()))
            });
            names.collect()
        })
        .collect();
    for (i, one) in told.iter().enumerate() {
        for other in &told[i + 1..] {
            assert_eq!(one.intersection(other).collect::<Vec<_>>(), Vec::<&String>::new());
        }
    }
}
