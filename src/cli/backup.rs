//! `calltrail backup`: the whole of a data directory in one file that has been proven, while a server goes on writing.

use super::{Place, progress};
use crate::store::{Holdings, Store};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The file to write; it must not exist yet. It is for its owner only, holds the tokens' hashes and every line, and not the
    /// rules file
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
}

pub async fn run(args: BackupArgs, place: &Place) -> Result<()> {
    let remedy =
        "name the directory with --data-dir on the machine where it is; a running server need not be stopped";
    if place.server.is_some() {
        bail!("a backup is taken of the data itself, not through a server: {remedy}");
    }
    if place.database_url.is_some() {
        bail!(
            "Postgres is backed up by its own tools (pg_dump, or its archive of the log); for a data directory, {remedy}"
        );
    }
    let store = Store::open_unmigrated(&place.location()).await?;
    let bar = progress::deliveries("proving the copy", store.head().await?);
    let holdings = store.back_up(&args.to, |number| bar.set_position(number)).await;
    bar.finish_and_clear();
    store.close().await;
    let holdings = holdings.context("no backup was made")?;
    println!("{}: {}", args.to.display(), told(&holdings));
    if let Some(rules) = crate::config::rules_file(Some(&place.data_dir)) {
        eprintln!("The rules are not in it: keep a copy of {} too.", rules.display());
    }
    Ok(())
}

/// What was proven, and the root to write down.
pub fn told(holdings: &Holdings) -> String {
    let mut told = format!(
        "{} in {} and {}, each proven",
        progress::lines(holdings.lines),
        super::phrase::count(holdings.deliveries, "delivery", "deliveries"),
        super::phrase::count(holdings.blocks, "block", "blocks"),
    );
    if holdings.forgotten > 0 {
        told.push_str(&format!(" ({} without lines, which have been removed)", holdings.forgotten));
    }
    told.push_str(&format!("\nroot of the evidence: {}", hex::encode(holdings.root)));
    told
}
