//! `GET /api/grafana/...`: what the bundled dashboards read, as flat rows for the Infinity data source.
//!
//! Each question has a time range and a bounded cost: at most [`COUNTED`] calls are walked, the newest ones, and the summary says
//! whether that was all. Nothing is answered here that `/v1` could not answer; only the form is Grafana's.

use super::Context;
use super::error::ApiError;
use super::grafana_params::{self as params, Asked};
use super::grafana_rows::{CallRow, DurationRow, FindingRow, PointRow, Rows, SummaryRow, TopRow, ValueRow};
use crate::model::{Basis, CallFilter, Effect, FindingKind, Severity, StatusClass, Timestamp};
use crate::store::{CallCount, CallGroup, CountScope, Order};
use crate::suggest::nearest;
use axum::Json;
use axum::extract::{Path, RawQuery, State};
use std::collections::{BTreeMap, HashSet};

/// Calls that one question walks at most: 0.2 to 0.9 s of work on SQLite (a debug build, a busy machine of two cores).
const COUNTED: u32 = 100_000;
/// Names in one chart; the rest becomes [`OTHERS`].
const MAX_LABELS: usize = 12;
const OTHERS: &str = "others";
/// Choices of one variable.
const MAX_VALUES: u32 = 1_000;
const PERCENTS: &[i64] = &[50, 95, 99];
/// A step that holds every time after 1970.
const ALL_TIME: i64 = i64::MAX;

const SERIES_BY: &[(&str, CallGroup)] = &[
    ("caller", CallGroup::Caller),
    ("callee", CallGroup::Callee),
    ("status_class", CallGroup::StatusClass),
    ("basis", CallGroup::Basis),
    ("effect", CallGroup::Effect),
];
const TOP_BY: &[(&str, CallGroup)] =
    &[("caller", CallGroup::Caller), ("callee", CallGroup::Callee), ("principal", CallGroup::Principal)];
const FIELDS: &[&str] =
    &["principal", "caller", "callee", "decision", "status", "basis", "finding", "severity"];

type Answer<T> = Result<Json<Rows<T>>, ApiError>;

/// The newest calls that match, one row each.
pub async fn calls(State(context): State<Context>, RawQuery(query): RawQuery) -> Answer<CallRow> {
    let now = context.clock.now();
    let asked = Asked::parse(query.as_deref(), params::CALLS, &["limit"], now)?;
    let (filter, limit) = (asked.call_filter()?, asked.limit()?);
    let page = context.store.calls(&filter, now, Order::NewestFirst, None, limit).await?;
    Ok(rows(&asked, page.rows.iter().map(|call| CallRow::new(call, now)).collect()))
}

/// Calls per step, a series per label.
pub async fn series(State(context): State<Context>, RawQuery(query): RawQuery) -> Answer<PointRow> {
    let now = context.clock.now();
    let asked = Asked::parse(query.as_deref(), params::CALLS, &["by", "step"], now)?;
    let (filter, by, step_ms) = (asked.call_filter()?, asked.by(SERIES_BY)?, asked.step_ms()?);
    let counts = context.store.call_counts(scope(&filter, now), by, step_ms * 1_000).await?;
    let Json(answer) = rows(&asked, points(counts));
    Ok(Json(Rows { step_ms: Some(step_ms), ..answer }))
}

/// How long calls took: quantiles per step, or, without a step, over the whole range.
pub async fn durations(State(context): State<Context>, RawQuery(query): RawQuery) -> Answer<DurationRow> {
    let now = context.clock.now();
    let asked = Asked::parse(query.as_deref(), params::CALLS, &["step"], now)?;
    let (filter, step_ms) = (asked.call_filter()?, asked.given_step_ms()?);
    let step_us = step_ms.map_or(ALL_TIME, |step_ms| step_ms * 1_000);
    let quantiles = context.store.durations(scope(&filter, now), step_us, PERCENTS).await?;
    let of_quantile = |q: &crate::store::Quantile| DurationRow {
        ts: step_ms.map_or(asked.from, |_| Timestamp(q.at_us)).millis(),
        label: format!("p{}", q.percent),
        duration_us: q.duration_us,
    };
    let Json(answer) = rows(&asked, quantiles.iter().map(of_quantile).collect());
    Ok(Json(Rows { step_ms, ..answer }))
}

/// One row about everything that matches. Findings are those on any call of the range: they are not filtered.
pub async fn summary(State(context): State<Context>, RawQuery(query): RawQuery) -> Answer<SummaryRow> {
    let now = context.clock.now();
    let asked = Asked::parse(query.as_deref(), params::CALLS, &[], now)?;
    let filter = asked.call_filter()?;
    let complete = context.complete().await?;
    let totals = context.store.call_totals(scope(&filter, now)).await?;
    let findings = context.store.finding_counts(asked.from, asked.to, now, COUNTED).await?;
    let found: i64 = findings.iter().map(|(_, count)| count).sum();
    let all_counted = totals.calls.max(found) < i64::from(COUNTED);
    let row = SummaryRow::new(&totals, &findings);
    Ok(rows(&asked, vec![SummaryRow { all_counted, complete, ..row }]))
}

