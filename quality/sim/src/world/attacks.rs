//! Attacks, each labelled with what a perfect judge who sees every line would raise.

use super::headers::{Headers, TraceContext};
use super::mesh::Order;
use super::routes::{Leg, made_up, visitor_route};
use super::topology::{GATEWAY, ProxyNo};
use super::truth::{Asked, Cause, finding};
use super::{Past, Sim, Visit};
use crate::records::CallNo;
use std::sync::Arc;

/// Where an outsider comes from.
const OUTSIDER: &str = "outsider";

/// The service that keeps headers for later.
pub const COMPROMISED: &str = "api";

/// What an attacker shows of a request that is not his.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shows {
    Nothing,
    /// Its trace headers.
    Trace,
    /// Its signed header, in a trace of the attacker's own.
    Header,
    Both,
    /// A header that he made himself, in a trace of his own or in the other's.
    Forged,
    ForgedInTrace,
}

impl Sim<'_> {
    pub fn attack(&mut self, name: &'static str, at_us: i64) {
        use Shows::*;
        self.touched.clear();
        match name {
            "bypass_plain" => self.bypass(name, Nothing, "api", made_up::INVOICE, at_us),
            "bypass_trace" => self.bypass(name, Trace, "cart", made_up::INVOICE, at_us),
            "bypass_header" => self.bypass(name, Both, "api", made_up::RATES, at_us),
            "bypass_denied" => self.bypass(name, Both, "stock", made_up::denied(made_up::RATES), at_us),
            "bypass_fronted" => self.bypass(name, Nothing, "cron", made_up::ORDERS, at_us),
            "bypass_invented_hop" | "bypass_replayed_hop" => {
                self.bypass(name, Nothing, "api", made_up::RATES, at_us);
            }
            "gateway_plain" => self.round_the_edge(name, Nothing, at_us),
            "gateway_forged" => self.round_the_edge(name, Forged, at_us),
            "gateway_replayed" => self.round_the_edge(name, Both, at_us),
            "gateway_trace" => self.round_the_edge(name, Trace, at_us),
            "stolen_trace" => self.theft(name, Trace, at_us),
            "replayed_header" => self.theft(name, Header, at_us),
            "replayed_both" => self.theft(name, Both, at_us),
            "forged_header" => self.theft(name, Forged, at_us),
            "forged_with_trace" => self.theft(name, ForgedInTrace, at_us),
            "swapped_header" => self.swapped(at_us),
            "mesh_bypass" => self.mesh_bypass(name, at_us),
            _ => self.faulty_worker(name, at_us),
        }
    }

    pub fn instance_of(&mut self, service: &str) -> ProxyNo {
        let proxies = &self.topology.services[self.topology.service(service)].proxies;
        *self.dice.one_of(proxies)
    }

    /// A request of the edge that has begun and that has not reached `thief`: what it would explain is not the theft.
    pub fn victim(&mut self, thief: &str, at_us: i64) -> Option<Past> {
        let thief = self.topology.service(thief);
        let fits = |p: &&Past| p.start_us + 20_000 < at_us && !p.is_shared && !p.touched.contains(&thief);
        let victims: Vec<&Past> = self.past.iter().filter(fits).collect();
        (!victims.is_empty()).then(|| (*self.dice.one_of(&victims)).clone())
    }

    fn shown(&mut self, shows: Shows, victim: Option<&Past>, at_us: i64) -> Headers {
        let stolen = victim.map(|v| v.headers.clone()).unwrap_or_default();
        let own = TraceContext::new(&mut self.dice);
        let subject = self.dice.one_of(&self.people).subject.clone();
        let forge =
            |of: &TraceContext, signer: &super::Signer| Some(Arc::new(signer.forge(of, &subject, at_us)));
        let headers = match shows {
            Shows::Nothing => Headers::default(),
            Shows::Trace => Headers { calltrail: None, ..stolen },
            Shows::Header => Headers { trace: Some(own), calltrail: stolen.calltrail, ..Headers::default() },
            Shows::Both => stolen,
            Shows::Forged => {
                Headers { calltrail: forge(&own, &self.signer), trace: Some(own), ..Headers::default() }
            }
            Shows::ForgedInTrace => {
                let of = stolen.trace.clone().unwrap_or(own);
                Headers { calltrail: forge(&of, &self.signer), ..stolen }
            }
        };
        Headers { hop: None, parent_hop: None, ..headers }
    }

    /// What is wrong with a call of the mesh that shows something which the chain does not explain.
    fn label_shown(&mut self, call: CallNo, shows: Shows) {
        if matches!(shows, Shows::Forged | Shows::ForgedInTrace) {
            self.ledger.find(call, finding::FORGED_HEADER);
        }
        if matches!(shows, Shows::Header | Shows::Both) {
            self.ledger.find(call, finding::REPLAYED_HEADER);
        }
        if !matches!(shows, Shows::Nothing | Shows::Forged) {
            self.ledger.find(call, finding::BROKEN_CHAIN);
        }
    }

    /// Work that goes on with the header after its request has been answered: nobody can tell it from a replay.
    pub fn seen_as_replay(&mut self, call: CallNo) {
        self.label_shown(call, Shows::Both);
        self.ledger.calls[call].principal_provable = false;
    }

    /// Straight to the callee's sidecar, with a genuine certificate.
    fn bypass(&mut self, name: &'static str, shows: Shows, thief: &str, leg: Leg, at_us: i64) {
        let victim = self.victim(thief, at_us);
        let shows = if victim.is_some() { shows } else { Shows::Nothing };
        let mut headers = self.shown(shows, victim.as_ref(), at_us);
        headers.hop = match name {
            "bypass_invented_hop" => Some(self.dice.hex::<16>()),
            "bypass_replayed_hop" => self.some_hop(),
            _ => None,
        };
        let from = self.instance_of(thief);
        let id = self.id();
        let around = Some(self.topology.proxies[from].proxy.address.clone());
        let order = Order { from, leg, id: &id, headers, at_us, entry: None, around, abort_us: None };
        let call = self.call(&attack(name, None), order).call;
        self.ledger.find(call, finding::NO_CLIENT_LEG);
        self.label_shown(call, shows);
        if self.is_fronted(leg.to) {
            self.ledger.find(call, finding::BYPASS);
        }
    }

    /// A hop id that some proxy has set not long ago.
    fn some_hop(&mut self) -> Option<String> {
        let hops: Vec<&String> =
            self.exchanges.iter().rev().take(200).filter_map(|e| e.logged.hop.as_ref()).collect();
        (!hops.is_empty()).then(|| (*self.dice.one_of(&hops)).clone())
    }

    fn is_fronted(&self, service: &str) -> bool {
        self.config.rules.edge_fronted.iter().any(|s| s == service)
    }

    /// An outsider finds the gateway's address.
    fn round_the_edge(&mut self, name: &'static str, shows: Shows, at_us: i64) {
        let victim = self.victim(GATEWAY_ONLY, at_us);
        let shows = match shows {
            Shows::Trace | Shows::Both if victim.is_none() => Shows::Nothing,
            other => other,
        };
        let headers = self.shown(shows, victim.as_ref(), at_us);
        let leg = *self.dice.one_of(&[made_up::ORDERS, made_up::ITEMS]);
        let id = self.id();
        let path = leg.path.replace("{id}", &id);
        let asked = Asked {
            kind: "edge_call",
            caller: OUTSIDER,
            callee: GATEWAY,
            method: Some(leg.method),
            path: Some(&path),
        };
        let cause = attack(name, None);
        let entry = self.ledger.open(&cause, &asked, at_us);
        self.ledger.find(entry, finding::BYPASS);
        match shows {
            Shows::Forged => self.ledger.find(entry, finding::FORGED_HEADER),
            Shows::Both => self.ledger.find(entry, finding::REPLAYED_HEADER),
            _ => {}
        }
        let order = Order {
            from: self.gateway(),
            leg,
            id: &id,
            headers,
            at_us: at_us + self.dice.between(2_000, 40_000),
            entry: Some(entry),
            around: None,
            abort_us: None,
        };
        let done = self.call(&cause.by(entry), order);
        if self.is_fronted(leg.to) {
            self.ledger.find(done.call, finding::BYPASS);
        }
        self.ledger.close(entry, done.status, done.at_us + self.dice.between(2_000, 40_000));
    }

    /// A workload sends, through its own sidecar, what belongs to a request that never reached it.
    fn theft(&mut self, name: &'static str, shows: Shows, at_us: i64) {
        let thief = *self.dice.one_of(&["cart", "cron", "legacyapp"]);
        let victim = self.victim(thief, at_us);
        if victim.is_none() && shows != Shows::Forged {
            return;
        }
        let headers = self.shown(shows, victim.as_ref(), at_us);
        let leg = *self.dice.one_of(&[made_up::INVOICE, made_up::PRICE]);
        let id = self.id();
        let from = self.instance_of(thief);
        let order = Order { from, leg, id: &id, headers, at_us, entry: None, around: None, abort_us: None };
        let call = self.call(&attack(name, None), order).call;
        self.label_shown(call, shows);
    }

    /// A service that is at work for one visitor names another, whose request it has answered before.
    fn swapped(&mut self, at_us: i64) {
        let compromised = self.topology.service(COMPROMISED);
        let visitor = self.dice.one_of(&self.people).clone();
        let fits = |p: &&Past| {
            let of_another = p.headers.calltrail.as_ref().is_some_and(|c| *c.subject != *visitor.subject);
            of_another && p.end_us + 500_000 < at_us && !p.is_shared && p.touched.contains(&compromised)
        };
        let kept: Vec<&Past> = self.past.iter().filter(fits).collect();
        let Some(route) = visitor_route("orders").filter(|_| !kept.is_empty()) else { return };
        self.swap = self.dice.one_of(&kept).headers.calltrail.clone();
        let id = self.id();
        let scenario = super::routes::Route { name: "swapped_header", ..*route };
        self.visit(&Visit { route: &scenario, at_us, visitor: Some(visitor), inbound: None, id: &id });
        self.swap = None;
        self.sent.clear();
    }

    /// An intention too wide lets a job ask a service that should be reached only through the edge.
    fn mesh_bypass(&mut self, name: &'static str, at_us: i64) {
        let from = self.instance_of("cron");
        let id = self.id();
        let headers = Headers::default();
        let leg = made_up::ORDERS;
        let order = Order { from, leg, id: &id, headers, at_us, entry: None, around: None, abort_us: None };
        let call = self.call(&attack(name, None), order).call;
        if self.is_fronted(leg.to) {
            self.ledger.find(call, finding::BYPASS);
        }
    }

    fn faulty_worker(&mut self, name: &str, at_us: i64) {
        let Some(route) = visitor_route(name) else { return };
        let visitor = Some(self.dice.one_of(&self.people).clone());
        let id = self.id();
        self.visit(&Visit { route, at_us, visitor, inbound: None, id: &id });
        // Its headers are no honest request's: nobody is to copy them.
        self.sent.clear();
    }
}

/// Every request of the edge reaches a gateway; an outsider is no service that one could have reached.
const GATEWAY_ONLY: &str = "cron";

fn attack(scenario: &'static str, parent: Option<CallNo>) -> Cause {
    Cause { parent, root_kind: "attack", principal: None, scenario }
}
