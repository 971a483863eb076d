//! Chance, all of it from one seed. Nothing else in the world draws numbers.

use super::distributions::{LogNormal, Mixture};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

pub struct Dice(ChaCha8Rng);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(ChaCha8Rng::seed_from_u64(seed))
    }

    /// At least 0, less than 1.
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// At least 0, less than `n`; 0 for an empty range.
    pub fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }

    /// Both ends included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as usize) as i64
    }

    pub fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// The place of one of the weights, in proportion to them.
    pub fn weighted(&mut self, weights: impl Iterator<Item = f64> + Clone) -> usize {
        let mut left = self.unit() * weights.clone().sum::<f64>();
        let mut last = 0;
        for (i, weight) in weights.enumerate() {
            if weight > 0.0 {
                last = i;
                if left < weight {
                    break;
                }
                left -= weight;
            }
        }
        last
    }

    pub fn log_normal(&mut self, of: LogNormal) -> i64 {
        (of.median_us * (of.sigma * self.normal()).exp()).round() as i64
    }

    /// The value, and the place of the component that it came from.
    pub fn mixture(&mut self, of: &Mixture) -> (i64, usize) {
        let part = self.weighted(of.parts.iter().map(|(weight, _)| *weight));
        (self.log_normal(of.parts[part].1).clamp(of.min_us, of.max_us), part)
    }

    /// Box and Muller.
    fn normal(&mut self) -> f64 {
        let (a, b) = (1.0 - self.unit(), self.unit());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    pub fn hex<const BYTES: usize>(&mut self) -> String {
        let mut bytes = [0; BYTES];
        self.0.fill_bytes(&mut bytes);
        hex::encode(bytes)
    }

    /// Version 4, lower case.
    pub fn uuid(&mut self) -> String {
        let mut bytes = [0_u8; 16];
        self.0.fill_bytes(&mut bytes);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let text = hex::encode(bytes);
        format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
    }
}
