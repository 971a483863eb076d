//! Statistics: what can be said of all calls of a minute that have the same caller, callee, decision and status class, without
//! looking at any of them.
//!
//! They are sums, so that a late line changes them by a difference; they never hold what cannot be taken away again (a maximum, a
//! newest call).

use super::call::{Call, Effect};
use super::histogram::Histogram;
use super::identity::{Assurance, Identity, IdentityKind, words};
use super::time::Timestamp;
use std::fmt;
use std::str::FromStr;

pub const MINUTE_US: i64 = 60_000_000;
pub const HOUR_US: i64 = 60 * MINUTE_US;
pub const DAY_US: i64 = 24 * HOUR_US;

/// What `Call::effect` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EffectClass {
    /// Nobody is known to have judged.
    None,
    Allow,
    Deny,
}
words!(EffectClass { None => "none", Allow => "allow", Deny => "deny" });

impl EffectClass {
    pub fn of(call: &Call) -> EffectClass {
        match call.effect() {
            None => EffectClass::None,
            Some(Effect::Allow) => EffectClass::Allow,
            Some(Effect::Deny) => EffectClass::Deny,
        }
    }
}

/// What `Outcome::status_class` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StatusClass {
    None,
    Informational,
    Successful,
    Redirection,
    ClientError,
    ServerError,
}
words!(StatusClass {
    None => "none", Informational => "1xx", Successful => "2xx", Redirection => "3xx", ClientError => "4xx", ServerError => "5xx",
});

impl StatusClass {
    pub fn of(call: &Call) -> StatusClass {
        call.outcome.status_class().parse().unwrap_or(StatusClass::None)
    }
}

/// A party as calls are counted by it: by its identity's key, and by the name that people use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CountedParty {
    pub key: String,
    pub name: String,
}

/// Users and addresses come and go without number, and a row for each would cost more than the calls themselves: they are counted
/// together, under these names.
pub const ALL_USERS: &str = "all users";
pub const ALL_ADDRESSES: &str = "all addresses";

impl CountedParty {
    pub fn of(identity: &Identity) -> CountedParty {
        match Self::crowd(identity) {
            Some(name) => CountedParty { key: format!("{}:{name}", identity.kind), name: name.to_owned() },
            None => CountedParty { key: identity.key(), name: identity.name.clone() },
        }
    }

    /// The name of the crowd that a party is one of.
    pub fn crowd(identity: &Identity) -> Option<&'static str> {
        match identity {
            Identity { kind: IdentityKind::User, .. } => Some(ALL_USERS),
            Identity { kind: IdentityKind::Unknown, assurance: Assurance::Address, .. } => {
                Some(ALL_ADDRESSES)
            }
            _ => None,
        }
    }
}

/// Which calls are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatisticKey {
    /// Start of the minute in which the calls started.
    pub minute: Timestamp,
    pub caller: CountedParty,
    pub callee: CountedParty,
    pub effect: EffectClass,
    pub status_class: StatusClass,
}

/// Sums over calls, or a difference to be added to such sums.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    pub calls: i64,
    /// See `Call::failed`.
    pub failed: i64,
    /// Of the calls of which they are known; of one call at most [`Figures::MOST_BYTES`].
    pub request_body_bytes: i64,
    pub response_body_bytes: i64,
    /// Of the calls whose duration is known, of one at most [`Histogram::MOST_US`].
    pub duration_sum_us: i64,
    /// How many took how long; those of unknown duration are not in it.
    pub durations: Histogram,
}

impl Figures {
    /// 4 TiB: so much in one call is an error of whoever wrote the line, and a sum of many such must stay a number.
    pub const MOST_BYTES: i64 = 1 << 42;

    pub fn merge(&mut self, other: &Figures) {
        let sums = [
            (&mut self.calls, other.calls),
            (&mut self.failed, other.failed),
            (&mut self.request_body_bytes, other.request_body_bytes),
            (&mut self.response_body_bytes, other.response_body_bytes),
            (&mut self.duration_sum_us, other.duration_sum_us),
        ];
        // Wrapping, so that what was added can always be taken away again.
        sums.into_iter().for_each(|(sum, n)| *sum = sum.wrapping_add(n));
        self.durations.merge(&other.durations);
    }

    pub fn are_nothing(&self) -> bool {
        *self == Figures::default()
    }
}

