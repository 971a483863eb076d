//! Zipkin's server, in memory, under the same load: each line as a span, batches and clients as in `live`. What it takes is lost
//! when it ends, and nothing is checked or judged.

use super::live;
use crate::bench::Bench;
use crate::data::load::{Batch, Form};
use crate::figures::{Sample, quantile, sample};
use crate::http::Client;
use crate::process::{self, Running};
use crate::server::free_port;
use anyhow::{Context, Result, bail, ensure};
use hyper::body::Bytes;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Of the load: what it holds must fit in memory.
const MOST_SPANS: u64 = 2_000_000;
/// Traces that are looked for when everything was sent.
const SAMPLES: usize = 50;
const WARMING: usize = 5;
const PATIENCE: Duration = Duration::from_secs(120);

pub async fn run(bench: &Bench) -> Result<Sample> {
    let jar = bench.zipkin_jar.as_ref().context("there is no Zipkin: run it by `cargo xtask bench`")?;
    let lines = bench.options.live_lines.min(MOST_SPANS);
    let mut batches = live::made(bench, lines, Form::Spans)?;
    let port = free_port()?;
    let mut command = Command::new("java");
    command.arg("-jar").arg(jar).env("STORAGE_TYPE", "mem").env("QUERY_PORT", port.to_string());
    command.env("MEM_MAX_SPANS", (lines * 2).to_string());
    let server = Running::start(command, &bench.scratch.join("zipkin.log"))?;
    until_ready(&server, port).await?;
    // Java is slow until it has compiled what it runs: the first fifth is not counted.
    let batches_timed = Arc::new(batches.split_off(batches.len() / WARMING));
    send_all(&Arc::new(batches), port).await?;
    let warm_cpu_s = process::cpu_s(server.id()).unwrap_or_default();
    let (batches, began) = (batches_timed, Instant::now());
    let mut acks_ms = send_all(&batches, port).await?;
    until_stored(&batches, port).await?;
    let stored_s = began.elapsed().as_secs_f64();
    let spans = batches.iter().map(|batch| batch.lines as u64).sum::<u64>();
    let memory = process::memory(server.id()).context("Zipkin is gone")?;
    let cpu_s = process::cpu_s(server.id()).unwrap_or_default() - warm_cpu_s;
    Ok(sample(
        "zipkin",
        [
            ("spans_per_s", spans as f64 / stored_s),
            ("ack_p99_ms", quantile(&mut acks_ms, 0.99)),
            ("peak_mib", memory.peak_mib),
            ("cpu_us_per_span", cpu_s * 1e6 / spans as f64),
        ],
    ))
}

async fn until_ready(server: &Running, port: u16) -> Result<()> {
    let began = Instant::now();
    loop {
        if let Ok(mut client) = Client::connect(port).await
            && client.get("/health").await.is_ok_and(|answer| answer.status.is_success())
        {
            return Ok(());
        }
        if server.has_ended() || began.elapsed() > PATIENCE {
            bail!("Zipkin does not become ready");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn send_all(batches: &Arc<Vec<Batch>>, port: u16) -> Result<Vec<f64>> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for _ in 0..live::CLIENTS {
        tasks.push(tokio::spawn(send(batches.clone(), next.clone(), Client::connect(port).await?)));
    }
    let mut acks_ms = Vec::new();
    for task in tasks {
        acks_ms.extend(task.await??);
    }
    Ok(acks_ms)
}

async fn send(batches: Arc<Vec<Batch>>, next: Arc<AtomicUsize>, mut client: Client) -> Result<Vec<f64>> {
    let mut acks_ms = Vec::new();
    while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
        let answer = client.post("/api/v2/spans", Bytes::from(batch.body.clone()), true).await?;
        ensure!(answer.status.is_success(), "Zipkin answered {}: {}", answer.status, answer.text());
        acks_ms.push(answer.took.as_secs_f64() * 1e3);
    }
    Ok(acks_ms)
}

/// It acknowledges before it stores, and may drop: traces from all over the load must be whole, three spans each.
async fn until_stored(batches: &[Batch], port: u16) -> Result<()> {
    let step = (batches.len() / SAMPLES).max(1);
    let samples = batches.iter().rev().step_by(step).filter_map(|batch| batch.first_of_trace);
    let (mut client, began) = (Client::connect(port).await?, Instant::now());
    for trace_id in samples {
        loop {
            let spans = client
                .get(&format!("/api/v2/trace/{trace_id:032x}"))
                .await?
                .text()
                .matches("\"timestamp\"")
                .count();
            if spans as u64 == crate::data::LINES {
                break;
            }
            ensure!(began.elapsed() < PATIENCE, "Zipkin holds {spans} spans of trace {trace_id:032x}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}
