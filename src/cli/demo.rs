//! `calltrail demo`: the real server, fed with a bundled real capture the way Logpush and log shippers feed it.
//!
//! Needs no account and no configuration. It works in a directory of its own, starts clean each time, and deletes nothing there
//! but the files that it made itself.

use super::ask::{Asked, CallQuestion};
use super::calls::PAGE_ROWS;
use super::demo_capture::{RULES, UPLOADS};
use super::paint::{Paint, emit};
use super::remote::Remote;
use super::{Place, demo_report, progress, serve};
use crate::api::dto::CallDto;
use crate::app;
use crate::config::{Config, RULES_FILE, ServeOptions};
use crate::ingest::http::Receipt;
use crate::model::{CallFilter, Clock, SystemClock};
use crate::store::{Location, Order, create_directory};
use anyhow::{Context, Result, bail};
use clap::builder::Resettable;
use clap::{Args, CommandFactory, FromArgMatches};
use serde::Deserialize;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Loopback address and port to serve on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7311")]
    pub listen: SocketAddr,
    /// Stop after printing instead of serving until Ctrl-C
    #[arg(long)]
    pub exit: bool,
}

/// Says that the directory is the demo's own.
const MARKER: &str = "made-by-calltrail-demo";
/// What a run leaves behind: nothing else is ever deleted.
const OWN_FILES: &[&str] = &["calltrail.db", "calltrail.db-wal", "calltrail.db-shm", RULES_FILE];
/// How long the join may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(120);

pub async fn run(args: DemoArgs, place: &Place) -> Result<()> {
    if !args.listen.ip().is_loopback() {
        bail!(
            "the demo is open to whoever can reach it: choose a loopback address, as --listen 127.0.0.1:7312"
        );
    }
    let started = Instant::now();
    // The port first: whoever holds it may well be a demo that is using the directory.
    let listener = app::bind(args.listen).await?;
    let base = format!("http://{}", listener.local_addr()?);
    let directory = place.data_dir.join("demo");
    start_clean(&directory)?;
    let config = config(&args, &directory)?;
    let grace_us = config.rules.grace_us;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = app::run(config, listener, async {
        let _ = stopped.await;
    });
    let mut server = tokio::spawn(server);
    let shown = tokio::select! {
        shown = show(&base, grace_us, &directory, started) => shown,
        ended = &mut server => ended?.and_then(|()| bail!("the server stopped")),
    };
    if shown.is_ok() && !args.exit {
        emit(&format!("\nServing on {base} until Ctrl-C.\n"))?;
        serve::stop_signal().await;
    }
    drop(stop);
    server.await??;
    shown
}

/// Feeds, waits and prints.
async fn show(base: &str, grace_us: i64, directory: &Path, started: Instant) -> Result<()> {
    let remote = Remote::new(base, None)?;
    feed(&remote).await?;
    wait_until_joined(&remote).await?;
    let paint = Paint::of_stdout();
    let all = everything(remote, grace_us).await?;
    let took = format!("{:.1} s; the data is in {}", started.elapsed().as_secs_f64(), directory.display());
    let parts = [
        demo_report::calls(&all, paint),
        demo_report::findings(&all, base, paint),
        demo_report::addresses(&all, base, paint),
        paint.dim(&took) + "\n",
    ];
    emit(&parts.join("\n"))
}

/// A directory that holds nothing of an earlier run, and nothing of anybody else's is touched.
fn start_clean(directory: &Path) -> Result<()> {
    let shown = directory.display();
    let occupied = std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some());
    if occupied && !directory.join(MARKER).exists() {
        bail!(
            "{shown} is not a demo's directory and will not be touched: move it away, or choose another place with --data-dir"
        );
    }
    create_directory(directory)?;
    std::fs::write(directory.join(MARKER), "").with_context(|| format!("cannot write to {shown}"))?;
    let _lock = app::DataLock::take(directory)?;
    for name in OWN_FILES {
        match std::fs::remove_file(directory.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error)
                    .with_context(|| format!("cannot start clean: {name} in {shown} cannot be deleted"));
            }
            _ => {}
        }
    }
    std::fs::write(directory.join(RULES_FILE), RULES).with_context(|| format!("cannot write to {shown}"))
}

/// What `calltrail serve` would run with, on the demo's directory. The environment has no say: its limits are meant for a server
/// of somebody's own.
fn config(args: &DemoArgs, directory: &Path) -> Result<Config> {
    #[derive(clap::Parser)]
    struct Defaults {
        #[command(flatten)]
        options: ServeOptions,
    }
    let rules = directory.join(RULES_FILE);
    let line =
        [OsStr::new("demo"), "--listen".as_ref(), "127.0.0.1:0".as_ref(), "--rules".as_ref(), rules.as_ref()];
    let without_environment = Defaults::command().mut_args(|arg| arg.env(Resettable::Reset));
    let matches = without_environment.try_get_matches_from(line)?;
    let mut options = Defaults::from_arg_matches(&matches)?.options;
    options.listen = args.listen.to_string();
    Ok(Config::check(&options, Location::Directory(directory.to_owned()))?)
}

/// Uploads everything as Logpush and log shippers do: gzipped bodies, one after the other, each answered when it is durable.
async fn feed(remote: &Remote) -> Result<()> {
    let bar = progress::deliveries("feeding", UPLOADS.len() as u64);
    for upload in UPLOADS {
        let path = format!("/ingest/{}", upload.source);
        let receipt: Receipt = remote.post_gzip(&path, &[], upload.gzipped.to_vec()).await?;
        if receipt.rejected.count > 0 {
            bail!(
                "{path} rejected {} lines of the bundled capture: {:?}",
                receipt.rejected.count,
                receipt.rejected.first
            );
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// How far the join is, as `/readyz` says it.
#[derive(Deserialize)]
struct Ready {
    deliveries: u64,
    position: u64,
}

async fn wait_until_joined(remote: &Remote) -> Result<()> {
    let (bar, started) = (progress::deliveries("joining", UPLOADS.len() as u64), Instant::now());
    loop {
        let ready: Ready = remote.get("/readyz", &[]).await?;
        bar.set_position(ready.position);
        if ready.position >= ready.deliveries {
            bar.finish_and_clear();
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            bail!("the join has not come to an end in {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Every call, newest first, as it stands when the grace period is over: what is missing then will not come.
async fn everything(remote: Remote, grace_us: i64) -> Result<Vec<CallDto>> {
    let question = CallQuestion {
        filter: CallFilter::default(),
        as_of: Some(SystemClock.now().plus_us(grace_us)),
        order: Order::NewestFirst,
        with_legs: false,
    };
    let (asked, mut all, mut at) = (Asked::Server(remote), Vec::new(), None);
    loop {
        let page = asked.calls(&question, at.as_ref(), PAGE_ROWS as u32).await?;
        all.extend(page.rows);
        at = page.next;
        if at.is_none() {
            return Ok(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_starts_clean_and_leaves_what_is_not_its_own() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("demo");
        start_clean(&directory).unwrap();
        std::fs::write(directory.join("calltrail.db"), "old").unwrap();
        std::fs::write(directory.join("notes.txt"), "mine").unwrap();
        start_clean(&directory).unwrap();
        assert!(!directory.join("calltrail.db").exists());
        assert_eq!(std::fs::read_to_string(directory.join("notes.txt")).unwrap(), "mine");
    }

    #[test]
    fn somebody_elses_directory_is_not_touched() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("demo");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("calltrail.db"), "precious").unwrap();
        let error = start_clean(&directory).unwrap_err().to_string();
        assert!(error.contains("--data-dir"), "{error}");
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
    }
}
