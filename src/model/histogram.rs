//! Durations counted in buckets: what quantiles of any union of calls can be told from, exactly mergeable by addition.
//!
//! Each power of two is cut into `PARTS` equal buckets, in whole microseconds; below 32 µs every value has its own. The middle
//! of a bucket is then at most one part in 32 (3.2 %) away from any value in it. Which bucket a value falls into is
//! computed from its bits alone, so that it is the same on every machine. It is no place for values: only counts are kept.

/// log2 of [`PARTS`].
const PART_BITS: u32 = 4;
/// Buckets per power of two.
const PARTS: i64 = 1 << PART_BITS;

/// Counts by bucket. A count may be negative only in a difference that is still to be added to something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// By bucket, in order; never zero. Most histograms are of a few calls, and are added up again and again.
    counts: Vec<(u16, i64)>,
}

impl Histogram {
    /// Longer durations (50 days) count as this one.
    pub const MOST_US: i64 = 1 << 42;
    /// A quantile is told with at most this relative error.
    pub const ERROR: f64 = 1.0 / 32.0;

    /// Counts a duration so many times, or takes it away again.
    pub fn add(&mut self, duration_us: i64, times: i64) {
        self.add_to_bucket(bucket(duration_us), times);
    }

    /// Buckets beyond the last one are those of no duration and left out.
    pub fn add_to_bucket(&mut self, bucket: usize, times: i64) {
        if times == 0 || bucket > self::bucket(Self::MOST_US) {
            return;
        }
        let bucket = bucket as u16;
        match self.counts.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Err(place) => self.counts.insert(place, (bucket, times)),
            Ok(place) => {
                let count = &mut self.counts[place].1;
                *count = count.wrapping_add(times);
                if *count == 0 {
                    self.counts.remove(place);
                }
            }
        }
    }

    pub fn merge(&mut self, other: &Histogram) {
        other.buckets().for_each(|(bucket, count)| self.add_to_bucket(bucket, count));
    }

    /// Those that hold anything, in order, with their counts.
    pub fn buckets(&self) -> impl Iterator<Item = (usize, i64)> + '_ {
        self.counts.iter().map(|(bucket, count)| (usize::from(*bucket), *count))
    }

    /// How many durations were counted.
    pub fn total(&self) -> i64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }

    /// The duration that a share of them did not exceed (nearest rank, `percent` from 1 to 100), at most [`Histogram::ERROR`]
    /// away from the true one; `None` where nothing was counted.
    pub fn quantile(&self, percent: i64) -> Option<i64> {
        let mut left = (self.total().saturating_mul(percent).saturating_add(99) / 100).max(1);
        for (bucket, count) in self.buckets() {
            left -= count;
            if left <= 0 {
                return Some(middle(bucket));
            }
        }
        None
    }
}

fn bucket(duration_us: i64) -> usize {
    let us = duration_us.clamp(0, Histogram::MOST_US);
    if us < PARTS {
        return us as usize;
    }
    let power = us.ilog2();
    let part = (us >> (power - PART_BITS)) & (PARTS - 1);
    ((power - PART_BITS + 1) as usize) * PARTS as usize + part as usize
}

/// The whole microsecond in the middle of a bucket.
fn middle(bucket: usize) -> i64 {
    let (row, part) = (bucket as i64 / PARTS, bucket as i64 % PARTS);
    if row == 0 {
        return part;
    }
    let width = 1 << (row - 1);
    (PARTS + part) * width + width / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nearest rank, by sorting.
    fn true_quantile(durations: &[i64], percent: i64) -> i64 {
        let mut sorted = durations.to_vec();
        sorted.sort_unstable();
        sorted[((sorted.len() as i64 * percent + 99) / 100).max(1) as usize - 1]
    }

    fn of(durations: &[i64]) -> Histogram {
        let mut histogram = Histogram::default();
        durations.iter().for_each(|us| histogram.add(*us, 1));
        histogram
    }

    fn error(us: i64) -> f64 {
        (middle(bucket(us)) - us).abs() as f64 / us as f64
    }

    #[test]
    fn no_duration_is_told_more_than_one_part_in_32_wrong() {
        let edges = (0..=42).flat_map(|power| {
            let parts = (0..=16).map(move |part| (1_i64 << power) + part * ((1_i64 << power) / 16).max(1));
            parts.flat_map(|us| [us - 1, us, us + 1])
        });
        let all = (1..200_000).chain(edges).filter(|us| (1..=Histogram::MOST_US).contains(us));
        let worst = all.map(error).fold(0.0, f64::max);
        assert!(worst <= Histogram::ERROR, "{worst}");
        assert!(worst > 0.031, "the bound that is told is not a loose one: {worst}");
        const { assert!(Histogram::ERROR <= 0.05) };
    }

    #[test]
    fn buckets_are_in_the_order_of_durations_and_short_ones_are_exact() {
        assert!((0..100_000).all(|us| bucket(us) <= bucket(us + 1) && bucket(us + 1) - bucket(us) <= 1));
        assert!((0..32).all(|us| middle(bucket(us)) == us));
    }

    #[test]
    fn quantiles_keep_the_bound_for_skewed_durations_of_many_sizes() {
        // Each 1.3 times the one before, repeated less and less often: three decades with a long tail.
        let durations: Vec<i64> = (0..40)
            .flat_map(|i| std::iter::repeat_n((700.0 * 1.3_f64.powi(i)) as i64, 120 - 2 * i as usize))
            .collect();
        let histogram = of(&durations);
        for percent in 1..=100 {
            let (told, truth) = (histogram.quantile(percent).unwrap(), true_quantile(&durations, percent));
            let wrong = (told - truth).abs() as f64 / truth as f64;
            assert!(wrong <= Histogram::ERROR, "p{percent}: {told} for {truth}");
        }
    }

    #[test]
    fn what_is_taken_away_leaves_no_trace() {
        let mut histogram = of(&[1, 50, 70_000, 9_000_000]);
        for us in [9_000_000, 1, 70_000] {
            histogram.add(us, -1);
        }
        assert_eq!(histogram, of(&[50]));
        histogram.add(50, -1);
        assert_eq!(histogram, Histogram::default());
        assert_eq!(histogram.quantile(50), None);
    }

    #[test]
    fn merged_is_counted_together() {
        let (mut a, b) = (of(&[3, 400]), of(&[400, 70_000]));
        a.merge(&b);
        assert_eq!(a, of(&[70_000, 400, 400, 3]));
        assert_eq!((a.total(), a.quantile(25), a.quantile(100)), (4, Some(3), Some(69_632 + 2_048)));
    }

    #[test]
    fn hostile_durations_have_a_place() {
        assert_eq!(bucket(i64::MIN), 0);
        assert_eq!(bucket(i64::MAX), bucket(Histogram::MOST_US));
        let mut histogram = Histogram::default();
        histogram.add_to_bucket(usize::MAX, 1);
        assert_eq!(histogram, Histogram::default());
    }
}
