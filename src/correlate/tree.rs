//! Which call caused which.
//!
//! Strongest first: what the line itself says (a Worker's subrequest, a gateway's forwarding); a parent hop that the same
//! proxy has logged; then the call that the caller's own proxy was serving at that moment, by request id, signed header or
//! trace. Parent and child are then seen by one proxy and one clock. Without any: a root.

use super::assemble::pairing_slack_us;
use super::clocks::{Clocks, MOST_APART_US};
use super::compat::contradiction_but_time;
use super::contest::{Contest, Contested, leads_to};
use super::custody;
use super::edge_pairs::{contradicts, shared_keys};
use super::facts::{Facts, client_side, lone_mesh_server};
use super::header::{self, Signature};
use super::rules::Rules;
use super::tree_index::Index;
use super::tree_keys::{self, Mark};
use super::tree_service::{KNOWN_CLOCKS_US, Near, Rank, Served, Service};
use crate::model::{Call, CallId, Leg, ObserverKind, Principal, ROUNDING_US, Side, SignedPrincipal};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Sets `parent_id` and completes `trace_id` from the parent where a call has none of its own. Gives the calls that may as well be
/// another request's.
pub fn grow(calls: &mut [Call], clocks: &Clocks, facts: &Facts, rules: &Rules) -> Contested {
    let wood = Wood { calls, clocks, facts, rules, index: Index::new(calls) };
    let mut parents: Vec<Option<usize>> = vec![None; calls.len()];
    let mut order: Vec<usize> = (0..calls.len()).collect();
    order.sort_by_key(|&i| (calls[i].start, calls[i].id));
    let mut served = Served::default();
    let mut contest = Contest::default();
    for &child in &order {
        served.rivals.clear();
        let found = wood.parent(child, &mut served);
        // A parent link that would close a circle is not made.
        parents[child] = found.filter(|&p| !leads_to(&parents, p, child));
        if parents[child].is_some() {
            contest.note(child, &served.rivals, calls);
        }
    }
    let contested = contest.contested(calls, &parents);
    for child in 0..calls.len() {
        calls[child].parent_id = parents[child].map(|p| calls[p].id);
    }
    for &child in &order {
        inherit_trace(calls, &parents, child);
    }
    contested
}

fn inherit_trace(calls: &mut [Call], parents: &[Option<usize>], child: usize) {
    let mut at = parents[child];
    while let (None, Some(p)) = (calls[child].trace_id, at) {
        calls[child].trace_id = calls[p].trace_id;
        at = parents[p];
    }
}

/// All calls among which parents are sought, with what must be known to choose.
struct Wood<'a> {
    calls: &'a [Call],
    clocks: &'a Clocks,
    facts: &'a Facts,
    rules: &'a Rules,
    index: Index,
}