/// Who calls, is called or is acted for most.
pub async fn top(State(context): State<Context>, RawQuery(query): RawQuery) -> Answer<TopRow> {
    let now = context.clock.now();
    let asked = Asked::parse(query.as_deref(), params::CALLS, &["by", "limit"], now)?;
    let (filter, by, limit) = (asked.call_filter()?, asked.by(TOP_BY)?, asked.limit()?);
    let groups = context.store.top(scope(&filter, now), by, limit).await?;
    let row = |g: crate::store::CallTotals| TopRow {
        label: g.label.unwrap_or_default(),
        calls: g.calls,
        failed: g.failed,
        denied: g.denied,
    };
    Ok(rows(&asked, groups.into_iter().map(row).collect()))
}

/// The newest findings that hold, with the call that each is on.
pub async fn findings(State(context): State<Context>, RawQuery(query): RawQuery) -> Answer<FindingRow> {
    let now = context.clock.now();
    let asked = Asked::parse(query.as_deref(), params::FINDINGS, &["limit"], now)?;
    let (filter, limit) = (asked.finding_filter()?, asked.limit()?);
    let page = context.store.findings(&filter, now, None, limit).await?;
    Ok(rows(&asked, page.rows.iter().map(Into::into).collect()))
}

/// What a filter can be set to: names that were seen in the range, or all words of a list.
pub async fn values(
    State(context): State<Context>,
    Path(field): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<ValueRow> {
    let asked = Asked::parse(query.as_deref(), params::RANGE, &[], context.clock.now())?;
    let values = match field.as_str() {
        "principal" => seen(&context, &asked, CallGroup::Principal).await?,
        "caller" => seen(&context, &asked, CallGroup::Caller).await?,
        "callee" => seen(&context, &asked, CallGroup::Callee).await?,
        "decision" => Effect::ALL.iter().map(|w| w.to_string()).collect(),
        "status" => StatusClass::ALL.iter().map(|w| w.to_string()).collect(),
        "basis" => Basis::ALL.iter().map(|w| w.to_string()).collect(),
        "finding" => FindingKind::ALL.iter().map(|w| w.to_string()).collect(),
        "severity" => Severity::ALL.iter().map(|w| w.to_string()).collect(),
        _ => return Err(unknown_field(&field)),
    };
    Ok(rows(&asked, values.into_iter().map(|value| ValueRow { value }).collect()))
}

async fn seen(context: &Context, asked: &Asked, by: CallGroup) -> Result<Vec<String>, ApiError> {
    let filter = asked.call_filter()?;
    let groups = context.store.top(scope(&filter, context.clock.now()), by, MAX_VALUES).await?;
    let mut names: Vec<String> = groups.into_iter().filter_map(|g| g.label).collect();
    names.sort();
    Ok(names)
}

fn unknown_field(field: &str) -> ApiError {
    let field: String = field.chars().take(80).collect();
    let near = nearest(&field, FIELDS.iter().copied()).unwrap_or_default();
    ApiError::NotFound(format!("{field:?} is no field; did you mean {near:?}? Known: {}", FIELDS.join(", ")))
}

fn scope(filter: &CallFilter, as_of: Timestamp) -> CountScope<'_> {
    CountScope { filter, as_of, at_most: COUNTED }
}

fn rows<T>(asked: &Asked, rows: Vec<T>) -> Json<Rows<T>> {
    Json(Rows { rows, from_ms: asked.from.millis(), to_ms: asked.to.millis(), step_ms: None })
}

/// In the order of time, which the data source needs. The names with the fewest calls are counted together.
fn points(counts: Vec<CallCount>) -> Vec<PointRow> {
    let label = |c: &CallCount| c.label.clone().unwrap_or_else(|| "not judged".to_owned());
    let mut totals: BTreeMap<String, i64> = BTreeMap::new();
    for count in &counts {
        *totals.entry(label(count)).or_default() += count.calls;
    }
    let mut by_calls: Vec<(String, i64)> = totals.into_iter().collect();
    by_calls.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let folded: HashSet<String> = by_calls.into_iter().skip(MAX_LABELS).map(|(name, _)| name).collect();
    let mut points: BTreeMap<(i64, String), i64> = BTreeMap::new();
    for count in &counts {
        let name =
            Some(label(count)).filter(|name| !folded.contains(name)).unwrap_or_else(|| OTHERS.to_owned());
        *points.entry((Timestamp(count.at_us).millis(), name)).or_default() += count.calls;
    }
    points.into_iter().map(|((ts, label), value)| PointRow { ts, label, value }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_series_are_counted_together_and_nothing_is_lost() {
        let count = |at_us, n: i64| CallCount { at_us, label: Some(format!("s{n:02}")), calls: n };
        let counts: Vec<CallCount> = (1..=14).map(|n| count(1_000, n)).chain([count(2_000, 1)]).collect();
        let points = points(counts);
        let at = |ts, label: &str| points.iter().find(|p| p.ts == ts && p.label == label).map(|p| p.value);
        // s01 has two calls in all, as many as s02: the two are the smallest.
        assert_eq!(at(1, OTHERS), Some(3));
        assert_eq!(at(2, OTHERS), Some(1));
        assert_eq!((at(1, "s03"), at(1, "s01")), (Some(3), None));
        assert_eq!(points.iter().map(|p| p.value).sum::<i64>(), 106);
    }
}
