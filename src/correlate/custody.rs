//! The chain of custody: from the principal that the Worker verified down to each call made on its behalf.
//!
//! B inherits from A when A's callee is B's caller, both by certificate, and B began within A. A link that nobody verified
//! gives `presumed`; B beginning after A has ended gives `deferred`. What only a header claims is never the principal.

use super::clocks::Clocks;
use super::contest::{Contested, Rival, is_of_the_edge};
use super::edge_pairs::{contradicts, shared_keys};
use super::facts::client_side;
use super::header::{self, Signature};
use super::rules::Rules;
use super::tree;
use super::tree_service::KNOWN_CLOCKS_US;
use crate::model::{
    Assurance, Attribution, Call, CallId, CallPrincipal, IdentityKind, Leg, ObserverKind, Principal,
    ROUNDING_US, Side, SpanId, TraceId,
};
use std::collections::{BTreeMap, BTreeSet};

/// What findings need of the chain beyond the calls themselves.
#[derive(Debug, Default)]
pub struct Custody {
    /// Calls that descend from an edge call (a Worker's event) or from a gateway line with a valid, unreplayed signature.
    pub from_edge: BTreeSet<CallId>,
    /// Calls that descend from a gateway's line which has lost its headers: where they come from, nobody can say.
    pub of_unknown_origin: BTreeSet<CallId>,
    /// The Worker's subrequest span in whose service a call was made.
    pub edge_span: BTreeMap<CallId, SpanId>,
    /// Gateway calls whose valid header had been used before, by another request.
    pub replayed_at_gateway: BTreeSet<CallId>,
    /// Gateway calls of which one is a request of the edge and the others are copies of it, and nobody can tell which: none is named,
    /// and none accused.
    pub untold_at_gateway: BTreeSet<CallId>,
}

/// Sets `principal` and `claimed` on every call.
pub fn attribute(calls: &mut [Call], contested: &Contested, clocks: &Clocks, rules: &Rules) -> Custody {
    let Copies { replayed, untold } = copies_at_gateway(calls, clocks, rules);
    let mut custody =
        Custody { replayed_at_gateway: replayed, untold_at_gateway: untold, ..Custody::default() };
    for call in calls.iter_mut().filter(|c| custody.replayed_at_gateway.contains(&c.id)) {
        disown(call);
    }
    let place: BTreeMap<CallId, usize> = calls.iter().enumerate().map(|(i, c)| (c.id, i)).collect();
    for child in parents_first(calls, &place) {
        let parent =
            calls[child].parent_id.filter(|_| !calls[child].parent_inferred).and_then(|id| place.get(&id));
        let mut found = attribute_one(&calls[child], parent.map(|&p| &calls[p]), &custody, clocks, rules);
        let contested =
            contests(&calls[child], &found.principal, contested, |id| &calls[place[&id]]).is_some();
        if contested || custody.untold_at_gateway.contains(&calls[child].id) {
            // What it carries is a claim.
            found.claimed =
                found.principal.take().map(|p| p.principal).filter(|p| claims(&calls[child], p, rules));
        }
        let call = &mut calls[child];
        if found.from_edge {
            custody.from_edge.insert(call.id);
        }
        if found.of_unknown_origin {
            custody.of_unknown_origin.insert(call.id);
        }
        custody.edge_span.extend(found.edge_span.map(|span| (call.id, span)));
        (call.principal, call.claimed) = (found.principal, found.claimed);
    }
    custody
}

/// The first of those that may have caused the call as well whose request names not the same principal.
pub(super) fn contests<'a>(
    call: &Call,
    principal: &Option<CallPrincipal>,
    contested: &Contested,
    at: impl Fn(CallId) -> &'a Call,
) -> Option<Rival> {
    let mut rivals = contested.get(&call.id).into_iter().flatten();
    rivals.find(|rival| name_two(principal, &at(rival.entry).principal)).copied()
}

fn name_two(one: &Option<CallPrincipal>, other: &Option<CallPrincipal>) -> bool {
    let subject = |p: &Option<CallPrincipal>| p.as_ref().map(|p| p.principal.subject.clone());
    one.is_some() && subject(one) != subject(other)
}

fn claims(call: &Call, principal: &Principal, rules: &Rules) -> bool {
    valid_header(call, rules).is_some_and(|h| h.subject == principal.subject)
}

/// A copied signature proves nothing about who sent the copy: the caller is the address that the gateway saw.
fn disown(call: &mut Call) {
    if let Some(entry) = call.legs.iter().find(|l| l.is_entry()) {
        call.caller = entry.peer.clone();
        // Whatever the copied header led to is not what caused this call.
        call.parent_id = None;
    }
}

