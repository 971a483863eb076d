//! Calls that may go. They are walked by start from where the last pass ended; what came late, with a start before that, has a
//! new number and is found by it.
//!
//! Which calls go is looked up without holding anybody up; the write that follows names them by their numbers, under which nothing
//! else is ever stored: one that was replaced meanwhile stands under another, and goes the next time.

use super::call_rows::BUCKET_BITS;
use super::error::inconsistent;
use super::packed_leg::Code;
use super::retention::{Mark, Marks, Note, RemovedStep, marks, pause, set_mark, write_down};
use super::statement::{Bind, Stmt, Tx, stmt};
use super::{Store, StoreError};
use crate::model::{Cutoff, Cutoffs, RetentionClass, Severity, Timestamp};
use tokio::time::Instant;

/// Calls that one step removes, at most, and bytes.
const CALLS: i64 = 2_048;
const BYTES: i64 = 8 << 20;
/// Numbers per `in` list.
const IDS: usize = 512;

/// A call that may go: number, start, bytes.
type Going = (i64, i64, i64);

impl Store {
    pub(super) async fn remove_calls(
        &self,
        class: RetentionClass,
        cutoff: &Cutoff,
        all: &Cutoffs,
        now: Timestamp,
    ) -> Result<Option<RemovedStep>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let marks = marks(&mut snapshot).await?;
        let from = marks.get(&class).map_or(i64::MIN, |mark| mark.through_us - 1);
        let going = bounded(snapshot.rows(of_class(class, from, cutoff, all)).await?);
        drop(snapshot);
        let Some((_, last, _)) = going.last().copied() else { return Ok(None) };
        let number = marks.get(&class).map_or(0, |mark| mark.through_number);
        let mark = Mark { through_us: last + 1, through_number: number };
        self.remove_numbered(class, cutoff, now, mark, &going).await.map(Some)
    }

    async fn remove_numbered(
        &self,
        class: RetentionClass,
        cutoff: &Cutoff,
        now: Timestamp,
        mark: Mark,
        going: &[Going],
    ) -> Result<RemovedStep, StoreError> {
        let mut tx = self.begin_derived().await?;
        // First the correlator's row, as `apply` has it: neither waits for the other with half of its work done.
        lock_correlator(&mut tx).await?;
        let (calls, findings) = delete(&mut tx, going).await?;
        let bytes = going.iter().map(|(_, _, bytes)| bytes).sum();
        let step = RemovedStep { items: calls, lines: 0, bytes };
        write_down(&mut tx, Note { class, cutoff, now, mark, step, deliveries: None }).await?;
        let count = "update correlator set call_count = call_count - ?, finding_count = finding_count - ?, \
                     removed_before_us = case when removed_before_us < ? then ? else removed_before_us end";
        let before = if class == RetentionClass::Calls { mark.through_us } else { i64::MIN };
        tx.execute(stmt(count).int(calls).int(findings).int(before).int(before)).await?;
        tx.commit().await?;
        Ok(step)
    }

    /// All of a class that may go is gone. The mark then says so, where anything ever went: the other side of the last call that was
    /// removed may start after it.
    pub(super) async fn reach(&self, class: RetentionClass, cutoff: &Cutoff) -> Result<(), StoreError> {
        let before = cutoff.before.micros();
        let known = marks(&mut self.snapshot().await?).await?;
        let Some(mark) = known.get(&class).filter(|mark| mark.through_us < before) else { return Ok(()) };
        let mut tx = self.begin_derived().await?;
        lock_correlator(&mut tx).await?;
        set_mark(&mut tx, class, Mark { through_us: before, ..*mark }).await?;
        if class == RetentionClass::Calls {
            let update = "update correlator set removed_before_us = ? where removed_before_us < ?";
            tx.execute(stmt(update).int(before).int(before)).await?;
        }
        tx.commit().await
    }

    /// What came back: calls of times that have been removed, from late lines or from deriving again. By the rules of then.
    pub async fn remove_again(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut removed = 0;
        let mut snapshot = self.snapshot().await?;
        let marks = marks(&mut snapshot).await?;
        let Some(mark) = marks.get(&RetentionClass::Calls).copied() else { return Ok(0) };
        let next: Vec<(i64,)> = snapshot.rows(stmt("select next_call from correlator")).await?;
        let (next,) =
            next.into_iter().next().ok_or_else(|| inconsistent("correlator", "its only row is missing"))?;
        let buckets = "select bucket from bucket where bucket >= ? and first_start_us < ? order by bucket";
        let buckets = stmt(buckets).int(mark.through_number >> BUCKET_BITS).int(mark.through_us);
        let buckets: Vec<(i64,)> = snapshot.rows(buckets).await?;
        drop(snapshot);
        for (bucket,) in buckets {
            let from = mark.through_number.max(bucket << BUCKET_BITS);
            loop {
                let began = Instant::now();
                let select = come_back(&marks, from, (bucket + 1) << BUCKET_BITS);
                let going = bounded(self.rows(select).await?);
                if going.is_empty() {
                    break;
                }
                let cutoff = Cutoff { before: Timestamp(mark.through_us), rule: "came late".to_owned() };
                let step = self.remove_numbered(RetentionClass::Calls, &cutoff, now, mark, &going).await?;
                removed += step.items as u64;
                pause(began).await;
            }
        }
        let mut tx = self.begin_derived().await?;
        set_mark(&mut tx, RetentionClass::Calls, Mark { through_number: next, ..mark }).await?;
        tx.commit().await?;
        Ok(removed)
    }
}

