//! `calltrail serve`.

use super::Place;
use clap::Args;

#[derive(Debug, Args)]
pub struct ServeArgs {}

pub async fn run(args: ServeArgs, place: &Place) -> anyhow::Result<()> {
    let _ = (args, place);
    anyhow::bail!("`calltrail serve` is not built yet")
}
