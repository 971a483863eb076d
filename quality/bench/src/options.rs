//! What can be asked for on the command line. Where the other programs are, `cargo xtask bench` says by the environment.

use clap::Parser;
use std::path::PathBuf;

/// Measures calltrail from outside and writes docs/benchmarks.md.
#[derive(Debug, Clone, Parser)]
#[command(name = "cargo xtask bench", max_term_width = 110)]
pub struct Options {
    /// Little data and one round: to try it out, never to quote
    #[arg(long)]
    pub quick: bool,
    /// How often everything is measured; the measures of one round follow each other, so that both sides of a ratio see the
    /// machine in the same mood
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Only these measures (see the names in the table); docs/benchmarks.md is written only by a whole run
    #[arg(long, value_delimiter = ',', value_name = "NAME,..")]
    pub only: Vec<String>,
    /// Lines that are imported; a request is three of them
    #[arg(long, default_value_t = 1_000_000)]
    pub lines: u64,
    /// Lines that the live load sends
    #[arg(long, default_value_t = 9_000_000)]
    pub live_lines: u64,
    /// Lines per second by the lines' own clock in the live load
    #[arg(long, default_value_t = 100_000)]
    pub live_rate: u64,
    /// Lines that are stored when the API is asked; they make as many calls
    #[arg(long, default_value_t = 10_000_000)]
    pub stored_lines: u64,
    /// Requests of each question
    #[arg(long, default_value_t = 200)]
    pub questions: usize,
    /// Of the data
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// The calltrail to measure, built for release
    #[arg(long, value_name = "FILE", env = "CALLTRAIL_BENCH_PROGRAM")]
    pub program: PathBuf,
    /// Where data is made and databases are written
    #[arg(long, value_name = "DIR", env = "CALLTRAIL_BENCH_WORK")]
    pub work: PathBuf,
    /// Where the document is written [default: nowhere]
    #[arg(long, value_name = "FILE", env = "CALLTRAIL_BENCH_DOCUMENT")]
    pub document: Option<PathBuf>,
    #[arg(long, hide = true, env = "CALLTRAIL_BENCH_POSTGRES_URL", hide_env_values = true)]
    pub postgres_url: Option<String>,
    #[arg(long, hide = true, env = "CALLTRAIL_BENCH_PYTHON")]
    pub python: Option<PathBuf>,
    #[arg(long, hide = true, env = "CALLTRAIL_BENCH_ZIPKIN")]
    pub zipkin_jar: Option<PathBuf>,
}

impl Options {
    /// With what `--quick` stands for.
    pub fn resolved(self) -> Options {
        if !self.quick {
            return self;
        }
        Options {
            rounds: 1,
            lines: self.lines.min(30_000),
            live_lines: self.live_lines.min(30_000),
            live_rate: self.live_rate.min(500),
            stored_lines: self.stored_lines.min(30_000),
            questions: self.questions.min(20),
            ..self
        }
    }
}
