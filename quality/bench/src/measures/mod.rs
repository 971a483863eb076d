//! One file per measure: each does its work once and says what it took.

mod bare;
mod decode;
mod duckdb;
mod growth;
mod idle;
mod import;
mod live;
mod queries;
pub mod questions;
mod single;
mod zipkin;

use crate::bench::Bench;
use crate::figures::Sample;
use crate::place::Place;
use anyhow::Result;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    Import,
    Decode,
    DuckDb,
    SqliteBare,
    Live,
    Zipkin,
    Single,
    Idle,
    PostgresImport,
    PostgresBare,
    PostgresLive,
    Queries,
    Growth,
}

impl Measure {
    /// In the order of a round: what is compared stands side by side.
    pub const ALL: [(&'static str, Measure); 13] = [
        ("import", Measure::Import),
        ("decode", Measure::Decode),
        ("duckdb", Measure::DuckDb),
        ("sqlite-bare", Measure::SqliteBare),
        ("live", Measure::Live),
        ("zipkin", Measure::Zipkin),
        ("single", Measure::Single),
        ("idle", Measure::Idle),
        ("postgres-import", Measure::PostgresImport),
        ("postgres-bare", Measure::PostgresBare),
        ("postgres-live", Measure::PostgresLive),
        ("queries", Measure::Queries),
        ("growth", Measure::Growth),
    ];

    pub async fn run(self, bench: &Bench, round: usize) -> Result<Sample> {
        match self {
            Measure::Import => import::run(bench, "import", Place::sqlite(bench, "import")?).await,
            Measure::Decode => decode::run(bench),
            Measure::DuckDb => duckdb::run(bench).await,
            Measure::SqliteBare => bare::sqlite(bench).await,
            Measure::Live => live::run(bench, "live", Place::sqlite(bench, "live")?).await,
            Measure::Zipkin => zipkin::run(bench).await,
            Measure::Single => single::run(bench).await,
            Measure::Idle => idle::run(bench).await,
            Measure::PostgresImport => {
                import::run(bench, "postgres-import", Place::postgres(bench, "bench_import").await?).await
            }
            Measure::PostgresBare => bare::postgres(bench).await,
            Measure::PostgresLive => {
                live::run(bench, "postgres-live", Place::postgres(bench, "bench_live").await?).await
            }
            Measure::Queries => queries::run(bench).await,
            Measure::Growth => growth::run(bench, round).await,
        }
    }
}
