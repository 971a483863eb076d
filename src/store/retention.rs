//! Removing what need not be kept any longer: in steps, each a transaction of some thousand rows that writes down what it has
//! removed, with a pause after it at least as long as it took, so that whoever commits never waits for more than one.
//!
//! It can be broken off anywhere: what a step has not written it has not removed, and the next pass goes on where the marks
//! stand. It decides nothing about for how long what is kept.

use super::apply::{raise_epoch, reset};
use super::error::inconsistent;
use super::retention_calls::lock_correlator;
use super::statement::{Bind, Tx, stmt};
use super::{Position, Store, StoreError};
use crate::model::{Call, Cutoff, Cutoffs, Removal, Removed, RetentionClass, RetentionRules, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

const DAY_US: i64 = 24 * 3_600_000_000;
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What one step has removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemovedStep {
    /// Deliveries, calls or sums.
    pub items: i64,
    pub lines: i64,
    /// As they had been stored, without indexes.
    pub bytes: i64,
}

/// How far a class has been removed: everything before a time; evidence up to a delivery; calls that were looked at below a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub through_us: i64,
    pub through_number: i64,
}

pub(super) type Marks = BTreeMap<RetentionClass, Mark>;

/// What a step writes down besides its removals.
pub(super) struct Note<'a> {
    pub class: RetentionClass,
    pub cutoff: &'a Cutoff,
    pub now: Timestamp,
    pub mark: Mark,
    pub step: RemovedStep,
    /// First and last, of evidence.
    pub deliveries: Option<(i64, i64)>,
}

/// What the correlator must know of what is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bygone {
    /// Calls that started before this may have been removed.
    pub calls_before: Option<Timestamp>,
    /// The lines of this delivery and of all before it are gone.
    pub evidence_through: u64,
    /// Up to this delivery sources and observers are counted, although the position may stand before it.
    pub counted: u64,
}

impl Bygone {
    pub fn is_nothing(&self) -> bool {
        self.calls_before.is_none() && self.evidence_through == 0
    }
}

impl Store {
    /// Removes all that may go, step by step. `told` hears of each step.
    pub async fn remove(
        &self,
        cutoffs: &Cutoffs,
        now: Timestamp,
        told: impl Fn(RetentionClass, RemovedStep),
    ) -> Result<(), StoreError> {
        for (class, cutoff) in cutoffs {
            loop {
                let began = Instant::now();
                let Some(step) = self.remove_some(*class, cutoff, cutoffs, now).await? else { break };
                told(*class, step);
                pause(began).await;
            }
            if class.is_of_calls() {
                self.reach(*class, cutoff).await?;
            }
        }
        self.remove_again(now).await?;
        self.tidy_up().await
    }

    /// What may go by the rules. Ages are counted back from `now`, but never from after the newest delivery was received, so that a
    /// clock that has run ahead does not mark times as removed that are still to come.
    pub async fn cutoffs(&self, rules: &RetentionRules, now: Timestamp) -> Result<Cutoffs, StoreError> {
        let select = stmt("select received_at_us from delivery order by number desc limit 1");
        let newest: Option<(i64,)> = self.row(select).await?;
        Ok(rules.cutoffs(newest.map_or(now, |(received,)| now.min(Timestamp(received)))))
    }

    /// Removes all that may go by the rules.
    pub async fn retain(
        &self,
        rules: &RetentionRules,
        now: Timestamp,
        told: impl Fn(RetentionClass, RemovedStep),
    ) -> Result<(), StoreError> {
        let cutoffs = self.cutoffs(rules, now).await?;
        self.remove(&cutoffs, now, told).await
    }

    async fn remove_some(
        &self,
        class: RetentionClass,
        cutoff: &Cutoff,
        all: &Cutoffs,
        now: Timestamp,
    ) -> Result<Option<RemovedStep>, StoreError> {
        match class {
            RetentionClass::Evidence => self.remove_evidence(cutoff, now).await,
            class if class.is_of_calls() => self.remove_calls(class, cutoff, all, now).await,
            class => self.remove_statistics(class, cutoff, now).await,
        }
    }

    /// How far each class has been removed; none that never was.
    pub async fn removed(&self) -> Result<Vec<Removed>, StoreError> {
        let removed = |(class, mark): (RetentionClass, Mark)| Removed {
            class,
            before: Timestamp(mark.through_us),
            through_delivery: match class {
                RetentionClass::Evidence => mark.through_number as u64,
                _ => 0,
            },
        };
        Ok(marks(&mut self.snapshot().await?).await?.into_iter().map(removed).collect())
    }

    /// Everything that was ever removed, newest first.
    pub async fn removals(&self) -> Result<Vec<Removal>, StoreError> {
        let select = "select class, rule, first_at_us, last_at_us, through_us, items, lines, bytes, first_delivery, \
                      last_delivery from retention order by last_at_us desc, class, rule";
        let rows: Vec<RemovalRow> = self.rows(stmt(select)).await?;
        rows.into_iter().map(removal).collect()
    }

    /// Also of a database that an older program wrote, which has removed nothing.
    pub(super) async fn evidence_removed_through(&self) -> Result<u64, StoreError> {
        match self.bygone().await {
            Ok(bygone) => Ok(bygone.evidence_through),
            Err(StoreError::Other(_)) => Ok(0),
            Err(error) => Err(error),
        }
    }

    pub async fn bygone(&self) -> Result<Bygone, StoreError> {
        Ok(bygone(self.only_row("correlator", stmt(BYGONE)).await?))
    }
}

const BYGONE: &str = "select (select count(*) from removed where class = 'calls'), removed_before_us, \
     coalesce((select through_number from removed where class = 'evidence'), 0), counted from correlator";

