//! What a Worker's event means: a server leg for the invocation, and a client leg for each subrequest that its records tell of.
//!
//! The event itself carries almost nothing; principal, decision and spans come from the records (`worker_record.rs`). An event
//! without them still is a server leg. Names of users are what the Worker chose to log, by default a keyed hash.

use super::line::{Line, blank_leg, leg_id};
use super::worker_record::{self as records, CallRecord, Trail};
use super::worker_wire::{Record, WorkerEvent};
use super::{http_fields, reject, timestamp};
use crate::model::{
    Assurance, EdgeDecision, Identity, IdentityKind, LegFields, LegId, Observer, ObserverKind, Principal,
    Protocol, Reject, Side, Timestamp, TraceContext,
};

const WHAT: &str = "a Worker event";
/// Shown where a carrier leaves the script's name out.
const UNNAMED_SCRIPT: &str = "worker";

pub fn decode(text: &str, line: &Line<'_>) -> Result<Vec<LegFields>, Reject> {
    let event: WorkerEvent = serde_json::from_str(text).map_err(|e| reject::json(&e, WHAT))?;
    let written = event.event_timestamp.get().ok_or_else(|| reject::missing(WHAT, "EventTimestampMs"))?;
    let start = timestamp::parse(written)
        .ok_or_else(|| reject::invalid(WHAT, "EventTimestampMs", "a time in milliseconds since 1970"))?;
    let candidates = records::candidates(&event.logs.0);
    let trail = Trail::read(&candidates);
    let invocation = Invocation { event: &event, trail: &trail, line, start };
    let server = invocation.server_leg(cut_by_logpush(text));
    let calls = trail.calls.iter().enumerate().map(|(i, call)| invocation.client_leg(i, call, &server));
    let calls: Vec<LegFields> = calls.collect();
    Ok(std::iter::once(server).chain(calls).collect())
}

/// Logpush ends what it cut with `<<<Logpush: messages truncated>>>` (or `exception names`, `exception messages`). Each part of
/// the text is looked at once, however many begin like that.
fn cut_by_logpush(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find("<<<Logpush: ") {
        let Some(length) = rest[at..].find('"') else { return false };
        let (told, behind) = rest.split_at(at + length);
        if told.ends_with("truncated>>>") {
            return true;
        }
        rest = behind;
    }
    false
}

struct Invocation<'l> {
    event: &'l WorkerEvent<'l>,
    trail: &'l Trail<'l>,
    line: &'l Line<'l>,
    start: Timestamp,
}

impl Invocation<'_> {
    fn server_leg(&self, cut: bool) -> LegFields {
        let event = self.event;
        let mut leg = self.leg(self.server_id(), Side::Server, self.start);
        let (ray, colo) = self.visitor_ray();
        (leg.ray, leg.colo) = (ray, colo);
        leg.duration_us = self.duration_us();
        match &event.event.request {
            Some(request) => {
                leg.method = request.method.owned();
                let url = request.url.get().map(http_fields::authority_and_path);
                (leg.authority, leg.path) = url.unwrap_or_default();
                leg.status = http_fields::status_text(event.event.response.status.get());
            }
            None => leg.protocol = Protocol::Event,
        }
        leg.worker_outcome = event.outcome.get().filter(|outcome| *outcome != "ok").map(str::to_owned);
        leg.truncated = cut || event.truncated.0 || self.trail.has_gap();
        if let Some(head) = &self.trail.head {
            set_head(&mut leg, head);
        }
        leg
    }

    fn client_leg(&self, index: usize, call: &CallRecord<'_>, server: &LegFields) -> LegFields {
        let record = &call.record;
        let (trace, span) = (records::trace_id(record), records::call_span(record));
        let id = match (trace, span) {
            (Some(trace), Some(span)) => leg_id("worker-call", &[&trace.to_string(), &span.to_string()]),
            _ => self.line.own_leg_id(&format!("call-{index}")),
        };
        let duration_us = timestamp::duration_us(record.ms);
        let began = record.ts.get().and_then(timestamp::parse);
        let ended = || timestamp::in_range(call.logged_at?.micros() - duration_us.unwrap_or(0));
        let mut leg = self.leg(id, Side::Client, began.or_else(ended).unwrap_or(self.start));
        leg.made_by = Some(server.id);
        leg.peer = callee(record);
        leg.duration_us = duration_us;
        leg.method = record.m.owned();
        leg.authority = record.host.owned();
        leg.path = record.p.get().map(http_fields::path);
        leg.status = http_fields::status(record.st.0);
        leg.transport_failure = record.err.owned();
        leg.trace = trace.zip(span).map(|(trace_id, parent_id)| TraceContext { trace_id, parent_id });
        leg.span_id = span;
        leg.parent_span_id = server.span_id;
        leg.request_id = record.rid.owned();
        (leg.ray, leg.colo) = http_fields::ray(record.ur.get());
        leg.parent_ray = server.ray.clone();
        leg.hop = http_fields::hop(record.hop.get());
        leg.sequence = sequence(record);
        leg
    }

    fn leg(&self, id: LegId, side: Side, start: Timestamp) -> LegFields {
        let script = self.event.script_name.get();
        let assurance = if script.is_some() { Assurance::Asserted } else { Assurance::None };
        let name = script.unwrap_or(UNNAMED_SCRIPT);
        let observer = Observer { kind: ObserverKind::Worker, name: name.to_owned() };
        let mut leg = blank_leg(id, self.line, side, observer, start);
        leg.local = identity(IdentityKind::Worker, name, assurance);
        leg
    }

    fn server_id(&self) -> LegId {
        let head = self.trail.head.as_ref();
        let spans = head.and_then(|head| records::trace_id(head).zip(records::invocation_span(head)));
        if let Some((trace, span)) = spans {
            return leg_id("worker", &[&trace.to_string(), &span.to_string()]);
        }
        match self.visitor_ray().0 {
            Some(ray) => {
                let script = self.event.script_name.get().unwrap_or("");
                leg_id("worker-event", &[&ray, &self.start.micros().to_string(), script])
            }
            // Service bindings, cron and websockets have no ray.
            None => self.line.own_leg_id(Side::Server.as_str()),
        }
    }

    fn visitor_ray(&self) -> (Option<String>, Option<String>) {
        let detail = &self.event.event;
        let header = detail.request.as_ref().and_then(|request| request.headers.cf_ray.get());
        http_fields::ray(detail.ray_id.get().or(header))
    }

    /// As the runtime measured it, else up to the last thing that the event tells of.
    fn duration_us(&self) -> Option<i64> {
        if let Some(wall_us) = timestamp::duration_us(self.event.wall_time_ms).filter(|us| *us > 0) {
            return Some(wall_us);
        }
        let logged = self.event.logs.0.iter().map(|entry| &entry.timestamp);
        let thrown = self.event.exceptions.0.iter().map(|entry| &entry.timestamp);
        let told = logged.chain(thrown).filter_map(|text| text.get().and_then(timestamp::parse));
        let answered = self.trail.calls.iter().filter_map(|call| {
            let began = call.record.ts.get().and_then(timestamp::parse)?;
            Some(began.plus_us(timestamp::duration_us(call.record.ms)?))
        });
        let last = told.chain(answered).max()?;
        Some((last.micros() - self.start.micros()).max(0))
    }
}

