//! The same import into data that holds much already: what it costs that more is stored.

use super::import::import;
use super::queries::stored;
use crate::bench::Bench;
use crate::data::Recipe;
use crate::figures::{Sample, sample};
use anyhow::Result;

/// Later than everything that is stored.
const LATER_US: i64 = 10 * 86_400_000_000;

pub async fn run(bench: &Bench, round: usize) -> Result<Sample> {
    let place = stored(bench).await?;
    let (recipe, turn) = (bench.files().recipe, round as u64 + 1);
    let recipe = Recipe {
        seed: recipe.seed + turn,
        start_us: recipe.start_us + LATER_US + turn as i64 * 3_600_000_000,
        ..recipe
    };
    let files = bench.more_files(recipe)?;
    let cost = import(bench, place, &files).await?;
    let lines = recipe.lines() as f64;
    Ok(sample(
        "growth",
        [
            ("lines_per_s", lines / cost.wall_s),
            ("stored_before", bench.options.stored_lines as f64 + lines * round as f64),
        ],
    ))
}
