//! How long what is kept: the classes of things that can be removed, and an operator's rules about them.
//!
//! It only says what may go at a time; the store removes it, and writes down that it did.

use super::identity::words;
use super::time::Timestamp;
use std::collections::BTreeMap;

const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;

/// What has a time of its own for which it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RetentionClass {
    /// The raw lines of deliveries. Their place in the tree stays.
    Evidence,
    /// Calls that belong to neither of the next two.
    Calls,
    /// Calls that were denied.
    Denied,
    /// Calls with a finding of at least [`ACCUSES`](super::Severity::ACCUSES).
    Findings,
    StatisticsMinute,
    StatisticsHour,
    StatisticsDay,
}
words!(RetentionClass {
    Evidence => "evidence", Calls => "calls", Denied => "denied", Findings => "findings",
    StatisticsMinute => "statistics_minute", StatisticsHour => "statistics_hour", StatisticsDay => "statistics_day",
});

impl RetentionClass {
    /// Of sums: how long the time is that one of them covers.
    pub fn grain_us(self) -> Option<i64> {
        match self {
            RetentionClass::StatisticsMinute => Some(MINUTE_US),
            RetentionClass::StatisticsHour => Some(HOUR_US),
            RetentionClass::StatisticsDay => Some(DAY_US),
            _ => None,
        }
    }

    pub fn is_of_calls(self) -> bool {
        matches!(self, RetentionClass::Calls | RetentionClass::Denied | RetentionClass::Findings)
    }
}

/// A class without a rule is kept for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRules {
    pub keep: BTreeMap<RetentionClass, Keep>,
    /// How often a server removes what may go.
    pub every_us: i64,
}

/// For how long a class is kept, and the rule as its author wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    pub us: i64,
    pub rule: String,
}

impl Default for RetentionRules {
    fn default() -> Self {
        RetentionRules { keep: BTreeMap::new(), every_us: HOUR_US }
    }
}

/// Up to when a class may go, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cutoff {
    pub before: Timestamp,
    pub rule: String,
}

/// What may go at a time, by class.
pub type Cutoffs = BTreeMap<RetentionClass, Cutoff>;

impl RetentionRules {
    pub fn cutoffs(&self, now: Timestamp) -> Cutoffs {
        let cutoff = |(class, keep): (&RetentionClass, &Keep)| {
            let before = now.micros().saturating_sub(keep.us);
            // A sum goes when all of its time may.
            let before = before - class.grain_us().map_or(0, |grain| before.rem_euclid(grain));
            (*class, Cutoff { before: Timestamp(before), rule: keep.rule.clone() })
        };
        self.keep.iter().map(cutoff).collect()
    }
}

/// How far a class has been removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    pub class: RetentionClass,
    /// What is older than this may be gone.
    pub before: Timestamp,
    /// Of evidence: the lines of this delivery and of all before it are gone.
    pub through_delivery: u64,
}

/// What was removed of a class by one rule on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    pub class: RetentionClass,
    pub rule: String,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub before: Timestamp,
    /// Deliveries, calls or sums.
    pub items: i64,
    /// Of deliveries.
    pub lines: i64,
    /// As they had been stored, without indexes.
    pub bytes: i64,
    /// First and last, of evidence.
    pub deliveries: Option<(u64, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_goes_only_when_all_of_its_time_may() {
        let keep = |us| Keep { us, rule: String::new() };
        let mut rules = RetentionRules::default();
        rules.keep.insert(RetentionClass::StatisticsHour, keep(HOUR_US));
        rules.keep.insert(RetentionClass::Calls, keep(HOUR_US));
        let cutoffs = rules.cutoffs(Timestamp(3 * HOUR_US + 5));
        assert_eq!(cutoffs[&RetentionClass::StatisticsHour].before, Timestamp(2 * HOUR_US));
        assert_eq!(cutoffs[&RetentionClass::Calls].before, Timestamp(2 * HOUR_US + 5));
        assert_eq!(cutoffs.get(&RetentionClass::Evidence), None, "without a rule nothing goes");
    }
}
