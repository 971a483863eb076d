//! DuckDB with the same files: parse, join by trace id, write a table to the disk, answer a question. `duckdb.py` beside this
//! file is all of it.

use crate::bench::Bench;
use crate::figures::{Sample, sample};
use crate::place::size_of;
use crate::process;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::process::Command;

const SCRIPT: &str = include_str!("duckdb.py");

pub async fn run(bench: &Bench) -> Result<Sample> {
    let python =
        bench.python.as_ref().context("there is no Python with DuckDB: run it by `cargo xtask bench`")?;
    let home = bench.scratch.join("duckdb");
    let _ = fs::remove_dir_all(&home);
    fs::create_dir_all(&home)?;
    let script = bench.scratch.join("join_in_duckdb.py");
    fs::write(&script, SCRIPT)?;
    let log = bench.scratch.join("duckdb.log");
    let mut command = Command::new(python);
    command.arg(&script).arg(&bench.files().directory).arg(home.join("calls.duckdb"));
    let cost = process::run(command, &log).await?;
    let told = fs::read_to_string(&log)?;
    let calls: u64 = told.trim().parse().with_context(|| format!("DuckDB said {told:?}"))?;
    let recipe = bench.files().recipe;
    ensure!(calls == recipe.requests, "DuckDB joined {calls} requests of {}", recipe.requests);
    let lines = recipe.lines() as f64;
    Ok(sample(
        "duckdb",
        [
            ("lines_per_s", lines / cost.wall_s),
            ("cpu_us_per_line", cost.cpu_s * 1e6 / lines),
            ("peak_mib", cost.peak_mib),
            ("stored_bytes_per_request", size_of(&home)? as f64 / recipe.requests as f64),
        ],
    ))
}
