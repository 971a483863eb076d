//! A Worker's subrequests: signed, sent through the zone to a gateway or to a bound Worker, and recorded when they are answered.

use super::Sim;
use super::distributions::*;
use super::edge::{EDGE_COLO, GATEWAY_HOST, WORKER, WORKER_ADDRESS};
use super::exchange::{Exchange, Face};
use super::headers::{Headers, TraceContext};
use super::mesh::{Done, Order};
use super::routes::{Ending, Leg, Route, Twist};
use super::topology::{GATEWAY, ProxyNo};
use super::truth::{Asked, Cause, finding};
use crate::records::{CallNo, Role, WorkerHead, WorkerRecord, ZoneRecord};
use std::sync::Arc;

const INNER_WORKER: &str = "inner";
/// Tries that a Worker makes of a subrequest that gets 503.
const TRIES: i64 = 3;
/// Subrequests that a Worker may have under way at once.
const AT_ONCE: i64 = 6;

/// A Worker at work.
pub struct Invocation {
    pub call: CallNo,
    pub cause: Cause,
    pub script: &'static str,
    pub trace_id: String,
    pub span_id: String,
    /// Of the visitor's request, at whichever Worker its subrequests are made: the zone knows them by it.
    pub ray: Option<String>,
    /// For whom the headers are signed: kind and subject.
    pub signs_for: (&'static str, Arc<str>),
    /// A Worker's clock shows the last time at which something came in or went out.
    pub clock_us: i64,
    pub records: Vec<WorkerRecord>,
    pub loses_records: bool,
}

/// What is to be sent by a Worker.
#[derive(Clone, Copy)]
pub struct Subrequest<'a> {
    pub leg: Leg,
    pub id: &'a str,
    pub attempt: u32,
    pub at_us: i64,
    pub abort_us: Option<i64>,
}

impl Subrequest<'_> {
    fn path(&self) -> String {
        self.leg.path.replace("{id}", self.id)
    }
}

/// When the zone, and when the gateway had it.
#[derive(Clone, Copy)]
struct Way {
    zone_us: i64,
    gateway_us: i64,
}

