//! Questions about statistics: series and quantiles from sums that are stored, without a look at any call.
//!
//! It refuses to answer at a finer grain than the minute, and to give more rows than was asked for: whoever asks sees that there
//! were more and says so.

use super::error::inconsistent;
use super::party::Party;
use super::select::one_of;
use super::statement::{Bind, Stmt, Tx, stmt};
use super::statistics::{SumsRow, effect_code, level, status_code};
use super::{Db, Store, StoreError, bucket_text, dialect};
use crate::model::{CountedParty, Dimension, EffectClass, StatisticFilter, StatusClass, Steps, Timestamp};
use std::collections::HashMap;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct StatisticScope<'a> {
    pub steps: Steps,
    pub filter: &'a StatisticFilter,
    /// What is told apart; over everything else is summed.
    pub by: &'a [Dimension],
    /// Quantiles of the durations, from 1 to 100.
    pub percents: &'a [i64],
    /// Rows at most.
    pub most: u32,
}

/// Sums over the calls of one step and one value of each dimension that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatisticRow {
    /// Start of the step.
    pub at: Timestamp,
    pub caller: Option<CountedParty>,
    pub callee: Option<CountedParty>,
    pub effect: Option<EffectClass>,
    pub status_class: Option<StatusClass>,
    pub calls: i64,
    pub failed: i64,
    pub request_body_bytes: i64,
    pub response_body_bytes: i64,
    /// Calls whose duration is known, and the sum of their durations.
    pub timed: i64,
    pub duration_sum_us: i64,
    /// In the order asked for; within `Histogram::ERROR` of the true ones. `None` where no duration is known.
    pub quantiles_us: Vec<Option<i64>>,
}

impl Store {
    /// In the order of time, then of the dimensions. Steps and values without calls are not there. Of `most` + 1 rows the last
    /// only says that there are more.
    pub async fn statistics(&self, scope: StatisticScope<'_>) -> Result<Vec<StatisticRow>, StoreError> {
        let mut tx = self.snapshot().await?;
        let joined = match &self.db {
            Db::Sqlite { .. } => dialect::SQLITE_JOINED_DURATIONS,
            Db::Postgres(_) => dialect::POSTGRES_JOINED_DURATIONS,
        };
        let Some(select) = self.summed(&mut tx, &scope, joined).await? else { return Ok(Vec::new()) };
        let rows: Vec<SumsRow> = tx.rows(select).await?;
        let mut numbers: Vec<i64> = rows.iter().flat_map(|row| [row.caller, row.callee]).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let parties = self.parties_numbered(&mut tx, &numbers).await?;
        let rows = rows.into_iter().map(|row| told(row, &scope, &parties));
        let mut rows = rows.collect::<Result<Vec<_>, StoreError>>()?;
        rows.sort_unstable();
        Ok(rows)
    }

    /// `None` where nothing bears a name that is asked for.
    async fn summed(
        &self,
        tx: &mut Tx,
        scope: &StatisticScope<'_>,
        joined: &str,
    ) -> Result<Option<Stmt>, StoreError> {
        let StatisticScope { steps, filter, by, .. } = scope;
        let mut named = Vec::new();
        for (column, asked) in [("caller", &filter.caller), ("callee", &filter.callee)] {
            let Some(asked) = asked else { continue };
            match self.parties_called(tx, asked).await? {
                none if none.is_empty() => return Ok(None),
                numbers => named.push((column, numbers)),
            }
        }
        let by_caller = filter.caller.is_some() || by.contains(&Dimension::Caller);
        let by_callee = filter.callee.is_some() || by.contains(&Dimension::Callee);
        let level = level(steps.grain_us, by_caller, by_callee);
        let mut select = sums(*steps, by, joined);
        let binds = [level, steps.from.micros(), steps.to.micros()];
        select.push(" from statistic where level = ? and at_us >= ? and at_us < ?", binds.map(Bind::int));
        named.iter().for_each(|(column, numbers)| one_of(&mut select, column, Some(numbers)));
        if let Some(effect) = filter.effect {
            select.push(" and effect = ?", [Bind::int(effect_code(effect))]);
        }
        if let Some(class) = filter.status_class {
            select.push(" and status_class = ?", [Bind::int(status_code(class))]);
        }
        let most = i64::from(scope.most) + 1;
        let groups = groups(by);
        select.push(&format!(" group by {groups} order by {groups} limit ?"), [Bind::int(most)]);
        Ok(Some(select))
    }
}

