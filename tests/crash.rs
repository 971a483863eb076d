//! Kills the real program, again and again, while senders upload; then asks whether it kept its two promises: nothing that it
//! acknowledged is lost, and nothing is counted twice. On SQLite and on Postgres, at least 100 times each.
//!
//! Each sender behaves as Logpush or a log shipper does: an upload without an answer is sent again until there is one. The
//! moment of each kill is drawn from a seed and counted in requests sent or acknowledged, never in time.

mod common;
#[path = "crash/sender.rs"]
mod sender;

use common::{Backend, Calltrail, Serve};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sender::{Event, Numbers, Sender};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;

const SENDERS: u64 = 4;
const KILLS: u32 = 100;
/// After how many kills what was acknowledged so far is looked for by its lines.
const LOOK_EVERY: u32 = 10;
/// All of it has settled by then.
const AS_OF: &str = "2100-01-01T00:00:00Z";

#[test]
fn what_was_acknowledged_survives_every_kill_and_is_counted_once_on_sqlite() {
    kill_and_count(Backend::sqlite(), 1);
}

#[test]
fn what_was_acknowledged_survives_every_kill_and_is_counted_once_on_postgres() {
    kill_and_count(Backend::postgres(), 2);
}

fn kill_and_count(backend: Backend, seed: u64) {
    let numbers = Numbers::default();
    let mut senders: Vec<Sender> = (0..SENDERS).map(|i| Sender::new(seed * 100 + i, &numbers)).collect();
    let mut dice = StdRng::seed_from_u64(seed);
    let mut seen = BTreeSet::new();
    for kill in 1..=KILLS {
        let moment = Moment::draw(&mut dice);
        let mut server = match moment {
            Moment::WhileStarting => Serve::on(&backend).start_unready(),
            _ => Serve::on(&backend).start(),
        };
        if kill % LOOK_EVERY == 0 {
            look_for_what_was_acknowledged(&server, &senders, &mut seen);
        }
        load_until(&moment, &mut server, &mut senders);
    }
    let mut server = Serve::on(&backend).start();
    senders.iter_mut().for_each(|sender| sender.finish(server.address));
    wait_until_everything_is_joined(&server);
    look_for_what_was_acknowledged(&server, &senders, &mut seen);
    assert!(server.terminate().success(), "SIGTERM is an orderly end:\n{}", server.log());

    let export = ["export", "calls", "--format", "ndjson", "--as-of", AS_OF];
    let derived = backend.run(&export);
    count(&derived, &senders, numbers.calls());
    backend.run(&["rebuild"]);
    let again = backend.run(&export);
    assert!(derived == again, "a rebuild gives other bytes: {}", first_difference(&derived, &again));
}

/// When the program is killed.
#[derive(Debug)]
enum Moment {
    /// As soon as it listens: what it does at its start is interrupted, too.
    WhileStarting,
    /// The answer to the last of them is out; what it leads to is not done.
    Acknowledged(u32),
    /// The last of them is on its way in.
    Sent(u32),
}

impl Moment {
    fn draw(dice: &mut StdRng) -> Moment {
        match dice.random_range(0..10) {
            0 => Moment::WhileStarting,
            1..=5 => Moment::Acknowledged(dice.random_range(1..=30)),
            _ => Moment::Sent(dice.random_range(1..=30)),
        }
    }
}

/// Lets the senders loose and kills the server at its moment. They stop by themselves when nobody answers any more.
fn load_until(moment: &Moment, server: &mut Calltrail, senders: &mut [Sender]) {
    let (event, count) = match moment {
        Moment::WhileStarting => {
            server.kill();
            return;
        }
        Moment::Acknowledged(count) => (Event::Acknowledged, *count),
        Moment::Sent(count) => (Event::Sent, *count),
    };
    let address = server.address;
    std::thread::scope(|scope| {
        let (events, happened) = mpsc::channel();
        for sender in senders {
            let events = events.clone();
            scope.spawn(move || sender.send_until_nobody_answers(address, &events));
        }
        drop(events);
        // Fewer than that come only when every sender has given up: the server is gone, or a sender has failed its test.
        let counted = happened.iter().filter(|e| *e == event).take(count as usize).count();
        let log = server.log();
        server.kill();
        assert_eq!(counted, count as usize, "the server went before it was killed ({moment:?}):\n{log}");
    });
}

/// Every line that was acknowledged since the last look is found by its hash, in a call.
fn look_for_what_was_acknowledged(server: &Calltrail, senders: &[Sender], seen: &mut BTreeSet<String>) {
    wait_until_everything_is_joined(server);
    let lines = senders.iter().flat_map(|sender| sender.acknowledged());
    for line in lines.filter(|line| !seen.contains(*line)).cloned().collect::<Vec<_>>() {
        let answer = server.get(&format!("/v1/calls/{line}")).unwrap();
        assert_eq!(answer.status, 200, "acknowledged and lost: line {line}: {}", answer.text());
        seen.insert(line);
    }
}

/// The correlator has reached the head of the evidence.
fn wait_until_everything_is_joined(server: &Calltrail) {
    server.wait_for("/v1/calls?limit=1", |page| page["complete"] == true);
}

fn count(export: &str, senders: &[Sender], calls_sent: u64) {
    let mut call_of_line = BTreeMap::new();
    let mut deliveries = BTreeSet::new();
    let mut calls = 0;
    for line in export.lines() {
        let call: serde_json::Value = serde_json::from_str(line).unwrap();
        calls += 1;
        let legs = call["legs"].as_array().unwrap();
        assert_eq!(legs.len(), 2, "both sides were acknowledged and are one call: {call}");
        for leg in legs {
            deliveries.insert(leg["delivery"].as_u64().unwrap());
            let before =
                call_of_line.insert(leg["line_sha256"].as_str().unwrap().to_owned(), call["id"].clone());
            assert_eq!(before, None, "one line is in two legs: {call}");
        }
    }
    let found: BTreeSet<&String> = call_of_line.keys().collect();
    let acknowledged: BTreeSet<&String> = senders.iter().flat_map(|sender| sender.acknowledged()).collect();
    let lost: Vec<_> = acknowledged.difference(&found).collect();
    let invented: Vec<_> = found.difference(&acknowledged).collect();
    assert!(lost.is_empty() && invented.is_empty(), "lost: {lost:?}\nnever acknowledged: {invented:?}");
    assert_eq!(calls, calls_sent, "calls in the export against calls that were made");
    let uploads: u64 = senders.iter().map(|sender| sender.uploads()).sum();
    let numbers: BTreeSet<u64> = (1..=uploads).collect();
    let odd: Vec<&u64> = deliveries.symmetric_difference(&numbers).collect();
    assert!(odd.is_empty(), "{uploads} uploads are numbered without a gap, each once; not so at {odd:?}");
}

fn first_difference(a: &str, b: &str) -> String {
    let pair = a.lines().zip(b.lines()).find(|(a, b)| a != b);
    match pair {
        Some((a, b)) => format!("\n  before: {a}\n  after:  {b}"),
        None => format!("{} lines before, {} after", a.lines().count(), b.lines().count()),
    }
}
