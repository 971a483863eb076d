//! Where chance comes from: a stream per kind of fault, and per thing that it happens to.
//!
//! Streams know nothing of each other, and every line draws the same number of values from its streams whether a fault is switched on or
//! not. So one option never changes what another hits, and a larger percentage hits what a smaller one did and more.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

#[derive(Debug, Clone, Copy)]
pub struct Draws {
    seed: u64,
}

impl Draws {
    pub fn new(seed: u64) -> Self {
        Draws { seed }
    }

    /// Chance of one kind, for one thing: a proxy, a delivery, or with an empty key all lines in order.
    pub fn of(&self, kind: &str, key: &str) -> Stream {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        hash.update((kind.len() as u64).to_le_bytes());
        hash.update(kind);
        hash.update(key);
        Stream(ChaCha8Rng::from_seed(hash.finalize().into()))
    }

    /// The given percentage of the things named, rounded, and always the same ones first as it grows.
    pub fn share<'a>(&self, kind: &str, percent: f64, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        let mut by_chance: Vec<(u64, &str)> =
            names.map(|name| (self.of(kind, name).number(), name)).collect();
        by_chance.sort_unstable();
        let count = (by_chance.len() as f64 * percent / 100.0).round() as usize;
        by_chance.into_iter().take(count).map(|(_, name)| name).collect()
    }
}

#[derive(Debug, Clone)]
pub struct Stream(pub ChaCha8Rng);

impl Stream {
    pub fn number(&mut self) -> u64 {
        self.0.random()
    }

    /// Takes one value, also for 0 %.
    pub fn hits(&mut self, percent: f64) -> bool {
        self.0.random::<f64>() * 100.0 < percent
    }

    /// Uniform from -bound to +bound.
    pub fn around_zero(&mut self, bound: f64) -> f64 {
        (self.0.random::<f64>() * 2.0 - 1.0) * bound
    }

    /// Uniform; `from` where the range is empty.
    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        let share: f64 = self.0.random();
        from + ((to - from).max(0) as f64 * share) as i64
    }

    /// Spread evenly over orders of magnitude, as delays are: most short, some very long.
    pub fn delay_us(&mut self, shortest_us: i64, longest_us: i64) -> i64 {
        let (shortest, longest) = (shortest_us.max(1) as f64, longest_us.max(shortest_us).max(1) as f64);
        let share: f64 = self.0.random();
        (shortest.ln() + (longest / shortest).ln() * share).exp() as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_share_holds_the_smaller_one() {
        let names: Vec<String> = (0..40).map(|n| format!("proxy-{n}")).collect();
        let share =
            |percent| Draws::new(7).share("default_format", percent, names.iter().map(String::as_str));
        assert_eq!(share(30.0).len(), 12);
        assert_eq!(share(60.0)[..12], share(30.0));
        assert!(share(0.0).is_empty());
    }

    #[test]
    fn kinds_of_chance_are_independent() {
        let draws = Draws::new(7);
        let first = |kind: &str, key: &str| draws.of(kind, key).number();
        assert_eq!(first("loss", ""), first("loss", ""));
        assert_ne!(first("loss", ""), first("strip", ""));
        assert_ne!(first("a", "bc"), first("ab", "c"));
        assert_ne!(first("loss", ""), Draws::new(8).of("loss", "").number());
    }

    #[test]
    fn a_delay_stays_within_its_bounds_and_is_mostly_short() {
        let mut stream = Draws::new(7).of("late", "");
        let delays: Vec<i64> = (0..1_000).map(|_| stream.delay_us(1_000_000, 86_400_000_000)).collect();
        assert!(delays.iter().all(|us| (1_000_000..=86_400_000_000).contains(us)));
        assert!(delays.iter().filter(|us| **us < 600_000_000).count() > 450);
        assert!(delays.iter().any(|us| *us > 36_000_000_000));
    }
}
