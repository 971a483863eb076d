//! Whether a confidence of 0.9 is right nine times in ten.

use crate::scene::Scene;
use crate::score::Score;
use serde::Serialize;
use std::fmt;

const BUCKETS: usize = 20;

/// Inferred calls by their confidence, in steps of 0.05.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Calibration {
    pub buckets: [Bucket; BUCKETS],
}

#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct Bucket {
    pub calls: usize,
    /// All legs of the call belong together, strictly: equals that were swapped count as wrong.
    pub right: usize,
    pub confidence_sum: f64,
}

impl Calibration {
    pub fn count(&mut self, confidence: f64, right: bool) {
        let place = ((confidence * BUCKETS as f64) as usize).min(BUCKETS - 1);
        let bucket = &mut self.buckets[place];
        bucket.calls += 1;
        bucket.right += usize::from(right);
        bucket.confidence_sum += confidence;
    }

    pub fn calls(&self) -> usize {
        self.buckets.iter().map(|b| b.calls).sum()
    }

    /// Mean distance of confidence and share of right calls, weighted by the number of calls.
    pub fn expected_error(&self) -> f64 {
        let off: f64 = self.buckets.iter().map(|b| (b.right as f64 - b.confidence_sum).abs()).sum();
        if self.calls() == 0 { 0.0 } else { off / self.calls() as f64 }
    }

    pub fn add(&mut self, other: &Calibration) {
        for (own, more) in self.buckets.iter_mut().zip(&other.buckets) {
            own.calls += more.calls;
            own.right += more.right;
            own.confidence_sum += more.confidence_sum;
        }
    }
}

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} inferred calls, expected error {:.4}", self.calls(), self.expected_error())?;
        let used = self.buckets.iter().filter(|b| b.calls > 0);
        used.map(|b| (b.confidence_sum / b.calls as f64, b.right as f64 / b.calls as f64, b.calls))
            .try_for_each(|(said, was, n)| write!(f, "\n    said {said:.3}  was {was:.3}  of {n}"))
    }
}

pub fn measure(scene: &Scene<'_>, score: &mut Score) {
    for (exported, marks) in scene.exported.iter().zip(&scene.marks) {
        if exported.basis != "inferred" || marks.is_empty() {
            continue;
        }
        let right = marks.iter().all(|m| m.call == marks[0].call);
        score.calibration.count(exported.confidence, right);
    }
}
