//! Statistics as JSON: flat rows, so that spreadsheets, data frames and dashboards read them as they are. As in
//! [`dto`](super::dto), fields are added, never renamed, and nothing is decided.

use crate::model::{Assurance, CountedParty, Dimension, Histogram, Identity, Steps};
use crate::store::StatisticRow;
use serde::{Deserialize, Serialize};

/// The quantiles that each row tells.
pub const PERCENTS: &[i64] = &[50, 95, 99];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatsPage {
    /// The period that the rows cover: the one asked for, widened to whole steps.
    pub from: String,
    pub to: String,
    pub step_us: i64,
    /// What is told apart.
    pub by: Vec<String>,
    /// By time, then by the dimensions. Steps without calls are not there.
    pub rows: Vec<StatsRow>,
    /// Quantiles are at most this part away from the true ones.
    pub quantile_error: f64,
    /// Sums of steps before this time may have been removed; coarser ones may be there still. `null` when none ever was.
    pub removed_before: Option<String>,
    pub complete: bool,
}

/// Sums over the calls of one step and one value of each dimension; a dimension that is not told apart is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatsRow {
    /// Start of the step.
    pub at: String,
    pub at_us: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_spiffe_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callee: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callee_kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callee_spiffe_id: Option<String>,
    /// `allow`, `deny`, or `none` where nobody is known to have judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_class: Option<String>,
    pub calls: i64,
    pub failed: i64,
    pub request_body_bytes: i64,
    pub response_body_bytes: i64,
    /// Calls whose duration is known, and the sum of their durations.
    pub timed: i64,
    pub duration_sum_us: i64,
    pub p50_us: Option<i64>,
    pub p95_us: Option<i64>,
    pub p99_us: Option<i64>,
}

impl StatsPage {
    pub fn new(steps: Steps, by: &[Dimension], rows: &[StatisticRow], complete: bool) -> StatsPage {
        StatsPage {
            from: steps.from.to_string(),
            to: steps.to.to_string(),
            step_us: steps.step_us,
            by: by.iter().map(|dimension| dimension.to_string()).collect(),
            rows: rows.iter().map(Into::into).collect(),
            quantile_error: Histogram::ERROR,
            removed_before: None,
            complete,
        }
    }
}

impl From<&StatisticRow> for StatsRow {
    fn from(row: &StatisticRow) -> Self {
        let quantile = |nth: usize| row.quantiles_us.get(nth).copied().flatten();
        let [caller, caller_kind, caller_spiffe_id] = party(row.caller.as_ref());
        let [callee, callee_kind, callee_spiffe_id] = party(row.callee.as_ref());
        StatsRow {
            at: row.at.to_string(),
            at_us: row.at.micros(),
            caller,
            caller_kind,
            caller_spiffe_id,
            callee,
            callee_kind,
            callee_spiffe_id,
            decision: row.effect.map(|effect| effect.to_string()),
            status_class: row.status_class.map(|class| class.to_string()),
            calls: row.calls,
            failed: row.failed,
            request_body_bytes: row.request_body_bytes,
            response_body_bytes: row.response_body_bytes,
            timed: row.timed,
            duration_sum_us: row.duration_sum_us,
            p50_us: quantile(0),
            p95_us: quantile(1),
            p99_us: quantile(2),
        }
    }
}

/// Name, kind, SPIFFE id.
fn party(counted: Option<&CountedParty>) -> [Option<String>; 3] {
    let Some(CountedParty { key, name }) = counted else { return [None, None, None] };
    let identity = Identity::of_key(key, Assurance::None);
    let kind = identity.as_ref().map(|identity| identity.kind.to_string());
    let spiffe_id = identity.and_then(|identity| identity.spiffe_id).map(|id| id.as_str().to_owned());
    [Some(name.clone()), kind, spiffe_id]
}
