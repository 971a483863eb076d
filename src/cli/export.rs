//! `calltrail export calls`: everything, oldest first, one JSON object per call with its legs, in constant memory.
//!
//! Equal evidence, rules and `--as-of` give a byte-identical export. It refuses to sort, round or leave anything out.

use super::Place;
use super::ask::{Asked, CallQuestion, moment};
use super::calls::{Format, PAGE_ROWS, ndjson};
use super::filter::{AsOf, CallArgs};
use super::table;
use crate::store::Order;
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use std::io::{ErrorKind, Write};

#[derive(Debug, Subcommand)]
pub enum ExportCommand {
    /// One object per call, with its legs and the hash of each raw line, oldest first
    Calls(ExportArgs),
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    pub which: CallArgs,
    #[command(flatten)]
    pub as_of: AsOf,
    /// ndjson, or csv (without the legs)
    #[arg(long, value_name = "FORM", default_value = "ndjson")]
    pub format: Format,
}

pub async fn run(command: ExportCommand, place: &Place) -> Result<()> {
    let ExportCommand::Calls(args) = command;
    if !matches!(args.format, Format::Ndjson | Format::Csv) {
        bail!("an export is streamed: write --format ndjson or --format csv");
    }
    let asked = Asked::of(place).await?;
    let question = CallQuestion {
        filter: args.which.filter(),
        // One moment for all pages: the export must not change its mind half way.
        as_of: Some(moment(args.as_of.as_of)),
        order: Order::OldestFirst,
        with_legs: args.format == Format::Ndjson,
    };
    let (mut at, mut complete, mut first) = (None, true, true);
    loop {
        let page = asked.calls(&question, at.as_ref(), PAGE_ROWS as u32).await?;
        let text = match args.format {
            Format::Csv => table::calls_csv(&page.rows, first)?,
            _ => ndjson(&page.rows)?,
        };
        if !write(&text)? {
            return Ok(());
        }
        (first, complete, at) = (false, complete && page.complete, page.next);
        if at.is_none() {
            break;
        }
    }
    if !complete {
        eprintln!("not everything that was accepted has been joined yet: export again for the rest");
    }
    Ok(())
}

/// False when the reader has gone away, which ends the export with success.
fn write(text: &str) -> Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => bail!("cannot write to standard output: {error}"),
    }
}
