//! From the bytes that a sender posts to the answer that a person gets: the real program, a real socket, captured lines.
//!
//! The first half tells what good input becomes, the second what bad input becomes: kept, counted, named by its line, and never
//! at the cost of its neighbours.

mod common;

use common::http::{Answer, send};
use common::{Backend, Calltrail, Serve};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const CLIENT: &[u8] = include_bytes!("fixtures/crash/web-calls-api.client.jsonl");
const SERVER: &[u8] = include_bytes!("fixtures/crash/web-calls-api.server.jsonl");
const CHAIN: &[u8] =
    include_bytes!("fixtures/envoy/recommended/a_chain_keeps_its_trace_over_two_calls.ndjson");
const DENIED_BY_WORKER: &[u8] = include_bytes!("fixtures/worker/logpush/denied_by_the_workers_policy.ndjson");
const VALIDATION: &[u8] = include_bytes!("fixtures/worker/logpush_validation_upload.txt.gz");

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn started() -> (Backend, Calltrail) {
    let backend = Backend::sqlite();
    let server = Serve::on(&backend).start();
    (backend, server)
}

/// All calls once everything that was posted has been joined, oldest first.
fn joined(server: &Calltrail, query: &str) -> Vec<Value> {
    let page =
        server.wait_for(&format!("/v1/calls?order=oldest&{query}"), |page| page["complete"] == json!(true));
    page["calls"].as_array().unwrap().clone()
}

fn trimmed(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

// === what good input becomes ===

#[test]
fn two_sides_posted_by_two_sources_become_one_call_that_every_id_finds() {
    let (_data, server) = started();
    let receipt = server.ingest("web", CLIENT).json();
    assert_eq!((&receipt["lines"], &receipt["legs"]), (&json!(1), &json!(1)));
    server.ingest("api", SERVER);

    let calls = joined(&server, "legs=true");
    assert_eq!(calls.len(), 1, "one call of two legs: {calls:#?}");
    let call = &calls[0];
    assert_eq!(call["caller"]["name"], "web");
    assert_eq!(call["caller"]["assurance"], "mtls");
    assert_eq!(call["callee"]["name"], "api");
    assert_eq!(call["method"], "GET");
    assert_eq!(call["outcome"]["status"], 200);
    assert_eq!(call["basis"], "proven");
    assert_eq!(call["confidence"], 1.0);
    let legs = call["legs"].as_array().unwrap();
    assert_eq!(legs.iter().map(|l| l["side"].as_str().unwrap()).collect::<Vec<_>>(), ["client", "server"]);

    let id = call["id"].as_str().unwrap();
    let server_leg = legs[1]["id"].as_str().unwrap();
    let line = legs[0]["line_sha256"].as_str().unwrap();
    let trace = "0af7651916cd43dd8448eb2100000001";
    for other in [id, server_leg, line, trace, "ext-req-0001", "8f1a2b3c4d5e0001", "8f1a2b3c4d5e0001-AMS"] {
        let found = server.json(&format!("/v1/calls/{other}"));
        assert_eq!(found["id"], id, "asked for {other}");
        let superseded = if other == server_leg { json!(id) } else { Value::Null };
        assert_eq!(found["superseded_by"], superseded, "asked for {other}");
    }
}

#[test]
fn the_evidence_of_a_call_is_the_lines_byte_for_byte() {
    let (_data, server) = started();
    server.ingest("mesh", &[CLIENT, SERVER].concat());
    let calls = joined(&server, "");
    let id = calls[0]["id"].as_str().unwrap();
    let evidence = server.json(&format!("/v1/calls/{id}/evidence"));
    let texts: Vec<&str> =
        evidence["lines"].as_array().unwrap().iter().map(|l| l["text"].as_str().unwrap()).collect();
    let sent = [trimmed(CLIENT), trimmed(SERVER)].map(|l| std::str::from_utf8(l).unwrap());
    assert_eq!(texts, sent);
}

#[test]
fn a_trace_comes_back_as_a_tree() {
    let (_data, server) = started();
    server.ingest("mesh", CHAIN);
    let calls = joined(&server, "");
    let trace = calls[0]["trace_id"].as_str().unwrap();
    let tree = server.json(&format!("/v1/traces/{trace}"));
    let rows: Vec<(u64, &str, &str)> = tree["calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let name = |party: &str| row[party]["name"].as_str().unwrap();
            (row["depth"].as_u64().unwrap(), name("caller"), name("callee"))
        })
        .collect();
    assert_eq!(rows, [(0, "web", "api"), (1, "api", "billing")]);
    assert_eq!(tree["calls"][1]["parent_id"], tree["calls"][0]["id"]);
}

