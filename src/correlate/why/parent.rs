//! How a call's parent was found, and which other calls came near.

use super::Joined;
use super::pair::at_edge;
use super::words;
use crate::correlate::assemble::pairing_slack_us;
use crate::correlate::facts::client_side;
use crate::correlate::tree;
use crate::correlate::tree_keys::Key;
use crate::model::identity::words;
use crate::model::{Call, CallId, Leg, ObserverKind, Side};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// By what a parent was found, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The same line, or the same Worker's event, tells of both.
    Told,
    ParentSpan,
    Ray,
    Header,
    ParentHop,
    /// The caller's own proxy was serving it.
    Service,
    /// The line of the caller's proxy is missing; others saw the caller being called.
    Callee,
    /// No key: the only call that the caller's proxy was serving at the time.
    Inferred,
    None,
}
words!(How {
    Told => "told", ParentSpan => "parent_span", Ray => "ray", Header => "header", ParentHop => "parent_hop",
    Service => "service", Callee => "callee", Inferred => "inferred", None => "none",
});

/// Another call that could have caused this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherParent {
    pub call: Call,
    /// The first thing in which it is behind: `keys`, `time`, `resource`, `connection`, `rank`.
    pub decided_by: &'static str,
    pub sentence: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentWhy {
    pub how: How,
    pub parent: Option<Call>,
    pub sentence: String,
    /// How many came near.
    pub others: usize,
    /// The nearest of them.
    pub runners_up: Vec<OtherParent>,
}

/// Runners-up that are told.
const TOLD: usize = 3;

pub fn parent(joined: &Joined, call: &Call) -> ParentWhy {
    let parent = call.parent_id.and_then(|id| joined.call(&id)).cloned();
    let (how, sentence) = match &parent {
        Some(parent) => found(call, parent),
        None => (How::None, none(joined, call)),
    };
    let mut others = candidates(joined, call);
    others.sort_by_key(|(rank, other)| (*rank, other.id));
    let ranks = parent.as_ref().and_then(|p| Some((rank(joined, call, p)?, p)));
    let runners_up = others.iter().take(TOLD).map(|(r, other)| {
        let (decided_by, sentence) = behind(joined, call, how, ranks, (*r, other));
        OtherParent { call: (*other).clone(), decided_by, sentence }
    });
    ParentWhy { how, sentence, others: others.len(), runners_up: runners_up.collect(), parent }
}

fn found(call: &Call, parent: &Call) -> (How, String) {
    let of_parent = |leg: &&Leg| call.legs.iter().any(|l| l.made_by == Some(leg.id));
    if let Some(event) = parent.legs.iter().find(of_parent) {
        return told(call, event);
    }
    let legs = || call.legs.iter();
    if let Some(worker) = legs().find(|l| l.observer.kind == ObserverKind::Worker && l.side == Side::Server) {
        let span = worker.parent_span_id.map(|s| s.to_string()).unwrap_or_default();
        return (How::ParentSpan, format!("the Worker's own record names the span {span} of its caller"));
    }
    if legs().any(|l| l.is_entry() || l.observer.kind == ObserverKind::Zone) {
        return at_gateway(call, parent);
    }
    let Some(left) = client_side(call) else { return unseen(call, parent) };
    let served_hop =
        |s: &Leg| left.parent_hop.is_some() && s.hop == left.parent_hop && tree::same_proxy(s, left);
    if parent.legs.iter().any(served_hop) {
        let hop = left.parent_hop.as_deref().unwrap_or_default();
        let sentence = format!(
            "the application passed on the hop {hop}, with which {} had received it",
            left.observer.name
        );
        return (How::ParentHop, sentence);
    }
    match parent.legs.iter().find(|s| s.side == Side::Server && s.observer.name == left.observer.name) {
        Some(served) => service(call, parent, left, served),
        None => unseen(call, parent),
    }
}

fn told(call: &Call, event: &Leg) -> (How, String) {
    let what = match event.observer.kind {
        ObserverKind::Worker => {
            format!("the Worker {} tells of this subrequest in its own event", event.observer.name)
        }
        ObserverKind::Gateway => {
            format!("one line of {} tells of receiving the request and of passing it on", event.observer.name)
        }
        _ => format!("one line of {} tells of both", call.caller.name),
    };
    (How::Told, what)
}

