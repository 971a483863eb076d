//! `cargo xtask bench`.

use anyhow::{Context, Result, bail};
use calltrail_bench::bench::Bench;
use calltrail_bench::figures::Figures;
use calltrail_bench::goals::GOALS;
use calltrail_bench::measures::Measure;
use calltrail_bench::options::Options;
use calltrail_bench::report::{document, number};
use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match measure(Options::parse().resolved()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(options: Options) -> Result<()> {
    let measures = chosen(&options)?;
    let bench = Bench::prepare(options)?;
    let mut figures = Figures::default();
    for round in 0..bench.options.rounds {
        for measure in &measures {
            run(&bench, *measure, round, &mut figures).await;
        }
    }
    print(&figures);
    write(&bench, &figures)?;
    if figures.failures.is_empty() { Ok(()) } else { bail!("not everything could be measured: see above") }
}

fn chosen(options: &Options) -> Result<Vec<(&'static str, Measure)>> {
    if options.only.is_empty() {
        return Ok(Measure::ALL.to_vec());
    }
    let named = |name: &String| match Measure::ALL.iter().find(|(known, _)| known == name) {
        Some(measure) => Ok(*measure),
        None => {
            let known: Vec<&str> = Measure::ALL.iter().map(|(name, _)| *name).collect();
            bail!("there is no measure named {name:?}; known: {}", known.join(", "))
        }
    };
    options.only.iter().map(named).collect()
}

/// What cannot be measured is told, and does not keep the rest from being measured.
async fn run(bench: &Bench, (name, measure): (&'static str, Measure), round: usize, figures: &mut Figures) {
    if figures.failures.contains_key(name) {
        return;
    }
    eprintln!("bench: round {} of {}: {name}", round + 1, bench.options.rounds);
    match measure.run(bench, round).await {
        Ok(sample) => {
            sample.iter().for_each(|(figure, value)| eprintln!("  {figure} {value:.3}"));
            figures.add(round, sample);
        }
        Err(error) => {
            eprintln!("  not measured: {error:#}");
            figures.failures.insert(name, format!("{error:#}"));
        }
    }
}

fn print(figures: &Figures) {
    println!("{:40} {:>14} {:>14} {:>14}  rounds", "figure", "median", "lowest", "highest");
    for name in figures.names().filter(|name| !name.ends_with("goal_ms")) {
        if let Some(spread) = figures.spread(name) {
            let (median, low, high) = (spread.median, spread.low, spread.high);
            println!("{name:40} {median:>14.3} {low:>14.3} {high:>14.3}  {}", spread.rounds);
        }
    }
    for goal in GOALS {
        if let Some(spread) = goal.spread(figures) {
            let reached = if goal.reach.is_met(spread.median) { "reached" } else { "not reached" };
            println!("{}: {} ({reached})", goal.what, number(spread.median));
        }
    }
    for (measure, why) in &figures.failures {
        println!("{measure}: not measured: {why}");
    }
}

/// The document of the project is that of a whole run; of any other, it is written beside the data.
fn write(bench: &Bench, figures: &Figures) -> Result<()> {
    let whole = bench.options.only.is_empty() && !bench.options.quick;
    let path = match &bench.options.document {
        Some(path) if whole => path.clone(),
        _ => bench.options.work.join("benchmarks.md"),
    };
    std::fs::write(&path, document(bench, figures))
        .with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("bench: {}", path.display());
    Ok(())
}
