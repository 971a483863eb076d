//! One call as a page: the seven questions in their order, then the legs side by side and the lines that say it all.

use super::paint::Paint;
use super::{phrase, table};
use crate::api::dto::{CallDto, EvidenceDto, IdentityDto, LegDto};
use std::fmt::Write;

pub fn call(call: &CallDto, evidence: Option<&EvidenceDto>, paint: Paint) -> String {
    let mut page = Page { text: String::new(), paint };
    page.title(call);
    page.row("Who", &identity(&call.caller));
    page.row("called", &identity(&call.callee));
    page.row("For whom", &on_behalf(call));
    page.row("What", &what(call));
    page.when(call);
    page.origin(call);
    page.by_whose_leave(call);
    page.outcome(call);
    page.row("How sure", &how_sure(call));
    page.findings(call);
    page.legs(call);
    page.evidence(call, evidence);
    page.text
}

struct Page {
    text: String,
    paint: Paint,
}

impl Page {
    fn row(&mut self, label: &str, value: &str) {
        let label = self.paint.bold(&format!("{label:<17}"));
        let _ = writeln!(self.text, "{label}{value}");
    }

    fn more(&mut self, value: &str) {
        let _ = writeln!(self.text, "{:17}{value}", "");
    }

    /// The first value beside the label, the others below it.
    fn rows(&mut self, label: &str, values: &[String], none: &str) {
        self.row(label, values.first().map_or(none, String::as_str));
        values.iter().skip(1).for_each(|v| self.more(v));
    }

    fn title(&mut self, call: &CallDto) {
        let line = format!("{}  {}  {}", phrase::parties(call), phrase::request(call), phrase::outcome(call));
        let _ = writeln!(self.text, "{}", self.paint.bold(&line));
        let mut ids = format!("call {}", call.id);
        if let Some(trace) = &call.trace_id {
            let _ = write!(ids, "  trace {trace}");
        }
        if let Some(parent) = &call.parent_id {
            let how = if call.parent_inferred { " (inferred from time and identity)" } else { "" };
            let _ = write!(ids, "  made while handling {parent}{how}");
        }
        let _ = writeln!(self.text, "{}", self.paint.dim(&ids));
        if let Some(now) = &call.superseded_by {
            let note = format!("the id that was asked for is not this call's own any more: it is {now} now");
            let _ = writeln!(self.text, "{}", self.paint.yellow(&note));
        }
        self.text.push('\n');
    }

    fn when(&mut self, call: &CallDto) {
        let legs = call.legs.as_deref().unwrap_or_default();
        let values: Vec<String> = legs
            .iter()
            .map(|leg| {
                let took =
                    leg.duration_us.map_or_else(String::new, |us| format!(", {}", phrase::duration(us)));
                format!("{} by {}{took}", leg.start, observer(leg))
            })
            .collect();
        self.rows("When", &values, &call.start);
    }

    fn origin(&mut self, call: &CallDto) {
        let mut values: Vec<String> = Vec::new();
        for leg in call.legs.iter().flatten() {
            let mut parts = Vec::new();
            parts.extend(leg.socket.as_ref().map(|s| format!("{} → {}", s.client, s.server)));
            parts.extend(leg.ray.as_ref().map(|r| format!("ray {r}")));
            parts.extend(leg.parent_ray.as_ref().map(|r| format!("within ray {r}")));
            parts.extend(leg.colo.as_ref().map(|c| format!("colo {c}")));
            let value = phrase::printable(&parts.join(", "));
            if !value.is_empty() && !values.contains(&value) {
                values.push(value);
            }
        }
        self.rows("From where", &values, "no line says");
    }

    fn by_whose_leave(&mut self, call: &CallDto) {
        let paint = self.paint;
        let values: Vec<String> = call.decisions.iter().map(|d| paint.effect(&phrase::decision(d))).collect();
        self.rows("By whose leave", &values, "nobody is known to have judged");
    }

    fn outcome(&mut self, call: &CallDto) {
        let o = &call.outcome;
        let mut values = vec![phrase::outcome(call)];
        if let Some(stage) = &o.stopped_at {
            let why =
                o.stopped_why.as_deref().map_or_else(String::new, |w| format!(": {}", phrase::printable(w)));
            values.push(self.paint.red(&format!("stopped at {stage}{why}")));
        }
        if !o.flags.is_empty() {
            values.push(o.flags.join(", "));
        }
        let bytes =
            |label: &str, n: Option<u64>| n.map(|n| format!("{label} {}", phrase::count(n, "byte", "bytes")));
        let bodies: Vec<String> =
            [bytes("sent", o.request_body_bytes), bytes("answered", o.response_body_bytes)]
                .into_iter()
                .flatten()
                .collect();
        if !bodies.is_empty() {
            values.push(bodies.join(", "));
        }
        self.rows("What came of it", &values, "");
    }

    fn findings(&mut self, call: &CallDto) {
        for (i, f) in call.findings.iter().enumerate() {
            let name = self.paint.severity(&f.severity, &format!("{} ({})", f.kind, f.severity));
            let value = format!("{name}: {}", phrase::printable(&f.sentence));
            if i == 0 { self.row("Findings", &value) } else { self.more(&value) }
        }
    }

    fn legs(&mut self, call: &CallDto) {
        let legs = call.legs.as_deref().unwrap_or_default();
        if legs.is_empty() {
            return;
        }
        let mut header = vec![String::new()];
        header.extend(legs.iter().map(|l| format!("{} leg", l.side)));
        let rows = leg_rows(legs).into_iter().filter(|row| row[1..].iter().any(|v| !v.is_empty())).collect();
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let _ = write!(self.text, "\n{}", table::plain(&header, rows, self.paint));
    }

