//! What removed calls leave behind: runs of keys that lead nowhere, empty buckets, connections and measures of times of which no
//! call is left, pages of the file that hold nothing.
//!
//! None of it makes an answer wrong; all of it costs room and time.

use super::call_rows::BUCKET_BITS;
use super::key_index::{self, PLACE_BITS, Run};
use super::key_run::Pair;
use super::retention::{Mark, marks, pause};
use super::statement::{Bind, Tx, stmt};
use super::{Store, StoreError};
use crate::model::RetentionClass;
use std::collections::HashSet;
use tokio::time::Instant;

/// Rows that one step looks at.
const ROWS: i64 = 4_096;
/// Chunks of keys that one step deletes.
const CHUNKS: i64 = 1_024;
/// Keys per call above which most keys of a run lead nowhere: calls have about ten.
const KEYS_PER_CALL: i64 = 30;
const DAY_US: i64 = 24 * 3_600_000_000;

impl Store {
    pub(super) async fn tidy_up(&self) -> Result<(), StoreError> {
        self.remove_empty_buckets().await?;
        self.remove_runs().await?;
        self.remove_stray_chunks().await?;
        self.remove_measures().await?;
        self.give_back_pages().await
    }

    async fn remove_empty_buckets(&self) -> Result<(), StoreError> {
        let began = Instant::now();
        // No call is ever written again into a bucket that the next number has left behind.
        let select = "select b.bucket from bucket b, correlator o where b.bucket < (o.next_call >> 16) \
                      and b.last_start_us < o.removed_before_us \
                      and not exists (select 1 from call c where c.bucket = b.bucket)";
        debug_assert_eq!(BUCKET_BITS, 16);
        let empty: Vec<(i64,)> = self.rows(stmt(select)).await?;
        for empty in empty.chunks(ROWS as usize) {
            let mut tx = self.begin_derived().await?;
            let mut delete = stmt("delete from bucket where bucket in ");
            delete.push_list(empty.iter().map(|(bucket,)| Bind::int(*bucket)).collect());
            tx.execute(delete).await?;
            tx.commit().await?;
            pause(began).await;
        }
        Ok(())
    }

    /// Runs of which no call is left go at once; one whose calls are mostly gone is written anew without them.
    async fn remove_runs(&self) -> Result<(), StoreError> {
        let mut snapshot = self.snapshot().await?;
        if !marks(&mut snapshot).await?.contains_key(&RetentionClass::Calls) {
            return Ok(());
        }
        let ids: Vec<(i64,)> = snapshot.rows(stmt("select id from key_run order by id")).await?;
        drop(snapshot);
        for (id,) in ids {
            let began = Instant::now();
            if self.shorten_run(id).await? {
                pause(began).await;
            }
        }
        let ids: Vec<(i64,)> = self.rows(stmt("select id from key_run order by id")).await?;
        let ids: Vec<i64> = ids.into_iter().map(|(id,)| id).collect();
        self.remembered.forget_runs_but(&ids);
        Ok(())
    }

