//! A damaged copy of a capture, with the truth of what is left: lines lost, twice, late, by clocks that are off, and a share of the
//! proxies in Consul's default format.
//!
//! Reads and writes lines as Envoy does; knows nothing of how they are joined. The same seed gives the same copy, and one kind of
//! damage does not change another's draws.

use crate::captures::{self, Capture, Common, File, RECEIVED_AT, delivery};
use crate::derive;
use calltrail::model::{Delivery, Timestamp};
use calltrail_score::{LineHash, RealCall, Role};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Shares from 0 to 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct Damage {
    pub seed: u64,
    pub lost: f64,
    pub twice: f64,
    pub late: f64,
    /// Each proxy's clock is off by a fixed amount of up to this.
    pub skew_us: i64,
    /// Of the proxies.
    pub default_format: f64,
}

impl Damage {
    /// 5 % lost, 5 % twice, 10 % late, clocks off by up to 2 s, 30 % of the proxies in Consul's default format.
    pub fn of_the_issue(seed: u64) -> Self {
        Damage { seed, lost: 0.05, twice: 0.05, late: 0.1, skew_us: 2_000_000, default_format: 0.3 }
    }
}

/// Late lines, and second copies, come this much later.
const LATE_US: i64 = 3_600_000_000;
/// Behind Cloudflare, the only client address that the default format knows of a request to the gateway.
const LAST_FORWARDED_FOR: &str = "2a06:98c0:3600::103";

/// What became of a line.
struct Fate {
    sha256: LineHash,
    shows_headers: bool,
}

pub fn degrade(capture: &Capture, damage: Damage) -> (Vec<Delivery>, Vec<RealCall>) {
    let mesh: Vec<&File> = capture.files.iter().filter(|f| f.is_mesh()).collect();
    let in_default = share(damage, "default_format", &mesh);
    let (mut deliveries, mut fates) = (Vec::new(), HashMap::new());
    for file in &capture.files {
        let mut chance = Chances::new(damage, &file.stem, file.source);
        let offset_us = if file.is_mesh() { chance.offset_us() } else { 0 };
        let default = in_default.contains(&file.stem.as_str()) && file.is_mesh();
        let (mut on_time, mut late) = (Vec::new(), Vec::new());
        for line in &file.lines {
            let (lost, twice, is_late) = chance.of_a_line();
            if lost {
                continue;
            }
            let changed = if file.is_mesh() { changed(line, offset_us, default) } else { line.clone() };
            let fate = Fate { sha256: hash(&changed), shows_headers: !default };
            fates.insert(hash(line), fate);
            if twice {
                late.push(changed.clone());
            }
            if is_late { late.push(changed) } else { on_time.push(changed) }
        }
        let proxy = Some(&file.stem).filter(|_| file.is_mesh());
        for (lines, received_at) in [(on_time, RECEIVED_AT), (late, RECEIVED_AT.plus_us(LATE_US))] {
            if !lines.is_empty() {
                deliveries.push(delivery(file.source, proxy, &lines, received_at));
            }
        }
    }
    deliveries.sort_by_key(|d| (d.received_at, d.id));
    let mut whole = capture.truth.clone();
    let shows_headers =
        |c: &RealCall| c.lines.iter().all(|l| fates.get(&l.sha256).is_none_or(|f| f.shows_headers));
    let legs = derive::decode(&captures::deliveries(&capture.files)).0;
    captures::mark_equals(&mut whole, &legs, |c| Common { headers: shows_headers(c), sockets: true });
    let truth = whole.iter().map(|call| what_is_left(call, &fates)).collect();
    (deliveries, truth)
}

fn share<'a>(damage: Damage, kind: &str, files: &[&'a File]) -> Vec<&'a str> {
    let mut by_chance: Vec<(u64, &str)> =
        files.iter().map(|f| (stream(damage.seed, kind, &f.stem).next_u64(), f.stem.as_str())).collect();
    by_chance.sort_unstable();
    let count = (files.len() as f64 * damage.default_format).round() as usize;
    by_chance.into_iter().take(count).map(|(_, stem)| stem).collect()
}

fn what_is_left(call: &RealCall, fates: &HashMap<LineHash, Fate>) -> RealCall {
    let mut left = call.clone();
    left.lines.clear();
    let mut provable = false;
    for line in &call.lines {
        let Some(fate) = fates.get(&line.sha256) else {
            left.lost += 1;
            continue;
        };
        let in_mesh = matches!(line.role, Role::Caller | Role::Callee | Role::Gateway);
        provable |= if in_mesh { fate.shows_headers } else { matches!(line.role, Role::Worker | Role::Zone) };
        left.lines.push(calltrail_score::RealLine { sha256: fate.sha256, ..line.clone() });
    }
    left.principal_provable &= provable || call.is_edge();
    left
}