fn set_head(leg: &mut LegFields, head: &Record<'_>) {
    leg.span_id = records::invocation_span(head);
    leg.parent_span_id = records::parent_span(head);
    // Without a parent the trace begins here, and the invocation's own span stands for it.
    let parent = leg.parent_span_id.or(leg.span_id);
    leg.trace =
        records::trace_id(head).zip(parent).map(|(trace_id, parent_id)| TraceContext { trace_id, parent_id });
    leg.sequence = sequence(head);
    leg.peer = caller(head);
    leg.edge_principal = head.sub.get().map(|subject| Principal {
        kind: head.kind.get().unwrap_or("user").to_owned(),
        subject: subject.to_owned(),
        issuer: head.iss.owned(),
    });
    leg.edge_decision = match head.d.get() {
        Some(word @ ("allow" | "deny")) => Some(EdgeDecision {
            allowed: word == "allow",
            policy: head.pol.owned(),
            reason: head.why.owned(),
        }),
        _ => None,
    };
}

/// Who asked, as the Worker established it: a user or a service token by a checked token, another Worker or the scheduler by
/// configuration.
fn caller(head: &Record<'_>) -> Identity {
    let Some(subject) = head.sub.get() else { return Identity::unknown() };
    match head.kind.get().unwrap_or("user") {
        "user" => identity(IdentityKind::User, subject, Assurance::Jwt),
        "worker" => identity(IdentityKind::Worker, subject, Assurance::Asserted),
        kind @ "cron" => identity(IdentityKind::External, &format!("{kind}:{subject}"), Assurance::Asserted),
        kind => identity(IdentityKind::User, &format!("{kind}:{subject}"), Assurance::Jwt),
    }
}

fn callee(record: &Record<'_>) -> Identity {
    let service = record.svc.get().map(|name| identity(IdentityKind::Service, name, Assurance::Asserted));
    let host = || record.host.get().map(|name| identity(IdentityKind::External, name, Assurance::Asserted));
    service.or_else(host).unwrap_or_else(Identity::unknown)
}

fn identity(kind: IdentityKind, name: &str, assurance: Assurance) -> Identity {
    Identity { kind, name: name.to_owned(), spiffe_id: None, assurance }
}

fn sequence(record: &Record<'_>) -> Option<u32> {
    record.q.unsigned().and_then(|q| u32::try_from(q).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_known_by_how_logpush_ends_its_text() {
        for (text, cut) in [
            (r#""<<<Logpush: messages truncated>>>""#, true),
            (r#""a <<<Logpush: b", "x <<<Logpush: exception names truncated>>>""#, true),
            (r#""<<<Logpush: <<<Logpush: messages truncated>>>""#, true),
            (r#""<<<Logpush: messages truncated>>> and more""#, false),
            (r#""<<<Logpush: never ends"#, false),
            ("{}", false),
        ] {
            assert_eq!(cut_by_logpush(text), cut, "{text}");
        }
    }

    /// Read again from each beginning, this would be terabytes.
    #[test]
    fn many_beginnings_of_a_cut_cost_no_more_than_their_length() {
        assert!(!cut_by_logpush(&format!("\"{}\"", "<<<Logpush: ".repeat(1_000_000))));
    }
}
