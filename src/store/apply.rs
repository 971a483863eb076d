//! What follows from evidence, written with the correlator's position or not at all.
//!
//! The first statement moves the position under its epoch and so locks the correlator's row: whoever has lost the office finds
//! no such row and stops there. Rows that are replaced are looked up first, which nobody else can change meanwhile: that a call is
//! there once rests on this, not on an index of all ids.

use super::bulk::Target;
use super::call_rows::{CallRows, Named, leg_key};
use super::distribution::{Origin, tables_of};
use super::error::inconsistent;
use super::key_held::Span;
use super::key_index::NewKeys;
use super::statement::{Bind, Stmt, Tx, stmt};
use super::{
    Change, CoverageDelta, IndexedCall, Position, Store, StoreError, StoredReject, connections, heard,
    index_text, journal,
};
use crate::model::{CallId, StatisticDelta, Timestamp};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Numbers per `in` list.
const IDS: usize = 512;

impl Store {
    /// Takes the correlator's place in the evidence: raises the epoch, so that whoever had it before is fenced. `Fenced` when the
    /// office under which we do so has been taken since.
    pub async fn take_correlator(&self) -> Result<Position, StoreError> {
        let mut tx = self.begin_in_office().await?;
        let position =
            raise_epoch(&mut tx, stmt("update correlator set epoch = epoch + 1 returning position, epoch"))
                .await?;
        tx.commit().await?;
        self.forget_recent();
        Ok(position)
    }

    /// Throws everything derived away and sets the position to 0, under a new epoch.
    pub async fn reset_derived(&self) -> Result<Position, StoreError> {
        let mut tx = self.begin_in_office().await?;
        let position = reset(&mut tx).await?;
        tx.commit().await?;
        Ok(position)
    }

    /// All of the change and the new position, or nothing. `Fenced` when the epoch or the position is not the change's.
    pub async fn apply(&self, change: &Change) -> Result<(), StoreError> {
        let written = self.write_change(change).await;
        if written.is_err() {
            self.forget_recent();
        }
        written
    }

    async fn write_change(&self, change: &Change) -> Result<(), StoreError> {
        let upserts: BTreeMap<CallId, &IndexedCall> = change.upserts.iter().map(|u| (u.call.id, u)).collect();
        let packed = self.pack(upserts.values().map(|indexed| &*indexed.call)).await?;
        let mut tx = self.begin_derived().await?;
        let Moved { first_number, next_run, removals, frozen } = move_position(&mut tx, change).await?;
        let span = spans(upserts.values()).reduce(Span::and);
        let old = self.old_calls(&mut tx, &upserts, &change.removed).await?;
        journal::write(&mut tx, change, &old).await?;
        let findings_gone = delete_calls(&mut tx, &old).await?;

        let named = Named::of(upserts.values().copied());
        let parties = self.numbered(&mut tx, &named.parties).await?;
        let mut rows = CallRows::of(&upserts, packed, &named, &parties, first_number);
        let counts = [upserts.len() as i64 - old.len() as i64, rows.findings() - findings_gone];
        let (pairs, dead) = (std::mem::take(&mut rows.pairs), old.values().copied().collect());
        rows.write(&mut tx).await?;
        let runs = self.add_keys(&mut tx, NewKeys { pairs, dead, next_run, span }).await?;

        let rejects = tx.insert(&REJECTS, reject_rows(&change.rejects)).await? as i64;
        connections::add(&mut tx, &change.connections).await?;
        tx.insert(&COVERAGE, coverage_rows(&change.coverage, frozen)).await?;
        heard::add(&mut tx, &change.heard).await?;
        self.add_statistics(&mut tx, &not_frozen(&change.statistics, frozen)).await?;
        let next = [first_number + upserts.len() as i64, runs.next_run];
        tx.execute(count(counts, rejects, next)).await?;
        tx.commit().await?;
        self.remembered.remember_parties(parties);
        self.remembered.remember_runs(runs.runs);
        self.forget_recent_before(removals);
        self.remember_recent(upserts.values().copied(), first_number, old.into_values());
        Ok(())
    }

    /// Those of the calls that are stored, with their numbers.
    async fn old_calls(
        &self,
        tx: &mut Tx,
        upserts: &BTreeMap<CallId, &IndexedCall>,
        removed: &[CallId],
    ) -> Result<BTreeMap<CallId, i64>, StoreError> {
        let ids: BTreeSet<CallId> = upserts.keys().chain(removed).copied().collect();
        let keys: Vec<i64> = ids.iter().map(leg_key).collect();
        let numbers = self.numbers_under(tx, &keys, None).await?;
        let mut old = BTreeMap::new();
        for numbers in numbers.chunks(IDS) {
            let mut select = stmt("select number, id from call where number in ");
            select.push_list(numbers.iter().copied().map(Bind::int).collect());
            for (number, id) in tx.rows::<(i64, Vec<u8>)>(select).await? {
                let id = super::calls::call_id(id)?;
                if ids.contains(&id) {
                    old.insert(id, number);
                }
            }
        }
        Ok(old)
    }
}

/// Of the calls and their legs, by their own clocks, since by these whoever looks for them again knows them.
fn spans<'a>(upserts: impl Iterator<Item = &'a &'a IndexedCall>) -> impl Iterator<Item = Span> {
    upserts.flat_map(|indexed| {
        let legs = indexed.call.legs.iter().map(|leg| Span::of(leg.start, leg.end()));
        legs.chain([Span::of(indexed.call.start, indexed.call.end())])
    })
}