impl Sim<'_> {
    /// All that the route asks for. The worst status and when the last was answered.
    pub fn subrequests(
        &mut self,
        route: &Route,
        id: &str,
        at_work: &mut Invocation,
        abort_us: Option<i64>,
    ) -> (u16, i64) {
        let (mut status, mut at_us) = (200, at_work.clock_us);
        for group in self.groups(route) {
            let (mut end_us, mut send_us) = (at_us, at_us);
            for leg in group {
                send_us += self.sending();
                let what = Subrequest { leg, id, attempt: 0, at_us: send_us, abort_us };
                let done = match route.twist {
                    Twist::Binding => self.bound_worker(at_work, what),
                    Twist::Retry => self.with_retries(at_work, what),
                    Twist::GatewayNoRoute => self.unroutable(at_work, what),
                    _ => self.subrequest(at_work, what),
                };
                self.judge(route.twist, leg.ending, done.call);
                status = worker_status(status, done.status);
                end_us = end_us.max(done.at_us);
            }
            at_us = end_us;
            at_work.clock_us = at_us;
        }
        (status, at_us)
    }

    fn groups(&mut self, route: &Route) -> Vec<Vec<Leg>> {
        let groups: Vec<Vec<Leg>> = route.groups.iter().map(|group| group.to_vec()).collect();
        let Some(leg) = groups.first().and_then(|g| g.first()).filter(|_| route.twist == Twist::Many) else {
            return groups;
        };
        let many = self.dice.between(30, 90);
        (0..many).step_by(AT_ONCE as usize).map(|i| vec![*leg; (many - i).min(AT_ONCE) as usize]).collect()
    }

    fn sending(&mut self) -> i64 {
        self.dice.log_normal(log_normal(60.0, 0.5))
    }

    /// Labels a subrequest that a Worker got wrong, or that the gateway itself answered.
    fn judge(&mut self, twist: Twist, ending: Ending, subrequest: CallNo) {
        match twist {
            Twist::Conflict => self.ledger.find(subrequest, finding::DECISION_CONFLICT),
            Twist::Mismatch => self.ledger.find(subrequest, finding::IDENTITY_MISMATCH),
            // The runtime stops before the record of the subrequest could be logged.
            Twist::Abort => {
                self.ledger.find(subrequest, finding::EDGE_UNWITNESSED);
                self.ledger.find(subrequest, finding::STOPPED);
            }
            _ => {}
        }
        if matches!(ending, Ending::NoEndpoints | Ending::PeerDown | Ending::Timeout) {
            self.ledger.find(subrequest, finding::STOPPED);
        }
    }

    /// Asks again while the answer is 503: the first tries get one.
    fn with_retries(&mut self, at_work: &mut Invocation, what: Subrequest) -> Done {
        let failures = self.dice.between(1, TRIES - 1) as u32;
        let failing = Leg { ending: Ending::Status(503), ..what.leg };
        let mut what = what;
        for attempt in 0..failures {
            let done = self.subrequest(at_work, Subrequest { leg: failing, attempt, ..what });
            at_work.clock_us = done.at_us;
            what.at_us = done.at_us + self.sending();
        }
        self.subrequest(at_work, Subrequest { attempt: failures, ..what })
    }

    pub fn subrequest(&mut self, at_work: &mut Invocation, what: Subrequest) -> Done {
        let gateway = self.gateway();
        let sent = self.sign(at_work);
        let call = self.open_subrequest(at_work, what, &sent);
        let way = self.way_to_gateway(what.at_us);
        let order = Order {
            from: gateway,
            leg: what.leg,
            id: what.id,
            headers: sent.clone(),
            at_us: way.gateway_us,
            entry: Some(call),
            around: None,
            abort_us: what.abort_us,
        };
        let done = self.call(&at_work.cause.by(call), order);
        self.answer(at_work, what, &sent, way, Done { call, ..done })
    }

    /// The gateway answers itself: it knows no service for the path.
    fn unroutable(&mut self, at_work: &mut Invocation, what: Subrequest) -> Done {
        let gateway = self.gateway();
        let sent = self.sign(at_work);
        let call = self.open_subrequest(at_work, what, &sent);
        self.ledger.find(call, finding::STOPPED);
        let way = self.way_to_gateway(what.at_us);
        let end_us = way.gateway_us + self.dice.log_normal(log_normal(300.0, 0.4));
        let face = Face { attempts: 0, ..Face::http(404, 0, 0).flagged("NR", "route_not_found") };
        self.exchanges.push(Exchange {
            call,
            entry: Some(call),
            from: gateway,
            around: None,
            to: None,
            method: Some(what.leg.method.to_owned()),
            authority: Some(GATEWAY_HOST.to_owned()),
            path: Some(what.path()),
            start_us: way.gateway_us,
            end_us,
            logged: sent.clone().through(self.topology.of(gateway), true, &mut self.dice),
            face,
            attempts: Vec::new(),
            app_socket: None,
        });
        self.answer(at_work, what, &sent, way, Done { call, at_us: end_us, status: 404 })
    }

    pub fn gateway(&mut self) -> ProxyNo {
        let gateways = &self.topology.services[self.topology.service(GATEWAY)].proxies;
        *self.dice.one_of(gateways)
    }

    /// Headers of a subrequest, signed at the Worker's clock.
    fn sign(&mut self, at_work: &Invocation) -> Headers {
        let trace = TraceContext { trace_id: at_work.trace_id.clone(), span_id: self.dice.hex::<8>() };
        let (kind, subject) = &at_work.signs_for;
        let signed = self.signer.sign(&trace, kind, subject, at_work.clock_us);
        Headers {
            trace: Some(trace),
            request_id: Some(self.dice.uuid()),
            cf_ray: Some(format!("{}-{EDGE_COLO}", self.ray())),
            calltrail: Some(Arc::new(signed)),
            hop: self.config.worker_hop.then(|| self.dice.hex::<16>()),
            x_forwarded_for: Some(WORKER_ADDRESS.to_owned()),
            ..Headers::default()
        }
    }

    fn open_subrequest(&mut self, at_work: &Invocation, what: Subrequest, sent: &Headers) -> CallNo {
        let path = what.path();
        let asked = Asked {
            kind: "edge_call",
            caller: if at_work.script == WORKER { "worker:edge" } else { "worker:inner" },
            callee: GATEWAY,
            method: Some(what.leg.method),
            path: Some(&path),
        };
        let call = self.ledger.open(&at_work.cause.by(at_work.call), &asked, what.at_us);
        self.ledger.proves(call, sent);
        call
    }

    fn way_to_gateway(&mut self, at_us: i64) -> Way {
        let zone_us = at_us + self.dice.log_normal(WORKER_TO_ZONE);
        Way { zone_us, gateway_us: zone_us + self.dice.log_normal(ZONE_TO_GATEWAY) }
    }

    /// The way back, and the records of it: the zone's and the Worker's.
    fn answer(
        &mut self,
        at_work: &mut Invocation,
        what: Subrequest,
        sent: &Headers,
        way: Way,
        done: Done,
    ) -> Done {
        let zone_end_us = done.at_us + self.dice.log_normal(GATEWAY_TO_ZONE);
        let got_us = zone_end_us + self.dice.log_normal(ZONE_TO_WORKER);
        self.ledger.close(done.call, done.status, got_us);
        self.remember(sent, done.call);
        if self.config.zone_log {
            self.rows.push(zone_row(at_work, what, sent, (way.zone_us, zone_end_us), done));
        }
        if !at_work.loses_records {
            let ray = own_ray(sent);
            let upstream_service_ms = Some(((done.at_us - way.gateway_us) / 1_000) as u64);
            let record = at_work.record(what, sent, Done { at_us: got_us, ..done });
            at_work.records.push(WorkerRecord { ray, upstream_service_ms, ..record });
        }
        Done { at_us: got_us, ..done }
    }

    /// A Worker that is bound to the first as a service, and makes the subrequest for it.
    fn bound_worker(&mut self, at_work: &mut Invocation, what: Subrequest) -> Done {
        let path = what.path();
        let asked = Asked {
            kind: "binding",
            caller: "worker:edge",
            callee: "worker:inner",
            method: Some(what.leg.method),
            path: Some(&path),
        };
        let call = self.ledger.open(&at_work.cause.by(at_work.call), &asked, what.at_us);
        self.ledger.calls[call].principal_provable = true;
        let sent = self.sign(at_work);
        let began_us = what.at_us + self.binding_us();
        let mut inner = self.inner_invocation(at_work, call, began_us);
        let mut event = self.event(call, INNER_WORKER, began_us);
        event.url = format!("http://{INNER_WORKER}{path}");
        event.method = what.leg.method.to_owned();
        event.head = Some(WorkerHead {
            parent_span_id: sent.trace.as_ref().map(|t| t.span_id.clone()),
            ..inner.head("worker", "bound")
        });
        let at_us = inner.clock_us + self.sending();
        let answered = self.subrequest(&mut inner, Subrequest { at_us, ..what });
        event.status = Some(answered.status as u16);
        event.end_us = answered.at_us + self.dice.log_normal(ANSWERING);
        event.records = in_sequence(inner.records);
        let done = Done { call, at_us: event.end_us + self.binding_us(), status: answered.status };
        self.events.push(event);
        self.ledger.close(call, done.status, done.at_us);
        let record = at_work.record(what, &sent, done);
        let (service, host) = (INNER_WORKER.to_owned(), INNER_WORKER.to_owned());
        at_work.records.push(WorkerRecord { service, host, hop: None, ..record });
        done
    }

    fn binding_us(&mut self) -> i64 {
        self.dice.log_normal(log_normal(250.0, 0.4))
    }

    fn inner_invocation(&mut self, by: &Invocation, call: CallNo, began_us: i64) -> Invocation {
        Invocation {
            call,
            cause: by.cause.clone(),
            script: INNER_WORKER,
            trace_id: by.trace_id.clone(),
            span_id: self.dice.hex::<8>(),
            ray: by.ray.clone(),
            // The captures' Worker signs for the Worker that called it: it has checked nobody else.
            signs_for: ("worker", Arc::from(WORKER)),
            clock_us: began_us + self.dice.log_normal(log_normal(200.0, 0.4)),
            records: Vec::new(),
            loses_records: false,
        }
    }

    pub fn ray(&mut self) -> String {
        // Cloudflare's rays of one day begin alike.
        format!("9e1{}", &self.dice.hex::<7>()[1..])
    }
}

