//! `calltrail restore`: a backup becomes a data directory again, once its evidence has been proven anew.

use super::backup::told;
use super::{Place, progress};
use crate::store::{Backup, Store, holds_no_data};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The file that `calltrail backup` wrote; it is put into --data-dir, which must hold no data yet
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
}

pub async fn run(args: RestoreArgs, place: &Place) -> Result<()> {
    if place.server.is_some() || place.database_url.is_some() {
        bail!(
            "a backup is restored into a directory, named with --data-dir (and neither --server nor --database-url); \
             `calltrail migrate` carries a backup into Postgres"
        );
    }
    let directory = &place.data_dir;
    holds_no_data(directory)?;
    let backup = Backup::open(&args.from).await.context("nothing was restored")?;
    let copy = backup.store().await.context("nothing was restored")?;
    let bar = progress::deliveries("proving the backup", copy.head().await?);
    let holdings = copy.verify(|number| bar.set_position(number)).await;
    bar.finish_and_clear();
    copy.close().await;
    let holdings = holdings.with_context(|| format!("nothing was restored from {}", args.from.display()))?;

    let _lock = place.lock()?;
    backup.place(directory).await?;
    // Brings what an older program wrote up to date.
    let store = Store::open(&place.location()).await?;
    let totals = store.totals().await?;
    store.close().await;
    println!("{}: {}", directory.display(), told(&holdings));
    match totals.deliveries.saturating_sub(totals.position) {
        0 => println!("{} joined", progress::calls(totals.calls)),
        behind => println!(
            "{} joined; {} still to be derived: the next `calltrail serve` does that",
            progress::calls(totals.calls),
            super::phrase::count(behind, "delivery is", "deliveries are")
        ),
    }
    Ok(())
}
