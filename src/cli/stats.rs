//! `calltrail stats`: how many calls, how many failed, how much and how long, in steps of time or over all of it.

use super::Place;
use super::ask::Asked;
use super::paint::{Paint, emit};
use super::{phrase, table};
use crate::api::dto_stats::{StatsPage, StatsRow};
use crate::api::stats::StatsQuestion;
use crate::model::{Dimension, EffectClass, StatisticFilter, StatusClass, Step, Timestamp};
use anyhow::Result;
use clap::{Args, ValueEnum};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatsFormat {
    /// For people
    Table,
    /// For spreadsheets
    Csv,
    /// One JSON object, as `/v1/stats` gives it
    Json,
}

#[derive(Debug, Args)]
pub struct StatsArgs {
    /// Calls that started at or after: 2026-11-24T02:56:50Z or 2026-11-24 [default: 24 hours before --to]
    #[arg(long, value_name = "TIME")]
    pub from: Option<Timestamp>,
    /// Calls that started before [default: now]
    #[arg(long, value_name = "TIME")]
    pub to: Option<Timestamp>,
    /// How long a step is: 5m, 1h, 1d; all for one over the whole period [default: 200 steps at most]
    #[arg(long, value_name = "STEP")]
    pub step: Option<Step>,
    /// What to tell apart: caller, callee, decision, status_class, with commas between
    #[arg(long, value_name = "DIMENSIONS", value_delimiter = ',')]
    pub by: Vec<Dimension>,
    /// Made by this service: short name or SPIFFE id
    #[arg(long, value_name = "NAME")]
    pub caller: Option<String>,
    /// Made to this service: short name or SPIFFE id
    #[arg(long, value_name = "NAME")]
    pub callee: Option<String>,
    /// Allowed, denied or not judged: allow, deny, none
    #[arg(long, value_name = "EFFECT")]
    pub decision: Option<EffectClass>,
    /// Answered so: 1xx to 5xx, or none
    #[arg(long, value_name = "CLASS")]
    pub status_class: Option<StatusClass>,
    /// How to print
    #[arg(long, value_name = "FORM", default_value = "table")]
    pub format: StatsFormat,
}

pub async fn run(args: StatsArgs, place: &Place) -> Result<()> {
    let format = args.format;
    let page = Asked::of(place).await?.stats(&question(args)).await?;
    emit(&match format {
        StatsFormat::Json => format!("{}\n", serde_json::to_string_pretty(&page)?),
        StatsFormat::Csv => table::stats_csv(&page.rows)?,
        StatsFormat::Table if page.rows.is_empty() => {
            let (from, to) = (phrase::when(&page.from), phrase::when(&page.to));
            format!(
                "no calls that match from {from} to {to} (UTC): choose another period with --from and --to\n"
            )
        }
        StatsFormat::Table => rendered(&page, Paint::of_stdout()),
    })?;
    if !page.complete {
        eprintln!("not everything that was accepted has been joined yet: ask again for the rest");
    }
    Ok(())
}

fn question(args: StatsArgs) -> StatsQuestion {
    let mut by = args.by;
    by.sort_unstable();
    by.dedup();
    StatsQuestion {
        from: args.from,
        to: args.to,
        filter: StatisticFilter {
            caller: args.caller,
            callee: args.callee,
            effect: args.decision,
            status_class: args.status_class,
        },
        step: args.step,
        by,
    }
}

fn rendered(page: &StatsPage, paint: Paint) -> String {
    let mut header = vec!["from (UTC)"];
    header.extend(page.by.iter().map(|dimension| match dimension.as_str() {
        "status_class" => "status",
        other => other,
    }));
    header.extend(["calls", "failed", "p50", "p95", "p99", "sent", "answered"]);
    table::plain(&header, page.rows.iter().map(cells).collect(), paint)
}

fn cells(row: &StatsRow) -> Vec<String> {
    let mut cells = vec![row.at.chars().take(16).collect::<String>().replace('T', " ")];
    let dimensions = [&row.caller, &row.callee, &row.decision, &row.status_class];
    cells.extend(dimensions.into_iter().flatten().map(|text| phrase::printable(text)));
    let share = match row.failed {
        0 => "0".to_owned(),
        failed => format!("{failed} ({:.1} %)", failed as f64 * 100.0 / row.calls as f64),
    };
    cells.extend([row.calls.to_string(), share]);
    let quantiles = [row.p50_us, row.p95_us, row.p99_us];
    cells.extend(quantiles.map(|us| us.map_or_else(String::new, phrase::duration)));
    cells.extend([row.request_body_bytes, row.response_body_bytes].map(bytes));
    cells
}

/// `812 B`, `12.3 kB`, `1.2 GB`.
fn bytes(n: i64) -> String {
    match n {
        ..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.1} GB", n as f64 / 1e9),
    }
}