#[test]
fn a_denial_at_the_edge_is_a_call_a_decision_and_a_finding() {
    let (_data, server) = started();
    server.ingest("logpush", &gzip(DENIED_BY_WORKER));
    let calls = joined(&server, "decision=deny");
    assert_eq!(calls.len(), 1, "{calls:#?}");
    assert_eq!(calls[0]["decisions"][0]["judge"], "worker");
    let findings = server.json("/v1/findings?kind=denied");
    let finding = &findings["findings"][0];
    assert_eq!(finding["call_id"], calls[0]["id"]);
    assert!(!finding["sentence"].as_str().unwrap().is_empty());
    assert!(!finding["evidence"].as_array().unwrap().is_empty());
}

#[test]
fn an_upload_that_is_sent_again_is_acknowledged_and_not_stored_again() {
    let (_data, server) = started();
    let text = [CLIENT, SERVER].concat();
    let first = server.ingest("mesh", &text).json();
    assert_eq!((&first["duplicate"], &first["duplicates"]), (&json!(false), &json!(0)));
    // The compression may differ: what counts is what was said.
    for again in [text.clone(), gzip(&text), zstd::encode_all(&text[..], 3).unwrap()] {
        let receipt = server.ingest("mesh", &again).json();
        assert_eq!(receipt["delivery"], first["delivery"]);
        assert_eq!((&receipt["duplicate"], &receipt["duplicates"]), (&json!(true), &json!(2)));
    }
    assert_eq!(joined(&server, "").len(), 1);
    assert_eq!(server.json("/readyz")["deliveries"], 1);
}

#[test]
fn lines_come_as_ndjson_array_or_object_and_in_every_compression() {
    let [client, server_line] = [trimmed(CLIENT), trimmed(SERVER)];
    let array = [b"[", client, b",\n", server_line, b"]"].concat();
    let pretty = serde_json::to_vec_pretty(&serde_json::from_slice::<Value>(client).unwrap()).unwrap();
    let two_members = [gzip(CLIENT), gzip(SERVER)].concat();
    for (what, body, lines) in [
        ("an array", array.clone(), 2),
        ("one object over many lines", pretty, 1),
        ("a gzip of two members", two_members, 2),
        ("a gzipped array", gzip(&array), 2),
        ("zstd", zstd::encode_all(&[CLIENT, SERVER].concat()[..], 3).unwrap(), 2),
        ("windows line ends", [client, b"\r\n", server_line, b"\r\n"].concat(), 2),
        ("no newline at the end", client.to_vec(), 1),
    ] {
        let (_data, server) = started();
        let receipt = server.ingest("mesh", &body).json();
        let seen = (&receipt["lines"], &receipt["legs"], &receipt["rejected"]["count"]);
        assert_eq!(seen, (&json!(lines), &json!(lines), &json!(0)), "{what}: {receipt}");
    }
}

#[test]
fn the_proxy_that_a_default_format_does_not_name_is_named_by_the_upload() {
    let (_data, server) = started();
    let wrapped = include_str!("fixtures/envoy/default/both_sides_of_a_traced_call_verify_each_other.ndjson");
    let wrapped: Value = serde_json::from_str(wrapped.lines().next().unwrap()).unwrap();
    let line = match &wrapped["line"] {
        Value::String(text) => text.clone(),
        object => object.to_string(),
    };
    let proxy = wrapped["proxy"].as_str().unwrap();
    let receipt = server.ingest(&format!("mesh?proxy={proxy}"), line.as_bytes()).json();
    assert_eq!(receipt["legs"], 1, "{receipt}");
    let calls = joined(&server, "legs=true");
    assert_eq!(calls[0]["legs"][0]["observer"]["name"], proxy);
}

#[test]
fn logpush_may_try_out_its_destination_and_nothing_is_stored() {
    let (_data, server) = started();
    let receipt = server.ingest("logpush", VALIDATION).json();
    assert_eq!((&receipt["delivery"], &receipt["lines"]), (&Value::Null, &json!(0)));
    assert_eq!(receipt["rejected"]["count"], 0);
    assert_eq!(server.json("/readyz")["deliveries"], 0);
}

