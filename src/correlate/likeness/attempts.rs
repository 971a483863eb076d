//! The other attempts of requests that were joined for being alike.
//!
//! A proxy that tries again leaves one line at the caller and one at the callee for each attempt. Likeness weighs one line against
//! one: of a retried request it finds one attempt, as a rule the last, which began late and was answered as the caller says; or
//! none, where the attempts are rivals of each other. What fits in beside it is known by that it failed, that it was the same
//! request, that it lay within the caller's time by the clocks' difference, and that no other request can be meant by it. A line that two
//! requests want is given to neither.

use super::features::{Feature, Features};
use super::offset::Offsets;
use super::rounds::Believed;
use super::{Alike, LEAST};
use std::collections::{BTreeMap, HashMap};

/// Starts and durations are cut off, and the clocks' difference is known about so well.
const SLACK_US: i64 = 2_000;
/// A line that is more probably another request's than this is nobody's other attempt.
const ELSEWHERE: f64 = 0.1;
/// Of a retried request the attempt that is likeliest by itself is at least so probable.
const LIKELIEST: f64 = 0.2;
/// Envoy tries a request no more often than this unless somebody wants it so.
const MOST: usize = 8;

/// Adds what is found to `pairs`; also a pair for each client leg whose partners are only each other's rivals because they are attempts
/// of one request. `believed`: by client.
pub fn complete(features: &Features, offsets: &Offsets, believed: &[Believed], pairs: &mut Vec<Alike>) {
    let lines = Lines { features, offsets, by_request: by_request(&features.servers) };
    let rows = believed.chunk_by(|a, b| a.client == b.client);
    let has_pair = |client: usize, pairs: &[Alike]| pairs.binary_search_by_key(&client, |p| p.client).is_ok();
    let of_rivals: Vec<Alike> =
        rows.filter(|row| !has_pair(row[0].client, pairs)).filter_map(|row| lines.of_attempts(row)).collect();
    pairs.extend(of_rivals);
    let mut wanted: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (place, pair) in pairs.iter().enumerate() {
        lines.others(pair).into_iter().for_each(|server| wanted.entry(server).or_default().push(place));
    }
    let mut taken = Taken::new(believed, pairs);
    for (server, by) in wanted {
        let [place] = by[..] else { continue };
        if taken.is_free(server, pairs[place].client) {
            pairs[place].others.push(server);
            taken.by.insert(server, pairs[place].client);
        }
    }
    pairs.sort_by_key(|pair| (pair.client, pair.server));
}

struct Lines<'a> {
    features: &'a Features,
    offsets: &'a Offsets,
    by_request: HashMap<u32, Vec<usize>>,
}

impl Lines<'_> {
    /// One pair of rivals that exclude each other only as long as the request is taken to have been made once.
    fn of_attempts(&self, row: &[Believed]) -> Option<Alike> {
        let client = row[0].client;
        let kept: Vec<&Believed> = row.iter().filter(|b| b.probability >= 0.01).collect();
        let together: f64 = kept.iter().map(|b| b.probability).sum();
        let best = kept
            .iter()
            .max_by(|a, b| a.probability.total_cmp(&b.probability).then(b.server.cmp(&a.server)))?;
        let pair = Alike::new(client, best.server, together, best.late_us);
        let others = self.others(&pair);
        let all_attempts = kept.iter().all(|b| b.server == best.server || others.contains(&b.server));
        (kept.len() > 1 && together >= LEAST && best.probability >= LIKELIEST && all_attempts).then_some(pair)
    }

    /// Server legs that could be the pair's other attempts, by start. Two of them at the same time: none.
    fn others(&self, pair: &Alike) -> Vec<usize> {
        let client = &self.features.clients[pair.client];
        let Some(known) = self.seen(client, pair.server) else { return vec![] };
        let near = self.by_request.get(&client.request).map_or(&[][..], |v| &v[..]);
        let mut found: Vec<(Span, usize)> = Vec::new();
        for offset in self.offsets.range((client.observer, 0)..=(client.observer, u32::MAX)) {
            let (&(_, observer), offset) = offset;
            let left = client.start_us + offset.when(client.start_us) as i64;
            let start = |s: &usize| self.features.servers[*s].start_us;
            let from = near.partition_point(|s| start(s) < left - SLACK_US);
            let within = near[from..].iter().take_while(|s| start(s) <= left + client.duration_ms * 1_000);
            let fits = |s: &&usize| **s != pair.server && self.features.servers[**s].observer == observer;
            found.extend(within.filter(fits).filter_map(|&s| Some((self.seen(client, s)?, s))));
        }
        let ends_us = client.duration_ms * 1_000 + SLACK_US;
        found.retain(|(span, s)| {
            let apart = span.until_us <= known.from_us + SLACK_US && failed(&self.features.servers[*s])
                || span.from_us + SLACK_US >= known.until_us && failed(&self.features.servers[pair.server]);
            apart && span.until_us <= ends_us && failed(&self.features.servers[*s])
        });
        found.sort();
        let overlap = found.windows(2).any(|two| two[1].0.from_us + SLACK_US < two[0].0.until_us);
        if overlap || found.len() > MOST { vec![] } else { found.into_iter().map(|(_, s)| s).collect() }
    }

    /// A server leg in microseconds after the client leg began, as far as the clocks are known.
    fn seen(&self, client: &Feature, server: usize) -> Option<Span> {
        let server = &self.features.servers[server];
        let offset = self.offsets.get(&(client.observer, server.observer))?;
        let left = client.start_us + offset.when(client.start_us) as i64;
        Some(Span { from_us: server.start_us - left, until_us: server.end_us() - left })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    from_us: i64,
    until_us: i64,
}