impl Wood<'_> {
    fn parent(&self, child: usize, served: &mut Served) -> Option<usize> {
        let call = &self.calls[child];
        let told =
            call.legs.iter().find_map(|l| l.made_by).and_then(|id| self.index.by_leg.get(&id)).copied();
        if told.is_some() {
            return told.filter(|&p| p != child);
        }
        if call.legs.iter().any(|l| l.observer.kind == ObserverKind::Worker && l.side == Side::Server) {
            return self.of_worker(call).filter(|&p| p != child);
        }
        if call.legs.iter().any(|l| l.is_entry() || l.observer.kind == ObserverKind::Zone) {
            return self.of_gateway(child);
        }
        if self.facts.is_outside_proxy(call) {
            return None;
        }
        self.by_parent_hop(child, served)
            .or_else(|| self.by_subrequest(child))
            .or_else(|| self.by_service(child, served))
    }

    /// The gateway's line is missing: its connection is known, and the Worker's record of the subrequest, or the zone's, has no
    /// other end.
    fn by_subrequest(&self, child: usize) -> Option<usize> {
        let leg = lone_mesh_server(&self.calls[child])?;
        if self.was_caused_inside(child, leg) {
            return None;
        }
        let unseen = self.index.unseen_subrequests(leg).into_iter();
        let told = unseen.filter_map(|p| {
            let sent = self.calls[p].legs.iter().find(|l| !contradicts(l, leg))?;
            let apart_us = (self.clocks.start(sent).0 - self.clocks.start(leg).0).abs();
            // Of the zone's record the span is not known but by the header, which is compared all the same.
            self.covers(p, leg).then_some((Reverse(shared_keys(sent, leg)), apart_us, self.calls[p].id, p))
        });
        told.min().map(|(.., p)| p)
    }

    /// Whether another call of the same request tells that it was not a gateway that made this one: the caller was called
    /// itself, or, where nobody knows the caller, the request had come into the mesh before.
    fn was_caused_inside(&self, child: usize, leg: &Leg) -> bool {
        let call = &self.calls[child];
        let known = call.caller.assurance.is_verified();
        self.index.of_same_request(child).into_iter().any(|other| {
            let other = &self.calls[other];
            match known {
                true => other.callee.agrees_with(&call.caller) == Some(true),
                false => other.legs.iter().any(|l| self.clocks.start(l) < self.clocks.start(leg)),
            }
        })
    }

    /// A Worker called by RPC names its caller's own span.
    fn of_worker(&self, call: &Call) -> Option<usize> {
        let leg = call.legs.iter().find(|l| l.observer.kind == ObserverKind::Worker)?;
        let span = leg.parent_span_id?;
        self.index.worker_by_span.get(&(leg.trace.map(|t| t.trace_id), span)).copied()
    }

    /// A gateway's line whose subrequest record is missing: by the zone's `ParentRayID`, else by the header's own trace,
    /// unless the Worker's record says that the header was made for another request.
    fn of_gateway(&self, child: usize) -> Option<usize> {
        let call = &self.calls[child];
        let by_ray = call
            .legs
            .iter()
            .find_map(|l| l.parent_ray.as_ref())
            .and_then(|ray| self.index.worker_by_ray.get(ray));
        if let Some(&parent) = by_ray {
            return Some(parent);
        }
        // What a visitor sends to the zone is the visitor's word, whatever header it carries.
        let of_subrequest = |l: &&Leg| l.header.is_some() && (l.is_entry() || l.is_subrequest_witness());
        let leg = call.legs.iter().find(of_subrequest)?;
        let header = leg.header.as_ref()?;
        let sent = self.index.subrequest_by_span.get(&(header.trace_id, header.span_id));
        let made_for_another = sent.is_some_and(|&i| i != child);
        if made_for_another || header::check(header, self.rules) == Signature::Invalid {
            return None;
        }
        let near = self.index.workers_by_trace.get(&header.trace_id)?.iter().copied();
        let may_have_sent =
            |p: &usize| *p != child && self.covers(*p, leg) && self.may_have_signed(*p, header);
        near.filter(may_have_sent).min_by_key(|&p| (self.calls[p].start, self.calls[p].id))
    }

    /// Whether a Worker's event may have made a request with this header of which it does not tell: its record is not whole, and
    /// names nobody else.
    fn may_have_signed(&self, event: usize, header: &SignedPrincipal) -> bool {
        let records = self.calls[event].legs.iter().filter(|l| l.observer.kind == ObserverKind::Worker);
        records.filter(|l| l.side == Side::Server).all(|l| {
            let other = |p: &Principal| p.subject != header.subject;
            !self.index.tells_all(l) && !custody::verified_at_edge(l).is_some_and(other)
        })
    }

    /// The application's claim of the hop that it was serving, believed only if the same proxy logged that hop.
    /// A header is issued for one request: it explains nothing once that has ended.
    fn by_parent_hop(&self, child: usize, served: &mut Served) -> Option<usize> {
        let leg = client_side(&self.calls[child])?;
        let may_outlive = carries_no_header(&self.calls[child]);
        let serving = |s: &Leg| {
            let ended = s.end().plus_us(ROUNDING_US) < leg.start;
            same_proxy(s, leg) && s.hop == leg.parent_hop && s.start <= leg.start && (may_outlive || !ended)
        };
        let named = self.index.by_hop.get(leg.parent_hop.as_ref()?)?.iter().copied();
        let mut serving = named.filter(|&p| p != child && self.calls[p].legs.iter().any(serving));
        let first = serving.next();
        served.rivals.extend(serving);
        first
    }

    /// The call that the caller's own proxy was serving when this one left.
    fn by_service(&self, child: usize, served: &mut Served) -> Option<usize> {
        let call = &self.calls[child];
        let is_caller = |p: &usize| self.calls[*p].callee.agrees_with(&call.caller) == Some(true);
        let of_that_name = self.index.received_by(&call.caller.name, child);
        let sent_to_caller = of_that_name.into_iter().filter(is_caller);
        let Some(leg) = client_side(call).or_else(|| self.twin(child)) else {
            let leg = call.legs.first()?;
            let near = sent_to_caller.chain(self.served_by_holder(child, leg));
            let may_have_made =
                |&p: &usize| !self.made_another(p, child) && !self.was_served_elsewhere(p, child, leg);
            let near: BTreeSet<usize> = near.filter(may_have_made).collect();
            let near = near.into_iter();
            return self.best_parent(child, leg, &near.map(Near::by_other_clock).collect::<Vec<_>>(), served);
        };
        let by_proxy = self.index.served_by(&leg.observer.name, child);
        // Where the line of the caller's proxy is missing, whoever called it saw the request leave for it.
        let unseen = |p: &usize| !self.calls[*p].legs.iter().any(Leg::is_mesh_server);
        let near = by_proxy.iter().map(|&p| Near { call: p, same_clock: true });
        let near = near.chain(sent_to_caller.filter(unseen).map(Near::by_other_clock));
        self.best_parent(child, leg, &near.collect::<Vec<_>>(), served)
    }

    /// The line of the caller's proxy that only its time keeps from being the other end: then a clock was set anew, or that end and the
    /// other end of this are lost. The same request led to both.
    fn twin(&self, child: usize) -> Option<&Leg> {
        let server = lone_mesh_server(&self.calls[child])?;
        let lone = self.index.lone_clients(server.socket.as_ref()?).iter();
        lone.map(|&at| &self.calls[at].legs[0]).find(|client| {
            client.same_request(server) == Some(true) && contradiction_but_time(client, server).is_none()
        })
    }

    /// What the proxy served that is known to hold the connection on which the leg came. Where the format does not print the
    /// caller's certificate, that is who called.
    fn served_by_holder(&self, child: usize, leg: &Leg) -> Vec<usize> {
        let holder = leg.socket.as_ref().and_then(|socket| self.facts.holder(socket, leg.start));
        holder.map(|h| self.index.served_by(&h.proxy, child)).unwrap_or_default()
    }

    /// Whether proxies say that they served the possible parent, and none of them is the one of the caller's that is known to hold the
    /// connection on which the leg came: another instance did that work.
    fn was_served_elsewhere(&self, parent: usize, child: usize, leg: &Leg) -> bool {
        let holder = leg.socket.as_ref().and_then(|socket| self.facts.holder(socket, leg.start));
        let caller = self.calls[child].caller.key();
        let Some(holder) = holder.filter(|holder| holder.party == caller) else { return false };
        let mut served =
            self.calls[parent].legs.iter().filter(|l| l.is_entry() || l.is_mesh_server()).peekable();
        served.peek().is_some() && served.all(|l| l.observer.name != holder.proxy)
    }

    /// A gateway makes one call of each request. Where its own line tells which, another is not of it, unless it is one of the
    /// attempts at the same of which only the line tells.
    fn made_another(&self, parent: usize, child: usize) -> bool {
        let Some(made) = self.index.passed_on_as(&self.calls[parent]) else { return false };
        let legs = &self.calls[made].legs;
        let sent = legs.iter().find(|l| l.is_mesh_client());
        let received = lone_mesh_server(&self.calls[child]);
        if sent.zip(received).is_some_and(|(sent, leg)| contradiction_but_time(sent, leg).is_some()) {
            return true;
        }
        let attempts = legs.iter().find_map(|l| l.attempts).unwrap_or(1).max(1) as usize;
        let told = legs.iter().filter(|l| l.side == Side::Server).count();
        told >= attempts || !self.index.of_same_request_id(parent, child)
    }

    /// Weight of the keys that two calls share. Two trace ids are never brought together by a weaker key: calls that both name
    /// traces, and none in common, share nothing. Nor does a trace bring together what names two requests of the edge.
    fn shared_keys(&self, parent: usize, child: usize) -> Option<u32> {
        let (parent, child) = (&self.index.keys[parent], &self.index.keys[child]);
        let shared = tree_keys::shared(parent, child);
        let apart = tree_keys::name_two(parent, child, Mark::is_trace)
            || (shared == 1 << tree_keys::TRACE_RANK
                && (tree_keys::name_two(parent, child, Mark::is_header)
                    || tree_keys::name_two(parent, child, |k| self.index.of_the_edge.contains(&k))));
        (shared > 0 && !apart).then_some(shared)
    }

    /// Of the calls in `near`, the one whose work the leg of `child` most likely is.
    fn best_parent(&self, child: usize, leg: &Leg, near: &[Near], served: &mut Served) -> Option<usize> {
        let call = &self.calls[child];
        let kind = served.kind(call);
        let (sole, bare) = (self.sole_of_request(child, near), carries_no_header(call));
        let ranked = near.iter().filter_map(|n| {
            // Times first: in a large trace they leave the fewest over, and cost the least.
            let service = self.service(*n, leg, call, sole == Some(n.call))?;
            let keys = self.shared_keys(n.call, child)?;
            let parent = &self.calls[n.call];
            let before = served.times.get(&(n.call, kind)).copied().unwrap_or(0);
            let other_resource = !same_resource(parent.path.as_deref(), call.path.as_deref());
            let lost_header = bare && !carries_no_header(parent);
            // Of those that had ended, the last; of those that were being served, the one with fewest such children.
            let recency = if service.under_way() { 0 } else { -parent.end().0 };
            let rank = (Reverse(keys), service, lost_header, other_resource, recency, before, parent.start);
            Some(((rank, parent.id), n.call))
        });
        let mut ranked: Vec<_> = ranked.collect();
        // What was being served with the same request id comes before what had ended, whatever else a format does not print of it.
        let now = |&((rank, _), _): &((Rank, CallId), usize)| rank.1.under_way();
        if ranked.iter().any(|one| now(one) && tree_keys::shows_request(one.0.0.0.0)) {
            ranked.retain(now);
        }
        let &((rank, _), best) = ranked.iter().min()?;
        let rival = |&&((other, _), at): &&((Rank, CallId), usize)| {
            at != best && other.0 == rank.0 && (other.1.under_way() || !rank.1.under_way())
        };
        served.rivals.extend(ranked.iter().filter(rival).map(|(_, at)| at));
        *served.times.entry((best, kind)).or_default() += 1;
        Some(best)
    }

    /// What the possible parent was doing when the leg left; `None` when it cannot have caused it.
    fn service(&self, near: Near, leg: &Leg, call: &Call, sole: bool) -> Option<Service> {
        let parent = &self.calls[near.call];
        let known = parent.legs.iter().any(|l| self.clocks.are_known(l, leg));
        let slack_us = match (near.same_clock, known) {
            (true, _) if self.clocks.is_unsteady(leg) => pairing_slack_us(self.rules),
            (true, _) => 0,
            (false, true) => KNOWN_CLOCKS_US,
            (false, false) => pairing_slack_us(self.rules),
        };
        let service = match (serving(parent, leg, self.clocks, 0), near.same_clock) {
            (Some(true), true) => Some(Service::Seen),
            (Some(true), false) => Some(Service::Told),
            _ => match serving(parent, leg, self.clocks, slack_us) {
                Some(true) => Some(Service::WithinSlack),
                // A header is issued for one request: with it, a call that began after that had ended is not its work. Where
                // the format does not print it, nobody can say that there was none.
                Some(false) if carries_no_header(call) && near.same_clock => Some(Service::Ended),
                Some(false) if carries_no_header(call) => Some(Service::EndedElsewhere),
                _ => None,
            },
        };
        let far_clocks = || {
            let apart_us = (self.clocks.start(leg).0 - parent.start.0).abs();
            (sole && !known && apart_us <= MOST_APART_US).then_some(Service::SoleOfRequest)
        };
        service.or_else(far_clocks)
    }

    /// The only one by another clock that shares the request id: it needs no clock.
    fn sole_of_request(&self, child: usize, near: &[Near]) -> Option<usize> {
        let mut of_request =
            near.iter().filter(|n| !n.same_clock && self.index.of_same_request_id(n.call, child));
        let sole = of_request.next()?;
        of_request.next().is_none().then_some(sole.call)
    }

    /// Whether the leg began while any side saw the call under way, as far as the clocks can tell.
    fn covers(&self, parent: usize, leg: &Leg) -> bool {
        let (at, slack_us) = (self.clocks.start(leg), self.rules.skew_bound_us);
        self.calls[parent].legs.iter().any(|l| {
            self.clocks.start(l) <= at.plus_us(slack_us)
                && self.clocks.end(l).plus_us(slack_us.saturating_add(ROUNDING_US)) >= at
        })
    }
}

