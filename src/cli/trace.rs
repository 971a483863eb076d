//! `calltrail trace ID`: the calls that one request set off, as a tree with identities, decisions and durations.

use super::Place;
use super::ask::Asked;
use super::calls::ndjson;
use super::filter::AsOf;
use super::paint::{Paint, emit};
use super::phrase;
use crate::api::dto::{CallDto, TraceDto, TraceRow};
use crate::api::lookup::MOST_CALLS;
use crate::model::TraceId;
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use std::fmt::Write;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TreeFormat {
    /// For people, in colour on a terminal
    Tree,
    /// One JSON object
    Json,
    /// One call per line, with its depth
    Ndjson,
}

#[derive(Debug, Args)]
pub struct TraceArgs {
    /// Trace id: 32 lower-case hexadecimal digits
    #[arg(value_parser = TraceId::parse)]
    pub id: TraceId,
    #[command(flatten)]
    pub as_of: AsOf,
    /// How to print
    #[arg(long, value_name = "FORM", default_value = "tree")]
    pub format: TreeFormat,
}

pub async fn run(args: TraceArgs, place: &Place) -> Result<()> {
    let asked = Asked::of(place).await?;
    let Some(trace) = asked.trace(&args.id, args.as_of.as_of).await? else {
        bail!("no call of trace {} is known; `calltrail calls` lists what is", args.id);
    };
    emit(&match args.format {
        TreeFormat::Tree => tree(&trace, Paint::of_stdout()),
        TreeFormat::Json => format!("{}\n", serde_json::to_string_pretty(&trace)?),
        TreeFormat::Ndjson => ndjson(&trace.calls)?,
    })?;
    if !trace.complete && trace.calls.len() >= MOST_CALLS as usize {
        eprintln!(
            "the trace has more calls than these: `calltrail export calls --trace {}` writes all",
            args.id
        );
    } else if !trace.complete {
        eprintln!("not everything that was accepted has been joined yet: ask again for the rest");
    }
    Ok(())
}

/// A line per call, drawn under the call that made it.
pub fn tree(trace: &TraceDto, paint: Paint) -> String {
    let mut text = paint.bold(&format!("trace {}", trace.trace_id));
    let _ = writeln!(text, "  {}", summary(trace));
    // Whether the branch at each depth goes on below the row that is drawn.
    let mut goes_on: Vec<bool> = Vec::new();
    for (i, row) in trace.calls.iter().enumerate() {
        let depth = row.depth as usize;
        goes_on.truncate(depth);
        goes_on.push(has_sibling_below(&trace.calls[i + 1..], row.depth));
        let mut branch = String::new();
        for on in &goes_on[..depth] {
            branch.push_str(if *on { "│  " } else { "   " });
        }
        branch.push_str(if goes_on[depth] { "├─ " } else { "└─ " });
        let _ = writeln!(text, "{}{}", paint.dim(&branch), line(&row.call, paint));
    }
    text
}

fn has_sibling_below(rest: &[TraceRow], depth: u32) -> bool {
    rest.iter().take_while(|row| row.depth >= depth).any(|row| row.depth == depth)
}

fn summary(trace: &TraceDto) -> String {
    let mut text = phrase::count(trace.calls.len() as u64, "call", "calls");
    if let Some(p) = trace.calls.iter().find_map(|row| row.call.principal.as_ref()) {
        let _ = write!(text, ", for {} {}", phrase::printable(&p.kind), phrase::printable(&p.subject));
    }
    text
}

fn line(call: &CallDto, paint: Paint) -> String {
    let mut parts = vec![paint.bold(&phrase::parties(call)), phrase::request(call)];
    let outcome = phrase::outcome(call);
    let failed = call.outcome.stopped_at.is_some() || call.outcome.status.is_some_and(|s| s >= 500);
    parts.push(if failed { paint.red(&outcome) } else { outcome });
    let decisions: Vec<String> = call.decisions.iter().map(|d| paint.effect(&phrase::decision(d))).collect();
    if !decisions.is_empty() {
        parts.push(decisions.join(", "));
    }
    parts.push(paint.dim(&phrase::basis(call)));
    parts.extend(call.findings.iter().map(|f| paint.severity(&f.severity, &format!("! {}", f.kind))));
    parts.join("  ")
}
