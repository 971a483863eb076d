//! `calltrail why ID`: why a call was joined as it was, told so that one can disagree with it.

use super::Place;
use super::ask::Asked;
use super::call::OneFormat;
use super::filter::AsOf;
use super::paint::{Paint, emit};
use super::rebuild::RulesArg;
use super::why_page;
use anyhow::Result;
use clap::Args;

#[derive(Debug, Args)]
pub struct WhyArgs {
    /// Any id of the call: its own, a leg's, a request id, a ray, a span, a hop id, the SHA-256 of a raw line
    pub id: String,
    #[command(flatten)]
    pub as_of: AsOf,
    /// How to print
    #[arg(long, value_name = "FORM", default_value = "page")]
    pub format: OneFormat,
    #[command(flatten)]
    pub rules: RulesArg,
}

pub async fn run(args: WhyArgs, place: &Place) -> Result<()> {
    let rules = args.rules.load_unless_served(place)?;
    let why = Asked::of(place).await?.why(&args.id, args.as_of.as_of, &rules).await?;
    emit(&args.format.tell(&why, |why| why_page::why(why, Paint::of_stdout()))?)
}