#[test]
fn sigterm_lets_an_upload_finish_and_a_restart_finds_it() {
    let backend = Backend::sqlite();
    let mut server = Serve::on(&backend).start();
    // From here on the server knows of the request.
    let mut upload = announced(&server, CLIENT.len());
    server.ask_to_stop();
    // It refuses newcomers: the signal has arrived.
    while TcpStream::connect(server.address).is_ok() {
        std::thread::yield_now();
    }
    upload.write_all(CLIENT).unwrap();
    let mut answer = String::new();
    upload.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(server.wait().success(), "{}", server.log());

    let server = Serve::on(&backend).start();
    assert_eq!(joined(&server, "").len(), 1);
}

// === what bad input becomes ===

/// A body of which some lines are bad: what the answer says, and that the good neighbours were decoded.
#[track_caller]
fn assert_rejects(body: &[u8], lines: u64, legs: u64, rejected: &[(u64, &str)]) {
    let (_data, server) = started();
    let receipt = server.ingest("mesh", body).json();
    let first: Vec<(u64, &str)> = receipt["rejected"]["first"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["line"].as_u64().unwrap(), r["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(first, rejected, "{receipt}");
    assert_eq!((&receipt["lines"], &receipt["legs"]), (&json!(lines), &json!(legs)), "{receipt}");
    assert_eq!(receipt["rejected"]["count"], rejected.len(), "{receipt}");
    // The same is to be found later, by whoever did not read the answer.
    let page = server.wait_for("/v1/rejects", |page| page["complete"] == json!(true));
    let mut kept: Vec<(u64, &str)> = page["rejects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["line"].as_u64().unwrap(), r["reason"].as_str().unwrap()))
        .collect();
    kept.sort_unstable();
    let stored: &[(u64, &str)] = if receipt["delivery"].is_null() { &[] } else { rejected };
    assert_eq!(kept, stored);
}

fn around(bad: &[u8]) -> Vec<u8> {
    [CLIENT, bad, b"\n", SERVER].concat()
}

#[test]
fn a_line_that_is_no_json_costs_only_itself() {
    assert_rejects(&around(b"not json"), 3, 2, &[(2, "not_json")]);
}

#[test]
fn json_of_no_known_format_is_named_so() {
    assert_rejects(&around(br#"{"hello":"world"}"#), 3, 2, &[(2, "unknown_format")]);
}

#[test]
fn invalid_utf_8_costs_only_its_line() {
    assert_rejects(&around(b"{\"a\":\"\xff\xfe\"}"), 3, 2, &[(2, "not_json")]);
}

#[test]
fn nul_bytes_cost_only_their_line() {
    assert_rejects(&around(b"{\"a\":\"\0\"}"), 3, 2, &[(2, "not_json")]);
}

#[test]
fn deep_nesting_is_refused_and_brings_nothing_down() {
    let deep = [b"{\"a\":".as_slice(), &b"[".repeat(100_000), &b"]".repeat(100_000), b"}"].concat();
    let (_data, server) = started();
    let receipt = server.ingest("mesh", &around(&deep)).json();
    assert_eq!((&receipt["lines"], &receipt["legs"]), (&json!(3), &json!(2)), "{receipt}");
    assert_eq!(receipt["rejected"]["first"][0]["line"], 2, "{receipt}");
    assert_eq!(server.get("/healthz").unwrap().status, 200);
}

#[test]
fn a_field_of_a_megabyte_is_kept_and_its_neighbours_too() {
    let long = String::from_utf8(trimmed(CLIENT).to_vec())
        .unwrap()
        .replace("\"ext-req-0001\"", &format!("\"{}\"", "x".repeat(1 << 20)));
    let (_data, server) = started();
    let receipt = server.ingest("mesh", &around(long.as_bytes())).json();
    assert_eq!(receipt["lines"], 3);
    assert!(receipt["legs"].as_u64().unwrap() >= 2, "{receipt}");
}

#[test]
fn a_gzip_that_is_cut_keeps_its_whole_lines_and_says_what_is_missing() {
    // Lines that do not compress away, so that a cut in the middle leaves some of them whole.
    let text: Vec<u8> = (0..400u32)
        .flat_map(|n| {
            let line = String::from_utf8(CLIENT.to_vec()).unwrap();
            line.replace(
                "bd2cd539-310d-48ad-8527-c0d7c901a106",
                &format!("bd2cd539-310d-48ad-{n:04}-c0d7c901a106"),
            )
            .into_bytes()
        })
        .collect();
    let whole = gzip(&text);
    let (_data, server) = started();
    let receipt = server.ingest("mesh", &whole[..whole.len() / 2]).json();
    let (lines, legs) = (receipt["lines"].as_u64().unwrap(), receipt["legs"].as_u64().unwrap());
    assert!(legs > 50 && legs < 400, "{receipt}");
    assert_eq!(lines, legs + 1);
    let reject = &receipt["rejected"]["first"][0];
    assert_eq!((&reject["line"], &reject["reason"]), (&json!(lines), &json!("broken_compression")));
    // Sent again whole, it is another upload, and each line is there once.
    server.ingest("mesh", &whole);
    let page = server.wait_for("/v1/calls?limit=1000", |page| page["complete"] == json!(true));
    assert_eq!(page["calls"].as_array().unwrap().len(), 400);
}

#[test]
fn junk_that_calls_itself_gzip_is_kept_as_what_it_is() {
    let (_data, server) = started();
    let headers = [("content-encoding", "gzip")];
    let answer = send(server.address, "POST", "/ingest/mesh", &headers, b"\x1f\x8bno gzip at all").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["rejected"]["first"][0]["reason"], "broken_compression");
    let answer = send(server.address, "POST", "/ingest/mesh", &headers, CLIENT).unwrap();
    assert_eq!(answer.json()["legs"], 1, "plain text under a wrong header is read all the same");
}

#[test]
fn an_empty_body_is_a_reject_and_no_delivery() {
    assert_rejects(b"", 0, 0, &[(1, "not_json")]);
    assert_rejects(b"\n \n", 0, 0, &[(1, "not_json")]);
}

#[test]
fn what_is_too_large_is_refused_and_the_server_goes_on() {
    let backend = Backend::sqlite();
    let limits = ["--max-body-bytes", "64KiB", "--max-decompressed-bytes", "1MiB", "--max-lines", "100"];
    let server = limits.iter().fold(Serve::on(&backend), |serve, flag| serve.arg(flag)).start();
    let refused = |what: &str, answer: Answer| {
        assert_eq!(answer.status, 413, "{what}: {}", answer.text());
        assert_eq!(answer.json()["type"], "urn:calltrail:problem:too-large", "{what}");
    };
    refused("a large body", server.post("/ingest/mesh", &vec![b' '; 65 << 10]).unwrap());
    refused("a gzip bomb", server.post("/ingest/mesh", &gzip(&vec![0; 32 << 20])).unwrap());
    let zstd_bomb = zstd::encode_all(&vec![0; 32 << 20][..], 3).unwrap();
    refused("a zstd bomb", server.post("/ingest/mesh", &zstd_bomb).unwrap());
    refused("too many lines", server.post("/ingest/mesh", &b"{}\n".repeat(101)).unwrap());
    refused("a large body that announces no length", chunked(&server, 80 << 10));
    assert_eq!(server.ingest("mesh", CLIENT).json()["legs"], 1);
}

/// Sends spaces in chunks and gives the answer to them.
fn chunked(server: &Calltrail, bytes: usize) -> Answer {
    let mut body = Vec::new();
    for _ in 0..bytes / 1024 {
        body.extend(b"400\r\n");
        body.extend([b' '; 1024]);
        body.extend(b"\r\n");
    }
    body.extend(b"0\r\n\r\n");
    let mut stream = TcpStream::connect(server.address).unwrap();
    let head = format!(
        "POST /ingest/mesh HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n",
        server.address
    );
    stream.write_all(head.as_bytes()).unwrap();
    let _ = stream.write_all(&body);
    common::http::read_answer(&mut stream).unwrap()
}

#[test]
fn memory_stays_within_the_limit_while_bombs_arrive() {
    let backend = Backend::sqlite();
    let server = Serve::on(&backend).arg("--max-decompressed-bytes").arg("64MiB").start();
    // A gigabyte of zeros in a megabyte.
    let member = gzip(&vec![0; 64 << 20]);
    let bomb = member.repeat(16);
    let before = peak_memory_bytes(&server);
    for _ in 0..3 {
        assert_eq!(server.post("/ingest/mesh", &bomb).unwrap().status, 413);
    }
    let grown = peak_memory_bytes(&server) - before;
    // The output, what it outgrew, and the bomb itself.
    assert!(grown < 2 * (64 << 20), "grew by {} MiB", grown >> 20);
}

#[test]
fn memory_stays_within_the_limit_while_bodies_of_tiny_lines_arrive() {
    let backend = Backend::sqlite();
    let server = Serve::on(&backend)
        .arg("--max-decompressed-bytes")
        .arg("64MiB")
        .arg("--max-lines")
        .arg("1000")
        .start();
    // Sixteen million lines, each of which would be a range and a vector of its own.
    let bomb = gzip(&b"1\n".repeat(16 << 20));
    let before = peak_memory_bytes(&server);
    let answer = server.post("/ingest/mesh", &bomb).unwrap();
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert!(answer.text().contains("--max-lines"), "{}", answer.text());
    let grown = peak_memory_bytes(&server) - before;
    assert!(grown < 3 * (64 << 20), "grew by {} MiB", grown >> 20);
}

fn peak_memory_bytes(server: &Calltrail) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Announces an upload and waits until the server asks for its body: from there on it has its share of the memory.
fn announced(server: &Calltrail, bytes: usize) -> TcpStream {
    let mut upload = TcpStream::connect(server.address).unwrap();
    let head = format!(
        "POST /ingest/mesh HTTP/1.1\r\nhost: {}\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: {bytes}\r\n\r\n",
        server.address
    );
    upload.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 25];
    upload.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    upload
}

#[test]
fn bodies_in_flight_share_a_fixed_room_and_who_finds_none_is_told_to_come_back() {
    let backend = Backend::sqlite();
    let limits = ["--max-body-bytes", "64KiB", "--upload-memory-bytes", "64KiB"];
    let server = limits.iter().fold(Serve::on(&backend), |serve, flag| serve.arg(flag)).start();
    let lines = CLIENT.repeat((60 << 10) / CLIENT.len());
    let mut first = announced(&server, lines.len());
    for (what, answer) in [
        ("an announced body", server.post("/ingest/mesh", &lines).unwrap()),
        ("a body of unknown length", chunked(&server, 32 << 10)),
    ] {
        assert_eq!(answer.status, 503, "{what}: {}", answer.text());
        assert!(answer.header("retry-after").is_some(), "{what}");
        assert!(answer.text().contains("--upload-memory-bytes"), "{what}: {}", answer.text());
    }
    // What is small enough for the rest of the room is not kept waiting, and questions are answered.
    assert_eq!(server.ingest("mesh", SERVER).json()["legs"], 1);
    first.write_all(&lines).unwrap();
    assert_eq!(common::http::read_answer(&mut first).unwrap().status, 200);
    assert_eq!(server.ingest("web", &lines).json()["duplicate"], false);
}

#[test]
fn a_client_that_stops_in_the_middle_of_a_head_is_let_go() {
    let backend = Backend::sqlite();
    let server = Serve::on(&backend).arg("--head-timeout-seconds").arg("1").start();
    // The last three may still become HTTP/2's preface: no protocol's own timer has begun.
    for said in ["GE", "GET / HTTP/1.1\r\nhost: x\r\n", "", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(said.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let closed = stream.read_to_end(&mut answer);
        let open = closed.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!open, "{said:?} holds its connection for ever");
    }
    assert_eq!(server.ingest("mesh", CLIENT).json()["legs"], 1);
}

// === who may send and ask ===

#[test]
fn with_tokens_each_request_needs_one_of_the_right_scope() {
    let backend = Backend::sqlite();
    let token = |scope: &str| backend.run(&["token", "create", "--scope", scope]).trim().to_owned();
    let (mesh, read, admin) = (token("ingest:mesh"), token("read"), token("admin"));
    let server = Serve::on(&backend).start();
    let status = |method: &str, path: &str, headers: &[(&str, &str)]| {
        send(server.address, method, path, headers, CLIENT).unwrap().status
    };
    let bearer = |token: &str| format!("Bearer {token}");
    let (mesh_bearer, read_bearer, admin_bearer) = (bearer(&mesh), bearer(&read), bearer(&admin));
    let with = |value: &'static str| ("authorization", value);
    let wrong = [with("Bearer ct_wrong")];
    for (what, method, path, headers, expected) in [
        ("nothing", "POST", "/ingest/mesh", &[][..], 401),
        ("a wrong token", "POST", "/ingest/mesh", &wrong[..], 401),
        ("its token", "POST", "/ingest/mesh", &[("authorization", mesh_bearer.as_str())][..], 200),
        ("its token in our header", "POST", "/ingest/mesh", &[("x-calltrail-token", mesh.as_str())][..], 200),
        (
            "another source's token",
            "POST",
            "/ingest/edge",
            &[("authorization", mesh_bearer.as_str())][..],
            403,
        ),
        ("a reader's token", "POST", "/ingest/mesh", &[("authorization", read_bearer.as_str())][..], 403),
        ("admin", "POST", "/ingest/edge", &[("authorization", admin_bearer.as_str())][..], 200),
        ("nothing", "GET", "/v1/calls", &[][..], 401),
        ("a sender's token", "GET", "/v1/calls", &[("authorization", mesh_bearer.as_str())][..], 403),
        ("a reader's token", "GET", "/v1/calls", &[("authorization", read_bearer.as_str())][..], 200),
        ("a reader's token", "GET", "/metrics", &[("authorization", read_bearer.as_str())][..], 200),
        ("nothing", "GET", "/metrics", &[][..], 401),
        ("nothing", "GET", "/healthz", &[][..], 200),
        ("nothing", "GET", "/readyz", &[][..], 200),
    ] {
        assert_eq!(status(method, path, headers), expected, "{method} {path} with {what}");
    }
    let in_query = format!("/ingest/mesh?token={mesh}");
    assert_eq!(status("POST", &in_query, &[]), 200);
    let unauthenticated = send(server.address, "GET", "/v1/calls", &[], b"").unwrap();
    assert!(unauthenticated.header("www-authenticate").is_some());
    assert!(!server.log().contains(&mesh), "a token in a query must not reach the log");
}

#[test]
fn a_revoked_token_is_refused_within_seconds() {
    let backend = Backend::sqlite();
    backend.run(&["token", "create", "--scope", "admin", "--name", "stays"]);
    let secret = backend.run(&["token", "create", "--scope", "read", "--name", "goes"]);
    let server = Serve::on(&backend).start();
    let bearer = format!("Bearer {}", secret.trim());
    let ask = || send(server.address, "GET", "/v1/calls", &[("authorization", &bearer)], b"").unwrap().status;
    assert_eq!(ask(), 200);
    backend.run(&["token", "revoke", "goes"]);
    assert!(!backend.run(&["token", "list"]).contains("goes"));
    // The time limit is for a revocation that never comes, not for a slow machine.
    let (revoked, limit) = (Instant::now(), Duration::from_secs(120));
    while ask() == 200 {
        assert!(revoked.elapsed() < limit, "the revoked token is still good:\n{}", server.log());
        std::thread::yield_now();
    }
    assert_eq!(ask(), 401);
}

/// Runs `serve` with these flags, which must not start, and gives what it says.
fn refusal(backend: &Backend, flags: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_calltrail"));
    command.arg("serve").args(flags).stdin(Stdio::null());
    backend.point(&mut command);
    let output = command.output().unwrap();
    assert!(!output.status.success(), "it should not start with {flags:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_server_that_must_not_start_says_what_to_type() {
    let (backend, server) = started();
    let taken = server.address.to_string();
    for (flags, hint) in [
        (&["--listen", taken.as_str()][..], "--listen"),
        (&["--listen", "127.0.0.1:0"], "--server"),
        (&["--listen", "nowhere"], "127.0.0.1:7311"),
        (&["--max-body-bytes", "many"], "64MiB"),
        (&["--rules", "no-such-file.toml"], "no-such-file.toml"),
    ] {
        let said = refusal(&backend, flags);
        assert!(said.contains(hint), "{flags:?}: {said}");
    }
    let said = refusal(&Backend::sqlite(), &["--listen", "0.0.0.0:0"]);
    assert!(said.contains("calltrail token create"), "{said}");
}
