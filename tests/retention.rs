//! Retention as an operator meets it: the real program, real lines, beside a server that goes on taking uploads, killed in the middle,
//! rebuilt, backed up and moved afterwards.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "crash/sender.rs"]
#[allow(dead_code, reason = "only its lines are wanted in most stories")]
mod sender;

use calltrail::model::{Clock, SystemClock};
use common::{Backend, Serve};
use sender::{Event, Numbers, Sender};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::mpsc;

/// Calls of the lines start 20 ms apart.
const PER_HOUR: u64 = 180_000;
/// All of them has settled by then.
const AS_OF: &str = "2100-01-01T00:00:00Z";

macro_rules! on_both {
    ($($story:ident),+ $(,)?) => {
        mod sqlite { $(#[test] fn $story() { super::$story(super::Backend::sqlite()) })+ }
        mod postgres { $(#[test] fn $story() { super::$story(super::Backend::postgres()) })+ }
    };
}

on_both! {
    calls_of_the_first_hour_go_and_what_is_asked_about_the_others_is_answered_as_before,
    a_line_that_comes_after_its_call_was_removed_accuses_nobody_and_changes_no_sum,
    a_rebuild_keeps_the_calls_whose_lines_are_gone,
    a_rebuild_does_not_bring_back_what_was_removed,
    killed_in_the_middle_beside_a_server_it_goes_on_and_no_line_is_lost,
    what_is_left_is_carried_to_a_new_database,
    a_server_removes_by_its_own_rules,
}

fn lines(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let both = |number| {
        let (client, server) = sender::call(number);
        format!("{client}\n{server}\n")
    };
    numbers.into_iter().map(both).collect::<String>().into_bytes()
}

/// Ten calls of each of so many hours, each hour an upload.
fn imported(backend: &Backend, hours: u64) {
    import(
        backend,
        "first",
        &(0..hours).map(|hour| lines((1..=10).map(|n| hour * PER_HOUR + n))).collect::<Vec<_>>(),
    );
}

fn import(backend: &Backend, name: &str, uploads: &[Vec<u8>]) {
    let directory = backend.directory().join(name);
    fs::create_dir(&directory).unwrap();
    for (n, upload) in uploads.iter().enumerate() {
        fs::write(directory.join(format!("{n:04}.jsonl")), upload).unwrap();
    }
    backend.run(&["import", "--source", "mesh", "--proxy", "p", directory.to_str().unwrap()]);
}

/// The rules as the operator writes them; the first call of the lines started on 2026-11-24 at 02:20:47.
fn rules(backend: &Backend, table: &str) -> String {
    let file = backend.directory().join("rules.toml");
    fs::write(&file, format!("[retention]\n{table}\n")).unwrap();
    file.to_str().unwrap().to_owned()
}

fn remove(backend: &Backend, table: &str, as_of: &str) -> String {
    let rules = rules(backend, table);
    backend.run(&["retention", "--apply", "--rules", &rules, "--as-of", as_of, "--ahead"])
}

/// Calls and sums, as they were; told by ids and starts where they are not.
#[track_caller]
fn assert_as_before(backend: &Backend, calls: &[String], sums: &str) {
    let told = |calls: &[String]| {
        let one = |call: &String| {
            let call: Value = serde_json::from_str(call).unwrap();
            format!(
                "  {} {} of {} lines\n",
                call["start"],
                call["id"],
                call["legs"].as_array().unwrap().len()
            )
        };
        calls.iter().map(one).collect::<String>()
    };
    let now = export(backend);
    assert!(now == calls, "now:\n{}before:\n{}", told(&now), told(calls));
    assert_eq!(stats(backend), sums);
}

/// Calls, one a line, by start.
fn export(backend: &Backend) -> Vec<String> {
    let all = backend.run(&["export", "calls", "--format", "ndjson", "--as-of", AS_OF]);
    all.lines().map(str::to_owned).collect()
}

fn starts_before(call: &str, time: &str) -> bool {
    let call: Value = serde_json::from_str(call).unwrap();
    call["start"].as_str().unwrap() < time
}

fn stats(backend: &Backend) -> String {
    backend.run(&["stats", "--from", "2026-11-24", "--to", "2026-11-26", "--step", "1h", "--format", "json"])
}

/// A day after the first hour of calls ended.
const A_DAY_LATER: &str = "2026-11-25T03:00:00Z";
const FIRST_HOUR_ENDS: &str = "2026-11-24T03:00:00";

fn calls_of_the_first_hour_go_and_what_is_asked_about_the_others_is_answered_as_before(backend: Backend) {
    imported(&backend, 4);
    let before = export(&backend);
    let sums = stats(&backend);
    let rules = rules(&backend, "calls = \"1d\"");
    let shown = backend.run(&["retention", "--rules", &rules, "--as-of", A_DAY_LATER]);
    assert!(shown.contains("calls = \"1d\"") && shown.contains("nothing was removed"), "{shown}");
    assert_eq!(export(&backend), before, "to look removes nothing");

    let said = remove(&backend, "calls = \"1d\"", A_DAY_LATER);
    assert!(said.contains("calls: 10 calls removed"), "{said}");
    let left: Vec<String> = before.into_iter().filter(|call| !starts_before(call, FIRST_HOUR_ENDS)).collect();
    assert_eq!((left.len(), export(&backend)), (30, left));
    assert_eq!(stats(&backend), sums, "sums have a rule of their own");
    assert_eq!(remove(&backend, "calls = \"1d\"", A_DAY_LATER), "", "what is gone goes once");

    let server = Serve::on(&backend).start();
    let page = server.wait_for("/v1/calls?limit=1000", |page| page["complete"] == true);
    assert!(page["removed_before"].as_str().unwrap().starts_with("2026-11-24T03:00:00"), "{page}");
    let sources = server.wait_for("/v1/sources", |_| true);
    assert_eq!(sources["removed"][0]["class"], "calls", "{sources}");
}

fn a_line_that_comes_after_its_call_was_removed_accuses_nobody_and_changes_no_sum(backend: Backend) {
    // Both proxies tell of enough calls to be believed, and of each call both sides.
    let many: Vec<u64> = (1..=400).chain((PER_HOUR + 1)..=(PER_HOUR + 10)).collect();
    import(&backend, "first", &[lines(many.into_iter().filter(|n| *n != 400))]);
    remove(&backend, "calls = \"1d\"", A_DAY_LATER);
    let sums = stats(&backend);
    // One side of a call of then: nobody knows any more whether the other was there.
    let (client, server) = sender::call(400);
    import(&backend, "late", &[client.into_bytes()]);
    let calls = export(&backend);
    let late: Vec<Value> = calls
        .iter()
        .filter(|c| starts_before(c, FIRST_HOUR_ENDS))
        .map(|c| serde_json::from_str(c).unwrap())
        .collect();
    assert_eq!(late.len(), 1, "it is a call of its own: {late:?}");
    assert_eq!(
        (&late[0]["basis"], &late[0]["findings"]),
        (&Value::from("single"), &Value::Array(Vec::new()))
    );
    assert_eq!(stats(&backend), sums);
    // The other side joins it as ever.
    import(&backend, "later", &[server.into_bytes()]);
    let joined = export(&backend);
    let joined: Vec<Value> = joined
        .iter()
        .filter(|c| starts_before(c, FIRST_HOUR_ENDS))
        .map(|c| serde_json::from_str(c).unwrap())
        .collect();
    assert_eq!((joined.len(), joined[0]["legs"].as_array().unwrap().len()), (1, 2));
    remove(&backend, "calls = \"1d\"", A_DAY_LATER);
    assert_eq!((export(&backend).len(), stats(&backend)), (10, sums));
}

/// Imports an hour, notes the time, imports another, and removes the lines of the first. Some calls have a side in either.
fn without_the_first_lines(backend: &Backend) {
    let mut first = vec![lines(1..=10)];
    let mut second = vec![lines((PER_HOUR + 1)..=(PER_HOUR + 10))];
    for number in 11..=15 {
        let (client, server) = sender::call(number);
        first.push(client.into_bytes());
        second.push(server.into_bytes());
    }
    import(backend, "first", &first);
    let received = SystemClock.now();
    import(backend, "second", &second);
    let month_later = received.plus_us(30 * 86_400_000_000).to_string();
    let said = remove(backend, "evidence = \"30d\"", &month_later);
    assert!(said.contains("evidence: 25 lines of 6 deliveries removed"), "{said}");
}

fn a_rebuild_keeps_the_calls_whose_lines_are_gone(backend: Backend) {
    without_the_first_lines(&backend);
    let (calls, sums) = (export(&backend), stats(&backend));
    assert_eq!(calls.len(), 25);
    let sources = || backend.run(&["sources", "--format", "json", "--as-of", AS_OF]);
    let known = sources();
    for _ in 0..2 {
        let said = backend.run(&["rebuild"]);
        assert!(
            said.contains("25 calls derived") && said.contains("15 calls of them left as they were"),
            "{said}"
        );
        assert!(said.contains("6 deliveries"), "{said}");
        assert_as_before(&backend, &calls, &sums);
        assert_eq!(sources(), known);
    }
    let id = serde_json::from_str::<Value>(&calls[0]).unwrap()["id"].as_str().unwrap().to_owned();
    assert!(backend.run(&["call", "--lines", &id]).contains("2 lines have been removed"));
}

fn a_rebuild_does_not_bring_back_what_was_removed(backend: Backend) {
    imported(&backend, 3);
    remove(&backend, "calls = \"1d\"", A_DAY_LATER);
    let (calls, sums) = (export(&backend), stats(&backend));
    assert_eq!(calls.len(), 20);
    let said = backend.run(&["rebuild"]);
    assert!(said.contains("20 calls derived"), "{said}");
    assert_eq!(
        (export(&backend), stats(&backend)),
        (calls, sums),
        "the lines are there, the calls stay gone"
    );
}

fn killed_in_the_middle_beside_a_server_it_goes_on_and_no_line_is_lost(backend: Backend) {
    let hours: Vec<Vec<u8>> =
        (0..20).map(|hour| lines((1..=250).map(|n| 1_000_000 + hour * 250 + n))).collect();
    import(&backend, "old", &hours);
    let received = SystemClock.now();
    let numbers = Numbers::default();
    let mut senders: Vec<Sender> = (0..3).map(|i| Sender::new(i, &numbers)).collect();
    let mut server = Serve::on(&backend).start();
    let rules = rules(&backend, "calls = \"1d\"\nevidence = \"1d\"");
    // All that was received so far may go, and all calls that started before: also those of the lines that come meanwhile.
    let as_of = received.plus_us(86_400_000_000).to_string();
    let (mut kills, mut ended) = (0, false);
    std::thread::scope(|scope| {
        let address = server.address;
        let (events, happened) = mpsc::channel();
        for sender in &mut senders {
            let events = events.clone();
            scope.spawn(move || sender.send_until_nobody_answers(address, &events));
        }
        drop(events);
        let mut acknowledged = happened.iter().filter(|event| *event == Event::Acknowledged);
        // Ever later, so that it is killed at its start, in its steps, and at last not at all.
        while !ended {
            let mut command = Command::new(env!("CARGO_BIN_EXE_calltrail"));
            command.args(["retention", "--apply", "--rules", &rules, "--as-of", &as_of, "--ahead"]);
            backend.point(&mut command);
            let mut removing = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            acknowledged.by_ref().take(1 + kills * 3).count();
            ended = removing.try_wait().unwrap().is_some_and(|status| status.success());
            if !ended {
                removing.kill().unwrap();
                let status = removing.wait().unwrap();
                ended = status.success();
            }
            kills += 1;
            assert!(kills < 100, "it never ends");
        }
        server.kill();
    });
    assert!(kills >= 3, "it was killed {kills} times");
    let mut server = Serve::on(&backend).start();
    senders.iter_mut().for_each(|sender| sender.finish(server.address));
    server.wait_for("/v1/calls?limit=1", |page| page["complete"] == true);
    assert!(server.terminate().success());
    remove(&backend, "calls = \"1d\"\nevidence = \"1d\"", &as_of);
    assert_eq!(remove(&backend, "calls = \"1d\"\nevidence = \"1d\"", &as_of), "", "nothing is left to go");
    assert_eq!(export(&backend), [""; 0], "all of them started before, whenever they came");
    let copy = proven(&backend);
    let acknowledged: BTreeSet<String> = senders.iter().flat_map(|s| s.acknowledged().cloned()).collect();
    assert_eq!(
        copy, acknowledged,
        "every line that was acknowledged meanwhile is kept, and no other is left"
    );
}

/// Hashes of all lines that are kept, after their proof.
fn proven(backend: &Backend) -> BTreeSet<String> {
    use sha2::{Digest, Sha256};
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = calltrail::store::Store::open_existing(&backend.location()).await.unwrap();
        let holdings = store.verify(|_| ()).await.unwrap();
        assert_eq!(holdings.forgotten, 20, "exactly the deliveries of old");
        let kept = store.deliveries_after(0, usize::MAX).await.unwrap();
        store.close().await;
        kept.iter().flat_map(|d| &d.delivery.lines).map(|line| hex::encode(Sha256::digest(line))).collect()
    })
}

fn what_is_left_is_carried_to_a_new_database(backend: Backend) {
    without_the_first_lines(&backend);
    remove(&backend, "calls = \"1d\"\nstatistics_minute = \"1d\"", A_DAY_LATER);
    let (calls, sums) = (export(&backend), stats(&backend));
    assert_eq!(calls.len(), 10);
    let target = Backend::sqlite();
    for _ in 0..2 {
        let said = backend.run(&["migrate", "--from", &backend.url(), "--to", &target.url()]);
        assert!(said.contains("carried as it is") && said.contains("6 without lines"), "{said}");
        assert_as_before(&target, &calls, &sums);
    }
    assert!(target.run(&["rebuild"]).contains("6 deliveries"));
    assert_eq!(
        (export(&target), stats(&target)),
        (calls.clone(), sums.clone()),
        "it can be rebuilt there as here"
    );
    let (copy, restored) = (target.directory().join("copy"), Backend::sqlite());
    let name = copy.to_str().unwrap();
    let said = target.run(&["backup", "--to", name]);
    assert!(said.contains("6 without lines, which have been removed"), "{said}");
    restored.run(&["restore", "--from", name]);
    assert_as_before(&restored, &calls, &sums);
    let back = Backend::postgres();
    let said = back.run(&["migrate", "--from", &restored.url(), "--to", &back.url()]);
    assert!(said.contains("6 without lines"), "{said}");
    assert_eq!(export(&back), export(&restored));
}

fn a_server_removes_by_its_own_rules(backend: Backend) {
    // Sixteen years ago, as their rows have it.
    imported(&backend, 1);
    let old = "update call set start_us = start_us - 518400000000000";
    backend.alter(old);
    let rules = rules(&backend, "calls = \"5000d\"\nevery = \"1s\"");
    let server = Serve::on(&backend).arg("--rules").arg(&rules).start();
    server.wait_for("/v1/calls", |page| {
        page["removed_before"].is_string() && page["calls"].as_array().unwrap().is_empty()
    });
    server.ingest("mesh", &lines([PER_HOUR]));
    server.wait_for("/v1/calls", |page| {
        page["complete"] == true && page["calls"].as_array().unwrap().len() == 1
    });
}
