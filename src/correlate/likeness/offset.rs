//! How far two proxies' clocks are apart, told by nameless legs alone.
//!
//! Of all differences in start between server legs and client legs of the same kind, those of true pairs pile up at one place:
//! the offset of the clocks plus the usual delay. All others are spread over the whole slack. At 1,000 calls a second that are
//! all alike the pile of 20 seconds stands more than fifty standard deviations above the rest, so no rare request is needed,
//! though each one helps. Where no pile stands out, or a second one is nearly as high (calls at a steady beat), it says nothing.

use super::features::{Feature, Features};
use crate::correlate::compat::differ;
use std::collections::{BTreeMap, HashMap};

/// Width of a place in which differences are counted, and how many neighbours are taken together.
const BIN_US: i64 = 1_000;
const SMOOTH: usize = 5;
/// Differences that are counted for one pair of proxies at most; legs with the fewest rivals first.
const BUDGET: usize = 6_000_000;
/// The caller's proxy took at most this much longer, or this much shorter (rounding) than the callee's.
const LONGER_MS: std::ops::RangeInclusive<i64> = -2..=400;
/// How unlikely a pile must be by chance, as a natural logarithm: one in a million, over all places looked at.
const LEAST_SURPRISE: f64 = 14.0;
const LEAST_SUPPORT: f64 = 5.0;
/// The next best pile may be this high at most, as a share of the best.
const SECOND_BEST: f64 = 0.7;
/// Within this of the best pile, what lies there belongs to it.
const OWN_FOOT: usize = 25;

/// Ways from one proxy's clock to another's by way of others tell the same within this, or nothing.
const AGREE_US: f64 = 12_000.0;

/// Difference (server's clock - client's clock, plus the usual delay) as a line over time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Offset {
    pub at_us: i64,
    pub offset_us: f64,
    /// Microseconds per microsecond: how fast the clocks drift apart.
    pub drift: f64,
}

impl Offset {
    pub fn when(&self, client_start_us: i64) -> f64 {
        self.offset_us + self.drift * (client_start_us - self.at_us) as f64
    }
}

/// By client's proxy and server's proxy (as numbered in [`Features`]); pairs of proxies whose offset does not stand out are
/// not in it.
pub type Offsets = BTreeMap<(u32, u32), Offset>;

pub fn estimate(features: &Features, slack_us: i64) -> Offsets {
    let clients = by_observer(&features.clients);
    let servers = by_observer(&features.servers);
    let mut offsets = Offsets::new();
    for (&client, rows) in &clients {
        let by_kind = starts_by_kind(rows);
        for (&server, row) in &servers {
            if let Some(offset_us) = pile(&by_kind, row, slack_us) {
                let at_us = rows[rows.len() / 2].start_us;
                offsets.insert((client, server), Offset { at_us, offset_us, drift: 0.0 });
            }
        }
    }
    by_way_of_others(
        &clients.into_keys().collect::<Vec<_>>(),
        &servers.into_keys().collect::<Vec<_>>(),
        offsets,
    )
}

/// Completes what follows from the rest: from one caller's proxy to another's by way of a callee's proxy that both have called.
fn by_way_of_others(clients: &[u32], servers: &[u32], told: Offsets) -> Offsets {
    let mut all = told.clone();
    for (&client, &server) in clients.iter().flat_map(|c| servers.iter().map(move |s| (c, s))) {
        if told.contains_key(&(client, server)) {
            continue;
        }
        let mut ways: Vec<(i64, f64)> = told
            .iter()
            .filter_map(|(&(other_client, other_server), between)| {
                let from = told.get(&(client, other_server))?;
                let to = told.get(&(other_client, server))?;
                Some((from.at_us, from.offset_us - between.offset_us + to.offset_us))
            })
            .collect();
        ways.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (Some((first, last)), Some(&(at_us, offset_us))) =
            (ways.first().zip(ways.last()), ways.get(ways.len() / 2))
        else {
            continue;
        };
        if last.1 - first.1 <= AGREE_US {
            all.insert((client, server), Offset { at_us, offset_us, drift: 0.0 });
        }
    }
    all
}

fn by_observer(row: &[Feature]) -> BTreeMap<u32, Vec<&Feature>> {
    let mut by_observer: BTreeMap<u32, Vec<&Feature>> = BTreeMap::new();
    row.iter().for_each(|f| by_observer.entry(f.observer).or_default().push(f));
    by_observer
}

/// Start, duration, and the callee's address.
type Moment = (i64, i64, Option<u32>);
type ByKind = HashMap<u32, Vec<Moment>>;

fn starts_by_kind(row: &[&Feature]) -> ByKind {
    let mut by_kind = ByKind::new();
    row.iter().for_each(|f| by_kind.entry(f.kind).or_default().push((f.start_us, f.duration_ms, f.at)));
    by_kind
}

