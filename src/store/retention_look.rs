//! What each class holds, since when, and how much of it may go. It only counts, and takes its time for that.

use super::packed_leg::Code;
use super::retention::marks;
use super::retention_calls::may_go;
use super::statement::{Stmt, Tx, stmt};
use super::statistics::level;
use super::{Store, StoreError};
use crate::model::{Cutoffs, RetentionClass, Severity, Timestamp};

/// What a class holds. Calls are counted once: one that was denied under that, also when it is accused of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassHoldings {
    pub class: RetentionClass,
    /// Deliveries, calls or sums.
    pub items: i64,
    /// Without indexes; of calls about.
    pub bytes: i64,
    /// The oldest that is there.
    pub since: Option<Timestamp>,
    /// What is older may have been removed.
    pub removed_before: Option<Timestamp>,
    /// Items that the rules would remove now.
    pub may_go: i64,
}

impl Store {
    pub async fn class_holdings(&self, cutoffs: &Cutoffs) -> Result<Vec<ClassHoldings>, StoreError> {
        let mut tx = self.snapshot().await?;
        let marks = marks(&mut tx).await?;
        let mut all = Vec::new();
        for class in RetentionClass::ALL.iter().copied() {
            let held = held(&mut tx, class).await?;
            let may_go = match cutoffs.get(&class) {
                None => 0,
                Some(_) if class.is_of_calls() => one(&mut tx, may_go(class, cutoffs)).await?,
                Some(cutoff) => one(&mut tx, older(class, cutoff.before.micros())).await?,
            };
            all.push(ClassHoldings {
                class,
                items: held.items,
                bytes: held.bytes,
                since: held.since_us.map(Timestamp),
                removed_before: marks.get(&class).map(|mark| Timestamp(mark.through_us)),
                may_go,
            });
        }
        Ok(all)
    }
}

struct Held {
    items: i64,
    bytes: i64,
    since_us: Option<i64>,
}

async fn held(tx: &mut Tx, class: RetentionClass) -> Result<Held, StoreError> {
    let select = match class {
        RetentionClass::Evidence => stmt(
            "select count(*), (select cast(coalesce(sum(length(packed)), 0) as bigint) from block), min(received_at_us) \
             from delivery where secret is not null",
        ),
        class if class.is_of_calls() => stmt(format!(
            "select count(*), count(*) * (select cast(coalesce(avg(length(s.packed)), 0) as bigint) from (select packed from call \
             order by number desc limit 2048) s), min(c.start_us) from call c where {}",
            kind(class)
        )),
        class => stmt(format!(
            "select count(*), cast(coalesce(sum(length(durations) + 88), 0) as bigint), min(at_us) from statistic \
             where level in ({})",
            levels(class)
        )),
    };
    let rows: Vec<(i64, i64, Option<i64>)> = tx.rows(select).await?;
    let (items, bytes, since_us) = rows.into_iter().next().unwrap_or_default();
    Ok(Held { items, bytes, since_us })
}

/// Which calls (`c`) are told of under a class.
fn kind(class: RetentionClass) -> String {
    let accused = format!(
        "c.number in (select f.number from finding f where f.severity >= {})",
        Severity::ACCUSES.code()
    );
    let other = "(c.effect is null or c.effect <> 1)";
    match class {
        RetentionClass::Denied => "c.effect = 1".to_owned(),
        RetentionClass::Findings => format!("{other} and {accused}"),
        _ => format!("{other} and not {accused}"),
    }
}

fn levels(class: RetentionClass) -> String {
    let grain_us = class.grain_us().unwrap_or(0);
    let of = |(by_caller, by_callee)| level(grain_us, by_caller, by_callee).to_string();
    [(true, true), (true, false), (false, true), (false, false)].map(of).join(", ")
}

/// How many deliveries or sums may go.
fn older(class: RetentionClass, before_us: i64) -> Stmt {
    match class {
        RetentionClass::Evidence => stmt(
            "select count(*) from delivery where secret is not null and received_at_us < ? \
             and number <= (select position from correlator)",
        ),
        class => {
            stmt(format!("select count(*) from statistic where level in ({}) and at_us < ?", levels(class)))
        }
    }
    .int(before_us)
}

async fn one(tx: &mut Tx, count: Stmt) -> Result<i64, StoreError> {
    Ok(tx.rows::<(i64,)>(count).await?.first().map_or(0, |(count,)| *count))
}
