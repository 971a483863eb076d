//! `calltrail retention`: what is kept, since when, and what the rules would remove; with `--apply` it goes.
//!
//! It works on the data themselves, beside a running server or without one: each step is small, and a server sees what has gone.

use super::ask::open_existing;
use super::paint::{Paint, emit};
use super::{Place, phrase, table};
use crate::config;
use crate::model::{Clock, Cutoffs, RetentionClass, RetentionRules, SystemClock, Timestamp};
use crate::store::{ClassHoldings, RemovedStep, Store};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

#[derive(Debug, Args)]
pub struct RetentionArgs {
    /// Removes what the rules say, step by step. It can be broken off at any time, and goes on the next time
    #[arg(long)]
    pub apply: bool,
    /// As if it were then: what would be, or is, removed at that time
    #[arg(long, value_name = "TIME")]
    pub as_of: Option<Timestamp>,
    /// With --apply: lets --as-of lie in the future. For trials on a copy: until then all calls that come go with the next pass
    #[arg(long, requires = "as_of", requires = "apply")]
    pub ahead: bool,
    /// Rules file with the table `retention` [default: calltrail.toml in the data directory, if it exists]
    #[arg(long, value_name = "FILE", env = "CALLTRAIL_RULES")]
    pub rules: Option<PathBuf>,
}

pub async fn run(args: RetentionArgs, place: &Place) -> Result<()> {
    if place.server.is_some() {
        bail!(
            "what is kept is looked at and removed where the data are, not through a server: name --data-dir or --database-url. \
             A running server removes by its own rules"
        );
    }
    let directory = place.database_url.is_none().then_some(place.data_dir.as_path());
    let rules = config::retention(args.rules.as_deref(), directory)?;
    let clock = SystemClock.now();
    let now = args.as_of.unwrap_or(clock);
    if args.apply && now > clock && !args.ahead {
        bail!(
            "--as-of {now} lies in the future: what is removed stays marked as removed up to then, and calls that are still to come \
             would go with every pass. Without --apply it shows what would go; to try it on a copy, add --ahead"
        );
    }
    let store = open_existing(place).await?;
    // What has been asked for ahead of time is shown, or tried, as it would be then.
    let cutoffs = if now > clock { rules.cutoffs(now) } else { store.cutoffs(&rules, now).await? };
    if args.apply {
        apply(&store, &cutoffs, now).await?;
    } else {
        show(&store, &rules, &cutoffs).await?;
    }
    store.close().await;
    Ok(())
}

async fn show(store: &Store, rules: &RetentionRules, cutoffs: &Cutoffs) -> Result<()> {
    let held = store.class_holdings(cutoffs).await?;
    let header = ["class", "rule", "kept since (UTC)", "items", "bytes", "would go", "removed before (UTC)"];
    let row = |held: &ClassHoldings| {
        let when = |time: Option<Timestamp>| time.map_or("–".to_owned(), |t| phrase::when(&t.to_string()));
        let rule = rules.keep.get(&held.class).map_or("for ever".to_owned(), |keep| keep.rule.clone());
        vec![
            held.class.to_string(),
            rule,
            when(held.since),
            held.items.to_string(),
            held.bytes.to_string(),
            held.may_go.to_string(),
            when(held.removed_before),
        ]
    };
    let mut text = table::plain(&header, held.iter().map(row).collect(), Paint::of_stdout());
    if held.iter().any(|held| held.may_go > 0) {
        text.push_str(
            "\nnothing was removed: --apply does that, and so does `calltrail serve` with these rules\n",
        );
    }
    emit(&text)
}

async fn apply(store: &Store, cutoffs: &Cutoffs, now: Timestamp) -> Result<()> {
    if cutoffs.is_empty() {
        println!(
            "no rule says that anything may go: write [retention] into the rules file, as calls = \"90d\""
        );
    }
    let removed: Mutex<BTreeMap<RetentionClass, RemovedStep>> = Mutex::default();
    let told = |class, step: RemovedStep| {
        let mut removed = removed.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = removed.entry(class).or_default();
        sum.items += step.items;
        sum.lines += step.lines;
        sum.bytes += step.bytes;
    };
    store
        .remove(cutoffs, now, told)
        .await
        .context("not all of it is removed; run it again, and it goes on")?;
    for (class, sum) in removed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        println!("{class}: {}", told_of(class, sum));
    }
    Ok(())
}

fn told_of(class: RetentionClass, sum: RemovedStep) -> String {
    let items = sum.items.unsigned_abs();
    match class {
        RetentionClass::Evidence => format!(
            "{} of {} removed, {} bytes as they were stored",
            phrase::count(sum.lines.unsigned_abs(), "line", "lines"),
            phrase::count(items, "delivery", "deliveries"),
            sum.bytes
        ),
        class if class.is_of_calls() => {
            format!(
                "{} removed, {} bytes as they were stored",
                phrase::count(items, "call", "calls"),
                sum.bytes
            )
        }
        _ => format!("{} removed", phrase::count(items, "sum", "sums")),
    }
}
