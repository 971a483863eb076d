//! Visitors, Workers, the zone, and the way into the mesh.

use super::Sim;
use super::distributions::*;
use super::exchange::{Exchange, Face};
use super::headers::{Headers, TraceContext};
use super::mesh::{Done, Order};
use super::routes::{Leg, Route, Twist};
use super::topology::{GATEWAY, ProxyNo};
use super::truth::{Asked, Cause, finding};
use crate::records::{CallNo, Role, WorkerEvent, WorkerHead, WorkerRecord, ZoneRecord};
use std::sync::Arc;

pub const GATEWAY_HOST: &str = "mesh.example.com";
pub const EDGE_HOST: &str = "edge.example.com";
/// What Cloudflare puts into X-Forwarded-For for a Worker's subrequest.
pub const WORKER_ADDRESS: &str = "2a06:98c0:3600::103";
pub const WORKER: &str = "edge";
const INNER_WORKER: &str = "inner";
/// Tries that a Worker makes of a subrequest that gets 503.
const TRIES: u32 = 3;

#[derive(Debug, Clone)]
pub struct Visitor {
    /// `user`, `service`, `cron`.
    pub kind: &'static str,
    pub subject: Arc<str>,
}

pub struct Visit<'a> {
    pub route: &'static Route,
    pub at_us: i64,
    /// `None`: no valid token.
    pub visitor: Option<Visitor>,
    pub inbound: Option<TraceContext>,
    pub id: &'a str,
}

/// A Worker at work.
pub struct Invocation {
    pub call: CallNo,
    pub cause: Cause,
    script: &'static str,
    trace_id: String,
    span_id: String,
    ray: Option<String>,
    /// For whom the headers are signed: kind and subject.
    signs_for: (&'static str, Arc<str>),
    /// A Worker's clock shows the last time at which something came in or went out.
    clock_us: i64,
    records: Vec<WorkerRecord>,
    loses_records: bool,
}

/// What is to be sent by a Worker.
#[derive(Clone, Copy)]
struct Subrequest<'a> {
    leg: Leg,
    id: &'a str,
    attempt: u32,
    at_us: i64,
    abort_us: Option<i64>,
}

