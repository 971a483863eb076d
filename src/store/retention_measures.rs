//! What is measured of a time of which no call is left: connections, coverage, when somebody was heard and when not, and those who
//! have not been heard since. It goes once a day of its own.
//!
//! It refuses to take what a finding of absence on a call that is kept may rest on: what was measured up to two days before the oldest
//! call; a silence that reaches into the time that is kept, and the minutes by which it began.

use super::cells::Cells;
use super::retention::{Mark, marks, pause};
use super::statement::{Bind, Stmt, Tx, places, stmt};
use super::{Store, StoreError};
use crate::model::{RetentionClass, Timestamp};
use tokio::time::Instant;

/// Rows that one step looks at.
const ROWS: i64 = 4_096;
const DAY_US: i64 = 24 * 3_600_000_000;

/// A table of measures.
struct Measure {
    table: &'static str,
    /// Its whole key, along which it is walked.
    keys: &'static str,
    /// Which rows go that are older than this.
    old: fn(&mut Stmt, i64),
}

const MEASURES: [Measure; 5] = [
    Measure {
        table: "connection",
        keys: "socket, first_us, proxy, party",
        old: |delete, before| delete.push(" and last_us < ?", [Bind::int(before)]),
    },
    Measure {
        table: "coverage",
        keys: "identity, hour_us",
        old: |delete, before| delete.push(" and hour_us < ?", [Bind::int(before)]),
    },
    Measure { table: "blind_window", keys: "observer, reason, after_us", old: old_window },
    Measure { table: "pulse", keys: "observer, hour_us", old: old_pulse },
    // Instances come and go with every deployment.
    Measure {
        table: "observer",
        keys: "source, kind, name, identity",
        old: |delete, before| delete.push(" and last_received_us < ?", [Bind::int(before)]),
    },
];

/// A silence that lasts goes when nobody has sent that observer anything of a time that is kept: nothing can be missing from it then.
/// How its coverage was measured tells that. Sources have none; they are few, and stay.
fn old_window(delete: &mut Stmt, before: i64) {
    let old = " and (to_us < ? or (reason = 'silent' and to_us = ? and after_us < ? and observer not like 'source:%' \
               and not exists (select 1 from coverage v where v.identity = blind_window.observer and v.hour_us >= ?)))";
    delete.push(old, [before, Timestamp::MAX.micros(), before, before].map(Bind::int));
}

/// The minutes by which a silence began stay with it, and the hour before: by them it is known for one, and ends when its observer is
/// heard again.
fn old_pulse(delete: &mut Stmt, before: i64) {
    let old = " and hour_us < ? and not exists (select 1 from blind_window b where b.observer = pulse.observer \
               and b.reason = 'silent' and b.after_us >= pulse.hour_us and b.after_us < pulse.hour_us + 7200000000)";
    delete.push(old, [Bind::int(before)]);
}

impl Store {
    pub(super) async fn remove_measures(&self) -> Result<(), StoreError> {
        let marks = marks(&mut self.snapshot().await?).await?;
        let through = |class| marks.get(&class).map(|mark: &Mark| mark.through_us);
        let Some(calls) = through(RetentionClass::Calls) else { return Ok(()) };
        let oldest: Vec<(Option<i64>,)> = self.rows(stmt("select min(start_us) from call")).await?;
        // What a finding of a call needs is a day older than it.
        let needed = oldest.first().and_then(|(oldest,)| *oldest).map_or(calls, |oldest| oldest.min(calls))
            - 2 * DAY_US;
        for measure in &MEASURES {
            let before = if measure.table == "connection" { calls - DAY_US } else { needed };
            if before - self.measured_from(measure.table).await? >= DAY_US {
                self.walk(measure, before).await?;
            }
        }
        Ok(())
    }

    /// From when on a table of measures was left the last time.
    async fn measured_from(&self, table: &str) -> Result<i64, StoreError> {
        let select = stmt("select through_us from measured where name = ?").text(table);
        Ok(self.row::<(i64,)>(select).await?.map_or(i64::MIN / 2, |(through,)| through))
    }

    async fn walk(&self, measure: &Measure, before: i64) -> Result<(), StoreError> {
        let mut after: Option<Vec<Bind>> = None;
        loop {
            let began = Instant::now();
            let mut tx = self.begin_derived().await?;
            after = measure.step(&mut tx, before, after).await?;
            if after.is_none() {
                let upsert = "insert into measured (name, through_us) values (?, ?) on conflict (name) do update set \
                              through_us = excluded.through_us";
                tx.execute(stmt(upsert).text(measure.table).int(before)).await?;
            }
            tx.commit().await?;
            if after.is_none() {
                return Ok(());
            }
            pause(began).await;
        }
    }
}

impl Measure {
    /// Looks at the next rows; the key of the last of them, unless these were all.
    async fn step(
        &self,
        tx: &mut Tx,
        before: i64,
        after: Option<Vec<Bind>>,
    ) -> Result<Option<Vec<Bind>>, StoreError> {
        let Measure { table, keys, old } = self;
        let places = places(keys.split(',').count());
        let beyond = |select: &mut Stmt| {
            if let Some(after) = &after {
                select.push(&format!(" and ({keys}) > {places}"), after.clone());
            }
        };
        let mut select = stmt(format!("select {keys} from {table} where 1 = 1"));
        beyond(&mut select);
        select.push(&format!(" order by {keys} limit 1 offset ?"), [Bind::int(ROWS - 1)]);
        let last = tx.rows::<Cells>(select).await?.pop().map(|Cells(key)| key);
        let mut delete = stmt(format!("delete from {table} where 1 = 1"));
        beyond(&mut delete);
        if let Some(last) = &last {
            delete.push(&format!(" and ({keys}) <= {places}"), last.clone());
        }
        old(&mut delete, before);
        tx.execute(delete).await?;
        Ok(last)
    }
}
