//! A disk that is really full: the data directory is a small file system of its own, in a mount namespace, most of it taken by
//! a file that the test can remove. What must hold: uploads are told to come back (503 with Retry-After), nothing that was
//! acknowledged is lost, and when there is room again the same process goes on.

mod common;

use common::{Answer, Calltrail, Serve};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DISK_BYTES: u64 = 48 << 20;
/// Of which this much is given back later: more than what is derived of the rest can need.
const BALLAST_BYTES: u64 = 40 << 20;
const BALLAST: &str = "ballast";
/// More than enough to fill the rest of the disk.
const MOST_UPLOADS: u64 = 2_000;

#[test]
fn a_full_disk_is_told_to_the_sender_and_is_got_over_without_a_restart() {
    let mount = tempfile::tempdir().unwrap();
    let server = serve_on_small_disk(mount.path());
    let mut dice = StdRng::seed_from_u64(7);

    let mut acknowledged = Vec::new();
    let refused = loop {
        let upload = Upload::new(acknowledged.len() as u64 + 1, &mut dice);
        let answer = server.post("/ingest/mesh", &upload.body).unwrap();
        if answer.status == 503 {
            assert_comes_back(&answer);
            break upload;
        }
        assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
        acknowledged.push(upload);
        assert!((acknowledged.len() as u64) < MOST_UPLOADS, "the disk does not fill up");
    };
    assert!(!acknowledged.is_empty(), "there was room for something:\n{}", server.log());
    let healthy = server.get("/healthz").unwrap();
    assert_eq!(healthy.status, 200, "a full disk is no reason to restart the process: {}", healthy.text());
    let again = server.post("/ingest/mesh", &refused.body).unwrap();
    assert_eq!(again.status, 503, "still full, still 503: {}", again.text());
    assert_comes_back(&again);

    std::fs::remove_file(inside(&server, mount.path()).join(BALLAST)).unwrap();
    let answer = server.ask_until_taken(&refused.body);
    assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
    acknowledged.push(refused);

    server.wait_for("/v1/calls?limit=1", |page| page["complete"] == true);
    let found = all_traces(&server);
    let sent: Vec<&String> = acknowledged.iter().map(|upload| &upload.trace).collect();
    assert_eq!(found.len(), sent.len(), "each acknowledged upload is one call, none is there twice");
    let found: BTreeSet<&String> = found.iter().collect();
    let lost: Vec<_> = sent.into_iter().filter(|trace| !found.contains(trace)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}

/// One call of a caller's sidecar with a path that does not compress: a few uploads fill the disk.
struct Upload {
    trace: String,
    body: Vec<u8>,
}

impl Upload {
    fn new(number: u64, dice: &mut StdRng) -> Upload {
        let trace = format!("0af7651916cd43ee{number:016x}");
        let noise: String = (0..30_000).map(|_| char::from(dice.random_range(b'a'..=b'z'))).collect();
        let line = include_str!("fixtures/crash/web-calls-api.client.jsonl")
            .replace("0af7651916cd43dd8448eb2100000001", &trace)
            .replace("ext-req-0001", &format!("disk-req-{number}"))
            .replace(
                "bd2cd539-310d-48ad-8527-c0d7c901a106",
                &format!("bd2cd539-310d-48ad-8527-{number:012x}"),
            )
            .replace("\"/orders\"", &format!("\"/orders/{noise}\""));
        Upload { trace, body: line.into_bytes() }
    }
}

impl Calltrail {
    /// Sends the same upload until it is taken, as a sender that was told to come back does.
    fn ask_until_taken(&self, body: &[u8]) -> Answer {
        for _ in 0..1_000 {
            let answer = self.post("/ingest/mesh", body).unwrap();
            if answer.status != 503 {
                return answer;
            }
            // The answer to a question that touches the disk is what there is to wait for.
            let _ = self.get("/readyz").unwrap();
        }
        panic!("there is room again, and uploads are still refused:\n{}", self.log());
    }
}

#[track_caller]
fn assert_comes_back(answer: &Answer) {
    let after = answer.header("retry-after").and_then(|value| value.parse::<u32>().ok());
    assert!(
        after.is_some_and(|seconds| seconds > 0),
        "503 says when to come back: {:?}",
        answer.header("retry-after")
    );
}

fn all_traces(server: &Calltrail) -> Vec<String> {
    let mut traces = Vec::new();
    let mut path = "/v1/calls?limit=100".to_owned();
    loop {
        let page = server.json(&path);
        let calls = page["calls"].as_array().unwrap();
        traces.extend(calls.iter().map(|call| call["trace_id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/calls?limit=100&cursor={next}"),
            None => return traces,
        }
    }
}

/// `unshare` makes the namespace, a shell mounts the file system and takes most of it, and becomes calltrail.
fn serve_on_small_disk(mount: &Path) -> Calltrail {
    let script = format!(
        "mount -t tmpfs -o size={DISK_BYTES} tmpfs '{dir}' && head -c {BALLAST_BYTES} /dev/zero > '{dir}/{BALLAST}' && \
         exec '{binary}' \"$@\" --data-dir '{dir}/data'",
        dir = mount.display(),
        binary = env!("CARGO_BIN_EXE_calltrail"),
    );
    Serve::with_program("unshare", &[namespace_options(), "sh", "-c", &script, "sh"]).start()
}

/// The mount as the server sees it; outside of its namespace the folder is empty.
fn inside(server: &Calltrail, mount: &Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", server.pid()));
    root.join(mount.strip_prefix("/").unwrap())
}

/// With a user namespace where they are allowed (no privilege needed), else as root.
fn namespace_options() -> &'static str {
    let works = |options: &str| {
        let mut probe = Command::new("unshare");
        probe.args([options, "sh", "-c", "mount -t tmpfs tmpfs /mnt"]).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    };
    ["-rm", "-m"].into_iter().find(|options| works(options)).expect(
        "a full disk needs a small file system: allow user namespaces, or run as root with the right to mount (Linux only)",
    )
}
