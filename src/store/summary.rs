//! Counts and quantiles over the calls of a time range, for dashboards.
//!
//! There are no aggregates on disk: each question walks the calls that match, newest first, and never more than it was told to,
//! so that a dashboard over a busy month costs no more than one over a busy hour. Whoever asks learns how many were counted and
//! says so. It refuses to decide how a chart looks: folding, names of gaps and units are the API's.

use super::select::{self, HOLDS};
use super::statement::{Bind, Stmt, stmt};
use super::{Store, StoreError};
use crate::model::{CallFilter, Severity, Timestamp};

/// What is counted, and the bound of the work.
#[derive(Debug, Clone, Copy)]
pub struct CountScope<'a> {
    pub filter: &'a CallFilter,
    pub as_of: Timestamp,
    /// Of the calls that match, only this many of the newest.
    pub at_most: u32,
}

/// By what calls are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallGroup {
    /// By short name, as in the filters.
    Caller,
    Callee,
    /// By subject; calls without one have no label.
    Principal,
    StatusClass,
    Basis,
    /// `allow`, `deny`, or no label where nobody is known to have judged.
    Effect,
}

impl CallGroup {
    fn column(self) -> &'static str {
        match self {
            CallGroup::Caller => "caller_name",
            CallGroup::Callee => "callee_name",
            CallGroup::Principal => "principal_subject",
            CallGroup::StatusClass => "status_class",
            CallGroup::Basis => "basis",
            CallGroup::Effect => "effect",
        }
    }
}

/// Calls of one group that started within one step.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct CallCount {
    /// Start of the step, a whole multiple of its length since the epoch.
    pub at_us: i64,
    pub label: Option<String>,
    pub calls: i64,
}

/// Calls of one group, or of all.
#[derive(Debug, Clone, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct CallTotals {
    pub label: Option<String>,
    pub calls: i64,
    /// See `Call::failed`.
    pub failed: i64,
    pub denied: i64,
    pub proven: i64,
    pub keyed: i64,
}

/// The duration that a share of the calls of a step did not exceed: one that a call really took (nearest rank).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantile {
    pub at_us: i64,
    pub percent: i64,
    pub duration_us: i64,
}

const SUMS: &str = "count(*) as calls, cast(coalesce(sum(counted.failed), 0) as bigint) as failed, \
     cast(coalesce(sum(case when counted.effect = 'deny' then 1 else 0 end), 0) as bigint) as denied, \
     cast(coalesce(sum(case when counted.basis = 'proven' then 1 else 0 end), 0) as bigint) as proven, \
     cast(coalesce(sum(case when counted.basis = 'keyed' then 1 else 0 end), 0) as bigint) as keyed";

impl Store {
    /// By step and label. Steps without calls are not there.
    pub async fn call_counts(
        &self,
        scope: CountScope<'_>,
        by: CallGroup,
        step_us: i64,
    ) -> Result<Vec<CallCount>, StoreError> {
        let head = format!(
            "select counted.start_us - counted.start_us % ? as at_us, counted.{} as label, count(*) as calls",
            by.column()
        );
        let mut select = counted(stmt(head).int(step_us), scope);
        select.push(" group by 1, 2 order by 1, 2 nulls last", []);
        self.rows(select).await
    }

    /// Of everything that matches; `label` is empty.
    pub async fn call_totals(&self, scope: CountScope<'_>) -> Result<CallTotals, StoreError> {
        let head = format!("select cast(null as text) as label, {SUMS}");
        Ok(self.row(counted(stmt(head), scope)).await?.unwrap_or_default())
    }

    /// The groups with the most calls; without those that have no label.
    pub async fn top(
        &self,
        scope: CountScope<'_>,
        by: CallGroup,
        limit: u32,
    ) -> Result<Vec<CallTotals>, StoreError> {
        let column = by.column();
        let mut select = counted(stmt(format!("select counted.{column} as label, {SUMS}")), scope);
        let tail = format!(" where counted.{column} is not null group by 1 order by 2 desc, 1 limit ?");
        select.push(&tail, [Bind::int(limit.into())]);
        self.rows(select).await
    }

    /// For each step that has calls with a known duration, in the order asked for.
    pub async fn durations(
        &self,
        scope: CountScope<'_>,
        step_us: i64,
        percents: &[i64],
    ) -> Result<Vec<Quantile>, StoreError> {
        let head = "select at_us, duration_us, place, calls from (select at_us, duration_us, \
             row_number() over (partition by at_us order by duration_us) as place, \
             count(*) over (partition by at_us) as calls from (\
             select counted.start_us - counted.start_us % ? as at_us, counted.duration_us as duration_us";
        let mut select = counted(stmt(head).int(step_us), scope);
        select.push(" where counted.duration_us is not null) timed) ranked where 1 = 0", []);
        for percent in percents {
            select.push(" or place = (calls * ? + 99) / 100", [Bind::int(*percent)]);
        }
        select.push(" order by at_us, place", []);
        let rows: Vec<(i64, i64, i64, i64)> = self.rows(select).await?;
        let of_row = |(at_us, duration_us, place, calls): (i64, i64, i64, i64)| {
            let asked = percents.iter().filter(move |percent| place == (calls * **percent + 99) / 100);
            asked.map(move |percent| Quantile { at_us, percent: *percent, duration_us })
        };
        Ok(rows.into_iter().flat_map(of_row).collect())
    }

    /// Findings that hold on calls that started in the range, each severity once, those without any left out.
    pub async fn finding_counts(
        &self,
        from: Timestamp,
        to: Timestamp,
        as_of: Timestamp,
        at_most: u32,
    ) -> Result<Vec<(Severity, i64)>, StoreError> {
        let mut select = stmt(
            "select counted.severity, count(*) from (select f.severity as severity from finding f where ",
        );
        select.push(HOLDS, [Bind::int(as_of.micros())]);
        select::times(&mut select, "f.start_us", Some(from), Some(to));
        select.push(" order by f.start_us desc, f.call_id desc limit ?", [Bind::int(at_most.into())]);
        select.push(") counted group by 1", []);
        let rows: Vec<(String, i64)> = self.rows(select).await?;
        let parse = |(severity, count): (String, i64)| {
            let severity = severity.parse().map_err(|error| super::error::inconsistent("finding", error))?;
            Ok((severity, count))
        };
        rows.into_iter().map(parse).collect()
    }
}

/// `... from (the newest calls that match) counted`.
fn counted(mut select: Stmt, scope: CountScope<'_>) -> Stmt {
    let CountScope { filter, as_of, at_most } = scope;
    let from = " from (select c.start_us, c.caller_name, c.callee_name, c.principal_subject, c.status_class, c.basis, \
                c.effect, c.failed, c.duration_us from call c where 1 = 1";
    select.push(from, []);
    select::times(&mut select, "c.start_us", filter.from, filter.to);
    select::call_clauses(&mut select, filter);
    if let Some(kind) = filter.finding {
        let accused = " and c.id in (select f.call_id from finding f where f.kind = ?";
        select.push(accused, [Bind::text(kind.as_str())]);
        select::times(&mut select, "f.start_us", filter.from, filter.to);
        select.push(&format!(" and {HOLDS})"), [Bind::int(as_of.micros())]);
    }
    let newest = " order by c.start_us desc, c.id desc limit ?) counted";
    select.push(newest, [Bind::int(at_most.into())]);
    select
}