/// Places so that each call comes after its parent, and those of the edge, to which only such lead, before all others.
fn parents_first(calls: &[Call], place: &BTreeMap<CallId, usize>) -> Vec<usize> {
    let mut children: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut order = Vec::with_capacity(calls.len());
    for (i, call) in calls.iter().enumerate() {
        match call.parent_id.and_then(|id| place.get(&id)) {
            Some(&p) => children.entry(p).or_default().push(i),
            None => order.push(i),
        }
    }
    let mut next = 0;
    while next < order.len() {
        order.extend(children.remove(&order[next]).unwrap_or_default());
        next += 1;
    }
    order.sort_by_key(|&place| !is_of_the_edge(&calls[place]));
    order
}

/// What the chain says of one call.
struct Attributed {
    principal: Option<CallPrincipal>,
    claimed: Option<Principal>,
    from_edge: bool,
    of_unknown_origin: bool,
    edge_span: Option<SpanId>,
}

fn attribute_one(
    call: &Call,
    parent: Option<&Call>,
    custody: &Custody,
    clocks: &Clocks,
    rules: &Rules,
) -> Attributed {
    let witnessed = call.legs.iter().any(|l| l.observer.kind == ObserverKind::Worker);
    // Where the Worker signs, a gateway's line without its signature needs the Worker's own record to be taken for its work.
    let unsigned = lacks_signature(call, rules);
    let parent = parent.filter(|_| witnessed || !unsigned);
    let from_edge = witnessed || parent.is_some_and(|p| custody.from_edge.contains(&p.id));
    let header = valid_header(call, rules).cloned();
    let names_somebody = header.as_ref().filter(|h| h.principal_kind != WORKER);
    let own = call.legs.iter().find_map(verified_at_edge).cloned();
    let inherited = parent.and_then(|p| inherit(call, p, header.is_some(), clocks, rules));

    // Where the records of the edge name nobody, the edge's signature still does.
    let signed_entry = call.legs.iter().any(Leg::is_entry)
        && parent.is_none_or(|p| p.principal.is_none())
        && !unsigned
        && !custody.replayed_at_gateway.contains(&call.id);
    let principal = match (inherited, own) {
        (Some(inherited), None) => Some(inherited),
        (_, Some(principal)) => {
            Some(CallPrincipal { principal, attribution: Attribution::Verified, assurance: Assurance::Jwt })
        }
        (None, None) => names_somebody.filter(|_| signed_entry).map(|h| CallPrincipal {
            principal: principal_of(h),
            attribution: Attribution::Signed,
            assurance: Assurance::Signed,
        }),
    };
    let principal = principal.map(|p| match unsigned {
        true => CallPrincipal { attribution: p.attribution.max(Attribution::Presumed), ..p },
        false => p,
    });
    let claims = names_somebody.map(principal_of);
    let explained = |c: &Principal| principal.as_ref().is_some_and(|p| p.principal.subject == c.subject);
    let from_edge = from_edge || header.is_some() && (signed_entry || is_witnessed_alone(call));
    let has_lost_headers = |l: &Leg| l.is_entry() && l.has_lost_headers();
    let lost = call.legs.iter().any(has_lost_headers)
        || parent.is_some_and(|p| custody.of_unknown_origin.contains(&p.id));
    Attributed {
        of_unknown_origin: lost && !from_edge,
        claimed: claims.filter(|c| !explained(c)),
        from_edge,
        edge_span: edge_span(call, parent, custody, header.as_ref()),
        principal,
    }
}

/// The zone saw a Worker send it, and the gateway's line that would tell of its arrival is missing.
fn is_witnessed_alone(call: &Call) -> bool {
    call.legs.iter().any(Leg::is_subrequest_witness) && !call.legs.iter().any(Leg::is_entry)
}

/// A gateway that prints the header got a request without a valid one, though keys are configured. A line that has lost its
/// headers on the way to us, as a missing request id tells, says nothing.
pub fn lacks_signature(call: &Call, rules: &Rules) -> bool {
    let entry = call.legs.iter().find(|l| l.is_entry());
    // What the zone or the Worker says was sent does not tell what arrived.
    let unsigned = |l: &Leg| l.shows_headers() && !header::is_signed(l, rules);
    !rules.header_keys.is_empty() && entry.is_some_and(unsigned)
}

/// Whom a Worker verified. A Worker that was called by a Worker and checked nobody names its caller: that proves nobody, whether
/// the caller's own record is there or not.
pub(super) fn verified_at_edge(leg: &Leg) -> Option<&Principal> {
    leg.edge_principal.as_ref().filter(|_| !names_its_caller(leg))
}

/// Kind of a principal that is the calling Worker itself. The Worker that it called signs what its own head says: such a header names
/// no user, whether that head is there or not.
const WORKER: &str = "worker";

fn names_its_caller(leg: &Leg) -> bool {
    leg.parent_span_id.is_some() && leg.edge_principal.as_ref().is_some_and(|p| p.kind == WORKER)
}