impl Sim<'_> {
    /// When the visitor had his answer.
    pub fn visit(&mut self, visit: &Visit) -> i64 {
        self.touched.clear();
        let path = format!("/{}/{}", visit.route.name, visit.id);
        let principal = visit.visitor.as_ref().map(|v| v.subject.clone());
        let cause = Cause { parent: None, root_kind: "edge", principal, scenario: visit.route.name };
        let asked = Asked {
            kind: "edge",
            caller: "client",
            callee: "worker:edge",
            method: Some(visit.route.groups.first().map_or("GET", |g| g[0].method)),
            path: Some(&path),
        };
        let call = self.ledger.open(&cause, &asked, visit.at_us);
        let began_us = visit.at_us + self.dice.log_normal(VISITOR_TO_WORKER);
        let ray = self.ray();
        let mut event = self.event(call, WORKER, began_us);
        event.ray = Some(ray.clone());
        event.url = format!("https://{EDGE_HOST}{path}");
        event.method = asked.method.unwrap_or_default().to_owned();
        let mut at_work = self.invocation(call, cause, visit, began_us);
        at_work.ray = Some(ray);
        event.head = self.head(&at_work, visit);
        let answered_us = self.handle(visit, &mut at_work, &mut event);
        self.finish_visit(visit, at_work, event, answered_us);
        answered_us
    }

    fn event(&self, call: CallNo, script: &str, start_us: i64) -> WorkerEvent {
        WorkerEvent {
            script: script.to_owned(),
            cron: None,
            ray: None,
            url: String::new(),
            method: String::new(),
            status: None,
            outcome: "ok".to_owned(),
            start_us,
            end_us: start_us,
            call,
            head: None,
            records: Vec::new(),
            chatter: Vec::new(),
            exceptions: Vec::new(),
        }
    }

    fn invocation(&mut self, call: CallNo, cause: Cause, visit: &Visit, began_us: i64) -> Invocation {
        let nobody = || Visitor { kind: "anon", subject: Arc::from("-") };
        let mut signs_for = visit.visitor.clone().unwrap_or_else(nobody);
        if visit.route.twist == Twist::Mismatch {
            signs_for = self.somebody_else(&signs_for);
        }
        Invocation {
            call,
            cause,
            script: WORKER,
            trace_id: visit.inbound.as_ref().map_or_else(|| self.dice.hex::<16>(), |t| t.trace_id.clone()),
            span_id: self.dice.hex::<8>(),
            ray: None,
            signs_for: (signs_for.kind, signs_for.subject),
            clock_us: began_us + self.dice.log_normal(DECIDING),
            records: Vec::new(),
            loses_records: visit.route.twist == Twist::Abort,
        }
    }

    fn head(&self, at_work: &Invocation, visit: &Visit) -> Option<WorkerHead> {
        let (decision, policy, reason) = match (&visit.visitor, visit.route.twist) {
            (_, Twist::Crash) => return None,
            (None, _) => ("deny", "authn", Some("ERR_JWT_EXPIRED")),
            (_, Twist::Scope | Twist::Conflict) => ("deny", visit.route.name, Some("scope")),
            (_, Twist::NoRoute) => ("deny", "default-deny", Some("no_route")),
            _ => ("allow", visit.route.name, None),
        };
        let who = visit.visitor.as_ref();
        Some(WorkerHead {
            trace_id: at_work.trace_id.clone(),
            span_id: at_work.span_id.clone(),
            parent_span_id: visit.inbound.as_ref().map(|t| t.span_id.clone()),
            issuer: who.map(|_| self.config.rules.issuer.clone()),
            subject: who.map(|v| v.subject.to_string()),
            kind: who.map(|v| v.kind.to_owned()),
            decision: decision.to_owned(),
            policy: policy.to_owned(),
            reason: reason.map(str::to_owned),
            sequence: 0,
            at_us: at_work.clock_us,
        })
    }

    /// Makes the subrequests. When the visitor was answered; status and outcome are set on the event.
    fn handle(&mut self, visit: &Visit, at_work: &mut Invocation, event: &mut WorkerEvent) -> i64 {
        let twist = visit.route.twist;
        let denied = visit.visitor.is_none() || matches!(twist, Twist::Scope | Twist::NoRoute);
        if twist == Twist::Crash {
            throw(event, at_work.clock_us, "Error", "boom before anything was logged");
            self.ledger.find(at_work.call, finding::STOPPED);
            return at_work.clock_us;
        }
        if denied || twist == Twist::Conflict {
            event.status = Some(if visit.visitor.is_none() { 401 } else { 403 });
            self.ledger.find(at_work.call, finding::DENIED);
        }
        if denied {
            return at_work.clock_us + self.dice.log_normal(ANSWERING);
        }
        if twist == Twist::Chatter {
            event.chatter.push((format!("debug {}", "x".repeat(20_000)), at_work.clock_us));
        }
        let decided_us = at_work.clock_us;
        let abort_us = (twist == Twist::Abort).then(|| decided_us + self.dice.between(80_000, 900_000));
        let (status, mut end_us) = self.subrequests(visit, at_work, abort_us);
        end_us += self.dice.log_normal(ANSWERING);
        event.end_us = end_us;
        match twist {
            Twist::WaitUntil => {
                event.status = Some(202);
                return decided_us + self.dice.log_normal(ANSWERING);
            }
            Twist::ThrowAfter => {
                throw(event, end_us, "TypeError", "boom after one subrequest");
                self.ledger.find(at_work.call, finding::STOPPED);
            }
            Twist::Abort => {
                event.outcome = "canceled".to_owned();
                self.ledger.find(at_work.call, finding::STOPPED);
                return abort_us.unwrap_or(end_us);
            }
            Twist::Conflict => {}
            _ => event.status = Some(status),
        }
        end_us
    }

    fn subrequests(&mut self, visit: &Visit, at_work: &mut Invocation, abort_us: Option<i64>) -> (u16, i64) {
        let twist = visit.route.twist;
        let (mut status, mut at_us) = (200, at_work.clock_us);
        for group in visit.route.groups {
            let mut end_us = at_us;
            let mut send_us = at_us;
            for leg in *group {
                send_us += self.dice.log_normal(log_normal(60.0, 0.5));
                let what = Subrequest { leg: *leg, id: visit.id, attempt: 0, at_us: send_us, abort_us };
                let done = match twist {
                    Twist::Binding => self.bound_worker(at_work, what),
                    Twist::Retry => self.with_retries(at_work, what),
                    Twist::GatewayNoRoute => self.unroutable(at_work, what),
                    _ => self.subrequest(at_work, what),
                };
                self.judge(twist, done.call);
                status = worker_status(status, done.status);
                end_us = end_us.max(done.at_us);
            }
            at_us = end_us;
            at_work.clock_us = at_us;
        }
        (status, at_us)
    }

    /// Labels a subrequest of a Worker that goes wrong as an attack would.
    fn judge(&mut self, twist: Twist, subrequest: CallNo) {
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
    }

    /// Asks again while the answer is 503: the first tries get one.
    fn with_retries(&mut self, at_work: &mut Invocation, what: Subrequest) -> Done {
        let failures = self.dice.between(1, i64::from(TRIES) - 1) as u32;
        let failing = Leg { ending: super::routes::Ending::Status(503), ..what.leg };
        let mut what = what;
        for attempt in 0..failures {
            let done = self.subrequest(at_work, Subrequest { leg: failing, attempt, ..what });
            at_work.clock_us = done.at_us;
            what.at_us = done.at_us + self.dice.log_normal(log_normal(60.0, 0.5));
        }
        self.subrequest(at_work, Subrequest { attempt: failures, ..what })
    }

    fn subrequest(&mut self, at_work: &mut Invocation, what: Subrequest) -> Done {
        let gateway = self.gateway();
        let sent = self.sign(at_work);
        let call = self.open_subrequest(at_work, what, &sent);
        let (zone_us, at_us) = self.way_to_gateway(what.at_us);
        let order = Order {
            from: gateway,
            leg: what.leg,
            id: what.id,
            headers: sent.clone(),
            at_us,
            entry: Some(call),
            around: None,
            abort_us: what.abort_us,
        };
        let done = self.call(&at_work.cause.by(call), order);
        self.answer_subrequest(at_work, what, &sent, call, (zone_us, at_us), done)
    }

    /// The gateway answers itself: it knows no service for the path.
    fn unroutable(&mut self, at_work: &mut Invocation, what: Subrequest) -> Done {
        let gateway = self.gateway();
        let sent = self.sign(at_work);
        let call = self.open_subrequest(at_work, what, &sent);
        self.ledger.find(call, finding::STOPPED);
        let (zone_us, start_us) = self.way_to_gateway(what.at_us);
        let end_us = start_us + self.dice.log_normal(log_normal(300.0, 0.4));
        let face = Face { attempts: 0, ..Face::http(404, 0, 0).flagged("NR", "route_not_found") };
        self.exchanges.push(Exchange {
            call,
            entry: Some(call),
            from: gateway,
            around: None,
            to: None,
            method: Some(what.leg.method.to_owned()),
            authority: Some(GATEWAY_HOST.to_owned()),
            path: Some(what.leg.path.replace("{id}", what.id)),
            start_us,
            end_us,
            logged: sent.clone().through(self.topology.of(gateway), true, &mut self.dice),
            face,
            attempts: Vec::new(),
            app_socket: None,
        });
        let done = Done { call, at_us: end_us, status: 404 };
        self.answer_subrequest(at_work, what, &sent, call, (zone_us, start_us), done)
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
            cf_ray: Some(format!("{}-AMS", self.ray())),
            calltrail: Some(Arc::new(signed)),
            hop: self.config.worker_hop.then(|| self.dice.hex::<16>()),
            x_forwarded_for: Some(WORKER_ADDRESS.to_owned()),
            ..Headers::default()
        }
    }

    fn open_subrequest(&mut self, at_work: &Invocation, what: Subrequest, sent: &Headers) -> CallNo {
        let path = what.leg.path.replace("{id}", what.id);
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

    /// When the zone, and when the gateway has it.
    fn way_to_gateway(&mut self, at_us: i64) -> (i64, i64) {
        let zone_us = at_us + self.dice.log_normal(WORKER_TO_ZONE);
        (zone_us, zone_us + self.dice.log_normal(ZONE_TO_GATEWAY))
    }

    /// The way back, and the records of it: the zone's and the Worker's.
    fn answer_subrequest(
        &mut self,
        at_work: &mut Invocation,
        what: Subrequest,
        sent: &Headers,
        call: CallNo,
        (zone_us, gateway_us): (i64, i64),
        done: Done,
    ) -> Done {
        let zone_end_us = done.at_us + self.dice.log_normal(GATEWAY_TO_ZONE);
        let got_us = zone_end_us + self.dice.log_normal(ZONE_TO_WORKER);
        let ray = sent.cf_ray.as_deref().and_then(|r| r.split('-').next()).map(str::to_owned);
        let trace = sent.trace.clone().unwrap_or_else(|| TraceContext::new(&mut self.dice));
        let path = what.leg.path.replace("{id}", what.id);
        self.ledger.close(call, done.status, got_us);
        self.remember(sent, call);
        if self.config.zone_log {
            self.rows.push(ZoneRecord {
                call,
                role: Role::ZoneSubrequest,
                host: GATEWAY_HOST.to_owned(),
                method: what.leg.method.to_owned(),
                path: path.clone(),
                start_us: zone_us,
                end_us: zone_end_us,
                // The zone's own word for a client that went away.
                status: if done.status == 0 { 499 } else { done.status as u16 },
                ray: ray.clone().unwrap_or_default(),
                parent_ray: at_work.ray.clone(),
                traceparent: Some(trace.traceparent()),
                request_id: sent.request_id.clone(),
                calltrail: sent.calltrail.as_ref().map(|c| c.text.clone()),
            });
        }
        if !at_work.loses_records {
            at_work.records.push(WorkerRecord {
                call,
                trace_id: trace.trace_id,
                span_id: trace.span_id,
                request_id: sent.request_id.clone().unwrap_or_default(),
                service: what.leg.to.to_owned(),
                host: GATEWAY_HOST.to_owned(),
                method: what.leg.method.to_owned(),
                path,
                attempt: what.attempt,
                start_us: at_work.clock_us,
                duration_us: got_us - at_work.clock_us,
                status: Some(done.status as u16),
                error: None,
                ray,
                upstream_service_ms: Some(((done.at_us - gateway_us) / 1_000) as u64),
                hop: sent.hop.clone(),
                sequence: 0,
            });
        }
        Done { call, at_us: got_us, status: done.status }
    }

    /// A Worker that is bound to the first as a service, and makes the subrequest for it.
    fn bound_worker(&mut self, at_work: &mut Invocation, what: Subrequest) -> Done {
        let span_id = self.dice.hex::<8>();
        let path = what.leg.path.replace("{id}", what.id);
        let asked = Asked {
            kind: "binding",
            caller: "worker:edge",
            callee: "worker:inner",
            method: Some(what.leg.method),
            path: Some(&path),
        };
        let call = self.ledger.open(&at_work.cause.by(at_work.call), &asked, what.at_us);
        self.ledger.calls[call].principal_provable = true;
        let began_us = what.at_us + self.dice.log_normal(log_normal(250.0, 0.4));
        let mut event = self.event(call, INNER_WORKER, began_us);
        event.url = format!("http://{INNER_WORKER}{path}");
        event.method = what.leg.method.to_owned();
        let mut inner = Invocation {
            call,
            cause: at_work.cause.clone(),
            script: INNER_WORKER,
            trace_id: at_work.trace_id.clone(),
            span_id: self.dice.hex::<8>(),
            ray: None,
            // The captures' Worker signs for the Worker that called it: it has checked nobody else.
            signs_for: ("worker", Arc::from(WORKER)),
            clock_us: began_us + self.dice.log_normal(log_normal(200.0, 0.4)),
            records: Vec::new(),
            loses_records: false,
        };
        event.head = Some(WorkerHead {
            trace_id: inner.trace_id.clone(),
            span_id: inner.span_id.clone(),
            parent_span_id: Some(span_id.clone()),
            issuer: Some("worker".to_owned()),
            subject: Some(WORKER.to_owned()),
            kind: Some("worker".to_owned()),
            decision: "allow".to_owned(),
            policy: "bound".to_owned(),
            reason: None,
            sequence: 0,
            at_us: inner.clock_us,
        });
        let at_us = inner.clock_us + self.dice.log_normal(log_normal(60.0, 0.5));
        let done = self.subrequest(&mut inner, Subrequest { at_us, ..what });
        let end_us = done.at_us + self.dice.log_normal(ANSWERING);
        event.status = Some(done.status as u16);
        event.end_us = end_us;
        event.records = in_sequence(inner.records);
        self.events.push(event);
        let got_us = end_us + self.dice.log_normal(log_normal(250.0, 0.4));
        self.ledger.close(call, done.status, got_us);
        at_work.records.push(WorkerRecord {
            call,
            trace_id: at_work.trace_id.clone(),
            span_id,
            request_id: self.dice.uuid(),
            service: INNER_WORKER.to_owned(),
            host: INNER_WORKER.to_owned(),
            method: what.leg.method.to_owned(),
            path,
            attempt: 0,
            start_us: at_work.clock_us,
            duration_us: got_us - at_work.clock_us,
            status: Some(done.status as u16),
            error: None,
            ray: None,
            upstream_service_ms: None,
            hop: None,
            sequence: 0,
        });
        Done { call, at_us: got_us, status: done.status }
    }

    fn finish_visit(&mut self, visit: &Visit, at_work: Invocation, mut event: WorkerEvent, answered_us: i64) {
        let call = at_work.call;
        event.records = in_sequence(at_work.records);
        event.end_us = event.end_us.max(answered_us);
        let seen = match (event.outcome.as_str(), event.status) {
            ("canceled", _) => 499,
            (_, Some(status)) => status,
            _ => 500,
        };
        let end_us = answered_us + self.dice.log_normal(VISITOR_TO_WORKER);
        self.ledger.close(call, i32::from(if seen == 499 { 0 } else { seen }), end_us);
        let known = event.head.as_ref().is_some_and(|head| head.subject.is_some());
        self.ledger.calls[call].principal_provable = known;
        if !known {
            // Whoever it was, nobody has found out.
            self.ledger.calls[call].principal = None;
        }
        if self.config.zone_log {
            let path = self.ledger.calls[call].path.clone().unwrap_or_default();
            self.rows.push(ZoneRecord {
                call,
                role: Role::ZoneEyeball,
                host: EDGE_HOST.to_owned(),
                method: event.method.clone(),
                path,
                start_us: visit.at_us,
                end_us,
                status: seen,
                ray: event.ray.clone().unwrap_or_default(),
                parent_ray: None,
                traceparent: visit.inbound.as_ref().map(TraceContext::traceparent),
                request_id: None,
                calltrail: None,
            });
        }
        self.events.push(event);
    }

    /// A scheduled invocation: no visitor, no request.
    pub fn cron_worker(&mut self, leg: Leg, at_us: i64) {
        let subject: Arc<str> = Arc::from(WORKER);
        let cause = Cause {
            parent: None,
            root_kind: "edge",
            principal: Some(subject.clone()),
            scenario: "cron_worker",
        };
        let asked = Asked { kind: "edge", caller: "cron", callee: "worker:edge", method: None, path: None };
        let call = self.ledger.open(&cause, &asked, at_us);
        self.ledger.calls[call].principal_provable = true;
        let mut event = self.event(call, WORKER, at_us);
        event.cron = Some("*/5 * * * *".to_owned());
        let mut at_work = Invocation {
            call,
            cause,
            script: WORKER,
            trace_id: self.dice.hex::<16>(),
            span_id: self.dice.hex::<8>(),
            ray: None,
            signs_for: ("cron", subject),
            clock_us: at_us + self.dice.log_normal(DECIDING),
            records: Vec::new(),
            loses_records: false,
        };
        event.head = Some(WorkerHead {
            trace_id: at_work.trace_id.clone(),
            span_id: at_work.span_id.clone(),
            parent_span_id: None,
            issuer: Some("worker".to_owned()),
            subject: Some(WORKER.to_owned()),
            kind: Some("cron".to_owned()),
            decision: "allow".to_owned(),
            policy: "cron".to_owned(),
            reason: None,
            sequence: 0,
            at_us: at_work.clock_us,
        });
        let sent_us = at_work.clock_us + self.dice.log_normal(log_normal(60.0, 0.5));
        let what = Subrequest { leg, id: "nightly", attempt: 0, at_us: sent_us, abort_us: None };
        let done = self.subrequest(&mut at_work, what);
        event.end_us = done.at_us + self.dice.log_normal(ANSWERING);
        event.records = in_sequence(at_work.records);
        self.ledger.close(call, 0, event.end_us);
        self.events.push(event);
    }

    pub fn ray(&mut self) -> String {
        // As Cloudflare's rays of one day begin alike.
        format!("9e1{}", &self.dice.hex::<7>()[1..])
    }
}

fn throw(event: &mut WorkerEvent, at_us: i64, name: &str, message: &str) {
    event.outcome = "exception".to_owned();
    event.status = None;
    event.exceptions.push((name.to_owned(), message.to_owned(), at_us));
}

/// Records are logged as the answers come in; the head has number 0.
fn in_sequence(mut records: Vec<WorkerRecord>) -> Vec<WorkerRecord> {
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