/// The dimensions in the order of the table's key, with their columns.
const COLUMNS: [(Dimension, &str); 4] = [
    (Dimension::Caller, "caller"),
    (Dimension::Callee, "callee"),
    (Dimension::Decision, "effect"),
    (Dimension::StatusClass, "status_class"),
];

fn sums(steps: Steps, by: &[Dimension], joined: &str) -> Stmt {
    let mut select = stmt("select ");
    // Where a step is a grain, rows come in the order of the groups and need no sorting.
    match steps.step_us == steps.grain_us {
        true => select.push("at_us", []),
        false => {
            let binds = [steps.from.micros(), steps.step_us].map(Bind::int);
            select.push("at_us - (at_us - ?) % ?", binds);
        }
    }
    let dimensions = COLUMNS.map(|(dimension, column)| match by.contains(&dimension) {
        true => format!("{column} as {column}"),
        false => format!("cast(0 as bigint) as {column}"),
    });
    let sum = |column: &str| format!("cast(sum({column}) as bigint) as {column}");
    let sums = ["calls", "failed", "request_body_bytes", "response_body_bytes", "duration_sum_us"].map(sum);
    let (dimensions, sums) = (dimensions.join(", "), sums.join(", "));
    select.push(&format!(" as at_us, {dimensions}, {sums}, {joined} as durations"), []);
    select
}

/// The step and the dimensions that are asked for, by their place in the answer.
fn groups(by: &[Dimension]) -> String {
    let asked = (2..).zip(COLUMNS).filter(|(_, (dimension, _))| by.contains(dimension));
    asked.fold("1".to_owned(), |groups, (place, _)| format!("{groups}, {place}"))
}

fn told(
    row: SumsRow,
    scope: &StatisticScope<'_>,
    parties: &HashMap<i64, Party>,
) -> Result<StatisticRow, StoreError> {
    let asked = |dimension| scope.by.contains(&dimension);
    let party = |number: i64| {
        let Party { key, name } = parties
            .get(&number)
            .cloned()
            .ok_or_else(|| inconsistent("statistic", format!("party {number} is missing")))?;
        Ok::<_, StoreError>(CountedParty { key, name })
    };
    let durations = bucket_text::read(&row.durations)?;
    Ok(StatisticRow {
        at: Timestamp(row.at_us),
        caller: asked(Dimension::Caller).then(|| party(row.caller)).transpose()?,
        callee: asked(Dimension::Callee).then(|| party(row.callee)).transpose()?,
        effect: asked(Dimension::Decision).then(|| word(EffectClass::ALL, row.effect)).transpose()?,
        status_class: asked(Dimension::StatusClass)
            .then(|| word(StatusClass::ALL, row.status_class))
            .transpose()?,
        calls: row.calls,
        failed: row.failed,
        request_body_bytes: row.request_body_bytes,
        response_body_bytes: row.response_body_bytes,
        timed: durations.total(),
        duration_sum_us: row.duration_sum_us,
        quantiles_us: scope.percents.iter().map(|percent| durations.quantile(*percent)).collect(),
    })
}

fn word<T: Copy>(all: &[T], code: i64) -> Result<T, StoreError> {
    let word = usize::try_from(code).ok().and_then(|code| all.get(code).copied());
    word.ok_or_else(|| inconsistent("statistic", format!("{code} is no code of an effect or status class")))
}