    /// True when it wrote. Reading comes first, while others write: a run never changes.
    async fn shorten_run(&self, id: i64) -> Result<bool, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let run: Vec<(i64, i64, Option<i64>)> =
            snapshot.rows(stmt("select pairs, base, top from key_run where id = ?").int(id)).await?;
        // It has been merged into another meanwhile.
        let Some((pairs, base, top)) = run.into_iter().next().filter(|(pairs, ..)| *pairs > 0) else {
            return Ok(false);
        };
        let is_past = "select count(*) from bucket b, correlator o where b.bucket >= ? and b.bucket <= ? \
                       and b.last_start_us >= o.removed_before_us";
        let top = match top {
            Some(top) => top,
            None => all(&mut snapshot, id).await?.1.iter().map(|(_, number)| *number).max().unwrap_or(base),
        };
        let within = [base >> BUCKET_BITS, top >> BUCKET_BITS];
        let still: Vec<(i64,)> = snapshot.rows(stmt(is_past).int(within[0]).int(within[1])).await?;
        let next: Vec<(i64,)> = snapshot.rows(stmt("select next_call >> 16 from correlator")).await?;
        if still.iter().any(|(n,)| *n > 0) || next.iter().any(|(bucket,)| within[1] >= *bucket) {
            return Ok(false);
        }
        let select = stmt("select number from call where number >= ? and number <= ?").int(base).int(top);
        let live: HashSet<i64> = snapshot.rows::<(i64,)>(select).await?.into_iter().map(|(n,)| n).collect();
        if !live.is_empty() && pairs <= KEYS_PER_CALL * live.len() as i64 {
            return Ok(false);
        }
        let kept: Vec<Pair> = match live.is_empty() {
            true => Vec::new(),
            false => all(&mut snapshot, id).await?.1,
        };
        drop(snapshot);
        let kept: Vec<Pair> = kept.into_iter().filter(|(_, number)| live.contains(number)).collect();
        // Calls of very many legs: nothing to be gained.
        if !kept.is_empty() && kept.len() as i64 * 2 > pairs {
            return Ok(false);
        }
        self.put_in_place_of(id, &kept).await
    }

    /// Its chunks go afterwards, step by step: nothing leads to them any more.
    async fn put_in_place_of(&self, id: i64, kept: &[Pair]) -> Result<bool, StoreError> {
        let mut tx = self.begin_derived().await?;
        let take = "update correlator set next_run = next_run + 1 returning next_run - 1";
        let next: Vec<(i64,)> = tx.rows(stmt(take)).await?;
        if tx.execute(stmt("delete from key_run where id = ?").int(id)).await? == 0 {
            return Ok(false);
        }
        if let (Some((next_run,)), false) = (next.first().copied(), kept.is_empty()) {
            key_index::write_run(&mut tx, next_run, kept).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Chunks of runs that are no more: leaps from run to run.
    async fn remove_stray_chunks(&self) -> Result<(), StoreError> {
        let mut from = 0;
        loop {
            let mut snapshot = self.snapshot().await?;
            let select =
                stmt("select place from key_chunk where place >= ? order by place limit 1").int(from);
            let Some((place,)) = snapshot.rows::<(i64,)>(select).await?.first().copied() else {
                return Ok(());
            };
            let id = place >> PLACE_BITS;
            let known: Vec<(i64,)> =
                snapshot.rows(stmt("select id from key_run where id = ?").int(id)).await?;
            drop(snapshot);
            if !known.is_empty() {
                from = (id + 1) << PLACE_BITS;
                continue;
            }
            let began = Instant::now();
            let mut tx = self.begin_derived().await?;
            let upto = (place + CHUNKS).min((id + 1) << PLACE_BITS);
            let delete = stmt("delete from key_chunk where place >= ? and place < ?").int(place).int(upto);
            tx.execute(delete).await?;
            tx.commit().await?;
            from = upto;
            pause(began).await;
        }
    }

    /// Connections of before the calls that are left, and measures of before the oldest call of any class, each once a day of theirs.
    async fn remove_measures(&self) -> Result<(), StoreError> {
        let marks = marks(&mut self.snapshot().await?).await?;
        let through = |class| marks.get(&class).map(|mark: &Mark| mark.through_us);
        let Some(calls) = through(RetentionClass::Calls) else { return Ok(()) };
        let oldest: Vec<(Option<i64>,)> = self.rows(stmt("select min(start_us) from call")).await?;
        // What a finding of a call needs is a day older than it.
        let needed = oldest.first().and_then(|(oldest,)| *oldest).map_or(calls, |oldest| oldest.min(calls))
            - 2 * DAY_US;
        for (table, key, old, before) in [
            ("connection", "socket", "last_us", calls - DAY_US),
            ("coverage", "identity", "hour_us", needed),
            ("pulse", "observer", "hour_us", needed),
            ("blind_window", "observer", "to_us", needed),
        ] {
            if before - self.measured_from(table).await? >= DAY_US {
                self.walk(table, key, old, before).await?;
            }
        }
        Ok(())
    }

    /// From when on a table of measures was left the last time.
    async fn measured_from(&self, table: &str) -> Result<i64, StoreError> {
        let select = stmt("select through_us from measured where name = ?").text(table);
        Ok(self.row::<(i64,)>(select).await?.map_or(i64::MIN / 2, |(through,)| through))
    }

    async fn walk(&self, table: &'static str, key: &str, old: &str, before: i64) -> Result<(), StoreError> {
        let mut walk = Walk { table, key, old, before, after: None };
        loop {
            let began = Instant::now();
            let mut tx = self.begin_derived().await?;
            let more = walk.step(&mut tx).await?;
            if !more {
                let upsert = "insert into measured (name, through_us) values (?, ?) on conflict (name) do update set \
                              through_us = excluded.through_us";
                tx.execute(stmt(upsert).text(table).int(before)).await?;
            }
            tx.commit().await?;
            if !more {
                return Ok(());
            }
            pause(began).await;
        }
    }
}

/// Along the beginnings of a table's keys.
struct Walk<'a> {
    table: &'a str,
    key: &'a str,
    old: &'a str,
    before: i64,
    after: Option<Bind>,
}

impl Walk<'_> {
    async fn step(&mut self, tx: &mut Tx) -> Result<bool, StoreError> {
        let Walk { table, key, old, .. } = self;
        let within = |select: &mut super::statement::Stmt, after: &Option<Bind>| {
            if let Some(after) = after {
                select.push(&format!(" and {key} > ?"), [after.clone()]);
            }
        };
        let mut select = stmt(format!("select {key} from {table} where 1 = 1"));
        within(&mut select, &self.after);
        select.push(&format!(" order by {key} limit 1 offset ?"), [Bind::int(ROWS)]);
        let end = match *table {
            "connection" => tx.rows::<(Vec<u8>,)>(select).await?.pop().map(|(key,)| Bind::bytes(key)),
            _ => tx.rows::<(String,)>(select).await?.pop().map(|(key,)| Bind::text(&key)),
        };
        let mut delete = stmt(format!("delete from {table} where {old} < ?")).int(self.before);
        within(&mut delete, &self.after);
        if let Some(end) = &end {
            delete.push(&format!(" and {key} <= ?"), [end.clone()]);
        }
        tx.execute(delete).await?;
        self.after = end;
        Ok(self.after.is_some())
    }
}

async fn all(tx: &mut Tx, id: i64) -> Result<(Run, Vec<Pair>), StoreError> {
    let run = key_index::read(tx, id).await?;
    let pairs = key_index::all_pairs(tx, &run).await?;
    Ok((run, pairs))
}
