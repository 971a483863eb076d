//! A simulated world on disk: what each sender sent, in files as an operator would find them, and the truth beside them.
//!
//! `calltrail import --source mesh DIR/mesh`, the same for `DIR/worker` and `DIR/http_requests.ndjson`. A file of lines in Consul's
//! default format bears the proxy's name, which those lines do not tell.

use crate::faults::{Change, Received, ReceivedLine, Why};
use crate::lines::time;
use crate::records::{CallNo, Role, TrueCall};
use crate::truth::{Leg, Side, Truth};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Writes `mesh/`, `worker/`, `http_requests.ndjson`, `truth.jsonl`, `clocks.json` (how wrong each proxy's clock was, and when) and
/// `blind.json` (who was silent, and when). The directory must be empty or not be there: what an earlier run left behind would be imported
/// with the rest.
pub fn write(dir: &Path, calls: &[TrueCall], received: &Received) -> io::Result<()> {
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        let message = format!("{} is not empty: choose a new directory", dir.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    let mut files: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (place, line) in received.lines.iter().enumerate() {
        files.entry(file_name(line)).or_default().push(place);
    }
    for (name, places) in &files {
        let lines = places.iter().map(|place| received.lines[*place].text.as_str());
        write_lines(&dir.join(name), lines)?;
    }
    let places = Places::of(&files, received.lines.len());
    let truth = Truth::of(calls, received);
    write_lines(
        &dir.join("truth.jsonl"),
        (0..calls.len()).map(|call| json(&Row::of(&truth, call, &places))),
    )?;
    write_lines(&dir.join("clocks.json"), [pretty(&received.clocks)])?;
    write_lines(&dir.join("blind.json"), [pretty(&received.outages)])
}

/// A proxy has one log; Logpush puts each batch of a Worker's events into a file of its own.
fn file_name(line: &ReceivedLine) -> String {
    match (&line.proxy, line.source) {
        (Some(node_id), _) => format!("mesh/{}.jsonl", node_id.replace('/', "_")),
        (None, "edge") => {
            let at: String =
                time::seconds(line.received_at_us.div_euclid(1_000_000)).split(['-', ':']).collect();
            format!("worker/{at}_{:08}.ndjson", line.delivery)
        }
        (None, _) => "http_requests.ndjson".to_owned(),
    }
}

fn write_lines<T: AsRef<str>>(path: &Path, lines: impl IntoIterator<Item = T>) -> io::Result<()> {
    let write = || -> io::Result<()> {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        let mut file = BufWriter::new(File::create(path)?);
        for line in lines {
            file.write_all(line.as_ref().as_bytes())?;
            file.write_all(b"\n")?;
        }
        file.flush()
    };
    write().map_err(|error| io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display())))
}

/// Where each received line stands: file, and number from 1.
struct Places<'a>(Vec<(&'a str, usize)>);

impl<'a> Places<'a> {
    fn of(files: &'a BTreeMap<String, Vec<usize>>, lines: usize) -> Self {
        let mut places = vec![("", 0); lines];
        for (name, of_file) in files {
            of_file.iter().enumerate().for_each(|(number, place)| places[*place] = (name, number + 1));
        }
        Places(places)
    }
}

/// A line of `truth.jsonl`, named as in the captures' truth.
#[derive(Serialize)]
struct Row<'a> {
    truth_call_id: String,
    kind: &'a str,
    caller: &'a str,
    callee: &'a str,
    method: Option<&'a str>,
    path: Option<&'a str>,
    status: i32,
    start_us: i64,
    end_us: i64,
    principal: Option<&'a str>,
    principal_provable: bool,
    parent: Option<String>,
    root: String,
    depth: usize,
    root_kind: &'a str,
    scenario: &'a str,
    attempts: u32,
    findings: &'a [String],
    tainted_by: &'a [String],
    interchangeable: Option<u64>,
    lines: Vec<LegRow<'a>>,
    lost: Vec<LostRow<'a>>,
}

#[derive(Serialize)]
struct LegRow<'a> {
    file: &'a str,
    line: usize,
    sha256: String,
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    side: Option<Side>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span: Option<&'a str>,
    count: usize,
    changed: &'a [Change],
}

#[derive(Serialize)]
struct LostRow<'a> {
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    span: Option<&'a str>,
    why: Why,
}

impl<'a> Row<'a> {
    fn of(truth: &'a Truth<'a>, number: CallNo, places: &Places<'a>) -> Self {
        let call = &truth.calls[number];
        let (root, depth) = truth.root(number);
        let lost = truth.lost_of(number).iter();
        Row {
            truth_call_id: id(number),
            kind: &call.kind,
            caller: &call.caller,
            callee: &call.callee,
            method: call.method.as_deref(),
            path: call.path.as_deref(),
            status: call.status,
            start_us: call.start_us,
            end_us: call.end_us,
            principal: call.principal.as_deref(),
            principal_provable: truth.principal_provable(number),
            parent: call.parent.map(id),
            root: id(root),
            depth,
            root_kind: &call.root_kind,
            scenario: &call.scenario,
            attempts: call.attempts,
            findings: &call.findings,
            tainted_by: &call.tainted_by,
            interchangeable: call.interchangeable,
            lines: truth.legs_of(number).iter().map(|leg| LegRow::of(leg, places)).collect(),
            lost: lost
                .map(|lost| LostRow {
                    role: role(lost.tell.role),
                    span: lost.tell.span.as_deref(),
                    why: lost.why,
                })
                .collect(),
        }
    }
}

impl<'a> LegRow<'a> {
    fn of(leg: &'a Leg, places: &Places<'a>) -> Self {
        let (file, line) = places.0[leg.line];
        LegRow {
            file,
            line,
            sha256: hex::encode(leg.sha256),
            role: role(leg.role),
            side: leg.side,
            span: leg.span.as_deref(),
            count: leg.copies,
            changed: &leg.changed,
        }
    }
}

fn id(call: CallNo) -> String {
    format!("call-{call}")
}

/// The captures' words.
fn role(role: Role) -> &'static str {
    match role {
        Role::WorkerHead => "worker_head",
        Role::WorkerRecord => "worker",
        Role::WorkerEnvelope => "worker_envelope",
        Role::ZoneEyeball => "zone_eyeball",
        Role::ZoneSubrequest => "zone",
        Role::Gateway => "gateway",
        Role::Caller => "caller",
        Role::Callee => "callee",
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("a struct of texts and numbers is written to memory")
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("a struct of texts and numbers is written to memory")
}
