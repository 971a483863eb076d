//! The two real captures that the project carries, as deliveries with their truth.

use crate::derive;
use anyhow::{Context, Result};
use calltrail::config::load_rules;
use calltrail::correlate::Rules;
use calltrail::decode::frame;
use calltrail::evidence::delivery_id;
use calltrail::model::{Delivery, Leg, LegId, Side, Timestamp};
use calltrail_score::{Labels, LineHash, RealCall, Role, truth};
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};

/// All lines of a capture were received at once, after the last of them was written.
pub const RECEIVED_AT: Timestamp = Timestamp(1_795_600_000_000_000);

/// Lines, truth, and the rules and labels under which both are read.
pub struct Capture {
    pub files: Vec<File>,
    pub truth: Vec<RealCall>,
    pub rules: Rules,
    pub labels: Labels,
}

/// One file of lines.
#[derive(Clone)]
pub struct File {
    pub source: &'static str,
    /// Its name without its endings.
    pub stem: String,
    pub lines: Vec<Vec<u8>>,
}

impl File {
    pub fn is_mesh(&self) -> bool {
        self.source == "mesh"
    }
}

/// `demo/`: from the edge through the mesh, attacks among the calls, no hop ids.
pub fn fullstack_a(root: &Path) -> Result<Capture> {
    let folders = [("logpush-workers", "demo/worker"), ("logpush-zone", "demo/zone"), ("mesh", "demo/mesh")];
    read(root, "fullstack-a", &folders, load_rules(&root.join("demo/calltrail.toml"))?)
}

/// `tests/fixtures/score/hop`: a mesh that sets hop ids.
pub fn hop(root: &Path) -> Result<Capture> {
    read(root, "hop", &[("mesh", "tests/fixtures/score/hop/mesh")], Rules::default())
}

fn read(root: &Path, name: &str, folders: &[(&'static str, &str)], rules: Rules) -> Result<Capture> {
    let fixtures = root.join("tests/fixtures/score");
    let mut files = Vec::new();
    for (source, folder) in folders {
        for path in paths(&root.join(folder))? {
            files.push(file(source, &path).with_context(|| format!("cannot read {}", path.display()))?);
        }
    }
    let mut truth = truth::load(&fixtures.join(name).join("truth.jsonl.gz"))?;
    mark_equals(&mut truth, &derive::decode(&deliveries(&files)).0, |_| Common {
        headers: true,
        sockets: true,
    });
    Ok(Capture { files, truth, rules, labels: Labels::load(&fixtures.join("findings.json"))? })
}

fn paths(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries.map(|e| Ok(e?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn file(source: &'static str, path: &Path) -> Result<File> {
    let mut body = Vec::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(path)?).read_to_end(&mut body)?;
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let stem = name.split('.').next().unwrap_or_default().to_owned();
    let lines = frame::split(&body, usize::MAX).map_err(|e| anyhow::anyhow!("{e:?}"))?;
    Ok(File { source, stem, lines })
}

/// One delivery per file, as `import` makes them.
pub fn deliveries(files: &[File]) -> Vec<Delivery> {
    files
        .iter()
        .map(|f| delivery(f.source, Some(&f.stem).filter(|_| f.is_mesh()), &f.lines, RECEIVED_AT))
        .collect()
}

pub fn delivery(source: &str, proxy: Option<&String>, lines: &[Vec<u8>], received_at: Timestamp) -> Delivery {
    let proxy = proxy.cloned();
    let id = delivery_id(source, proxy.as_deref(), &lines.join(&b'\n'));
    Delivery { id, source: source.to_owned(), proxy, received_at, lines: lines.to_vec() }
}

/// What both ends of a call could log of it, but for time: who, to whom, on which connection, with which ids, for what.
type Sameness = (String, String, Option<calltrail::model::SocketPair>, Vec<Option<String>>);

fn sameness(leg: &Leg, common: Common) -> Sameness {
    let text = |t: &dyn std::fmt::Display| Some(t.to_string());
    let mut ids = vec![leg.request_key().map(|r| r.to_string()), leg.method.clone(), leg.path.clone()];
    if common.headers {
        ids.extend([
            leg.trace.as_ref().and_then(|t| text(&t.trace_id)),
            leg.trace.as_ref().and_then(|t| text(&t.parent_id)),
            leg.ray.clone(),
            leg.hop.clone(),
            leg.parent_hop.clone(),
            leg.header.as_ref().map(|h| h.signed_text.clone()),
        ]);
    }
    (leg.observer.name.clone(), leg.peer.key(), leg.socket.clone().filter(|_| common.sockets), ids)
}

/// What both ends of a call print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Common {
    /// Trace context, ray, hop, signed header: Consul's default format has none of them.
    pub headers: bool,
    /// The same addresses: not behind a NAT.
    pub sockets: bool,
}

/// Gives calls a common number that were under way at the same time and share everything that both ends log.
pub fn mark_equals(truth: &mut [RealCall], legs: &[Leg], common: impl Fn(&RealCall) -> Common) {
    let by_line: HashMap<LineHash, &Leg> =
        legs.iter().filter(|l| l.side == Side::Client).map(|l| (LineHash(l.line.line_sha256.0), l)).collect();
    let mut alike: BTreeMap<Sameness, Vec<(Timestamp, Timestamp, LegId, usize)>> = BTreeMap::new();
    for (i, call) in truth.iter_mut().enumerate() {
        call.interchangeable = None;
        let line = call.lines.iter().find(|l| matches!(l.role, Role::Caller | Role::Gateway));
        if let Some(leg) = line.and_then(|l| by_line.get(&l.sha256)).filter(|l| l.socket.is_some()) {
            let key = sameness(leg, common(call));
            alike.entry(key).or_default().push((leg.start, leg.end(), leg.id, i));
        }
    }
    let mut group = 0;
    for mut uses in alike.into_values() {
        uses.sort_unstable();
        let mut until = Timestamp(i64::MIN);
        let mut previous: Option<usize> = None;
        for (start, end, _, call) in uses {
            match previous {
                Some(before) if start < until => {
                    let number = *truth[before].interchangeable.get_or_insert(group);
                    truth[call].interchangeable = Some(number);
                }
                _ => group += 1,
            }
            until = until.max(end);
            previous = Some(call);
        }
    }
}