fn bygone((any, before, evidence, counted): (i64, i64, i64, i64)) -> Bygone {
    Bygone {
        calls_before: (any > 0).then_some(Timestamp(before)),
        evidence_through: evidence as u64,
        counted: counted as u64,
    }
}

impl Store {
    /// Makes ready for deriving again, under a new epoch. Where nothing is gone, everything derived is thrown away. Else the position
    /// goes back to the last delivery whose lines are gone, and everything stays that was derived but the rejects of what comes again;
    /// sources and observers stay counted as they are. What is gone is read where nobody can remove more before the position stands.
    pub async fn begin_again(&self) -> Result<(Position, Bygone), StoreError> {
        let mut tx = self.begin_in_office().await?;
        lock_correlator(&mut tx).await?;
        let row = tx.rows(stmt(BYGONE)).await?.into_iter().next();
        let bygone = bygone(row.ok_or_else(|| inconsistent("correlator", "its only row is missing"))?);
        let position = match bygone.is_nothing() {
            true => reset(&mut tx).await?,
            false => rewind(&mut tx, bygone.evidence_through).await?,
        };
        tx.commit().await?;
        self.forget_recent();
        Ok((position, bygone))
    }

    /// Calls in the order of their numbers, with these.
    pub async fn calls_after(&self, number: i64, limit: u32) -> Result<Vec<(i64, Call)>, StoreError> {
        let mut tx = self.snapshot().await?;
        let select = stmt("select number from call where number > ? order by number limit ?");
        let numbers: Vec<(i64,)> = tx.rows(select.int(number).int(limit.into())).await?;
        let numbers: Vec<i64> = numbers.into_iter().map(|(number,)| number).collect();
        self.numbered_calls(&mut tx, &numbers).await
    }
}

async fn rewind(tx: &mut Tx, to: u64) -> Result<Position, StoreError> {
    let rewind = "update correlator set epoch = epoch + 1, counted = case when position > counted then position \
                  else counted end, position = ? returning position, epoch";
    let position = raise_epoch(tx, stmt(rewind).int(to as i64)).await?;
    let rejects = tx.execute(stmt("delete from reject where delivery > ?").int(to as i64)).await? as i64;
    tx.execute(stmt("update correlator set reject_count = reject_count - ?").int(rejects)).await?;
    Ok(position)
}

type RemovalRow = (String, String, i64, i64, i64, i64, i64, i64, Option<i64>, Option<i64>);

fn removal(row: RemovalRow) -> Result<Removal, StoreError> {
    let (class, rule, first_at, last_at, through, items, lines, bytes, first, last) = row;
    Ok(Removal {
        class: class.parse().map_err(|e| inconsistent("retention", e))?,
        rule,
        first_at: Timestamp(first_at),
        last_at: Timestamp(last_at),
        before: Timestamp(through),
        items,
        lines,
        bytes,
        deliveries: first.zip(last).map(|(first, last)| (first as u64, last as u64)),
    })
}

/// Lets others write for as long as a step took.
pub(super) async fn pause(began: Instant) {
    tokio::time::sleep(began.elapsed().clamp(SHORTEST_PAUSE, LONGEST_PAUSE)).await;
}

pub(super) async fn marks(tx: &mut Tx) -> Result<Marks, StoreError> {
    let rows: Vec<(String, i64, i64)> =
        tx.rows(stmt("select class, through_us, through_number from removed")).await?;
    let mark = |(class, through_us, through_number): (String, i64, i64)| {
        let class = class.parse().map_err(|e| inconsistent("removed", e))?;
        Ok((class, Mark { through_us, through_number }))
    };
    rows.into_iter().map(mark).collect()
}

/// Written in the transaction that removes.
pub(super) async fn write_down(tx: &mut Tx, note: Note<'_>) -> Result<(), StoreError> {
    set_mark(tx, note.class, note.mark).await?;
    let insert = "insert into retention (class, rule, day_us, first_at_us, last_at_us, through_us, items, lines, bytes, \
                  first_delivery, last_delivery) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
                  on conflict (class, rule, day_us) do update set last_at_us = excluded.last_at_us, \
                  through_us = case when excluded.through_us > retention.through_us then excluded.through_us \
                  else retention.through_us end, items = retention.items + excluded.items, \
                  lines = retention.lines + excluded.lines, bytes = retention.bytes + excluded.bytes, \
                  last_delivery = excluded.last_delivery";
    let now_us = note.now.micros();
    let insert = stmt(insert).text(note.class.as_str()).text(&note.cutoff.rule);
    let insert = insert.int(now_us - now_us.rem_euclid(DAY_US)).int(now_us).int(now_us);
    let RemovedStep { items, lines, bytes } = note.step;
    let insert = insert.int(note.mark.through_us).int(items).int(lines).int(bytes);
    let (first, last) = note.deliveries.unzip();
    tx.execute(insert.bind(Bind::Int(first)).bind(Bind::Int(last))).await?;
    Ok(())
}

/// Marks only go forward.
pub(super) async fn set_mark(tx: &mut Tx, class: RetentionClass, mark: Mark) -> Result<(), StoreError> {
    let upsert = "insert into removed (class, through_us, through_number) values (?, ?, ?) on conflict (class) do update set \
                  through_us = case when excluded.through_us > removed.through_us then excluded.through_us \
                  else removed.through_us end, through_number = case when excluded.through_number > removed.through_number \
                  then excluded.through_number else removed.through_number end";
    tx.execute(stmt(upsert).text(class.as_str()).int(mark.through_us).int(mark.through_number)).await?;
    Ok(())
}
