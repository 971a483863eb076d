//! One file per measure: each does its work once and says what it took.

mod decode;
mod duckdb;
mod import;

use crate::bench::Bench;
use crate::figures::Sample;
use anyhow::Result;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    Import,
    Decode,
    DuckDb,
}

impl Measure {
    /// In the order of a round: what is compared stands side by side.
    pub const ALL: [Measure; 3] = [Measure::Import, Measure::Decode, Measure::DuckDb];

    pub fn name(self) -> &'static str {
        match self {
            Measure::Import => "import",
            Measure::Decode => "decode",
            Measure::DuckDb => "duckdb",
        }
    }

    pub async fn run(self, bench: &Bench) -> Result<Sample> {
        match self {
            Measure::Import => import::run(bench).await,
            Measure::Decode => decode::run(bench),
            Measure::DuckDb => duckdb::run(bench).await,
        }
    }
}
