//! Which calls stand under which keys, on disk: runs that are added with each change and merged into longer ones.
//!
//! Keys come at random. In a tree each would touch a page of its own, the more of them the larger the tree; a run is written in
//! one piece. Runs do not change: what a process has once read of one it keeps. Which runs there are is asked of the database
//! each time, in the asker's own transaction.

use super::bulk::Target;
use super::error::inconsistent;
use super::key_held::{self, Run, Span, Whole};
use super::key_run::{self, Pair, Written};
use super::statement::{Bind, Tx, stmt};
use super::{Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Runs of one size class that are merged into one.
const MERGED: usize = 8;
/// Most pairs of a run that is made by merging within a change: it is made while others wait.
const MOST_PAIRS: i64 = 6_000_000;
/// Runs of up to so many pairs are kept in memory whole.
pub(super) const SMALL: i64 = 65_536;
/// Keys above which filters are read whole where they are not held.
const FEW: usize = 64;
/// Bits of a chunk's place within its run.
pub(super) const PLACE_BITS: u32 = 20;
/// Ids per `in` list.
const IDS: usize = 512;
const RUNS: Target = Target {
    table: "key_run",
    columns: "id, pairs, base, top, blocks, first_us, last_us, dead, firsts, filter",
    on_conflict: "",
};
pub(super) const FILTERS: Target = Target { table: "key_filter", columns: "place, bytes", on_conflict: "" };
pub(super) const CHUNKS: Target = Target { table: "key_chunk", columns: "place, bytes", on_conflict: "" };

/// What a change adds.
pub(super) struct NewKeys {
    pub pairs: Vec<Pair>,
    /// Numbers of the calls that it takes away.
    pub dead: Vec<i64>,
    pub next_run: i64,
    /// Of the calls that it writes.
    pub span: Option<Span>,
}

/// What has been written, to be remembered once it is committed.
pub(super) struct NewRuns {
    pub next_run: i64,
    pub runs: Vec<Arc<Run>>,
}

impl Store {
    /// Numbers of calls under any of the keys, sorted, each once; some of them may be gone, and some may have begun and ended outside
    /// `near`: only runs that hold none of then are passed over.
    pub(super) async fn numbers_under(
        &self,
        tx: &mut Tx,
        keys: &[i64],
        near: Option<Span>,
    ) -> Result<Vec<i64>, StoreError> {
        let mut keys: Vec<u64> = keys.iter().map(|key| key_run::short(*key)).collect();
        keys.sort_unstable();
        keys.dedup();
        let runs = self.runs(tx, near, keys.len() > FEW).await?;
        let (mut numbers, mut others) = (Vec::new(), Vec::new());
        for run in &runs {
            let Some(whole) = &run.whole else {
                others.push(&**run);
                continue;
            };
            let held: Vec<u64> = keys.iter().copied().filter(|key| whole.filter.may_hold(*key)).collect();
            match &whole.pairs {
                _ if held.is_empty() => {}
                Some(pairs) => key_run::collect(pairs, &held, &mut numbers),
                None => on_disk(tx, run, &whole.firsts, &held, &mut numbers).await?,
            }
        }
        for (run, held) in key_held::held_by(tx, &others, &keys).await? {
            let firsts = key_held::firsts(tx, run.id).await?;
            on_disk(tx, run, &firsts, &held, &mut numbers).await?;
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    /// Adds a run, and merges where there are enough of a kind. Only whoever holds the correlator's row may.
    pub(super) async fn add_keys(&self, tx: &mut Tx, new: NewKeys) -> Result<NewRuns, StoreError> {
        let NewKeys { mut pairs, mut dead, next_run, span } = new;
        let mut written = NewRuns { next_run, runs: Vec::new() };
        if pairs.is_empty() && dead.is_empty() {
            return Ok(written);
        }
        pairs.sort_unstable();
        pairs.dedup();
        dead.sort_unstable();
        written.add(tx, &pairs, &dead, span).await?;
        while let Some(merged) = to_be_merged(tx).await? {
            self.merge(tx, &merged, &mut written).await?;
        }
        Ok(written)
    }

    async fn merge(&self, tx: &mut Tx, ids: &[i64], written: &mut NewRuns) -> Result<(), StoreError> {
        let (mut pairs, mut dead, mut spans) = (Vec::new(), BTreeSet::new(), Vec::new());
        let fresh = |id: i64| written.runs.iter().find(|run| run.id == id).cloned();
        for id in ids {
            let run = match fresh(*id).or_else(|| self.remembered.runs([*id]).remove(id)) {
                Some(run) => run,
                None => Arc::new(key_held::read(tx, *id).await?),
            };
            match run.whole.as_ref().and_then(|whole| whole.pairs.as_ref()) {
                Some(own) => pairs.extend_from_slice(own),
                None => pairs.extend(all_pairs(tx, &run).await?),
            }
            spans.push(run.span);
            let rows: Vec<(Vec<u8>,)> =
                tx.rows(stmt("select dead from key_run where id = ?").int(*id)).await?;
            for (bytes,) in rows {
                dead.extend(key_run::decode_numbers(&bytes)?);
            }
        }
        // Of calls that retention has removed nothing is left to be said.
        let oldest: Vec<(Option<i64>,)> = tx.rows(stmt("select min(number) from call")).await?;
        let oldest = oldest.first().and_then(|(oldest,)| *oldest).unwrap_or(i64::MIN);
        pairs.retain(|(_, number)| *number >= oldest && !dead.contains(number));
        dead.retain(|number| *number >= oldest);
        // Finds the runs that are sorted already.
        pairs.sort();
        pairs.dedup();
        for id in ids {
            let (first, last) = (id << PLACE_BITS, ((id + 1) << PLACE_BITS) - 1);
            let delete = stmt("delete from key_chunk where place between ? and ?");
            tx.execute(delete.int(first).int(last)).await?;
            let delete = stmt("delete from key_filter where place between ? and ?");
            tx.execute(delete.int(first).int(last)).await?;
            tx.execute(stmt("delete from key_run where id = ?").int(*id)).await?;
        }
        // The other runs may still hold pairs of the dead.
        let others: Vec<(i64,)> = tx.rows(stmt("select id from key_run limit 1")).await?;
        let dead: Vec<i64> = if others.is_empty() { Vec::new() } else { dead.into_iter().collect() };
        written.runs.retain(|run| !ids.contains(&run.id));
        if !pairs.is_empty() || !dead.is_empty() {
            let span = spans.into_iter().reduce(|a, b| Some(a?.and(b?))).flatten();
            written.add(tx, &pairs, &dead, span).await?;
        }
        Ok(())
    }
}

impl NewRuns {
    async fn add(
        &mut self,
        tx: &mut Tx,
        pairs: &[Pair],
        dead: &[i64],
        span: Option<Span>,
    ) -> Result<(), StoreError> {
        let run = write(tx, self.next_run, pairs, dead, span).await?;
        self.next_run += 1;
        self.runs.push(Arc::new(run));
        Ok(())
    }
}

/// Which rows are runs that are still being written, in steps: nobody reads or merges them.
pub(super) const UNFINISHED: &str = "pairs = 0 and length(dead) = 0";

/// A run that does not count yet.
pub(super) async fn write_unfinished(tx: &mut Tx, id: i64) -> Result<(), StoreError> {
    let none = || Bind::bytes(Vec::new());
    let (null, zero) = (Bind::Int(None), Bind::int(0));
    let row = [
        Bind::int(id),
        zero.clone(),
        zero.clone(),
        null.clone(),
        zero,
        null.clone(),
        null,
        none(),
        none(),
        none(),
    ];
    tx.insert(&RUNS, row.to_vec()).await.map(|_| ())
}

/// Once all chunks of it are there, and all pieces of its filter. False when it has been taken away meanwhile.
pub(super) async fn begin_to_count(
    tx: &mut Tx,
    id: i64,
    pairs: &[Pair],
    run: &Written,
    span: Option<Span>,
) -> Result<bool, StoreError> {
    if tx.execute(stmt("delete from key_run where id = ?").int(id)).await? == 0 {
        return Ok(false);
    }
    tx.insert(&RUNS, row(id, pairs, &[], run, span)).await?;
    Ok(true)
}

/// Rows of what stands in places of a run: pieces of its filter, or chunks.
pub(super) fn placed(id: i64, bytes: impl IntoIterator<Item = Vec<u8>>) -> Vec<Bind> {
    let rows = (id << PLACE_BITS..).zip(bytes);
    rows.flat_map(|(place, bytes)| [Bind::int(place), Bind::bytes(bytes)]).collect()
}

/// Whether the filter of so many pairs stands in pieces.
pub(super) fn in_pieces(pairs: &[Pair]) -> bool {
    pairs.len() as i64 > SMALL
}

fn row(id: i64, pairs: &[Pair], dead: &[i64], run: &Written, span: Option<Span>) -> Vec<Bind> {
    let (blocks, filter) = match in_pieces(pairs) {
        true => (run.filter.blocks(), Vec::new()),
        false => (0, key_run::words_to_bytes(&run.filter.0)),
    };
    vec![
        Bind::int(id),
        Bind::int(pairs.len() as i64),
        Bind::int(run.base),
        Bind::int(pairs.iter().map(|(_, number)| *number).max().unwrap_or(run.base)),
        Bind::int(blocks as i64),
        Bind::Int(span.map(|span| span.first_us)),
        Bind::Int(span.map(|span| span.last_us)),
        Bind::bytes(key_run::encode_numbers(dead)),
        Bind::bytes(key_run::words_to_bytes(&run.firsts)),
        Bind::bytes(filter),
    ]
}

async fn write(
    tx: &mut Tx,
    id: i64,
    pairs: &[Pair],
    dead: &[i64],
    span: Option<Span>,
) -> Result<Run, StoreError> {
    let mut run = key_run::write(pairs);
    tx.insert(&RUNS, row(id, pairs, dead, &run, span)).await?;
    tx.insert(&CHUNKS, placed(id, std::mem::take(&mut run.chunks))).await?;
    let mut blocks = 0;
    if in_pieces(pairs) {
        blocks = run.filter.blocks();
        tx.insert(&FILTERS, placed(id, run.filter.pieces())).await?;
    }
    let pairs = (!in_pieces(pairs)).then(|| pairs.to_vec());
    let whole = Whole { firsts: run.firsts, filter: run.filter, pairs };
    Ok(Run { id, base: run.base, span, blocks, whole: Some(whole) })
}

/// The smallest runs of which there are enough of one size class.
async fn to_be_merged(tx: &mut Tx) -> Result<Option<Vec<i64>>, StoreError> {
    let runs: Vec<(i64, i64)> =
        tx.rows(stmt(format!("select id, pairs from key_run where not ({UNFINISHED}) order by id"))).await?;
    let mut classes: BTreeMap<u32, Vec<(i64, i64)>> = BTreeMap::new();
    for (id, pairs) in runs {
        classes.entry(pairs.max(1).ilog2() / MERGED.ilog2()).or_default().push((id, pairs));
    }
    let fits = |class: &&Vec<(i64, i64)>| {
        class.len() >= MERGED && class.iter().map(|(_, pairs)| pairs).sum::<i64>() <= MOST_PAIRS
    };
    Ok(classes.values().find(fits).map(|class| class.iter().map(|(id, _)| *id).collect()))
}

pub(super) async fn all_pairs(tx: &mut Tx, run: &Run) -> Result<Vec<Pair>, StoreError> {
    let chunks_of_run = match &run.whole {
        Some(whole) => whole.firsts.len(),
        None => key_held::firsts(tx, run.id).await?.len(),
    };
    let select = stmt("select bytes from key_chunk where place >= ? and place < ? order by place");
    let (from, to) = (run.id << PLACE_BITS, (run.id << PLACE_BITS) + chunks_of_run as i64);
    let chunks: Vec<(Vec<u8>,)> = tx.rows(select.int(from).int(to)).await?;
    if chunks.len() != chunks_of_run {
        let what = format!("run {} has {} chunks, not {chunks_of_run}", run.id, chunks.len());
        return Err(inconsistent("key_chunk", what));
    }
    let mut pairs = Vec::new();
    for (bytes,) in chunks {
        pairs.extend(key_run::decode(&bytes, run.base)?);
    }
    Ok(pairs)
}

/// Of the chunks in which the keys (sorted) may stand.
async fn on_disk(
    tx: &mut Tx,
    run: &Run,
    firsts: &[u64],
    keys: &[u64],
    numbers: &mut Vec<i64>,
) -> Result<(), StoreError> {
    let places: BTreeSet<usize> = keys.iter().flat_map(|key| key_run::chunks_with(firsts, *key)).collect();
    let places: Vec<Bind> =
        places.into_iter().map(|at| Bind::int((run.id << PLACE_BITS) + at as i64)).collect();
    for places in places.chunks(IDS) {
        let mut select = stmt("select bytes from key_chunk where place in ");
        select.push_list(places.to_vec());
        for (bytes,) in tx.rows::<(Vec<u8>,)>(select).await? {
            let pairs = key_run::decode(&bytes, run.base)?;
            let (Some(first), Some(last)) = (pairs.first(), pairs.last()) else { continue };
            let from = keys.partition_point(|key| *key < first.0);
            let to = keys.partition_point(|key| *key <= last.0);
            key_run::collect(&pairs, &keys[from..to], numbers);
        }
    }
    Ok(())
}