    fn evidence(&mut self, call: &CallDto, evidence: Option<&EvidenceDto>) {
        let _ = writeln!(self.text, "\n{}", self.paint.bold("Evidence"));
        let Some(evidence) = evidence else {
            for leg in call.legs.iter().flatten() {
                let place =
                    format!("{} delivery {} line {}", phrase::printable(&leg.source), leg.delivery, leg.line);
                let _ =
                    writeln!(self.text, "{place}, received {}, sha256 {}", leg.received_at, leg.line_sha256);
            }
            return;
        };
        for line in &evidence.lines {
            let place =
                format!("{} delivery {} line {}", phrase::printable(&line.source), line.delivery, line.line);
            let _ =
                writeln!(self.text, "{place}, received {}, sha256 {}", line.received_at, line.line_sha256);
            let raw = line.text.as_deref().map(phrase::printable).or(line.base64.clone()).unwrap_or_default();
            let _ = writeln!(self.text, "{}", self.paint.dim(&raw));
        }
        if evidence.removed_lines > 0 {
            let lines = phrase::count(evidence.removed_lines as u64, "line has", "lines have");
            let _ = writeln!(self.text, "{lines} been removed; their hashes stand with the legs");
        }
    }
}

fn identity(identity: &IdentityDto) -> String {
    let how = match identity.assurance.as_str() {
        "mtls" => "by the certificate seen in the handshake",
        "jwt" => "by a verified token",
        "signed" => "by a signed header",
        "asserted" => "asserted by a name in configuration",
        "address" => "only an address",
        _ => "nothing says who",
    };
    let id = identity.spiffe_id.as_deref().map_or_else(String::new, |id| format!(" {id}"));
    format!("{} {}{}, {how}", identity.kind, phrase::printable(&identity.name), phrase::printable(&id))
}

fn on_behalf(call: &CallDto) -> String {
    let claimed = call.claimed_principal.as_ref().map(|p| {
        format!(
            "nobody that is proven; a header claims {} {}",
            phrase::printable(&p.kind),
            phrase::printable(&p.subject)
        )
    });
    let Some(p) = &call.principal else {
        return claimed.unwrap_or_else(|| "nobody is known".to_owned());
    };
    let how = match p.attribution.as_str() {
        "verified" => "checked here, at the edge",
        "inherited" => "inherited down a chain whose every link is verified",
        "signed" => "by the edge's signed header; its own record is missing",
        "presumed" => "presumed down a chain with a link that nobody verified",
        "deferred" => "made after the call that caused it had ended",
        other => other,
    };
    let issuer = p.issuer.as_deref().map_or_else(String::new, |i| format!(" of {i}"));
    phrase::printable(&format!("{} {}{issuer}, {how}", p.kind, p.subject))
}

fn what(call: &CallDto) -> String {
    let authority = call.authority.as_deref().map_or_else(String::new, |a| format!(" at {a}"));
    let mut text = format!("{}{}", phrase::request(call), phrase::printable(&authority));
    if text != call.protocol {
        let _ = write!(text, " over {}", call.protocol);
    }
    text
}

fn how_sure(call: &CallDto) -> String {
    let basis = match call.basis.as_str() {
        "proven" => "joined by hop id or connection, both certificates agree",
        "keyed" => "joined by an unguessable key that both sides logged",
        "inferred" => "the best match among several",
        _ => "one leg only",
    };
    let mut text = format!("{}: {basis}", phrase::basis(call));
    if call.ambiguous > 1 {
        let _ = write!(
            text,
            "; {} calls look alike: timing and status may be swapped among them",
            call.ambiguous
        );
    }
    let _ = write!(text, "; {}", call.state);
    if call.state == "open" {
        let _ = write!(text, " until {}", call.settles_at);
    }
    text
}

fn observer(leg: &LegDto) -> String {
    phrase::printable(&format!("{} {}", leg.observer.kind, leg.observer.name))
}

/// The fields that two sides can disagree on, a row each.
fn leg_rows(legs: &[LegDto]) -> Vec<Vec<String>> {
    let row = |label: &str, value: &dyn Fn(&LegDto) -> String| {
        let mut cells = vec![label.to_owned()];
        cells.extend(legs.iter().map(|l| phrase::printable(&value(l))));
        cells
    };
    let text = |t: &Option<String>| t.clone().unwrap_or_default();
    vec![
        row("observer", &|l| format!("{} {}", l.observer.kind, l.observer.name)),
        row("itself", &|l| phrase::party(&l.local)),
        row("other party", &|l| phrase::party(&l.peer)),
        row("start", &|l| l.start.clone()),
        row("duration", &|l| l.duration_us.map(phrase::duration).unwrap_or_default()),
        row("status", &|l| l.status.map(|s| s.to_string()).unwrap_or_default()),
        row("grpc status", &|l| l.grpc_status.map(|s| s.to_string()).unwrap_or_default()),
        row("flags", &|l| l.flags.join(" ")),
        row("details", &|l| text(&l.response_details)),
        row("termination", &|l| text(&l.termination_details)),
        row("transport", &|l| text(&l.transport_failure)),
        row("request id", &|l| text(&l.request_id)),
        row("trace", &|l| text(&l.trace_id)),
        row("hop", &|l| text(&l.hop)),
        row("ray", &|l| text(&l.ray)),
        row("span", &|l| text(&l.span_id)),
        row("socket", &|l| {
            l.socket.as_ref().map(|s| format!("{} → {}", s.client, s.server)).unwrap_or_default()
        }),
        row("leg", &|l| l.id.clone()),
    ]
}
