//! `calltrail serve`: checks the configuration, binds the address, runs until SIGTERM or Ctrl-C.

use super::Place;
use crate::config::{Config, LogFormat, ServeOptions};
use crate::{app, telemetry};
use clap::Args;

#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub options: ServeOptions,
}

pub async fn run(args: ServeArgs, place: &Place) -> anyhow::Result<()> {
    let telemetry = telemetry::start(args.options.log_format == LogFormat::Json, &args.options.log_filter)?;
    let config = Config::check(&args.options, place.location())?;
    let listener = app::bind(config.listen).await?;
    let result = app::run(config, listener, stop_signal()).await;
    telemetry.finish();
    result
}

/// SIGTERM (service managers) or SIGINT (Ctrl-C). A second one ends the process at once.
pub async fn stop_signal() {
    wait_for_signal().await;
    tokio::spawn(async {
        wait_for_signal().await;
        tracing::warn!("a second signal: stopping at once; what was not acknowledged will be sent again");
        std::process::exit(130);
    });
}

#[cfg(unix)]
async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! { _ = tokio::signal::ctrl_c() => {}, _ = terminate.recv() => {} }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

#[cfg(not(unix))]
async fn wait_for_signal() {
    let _ = tokio::signal::ctrl_c().await;
}
