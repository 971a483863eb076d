//! `calltrail history ID`: what was believed of a call when, and what was taken back.

use super::Place;
use super::ask::Asked;
use super::call::OneFormat;
use super::filter::AsOf;
use super::paint::{Paint, emit};
use super::phrase;
use super::prose::{PAGE, Prose, sentence, wrapped};
use super::rebuild::RulesArg;
use crate::api::dto_history::{EventDto, HistoryDto};
use anyhow::Result;
use clap::Args;

#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Any id of the call, those it had before included
    pub id: String,
    #[command(flatten)]
    pub as_of: AsOf,
    /// How to print
    #[arg(long, value_name = "FORM", default_value = "page")]
    pub format: OneFormat,
    #[command(flatten)]
    pub rules: RulesArg,
}

pub async fn run(args: HistoryArgs, place: &Place) -> Result<()> {
    let rules = args.rules.load_unless_served(place)?;
    let history = Asked::of(place).await?.history(&args.id, args.as_of.as_of, &rules).await?;
    emit(&args.format.tell(&history, |history| page(history, Paint::of_stdout()))?)
}

fn page(history: &HistoryDto, paint: Paint) -> String {
    let mut prose = Prose::new(paint, "00:00:00.000  ".len());
    let state = match history.state.as_str() {
        "open" => format!("open until {}", history.settles_at),
        state => state.to_owned(),
    };
    prose.line(&format!("{}  {state}", paint.bold(&format!("call {}", history.call_id))));
    if !history.former_ids.is_empty() {
        let ids = format!("known before as {}", history.former_ids.join(", "));
        wrapped(&ids, PAGE).iter().for_each(|line| prose.line(&paint.dim(line)));
    }
    prose.line("");
    let mut day = "";
    for event in &history.events {
        let (date, time) = event.at.split_at_checked(10).unwrap_or((&event.at, ""));
        if date != day {
            prose.line(&paint.bold(date));
            day = date;
        }
        // A finding is told by its kind, which is written as it is.
        let text = if event.what.starts_with("finding") {
            event.sentence.clone()
        } else {
            sentence(&event.sentence)
        };
        let text = phrase::printable(&text);
        let time = time.trim_start_matches('T').trim_end_matches('Z');
        prose.item(time.get(..12).unwrap_or(time), WORD, &word(event), &text);
    }
    prose.text
}

/// Columns of the word that says what happened.
const WORD: usize = 14;

fn word(event: &EventDto) -> String {
    match event.what.as_str() {
        "finding_raised" => "raised".to_owned(),
        "finding_withdrawn" => "withdrawn".to_owned(),
        other => other.replace('_', " "),
    }
}
