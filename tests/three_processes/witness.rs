//! Somebody who looks at the database itself, and stops the correlator where it hurts most.

use crate::common::Backend;
use sqlx::{Connection, Executor, PgConnection};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

pub struct Witness {
    runtime: Runtime,
    looks: PgConnection,
    holds: PgConnection,
}

/// A transaction of whoever derives, by its name.
const STEP: &str = "select count(*) from pg_stat_activity where datname = current_database() \
                    and application_name = 'calltrail deriving'";

impl Witness {
    pub fn of(backend: &Backend) -> Witness {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let url = backend.url();
        let looks = runtime.block_on(PgConnection::connect(&url)).unwrap();
        let holds = runtime.block_on(PgConnection::connect(&url)).unwrap();
        Witness { runtime, looks, holds }
    }

    pub fn hold_the_correlators_row(&mut self) {
        let lock = self.holds.execute("begin; select 1 from correlator for update");
        self.runtime.block_on(lock).unwrap();
    }

    pub fn let_go(&mut self) {
        self.runtime.block_on(self.holds.execute("rollback")).unwrap();
    }

    pub fn wait_for_a_step_that_waits(&mut self) {
        self.wait_for("and wait_event_type = 'Lock'");
    }

    pub fn wait_for_a_step_that_has_the_row(&mut self) {
        self.wait_for("and state = 'idle in transaction'");
    }

    /// How far everything has been derived.
    pub fn position(&mut self) -> i64 {
        self.number("select position from correlator")
    }

    fn wait_for(&mut self, more: &str) {
        let began = Instant::now();
        while self.number(&format!("{STEP} {more}")) == 0 {
            assert!(began.elapsed() < Duration::from_secs(60), "no step of the correlator {more}");
        }
    }

    fn number(&mut self, sql: &str) -> i64 {
        let query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned()));
        self.runtime.block_on(query.fetch_one(&mut self.looks)).unwrap()
    }
}
