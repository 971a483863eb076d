//! `calltrail calls`, `calltrail findings` and `calltrail rejects`: lists, for people as tables and for programs as lines.

use super::Place;
use super::ask::{Asked, CallQuestion, Next, Rows};
use super::filter::{AsOf, CallArgs, FindingArgs};
use super::paint::{Paint, emit};
use super::{phrase, table};
use crate::api::dto::{FindingRow, SourceFindingDto};
use crate::store::Order;
use anyhow::Result;
use clap::{Args, ValueEnum};
use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people, as wide as the terminal
    Table,
    /// One JSON object per line
    Ndjson,
    /// For spreadsheets, with a header line
    Csv,
    /// One JSON array
    Json,
}

#[derive(Debug, Clone, Args)]
pub struct Listing {
    /// How to print
    #[arg(long, value_name = "FORM", default_value = "table")]
    pub format: Format,
    /// At most this many, newest first; 0: all
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u64,
}

#[derive(Debug, Args)]
pub struct CallsArgs {
    #[command(flatten)]
    pub which: CallArgs,
    #[command(flatten)]
    pub as_of: AsOf,
    #[command(flatten)]
    pub listing: Listing,
}

#[derive(Debug, Args)]
pub struct FindingsArgs {
    #[command(flatten)]
    pub which: FindingArgs,
    #[command(flatten)]
    pub as_of: AsOf,
    #[command(flatten)]
    pub listing: Listing,
}

#[derive(Debug, Args)]
pub struct RejectsArgs {
    #[command(flatten)]
    pub listing: Listing,
}

/// Rows asked for at a time: what `/v1/calls` gives at most.
pub(super) const PAGE_ROWS: u64 = 500;

/// What a list gave, and whether there is more of it.
struct Listed<T> {
    rows: Vec<T>,
    more: bool,
    complete: bool,
}

/// Collects pages until the limit.
async fn collect<T, F>(limit: u64, page: F) -> Result<Listed<T>>
where
    F: AsyncFn(Option<&Next>, u32) -> Result<Rows<T>>,
{
    let limit = if limit == 0 { u64::MAX } else { limit };
    let (mut rows, mut at, mut complete) = (Vec::new(), None, true);
    loop {
        let wanted = (limit - rows.len() as u64).min(PAGE_ROWS);
        let found = page(at.as_ref(), wanted as u32).await?;
        rows.extend(found.rows);
        complete &= found.complete;
        at = found.next;
        if at.is_none() || rows.len() as u64 >= limit {
            return Ok(Listed { rows, more: at.is_some(), complete });
        }
    }
}

impl<T: Serialize> Listed<T> {
    /// Prints the rows, and to standard error what a reader of them must know.
    fn print(
        &self,
        listing: &Listing,
        noun: (&str, &str),
        as_table: impl Fn(&[T], Paint) -> String,
        as_csv: impl Fn(&[T]) -> Result<String>,
    ) -> Result<()> {
        let text = match listing.format {
            Format::Table if self.rows.is_empty() => format!("no {}\n", noun.1),
            Format::Table => as_table(&self.rows, Paint::of_stdout()),
            Format::Ndjson => ndjson(&self.rows)?,
            Format::Csv => as_csv(&self.rows)?,
            Format::Json => format!("{}\n", serde_json::to_string_pretty(&self.rows)?),
        };
        emit(&text)?;
        if self.more {
            let shown = phrase::count(self.rows.len() as u64, noun.0, noun.1);
            eprintln!("{shown} shown, newest first; there are more: raise --limit, or narrow the question");
        }
        if !self.complete {
            eprintln!("not everything that was accepted has been joined yet: ask again for the rest");
        }
        Ok(())
    }
}

/// One JSON object per line.
pub fn ndjson<T: Serialize>(rows: &[T]) -> Result<String> {
    let mut text = String::new();
    for row in rows {
        text.push_str(&serde_json::to_string(row)?);
        text.push('\n');
    }
    Ok(text)
}

pub async fn calls(args: CallsArgs, place: &Place) -> Result<()> {
    let asked = Asked::of(place).await?;
    let question = CallQuestion {
        filter: args.which.filter(),
        as_of: args.as_of.as_of,
        order: Order::NewestFirst,
        with_legs: false,
    };
    let listed = collect(args.listing.limit, async |at, n| asked.calls(&question, at, n).await).await?;
    listed.print(&args.listing, ("call", "calls"), table::calls, |rows| table::calls_csv(rows, true))
}

/// A finding on a call or on a source.
#[derive(Serialize)]
#[serde(untagged)]
enum AnyFinding {
    Source(SourceFindingDto),
    Call(Box<FindingRow>),
}

pub async fn findings(args: FindingsArgs, place: &Place) -> Result<()> {
    let asked = Asked::of(place).await?;
    let (filter, as_of) = (args.which.filter(), args.as_of.as_of);
    let page = async |at: Option<&Next>, n| asked.findings(&filter, as_of, at, n).await;
    let listed = collect(args.listing.limit, page).await?;
    let on_sources = asked.source_findings(&filter, as_of).await?;
    let rows = on_sources.into_iter().map(AnyFinding::Source);
    let rows = rows.chain(listed.rows.into_iter().map(|row| AnyFinding::Call(Box::new(row)))).collect();
    let listed = Listed { rows, more: listed.more, complete: listed.complete };
    listed.print(&args.listing, ("finding", "findings"), findings_table, findings_csv)
}

fn apart(rows: &[AnyFinding]) -> (Vec<SourceFindingDto>, Vec<FindingRow>) {
    let (mut on_sources, mut on_calls) = (Vec::new(), Vec::new());
    for row in rows {
        match row {
            AnyFinding::Source(finding) => on_sources.push(finding.clone()),
            AnyFinding::Call(finding) => on_calls.push(FindingRow::clone(finding)),
        }
    }
    (on_sources, on_calls)
}

/// Those on sources first, in a table of their own: they say what the others can be trusted for.
fn findings_table(rows: &[AnyFinding], paint: Paint) -> String {
    let (on_sources, on_calls) = apart(rows);
    let mut text = String::new();
    if !on_sources.is_empty() {
        text.push_str(&super::sources::findings_table(&on_sources, paint));
    }
    if !on_calls.is_empty() {
        text.push_str(&table::findings(&on_calls, paint));
    }
    text
}

fn findings_csv(rows: &[AnyFinding]) -> Result<String> {
    let (on_sources, on_calls) = apart(rows);
    table::findings_csv(&on_calls, &on_sources)
}

pub async fn rejects(args: RejectsArgs, place: &Place) -> Result<()> {
    let asked = Asked::of(place).await?;
    let limit =
        if args.listing.limit == 0 { u32::MAX } else { args.listing.limit.min(u32::MAX.into()) as u32 };
    let rows = asked.rejects(limit).await?;
    let more = rows.len() as u64 == u64::from(limit);
    let listed = Listed { rows, more, complete: true };
    listed.print(&args.listing, ("reject", "rejects"), table::rejects, table::rejects_csv)
}
