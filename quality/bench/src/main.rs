//! `cargo xtask bench`.

use anyhow::{Result, bail};
use calltrail_bench::bench::Bench;
use calltrail_bench::figures::Figures;
use calltrail_bench::measures::Measure;
use calltrail_bench::options::Options;
use clap::Parser;

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse().resolved();
    let measures = chosen(&options)?;
    let bench = Bench::prepare(options)?;
    let mut figures = Figures::default();
    for round in 0..bench.options.rounds {
        for measure in &measures {
            run(&bench, *measure, round, &mut figures).await;
        }
    }
    print(&figures);
    if figures.failures.is_empty() { Ok(()) } else { bail!("not everything could be measured: see above") }
}

fn chosen(options: &Options) -> Result<Vec<Measure>> {
    if options.only.is_empty() {
        return Ok(Measure::ALL.to_vec());
    }
    let named = |name: &String| match Measure::ALL.iter().find(|measure| measure.name() == name) {
        Some(measure) => Ok(*measure),
        None => {
            let known: Vec<&str> = Measure::ALL.iter().map(|measure| measure.name()).collect();
            bail!("there is no measure named {name:?}; known: {}", known.join(", "))
        }
    };
    options.only.iter().map(named).collect()
}

/// What cannot be measured is told, and does not keep the rest from being measured.
async fn run(bench: &Bench, measure: Measure, round: usize, figures: &mut Figures) {
    let name = measure.name();
    if figures.failures.contains_key(name) {
        return;
    }
    eprintln!("bench: round {} of {}: {name}", round + 1, bench.options.rounds);
    match measure.run(bench).await {
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
    for name in figures.names() {
        if let Some(spread) = figures.spread(name) {
            let (median, low, high) = (spread.median, spread.low, spread.high);
            println!("{name:40} {median:>14.3} {low:>14.3} {high:>14.3}  {}", spread.rounds);
        }
    }
    for (of, to) in
        [("import.lines_per_s", "decode.lines_per_s"), ("import.lines_per_s", "duckdb.lines_per_s")]
    {
        if let Some(ratio) = figures.ratio(of, to) {
            println!("{of} / {to}: {:.3} ({:.3} to {:.3})", ratio.median, ratio.low, ratio.high);
        }
    }
    for (measure, why) in &figures.failures {
        println!("{measure}: not measured: {why}");
    }
}
