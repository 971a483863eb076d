//! Visitors and what the Worker decides about them: who is let in, what is asked for him, what he is answered.

use super::Sim;
use super::distributions::*;
use super::headers::TraceContext;
use super::routes::{Leg, Route, Twist};
use super::truth::{Asked, Cause, finding};
use super::worker::{Invocation, Subrequest, in_sequence};
use crate::records::{CallNo, Role, WorkerEvent, WorkerHead, ZoneRecord};
use std::sync::Arc;

pub const GATEWAY_HOST: &str = "mesh.example.com";
pub const EDGE_HOST: &str = "edge.example.com";
pub const EDGE_COLO: &str = "AMS";
/// What Cloudflare puts into X-Forwarded-For for a Worker's subrequest.
pub const WORKER_ADDRESS: &str = "2a06:98c0:3600::103";
pub const WORKER: &str = "edge";

#[derive(Debug, Clone)]
pub struct Visitor {
    /// `user`, `service`, `cron`.
    pub kind: &'static str,
    pub subject: Arc<str>,
}

pub struct Visit<'a> {
    pub route: &'a Route,
    pub at_us: i64,
    /// `None`: no valid token.
    pub visitor: Option<Visitor>,
    pub inbound: Option<TraceContext>,
    pub id: &'a str,
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

    pub fn event(&self, call: CallNo, script: &str, start_us: i64) -> WorkerEvent {
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
        let (status, mut end_us) = self.subrequests(visit.route, visit.id, at_work, abort_us);
        end_us += self.dice.log_normal(ANSWERING);
        event.end_us = end_us;
        match twist {
            Twist::WaitUntil => {
                event.status = Some(202);
                return decided_us + self.dice.log_normal(ANSWERING);
            }
            Twist::ThrowDuring => {
                let at_us = decided_us + 15_000;
                throw(event, at_us, "Error", "boom while the subrequest is in flight");
                self.ledger.find(at_work.call, finding::STOPPED);
                return at_us;
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
        let principal = Some(subject.clone());
        let cause = Cause { parent: None, root_kind: "edge", principal, scenario: "cron_worker" };
        let asked = Asked { kind: "edge", caller: "cron", callee: "worker:edge", method: None, path: None };
        let call = self.ledger.open(&cause, &asked, at_us);
        self.ledger.calls[call].principal_provable = true;
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
        let mut event = self.event(call, WORKER, at_us);
        event.cron = Some("*/5 * * * *".to_owned());
        event.head = Some(at_work.head("cron", "cron"));
        let sent_us = at_work.clock_us + self.dice.log_normal(ANSWERING);
        let what = Subrequest { leg, id: "nightly", attempt: 0, at_us: sent_us, abort_us: None };
        let done = self.subrequest(&mut at_work, what);
        event.end_us = done.at_us + self.dice.log_normal(ANSWERING);
        event.records = in_sequence(at_work.records);
        self.ledger.close(call, 0, event.end_us);
        self.events.push(event);
    }
}

fn throw(event: &mut WorkerEvent, at_us: i64, name: &str, message: &str) {
    event.outcome = "exception".to_owned();
    event.status = None;
    event.exceptions.push((name.to_owned(), message.to_owned(), at_us));
}
