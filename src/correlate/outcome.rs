//! What came of a call, in words: status, flags, attempts, and where it stopped when the application did not answer it.

use super::group::Group;
use crate::model::{Leg, ObserverKind, Outcome, Protocol, Stage};

/// Envoy's response flags in words. Source: Envoy documentation, "Access logging", `%RESPONSE_FLAGS%`.
const FLAG_WORDS: &[(&str, &str)] = &[
    ("UH", "no healthy upstream"),
    ("UF", "upstream connection failure"),
    ("UO", "upstream overflow (circuit breaking)"),
    ("NR", "no route configured"),
    ("NC", "upstream cluster not found"),
    ("URX", "upstream retry limit exceeded"),
    ("DC", "downstream connection termination"),
    ("LH", "local service failed its health check"),
    ("UT", "upstream request timeout"),
    ("LR", "connection local reset"),
    ("UR", "upstream remote reset"),
    ("UC", "upstream connection termination"),
    ("DI", "delay injected"),
    ("FI", "fault injected"),
    ("RL", "rate limited"),
    ("UAEX", "denied by external authorization"),
    ("RLSE", "rate limit service error"),
    ("IH", "invalid value in a strictly checked header"),
    ("SI", "stream idle timeout"),
    ("DPE", "downstream protocol error"),
    ("UPE", "upstream protocol error"),
    ("UMSDR", "upstream maximum stream duration reached"),
    ("RFCF", "response from the cache"),
    ("NFCF", "no filter configuration found"),
    ("DT", "duration timeout"),
    ("OM", "overload manager terminated the request"),
    ("DF", "DNS resolution failure"),
    ("DO", "drop overload"),
    ("DR", "downstream remote reset"),
    ("UDO", "unconditional drop overload"),
];

pub fn outcome(group: &Group, legs: &[Leg]) -> Outcome {
    let client = group.own_client(legs);
    let first_server = group.servers.first().map(|&i| &legs[i]);
    let last_server = group.servers.last().map(|&i| &legs[i]);
    let told =
        client.or(last_server).or(group.clients.first().map(|&i| &legs[i])).expect("a group has a leg");
    let attempts = client
        .map_or(group.servers.len() as u32, |c| c.attempts.unwrap_or(1).max(group.servers.len() as u32));
    let (stopped_at, stopped_why) = match stopped(client, first_server, last_server) {
        Some((stage, why)) => (Some(stage), Some(why)),
        None => (None, None),
    };
    Outcome {
        status: told.status,
        grpc_status: told.grpc_status.or(last_server.and_then(|s| s.grpc_status)),
        flags: flag_words(group, legs),
        attempts,
        duration_us: told.duration_us,
        request_body_bytes: told.request_body_bytes.or(last_server.and_then(|s| s.request_body_bytes)),
        response_body_bytes: told.response_body_bytes.or(last_server.and_then(|s| s.response_body_bytes)),
        stopped_at,
        stopped_why,
    }
}

