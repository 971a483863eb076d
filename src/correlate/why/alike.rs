//! Calls whose two lines share no key and were joined for being alike: who else was near, and what was compared.
//!
//! Likeness decides over a minute of a callee as a whole; here only the nearest seconds are read again, to show who the rivals
//! were. The probability is the one that was stored.

use super::Joined;
use super::basis::{BasisWhy, By};
use super::evidence::Kind;
use super::words;
use crate::correlate::group::Group;
use crate::correlate::likeness::{places, rejoin};
use crate::model::{Basis, Call, CallId, Leg};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Keys under which the calls stand whose legs could have been taken for one of this call's.
pub fn neighbours(call: &Call) -> Vec<i64> {
    let mut keys = Vec::new();
    for leg in places::undecided(call) {
        let second = places::second(leg.start);
        for weighed in [places::Weighed::Done, places::Weighed::NotYet] {
            let near = second - 1..=second + 1;
            keys.extend(near.map(|second| places::in_second(weighed, &leg.callee().name, second)));
        }
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

impl Joined<'_> {
    /// Joins what was joined for being alike, as the task does when it joins the rest anew. `stored`: the calls as they stand.
    pub fn with_alike(mut self, stored: &BTreeMap<CallId, Arc<Call>>) -> Self {
        let place: BTreeMap<_, usize> = self.legs.iter().enumerate().map(|(p, l)| (l.id, p)).collect();
        for (call, (client, servers)) in stored.values().filter_map(|c| Some((c, places::pair(c)?))) {
            let Some(&c) = place.get(&client.id) else { continue };
            let ends: Vec<usize> = servers.iter().filter_map(|s| place.get(&s.id).copied()).collect();
            let alone = |p: &usize| self.group_of(*p).members().count() == 1;
            if ends.len() == servers.len() && [c].iter().chain(&ends).all(alone) {
                let at = self.group_at[c];
                ends.iter().for_each(|&s| self.group_at[s] = at);
                self.groups[at] = Group::joined(vec![c], ends, Basis::Inferred, call.confidence_ppm, 1);
            }
        }
        rejoin::again(stored, &mut self.calls, self.facts, self.rules);
        self.call_at = self.calls.iter().enumerate().map(|(i, c)| (c.id, i)).collect();
        self
    }
}

/// Whether two legs were joined by nothing but likeness.
pub fn is_alike(group: &Group, client: &Leg, server: &Leg) -> bool {
    let keyless = client.is_nameless() && server.is_nameless();
    group.basis == Basis::Inferred && group.choices.is_empty() && keyless
}

pub fn basis(group: &Group, client: &Leg, server: &Leg) -> BasisWhy {
    let sentence = format!(
        "neither line names a request, and the connection that they name is not the same: of all lines of that minute to {} \
         these two are the most alike in request, status, sizes and duration, and the server's begins {}, as \
         is usual between these two proxies; probability {:.4}",
        client.peer.name,
        late(client, server),
        f64::from(group.confidence_ppm) / 1e6
    );
    let not_stronger =
        Some("nothing on the lines is this pair's alone; a request id or a hop id would be".to_owned());
    BasisWhy { by: By::Likeness, sentence, not_stronger }
}

/// The same status and the same sizes.
pub fn same_answer(client: &Leg, server: &Leg) -> bool {
    let sizes = |l: &Leg| (l.request_body_bytes, l.response_body_bytes);
    client.status == server.status && sizes(client) == sizes(server)
}

/// Why another line of the same kind was less like. `ours` and `theirs`: client and server each.
pub fn less_like(ours: (&Leg, &Leg), theirs: (&Leg, &Leg)) -> (Kind, String) {
    let (client, server) = theirs;
    if client.status != server.status {
        let said = |l: &Leg| l.status.map_or_else(|| "none".to_owned(), |s| s.to_string());
        return (Kind::Status, format!("it is less alike: status {} and {}", said(client), said(server)));
    }
    if !same_answer(client, server) {
        return (Kind::Bytes, "it is less alike: the sizes differ".to_owned());
    }
    let sentence = format!(
        "it is alike as well, but with it the server's part begins {} {}; with the one that was chosen it begins {} {}",
        late(client, server),
        longer(client, server),
        late(ours.0, ours.1),
        longer(ours.0, ours.1)
    );
    (Kind::Time, sentence)
}

/// `3.2 ms after the client's`.
fn late(client: &Leg, server: &Leg) -> String {
    match server.start.0 - client.start.0 {
        us @ 0.. => format!("{} after the client's", words::span(us)),
        us => format!("{} before the client's", words::span(-us)),
    }
}

/// `and end 1.0 ms earlier`.
fn longer(client: &Leg, server: &Leg) -> String {
    match client.duration_us.zip(server.duration_us).map(|(c, s)| c - s) {
        None => "one of the two tells no duration".to_owned(),
        Some(us @ 0..) => format!("and lasts {} less", words::span(us)),
        Some(us) => format!("and lasts {} more", words::span(-us)),
    }
}