/// Until the transaction ends; and tells whoever derives that something has gone.
pub(super) async fn lock_correlator(tx: &mut Tx) -> Result<(), StoreError> {
    tx.execute(stmt("update correlator set removals = removals + 1")).await.map(|_| ())
}

fn bounded(mut going: Vec<Going>) -> Vec<Going> {
    let mut bytes = 0;
    let full = going.iter().position(|(_, _, of_call)| {
        bytes += of_call;
        bytes >= BYTES
    });
    going.truncate(full.map_or(going.len(), |last| last + 1));
    going
}

/// How many calls and how many findings.
async fn delete(tx: &mut Tx, going: &[Going]) -> Result<(i64, i64), StoreError> {
    let (mut calls, mut findings) = (0, 0);
    for some in going.chunks(IDS) {
        for (table, count) in [("finding", &mut findings), ("call", &mut calls)] {
            let mut delete = stmt(format!("delete from {table} where number in "));
            delete.push_list(some.iter().map(|(number, _, _)| Bind::int(*number)).collect());
            *count += tx.execute(delete).await? as i64;
        }
    }
    Ok((calls, findings))
}

/// Whether a call (`c`) has a finding that is held against somebody.
fn accused() -> String {
    let severity = Severity::ACCUSES.code();
    format!("exists (select 1 from finding f where f.number = c.number and f.severity >= {severity})")
}

/// The next calls of a class that started in `[from, cutoff)`, by start.
fn of_class(class: RetentionClass, from: i64, cutoff: &Cutoff, all: &Cutoffs) -> Stmt {
    let mut select = stmt(
        "select c.number, c.start_us, cast(length(c.packed) as bigint) from call c where c.start_us >= ? \
                           and c.start_us < ?",
    );
    select = select.int(from).int(cutoff.before.micros());
    belongs(&mut select, class, [from, cutoff.before.micros()], all);
    select.push(" order by c.start_us limit ?", [Bind::int(CALLS)]);
    select
}

/// That a call (`c`) that started in `[from, to)` belongs to a class, and to no other that stays longer.
fn belongs(select: &mut Stmt, class: RetentionClass, [from, to]: [i64; 2], all: &Cutoffs) {
    let until = |class| all.get(&class).map_or(i64::MIN, |cutoff| cutoff.before.micros());
    match class {
        RetentionClass::Denied => {
            let accused = format!(" and c.effect = 1 and (c.start_us < ? or not {})", accused());
            select.push(&accused, [Bind::int(until(RetentionClass::Findings))]);
        }
        RetentionClass::Findings => {
            let severity = Severity::ACCUSES.code();
            let accused = format!(
                " and (c.effect is null or c.effect <> 1 or c.start_us < ?) and c.number in (select f.number from finding f \
                 where f.severity >= {severity} and f.start_us >= ? and f.start_us < ?)"
            );
            select.push(&accused, [until(RetentionClass::Denied), from, to].map(Bind::int));
        }
        _ => select.push(&format!(" and (c.effect is null or c.effect <> 1) and not {}", accused()), []),
    }
}

/// How many calls of a class may go.
pub(super) fn may_go(class: RetentionClass, all: &Cutoffs) -> Stmt {
    let to = all.get(&class).map_or(i64::MIN, |cutoff| cutoff.before.micros());
    let mut select = stmt("select count(*) from call c where c.start_us < ?").int(to);
    belongs(&mut select, class, [i64::MIN, to], all);
    select
}

/// Calls with numbers in `[from, to)` that would have gone, had they been there.
fn come_back(marks: &Marks, from: i64, to: i64) -> Stmt {
    let until = |class| marks.get(&class).map_or(i64::MIN, |mark| mark.through_us);
    let mut select = stmt(
        "select c.number, c.start_us, cast(length(c.packed) as bigint) from call c where c.number >= ? and c.number < ? \
         and c.start_us < ?",
    );
    select = select.int(from).int(to).int(until(RetentionClass::Calls));
    let denied = " and (c.effect is null or c.effect <> 1 or c.start_us < ?)";
    select.push(denied, [Bind::int(until(RetentionClass::Denied))]);
    let accused = format!(" and (c.start_us < ? or not {}) order by c.number limit ?", accused());
    select.push(&accused, [Bind::int(until(RetentionClass::Findings)), Bind::int(CALLS)]);
    select
}