fn flag_words(group: &Group, legs: &[Leg]) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for flag in group.members().flat_map(|i| legs[i].flags.iter()) {
        let known = FLAG_WORDS.iter().find(|(short, _)| *short == flag);
        let word = known.map_or_else(|| flag.to_owned(), |(_, word)| (*word).to_owned());
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

/// Where it stopped short of the application's answer, from the callee's end backwards: what the callee's side says is nearer
/// to the truth than what the caller's side saw of it.
fn stopped(client: Option<&Leg>, first: Option<&Leg>, last: Option<&Leg>) -> Option<(Stage, String)> {
    if let Some(server) = last {
        if let Some(found) = stopped_at_worker(server).or_else(|| stopped_at_server(server, client)) {
            return Some(found);
        }
        if first.is_some_and(|s| s.observer.kind == ObserverKind::Worker) {
            return None;
        }
    }
    client.and_then(|client| stopped_at_client(client, last))
}

fn stopped_at_worker(server: &Leg) -> Option<(Stage, String)> {
    if let Some(decision) = server.edge_decision.as_ref().filter(|d| !d.allowed) {
        let policy = decision.policy.as_deref().unwrap_or("an unnamed policy");
        let reason = decision.reason.as_deref().map(|r| format!(" ({r})")).unwrap_or_default();
        return Some((Stage::Edge, format!("denied at the edge by {policy}{reason}")));
    }
    let outcome = server.worker_outcome.as_deref()?;
    Some((Stage::Edge, format!("the Worker's invocation ended with {outcome}")))
}

fn stopped_at_server(server: &Leg, client: Option<&Leg>) -> Option<(Stage, String)> {
    let sidecar =
        if server.observer.kind == ObserverKind::Gateway { Stage::Gateway } else { Stage::ServerSidecar };
    if server.verdict.as_ref().is_some_and(|v| !v.allowed) {
        return Some((sidecar, format!("denied by {} (intention)", server.observer.name)));
    }
    let failure = server.transport_failure.as_deref().unwrap_or("no reason given").replace('_', " ");
    let timed_out = client.is_some_and(|c| c.flags.has("UT"));
    let told = [
        ("UF", sidecar, format!("the application refused the connection: {failure}")),
        ("UH", sidecar, "no healthy application instance".to_owned()),
        ("UC", Stage::Application, "the application closed the connection".to_owned()),
        ("UR", Stage::Application, "the application reset the request".to_owned()),
        ("UT", Stage::Application, "the application did not answer in time".to_owned()),
        ("DPE", sidecar, "the caller did not speak the protocol".to_owned()),
        ("NR", sidecar, "no route for this request".to_owned()),
    ];
    // A websocket that ends is no failure, however its end is flagged.
    let upgraded = server.status == Some(101);
    if let Some((_, stage, why)) =
        told.into_iter().find(|(flag, ..)| server.flags.has(flag)).filter(|_| !upgraded)
    {
        return Some((stage, why));
    }
    if server.flags.has("DC") && !upgraded {
        let why = if timed_out {
            "the application did not answer in time"
        } else {
            "the caller went away before the answer"
        };
        return Some((Stage::Application, why.to_owned()));
    }
    None
}

fn stopped_at_client(client: &Leg, server: Option<&Leg>) -> Option<(Stage, String)> {
    let stage = match client.observer.kind {
        ObserverKind::Worker | ObserverKind::Zone => Stage::Edge,
        ObserverKind::Gateway => Stage::Gateway,
        ObserverKind::Sidecar => Stage::ClientSidecar,
    };
    let failure = client.transport_failure.as_deref().map(|f| f.replace('_', " "));
    if matches!(client.observer.kind, ObserverKind::Worker) && client.status.is_none() {
        return Some((
            stage,
            format!("the subrequest failed: {}", failure.unwrap_or_else(|| "no reason given".to_owned())),
        ));
    }
    let because = |text: &str| match &failure {
        Some(f) => format!("{text}: {f}"),
        None => text.to_owned(),
    };
    let told = [
        ("UH", because("no healthy upstream")),
        ("UF", because("could not connect to the callee")),
        ("UO", because("circuit breaker open")),
        ("NR", because("no route for this request")),
        ("NC", because("unknown upstream cluster")),
        ("DF", because("name resolution failed")),
        ("DPE", because("the application did not speak the protocol")),
        ("UT", because("no answer in time")),
        ("RL", because("rate limited")),
    ];
    // Where the callee's side has a record, the call did get there: only the caller's patience can have cut it short.
    let counts = |flag: &str| server.is_none() || flag == "UT";
    let found = told.into_iter().find(|(flag, _)| client.flags.has(flag) && counts(flag));
    if let Some((flag, why)) = found {
        let beyond = flag == "UT" && (server.is_some() || client.socket.is_some());
        return Some((if beyond { Stage::Application } else { stage }, why));
    }
    let went_away = client.flags.has("DC") && client.status.is_none() && client.protocol != Protocol::Tcp;
    went_away.then(|| (stage, "the caller went away before the answer".to_owned()))
}
