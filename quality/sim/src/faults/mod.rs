//! What happens between the programs that log and calltrail: lines are lost, late, repeated, cut, shuffled and stripped, clocks are wrong,
//! addresses are rewritten. And the record of it, so that nobody is blamed for a join that no line allows.

mod address;
mod clock;
mod delivery;
mod draw;
mod options;
mod outage;
mod truncate;

use crate::lines::{self, EnvoyFormat, WireEvent};
use crate::records::{CallNo, EnvoyRecord, Record, Role, WorkerEvent};
use address::AddressRewriter;
use delivery::{Outbox, Ready, Sender};
use draw::{Draws, Stream};
use outage::Outages;
use serde::Serialize;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

pub use clock::{ClockPiece, ProxyClock};
pub use options::{ClockFaults, Faults, Nat, Outage, PerSource, RandomOutages, Source, Who};

/// What of the true calls a line still tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tell {
    pub call: CallNo,
    pub role: Role,
    /// Of the Worker's record.
    pub span: Option<String>,
}

/// A line as it arrives. The list of them is in the order of arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedLine {
    /// `mesh`, `edge` or `zone`.
    pub source: &'static str,
    /// Who wrote it, by node id; for Envoy's lines only.
    pub proxy: Option<Arc<str>>,
    /// Lines of one delivery have the same number and stand together.
    pub delivery: usize,
    pub received_at_us: i64,
    /// Place of what it tells in the list of records: copies of a line have the same.
    pub record: usize,
    /// Without newline.
    pub text: String,
    pub tells: Vec<Tell>,
    pub changed: Vec<Change>,
}

/// Damage to a line that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Clock,
    Stripped,
    DefaultFormat,
    Nat,
    Frozen,
    Truncated,
    HeadRecordLost,
}

/// Something that no line tells any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    pub tell: Tell,
    pub why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    Loss,
    Outage,
    Truncated,
}

/// All that arrived, and the truth about the damage.
#[derive(Debug, Clone)]
pub struct Received {
    pub lines: Vec<ReceivedLine>,
    pub lost: Vec<Lost>,
    /// One per proxy, by name.
    pub clocks: Vec<ProxyClock>,
    /// The given and the drawn ones, by time.
    pub outages: Vec<Outage>,
}

/// Damages what the records tell. The same records, faults and seed give the same lines.
pub fn apply(records: Vec<Record>, faults: &Faults, seed: u64) -> Received {
    let draws = Draws::new(seed);
    let mut damage = Damage::new(&records, faults, draws);
    let mut outbox = Outbox::new(faults, draws);
    for (number, record) in records.into_iter().enumerate() {
        damage.send(number, record, &mut outbox);
    }
    let Damage { senders, lost, proxies, outages, .. } = damage;
    let mut clocks: Vec<ProxyClock> = proxies.into_values().map(|proxy| proxy.clock).collect();
    clocks.sort_by(|a, b| a.proxy.cmp(&b.proxy));
    Received { lines: outbox.send(&senders, &outages), lost, clocks, outages: outages.into_list() }
}

struct ProxyState {
    node_id: Arc<str>,
    sender: usize,
    clock: ProxyClock,
    format: EnvoyFormat,
}

struct Damage<'a> {
    faults: &'a Faults,
    addresses: AddressRewriter,
    outages: Outages,
    strip: Stream,
    loss: Stream,
    proxies: HashMap<Arc<str>, ProxyState>,
    senders: Vec<Sender>,
    lost: Vec<Lost>,
}

const EDGE: usize = 0;
const ZONE: usize = 1;

impl<'a> Damage<'a> {
    fn new(records: &[Record], faults: &'a Faults, draws: Draws) -> Self {
        let period_us = period_us(records);
        let names: BTreeSet<&str> = records.iter().filter_map(node_id).collect();
        let by_default: HashSet<&str> = draws
            .share("default_format", faults.default_format_percent, names.iter().copied())
            .into_iter()
            .collect();
        let mut senders = vec![
            Sender::logpush(Source::Edge, faults, period_us.0, &draws),
            Sender::logpush(Source::Zone, faults, period_us.0, &draws),
        ];
        let mut proxies = HashMap::new();
        for name in &names {
            let node_id: Arc<str> = Arc::from(*name);
            let clock = ProxyClock::draw(name, &faults.clock, period_us, &draws);
            let format =
                if by_default.contains(name) { EnvoyFormat::ConsulDefault } else { EnvoyFormat::Calltrail };
            let state = ProxyState { node_id: node_id.clone(), sender: senders.len(), clock, format };
            senders.push(Sender::proxy(node_id.clone(), faults, &draws));
            proxies.insert(node_id, state);
        }
        Damage {
            faults,
            addresses: AddressRewriter::new(faults.nat),
            outages: Outages::new(faults, names, period_us, &draws),
            strip: draws.of("strip_headers", ""),
            loss: draws.of("loss", ""),
            proxies,
            senders,
            lost: Vec::new(),
        }
    }

