//! `calltrail serve` under a live load: eight clients send batches as fast as they are acknowledged; lines come late as real ones
//! do. Meanwhile somebody asks the API for what was just acknowledged.

use crate::bench::Bench;
use crate::data::load::{Batch, Form, batches};
use crate::data::{LINES, Recipe};
use crate::figures::{Sample, quantile, sample};
use crate::http::Client;
use crate::place::Place;
use crate::server::Server;
use anyhow::{Context, Result, bail};
use calltrail::model::{Clock, SystemClock};
use hyper::StatusCode;
use hyper::body::Bytes;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub const CLIENTS: usize = 8;
const LINES_PER_BATCH: usize = 500;
/// Requests are not older than that when the load begins, so that a server as fast as the lines' clock sees them as late as they are.
const HEAD_START_US: i64 = 30_000_000;
/// For the join to catch up when the last line is in.
const PATIENCE: Duration = Duration::from_secs(1_800);

pub async fn run(bench: &Bench, name: &str, place: Place) -> Result<Sample> {
    let batches = Arc::new(made(bench, bench.options.live_lines, Form::Lines)?);
    let server = Server::start(bench, &place).await?;
    let began = Instant::now();
    let sent = send_all(&server, &batches, CLIENTS, None).await?;
    let sent_s = began.elapsed().as_secs_f64();
    let lines = batches.iter().map(|batch| batch.lines as u64).sum::<u64>();
    server.caught_up(lines, PATIENCE).await?;
    let joined_s = began.elapsed().as_secs_f64();
    let (mut acks, mut visible) = (sent.acks_ms, sent.visible_ms);
    Ok(sample(
        name,
        [
            ("lines_per_s", lines as f64 / joined_s),
            ("acked_lines_per_s", lines as f64 / sent_s),
            ("ack_p50_ms", quantile(&mut acks, 0.5)),
            ("ack_p99_ms", quantile(&mut acks, 0.99)),
            ("visible_p50_ms", quantile(&mut visible, 0.5)),
            ("visible_p99_ms", quantile(&mut visible, 0.99)),
            ("told_to_come_back", sent.refused as f64),
            ("peak_mib", server.memory()?.peak_mib),
            ("cpu_us_per_line", server.cpu_s() * 1e6 / lines as f64),
        ],
    ))
}

/// Of this minute: what was long ago would be settled before its second line comes.
pub fn made(bench: &Bench, lines: u64, form: Form) -> Result<Vec<Batch>> {
    let options = &bench.options;
    let recipe = Recipe {
        seed: options.seed,
        requests: lines / LINES,
        start_us: SystemClock.now().0 - HEAD_START_US,
        requests_per_second: options.live_rate as f64 / LINES as f64,
    };
    batches(&bench.cast, &recipe, LINES_PER_BATCH, form)
}

#[derive(Default)]
pub struct Sent {
    pub acks_ms: Vec<f64>,
    pub visible_ms: Vec<f64>,
    /// Answers of 503; the upload was sent again.
    pub refused: u64,
    pub uploads: u64,
}

/// What the clients share.
struct Load {
    batches: Arc<Vec<Batch>>,
    next: AtomicUsize,
    refused: AtomicU64,
    /// A trace that was acknowledged just now, for whoever looks for it in the API.
    acknowledged: Mutex<Option<(u128, Instant)>>,
    done: AtomicBool,
    until: Option<Instant>,
}

/// All of them, or as many as can be sent within the time.
pub async fn send_all(
    server: &Server,
    batches: &Arc<Vec<Batch>>,
    clients: usize,
    within: Option<Duration>,
) -> Result<Sent> {
    let load = Arc::new(Load {
        batches: batches.clone(),
        next: AtomicUsize::new(0),
        refused: AtomicU64::new(0),
        acknowledged: Mutex::new(None),
        done: AtomicBool::new(false),
        until: within.map(|within| Instant::now() + within),
    });
    let looker = tokio::spawn(look(load.clone(), server.client().await?));
    let mut tasks = Vec::new();
    for _ in 0..clients {
        tasks.push(tokio::spawn(send(load.clone(), server.client().await?)));
    }
    let mut sent = Sent::default();
    for task in tasks {
        sent.acks_ms.extend(task.await??);
    }
    load.done.store(true, Ordering::Relaxed);
    sent.uploads = sent.acks_ms.len() as u64;
    sent.refused = load.refused.load(Ordering::Relaxed);
    sent.visible_ms = looker.await??;
    Ok(sent)
}

async fn send(load: Arc<Load>, mut client: Client) -> Result<Vec<f64>> {
    let mut acks_ms = Vec::new();
    while load.until.is_none_or(|until| Instant::now() < until)
        && let Some(batch) = load.batches.get(load.next.fetch_add(1, Ordering::Relaxed))
    {
        let (path, began) = (format!("/ingest/{}", batch.source), Instant::now());
        let body = Bytes::from(batch.body.clone());
        loop {
            let answer = client.post(&path, body.clone(), true).await?;
            match answer.status {
                StatusCode::OK => break,
                StatusCode::SERVICE_UNAVAILABLE => {
                    load.refused.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                status => bail!("an upload was answered {status}: {}", answer.text()),
            }
        }
        acks_ms.push(began.elapsed().as_secs_f64() * 1e3);
        if let Some(trace_id) = batch.first_of_trace {
            *load.acknowledged.lock().ok().context("a client panicked")? = Some((trace_id, Instant::now()));
        }
    }
    Ok(acks_ms)
}

/// Looks for one trace after the other until a call of it is there. From the acknowledgement on.
async fn look(load: Arc<Load>, mut client: Client) -> Result<Vec<f64>> {
    let mut visible_ms = Vec::new();
    while !load.done.load(Ordering::Relaxed) {
        let acknowledged = load.acknowledged.lock().ok().context("a client panicked")?.take();
        let Some((trace_id, at)) = acknowledged else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let path = format!("/v1/calls?limit=1&trace={trace_id:032x}");
        loop {
            let answer = client.get(&path).await?;
            if answer.status.is_success() && answer.text().contains("\"id\"") {
                break;
            }
            if at.elapsed() > PATIENCE {
                bail!("a call was not visible within {} s: {}", PATIENCE.as_secs(), answer.text());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        visible_ms.push(at.elapsed().as_secs_f64() * 1e3);
    }
    Ok(visible_ms)
}
