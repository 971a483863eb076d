//! Uploads of one line each: what a sender costs that does not batch.

use super::live::send_all;
use crate::bench::Bench;
use crate::data::Recipe;
use crate::data::load::{Form, batches};
use crate::figures::{Sample, quantile, sample};
use crate::place::Place;
use crate::server::Server;
use anyhow::Result;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CLIENTS: usize = 32;
/// More than can be sent in the time.
const REQUESTS: u64 = 100_000;

pub async fn run(bench: &Bench) -> Result<Sample> {
    let within = Duration::from_secs(if bench.options.quick { 1 } else { 10 });
    let requests = if bench.options.quick { REQUESTS / 10 } else { REQUESTS };
    let recipe = Recipe { seed: bench.options.seed, requests, ..bench.files().recipe };
    let batches = Arc::new(batches(&bench.cast, &recipe, 1, Form::Lines)?);
    let place = Place::sqlite(bench, "single")?;
    let server = Server::start(bench, &place).await?;
    let began = Instant::now();
    let mut sent = send_all(&server, &batches, CLIENTS, Some(within)).await?;
    let sent_s = began.elapsed().as_secs_f64();
    Ok(sample(
        "single",
        [
            ("uploads_per_s", sent.uploads as f64 / sent_s),
            ("ack_p50_ms", quantile(&mut sent.acks_ms, 0.5)),
            ("ack_p99_ms", quantile(&mut sent.acks_ms, 0.99)),
            ("told_to_come_back", sent.refused as f64),
        ],
    ))
}
