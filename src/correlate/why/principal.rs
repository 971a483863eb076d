//! Where the principal came from, hop by hop: from the decision at the edge down to the call.

use super::Joined;
use super::parent::ancestors;
use super::words;
use crate::correlate::custody;
use crate::correlate::header::{self, Signature};
use crate::model::{Assurance, Attribution, Call, CallId, CallPrincipal, Leg, ObserverKind, Principal, Side};

/// One call on the way, with what is known there and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub call: Call,
    pub principal: Option<CallPrincipal>,
    pub sentence: String,
}

pub fn steps(joined: &Joined, call: &Call) -> Vec<Step> {
    let chain = ancestors(joined, call);
    let parents = std::iter::once(None).chain(chain.iter().copied().map(Some));
    let step = |(call, parent): (&&Call, Option<&Call>)| Step {
        call: (*call).clone(),
        principal: call.principal.clone(),
        sentence: why(joined, call, parent),
    };
    chain.iter().zip(parents).map(step).collect()
}

fn why(joined: &Joined, call: &Call, parent: Option<&Call>) -> String {
    let own = call.legs.iter().find(|l| l.edge_principal.is_some());
    if let (Some(leg), Some(p)) = (own, &call.principal)
        && p.attribution == Attribution::Verified
    {
        return at_the_edge(leg, &p.principal);
    }
    match (&call.principal, parent.filter(|p| p.principal.is_some())) {
        (Some(p), Some(parent)) => link(joined, call, parent, p),
        (Some(p), None) => signed(joined, call, p),
        (None, Some(parent)) => stops(joined, call, parent),
        (None, None) => nobody(joined, call, parent),
    }
}

fn at_the_edge(leg: &Leg, principal: &Principal) -> String {
    let issuer = principal.issuer.as_deref().map_or_else(String::new, |i| format!(" of {i}"));
    let decision = leg.edge_decision.as_ref().map_or_else(String::new, |d| {
        let effect = if d.allowed { "allowed" } else { "denied" };
        let policy = d.policy.as_deref().map_or_else(String::new, |p| format!(" by policy {p}"));
        let reason = d.reason.as_deref().map_or_else(String::new, |r| format!(" ({r})"));
        format!(", and {effect} the request{policy}{reason}")
    });
    format!(
        "the Worker {} checked the token and names {} {}{issuer}{decision}",
        leg.observer.name, principal.kind, principal.subject
    )
}

fn signed(joined: &Joined, call: &Call, p: &CallPrincipal) -> String {
    let version = custody::valid_header(call, joined.rules).map_or("", |h| h.version.as_str());
    format!(
        "the Worker's own record is missing; the {version} header that {} received has a valid signature and names {} {}",
        call.callee.name, p.principal.kind, p.principal.subject
    )
}

/// Why the principal of the parent is that of the call, and how sure that is.
fn link(joined: &Joined, call: &Call, parent: &Call, p: &CallPrincipal) -> String {
    let from = &parent.callee.name;
    if custody::serving(parent, call) == Some(false) {
        let left = call.legs.iter().find(|l| l.side == Side::Client).map_or(call.start.0, |l| l.start.0);
        let after = words::span(left - parent.end().0);
        return format!(
            "{from} made this call {after} after it had answered the one before: work that outlives its request"
        );
    }
    let weaker = match (p.attribution, parent.principal.as_ref().map(|p| p.attribution)) {
        (Attribution::Presumed, Some(Attribution::Presumed)) => "; presumed, as already further up",
        (Attribution::Signed, _) => "; it rests on the signature at the gateway, as further up",
        (Attribution::Deferred, _) => "; deferred, as further up",
        _ => "",
    };
    let told = call.legs.iter().find(|l| l.made_by.is_some());
    let certificates = parent.callee.assurance == Assurance::Mtls
        && call.caller.assurance == Assurance::Mtls
        && parent.callee.agrees_with(&call.caller) == Some(true);
    let header = custody::valid_header(call, joined.rules);
    if custody::lacks_signature(call, joined.rules) {
        return format!(
            "{} received no valid signature with it, though the Worker signs: presumed from the Worker's record alone{weaker}",
            call.callee.name
        );
    }
    if let Some(header) = header.filter(|_| call.legs.iter().any(Leg::is_entry)) {
        return format!(
            "{} received the header that the Worker signed for its span {}; the signature is valid and names {} {}{weaker}",
            call.callee.name, header.span_id, header.principal_kind, header.subject
        );
    }
    if let Some(leg) = told {
        return match leg.observer.kind {
            ObserverKind::Worker => {
                format!("the Worker {} tells of it in its own event{weaker}", leg.observer.name)
            }
            _ => format!(
                "one line of {} tells of receiving the request and of passing it on{weaker}",
                leg.observer.name
            ),
        };
    }
    if certificates {
        return format!(
            "the certificate of {from}, which received the call before, is that of the caller here{weaker}"
        );
    }
    if custody::edge_to_edge(call, header.is_some()) {
        return format!("the edge's own records lead from the one to the other{weaker}");
    }
    format!("nobody verified that {from}, which received the call before, is the caller here: presumed")
}