fn failed(leg: &Feature) -> bool {
    leg.status.is_none_or(|status| status >= 500)
}

fn by_request(servers: &[Feature]) -> HashMap<u32, Vec<usize>> {
    let mut by_request: HashMap<u32, Vec<usize>> = HashMap::new();
    for (place, server) in servers.iter().enumerate() {
        by_request.entry(server.request).or_default().push(place);
    }
    by_request
}

/// Whose the server legs are already.
struct Taken {
    by: HashMap<usize, usize>,
    /// The probability of each server leg's partners.
    partners: HashMap<usize, Vec<(usize, f64)>>,
}

impl Taken {
    fn new(believed: &[Believed], pairs: &[Alike]) -> Self {
        let by = pairs.iter().map(|pair| (pair.server, pair.client)).collect();
        let mut partners: HashMap<usize, Vec<(usize, f64)>> = HashMap::new();
        for pair in believed.iter().filter(|b| b.probability > 0.0) {
            partners.entry(pair.server).or_default().push((pair.client, pair.probability));
        }
        Taken { by, partners }
    }

    fn is_free(&self, server: usize, client: usize) -> bool {
        let others = self.partners.get(&server).into_iter().flatten().filter(|(c, _)| *c != client);
        !self.by.contains_key(&server) && others.map(|(_, p)| p).sum::<f64>() <= ELSEWHERE
    }
}

#[cfg(test)]
mod tests {
    use super::super::offset::Offset;
    use super::*;

    /// One request between one pair of proxies whose clocks agree; times in milliseconds.
    fn line(start_ms: i64, duration_ms: i64, status: u16) -> Feature {
        Feature {
            start_us: start_ms * 1_000,
            duration_ms,
            observer: 0,
            request: 0,
            kind: 0,
            status: Some(status),
            sent_bytes: None,
            received_bytes: None,
            authority: None,
            peer: None,
            own: None,
            connection: None,
            at: None,
        }
    }

    fn others(clients: Vec<Feature>, servers: Vec<Feature>, pairs: &[(usize, usize)]) -> Vec<Vec<usize>> {
        let features = Features { clients, servers, ..Features::default() };
        let offsets = Offsets::from([((0, 0), Offset { at_us: 0, offset_us: 0.0, drift: 0.0 })]);
        let mut pairs: Vec<Alike> = pairs.iter().map(|&(c, s)| Alike::new(c, s, 0.99, 0.0)).collect();
        complete(&features, &offsets, &[], &mut pairs);
        pairs.into_iter().map(|pair| pair.others).collect()
    }

    #[test]
    fn the_failed_attempts_before_the_answer_are_of_the_same_request() {
        let servers = vec![line(100, 5, 503), line(120, 5, 503), line(140, 8, 200), line(170, 5, 503)];
        assert_eq!(others(vec![line(100, 50, 200)], servers, &[(0, 2)]), [vec![0, 1]]);
    }

    #[test]
    fn an_answer_that_was_given_is_no_attempt_of_another_request() {
        let servers = vec![line(100, 5, 200), line(140, 8, 200)];
        assert_eq!(others(vec![line(100, 50, 200)], servers, &[(0, 1)]), [Vec::<usize>::new()]);
    }

    #[test]
    fn a_line_that_two_requests_want_is_given_to_neither() {
        let servers = vec![line(101, 5, 503), line(120, 8, 200), line(121, 8, 200)];
        let clients = vec![line(100, 30, 200), line(100, 31, 200)];
        assert_eq!(others(clients, servers, &[(0, 1), (1, 2)]), [Vec::<usize>::new(), vec![]]);
    }
}
