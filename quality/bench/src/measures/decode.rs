//! The line parser alone, on all cores: gunzip, split, decode to legs, and throw them away. What no import can be faster than.

use crate::bench::Bench;
use crate::data::LEGS;
use crate::figures::{Sample, sample};
use crate::process::cpu_s;
use anyhow::{Context, Result, ensure};
use calltrail::decode::{each_line, frame};
use calltrail::model::{Delivery, DeliveryId, Timestamp};
use flate2::read::MultiGzDecoder;
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

pub fn run(bench: &Bench) -> Result<Sample> {
    let files = bench.files();
    let (paths, lines) = (files.paths()?, files.recipe.lines() as f64);
    let (cpu, began) = (cpu_s(std::process::id()), Instant::now());
    let legs = decode_all(&paths)?;
    let wall_s = began.elapsed().as_secs_f64();
    let cpu_s = cpu_s(std::process::id()).zip(cpu).map(|(after, before)| after - before).unwrap_or_default();
    ensure!(legs == files.recipe.requests * LEGS, "{legs} legs: the data is not what it should be");
    Ok(sample("decode", [("lines_per_s", lines / wall_s), ("cpu_us_per_line", cpu_s * 1e6 / lines)]))
}

fn decode_all(paths: &[PathBuf]) -> Result<u64> {
    let next = AtomicUsize::new(0);
    let one_thread = || -> Result<u64> {
        let mut legs = 0;
        while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
            legs += decode(path)?;
        }
        Ok(legs)
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one_thread)).collect();
        threads.into_iter().map(|thread| thread.join().expect("the decoder does not panic")).sum()
    })
}

fn decode(path: &PathBuf) -> Result<u64> {
    let file = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut body = Vec::with_capacity(file.len() * 10);
    MultiGzDecoder::new(&file[..]).read_to_end(&mut body)?;
    let lines = frame::split(&body, usize::MAX).ok().context("too many lines")?;
    let delivery = Delivery {
        id: DeliveryId([0; 32]),
        source: super::import::SOURCE.to_owned(),
        proxy: None,
        received_at: Timestamp(0),
        lines,
    };
    let (mut legs, mut rejects) = (0, 0);
    each_line(&delivery, 1, &[], |_, result| match result {
        Ok(found) => legs += found.len() as u64,
        Err(_) => rejects += 1,
    });
    ensure!(rejects == 0, "{rejects} lines of {} were rejected", path.display());
    Ok(legs)
}