    fn send(&mut self, number: usize, record: Record, outbox: &mut Outbox<'_>) {
        let end_us = end_us(&record);
        let mut changed = Vec::new();
        let (sender, text, tells) = match record {
            Record::Envoy(envoy) => self.envoy(envoy, &mut changed),
            Record::Worker(event) => {
                let (text, tells) = self.worker(event, &mut changed);
                (EDGE, text, tells)
            }
            Record::Zone(row) => {
                let tells = vec![Tell { call: row.call, role: row.role, span: None }];
                (ZONE, lines::line(&Record::Zone(row)), tells)
            }
        };
        let sends_at_us = self.senders[sender].sends_at(end_us);
        let by = &mut self.senders[sender];
        let is_lost = self.loss.hits(self.faults.loss_percent.of(by.source));
        let why = match self.outages.silence(by.source, by.proxy.as_deref(), sends_at_us) {
            true => Some(Why::Outage),
            false => is_lost.then_some(Why::Loss),
        };
        let line = match why {
            None => Some(Ready { record: number, text, tells, changed }),
            Some(why) => {
                self.lost.extend(tells.into_iter().map(|tell| Lost { tell, why }));
                None
            }
        };
        outbox.put(sender, by, sends_at_us, line);
    }

    fn envoy(&mut self, mut record: EnvoyRecord, changed: &mut Vec<Change>) -> (usize, String, Vec<Tell>) {
        let proxy = &self.proxies[record.proxy.node_id.as_str()];
        if self.addresses.rewrite(&mut record, &proxy.node_id) {
            changed.push(Change::Nat);
        }
        if self.strip.hits(self.faults.strip_headers_percent) {
            strip(&mut record);
            changed.push(Change::Stripped);
        }
        let shown_us = proxy.clock.shows(record.start_us);
        if shown_us != record.start_us {
            record.start_us = shown_us;
            changed.push(Change::Clock);
        }
        if proxy.format == EnvoyFormat::ConsulDefault {
            changed.push(Change::DefaultFormat);
        }
        let tells =
            record.calls.iter().map(|call| Tell { call: *call, role: record.role, span: None }).collect();
        (proxy.sender, lines::envoy_line(&record, proxy.format), tells)
    }

    /// What was cut off is lost even where the line arrives.
    fn worker(&mut self, mut event: WorkerEvent, changed: &mut Vec<Change>) -> (String, Vec<Tell>) {
        if self.faults.frozen_worker_clocks {
            clock::freeze(&mut event);
            changed.push(Change::Frozen);
        }
        let mut wire = WireEvent::of(&event);
        if self.faults.truncate_worker_logs_chars.is_some_and(|limit| truncate::truncate(&mut wire, limit)) {
            changed.push(Change::Truncated);
        }
        let left: HashSet<&str> = truncate::records_left(&wire).collect();
        let head = event.head.as_ref().map(|head| head.span_id.clone());
        let has_head = head.as_deref().is_some_and(|span| left.contains(span));
        if head.is_some() && !has_head {
            changed.push(Change::HeadRecordLost);
        }
        let role = if has_head { Role::WorkerHead } else { Role::WorkerEnvelope };
        let mut tells = vec![Tell { call: event.call, role, span: head.filter(|_| has_head) }];
        for record in &event.records {
            let tell =
                Tell { call: record.call, role: Role::WorkerRecord, span: Some(record.span_id.clone()) };
            match left.contains(record.span_id.as_str()) {
                true => tells.push(tell),
                false => self.lost.push(Lost { tell, why: Why::Truncated }),
            }
        }
        (lines::event_line(&wire), tells)
    }
}

/// As if the application had forwarded nothing and no proxy had added anything.
fn strip(record: &mut EnvoyRecord) {
    record.traceparent = None;
    record.tracestate = None;
    record.request_id = None;
    record.cf_ray = None;
    record.envoy_trace_id = None;
    record.calltrail = None;
    record.hop = None;
    record.parent_hop = None;
}

fn node_id(record: &Record) -> Option<&str> {
    match record {
        Record::Envoy(envoy) => Some(&envoy.proxy.node_id),
        _ => None,
    }
}

/// When the program writes its line, by true time.
fn end_us(record: &Record) -> i64 {
    match record {
        Record::Envoy(envoy) => envoy.start_us + envoy.duration_us,
        Record::Worker(event) => event.end_us,
        Record::Zone(row) => row.end_us,
    }
}

fn period_us(records: &[Record]) -> (i64, i64) {
    let ends = records.iter().map(end_us);
    (ends.clone().min().unwrap_or(0), ends.max().unwrap_or(0))
}