struct Chances {
    damage: Damage,
    offset: ChaCha8Rng,
    lost: ChaCha8Rng,
    twice: ChaCha8Rng,
    late: ChaCha8Rng,
}

impl Chances {
    fn new(damage: Damage, stem: &str, source: &str) -> Self {
        let of = |kind: &str| stream(damage.seed, kind, &format!("{source}/{stem}"));
        Chances { damage, offset: of("offset"), lost: of("lost"), twice: of("twice"), late: of("late") }
    }

    fn offset_us(&mut self) -> i64 {
        self.offset.random_range(-self.damage.skew_us..=self.damage.skew_us)
    }

    fn of_a_line(&mut self) -> (bool, bool, bool) {
        let Damage { lost, twice, late, .. } = self.damage;
        let hits = |of: &mut ChaCha8Rng, share: f64| of.random::<f64>() < share;
        (hits(&mut self.lost, lost), hits(&mut self.twice, twice), hits(&mut self.late, late))
    }
}

/// A stream of chances of its own for each purpose.
fn stream(seed: u64, kind: &str, key: &str) -> ChaCha8Rng {
    let digest = Sha256::digest(format!("{seed} {kind} {key}"));
    ChaCha8Rng::from_seed(digest.into())
}

fn hash(line: &[u8]) -> LineHash {
    LineHash(Sha256::digest(line).into())
}

fn changed(line: &[u8], offset_us: i64, default_format: bool) -> Vec<u8> {
    if offset_us == 0 && !default_format {
        return line.to_vec();
    }
    let mut fields: Map<String, Value> =
        serde_json::from_slice(line).expect("the capture's lines are JSON objects");
    if let Some(start) = fields.get("start_time").and_then(Value::as_str) {
        let moved: Timestamp = start.parse().expect("the capture's times are RFC 3339");
        fields.insert("start_time".to_owned(), json!(moved.plus_us(offset_us).to_string()));
    }
    let fields = if default_format { in_default_format(&fields) } else { Value::Object(fields) };
    serde_json::to_vec(&fields).expect("JSON that was read can be written")
}

/// Consul's `defaultJSONFormat` (`agent/xds/accesslogs`): neither trace headers nor identities, milliseconds, and of a visitor behind
/// Cloudflare only an address without a port, since Consul sets `use_remote_address` to false.
fn in_default_format(fields: &Map<String, Value>) -> Value {
    const SAME: [&str; 15] = [
        "authority",
        "bytes_received",
        "bytes_sent",
        "connection_termination_details",
        "downstream_local_address",
        "method",
        "path",
        "protocol",
        "request_id",
        "requested_server_name",
        "response_code",
        "response_code_details",
        "response_flags",
        "upstream_cluster",
        "upstream_host",
    ];
    const NULL: [&str; 3] = ["route_name", "upstream_service_time", "user_agent"];
    let get = |name: &str| fields.get(name).cloned().unwrap_or(Value::Null);
    let mut out: Map<String, Value> = SAME.iter().map(|name| ((*name).to_owned(), get(name))).collect();
    out.extend(NULL.iter().map(|name| ((*name).to_owned(), Value::Null)));
    out.insert("upstream_local_address".to_owned(), get("upstream_local_address"));
    out.insert("upstream_transport_failure_reason".to_owned(), get("upstream_transport_failure_reason"));
    out.insert("duration".to_owned(), get("duration_ms"));
    let start = get("start_time");
    let start = start.as_str().unwrap_or_default();
    out.insert("start_time".to_owned(), json!(format!("{}Z", start.get(..23).unwrap_or(start))));
    let from_outside = fields.get("node_id").and_then(Value::as_str).is_some_and(|n| n.starts_with("gw"))
        && get("cf_ray") != Value::Null;
    let remote = match from_outside {
        true => json!(format!("[{LAST_FORWARDED_FOR}]:0")),
        false => get("downstream_direct_remote_address"),
    };
    out.insert("downstream_remote_address".to_owned(), remote);
    out.insert(
        "x_forwarded_for".to_owned(),
        if from_outside { json!(LAST_FORWARDED_FOR) } else { Value::Null },
    );
    Value::Object(out)
}
