//! `calltrail rebuild`: throws away everything derived and derives it again from the evidence.

use super::Place;
use super::ask::open_existing;
use super::progress;
use crate::store::Store;
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct RebuildArgs {
    #[command(flatten)]
    pub rules: RulesArg,
}

/// The rules that the join follows.
#[derive(Debug, Clone, Default, Args)]
pub struct RulesArg {
    /// Rules file: header keys, grace, edge-fronted services [default: calltrail.toml in the data directory, if it exists]
    #[arg(long, value_name = "FILE", env = "CALLTRAIL_RULES")]
    pub rules: Option<PathBuf>,
}

impl RulesArg {
    pub fn load(&self, place: &Place) -> Result<crate::correlate::Rules> {
        let directory = place.database_url.is_none().then_some(place.data_dir.as_path());
        Ok(crate::config::rules(self.rules.as_deref(), directory)?)
    }
}

pub async fn run(args: RebuildArgs, place: &Place) -> Result<()> {
    if place.server.is_some() {
        bail!("a rebuild works on the data itself: stop the server and name --data-dir or --database-url");
    }
    let rules = args.rules.load(place)?;
    let store = open_existing(place).await?;
    let _lock = place.lock()?;
    store.reset_derived().await.context("cannot throw away what was derived")?;
    derive(&store, &rules).await?;
    let totals = store.totals().await?;
    println!("{} derived from {}", progress::calls(totals.calls), progress::lines(totals.lines));
    store.close().await;
    Ok(())
}

/// Derives up to the end of the evidence, showing how far it is.
pub async fn derive(store: &Store, rules: &crate::correlate::Rules) -> Result<()> {
    let totals = store.totals().await?;
    let bar = progress::deliveries("joining", totals.deliveries);
    let watched = async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            if let Ok(totals) = store.totals().await {
                bar.set_position(totals.position);
            }
        }
    };
    tokio::select! {
        derived = crate::correlate::task::catch_up(store, rules) => derived.context("cannot derive the calls")?,
        () = watched => {}
    }
    bar.finish_and_clear();
    Ok(())
}
