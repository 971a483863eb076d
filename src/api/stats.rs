//! `GET /v1/stats`: how many calls, how many failed, how much and how long, as series, from sums that are kept as calls are written. No
//! call is looked at, so that a month costs little more than an hour.

use super::Context;
use super::dto_stats::{PERCENTS, StatsPage};
use super::error::ApiError;
use super::params::{self, Params, quoted};
use crate::model::{Dimension, Removed, StatisticFilter, Step, Steps, Timestamp};
use crate::store::{StatisticScope, Store};
use axum::Json;
use axum::extract::{RawQuery, State};

/// Rows of one answer.
const MOST_ROWS: u32 = 20_000;
/// The period of a question that names none, up to now.
const DEFAULT_RANGE_US: i64 = 24 * 3_600_000_000;

/// A question about statistics, as it was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatsQuestion {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    pub filter: StatisticFilter,
    pub step: Option<Step>,
    /// Each once.
    pub by: Vec<Dimension>,
}

pub async fn list(
    State(context): State<Context>,
    RawQuery(query): RawQuery,
) -> Result<Json<StatsPage>, ApiError> {
    let question = asked(&Params::parse(query.as_deref(), params::STATS)?)?;
    let complete = context.complete().await?;
    answer(&context.store, &question, context.clock.now(), complete).await.map(Json)
}

/// The answer, for a server and for a command line that has the data itself.
pub async fn answer(
    store: &Store,
    question: &StatsQuestion,
    now: Timestamp,
    complete: bool,
) -> Result<StatsPage, ApiError> {
    let to = question.to.unwrap_or(now);
    let from = question.from.unwrap_or_else(|| to.plus_us(-DEFAULT_RANGE_US));
    let steps =
        Steps::cut(from, to, question.step).map_err(|error| ApiError::BadParameter(error.to_string()))?;
    let (filter, by) = (&question.filter, &question.by[..]);
    let scope = StatisticScope { steps, filter, by, percents: PERCENTS, most: MOST_ROWS };
    let rows = store.statistics(scope).await?;
    if rows.len() > MOST_ROWS as usize {
        let what = format!(
            "the answer has more than {MOST_ROWS} rows: choose a longer step, a shorter period, a filter or fewer dimensions"
        );
        return Err(ApiError::BadParameter(what));
    }
    let of_grain = |removed: &Removed| removed.class.grain_us() == Some(steps.grain_us);
    let removed = store.removed().await?.into_iter().find(of_grain);
    let removed_before = removed.map(|removed| removed.before.to_string());
    Ok(StatsPage { removed_before, ..StatsPage::new(steps, by, &rows, complete) })
}

fn asked(params: &Params) -> Result<StatsQuestion, ApiError> {
    let by = params.get("by").map(dimensions).transpose();
    Ok(StatsQuestion {
        from: params.typed("from")?,
        to: params.typed("to")?,
        filter: StatisticFilter {
            caller: params.text("caller"),
            callee: params.text("callee"),
            effect: params.typed("decision")?,
            status_class: params.typed("status_class")?,
        },
        step: params.typed("step")?,
        by: by.map_err(|what| ApiError::BadParameter(format!("by: {what}")))?.unwrap_or_default(),
    })
}

/// Words with commas between them.
fn dimensions(text: &str) -> Result<Vec<Dimension>, String> {
    let parse = |word: &str| word.parse::<Dimension>().map_err(|known| format!("{}: {known}", quoted(word)));
    let mut dimensions = text.split(',').map(parse).collect::<Result<Vec<_>, String>>()?;
    dimensions.sort_unstable();
    dimensions.dedup();
    Ok(dimensions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EffectClass, StatusClass};

    fn parsed(query: &str) -> Result<StatsQuestion, ApiError> {
        asked(&Params::parse(Some(query), params::STATS)?)
    }

    #[test]
    fn every_parameter_is_understood() {
        let query = "from=2026-11-24&to=2026-11-25&caller=web&callee=spiffe://td/ns/x/dc/y/svc/api&decision=none\
                     &status_class=5xx&step=1h&by=callee,caller,callee";
        let filter = StatisticFilter {
            caller: Some("web".to_owned()),
            callee: Some("spiffe://td/ns/x/dc/y/svc/api".to_owned()),
            effect: Some(EffectClass::None),
            status_class: Some(StatusClass::ServerError),
        };
        let expected = StatsQuestion {
            from: Some("2026-11-24".parse().unwrap()),
            to: Some("2026-11-25".parse().unwrap()),
            filter,
            step: Some(Step::Us(3_600_000_000)),
            by: vec![Dimension::Caller, Dimension::Callee],
        };
        assert_eq!(parsed(query), Ok(expected));
        assert_eq!(parsed("by=&step=&from="), Ok(StatsQuestion::default()));
    }

    #[test]
    fn each_mistake_says_what_to_write_instead() {
        for (query, hint) in [
            ("by=principal", "status_class"),
            ("by=caller,", "callee"),
            ("step=60", "5m"),
            ("status_class=500", "5xx"),
            ("decision=maybe", "none, allow, deny"),
            ("calee=api", "\"callee\""),
        ] {
            let error = parsed(query).unwrap_err().to_string();
            assert!(error.contains(hint), "{query}: {error}");
        }
    }
}
