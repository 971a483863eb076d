//! Counts that can be added up over many worlds.

use serde::Serialize;
use std::fmt;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub right: usize,
    pub wrong: usize,
    pub missed: usize,
}

impl Tally {
    pub fn precision(self) -> f64 {
        ratio(self.right, self.right + self.wrong)
    }

    pub fn recall(self) -> f64 {
        ratio(self.right, self.right + self.missed)
    }

    pub fn add(&mut self, other: Tally) {
        self.right += other.right;
        self.wrong += other.wrong;
        self.missed += other.missed;
    }

    /// Of all that should be there, how much is right: a wrong one counts as missed.
    pub fn accuracy(self) -> f64 {
        ratio(self.right, self.right + self.wrong + self.missed)
    }
}

/// Pairs of legs. `swapped` ones join two calls that nobody can tell apart.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PairTally {
    pub right: usize,
    pub swapped: usize,
    pub wrong: usize,
}

impl PairTally {
    pub fn add(&mut self, other: PairTally) {
        self.right += other.right;
        self.swapped += other.swapped;
        self.wrong += other.wrong;
    }
}

/// 1 where there was nothing to get wrong.
pub fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (precision, recall) = (100.0 * self.precision(), 100.0 * self.recall());
        let Tally { right, wrong, missed } = self;
        write!(
            f,
            "{right} right, {wrong} wrong, {missed} missed: precision {precision:.2} %, recall {recall:.2} %"
        )
    }
}

impl fmt::Display for PairTally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} right, {} swapped among equals, {} wrong", self.right, self.swapped, self.wrong)
    }
}
