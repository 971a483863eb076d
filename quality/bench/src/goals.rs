//! What is to be reached, and from which figures it is judged. Goals are for a machine of two cores.

use crate::figures::{Figures, Spread};

pub struct Goal {
    pub what: &'static str,
    pub value: Value,
    pub reach: Reach,
}

pub enum Value {
    Of(&'static str),
    /// Round by round.
    Ratio(&'static str, &'static str),
}

#[derive(Clone, Copy)]
pub enum Reach {
    AtLeast(f64),
    AtMost(f64),
}

use Reach::{AtLeast, AtMost};
use Value::{Of, Ratio};

#[rustfmt::skip] // a table
pub const GOALS: &[Goal] = &[
    goal("import, SQLite: lines/s", Of("import.lines_per_s"), AtLeast(300_000.0)),
    goal("import ÷ the parser alone", Ratio("import.lines_per_s", "decode.lines_per_s"), AtLeast(0.6)),
    goal("import ÷ DuckDB from the same files", Ratio("import.lines_per_s", "duckdb.lines_per_s"), AtLeast(1.0)),
    goal("stored bytes per request of three lines", Of("import.stored_bytes_per_request"), AtMost(800.0)),
    goal("live load: lines/s, acknowledged and joined", Of("live.lines_per_s"), AtLeast(100_000.0)),
    goal("live load: resident at most, MiB", Of("live.peak_mib"), AtMost(1_024.0)),
    goal("live load: acknowledgement p99, ms", Of("live.ack_p99_ms"), AtMost(250.0)),
    goal("live load: acknowledged line → call in the API p99, ms", Of("live.visible_p99_ms"), AtMost(1_000.0)),
    goal("live load ÷ Zipkin in memory", Ratio("live.lines_per_s", "zipkin.spans_per_s"), AtLeast(1.0)),
    goal("live load: memory ÷ Zipkin's", Ratio("live.peak_mib", "zipkin.peak_mib"), AtMost(1.0)),
    goal("uploads of 1 line: uploads/s", Of("single.uploads_per_s"), AtLeast(3_000.0)),
    goal("Postgres, import: lines/s", Of("postgres-import.lines_per_s"), AtLeast(180_000.0)),
    goal("Postgres, live load: lines/s", Of("postgres-live.lines_per_s"), AtLeast(80_000.0)),
    goal("import into much ÷ import into nothing", Ratio("growth.lines_per_s", "import.lines_per_s"), AtLeast(0.85)),
    goal("resident when idle, MiB", Of("idle.resident_mib"), AtMost(40.0)),
];

const fn goal(what: &'static str, value: Value, reach: Reach) -> Goal {
    Goal { what, value, reach }
}

impl Goal {
    pub fn spread(&self, figures: &Figures) -> Option<Spread> {
        match self.value {
            Of(name) => figures.spread(name),
            Ratio(of, to) => figures.ratio(of, to),
        }
    }
}

impl Reach {
    pub fn is_met(self, value: f64) -> bool {
        match self {
            AtLeast(least) => value >= least,
            AtMost(most) => value <= most,
        }
    }
}
