//! A case of a score with the legs that it is about: what an engineer needs to find its cause.

use crate::derive::Derived;
use crate::judged::AS_OF;
use calltrail::model::{CallId, Finding, Leg, Side};
use calltrail_score::{Case, LineHash, RealCall};
use std::collections::HashMap;
use std::fmt::Write;

/// The case, the exported call's legs, and the real call's lines that are not among them.
pub fn explain(case: &Case, truth: &[RealCall], derived: &Derived) -> String {
    let mut text = format!("{:?} [{}] {}", case.what, case.scenario, case.text);
    let mut by_line: HashMap<LineHash, Vec<&Leg>> = HashMap::new();
    for leg in derived.calls.iter().flat_map(|c| &c.legs) {
        by_line.entry(LineHash(leg.line.line_sha256.0)).or_default().push(leg);
    }
    let exported = case.exported.and_then(|i| derived.calls.get(i));
    if let Some(call) = exported {
        let principal = call.principal.as_ref().map(|p| format!("{} {}", p.principal.subject, p.attribution));
        let kept_back: Vec<_> = derived.kept_back(call, AS_OF).map(|(f, why)| (f.kind, why)).collect();
        let held = |f: &Finding| {
            kept_back
                .iter()
                .find(|(kind, _)| *kind == f.kind)
                .map_or_else(|| f.kind.to_string(), |(_, why)| format!("{} kept back: {why:?}", f.kind))
        };
        let findings: Vec<String> = call.findings.iter().map(held).collect();
        let _ = write!(
            text,
            "\n    call {} {} conf {} ambiguous {} principal {principal:?} findings {findings:?} parent {:?}",
            &call.id.to_string()[..8],
            call.basis,
            call.confidence_ppm,
            call.ambiguous,
            call.parent_id.map(|p| p.to_string()[..8].to_owned())
        );
        call.legs.iter().for_each(|leg| line(&mut text, leg));
        above(&mut text, call.parent_id, derived);
    }
    let shown = |l: &Leg| exported.is_some_and(|c| c.legs.iter().any(|m| m.id == l.id));
    if let Some(real) = case.real.map(|i| &truth[i]) {
        let _ = write!(text, "\n    really #{} {} lost {}:", real.id, real.kind, real.lost);
        for mark in &real.lines {
            let legs = by_line.get(&mark.sha256).into_iter().flatten();
            legs.filter(|l| !shown(l)).for_each(|leg| line(&mut text, leg));
        }
        let parent = real.parent.as_ref().and_then(|id| truth.iter().find(|r| r.id == *id));
        if let Some(parent) = parent {
            let _ = write!(text, "\n    really of #{} {} lost {}:", parent.id, parent.kind, parent.lost);
            let legs = parent.lines.iter().filter_map(|mark| by_line.get(&mark.sha256));
            legs.flatten().for_each(|leg| line(&mut text, leg));
        }
    }
    text
}

/// What is taken for its cause, up to the root.
fn above(text: &mut String, parent: Option<CallId>, derived: &Derived) {
    let mut next = parent;
    while let Some(call) = next.and_then(|id| derived.calls.iter().find(|c| c.id == id)) {
        let _ = write!(text, "\n    of {}", &call.id.to_string()[..8]);
        call.legs.iter().for_each(|leg| line(text, leg));
        next = call.parent_id;
    }
}

fn line(text: &mut String, leg: &Leg) {
    let short = |t: Option<String>| t.map_or("-".to_owned(), |t| t.chars().take(12).collect());
    let _ = write!(
        text,
        "\n      {} {:?} {} {}->{} {:?} {}+{}us {} {} st {:?} tr {}/{} rq {} hop {} php {} ray {} hdr {} sock {} dlv {}",
        &leg.line.line_sha256.to_string()[..8],
        leg.observer.kind,
        if leg.side == Side::Client { "client" } else { "server" },
        leg.caller().name,
        leg.callee().name,
        leg.protocol,
        leg.start,
        leg.duration_us.unwrap_or(-1),
        leg.method.as_deref().unwrap_or("-"),
        leg.path.as_deref().unwrap_or("-"),
        leg.status,
        short(leg.trace.as_ref().map(|t| t.trace_id.to_string())),
        short(leg.trace.as_ref().map(|t| t.parent_id.to_string())),
        short(leg.request_id.clone()),
        short(leg.hop.clone()),
        short(leg.parent_hop.clone()),
        short(leg.ray.clone()),
        short(leg.header.as_ref().map(|h| h.span_id.to_string())),
        leg.socket.as_ref().map_or("-".to_owned(), |s| format!("{}>{}", s.client, s.server)),
        leg.line.delivery
    );
}
