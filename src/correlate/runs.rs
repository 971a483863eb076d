//! Which legs of two rows could be each other's sides at all: rows are aligned in the runs that this gives, so that what else went over
//! a connection at other times does not matter.

use super::clocks::Times;
use super::compat::{contradiction, share_a_key};
use crate::model::Leg;
use std::collections::{BTreeMap, BTreeSet};

/// More pairs than this are not weighed one by one: the order of the rows decides.
pub const WEIGHED_PAIRS: usize = 250_000;

/// Nothing speaks against the pair, and either they share a key or one of them has none: two legs that name different kinds
/// of things could only be brought together by standing in the same step.
pub fn may_pair(client: &Leg, server: &Leg, times: Times) -> bool {
    contradiction(client, server, times).is_none()
        && (share_a_key(client, server) || client.is_nameless() || server.is_nameless())
}

/// The two rows cut into runs that nothing ties: connected sets of clients and servers of which each may be the other's side.
/// Both rows must be sorted by start; legs that fit nothing on the other side are left out.
pub fn runs(
    legs: &[Leg],
    clients: &[usize],
    servers: &[usize],
    times: Times,
) -> Vec<(Vec<usize>, Vec<usize>)> {
    if clients.len().saturating_mul(servers.len()) > WEIGHED_PAIRS {
        return vec![(clients.to_vec(), servers.to_vec())];
    }
    // Each server names the run of the clients it overlaps with; a server that overlaps with several runs makes them one.
    let mut run_of: Vec<usize> = (0..clients.len()).collect();
    let mut server_run: Vec<Option<usize>> = Vec::with_capacity(servers.len());
    for &server in servers {
        let near = (0..clients.len()).filter(|&c| may_pair(&legs[clients[c]], &legs[server], times));
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
