//! `calltrail rebuild`: throws away everything derived and derives it again from the evidence.

use super::Place;
use super::ask::open_existing;
use super::{phrase, progress};
use crate::correlate::Rules;
use crate::correlate::unravel::{Kept, take_back};
use crate::model::{Clock, SystemClock};
use crate::store::Store;
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// How often is looked how far it is.
const LOOK: Duration = Duration::from_millis(200);

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
    pub fn load(&self, place: &Place) -> Result<Rules> {
        let directory = place.database_url.is_none().then_some(place.data_dir.as_path());
        Ok(crate::config::rules(self.rules.as_deref(), directory)?)
    }

    /// A server that is asked tells by its own rules.
    pub fn load_unless_served(&self, place: &Place) -> Result<Rules> {
        if place.server.is_some() { Ok(Rules::default()) } else { self.load(place) }
    }
}

pub async fn run(args: RebuildArgs, place: &Place) -> Result<()> {
    if place.server.is_some() {
        bail!("a rebuild works on the data itself: stop the server and name --data-dir or --database-url");
    }
    let rules = args.rules.load(place)?;
    let store = open_existing(place).await?;
    let _lock = place.lock()?;
    let Some(office) = store.try_office().await.context("cannot ask who derives")? else {
        bail!(
            "another calltrail is deriving in this database (`calltrail serve`, `import` or `rebuild`): stop it first, then \
             rebuild"
        );
    };
    let in_office = store.in_office(&office);
    let kept = take_back(&in_office).await.context("cannot throw away what was derived")?;
    derive_alone(&in_office, &rules).await?;
    // Lines of calls that have been removed may still be there.
    in_office.remove_again(SystemClock.now()).await?;
    office.leave().await;
    let totals = store.totals().await?;
    println!("{} derived from {}", progress::calls(totals.calls), progress::lines(totals.lines));
    if kept != Kept::default() {
        println!(
            "{} of them left as they were: the lines of {} have been removed, or calls of their time have",
            progress::calls(kept.calls),
            phrase::count(kept.deliveries, "delivery", "deliveries"),
        );
    }
    store.close().await;
    Ok(())
}

/// Sees to it that everything that has been committed is derived: by whoever holds the correlator's office, else by ourselves.
pub async fn derive(store: &Store, rules: &Rules) -> Result<()> {
    let head = store.totals().await?.deliveries;
    let bar = progress::deliveries("joining elsewhere", head);
    loop {
        if let Some(office) = store.try_office().await? {
            bar.finish_and_clear();
            derive_alone(&store.in_office(&office), rules).await?;
            office.leave().await;
            return Ok(());
        }
        let position = store.totals().await?.position;
        bar.set_position(position);
        if position >= head {
            bar.finish_and_clear();
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Derives up to the end of the evidence, showing how far it is. The office must be ours.
async fn derive_alone(store: &Store, rules: &Rules) -> Result<()> {
    let totals = store.totals().await?;
    let bar = progress::deliveries("joining", totals.deliveries);
    let watched = async {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Ok(totals) = store.totals().await {
                bar.set_position(totals.position);
            }
        }
    };
    tokio::select! {
        derived = crate::correlate::task::catch_up(store, rules, &SystemClock) => derived.context("cannot derive the calls")?,
        () = watched => {}
    }
    bar.finish_and_clear();
    Ok(())
}