/// What changed in the statistics, each key once.
pub type StatisticDelta = (StatisticKey, Figures);

/// By what calls are told apart in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    Caller,
    Callee,
    Decision,
    StatusClass,
}
words!(Dimension {
    Caller => "caller", Callee => "callee", Decision => "decision", StatusClass => "status_class",
});

/// Which calls are counted. Every field that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatisticFilter {
    /// Short name or SPIFFE id.
    pub caller: Option<String>,
    pub callee: Option<String>,
    pub effect: Option<EffectClass>,
    pub status_class: Option<StatusClass>,
}

/// How long a step of a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Us(i64),
    /// As long as the whole period.
    All,
}

/// As it is read: in the largest unit that fits.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::All => f.write_str("all"),
            Step::Us(us) if us % DAY_US == 0 => write!(f, "{}d", us / DAY_US),
            Step::Us(us) if us % HOUR_US == 0 => write!(f, "{}h", us / HOUR_US),
            Step::Us(us) => write!(f, "{}m", us / MINUTE_US),
        }
    }
}

/// What is accepted where a person writes a step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a step: write whole minutes, hours or days, as 5m, 1h or 1d, or all for one step")]
pub struct ParseStepError(String);

impl FromStr for Step {
    type Err = ParseStepError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" {
            return Ok(Step::All);
        }
        let error = || ParseStepError(text.chars().take(80).collect());
        let unit_us = match text.chars().last() {
            Some('m') => MINUTE_US,
            Some('h') => HOUR_US,
            Some('d') => DAY_US,
            _ => return Err(error()),
        };
        let number: i64 = text[..text.len() - 1].parse().map_err(|_| error())?;
        number.checked_mul(unit_us).filter(|us| *us > 0).map(Step::Us).ok_or_else(error)
    }
}

/// A period cut into steps: both ends lie on whole steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    pub from: Timestamp,
    pub to: Timestamp,
    pub step_us: i64,
    /// The largest of minute, hour and day of which all steps are made.
    pub grain_us: i64,
}

/// Why a period cannot be cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepsError {
    #[error("from={from} must be before to={to}")]
    Backwards { from: Timestamp, to: Timestamp },
    #[error("from={from} to={to}: times must lie between the years 1 and 9999")]
    OutOfRange { from: Timestamp, to: Timestamp },
    #[error(
        "the period has {steps} steps of that length, and {MOST_STEPS} are the most: choose a longer step or a shorter period"
    )]
    TooMany { steps: i64 },
}

/// Steps of a series that says nothing else, at most.
const CHOSEN_STEPS: i64 = 200;
pub const MOST_STEPS: i64 = 2_000;
/// The steps that are chosen: what people read easily.
const LADDER_US: &[i64] = &[
    MINUTE_US,
    5 * MINUTE_US,
    15 * MINUTE_US,
    30 * MINUTE_US,
    HOUR_US,
    3 * HOUR_US,
    6 * HOUR_US,
    12 * HOUR_US,
    DAY_US,
];
/// Year 1.
const EARLIEST: Timestamp = Timestamp(-62_135_596_800_000_000);

impl Steps {
    /// Cuts a period, which is widened to whole steps. Steps begin at whole multiples of their length since 1970; a single one
    /// begins and ends at whole minutes, of more than two days at whole hours, of more than sixty at whole days.
    pub fn cut(from: Timestamp, to: Timestamp, step: Option<Step>) -> Result<Steps, StepsError> {
        if from >= to {
            return Err(StepsError::Backwards { from, to });
        }
        if from < EARLIEST || to > Timestamp::MAX {
            return Err(StepsError::OutOfRange { from, to });
        }
        let range_us = to.micros() - from.micros();
        let step_us = match step {
            Some(Step::Us(step_us)) => step_us,
            Some(Step::All) => {
                let grain_us = match range_us {
                    us if us > 60 * DAY_US => DAY_US,
                    us if us > 2 * DAY_US => HOUR_US,
                    _ => MINUTE_US,
                };
                let (from, to) = widened(from, to, grain_us);
                return Ok(Steps { from, to, step_us: to.micros() - from.micros(), grain_us });
            }
            None => {
                let enough = |us: &&i64| range_us <= **us * CHOSEN_STEPS;
                let days = (range_us / DAY_US + CHOSEN_STEPS) / CHOSEN_STEPS;
                LADDER_US.iter().find(enough).copied().unwrap_or(days * DAY_US)
            }
        };
        let grain_us = [DAY_US, HOUR_US].into_iter().find(|grain| step_us % grain == 0).unwrap_or(MINUTE_US);
        let (from, to) = widened(from, to, step_us);
        match (to.micros() - from.micros()) / step_us {
            steps if steps > MOST_STEPS => Err(StepsError::TooMany { steps }),
            _ => Ok(Steps { from, to, step_us, grain_us }),
        }
    }
}

