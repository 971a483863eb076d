//! What a server takes that has nothing to do.

use crate::bench::Bench;
use crate::figures::{Sample, sample};
use crate::place::Place;
use crate::server::Server;
use anyhow::Result;
use std::time::{Duration, Instant};

/// Until whatever a start leaves behind has gone.
const SETTLING: Duration = Duration::from_secs(3);

pub async fn run(bench: &Bench) -> Result<Sample> {
    let place = Place::sqlite(bench, "idle")?;
    let began = Instant::now();
    let server = Server::start(bench, &place).await?;
    let start_ms = began.elapsed().as_secs_f64() * 1e3;
    tokio::time::sleep(SETTLING).await;
    let memory = server.memory()?;
    let cpu_ms = server.cpu_s() * 1e3;
    Ok(sample("idle", [("resident_mib", memory.now_mib), ("ready_after_ms", start_ms), ("cpu_ms", cpu_ms)]))
}