impl Invocation {
    /// The head of an invocation that no visitor made: it names the Worker itself.
    pub fn head(&self, kind: &str, policy: &str) -> WorkerHead {
        WorkerHead {
            trace_id: self.trace_id.clone(),
            span_id: self.span_id.clone(),
            parent_span_id: None,
            issuer: Some("worker".to_owned()),
            subject: Some(WORKER.to_owned()),
            kind: Some(kind.to_owned()),
            decision: "allow".to_owned(),
            policy: policy.to_owned(),
            reason: None,
            sequence: 0,
            at_us: self.clock_us,
        }
    }

    /// What the module logs of a subrequest; the number comes when all are known.
    fn record(&self, what: Subrequest, sent: &Headers, done: Done) -> WorkerRecord {
        WorkerRecord {
            call: done.call,
            trace_id: self.trace_id.clone(),
            span_id: sent.trace.as_ref().map(|t| t.span_id.clone()).unwrap_or_default(),
            request_id: sent.request_id.clone().unwrap_or_default(),
            service: what.leg.to.to_owned(),
            host: GATEWAY_HOST.to_owned(),
            method: what.leg.method.to_owned(),
            path: what.path(),
            attempt: what.attempt,
            start_us: self.clock_us,
            duration_us: done.at_us - self.clock_us,
            status: Some(done.status as u16),
            error: None,
            ray: None,
            upstream_service_ms: None,
            hop: sent.hop.clone(),
            sequence: 0,
        }
    }
}