/// To whole multiples of `unit_us` on both sides.
fn widened(from: Timestamp, to: Timestamp, unit_us: i64) -> (Timestamp, Timestamp) {
    let up = to.micros().saturating_neg().rem_euclid(unit_us);
    (from.plus_us(-from.micros().rem_euclid(unit_us)), to.plus_us(up))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn cut(from: &str, to: &str, step: &str) -> Result<Steps, StepsError> {
        let step = (!step.is_empty()).then(|| step.parse().unwrap());
        Steps::cut(at(from), at(to), step)
    }

    #[test]
    fn the_period_is_widened_to_whole_steps() {
        let steps = cut("2026-11-24T02:56:50Z", "2026-11-24T03:01:00.000001Z", "5m").unwrap();
        assert_eq!((steps.from, steps.to), (at("2026-11-24T02:55:00Z"), at("2026-11-24T03:05:00Z")));
        let whole = cut("2026-11-24T02:55:00Z", "2026-11-24T03:05:00Z", "5m").unwrap();
        assert_eq!(whole, steps, "whole steps stay as they are");
        assert_eq!(
            cut("1969-12-31T23:59:59Z", "1970-01-01T00:00:01Z", "1h").unwrap().from,
            Timestamp(-HOUR_US)
        );
    }

    #[test]
    fn steps_are_made_of_the_largest_grain_that_fits() {
        for (step, grain_us) in [
            ("1m", MINUTE_US),
            ("90m", MINUTE_US),
            ("120m", HOUR_US),
            ("6h", HOUR_US),
            ("24h", DAY_US),
            ("7d", DAY_US),
        ] {
            assert_eq!(cut("2026-11-24", "2026-11-25", step).unwrap().grain_us, grain_us, "{step}");
        }
        for (to, grain_us) in [("2026-01-02", MINUTE_US), ("2026-01-30", HOUR_US), ("2026-12-30", DAY_US)] {
            let all = cut("2026-01-01", to, "all").unwrap();
            assert_eq!((all.grain_us, all.to.plus_us(-all.step_us)), (grain_us, all.from), "{to}");
        }
    }

    #[test]
    fn without_a_step_one_is_chosen_that_can_be_read() {
        for (from, to, step_us) in [
            ("2026-11-24T02:56:50Z", "2026-11-24T02:56:51Z", MINUTE_US),
            ("2026-11-24", "2026-11-25", 15 * MINUTE_US),
            ("2026-10-25", "2026-11-24", 6 * HOUR_US),
            ("2026-01-01", "2026-12-01", 2 * DAY_US),
            ("0001-01-01", "9999-12-31", 18_261 * DAY_US),
        ] {
            assert_eq!(cut(from, to, "").unwrap().step_us, step_us, "{from} to {to}");
        }
    }

    #[test]
    fn each_mistake_says_what_to_write_instead() {
        for (from, to, step, hint) in [
            ("2026-11-25", "2026-11-24", "1m", "before"),
            ("2026-11-24", "2026-11-24", "1m", "before"),
            ("2026-11-24", "2026-11-26", "1m", "longer step"),
        ] {
            let error = cut(from, to, step).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
        assert!(Steps::cut(Timestamp(i64::MIN), Timestamp(i64::MAX), None).is_err());
        for text in ["", "m", "0m", "-1h", "60", "60s", "1.5h", "9223372036854775807d", "1µ"] {
            assert!(text.parse::<Step>().unwrap_err().to_string().contains("5m"), "{text}");
        }
        for text in ["all", "1m", "90m", "2h", "30d"] {
            assert_eq!(text.parse::<Step>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn status_classes_are_those_of_the_outcome() {
        let words: Vec<&str> = StatusClass::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(words, ["none", "1xx", "2xx", "3xx", "4xx", "5xx"]);
    }
}
