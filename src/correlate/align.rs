//! Puts two ordered rows of legs side by side: as many pairs as possible, order kept, time differences least.
//!
//! On one connection the callee's proxy sees requests in the order in which the caller's proxy sent them, so an alignment
//! that keeps the order is the likely one, whatever the two clocks say. Deterministic: ties go to the earlier pair.

use crate::model::Leg;

/// Above this many cells the exact alignment would cost too much; a greedy one is used.
const EXACT_CELLS: usize = 250_000;

/// Pairs `(index into clients, index into servers)`, both rising. `compatible` says which pairs are allowed at all. Both rows
/// must be sorted by start.
pub fn align(
    clients: &[&Leg],
    servers: &[&Leg],
    compatible: impl Fn(&Leg, &Leg) -> bool,
) -> Vec<(usize, usize)> {
    if clients.len() == 1 && servers.len() == 1 {
        return if compatible(clients[0], servers[0]) { vec![(0, 0)] } else { vec![] };
    }
    if clients.len().saturating_mul(servers.len()) > EXACT_CELLS {
        return greedy(clients, servers, compatible);
    }
    exact(clients, servers, compatible)
}

/// How unlikely a pair is, in microseconds: how far the server's interval sticks out of the client's, plus, with little
/// weight, how late it starts.
pub fn strain_us(client: &Leg, server: &Leg) -> i64 {
    let before = (client.start.0 - server.start.0).max(0);
    let after = (server.end().0 - client.end().0).max(0);
    let late = (server.start.0 - client.start.0).max(0);
    before.saturating_add(after).saturating_mul(16).saturating_add(late)
}

/// Dynamic program over (pairs, -strain), the longest-common-subsequence way.
fn exact(clients: &[&Leg], servers: &[&Leg], compatible: impl Fn(&Leg, &Leg) -> bool) -> Vec<(usize, usize)> {
    let (n, m) = (clients.len(), servers.len());
    let width = m + 1;
    // best[i * width + j]: best (pairs, -strain) for clients[i..], servers[j..].
    let mut best = vec![(0u32, 0i64); (n + 1) * width];
    let mut takes = vec![false; (n + 1) * width];
    for i in (0..n).rev() {
        for j in (0..m).rev() {
            let skip = best[(i + 1) * width + j].max(best[i * width + j + 1]);
            let here = i * width + j;
            best[here] = skip;
            if compatible(clients[i], servers[j]) {
                let (pairs, strain) = best[(i + 1) * width + j + 1];
                let with = (pairs + 1, strain.saturating_sub(strain_us(clients[i], servers[j])));
                if with >= skip {
                    best[here] = with;
                    takes[here] = true;
                }
            }
        }
    }
    trace_back(n, m, width, &best, &takes)
}

fn trace_back(n: usize, m: usize, width: usize, best: &[(u32, i64)], takes: &[bool]) -> Vec<(usize, usize)> {
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < n && j < m {
        if takes[i * width + j] {
            pairs.push((i, j));
            i += 1;
            j += 1;
        } else if best[(i + 1) * width + j] >= best[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

/// As many pairs as possible whatever the order: of the clients that began before a server, and may be its other side, the one that
/// ended first. That is the most there can be where only times tell the legs apart.
pub fn nest(
    clients: &[&Leg],
    servers: &[&Leg],
    compatible: impl Fn(&Leg, &Leg) -> bool,
) -> Vec<(usize, usize)> {
    let mut by_end: Vec<usize> = (0..clients.len()).collect();
    by_end.sort_by_key(|&c| (clients[c].end(), c));
    let mut pairs = Vec::new();
    for (s, server) in servers.iter().enumerate() {
        let found = by_end.iter().position(|&c| compatible(clients[c], server));
        pairs.extend(found.map(|place| (by_end.remove(place), s)));
    }
    pairs.sort_unstable();
    pairs
}

fn greedy(
    clients: &[&Leg],
    servers: &[&Leg],
    compatible: impl Fn(&Leg, &Leg) -> bool,
) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    let mut next = 0;
    for (i, client) in clients.iter().enumerate() {
        let found = (next..servers.len()).take(64).find(|&j| compatible(client, servers[j]));
        if let Some(j) = found {
            pairs.push((i, j));
            next = j + 1;
        }
    }
    pairs
}
