//! `calltrail sources`: who sends, how much, how completely, and what is wrong with that.

use super::Place;
use super::ask::Asked;
use super::filter::AsOf;
use super::paint::{Paint, emit};
use super::{phrase, table};
use crate::api::dto::{ReporterDto, ShareDto, SourceFindingDto, SourcesPage};
use anyhow::Result;
use clap::{Args, ValueEnum};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SourcesFormat {
    /// For people
    Table,
    /// One JSON object, as `/v1/sources` gives it
    Json,
}

#[derive(Debug, Args)]
pub struct SourcesArgs {
    #[command(flatten)]
    pub as_of: AsOf,
    /// How to print
    #[arg(long, value_name = "FORM", default_value = "table")]
    pub format: SourcesFormat,
}

pub async fn run(args: SourcesArgs, place: &Place) -> Result<()> {
    let page = Asked::of(place).await?.sources(args.as_of.as_of).await?;
    emit(&match args.format {
        SourcesFormat::Json => format!("{}\n", serde_json::to_string_pretty(&page)?),
        SourcesFormat::Table if page.sources.is_empty() => "no sources\n".to_owned(),
        SourcesFormat::Table => tables(&page, Paint::of_stdout()),
    })?;
    if !page.complete {
        eprintln!("not everything that was accepted has been joined yet: ask again for the rest");
    }
    Ok(())
}

fn tables(page: &SourcesPage, paint: Paint) -> String {
    let sources = page.sources.iter().map(|s| {
        let counts = [s.deliveries, s.lines, s.rejects].map(|n| n.to_string());
        let times = [phrase::when(&s.first_received), phrase::when(&s.last_received)];
        std::iter::once(s.name.clone()).chain(counts).chain(times).collect()
    });
    let header = ["source", "deliveries", "lines", "rejects", "first received (UTC)", "last received (UTC)"];
    let mut text = table::plain(&header, sources.collect(), paint);
    let of_source = |s: &crate::api::dto::SourceDto| {
        let name = s.name.clone();
        s.observers.iter().map(move |o| observer(&name, o)).collect::<Vec<_>>()
    };
    let observers: Vec<Vec<String>> = page.sources.iter().flat_map(of_source).collect();
    let header = [
        "source",
        "observer",
        "kind",
        "legs",
        "last received (UTC)",
        "reported of calls to it",
        "from it",
        "format lacks",
    ];
    text.push('\n');
    text.push_str(&table::plain(&header, observers, paint));
    text.push('\n');
    match page.findings.is_empty() {
        true => text.push_str("no findings on sources\n"),
        false => text.push_str(&findings_table(&page.findings, paint)),
    }
    text
}

fn observer(source: &str, o: &ReporterDto) -> Vec<String> {
    let share = |share: Option<&ShareDto>| {
        share.map_or_else(String::new, |s| {
            let percent = |share: f64| format!("{:.1}", share * 100.0);
            let (low, high) = (percent(s.low), percent(s.high));
            format!("{} % of {} ({low} to {high})", percent(s.share), s.expected)
        })
    };
    let coverage = o.coverage.as_ref();
    let lacks = o.format_lacks.as_ref().map(|fields| fields.join(", ")).unwrap_or_default();
    vec![
        source.to_owned(),
        phrase::printable(&o.name),
        o.kind.clone(),
        o.legs.to_string(),
        phrase::when(&o.last_received),
        share(coverage.and_then(|c| c.inbound.as_ref())),
        share(coverage.and_then(|c| c.outbound.as_ref())),
        lacks,
    ]
}

/// One row per finding on a source.
pub fn findings_table(rows: &[SourceFindingDto], paint: Paint) -> String {
    let row = |f: &SourceFindingDto| {
        let until = f.to.as_deref().map_or_else(|| "now".to_owned(), phrase::when);
        let what = phrase::printable(&f.sentence);
        vec![phrase::when(&f.from), until, f.severity.clone(), f.kind.clone(), what]
    };
    let header = ["from (UTC)", "to", "severity", "finding", "what"];
    table::plain(&header, rows.iter().map(row).collect(), paint)
}
