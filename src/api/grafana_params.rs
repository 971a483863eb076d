//! What a dashboard sends: times and steps in epoch milliseconds, `*` for a variable that is set to "All".
//!
//! Every question has a time range, given or by default, and a bounded length: a dashboard asks again every few seconds.

use super::error::ApiError;
use super::params::{Params, quoted};
use crate::model::{CallFilter, FindingFilter, Timestamp};
use crate::store::CallGroup;

/// Which calls: what `/v1/calls` takes.
pub const CALLS: &[&str] =
    &["from", "to", "principal", "caller", "callee", "decision", "status", "finding", "basis", "trace"];
/// Which findings.
pub const FINDINGS: &[&str] = &["from", "to", "kind", "severity", "callee"];
pub const RANGE: &[&str] = &["from", "to"];

/// What a variable that is set to "All" sends.
pub const ANY: &str = "*";
const DEFAULT_RANGE_MS: i64 = 3_600_000;
const MAX_RANGE_DAYS: i64 = 31;
const DAY_MS: i64 = 86_400_000;
/// Steps of a series that says nothing else, and the most that any gets.
const DEFAULT_STEPS: i64 = 120;
const MAX_STEPS: i64 = 2_000;

/// Checked parameters of one request with its range `[from, to)`.
pub struct Asked {
    params: Params,
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Asked {
    /// Takes the parameters that choose, and those of the path's own.
    pub fn parse(
        query: Option<&str>,
        choosing: &[&str],
        own: &[&str],
        now: Timestamp,
    ) -> Result<Asked, ApiError> {
        let params = Params::parse(query, &[choosing, own].concat())?.without_value(ANY);
        let to_ms = milliseconds(&params, "to")?.unwrap_or_else(|| now.millis());
        let from_ms = milliseconds(&params, "from")?.unwrap_or_else(|| (to_ms - DEFAULT_RANGE_MS).max(0));
        if from_ms >= to_ms {
            return Err(ApiError::BadParameter(format!("from={from_ms} must be before to={to_ms}")));
        }
        if to_ms - from_ms > MAX_RANGE_DAYS * DAY_MS {
            let what =
                format!("from and to are more than {MAX_RANGE_DAYS} days apart: choose a shorter range");
            return Err(ApiError::BadParameter(what));
        }
        Ok(Asked { params, from: Timestamp::from_millis(from_ms), to: Timestamp::from_millis(to_ms) })
    }

    pub fn call_filter(&self) -> Result<CallFilter, ApiError> {
        self.params.call_filter_within(Some(self.from), Some(self.to))
    }

    pub fn finding_filter(&self) -> Result<FindingFilter, ApiError> {
        self.params.finding_filter_within(Some(self.from), Some(self.to))
    }

    pub fn limit(&self) -> Result<u32, ApiError> {
        self.params.limit()
    }

    /// One of the words in `known`.
    pub fn by(&self, known: &[(&str, CallGroup)]) -> Result<CallGroup, ApiError> {
        let words = || known.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        let Some(asked) = self.params.get("by") else {
            return Err(ApiError::BadParameter(format!("by is missing: write one of {}", words())));
        };
        known.iter().find(|(word, _)| *word == asked).map(|(_, by)| *by).ok_or_else(|| {
            ApiError::BadParameter(format!("by={}: expected one of {}", quoted(asked), words()))
        })
    }

    /// Length of a step. A step so short that the range would have too many is lengthened; the answer says how long it is.
    pub fn step_ms(&self) -> Result<i64, ApiError> {
        let by_default = (self.range_ms() / DEFAULT_STEPS).max(1);
        Ok(self.given_step_ms()?.unwrap_or(by_default))
    }

    /// The same, where none at all means something else.
    pub fn given_step_ms(&self) -> Result<Option<i64>, ApiError> {
        match self.params.typed::<i64>("step")? {
            None => Ok(None),
            Some(step_ms) if step_ms < 1 => {
                Err(ApiError::BadParameter("step is in milliseconds, at least 1".to_owned()))
            }
            Some(step_ms) => {
                let shortest = (self.range_ms() + MAX_STEPS - 1) / MAX_STEPS;
                Ok(Some(step_ms.min(MAX_RANGE_DAYS * DAY_MS).max(shortest)))
            }
        }
    }

    fn range_ms(&self) -> i64 {
        self.to.millis() - self.from.millis()
    }
}

fn milliseconds(params: &Params, name: &str) -> Result<Option<i64>, ApiError> {
    let Some(text) = params.get(name) else { return Ok(None) };
    let parsed = text.parse().ok().filter(|ms| (0..=Timestamp::MAX.millis()).contains(ms));
    parsed.map(Some).ok_or_else(|| {
        let what = format!(
            "{name}={}: expected milliseconds since 1970, as 1795485600000 (Grafana's ${{__{name}}})",
            quoted(text)
        );
        ApiError::BadParameter(what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_485_600_000_000);

    fn asked(query: &str) -> Result<Asked, ApiError> {
        Asked::parse(Some(query), CALLS, &["by", "step"], NOW)
    }

    #[test]
    fn without_a_range_it_is_the_last_hour() {
        let asked = asked("").unwrap();
        assert_eq!((asked.from, asked.to), (NOW.plus_us(-3_600_000_000), NOW));
        assert_eq!(asked.step_ms(), Ok(30_000));
    }

    #[test]
    fn all_filters_nothing() {
        let filter = asked("callee=*&principal=%2A&caller=web&decision=").unwrap().call_filter().unwrap();
        assert_eq!((filter.callee, filter.principal), (None, None));
        assert_eq!(filter.caller.as_deref(), Some("web"));
    }

    #[test]
    fn a_step_that_would_make_too_many_is_lengthened() {
        assert_eq!(asked("from=0&to=4000000&step=1").unwrap().step_ms(), Ok(2_000));
        assert_eq!(asked("from=0&to=100&step=60000").unwrap().step_ms(), Ok(60_000));
        assert_eq!(asked("from=0&to=1").unwrap().step_ms(), Ok(1));
    }

    #[test]
    fn each_mistake_says_what_to_write_instead() {
        for (query, hint) in [
            ("from=now-1h", "milliseconds since 1970"),
            ("from=-1", "milliseconds since 1970"),
            ("to=${__to}", "Grafana's ${__to}"),
            ("from=5&to=5", "before"),
            ("from=0&to=2678400001", "31 days"),
            ("calee=api", "\"callee\""),
        ] {
            let error = asked(query).err().expect(query).to_string();
            assert!(error.contains(hint), "{query}: {error}");
        }
        let error = asked("by=x").unwrap().by(&[("callee", CallGroup::Callee)]).unwrap_err();
        assert!(error.to_string().contains("callee"));
        assert!(asked("step=0").unwrap().step_ms().is_err());
        assert!(asked("step=1m").unwrap().step_ms().is_err());
    }
}
