//! Counts and quantiles over the calls of a time range, for dashboards.
//!
//! There are no aggregates on disk: each question walks the calls that match, newest first, and never more than it was told to,
//! so that a dashboard over a busy month costs no more than one over a busy hour. Whoever asks learns how many were counted and
//! says so. It refuses to decide how a chart looks: folding, names of gaps and units are the API's.

use super::packed_leg::Code;
use super::places::buckets_between;
use super::select::{self, HOLDS, Named};
use super::statement::{Bind, Stmt, Tx, stmt};
use super::statistics::status_code;
use super::{Store, StoreError};
use crate::model::{Basis, CallFilter, Effect, Severity, Timestamp};

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
    /// How a counted call (`c`) is labelled, and with which table's help.
    fn label(self) -> (String, &'static str) {
        let digits = "case c.status_class when 0 then 'none' else cast(c.status_class as text) || 'xx' end";
        match self {
            CallGroup::Caller => ("p.name".to_owned(), " join party p on p.id = c.caller"),
            CallGroup::Callee => ("p.name".to_owned(), " join party p on p.id = c.callee"),
            CallGroup::Principal => ("p.name".to_owned(), " left join party p on p.id = c.principal"),
            CallGroup::StatusClass => (digits.to_owned(), ""),
            CallGroup::Basis => (words("c.basis", Basis::ALL.iter().map(|b| (b.code(), b.as_str()))), ""),
            CallGroup::Effect => (words("c.effect", Effect::ALL.iter().map(|e| (e.code(), e.as_str()))), ""),
        }
    }
}

/// A small number as its word.
fn words(column: &str, words: impl Iterator<Item = (u8, &'static str)>) -> String {
    let mut text = format!("case {column}");
    for (code, word) in words {
        text.push_str(&format!(" when {code} then '{word}'"));
    }
    text + " end"
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
     cast(coalesce(sum(case when counted.effect = 1 then 1 else 0 end), 0) as bigint) as denied, \
     cast(coalesce(sum(case when counted.basis = 0 then 1 else 0 end), 0) as bigint) as proven, \
     cast(coalesce(sum(case when counted.basis = 1 then 1 else 0 end), 0) as bigint) as keyed";

impl Store {
    /// By step and label. Steps without calls are not there.
    pub async fn call_counts(
        &self,
        scope: CountScope<'_>,
        by: CallGroup,
        step_us: i64,
    ) -> Result<Vec<CallCount>, StoreError> {
        let head = "select counted.start_us - counted.start_us % ? as at_us, counted.label as label, count(*) as calls";
        let tail = (" group by 1, 2 order by 1, 2 nulls last", Vec::new());
        self.counted(stmt(head).int(step_us), scope, Some(by), tail).await
    }

    /// Of everything that matches; `label` is empty.
    pub async fn call_totals(&self, scope: CountScope<'_>) -> Result<CallTotals, StoreError> {
        let head = format!("select cast(null as text) as label, {SUMS}");
        let rows = self.counted(stmt(head), scope, None, ("", Vec::new())).await?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }

    /// The groups with the most calls; without those that have no label.
    pub async fn top(
        &self,
        scope: CountScope<'_>,
        by: CallGroup,
        limit: u32,
    ) -> Result<Vec<CallTotals>, StoreError> {
        let head = stmt(format!("select counted.label as label, {SUMS}"));
        let tail = " where counted.label is not null group by 1 order by 2 desc, 1 limit ?";
        self.counted(head, scope, Some(by), (tail, vec![Bind::int(limit.into())])).await
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
        let places = " or place = (calls * ? + 99) / 100".repeat(percents.len());
        let tail = format!(
            " where counted.duration_us is not null) timed) ranked where 1 = 0{places} order by at_us, place"
        );
        let tail = (tail.as_str(), percents.iter().copied().map(Bind::int).collect());
        let rows: Vec<(i64, i64, i64, i64)> =
            self.counted(stmt(head).int(step_us), scope, None, tail).await?;
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
        let rows: Vec<(i64, i64)> = self.rows(select).await?;
        rows.into_iter().map(|(code, count)| Ok((Severity::from_code(code as u8)?, count))).collect()
    }

    /// `... from (the newest calls that match) counted ...`.
    async fn counted<T: super::statement::Row>(
        &self,
        mut select: Stmt,
        scope: CountScope<'_>,
        by: Option<CallGroup>,
        (tail, binds): (&str, Vec<Bind>),
    ) -> Result<Vec<T>, StoreError> {
        let mut tx: Tx = self.snapshot().await?;
        let named = self.named(&mut tx, scope.filter).await?;
        newest(&mut select, scope, &named, by);
        select.push(tail, binds);
        tx.rows(select).await
    }
}

/// Most numbers of calls in one list: what one statement takes at most.
const MOST_NUMBERS: usize = 16_384;

fn newest(select: &mut Stmt, scope: CountScope<'_>, named: &Named, by: Option<CallGroup>) {
    let CountScope { filter, as_of, at_most } = scope;
    let (label, join) = by.map_or(("null".to_owned(), ""), CallGroup::label);
    let from = format!(
        " from (select c.start_us, {label} as label, c.basis, c.effect, c.failed, c.duration_us from call c{join} where 1 = 1"
    );
    select.push(&from, []);
    select::times(select, "c.start_us", filter.from, filter.to);
    select::call_clauses(select, filter, named);
    if named.callers.is_some() || named.principals.is_some() {
        select.push(" and c.bucket in ", []);
        buckets_between(select, filter.from, filter.to);
    }
    if named.callees.is_some() {
        // One or all of them, so that the index gives those of the time.
        let classes = filter.status.map_or_else(|| (0..=5).collect(), |class| vec![status_code(class)]);
        select::one_of(select, "c.status_class", Some(&classes));
    }
    let calls = named.calls.as_ref().map(|calls| &calls[calls.len().saturating_sub(MOST_NUMBERS)..]);
    select::one_of(select, "c.number", calls);
    if let Some(kind) = filter.finding {
        let accused = " and c.number in (select f.number from finding f where f.kind = ?";
        select.push(accused, [Bind::int(kind.code().into())]);
        select::times(select, "f.start_us", filter.from, filter.to);
        select.push(&format!(" and {HOLDS})"), [Bind::int(as_of.micros())]);
    }
    select.push(" order by c.start_us desc, c.id desc limit ?) counted", [Bind::int(at_most.into())]);
}
