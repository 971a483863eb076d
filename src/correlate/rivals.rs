//! Who else could have been meant: a pair is `proven` or `keyed` only where nobody could.

use super::clocks::Times;
use super::compat::{share_a_key, slack_of};
use super::runs::may_pair;
use crate::model::{Assurance, IdentityKind, Leg, RequestKey, Side, SocketPair};
use std::collections::{BTreeMap, BTreeSet};

/// Of more legs than this that overlap in time, rivals are assumed and not counted one by one.
const COUNTED_RIVALS: usize = 2_000;

/// Who else stands on the same connection, or names the same request.
pub struct Rivals<'a> {
    legs: &'a [Leg],
    times: Times<'a>,
    /// Legs that a key of their own has joined: no rivals to those that share none with them. What they were joined by does not
    /// depend on who else used the connection, and neither may what they leave to others.
    apart: BTreeSet<usize>,
    by_socket: BTreeMap<&'a SocketPair, Vec<usize>>,
    by_request: BTreeMap<RequestKey, Vec<usize>>,
    nameless_by_socket: BTreeMap<&'a SocketPair, Vec<usize>>,
    /// Requests of which a line is missing, with the party whose proxy should have written it.
    missing: BTreeSet<(RequestKey, String)>,
}

impl<'a> Rivals<'a> {
    pub fn new(legs: &'a [Leg], clients: &[usize], servers: &[usize], times: Times<'a>) -> Self {
        let mut rivals = Rivals {
            legs,
            times,
            apart: BTreeSet::new(),
            by_socket: BTreeMap::new(),
            by_request: BTreeMap::new(),
            nameless_by_socket: BTreeMap::new(),
            missing: BTreeSet::new(),
        };
        for &place in clients.iter().chain(servers) {
            if let Some(socket) = &legs[place].socket {
                rivals.by_socket.entry(socket).or_default().push(place);
                if legs[place].is_nameless() {
                    rivals.nameless_by_socket.entry(socket).or_default().push(place);
                }
            }
            if let Some(request) = legs[place].request_key() {
                rivals.by_request.entry(request).or_default().push(place);
            }
        }
        rivals
    }

    pub fn set_apart(&mut self, taken_by: &BTreeMap<usize, Vec<usize>>) {
        for (&client, servers) in taken_by {
            if servers.iter().all(|&s| share_a_key(&self.legs[client], &self.legs[s])) {
                self.apart.insert(client);
                self.apart.extend(servers);
            }
        }
    }

    /// Of what stands alone, the other end is missing: of a client leg that was answered in the mesh, and of a server leg with a
    /// caller's certificate.
    pub fn note_alone(&mut self, places: impl Iterator<Item = usize>) {
        for leg in places.map(|place| &self.legs[place]) {
            let told =
                leg.side == Side::Server || leg.status.is_some() && leg.peer.kind != IdentityKind::External;
            let expected = told && leg.socket.is_some() && leg.peer.assurance == Assurance::Mtls;
            if let Some(request) = leg.request_key().filter(|_| expected) {
                self.missing.insert((request, leg.peer.key()));
            }
        }
    }

    /// Whether a line of the same request is missing that one of the pair's own proxies should have written: then those of another call
    /// of this request may be missing as well, and each of the two legs be what is left of one.
    pub fn may_be_missing(&self, client: usize, servers: &[usize]) -> bool {
        let Some(request) = self.legs[client].request_key() else { return false };
        let is_missing = |&i: &usize| self.missing.contains(&(request.clone(), self.legs[i].local.key()));
        !self.missing.is_empty() && (is_missing(&client) || servers.iter().any(is_missing))
    }

    pub fn none_on_socket(&self, client: usize, servers: &[usize]) -> bool {
        let socket = self.legs[client].socket.as_ref();
        socket.and_then(|s| self.by_socket.get(s)).is_some_and(|near| self.none_among(near, client, servers))
    }

    /// The request id is unique on both sides: one client leg and its attempts. A line of the same connection that has lost its ids
    /// may have had this one.
    pub fn none_with_request(&self, client: usize, servers: &[usize]) -> bool {
        let Some(request) = self.legs[client].request_key() else { return false };
        let stripped = self.nameless(&self.legs[client]).chain(self.nameless(&self.legs[servers[0]]));
        servers.iter().all(|&s| self.legs[s].request_key().as_ref() == Some(&request))
            && self.by_request.get(&request).is_some_and(|near| self.none_among(near, client, servers))
            && self.none_among(&stripped.collect::<Vec<_>>(), client, servers)
    }

    /// Lines without any id on a leg's connection.
    fn nameless(&self, leg: &Leg) -> impl Iterator<Item = usize> {
        let near = leg.socket.as_ref().and_then(|socket| self.nameless_by_socket.get(socket));
        near.into_iter().flatten().copied()
    }

    /// Whether nobody of `near` that overlaps in time with the group, and was not joined by keys that the group does not have, could
    /// stand in one of its places.
    fn none_among(&self, near: &[usize], client: usize, servers: &[usize]) -> bool {
        let group = || servers.iter().chain([&client]).map(|&i| &self.legs[i]);
        let slack_us = slack_of(&self.legs[client], self.times.slack_us);
        let from = group().map(|l| l.start.0).min().unwrap_or(0).saturating_sub(slack_us);
        let to = group().map(|l| l.end().0).max().unwrap_or(0).saturating_add(slack_us);
        let then = |i: usize| self.legs[i].end().0 >= from && self.legs[i].start.0 <= to;
        let concerns = |i: usize| !self.apart.contains(&i) || group().any(|l| share_a_key(l, &self.legs[i]));
        // Where both ends print one and the same parent, nothing rewrites it: whoever names another is another.
        let parent =
            self.legs[client].trace.filter(|t| servers.iter().all(|&s| self.legs[s].trace == Some(*t)));
        let other_parent =
            |i: usize| parent.is_some() && self.legs[i].trace.is_some_and(|t| Some(t) != parent);
        let fits = |c: usize, s: usize| may_pair(&self.legs[c], &self.legs[s], self.times);
        let could_be_meant = |other: usize| match self.legs[other].side {
            Side::Client => other != client && servers.iter().any(|&s| fits(other, s)),
            Side::Server => !servers.contains(&other) && fits(client, other),
        };
        let mut counted = 0;
        near.iter().copied().filter(|&i| then(i) && concerns(i)).all(|other| {
            counted += 1;
            counted <= COUNTED_RIVALS && (other_parent(other) || !could_be_meant(other))
        })
    }
}
