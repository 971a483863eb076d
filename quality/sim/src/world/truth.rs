//! The list of true calls: opened when somebody asks, closed when he has his answer, and finished when the world ends.

use super::exchange::Exchange;
use super::headers::{Headers, masked};
use super::topology::{ProxyNo, ServiceNo, Speaks, Topology};
use crate::records::{CallNo, TrueCall};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why a call is made, and for whom.
#[derive(Debug, Clone)]
pub struct Cause {
    pub parent: Option<CallNo>,
    pub root_kind: &'static str,
    pub principal: Option<Arc<str>>,
    pub scenario: &'static str,
}

impl Cause {
    pub fn by(&self, parent: CallNo) -> Self {
        Cause { parent: Some(parent), ..self.clone() }
    }
}

/// Who asks whom for what.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    pub kind: &'a str,
    pub caller: &'a str,
    pub callee: &'a str,
    pub method: Option<&'a str>,
    pub path: Option<&'a str>,
}

/// Whatever a perfect judge would raise, by calltrail's names.
pub mod finding {
    pub const DENIED: &str = "denied";
    pub const STOPPED: &str = "stopped";
    pub const BYPASS: &str = "bypass";
    pub const EDGE_UNWITNESSED: &str = "edge_unwitnessed";
    pub const NO_CLIENT_LEG: &str = "no_client_leg";
    pub const DECISION_CONFLICT: &str = "decision_conflict";
    pub const IDENTITY_MISMATCH: &str = "identity_mismatch";
    pub const BROKEN_CHAIN: &str = "broken_chain";
    pub const FORGED_HEADER: &str = "forged_header";
    pub const REPLAYED_HEADER: &str = "replayed_header";
}

/// Findings that say nothing of what a call led to.
const OF_THE_CALL_ALONE: &[&str] = &[finding::DENIED, finding::STOPPED, finding::EDGE_UNWITNESSED];

#[derive(Debug, Default)]
pub struct Ledger {
    pub calls: Vec<TrueCall>,
}

impl Ledger {
    pub fn open(&mut self, cause: &Cause, asked: &Asked, start_us: i64) -> CallNo {
        self.calls.push(TrueCall {
            kind: asked.kind.to_owned(),
            caller: asked.caller.to_owned(),
            callee: asked.callee.to_owned(),
            method: asked.method.map(str::to_owned),
            path: asked.path.map(str::to_owned),
            status: 0,
            start_us,
            end_us: start_us,
            parent: cause.parent,
            root_kind: cause.root_kind.to_owned(),
            principal: cause.principal.as_deref().map(str::to_owned),
            principal_provable: false,
            findings: Vec::new(),
            tainted_by: Vec::new(),
            interchangeable: None,
            attempts: 1,
            scenario: cause.scenario.to_owned(),
        });
        self.calls.len() - 1
    }

    pub fn close(&mut self, call: CallNo, status: i32, end_us: i64) {
        let call = &mut self.calls[call];
        (call.status, call.end_us) = (status, end_us);
    }

    pub fn find(&mut self, call: CallNo, finding: &str) {
        self.calls[call].findings.push(finding.to_owned());
    }

    /// The header that goes with it proves for whom it is made.
    pub fn proves(&mut self, call: CallNo, sent: &Headers) {
        let call = &mut self.calls[call];
        let names = |subject: &str| {
            sent.calltrail.as_ref().is_some_and(|signed| signed.genuine && signed.subject == subject)
        };
        call.principal_provable = call.principal.as_deref().is_some_and(names);
    }

    pub fn finish(&mut self, exchanges: &[Exchange], topology: &Topology) {
        for i in 0..self.calls.len() {
            self.calls[i].findings.sort_unstable();
            self.calls[i].findings.dedup();
            // A parent always stands before what it caused.
            let Some(parent) = self.calls[i].parent.map(|p| &self.calls[p]) else { continue };
            let passed_on = parent.findings.iter().filter(|f| !OF_THE_CALL_ALONE.contains(&f.as_str()));
            let mut tainted: Vec<String> = parent.tainted_by.iter().chain(passed_on).cloned().collect();
            tainted.sort_unstable();
            tainted.dedup();
            self.calls[i].tainted_by = tainted;
        }
        self.group(exchanges, topology);
    }

    /// Numbers the groups of calls that nothing but time tells apart.
    fn group(&mut self, exchanges: &[Exchange], topology: &Topology) {
        let mut groups: BTreeMap<Looks, Vec<CallNo>> = BTreeMap::new();
        for exchange in exchanges {
            if let Some(key) = looks(exchange, topology) {
                groups.entry(key).or_default().push(exchange.call);
            }
        }
        let alike = groups.into_values().filter(|calls| calls.len() > 1);
        for (number, calls) in alike.enumerate() {
            for call in calls {
                self.calls[call].interchangeable = Some(number as u64 + 1);
            }
        }
    }
}

/// What makes calls look alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Looks {
    from: ProxyNo,
    to: ServiceNo,
    socket: Option<u64>,
    ids: [Option<String>; 8],
}

/// What both ends' lines say alike about a call, but for times, sizes and status; `None` where a hop id, or TCP's own connection,
/// makes it unlike any other.
fn looks(exchange: &Exchange, topology: &Topology) -> Option<Looks> {
    if exchange.around.is_some() {
        return None;
    }
    let (from, to) = (topology.of(exchange.from), &topology.services[exchange.to?]);
    let both_print_hops = from.prints_hop && to.prints_hop;
    if to.speaks == Speaks::Tcp || (from.sets_hop && both_print_hops) {
        return None;
    }
    let last = exchange.attempts.last()?;
    let (client, server) = (&exchange.logged, &last.logged);
    let trace = client.trace.as_ref().map(|t| t.trace_id.clone());
    // A span is no mark where the callee's proxy logs its own.
    let span = client.trace.as_ref().filter(|_| client.trace == server.trace).map(|t| t.span_id.clone());
    Some(Looks {
        from: exchange.from,
        to: exchange.to?,
        socket: last.socket.map(|s| s.serial),
        ids: [
            trace,
            span,
            client.request_id.as_deref().map(masked),
            client.cf_ray.clone(),
            client.calltrail.as_ref().map(|c| c.text.clone()),
            client.hop.clone().filter(|_| both_print_hops),
            exchange.method.clone(),
            exchange.path.clone(),
        ],
    })
}
