//! What was measured: for each figure one value per round, so that two of them can be compared within the round.

use std::collections::BTreeMap;

/// What one measure found in one round.
pub type Sample = Vec<(String, f64)>;

/// Figures of a measure by their full names: `live.ack_p50_ms`.
pub fn sample<const N: usize>(measure: &str, figures: [(&str, f64); N]) -> Sample {
    figures.into_iter().map(|(name, value)| (format!("{measure}.{name}"), value)).collect()
}

#[derive(Debug, Default)]
pub struct Figures {
    /// By name; `None` where a round did not give it.
    rounds: BTreeMap<String, Vec<Option<f64>>>,
    /// Why a measure gave nothing.
    pub failures: BTreeMap<&'static str, String>,
}

/// Middle, lowest and highest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
    pub rounds: usize,
}

impl Figures {
    pub fn add(&mut self, round: usize, sample: Sample) {
        for (name, value) in sample {
            let values = self.rounds.entry(name).or_default();
            values.resize(values.len().max(round + 1), None);
            values[round] = Some(value);
        }
    }

    pub fn spread(&self, name: &str) -> Option<Spread> {
        spread(self.rounds.get(name)?.iter().flatten().copied().collect())
    }

    pub fn median(&self, name: &str) -> Option<f64> {
        self.spread(name).map(|spread| spread.median)
    }

    /// One figure through another, round by round.
    pub fn ratio(&self, of: &str, to: &str) -> Option<Spread> {
        let pairs = self.rounds.get(of)?.iter().zip(self.rounds.get(to)?);
        spread(pairs.filter_map(|(of, to)| Some((*of)? / (*to)?)).collect())
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rounds.keys().map(String::as_str)
    }
}

fn spread(mut values: Vec<f64>) -> Option<Spread> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (*values.first()?, *values.last()?);
    let (left, right) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    Some(Spread { low, median: (left + right) / 2.0, high, rounds: values.len() })
}

/// The value below which `share` of all lie; sorts them.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (values.len() as f64 * share).ceil() as usize;
    values.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_made_within_a_round() {
        let mut figures = Figures::default();
        for (round, (ours, theirs)) in [(2.0, 1.0), (40.0, 10.0), (3.0, 1.0)].into_iter().enumerate() {
            figures.add(round, sample("x", [("ours", ours), ("theirs", theirs)]));
        }
        figures.add(3, sample("x", [("ours", 9.0)]));
        assert_eq!(
            figures.ratio("x.ours", "x.theirs"),
            Some(Spread { low: 2.0, median: 3.0, high: 4.0, rounds: 3 })
        );
        assert_eq!(figures.median("x.ours"), Some(6.0), "of four: between the middle two");
        assert_eq!(figures.ratio("x.ours", "x.nothing"), None);
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&mut values, 0.5), 50.0);
        assert_eq!(quantile(&mut values, 0.99), 99.0);
        assert_eq!(quantile(&mut [7.0], 0.99), 7.0);
    }
}