fn at_gateway(call: &Call, parent: &Call) -> (How, String) {
    let by_ray = call.legs.iter().find_map(|l| l.parent_ray.as_ref());
    let ray = by_ray.filter(|ray| parent.legs.iter().any(|l| l.ray.as_ref() == Some(*ray)));
    match ray {
        Some(ray) => (How::Ray, format!("the zone's record names the ray {ray} of the Worker's request")),
        None => (
            How::Header,
            "its signed header names the trace in which the Worker was serving this request".to_owned(),
        ),
    }
}

fn service(call: &Call, parent: &Call, left: &Leg, served: &Leg) -> (How, String) {
    let shared = shared_words(call, parent);
    let after = left.start.0 - served.start.0;
    let before_end = served.end().0 - left.start.0;
    let end = if before_end >= 0 {
        format!("and {} before it ended", words::span(before_end))
    } else {
        format!("and {} after it had ended", words::span(-before_end))
    };
    let sentence = format!(
        "by its own clock {} was serving it when this call left, {} after it began {end}; both share {shared}",
        left.observer.name,
        words::span(after)
    );
    if call.parent_inferred {
        let sentence = format!(
            "no id ties the two: it is the only call that {} was serving all the while; no principal passes over it",
            left.observer.name
        );
        return (How::Inferred, sentence);
    }
    (How::Service, sentence)
}

fn unseen(call: &Call, parent: &Call) -> (How, String) {
    let sentence = format!(
        "the line that would show {} receiving it is missing; {} was called then, and both share {}",
        call.caller.name,
        parent.callee.name,
        shared_words(call, parent)
    );
    (How::Callee, sentence)
}

fn none(joined: &Joined, call: &Call) -> String {
    if joined.facts.is_outside_proxy(call) {
        let socket =
            call.legs.first().and_then(|l| l.socket.as_ref()).map(words::connection).unwrap_or_default();
        return format!(
            "none: it came over the connection {socket}, which the proxy of {} never logged; whatever its headers name, nothing \
             shows that a request served there led to it",
            call.caller.name
        );
    }
    if call.legs.iter().any(|l| l.is_entry() || at_edge(l)) {
        return "none: it came from outside, and no record of a Worker leads to it".to_owned();
    }
    if call.trace_id.is_none() && call.legs.iter().all(Leg::is_nameless) {
        return format!(
            "none: its lines name no request, and no one call can be told that {} was serving then",
            call.caller.name
        );
    }
    format!("none: no call that {} received shares an id with it and began before it left", call.caller.name)
}

fn keys(call: &Call) -> BTreeSet<Key<'_>> {
    call.legs.iter().flat_map(Key::of).collect()
}

fn shared_words(a: &Call, b: &Call) -> String {
    let (a, b) = (keys(a), keys(b));
    let words: BTreeSet<(Reverse<u32>, &str)> = a
        .intersection(&b)
        .map(|k| match k {
            Key::Trace(_) => (Reverse(k.rank()), "the trace"),
            Key::Header(..) => (Reverse(k.rank()), "the signed header"),
            Key::Request(_) => (Reverse(k.rank()), "the request id"),
        })
        .collect();
    match words.is_empty() {
        true => "no id".to_owned(),
        false => words::listed(&words.into_iter().map(|(_, w)| w.to_owned()).collect::<Vec<_>>()),
    }
}

/// As the tree ranks: shared keys, whether it was being served, the same resource, the later one.
type Rank = (Reverse<u32>, u8, bool, i64);

/// Calls that the caller of this one received and that share an id with it, but for its parent.
fn candidates<'a>(joined: &'a Joined, call: &Call) -> Vec<(Rank, &'a Call)> {
    let caller = call.caller.key();
    let received = |other: &&Call| {
        let by_proxy = client_side(call)
            .is_some_and(|left| other.legs.iter().any(|s| s.is_mesh_server() && s.observer == left.observer));
        other.id != call.id && call.parent_id != Some(other.id) && (other.callee.key() == caller || by_proxy)
    };
    joined.calls.iter().filter(received).filter_map(|o| Some((rank(joined, call, o)?, o))).collect()
}