/// Whether a possible parent was still being served when the leg left; `None` when it began later.
pub(super) fn serving(parent: &Call, leg: &Leg, clocks: &Clocks, slack_us: i64) -> Option<bool> {
    // What the callee's proxy says of when it served; the caller's view only where that is missing.
    let served = parent.legs.iter().any(|s| s.side == Side::Server);
    let left = clocks.start(leg);
    let seen = parent.legs.iter().filter(|s| !served || s.side == Side::Server);
    seen.filter(|s| clocks.start(s) <= left.plus_us(slack_us))
        // What is logged of an end is cut off: it was up to so much later.
        .map(|s| clocks.end(s).plus_us(slack_us.saturating_add(ROUNDING_US)) >= left)
        .max()
}

/// Applications hand on the id of what they were asked for: `/orders/120` asks for `/invoices/120`.
pub(super) fn same_resource(parent: Option<&str>, child: Option<&str>) -> bool {
    let last = |path: Option<&str>| {
        path.and_then(|p| p.rsplit('/').next()).map(str::to_owned).filter(|s| !s.is_empty())
    };
    last(parent).is_some() && last(parent) == last(child)
}

pub(super) fn same_proxy(a: &Leg, b: &Leg) -> bool {
    a.observer == b.observer
}

/// Whether a side's format would show a calltrail header, and no side shows one.
fn carries_no_header(call: &Call) -> bool {
    let logged = call.legs.iter().any(|l| l.header_logged);
    logged && call.legs.iter().all(|l| l.header.is_none() && l.malformed_header.is_none())
}
