//! `calltrail call ID`: one call, everything that is known about it.

use super::Place;
use super::ask::{Asked, Hit};
use super::calls::ndjson;
use super::filter::AsOf;
use super::paint::{Paint, emit};
use super::{page, table};
use crate::api::lookup::MOST_CALLS;
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OneFormat {
    /// For people
    Page,
    /// One JSON object
    Json,
    /// One JSON object on one line
    Ndjson,
}

impl OneFormat {
    /// One answer in this form; `page` makes the one for people.
    pub fn tell<T: Serialize>(self, told: &T, page: impl FnOnce(&T) -> String) -> Result<String> {
        match self {
            OneFormat::Page => Ok(page(told)),
            OneFormat::Json => Ok(format!("{}\n", serde_json::to_string_pretty(told)?)),
            OneFormat::Ndjson => ndjson(std::slice::from_ref(told)),
        }
    }
}

#[derive(Debug, Args)]
pub struct CallArgs {
    /// Any id of the call: its own, a leg's, a request id, a ray, a span, a hop id, the SHA-256 of a raw line
    pub id: String,
    #[command(flatten)]
    pub as_of: AsOf,
    /// How to print
    #[arg(long, value_name = "FORM", default_value = "page")]
    pub format: OneFormat,
    /// Print the raw lines of the evidence, too
    #[arg(long)]
    pub lines: bool,
}

pub async fn run(args: CallArgs, place: &Place) -> Result<()> {
    let asked = Asked::of(place).await?;
    match asked.call(&args.id, args.as_of.as_of).await? {
        Hit::One(call) => {
            let evidence = if args.lines { Some(asked.evidence(&call).await?) } else { None };
            emit(&args.format.tell(&call, |call| page::call(call, evidence.as_ref(), Paint::of_stdout()))?)
        }
        Hit::Several(calls) if args.format == OneFormat::Page => {
            emit(&table::calls(&calls, Paint::of_stdout()))?;
            let ids: Vec<&str> = calls.iter().map(|c| c.id.as_str()).collect();
            let more = if ids.len() >= MOST_CALLS as usize { " (there are more)" } else { "" };
            emit(&format!(
                "{:?} is not unique; ask for one of these calls{more}:\n{}\n",
                args.id,
                ids.join("\n")
            ))
        }
        Hit::Several(calls) => emit(&ndjson(&calls)?),
        Hit::Nothing => bail!(
            "no call is known by {:?}: an id is a call's, a leg's, a request id, a ray, a span, a hop id or a line's SHA-256, \
             in full; `calltrail calls --format csv` lists ids",
            args.id
        ),
    }
}
