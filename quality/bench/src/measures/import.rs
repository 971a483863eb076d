//! `calltrail import` of the files: durable, joined and queryable when the program ends, or it is no measure.

use crate::bench::Bench;
use crate::figures::{Sample, sample};
use crate::place::Place;
use crate::process::{self, Cost};
use crate::server::{Held, Server};
use anyhow::{Result, ensure};

pub const SOURCE: &str = "bench";

pub async fn run(bench: &Bench, name: &str, place: Place) -> Result<Sample> {
    let files = bench.files();
    let cost = import(bench, &place, files).await?;
    let (lines, requests) = (files.recipe.lines() as f64, files.recipe.requests as f64);
    let stored_bytes = place.stored_bytes().await? as f64;
    joined(bench, &place, files.recipe.lines(), files.recipe.calls()).await?;
    Ok(sample(
        name,
        [
            ("lines_per_s", lines / cost.wall_s),
            ("seconds", cost.wall_s),
            ("cpu_us_per_line", cost.cpu_s * 1e6 / lines),
            ("peak_mib", cost.peak_mib),
            ("stored_bytes_per_request", stored_bytes / requests),
            ("gzip_bytes_per_request", files.gzip_bytes as f64 / requests),
            ("plain_bytes_per_line", files.plain_bytes as f64 / lines),
        ],
    ))
}

/// From the start of the program until it has ended.
pub async fn import(bench: &Bench, place: &Place, files: &crate::data::files::Files) -> Result<Cost> {
    let mut command = place.command(bench);
    command.args(["import", "--source", SOURCE, "--rules"]).arg(&files.rules).arg(&files.directory);
    process::run(command, &bench.scratch.join("import.log")).await
}

/// A server that is started upon the data answers for all of it.
pub async fn joined(bench: &Bench, place: &Place, lines: u64, calls: u64) -> Result<()> {
    let held = Server::start(bench, place).await?.held().await?;
    let wanted = Held { lines, calls, rejects: 0, lag: 0 };
    ensure!(held == wanted, "the import ended and not everything is joined: {held:?}, expected {wanted:?}");
    Ok(())
}
