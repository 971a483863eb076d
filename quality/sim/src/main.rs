//! `cargo xtask sim`: a simulated world as files, with the truth beside them.
//!
//! The same arguments give the same bytes. Nothing here decides anything about the world: see `calltrail_sim::world` and `faults`.

use calltrail_sim::faults::{self, ClockFaults, Faults, Nat, PerSource, RandomOutages};
use calltrail_sim::world::{Config, PRESETS, simulate};
use calltrail_sim::write::write;
use clap::{Parser, ValueEnum};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Writes the lines of a simulated edge and mesh, as their programs would, and what is true of each call.
#[derive(Parser)]
#[command(name = "cargo xtask sim", bin_name = "cargo xtask sim")]
struct Args {
    #[arg(long)]
    seed: u64,
    /// A new or empty directory.
    #[arg(long)]
    out: PathBuf,
    /// About how many calls; the preset's 20,000 if not given.
    #[arg(long)]
    calls: Option<usize>,
    #[arg(long, default_value = "default", value_parser = clap::builder::PossibleValuesParser::new(PRESETS))]
    preset: String,
    /// A configuration as `config.json` of an earlier run has it, instead of a preset.
    #[arg(long, conflicts_with = "preset")]
    config: Option<PathBuf>,
    /// How many worlds, each in a directory of its own (`000`, `001`, ..) that can all be imported together.
    #[arg(long, default_value_t = 1)]
    worlds: u32,
    #[command(flatten)]
    faults: FaultArgs,
}

/// What goes wrong with the lines. Shares are in percent.
#[derive(clap::Args)]
#[command(next_help_heading = "Faults")]
struct FaultArgs {
    /// All faults, as `faults.json` of an earlier run has them; the other options come on top.
    #[arg(long)]
    faults: Option<PathBuf>,
    /// Lines lost, of each source.
    #[arg(long)]
    loss: Option<f64>,
    /// Proxies that fall silent once, for --outage-seconds.
    #[arg(long)]
    outages: Option<usize>,
    #[arg(long, default_value_t = 60)]
    outage_seconds: u32,
    /// Lines that come twice.
    #[arg(long)]
    duplicates: Option<f64>,
    /// Deliveries whose lines come again, cut into other deliveries.
    #[arg(long)]
    recut: Option<f64>,
    /// Lines that come late, by up to --late-seconds.
    #[arg(long)]
    late: Option<f64>,
    #[arg(long, default_value_t = 86_400)]
    late_seconds: u32,
    /// Shuffled within windows of so many lines.
    #[arg(long)]
    reorder: Option<usize>,
    /// Proxies' clocks are wrong by up to so many seconds,
    #[arg(long)]
    clock_offset: Option<f64>,
    /// drift by up to so many parts per million,
    #[arg(long)]
    clock_drift: Option<f64>,
    /// and are set anew so many times, by up to --clock-step seconds.
    #[arg(long)]
    clock_steps: Option<usize>,
    #[arg(long, default_value_t = 1.0)]
    clock_step: f64,
    #[arg(long)]
    frozen_worker_clocks: bool,
    /// Characters that a Worker's event may hold: Logpush allows 16384.
    #[arg(long)]
    truncate: Option<usize>,
    /// Lines of the mesh without any id or header.
    #[arg(long)]
    strip: Option<f64>,
    /// Proxies that log in Consul's default format.
    #[arg(long)]
    default_format: Option<f64>,
    #[arg(long, value_enum)]
    nat: Option<NatArg>,
}

#[derive(Clone, Copy, ValueEnum)]
enum NatArg {
    None,
    PerConnection,
    PerRequest,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut config: Config = match &args.config {
        Some(path) => read_json(path)?,
        None => Config::preset(&args.preset).ok_or("no such preset")?,
    };
    config.calls = args.calls.unwrap_or(config.calls);
    config.check()?;
    let faults = args.faults.faults(&args.preset)?;
    if args.worlds <= 1 {
        return write_world(&args.out, &config, &faults, args.seed);
    }
    for n in 0..args.worlds {
        let (config, seed) = config.nth_world(args.seed, n);
        write_world(&args.out.join(format!("{n:03}")), &config, &faults, seed)?;
    }
    Ok(())
}

fn write_world(out: &Path, config: &Config, faults: &Faults, seed: u64) -> Result<(), Box<dyn Error>> {
    let world = simulate(config, seed);
    let received = faults::apply(world.records, faults, seed);
    write(out, &world.calls, &received)?;
    let lines = received.lines.len();
    write_text(&out.join("config.json"), &serde_json::to_string_pretty(config)?)?;
    write_text(&out.join("faults.json"), &serde_json::to_string_pretty(faults)?)?;
    write_text(&out.join("calltrail.toml"), &config.rules.as_toml(seed))?;
    println!("{}: {} calls, {lines} lines", out.display(), world.calls.len());
    Ok(())
}

impl FaultArgs {
    fn faults(&self, preset: &str) -> Result<Faults, Box<dyn Error>> {
        let mut all = match &self.faults {
            Some(path) => read_json(path)?,
            None if preset == "stripped" => stripped(),
            None => Faults::default(),
        };
        if let Some(percent) = self.loss {
            all.loss_percent = PerSource::same(percent);
        }
        if let Some(proxies) = self.outages {
            all.random_outages = RandomOutages { proxies, sources: 0, seconds: self.outage_seconds };
        }
        if let Some(percent) = self.late {
            (all.late_lines_percent, all.late_max_s) = (percent, self.late_seconds);
        }
        if let Some(steps) = self.clock_steps {
            (all.clock.steps, all.clock.step_max_s) = (steps, self.clock_step);
        }
        set(&mut all.duplicate_lines_percent, self.duplicates);
        set(&mut all.recut_deliveries_percent, self.recut);
        set(&mut all.reorder_window_lines, self.reorder);
        set(&mut all.clock.offset_max_s, self.clock_offset);
        set(&mut all.clock.drift_max_ppm, self.clock_drift);
        set(&mut all.strip_headers_percent, self.strip);
        set(&mut all.default_format_percent, self.default_format);
        set(&mut all.nat, self.nat.map(NatArg::nat));
        all.frozen_worker_clocks |= self.frozen_worker_clocks;
        all.truncate_worker_logs_chars = self.truncate.or(all.truncate_worker_logs_chars);
        Ok(all)
    }
}

/// The hardest case that the join is measured in: no ids, Consul's default format, NAT, wrong clocks.
fn stripped() -> Faults {
    Faults {
        strip_headers_percent: 100.0,
        default_format_percent: 100.0,
        nat: Nat::PerConnection,
        clock: ClockFaults { offset_max_s: 5.0, ..ClockFaults::default() },
        ..Faults::default()
    }
}

impl NatArg {
    fn nat(self) -> Nat {
        match self {
            NatArg::None => Nat::None,
            NatArg::PerConnection => Nat::PerConnection,
            NatArg::PerRequest => Nat::PerRequest,
        }
    }
}

fn set<T>(to: &mut T, given: Option<T>) {
    if let Some(value) = given {
        *to = value;
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Box<dyn Error>> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    Ok(serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?)
}

fn write_text(path: &Path, text: &str) -> Result<(), Box<dyn Error>> {
    Ok(std::fs::write(path, format!("{}\n", text.trim_end()))
        .map_err(|e| format!("cannot write {}: {e}", path.display()))?)
}