fn rank(joined: &Joined, call: &Call, other: &Call) -> Option<Rank> {
    let shared: u32 =
        keys(call).intersection(&keys(other)).map(|k| 1 << k.rank()).fold(0, |all, bit| all | bit);
    if shared == 0 {
        return None;
    }
    let left = client_side(call).or(call.legs.first())?;
    let slack_us = if client_side(call).is_some() { 0 } else { pairing_slack_us(joined.rules) };
    let (served, recency) = match tree::serving(other, left, &joined.clocks, slack_us) {
        Some(true) => (0, 0),
        Some(false) => (1, -other.end().0),
        None => (2, other.start.0),
    };
    let other_resource = !tree::same_resource(other.path.as_deref(), call.path.as_deref());
    Some((Reverse(shared), served, other_resource, recency))
}

/// When a call was being served, as its callee's side says, else its caller's: from and to, in the common time.
fn served_us(joined: &Joined, call: &Call) -> (i64, i64) {
    let by_server = call.legs.iter().any(|l| l.side == Side::Server);
    let legs = || call.legs.iter().filter(|l| !by_server || l.side == Side::Server);
    let from = legs().map(|l| joined.clocks.start(l).0).min();
    let to = legs().map(|l| joined.clocks.end(l).0).max();
    (from.unwrap_or(call.start.0), to.unwrap_or(call.start.0))
}

/// Why another call is not the parent.
fn behind(
    joined: &Joined,
    call: &Call,
    how: How,
    parent: Option<(Rank, &Call)>,
    (rank, other): (Rank, &Call),
) -> (&'static str, String) {
    let left = client_side(call).or(call.legs.first());
    let left_us = left.map_or(call.start.0, |l| joined.clocks.start(l).0);
    let (from_us, to_us) = served_us(joined, other);
    match rank.1 {
        2 => {
            return ("time", format!("it began {} after this call had left", words::span(from_us - left_us)));
        }
        1 if parent.is_some_and(|(p, _)| p.1 == 0) => {
            return ("time", format!("it had ended {} before this call left", words::span(left_us - to_us)));
        }
        _ => {}
    }
    if how == How::None && joined.facts.is_outside_proxy(call) {
        let sentence = format!(
            "it shares {}, which whoever made this call may have copied; this call did not leave through the proxy that served it",
            shared_words(call, other)
        );
        return ("connection", sentence);
    }
    if matches!(how, How::Told | How::ParentSpan | How::Ray | How::ParentHop) {
        return ("keys", "what names the parent does not name it".to_owned());
    }
    let Some((of_parent, parent)) = parent else {
        return ("keys", format!("it shares {} only", shared_words(call, other)));
    };
    if of_parent.0 != rank.0 {
        let sentence = format!(
            "it shares {} only, the parent {}",
            shared_words(call, other),
            shared_words(call, parent)
        );
        return ("keys", sentence);
    }
    if of_parent.2 != rank.2 {
        let path = other.path.as_deref().unwrap_or("no path");
        return (
            "resource",
            format!("it was being served as well, but for {path}, which names another resource"),
        );
    }
    let parent_us = served_us(joined, parent).0;
    let began = words::span((from_us - parent_us).abs());
    let order = if from_us < parent_us { "before" } else { "after" };
    (
        "rank",
        format!(
            "it was being served as well and began {began} {order} the parent; among equals each gets its own such call"
        ),
    )
}

/// The calls from the root of the tree down to this one.
pub fn ancestors<'a>(joined: &'a Joined, call: &'a Call) -> Vec<&'a Call> {
    let (mut chain, mut seen): (Vec<&Call>, BTreeSet<CallId>) = (vec![call], BTreeSet::from([call.id]));
    // Over an inferred parent nothing is passed on.
    let known = |c: &&Call| c.parent_id.filter(|_| !c.parent_inferred);
    while let Some(parent) = chain.last().and_then(known).and_then(|id| joined.call(&id)) {
        if !seen.insert(parent.id) {
            break;
        }
        chain.push(parent);
    }
    chain.reverse();
    chain
}