fn inherit(
    call: &Call,
    parent: &Call,
    signed: bool,
    clocks: &Clocks,
    rules: &Rules,
) -> Option<CallPrincipal> {
    let from =
        parent.principal.as_ref().filter(|_| !may_be_of_another_request(call, parent, clocks, rules))?;
    let made_by_same_program = call.legs.iter().any(|l| l.made_by.is_some());
    let verified = parent.callee.assurance == Assurance::Mtls
        && call.caller.assurance == Assurance::Mtls
        && parent.callee.agrees_with(&call.caller) == Some(true);
    let link = if serving(parent, call) == Some(false) {
        // What its caller's proxy was serving then may be among the lines that have lost what tells of it.
        if call.legs.iter().chain(&parent.legs).any(|l| l.observer.kind.is_proxy() && l.has_lost_headers()) {
            return None;
        }
        Attribution::Deferred
    } else if made_by_same_program || verified || edge_to_edge(call, signed) {
        Attribution::Inherited
    } else {
        Attribution::Presumed
    };
    // A chain is as good as its weakest link; the words are ordered from strong to weak, the edge's own verdict first.
    let passed_on = match from.attribution {
        Attribution::Verified => Attribution::Inherited,
        other => other,
    };
    Some(CallPrincipal { attribution: passed_on.max(link), ..from.clone() })
}

/// Whatever a call carries may have been copied, unless the proxy that saw it leave saw itself serve its parent. Without such a
/// proxy nobody is named where the two differ in what a request has one of: its id, or the header that it came with; nor where it left at
/// another time than that at which the parent was being served by what other clocks say. With one, another id and another trace still
/// say that only a header ties the two.
pub(super) fn may_be_of_another_request(call: &Call, parent: &Call, clocks: &Clocks, rules: &Rules) -> bool {
    if call.legs.iter().any(|l| l.made_by.is_some()) {
        return false;
    }
    let requests = |c: &Call| c.legs.iter().filter_map(Leg::request_key).collect::<BTreeSet<_>>();
    let traces = |c: &Call| c.legs.iter().filter_map(|l| Some(l.trace?.trace_id)).collect::<BTreeSet<_>>();
    let other_id = name_others(&requests(call), &requests(parent));
    match serving(parent, call) {
        Some(_) => other_id && name_others(&traces(call), &traces(parent)),
        None => other_id || dropped_header(call, parent, rules) || left_at_another_time(call, parent, clocks),
    }
}

/// By clocks that are not the same, and are given what clocks that are known differ in.
fn left_at_another_time(call: &Call, parent: &Call, clocks: &Clocks) -> bool {
    let left = client_side(call).or(call.legs.first()).filter(|_| !is_of_the_edge(call));
    left.is_some_and(|leg| tree::serving(parent, leg, clocks, KNOWN_CLOCKS_US) != Some(true))
}

fn name_others<T: Ord>(one: &BTreeSet<T>, other: &BTreeSet<T>) -> bool {
    !one.is_empty() && !other.is_empty() && one.is_disjoint(other)
}

/// Came without the header with which its parent did. What left the edge is signed where there is a key, and a gateway passes that on.
fn dropped_header(call: &Call, parent: &Call, rules: &Rules) -> bool {
    let lacks = call.legs.iter().any(Leg::shows_headers) && call.legs.iter().all(|l| l.header.is_none());
    let by_gateway = !rules.header_keys.is_empty()
        && call.caller.kind == IdentityKind::Gateway
        && parent.legs.iter().any(|l| l.observer.kind == ObserverKind::Worker);
    lacks && (by_gateway || parent.legs.iter().any(|l| l.header.is_some()))
}

/// The zone's `ParentRayID`, a Worker's own span or a valid signature lead from one edge record to the other. A gateway's line
/// alone, whose header nobody could check, does not.
pub(super) fn edge_to_edge(call: &Call, signed: bool) -> bool {
    let edge_record = |l: &Leg| matches!(l.observer.kind, ObserverKind::Worker | ObserverKind::Zone);
    call.legs.iter().all(|l| l.observer.kind != ObserverKind::Sidecar)
        && (signed || call.legs.iter().any(edge_record))
}

/// Whether the parent was still being served when the call left; `None` where no single clock saw both.
pub(super) fn serving(parent: &Call, call: &Call) -> Option<bool> {
    let left = call.legs.iter().find(|l| l.side == Side::Client && l.observer.kind != ObserverKind::Zone)?;
    let mut same_clock =
        parent.legs.iter().filter(|s| s.side == Side::Server && s.observer == left.observer).peekable();
    same_clock.peek()?;
    Some(same_clock.any(|s| s.start <= left.start && left.start <= s.end().plus_us(ROUNDING_US)))
}