pub(super) async fn reset(tx: &mut Tx) -> Result<Position, StoreError> {
    let reset = "update correlator set epoch = epoch + 1, position = 0, call_count = 0, finding_count = 0, \
                 reject_count = 0, heard_us = 0, counted = 0 returning position, epoch";
    let position = raise_epoch(tx, stmt(reset)).await?;
    for table in tables_of(Origin::Derived) {
        // What an operator has declared does not come from the lines.
        let all = if table == "blind_window" { " where reason = 'silent'" } else { "" };
        tx.execute(stmt(format!("delete from {table}{all}"))).await?;
    }
    Ok(position)
}

pub(super) async fn raise_epoch(tx: &mut Tx, update: Stmt) -> Result<Position, StoreError> {
    let rows: Vec<(i64, i64)> = tx.rows(update).await?;
    let (number, epoch) =
        rows.into_iter().next().ok_or_else(|| inconsistent("correlator", "its only row is missing"))?;
    Ok(Position { number: number as u64, epoch: epoch as u64 })
}

/// Where the change begins to write.
struct Moved {
    first_number: i64,
    next_run: i64,
    /// How often calls have been removed.
    removals: i64,
    /// What is summed of the time before stays as it is: calls of that time are gone.
    frozen: Timestamp,
}

async fn move_position(tx: &mut Tx, change: &Change) -> Result<Moved, StoreError> {
    let update = "update correlator set position = ? where epoch = ? and position = ? \
                  returning next_call, next_run, removals, removed_before_us";
    let update = stmt(update).int(change.to as i64).int(change.epoch as i64).int(change.from as i64);
    let row: Option<(i64, i64, i64, i64)> = tx.rows(update).await?.into_iter().next();
    let (first_number, next_run, removals, frozen) = row.ok_or(StoreError::Fenced)?;
    Ok(Moved { first_number, next_run, removals, frozen: Timestamp(frozen) })
}

fn not_frozen(deltas: &[StatisticDelta], frozen: Timestamp) -> Cow<'_, [StatisticDelta]> {
    match deltas.iter().all(|(key, _)| key.minute >= frozen) {
        true => deltas.into(),
        false => deltas.iter().filter(|(key, _)| key.minute >= frozen).cloned().collect(),
    }
}

fn count([calls, findings]: [i64; 2], rejects: i64, [next_call, next_run]: [i64; 2]) -> Stmt {
    let count = "update correlator set call_count = call_count + ?, finding_count = finding_count + ?, \
                 reject_count = reject_count + ?, next_call = ?, next_run = ?";
    stmt(count).int(calls).int(findings).int(rejects).int(next_call).int(next_run)
}

/// How many findings went with them.
async fn delete_calls(tx: &mut Tx, old: &BTreeMap<CallId, i64>) -> Result<i64, StoreError> {
    let numbers: Vec<Bind> = old.values().copied().map(Bind::int).collect();
    let mut findings = 0;
    for numbers in numbers.chunks(IDS) {
        let mut delete = stmt("delete from finding where number in ");
        delete.push_list(numbers.to_vec());
        findings += tx.execute(delete).await? as i64;
        let mut delete = stmt("delete from call where number in ");
        delete.push_list(numbers.to_vec());
        tx.execute(delete).await?;
    }
    Ok(findings)
}

const REJECTS: Target = Target {
    table: "reject",
    columns: "delivery, line, source, received_at_us, reason, detail",
    on_conflict: " on conflict do nothing",
};

fn reject_rows(rejects: &[StoredReject]) -> Vec<Bind> {
    let rows = rejects.iter().flat_map(|r| {
        [
            Bind::int(r.delivery as i64),
            Bind::int(r.line.into()),
            Bind::text(&r.source),
            Bind::int(r.received_at.micros()),
            Bind::text(r.reason.as_str()),
            Bind::text(&r.detail),
        ]
    });
    rows.collect()
}

const COVERAGE: Target = Target {
    table: "coverage",
    columns: "identity, hour_us, inbound_expected, inbound_seen, outbound_expected, outbound_seen",
    on_conflict: " on conflict (identity, hour_us) do update set \
        inbound_expected = coverage.inbound_expected + excluded.inbound_expected, \
        inbound_seen = coverage.inbound_seen + excluded.inbound_seen, \
        outbound_expected = coverage.outbound_expected + excluded.outbound_expected, \
        outbound_seen = coverage.outbound_seen + excluded.outbound_seen",
};

fn coverage_rows(deltas: &[CoverageDelta], frozen: Timestamp) -> Vec<Bind> {
    let mut merged: HashMap<(String, i64), [i64; 4]> = HashMap::new();
    for d in deltas.iter().filter(|d| d.hour >= frozen) {
        let sums = merged.entry((index_text(&d.identity).into_owned(), d.hour.micros())).or_default();
        let delta = [d.inbound_expected, d.inbound_seen, d.outbound_expected, d.outbound_seen];
        sums.iter_mut().zip(delta).for_each(|(sum, delta)| *sum += delta);
    }
    let rows = merged.into_iter().filter(|(_, sums)| *sums != [0; 4]).flat_map(|((identity, hour), sums)| {
        [Bind::text(&identity), Bind::int(hour)].into_iter().chain(sums.map(Bind::int))
    });
    rows.collect()
}
