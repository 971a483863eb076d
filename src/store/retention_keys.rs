//! What removed calls leave behind: runs of keys that lead nowhere, empty buckets, pages of the file that hold nothing.
//!
//! None of it makes an answer wrong; all of it costs room and time.

use super::call_rows::BUCKET_BITS;
use super::error::inconsistent;
use super::key_held::{self, Run, Span};
use super::key_index::{self, CHUNKS, FILTERS, PLACE_BITS, UNFINISHED};
use super::key_run::{self, Pair, Written};
use super::retention::{marks, pause};
use super::statement::{Bind, Tx, stmt};
use super::{Store, StoreError};
use crate::model::RetentionClass;
use std::collections::HashSet;
use tokio::time::Instant;

/// Rows that one step looks at.
const ROWS: i64 = 4_096;
/// Chunks of keys that one step deletes.
const STRAY: i64 = 1_024;
/// Chunks of keys that one step writes: about a megabyte.
const WRITTEN: usize = 256;
/// Keys per call above which most keys of a run lead nowhere: calls have about ten.
const KEYS_PER_CALL: i64 = 30;

impl Store {
    pub(super) async fn tidy_up(&self) -> Result<(), StoreError> {
        self.remove_empty_buckets().await?;
        self.remove_runs().await?;
        self.remove_strays("key_chunk").await?;
        self.remove_strays("key_filter").await?;
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
        let ids: Vec<(i64,)> =
            snapshot.rows(stmt("select id from key_run where pairs > 0 order by id")).await?;
        drop(snapshot);
        // What a pass had begun that was broken off. One that goes on beside this one begins anew the next time.
        let mut tx = self.begin_derived().await?;
        tx.execute(stmt(format!("delete from key_run where {UNFINISHED}"))).await?;
        tx.commit().await?;
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
        let (run, kept) = match live.is_empty() {
            true => (None, Vec::new()),
            false => all(&mut snapshot, id).await.map(|(run, kept)| (Some(run), kept))?,
        };
        drop(snapshot);
        let kept: Vec<Pair> = kept.into_iter().filter(|(_, number)| live.contains(number)).collect();
        // Calls of very many legs: nothing to be gained.
        if !kept.is_empty() && kept.len() as i64 * 2 > pairs {
            return Ok(false);
        }
        self.put_in_place_of(id, &kept, run.and_then(|run| run.span)).await
    }

    /// What is kept of a run, step by step under a number of its own, which nobody reads before it takes the place of the run in the last
    /// step. The chunks of the run go afterwards: nothing leads to them any more.
    async fn put_in_place_of(&self, id: i64, kept: &[Pair], span: Option<Span>) -> Result<bool, StoreError> {
        let new = match kept.is_empty() {
            true => None,
            false => match self.write_beside(kept).await? {
                Some(new) => Some(new),
                None => return Ok(false),
            },
        };
        let mut tx = self.begin_derived().await?;
        // Merging reads runs and writes them under this lock.
        tx.execute(stmt("update correlator set next_run = next_run")).await?;
        if tx.execute(stmt("delete from key_run where id = ?").int(id)).await? == 0 {
            return Ok(false);
        }
        if let Some((new, written)) = new
            && !key_index::begin_to_count(&mut tx, new, kept, &written, span).await?
        {
            return Ok(false);
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Writes the chunks of a run that does not count yet. None when somebody else has taken it away meanwhile.
    async fn write_beside(&self, kept: &[Pair]) -> Result<Option<(i64, Written)>, StoreError> {
        let mut tx = self.begin_derived().await?;
        let take = "update correlator set next_run = next_run + 1 returning next_run - 1";
        let next: Vec<(i64,)> = tx.rows(stmt(take)).await?;
        let (id,) =
            next.into_iter().next().ok_or_else(|| inconsistent("correlator", "its only row is missing"))?;
        key_index::write_unfinished(&mut tx, id).await?;
        tx.commit().await?;
        let mut written = key_run::write(kept);
        let pieces = if key_index::in_pieces(kept) { written.filter.pieces().collect() } else { Vec::new() };
        for (target, rows) in [(CHUNKS, std::mem::take(&mut written.chunks)), (FILTERS, pieces)] {
            // A place and its bytes.
            for rows in key_index::placed(id, rows).chunks(2 * WRITTEN) {
                let began = Instant::now();
                let mut tx = self.begin_derived().await?;
                let hold = stmt("update key_run set pairs = pairs where id = ?").int(id);
                if tx.execute(hold).await? == 0 {
                    return Ok(None);
                }
                tx.insert(&target, rows.to_vec()).await?;
                tx.commit().await?;
                pause(began).await;
            }
        }
        Ok(Some((id, written)))
    }

    /// Chunks, or pieces of filters, of runs that are no more: leaps from run to run.
    async fn remove_strays(&self, table: &'static str) -> Result<(), StoreError> {
        let mut from = 0;
        loop {
            let mut snapshot = self.snapshot().await?;
            let select = format!("select place from {table} where place >= ? order by place limit 1");
            let select = stmt(select).int(from);
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
            let upto = (place + STRAY).min((id + 1) << PLACE_BITS);
            let delete = format!("delete from {table} where place >= ? and place < ?");
            let delete = stmt(delete).int(place).int(upto);
            tx.execute(delete).await?;
            tx.commit().await?;
            from = upto;
            pause(began).await;
        }
    }
}

async fn all(tx: &mut Tx, id: i64) -> Result<(Run, Vec<Pair>), StoreError> {
    let run = key_held::read(tx, id).await?;
    let pairs = key_index::all_pairs(tx, &run).await?;
    Ok((run, pairs))
}
