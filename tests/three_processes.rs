//! Three servers on one Postgres, each taking lines of every call. The one that derives is paused in the middle of a transaction, wakes
//! up when another has followed, and the one that followed is killed. Nothing is lost, nothing is there twice, and what comes out is,
//! byte for byte, what one process makes of the same lines in a directory of its own.

#[path = "three_processes/capture.rs"]
mod capture;
mod common;
#[path = "three_processes/witness.rs"]
mod witness;

use capture::Upload;
use common::{Backend, Calltrail, Serve};
use std::time::{Duration, Instant};
use witness::Witness;

/// Within this, whoever is gone must have been followed.
const FOLLOWED: Duration = Duration::from_secs(10);
/// Everything has settled by then.
const AS_OF: &str = "2100-01-01T00:00:00Z";
/// What a process says when it has taken the correlator's office.
const DERIVES: &str = "this process derives now";

#[test]
fn three_servers_of_which_one_is_paused_and_one_is_killed_make_what_one_makes_alone() {
    let backend = Backend::postgres();
    let mut witness = Witness::of(&backend);
    let uploads = capture::uploads();
    let (before, rest) = uploads.split_at(uploads.len() / 3);
    let (meanwhile, after) = rest.split_at(rest.len() / 2);

    let mut servers: Vec<Calltrail> = vec![start(&backend)];
    wait_until(&servers[0], "the first one derives", |first| terms(first) == 1);
    servers.extend([start(&backend), start(&backend)]);
    send(before, &servers, &[0, 1, 2]);

    let paused_at = pause_within_a_transaction(&servers, &mut witness, &meanwhile[..6]);
    send(&meanwhile[6..], &servers, &[1, 2]);
    let follower = followed(&servers, &[1, 2], &[0, 0], paused_at);

    let position = witness.position();
    servers[0].signal("CONT");
    wait_until(&servers[0], "who wakes up learns that the office is lost", |s| {
        s.log().contains("the correlator's office was lost")
    });
    let (first, last) = after.split_at(after.len() / 2);
    send(first, &servers, &[0, 1, 2]);
    assert!(witness.position() >= position, "who woke up has turned nothing back");

    let others: Vec<usize> = (0..3).filter(|n| *n != follower).collect();
    let had = [terms(&servers[others[0]]), terms(&servers[others[1]])];
    servers[follower].kill();
    let killed_at = Instant::now();
    send(last, &servers, &others);
    followed(&servers, &others, &had, killed_at);
    servers[follower] = start(&backend);

    for server in &mut servers {
        server.wait_for("/v1/calls?limit=1", |page| page["complete"] == true);
        assert_eq!(stored(server, "deliveries"), uploads.len() as u64);
        assert_eq!(stored(server, "lines"), uploads.iter().map(Upload::lines).sum::<u64>());
        assert!(server.terminate().success(), "{}", server.log());
    }
    equals_what_one_makes_alone(&backend);
}

fn start(backend: &Backend) -> Calltrail {
    Serve::on(backend).arg("--rules").arg(&capture::file("calltrail.toml")).start()
}

/// One upload after the other, each to the next of these servers.
fn send(uploads: &[Upload], servers: &[Calltrail], to: &[usize]) {
    for (n, upload) in uploads.iter().enumerate() {
        servers[to[n % to.len()]].ingest(upload.source, &upload.body);
    }
}

/// Holds the correlator's row until the first server waits for it with a transaction that has begun, stops it there, and lets go:
/// its transaction now has the row, and nobody goes on with it.
fn pause_within_a_transaction(servers: &[Calltrail], witness: &mut Witness, more: &[Upload]) -> Instant {
    servers[0].wait_for("/v1/calls?limit=1", |page| page["complete"] == true);
    witness.hold_the_correlators_row();
    send(more, servers, &[1, 2]);
    witness.wait_for_a_step_that_waits();
    servers[0].signal("STOP");
    let paused_at = Instant::now();
    witness.let_go();
    witness.wait_for_a_step_that_has_the_row();
    paused_at
}

/// Which of these has taken the office since, which must be soon; and it gets on with the work.
fn followed(servers: &[Calltrail], candidates: &[usize], had: &[usize], gone_at: Instant) -> usize {
    loop {
        let taken = candidates.iter().zip(had).find(|(n, had)| terms(&servers[**n]) > **had);
        if let Some((n, _)) = taken {
            let waited = gone_at.elapsed();
            servers[*n].wait_for("/v1/calls?limit=1", |page| page["complete"] == true);
            eprintln!("followed after {waited:?}, and caught up after {:?}", gone_at.elapsed());
            return *n;
        }
        assert!(gone_at.elapsed() < FOLLOWED, "nobody followed:\n{}", servers[candidates[0]].log());
        // An answer takes a moment: nothing spins.
        servers[candidates[0]].get("/healthz").unwrap();
    }
}

/// How often it has taken the office.
fn terms(server: &Calltrail) -> usize {
    server.log().matches(DERIVES).count()
}

fn wait_until(server: &Calltrail, what: &str, enough: impl Fn(&Calltrail) -> bool) {
    let began = Instant::now();
    while !enough(server) {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{what}: not so after a minute:\n{}",
            server.log()
        );
        server.get("/healthz").unwrap();
    }
}

/// A gauge of `/metrics`.
fn stored(server: &Calltrail, what: &str) -> u64 {
    let name = format!("calltrail_store_{what} ");
    let answer = server.ask_until("/metrics", |answer| answer.status == 200).text();
    let line = answer.lines().find_map(|line| line.strip_prefix(&name)).expect("such a gauge");
    line.parse::<f64>().unwrap() as u64
}

/// The evidence is carried, each line proven, to a data directory; one process derives everything there.
fn equals_what_one_makes_alone(backend: &Backend) {
    let alone = Backend::sqlite();
    let rules = capture::file("calltrail.toml");
    alone.run(&["migrate", "--from", &backend.url(), "--to", &alone.url(), "--rules", &rules]);
    let export = ["export", "calls", "--format", "ndjson", "--as-of", AS_OF];
    let (together, alone) = (backend.run(&export), alone.run(&export));
    assert!(together.lines().count() > 1_000, "{} calls", together.lines().count());
    let other = together.lines().zip(alone.lines()).find(|(a, b)| a != b);
    assert!(together == alone, "the first difference: {other:#?}");
}