fn edge_span(
    call: &Call,
    parent: Option<&Call>,
    custody: &Custody,
    header: Option<&crate::model::SignedPrincipal>,
) -> Option<SpanId> {
    let own = call.legs.iter().find(|l| l.observer.kind == ObserverKind::Worker && l.side == Side::Client);
    let inherited = || parent.and_then(|p| custody.edge_span.get(&p.id).copied());
    // What left the edge, or came in from it, with the header that was made for it.
    // So is the first header that is told of, where the gateway's own line has lost what it received.
    let leaves_the_edge = call.legs.iter().any(Leg::leaves_the_edge)
        || parent.is_some_and(|p| custody.of_unknown_origin.contains(&p.id));
    let replayed = custody.replayed_at_gateway.contains(&call.id);
    own.and_then(|l| l.span_id)
        .or_else(inherited)
        .or_else(|| header.filter(|_| leaves_the_edge && !replayed).map(|h| h.span_id))
}

/// A header on any of the call's legs whose signature is not refuted.
pub fn valid_header<'a>(call: &'a Call, rules: &Rules) -> Option<&'a crate::model::SignedPrincipal> {
    let mut headers = call.legs.iter().filter_map(|l| l.header.as_ref());
    headers.find(|h| header::check(h, rules) == Signature::Valid)
}

pub fn principal_of(header: &crate::model::SignedPrincipal) -> Principal {
    Principal { kind: header.principal_kind.clone(), subject: header.subject.clone(), issuer: None }
}

/// How long after it was signed a header may enter the mesh where only the signature says where it comes from. A Worker signs
/// right before it sends; but nobody can tell here how far the gateway's clock is from the Worker's, and five minutes on either
/// side must not accuse anybody.
const FRESH_US: i64 = 720_000_000;

/// Gateway calls with a copy of a header.
#[derive(Default)]
struct Copies {
    replayed: BTreeSet<CallId>,
    untold: BTreeSet<CallId>,
}

/// Gateway calls without a Worker's record whose header belongs to another request: the Worker's record names that one, an
/// earlier gateway line carries the same header, or it was signed long before.
fn copies_at_gateway(calls: &[Call], clocks: &Clocks, rules: &Rules) -> Copies {
    let mut by_span: BTreeMap<(TraceId, SpanId), Vec<&Call>> = BTreeMap::new();
    let mut sent = BTreeSet::new();
    let mut copies = Copies::default();
    for call in calls {
        let of_worker = call.legs.iter().filter(|l| sent_by_worker(l));
        sent.extend(of_worker.filter_map(|l| Some((l.trace?.trace_id, l.span_id?))));
        let Some(entry) = call.legs.iter().find(|l| l.is_entry()) else { continue };
        if let Some(header) = valid_header(call, rules) {
            by_span.entry((header.trace_id, header.span_id)).or_default().push(call);
            let stale = (clocks.start(entry).0 - header.issued_at.0).abs() > FRESH_US;
            if stale && !call.legs.iter().any(sent_by_worker) {
                copies.replayed.insert(call.id);
            }
        }
    }
    for (span, mut calls) in by_span {
        let has = |c: &Call, of: fn(&Leg) -> bool| c.legs.iter().any(of);
        calls.sort_by_key(|c| (!has(c, sent_by_worker), !has(c, Leg::is_subrequest_witness), c.start, c.id));
        let honest = !sent.contains(&span) || has(calls[0], sent_by_worker);
        let (first, others) = calls.split_at(usize::from(honest));
        for other in others {
            let alike = first.iter().find(|first| !may_be_told(first, other, clocks));
            match alike {
                Some(first) => copies.untold.extend([first.id, other.id]),
                None => _ = copies.replayed.insert(other.id),
            }
        }
    }
    copies
}

fn sent_by_worker(leg: &Leg) -> bool {
    leg.observer.kind == ObserverKind::Worker && leg.side == Side::Client
}

/// Whether anything tells the request that the edge sent, with what the Worker or the zone says of it, from a copy: what was sent, or
/// when. Where neither says anything, the first at one gateway is the one; which was first at two, their clocks cannot tell.
fn may_be_told(first: &Call, other: &Call, clocks: &Clocks) -> bool {
    let entry = |c: &'_ Call| c.legs.iter().position(Leg::is_entry);
    let Some((one, copy)) = entry(first).zip(entry(other)) else { return true };
    let (one, copy) = (&first.legs[one], &other.legs[copy]);
    let witness = |of: fn(&Leg) -> bool| first.legs.iter().find(|l| of(l));
    let Some(sent) = witness(sent_by_worker).or_else(|| witness(Leg::is_subrequest_witness)) else {
        return one.observer == copy.observer;
    };
    contradicts(sent, copy)
        || shared_keys(sent, copy) < shared_keys(sent, one)
        || (clocks.speak_for_as_logged(sent, one) && !clocks.speak_for_as_logged(sent, copy))
}