/// Where the differences pile up.
fn pile(clients: &ByKind, servers: &[&Feature], slack_us: i64) -> Option<f64> {
    let near = |server: &Feature| {
        let of_kind = clients.get(&server.kind).map_or(&[][..], |v| &v[..]);
        let from = of_kind.partition_point(|(start, ..)| *start < server.start_us - slack_us);
        let to = of_kind.partition_point(|(start, ..)| *start <= server.start_us + slack_us);
        &of_kind[from..to]
    };
    let mut by_rivals: Vec<(usize, usize)> =
        servers.iter().enumerate().map(|(i, s)| (near(s).len(), i)).filter(|(n, _)| *n > 0).collect();
    by_rivals.sort_unstable();
    // As many differences as make a pile must be there at least; most pairs of proxies have none.
    if by_rivals.iter().map(|(rivals, _)| rivals).sum::<usize>() < LEAST_SUPPORT as usize {
        return None;
    }

    let bins = (2 * slack_us / BIN_US + 1) as usize;
    let (mut weight, mut squares) = (vec![0.0; bins], vec![0.0; bins]);
    let mut spent = 0;
    for (_, i) in by_rivals {
        let server = servers[i];
        let fits = |(_, duration, at): &&Moment| {
            LONGER_MS.contains(&(duration - server.duration_ms)) && !differ(at, &server.at)
        };
        let fitting: Vec<i64> = near(server).iter().filter(fits).map(|(start, ..)| *start).collect();
        spent += near(server).len();
        if spent > BUDGET {
            break;
        }
        let share = 1.0 / fitting.len().max(1) as f64;
        for start in fitting {
            let bin = ((server.start_us - start + slack_us) / BIN_US) as usize;
            weight[bin] += share;
            squares[bin] += share * share;
        }
    }
    highest(&weight, &squares).map(|bin| (bin as f64 + 0.5) * BIN_US as f64 - slack_us as f64)
}

/// The bin at the middle of the highest pile, if it stands out and has no equal.
fn highest(weight: &[f64], squares: &[f64]) -> Option<usize> {
    let together = |values: &[f64]| -> Vec<f64> { values.windows(SMOOTH).map(|w| w.iter().sum()).collect() };
    let (piles, squares) = (together(weight), together(squares));
    let (best, height) = maximum(&piles, 0..piles.len())?;
    if height <= 0.0 {
        return None;
    }
    let left = maximum(&piles, 0..best.saturating_sub(OWN_FOOT));
    let right = maximum(&piles, (best + OWN_FOOT + 1).min(piles.len())..piles.len());
    let second = left.into_iter().chain(right).map(|(_, h)| h).fold(0.0, f64::max);
    // Many light contributions say less than few heavy ones: the number of whole ones that would vary as much.
    let support = height * height / squares[best];
    let total: f64 = weight.iter().sum();
    let by_chance = ((total - height).max(0.0) / piles.len() as f64 * SMOOTH as f64) * support / height;
    let surprise = support * (support / by_chance.max(1e-9)).ln() - support + by_chance;
    let stands_out = support >= LEAST_SUPPORT
        && support > by_chance
        && surprise >= LEAST_SURPRISE + (piles.len() as f64).ln();
    (stands_out && second - by_chance * height / support <= SECOND_BEST * height)
        .then(|| middle(weight, best))
}

fn maximum(values: &[f64], range: std::ops::Range<usize>) -> Option<(usize, f64)> {
    range.map(|i| (i, values[i])).reduce(|best, next| if next.1 > best.1 { next } else { best })
}

/// The highest single bin of the pile.
fn middle(weight: &[f64], first: usize) -> usize {
    maximum(weight, first..first + SMOOTH).map_or(first, |(bin, _)| bin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(offset_us: f64) -> Offset {
        Offset { at_us: 0, offset_us, drift: 0.0 }
    }

    #[test]
    fn clocks_that_never_met_are_told_by_those_that_both_have_met() {
        let told = Offsets::from([((0, 8), apart(1e6)), ((1, 8), apart(3e6)), ((1, 9), apart(-2e6))]);
        let all = by_way_of_others(&[0, 1], &[8, 9], told);
        assert_eq!(all[&(0, 9)].offset_us, -4e6);
    }

    #[test]
    fn ways_that_contradict_each_other_tell_nothing() {
        let told = Offsets::from([
            ((0, 8), apart(1e6)),
            ((1, 8), apart(3e6)),
            ((1, 9), apart(-2e6)),
            ((2, 8), apart(0.0)),
            ((2, 9), apart(0.0)),
        ]);
        assert!(!by_way_of_others(&[0, 1, 2], &[8, 9], told).contains_key(&(0, 9)));
    }
}
