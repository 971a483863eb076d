//! A sender that keeps a ledger: what it sent, what was acknowledged, and what has no answer yet and is sent again.

use super::common::http;
use chrono::{DateTime, SecondsFormat, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

/// Two lines of one real call, of its two sidecars.
const CLIENT_LINE: &str = include_str!("../fixtures/crash/web-calls-api.client.jsonl");
const SERVER_LINE: &str = include_str!("../fixtures/crash/web-calls-api.server.jsonl");
/// When that call started, 2026-11-24T02:20:47.665296Z; each made of it starts a little later than the one before.
const FIRST_START_US: i64 = 1_795_486_847_665_296;
const APART_US: i64 = 20_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Sent,
    Acknowledged,
}

/// Numbers of calls, shared by all senders of a test: no two calls are alike.
#[derive(Clone, Default)]
pub struct Numbers(Arc<AtomicU64>);

impl Numbers {
    pub fn calls(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }
}

pub struct Sender {
    dice: StdRng,
    numbers: Numbers,
    /// Lines of callees whose callers' lines went out with an earlier upload: the two sides of a call come apart.
    held: Vec<String>,
    unanswered: Option<Vec<String>>,
    acknowledged: Vec<String>,
    uploads: u64,
}

impl Sender {
    pub fn new(seed: u64, numbers: &Numbers) -> Sender {
        Sender {
            dice: StdRng::seed_from_u64(seed),
            numbers: numbers.clone(),
            held: Vec::new(),
            unanswered: None,
            acknowledged: Vec::new(),
            uploads: 0,
        }
    }

    /// SHA-256 of each line that was acknowledged.
    pub fn acknowledged(&self) -> impl Iterator<Item = &String> {
        self.acknowledged.iter()
    }

    /// Different uploads that were acknowledged.
    pub fn uploads(&self) -> u64 {
        self.uploads
    }

    pub fn send_until_nobody_answers(&mut self, to: SocketAddr, events: &mpsc::Sender<Event>) {
        loop {
            let lines = self.unanswered.take().unwrap_or_else(|| self.next_upload());
            let _ = events.send(Event::Sent);
            if !self.send(to, lines) {
                return;
            }
            let _ = events.send(Event::Acknowledged);
        }
    }

    /// What has no answer yet, and what was held back.
    pub fn finish(&mut self, to: SocketAddr) {
        if let Some(lines) = self.unanswered.take() {
            assert!(self.send(to, lines), "nobody answers");
        }
        let held = std::mem::take(&mut self.held);
        assert!(held.is_empty() || self.send(to, held), "nobody answers");
    }

    /// True when the upload was acknowledged; without an answer nobody knows, and it stays unanswered. Any other answer is a
    /// fault: a database with room to write has no reason to say no.
    fn send(&mut self, to: SocketAddr, lines: Vec<String>) -> bool {
        let body = lines.join("\n") + "\n";
        let Ok(answer) = http::post(to, "/ingest/mesh", body.as_bytes()) else {
            self.unanswered = Some(lines);
            return false;
        };
        assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
        self.acknowledged.extend(lines.iter().map(|line| hex::encode(Sha256::digest(line))));
        self.uploads += 1;
        true
    }

    fn next_upload(&mut self) -> Vec<String> {
        let mut lines = std::mem::take(&mut self.held);
        for _ in 0..self.dice.random_range(1..=4) {
            let (client, server) = call(self.numbers.next());
            lines.push(client);
            match self.dice.random_bool(0.5) {
                true => lines.push(server),
                false => self.held.push(server),
            }
        }
        lines
    }
}

/// The fixture's call, made a call of its own: ids, ray, port and time are its number's.
pub fn call(number: u64) -> (String, String) {
    let start = FIRST_START_US + APART_US * i64::try_from(number).unwrap();
    let own = |line: &str, side: u8, start_us: i64| {
        line.trim_end()
            .replace("0af7651916cd43dd8448eb2100000001", &format!("0af7651916cd43dd{number:016x}"))
            .replace("ext-req-0001", &format!("ext-req-{number:08}"))
            .replace("8f1a2b3c4d5e0001", &format!("8f1a{number:012x}"))
            .replace("127.0.0.1:41628", &format!("127.0.0.1:{}", 20_000 + number % 40_000))
            .replace("bd2cd539-310d-48ad-8527-c0d7c901a106", &unique_id(side, number))
            .replace("14efdee0-7de4-40a5-a59b-1dfe242666f6", &unique_id(side, number))
            .replace("2026-11-24T02:20:47.665296Z", &rfc3339(start_us))
            .replace("2026-11-24T02:20:47.670112Z", &rfc3339(start_us))
    };
    (own(CLIENT_LINE, 1, start), own(SERVER_LINE, 2, start + 4_816))
}

fn unique_id(side: u8, number: u64) -> String {
    format!("{side:08x}-310d-48ad-8527-{number:012x}")
}

fn rfc3339(us: i64) -> String {
    DateTime::<Utc>::from_timestamp_micros(us).unwrap().to_rfc3339_opts(SecondsFormat::Micros, true)
}
