//! Which legs of two rows could be each other's sides at all: rows are aligned in the runs that this gives, so that what else went over
//! a connection at other times does not matter.

use super::clocks::Times;
use super::compat::{contradiction, share_a_key};
use super::sockets::ToldSockets;
use crate::model::{IdentityKind, Leg, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// More pairs than this are not weighed one by one: the order of the rows decides.
pub const WEIGHED_PAIRS: usize = 250_000;

/// Nothing speaks against the pair, and either they share a key or one of them has none: two legs that name different kinds
/// of things could only be brought together by standing in the same step.
pub fn may_pair(client: &Leg, server: &Leg, times: Times) -> bool {
    contradiction(client, server, times).is_none() && are_tied(client, server)
}

fn are_tied(client: &Leg, server: &Leg) -> bool {
    share_a_key(client, server) || client.is_nameless() || server.is_nameless()
}

/// Neither the two legs nor where the other ends of their connections are speak against one call. What a terminating gateway sends on
/// goes to a server outside the mesh: no proxy of ours sees it arrive.
pub fn may_be_one(client: &Leg, server: &Leg, times: Times, told: &ToldSockets) -> bool {
    client.peer.kind != IdentityKind::External
        && contradiction(client, server, times).is_none()
        && !told.elsewhere(client, server)
}

/// The same for the legs of one row, of which each either shares a key with the other or has none.
pub fn may_stand_in_row(client: &Leg, server: &Leg, times: Times, told: &ToldSockets) -> bool {
    may_be_one(client, server, times, told) && are_tied(client, server)
}

/// The two rows cut into runs that nothing ties: connected sets of clients and servers of which each may be the other's side, as
/// `fits` says. Both rows must be sorted by start; legs that fit nothing on the other side are left out. `slack_us`: legs further
/// apart than this never fit.
pub fn runs(
    legs: &[Leg],
    clients: &[usize],
    servers: &[usize],
    slack_us: i64,
    fits: impl Fn(&Leg, &Leg) -> bool,
) -> Vec<(Vec<usize>, Vec<usize>)> {
    let apart = stretches(legs, clients, servers, slack_us);
    apart.into_iter().flat_map(|(clients, servers)| connected(legs, &clients, &servers, &fits)).collect()
}

/// The rows cut where nothing went on for longer than the slack: what stands before such a pause does not matter to what comes after,
/// however much there is of both.
fn stretches(
    legs: &[Leg],
    clients: &[usize],
    servers: &[usize],
    slack_us: i64,
) -> Vec<(Vec<usize>, Vec<usize>)> {
    let mut all: Vec<(usize, bool)> = clients.iter().map(|&c| (c, true)).collect();
    all.extend(servers.iter().map(|&s| (s, false)));
    all.sort_by_key(|&(place, _)| (legs[place].start, place));
    let mut stretches: Vec<(Vec<usize>, Vec<usize>)> = Vec::new();
    let mut until = None;
    for (place, is_client) in all {
        let (start, end) = (legs[place].start, legs[place].end());
        if until.is_none_or(|until: Timestamp| start > until.plus_us(slack_us)) {
            stretches.push((Vec::new(), Vec::new()));
            until = None;
        }
        until = until.max(Some(end));
        let (clients, servers) = stretches.last_mut().expect("one was begun");
        if is_client { clients.push(place) } else { servers.push(place) }
    }
    stretches
}

fn connected(
    legs: &[Leg],
    clients: &[usize],
    servers: &[usize],
    fits: &impl Fn(&Leg, &Leg) -> bool,
) -> Vec<(Vec<usize>, Vec<usize>)> {
    if clients.len().saturating_mul(servers.len()) > WEIGHED_PAIRS {
        return vec![(clients.to_vec(), servers.to_vec())];
    }
    // Each server names the run of the clients it overlaps with; a server that overlaps with several runs makes them one.
    let mut run_of: Vec<usize> = (0..clients.len()).collect();
    let mut server_run: Vec<Option<usize>> = Vec::with_capacity(servers.len());
    for &server in servers {
        let near = (0..clients.len()).filter(|&c| fits(&legs[clients[c]], &legs[server]));
        let joined: BTreeSet<usize> = near.map(|c| run_of[c]).collect();
        let run = joined.first().copied();
        if let Some(run) = run {
            run_of.iter_mut().filter(|r| joined.contains(r)).for_each(|r| *r = run);
            server_run.iter_mut().flatten().filter(|r| joined.contains(r)).for_each(|r| *r = run);
        }
        server_run.push(run);
    }
    let mut runs: BTreeMap<usize, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
    for (&server, run) in servers.iter().zip(&server_run) {
        if let Some(run) = run {
            runs.entry(*run).or_default().1.push(server);
        }
    }
    for (&client, run) in clients.iter().zip(&run_of) {
        if let Some(found) = runs.get_mut(run) {
            found.0.push(client);
        }
    }
    runs.into_values().collect()
}
