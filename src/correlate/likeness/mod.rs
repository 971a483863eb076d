//! Pairs of legs that share no key at all: no trace, no request id, no hop, and a socket pair that a network has rewritten.
//!
//! What is left is that the two lines are *alike*: same method, path, status and byte counts, nearly the same duration, and a
//! start that lies, by the two proxies' clocks, always about as far apart. None of that is unguessable, so such a pair is only
//! ever `inferred`, with the probability that it is right against all its rivals and against the hypothesis that the true
//! partner was lost. It refuses to prove anything, to accuse anybody, and to pair at all where no offset between two clocks
//! stands out.
//!
//! | file | question |
//! |---|---|
//! | [`features`] | what of a leg is compared? |
//! | [`offset`] | how far are two proxies' clocks apart, told by nameless legs alone? |
//! | [`delays`] | how much later does the callee's proxy see it begin, and how much longer does the caller's take? |
//! | [`ties`] | which of the caller's connections is which of the callee's, when the addresses say nothing? |
//! | [`belief`], [`sweep`] | how probable is each pair, given all its rivals? |
//! | [`attempts`] | which lines are other attempts of the same request? |
//! | [`places`] | where do such legs wait for each other, and what depends on whom? |
//! | [`decide`] | who is paired in one minute, and which calls change thereby? |
//! | [`rejoin`] | what does a call say that was joined so? |
//! | [`stored`] | the only part that asks the store: weighs each minute again in which something changed |
//!
//! Everything here is a function of the legs handed in: sums run in the order of (start, id), nothing is random.

pub mod attempts;
pub mod belief;
pub mod decide;
pub mod delays;
pub mod features;
pub mod offset;
pub mod places;
pub mod rejoin;
mod rounds;
pub mod stored;
pub mod sweep;
pub mod ties;

use crate::model::Leg;

/// Two legs that are probably one call, by their places in the rows handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alike {
    pub client: usize,
    pub server: usize,
    /// Server legs of the same request's other attempts.
    pub others: Vec<usize>,
    /// Probability that the pair is right, in millionths; below a million always.
    pub confidence_ppm: u32,
    /// How much later the server leg starts than is usual between these two proxies.
    pub late_us: i64,
}

impl Alike {
    fn new(client: usize, server: usize, probability: f64, late_us: f64) -> Alike {
        let confidence_ppm = (probability.min(MOST) * 1e6).round() as u32;
        Alike { client, server, others: vec![], confidence_ppm, late_us: late_us as i64 }
    }

    /// All server legs.
    pub fn servers(&self) -> impl Iterator<Item = usize> {
        [self.server].into_iter().chain(self.others.iter().copied())
    }
}

/// A pair that is less probable than this stays two single legs.
pub const LEAST: f64 = 0.98;
/// Nothing that rests on likeness alone is certain.
const MOST: f64 = 0.9999;

/// The probable pairs among client legs and server legs of one callee, each leg in one pair at most, by client.
///
/// Both rows sorted by (start, id). `slack_us`: how far two clocks may be apart. `least`: of what is less probable nothing is
/// said ([`LEAST`]).
pub fn alike(clients: &[&Leg], servers: &[&Leg], slack_us: i64, least: f64) -> Vec<Alike> {
    if clients.is_empty() || servers.is_empty() {
        return Vec::new();
    }
    let features = features::Features::of(clients, servers);
    let offsets = offset::estimate(&features, slack_us);
    let (found, offsets) = rounds::believe(&features, offsets);
    let mut pairs: Vec<Alike> = found
        .iter()
        .filter(|pair| pair.probability >= least)
        .map(|pair| Alike::new(pair.client, pair.server, pair.probability, pair.late_us))
        .collect();
    pairs.sort_by_key(|pair| (pair.client, pair.server));
    attempts::complete(&features, &offsets, &found, &mut pairs);
    pairs
}