/// Why the principal of the parent is not that of the call.
fn stops(joined: &Joined, call: &Call, parent: &Call) -> String {
    let subject = parent.principal.as_ref().map_or("", |p| p.principal.subject.as_str());
    let stops = format!("{subject} is not passed on to this call of {}", call.caller.name);
    if joined.custody.untold_at_gateway.contains(&call.id) {
        return format!(
            "{stops}: another request with the same header came in at a gateway, and nothing tells which of the two is the copy"
        );
    }
    let at = |id: CallId| &joined.calls[joined.call_at[&id]];
    if let Some(rival) = custody::contests(call, &parent.principal, &joined.contested, at) {
        return format!("{stops}: {}", contest(call, parent, at(rival.call), at(rival.entry)));
    }
    match custody::may_be_of_another_request(call, parent, &joined.clocks, joined.rules) {
        true => format!("{stops}: {}", of_another_request(call, parent)),
        false => stops,
    }
}

/// By what a principal is contested, so that whoever knows better can say so.
fn contest(call: &Call, parent: &Call, rival: &Call, entry: &Call) -> String {
    let request = |call: &Call| call.legs.first().map_or_else(String::new, words::request);
    let told_by = rival.legs.iter().find(|l| l.side == Side::Server).or(rival.legs.first());
    let line =
        told_by.map_or_else(String::new, |l| format!(", as {} logged at {}", l.observer.name, l.start));
    let whose = match (&entry.principal, entry.id == rival.id) {
        (Some(p), true) => format!("made for {}", p.principal.subject),
        (Some(p), false) => format!("led to by call {}, made for {}", entry.id, p.principal.subject),
        (None, true) => "made for nobody known".to_owned(),
        (None, false) => format!("led to by call {}, made for nobody known", entry.id),
    };
    format!(
        "{} from {} (call {}{line}; {whose}) may have caused it as well as {} (call {}) did: it shares as many keys with it, and {} \
         was serving both",
        request(rival),
        rival.caller.name,
        rival.id,
        request(parent),
        parent.id,
        call.caller.name
    )
}

fn of_another_request(call: &Call, parent: &Call) -> String {
    match custody::serving(parent, call) {
        Some(_) => "its request id and its trace are others than those of the call before, so that only a header ties the two".to_owned(),
        None => format!(
            "no proxy saw both it and the call before, and the two differ in the request id, in the header that {} would have passed on, or \
             in time by what other clocks say",
            parent.callee.name
        ),
    }
}

fn nobody(joined: &Joined, call: &Call, parent: Option<&Call>) -> String {
    let start = match parent {
        None if call.parent_inferred => "the parent is inferred from time alone: no principal passes over it",
        Some(_) => "the call before has no principal",
        None => "no request leads here that was made for somebody",
    };
    let headers = || call.legs.iter().filter_map(|l| l.header.as_ref());
    let carried = match &call.claimed {
        Some(claimed) => format!(
            "; the header that it carries was issued by the edge for {} {}, but for another request: a claim, no more",
            claimed.kind, claimed.subject
        ),
        None if headers().any(|h| header::check(h, joined.rules) == Signature::Invalid) => {
            "; the header that it carries has a signature that the edge did not make".to_owned()
        }
        None if headers().next().is_some() => {
            "; the header that it carries cannot be checked without a key".to_owned()
        }
        None => String::new(),
    };
    format!("{start}{carried}")
}
