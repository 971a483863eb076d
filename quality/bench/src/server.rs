//! `calltrail serve` as a child on a free port, and what it says of itself.

use crate::bench::Bench;
use crate::http::Client;
use crate::place::Place;
use crate::process::{self, Memory, Running};
use anyhow::{Context, Result, bail};
use std::net::TcpListener;
use std::time::{Duration, Instant};

pub struct Server {
    process: Running,
    pub port: u16,
}

/// What the server holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Held {
    pub lines: u64,
    pub calls: u64,
    pub rejects: u64,
    /// Deliveries that are durable and not joined yet.
    pub lag: u64,
}

const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

impl Server {
    pub async fn start(bench: &Bench, place: &Place) -> Result<Server> {
        let port = free_port()?;
        let mut command = place.command(bench);
        command.args(["serve", "--log", "warn", "--listen", &format!("127.0.0.1:{port}"), "--rules"]);
        command.arg(bench.rules());
        let log = bench.scratch.join("serve.log");
        let server = Server { process: Running::start(command, &log)?, port };
        let began = Instant::now();
        loop {
            if let Ok(mut client) = Client::connect(port).await
                && client.get("/readyz").await.is_ok_and(|answer| answer.status.is_success())
            {
                return Ok(server);
            }
            if server.process.has_ended() || began.elapsed() > PATIENCE {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                bail!("calltrail serve does not become ready: {}", said.trim());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    pub async fn client(&self) -> Result<Client> {
        Client::connect(self.port).await
    }

    pub fn memory(&self) -> Result<Memory> {
        process::memory(self.process.id()).context("the server is gone")
    }

    pub fn cpu_s(&self) -> f64 {
        process::cpu_s(self.process.id()).unwrap_or_default()
    }

    pub async fn held(&self) -> Result<Held> {
        let text = self.client().await?.get("/metrics").await?.text();
        let gauge = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            let value = line.and_then(|value| value.trim().parse::<f64>().ok());
            value.map(|value| value as u64).with_context(|| format!("/metrics does not tell {name}"))
        };
        Ok(Held {
            lines: gauge("calltrail_store_lines")?,
            calls: gauge("calltrail_store_calls")?,
            rejects: gauge("calltrail_store_rejects")?,
            lag: gauge("calltrail_correlator_lag_deliveries")?,
        })
    }

    /// Until everything that is durable has been joined: how long that took.
    pub async fn caught_up(&self, lines: u64, patience: Duration) -> Result<Duration> {
        let began = Instant::now();
        loop {
            let held = self.held().await?;
            if held.lines == lines && held.lag == 0 {
                return Ok(began.elapsed());
            }
            if began.elapsed() > patience {
                bail!("not joined after {} s: {held:?} of {lines} lines", patience.as_secs());
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Free now, and ours a moment later; should another program take it first, the server says so.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