fn zone_row(
    at_work: &Invocation,
    what: Subrequest,
    sent: &Headers,
    (start_us, end_us): (i64, i64),
    done: Done,
) -> ZoneRecord {
    ZoneRecord {
        call: done.call,
        role: Role::ZoneSubrequest,
        host: GATEWAY_HOST.to_owned(),
        method: what.leg.method.to_owned(),
        path: what.path(),
        start_us,
        end_us,
        // The zone's own word for a client that went away.
        status: if done.status == 0 { 499 } else { done.status as u16 },
        ray: own_ray(sent).unwrap_or_default(),
        parent_ray: at_work.ray.clone(),
        traceparent: sent.trace.as_ref().map(TraceContext::traceparent),
        request_id: sent.request_id.clone(),
        calltrail: sent.calltrail.as_ref().map(|c| c.text.clone()),
    }
}

/// Without the colo.
fn own_ray(sent: &Headers) -> Option<String> {
    sent.cf_ray.as_deref().and_then(|ray| ray.split('-').next()).map(str::to_owned)
}

/// Records are logged as the answers come in; the head has number 0.
pub fn in_sequence(mut records: Vec<WorkerRecord>) -> Vec<WorkerRecord> {
    records.sort_by_key(|r| r.start_us + r.duration_us);
    for (i, record) in records.iter_mut().enumerate() {
        record.sequence = i as u32 + 1;
    }
    records
}

/// What a Worker answers: the worst of what it got.
fn worker_status(so_far: u16, got: i32) -> u16 {
    match got {
        0..400 => so_far,
        403 | 504 => got as u16,
        _ => 502,
    }
}
