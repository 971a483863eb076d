//! Runs of keys as a process holds them: of each where it lies in time, and, as far as there is room, its filter. Of the others only
//! the piece of the filter is read in which a key would be.
//!
//! Runs do not change, so that what is held is never wrong; and it is never the only place of anything.

use super::error::inconsistent;
use super::key_index::{PLACE_BITS, SMALL, all_pairs};
use super::key_run::{self, Filter, Pair};
use super::statement::{Bind, Tx, stmt};
use super::{Store, StoreError};
use crate::model::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes of runs that are held unless it is said otherwise.
pub(super) const KEY_MEMORY: usize = 64 << 20;
/// How many times as much may be held of those for which many keys are asked at once.
const AT_ONCE: usize = 16;
const BLOCK_BYTES: usize = 64;
const DAY_US: i64 = 24 * 3_600_000_000;
/// Places per `in` list.
const IDS: usize = 512;

/// Between which times calls began and ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub first_us: i64,
    pub last_us: i64,
}

impl Span {
    pub(super) fn of(first: Timestamp, last: Timestamp) -> Span {
        Span { first_us: first.min(last).micros(), last_us: first.max(last).micros() }
    }

    pub(super) fn a_day_wider(self) -> Span {
        Span { first_us: self.first_us.saturating_sub(DAY_US), last_us: self.last_us.saturating_add(DAY_US) }
    }

    pub(super) fn and(self, other: Span) -> Span {
        Span { first_us: self.first_us.min(other.first_us), last_us: self.last_us.max(other.last_us) }
    }

    fn meets(self, other: Span) -> bool {
        self.first_us <= other.last_us && other.first_us <= self.last_us
    }
}

/// A run.
pub(super) struct Run {
    pub id: i64,
    pub base: i64,
    /// None where an older calltrail wrote it.
    pub span: Option<Span>,
    /// Of the filter where it stands in pieces; else 0, and it is held.
    pub blocks: usize,
    pub whole: Option<Whole>,
}

/// What is in memory of a run.
pub(super) struct Whole {
    pub firsts: Vec<u64>,
    pub filter: Filter,
    /// Of a small one.
    pub pairs: Option<Vec<Pair>>,
}

impl Run {
    pub(super) fn bytes(&self) -> usize {
        let of = |whole: &Whole| {
            8 * (whole.firsts.len() + whole.filter.0.len())
                + size_of::<Pair>() * whole.pairs.as_ref().map_or(0, Vec::len)
        };
        self.whole.as_ref().map_or(0, of)
    }

    /// The same without what can be read again piece by piece.
    pub(super) fn without_filter(&self) -> Run {
        Run { whole: None, ..*self }
    }
}

#[derive(sqlx::FromRow)]
struct RunRow {
    pairs: i64,
    base: i64,
    blocks: i64,
    first_us: Option<i64>,
    last_us: Option<i64>,
}

impl Store {
    /// How many bytes of filters may be held in memory of runs that nobody needs at once.
    pub fn hold_keys(&self, bytes: usize) {
        self.remembered.set_key_memory(bytes);
    }

    /// All runs that there are of calls of about a time. `at_once`: many keys are asked for, so that reading the filters whole comes
    /// cheaper than their pieces; they are held until others are asked for so.
    pub(super) async fn runs(
        &self,
        tx: &mut Tx,
        near: Option<Span>,
        at_once: bool,
    ) -> Result<Vec<Arc<Run>>, StoreError> {
        let ids: Vec<(i64,)> = tx.rows(stmt("select id from key_run where pairs > 0 order by id")).await?;
        let ids: Vec<i64> = ids.into_iter().map(|(id,)| id).collect();
        self.remembered.forget_runs_but(&ids);
        let known: BTreeMap<i64, Arc<Run>> = self.remembered.runs(ids.iter().copied());
        let mut room = self.remembered.room_for_keys(if at_once { AT_ONCE } else { 1 });
        let mut runs = Vec::new();
        // The newest first: of these most is asked.
        for id in ids.into_iter().rev() {
            let run = match known.get(&id) {
                Some(run) => run.clone(),
                None => self.remembered.remember_run(read(tx, id).await?),
            };
            if near.zip(run.span).is_some_and(|(near, span)| !near.meets(span)) {
                continue;
            }
            let bytes = run.blocks * BLOCK_BYTES;
            runs.push(match run.whole.is_none() && bytes <= room {
                true => {
                    room -= bytes;
                    self.remembered.remember_run(with_filter(tx, &run).await?)
                }
                false => run,
            });
        }
        if at_once {
            let used: BTreeSet<i64> = runs.iter().map(|run| run.id).collect();
            self.remembered.let_go_of_filters_but(&used);
        }
        Ok(runs)
    }
}

/// A small one whole, of others no more than where they lie.
pub(super) async fn read(tx: &mut Tx, id: i64) -> Result<Run, StoreError> {
    let select = stmt("select pairs, base, blocks, first_us, last_us from key_run where id = ?").int(id);
    let row: Option<RunRow> = tx.rows(select).await?.into_iter().next();
    let row = row.ok_or_else(|| inconsistent("key_run", format!("run {id} is missing")))?;
    let span = row.first_us.zip(row.last_us).map(|(first_us, last_us)| Span { first_us, last_us });
    let run = Run { id, base: row.base, span, blocks: row.blocks as usize, whole: None };
    if run.blocks > 0 {
        return Ok(run);
    }
    let mut run = with_filter(tx, &run).await?;
    if row.pairs <= SMALL {
        let pairs = all_pairs(tx, &run).await?;
        run.whole = run.whole.map(|whole| Whole { pairs: Some(pairs), ..whole });
    }
    Ok(run)
}

async fn with_filter(tx: &mut Tx, run: &Run) -> Result<Run, StoreError> {
    let select = stmt("select firsts, filter from key_run where id = ?").int(run.id);
    let row: Option<(Vec<u8>, Vec<u8>)> = tx.rows(select).await?.into_iter().next();
    let (firsts, mut filter) =
        row.ok_or_else(|| inconsistent("key_run", format!("run {} is missing", run.id)))?;
    if run.blocks > 0 {
        let select = stmt("select bytes from key_filter where place >= ? and place < ? order by place");
        let select = select.int(run.id << PLACE_BITS).int((run.id + 1) << PLACE_BITS);
        filter = tx.rows::<(Vec<u8>,)>(select).await?.into_iter().flat_map(|(piece,)| piece).collect();
    }
    let filter = Filter(key_run::words_of_bytes(&filter));
    if run.blocks > 0 && filter.blocks() != run.blocks {
        let what = format!("the filter of run {} has {} blocks, not {}", run.id, filter.blocks(), run.blocks);
        return Err(inconsistent("key_filter", what));
    }
    let whole = Whole { firsts: key_run::words_of_bytes(&firsts), filter, pairs: None };
    Ok(Run { whole: Some(whole), ..*run })
}

/// The first key of each chunk of a run.
pub(super) async fn firsts(tx: &mut Tx, id: i64) -> Result<Vec<u64>, StoreError> {
    let rows: Vec<(Vec<u8>,)> = tx.rows(stmt("select firsts from key_run where id = ?").int(id)).await?;
    let (firsts,) =
        rows.into_iter().next().ok_or_else(|| inconsistent("key_run", format!("run {id} is missing")))?;
    Ok(key_run::words_of_bytes(&firsts))
}

/// Which of the keys each of the runs may hold, by the pieces of their filters in which they would be; runs that hold none are left
/// out.
pub(super) async fn held_by<'a>(
    tx: &mut Tx,
    runs: &[&'a Run],
    keys: &[u64],
) -> Result<Vec<(&'a Run, Vec<u64>)>, StoreError> {
    let mut wanted: BTreeMap<i64, (&Run, Vec<u64>)> = BTreeMap::new();
    for run in runs {
        for key in keys {
            let place = (run.id << PLACE_BITS) + key_run::piece_of(*key, run.blocks) as i64;
            wanted.entry(place).or_insert_with(|| (run, Vec::new())).1.push(*key);
        }
    }
    let mut held: BTreeMap<i64, (&Run, Vec<u64>)> = BTreeMap::new();
    let places: Vec<i64> = wanted.keys().copied().collect();
    for places in places.chunks(IDS) {
        let mut select = stmt("select place, bytes from key_filter where place in ");
        select.push_list(places.iter().copied().map(Bind::int).collect());
        for (place, bytes) in tx.rows::<(i64, Vec<u8>)>(select).await? {
            let Some((run, keys)) = wanted.remove(&place) else { continue };
            let piece = key_run::words_of_bytes(&bytes);
            let may = |key: &u64| key_run::piece_may_hold(&piece, *key, run.blocks);
            let keys = keys.into_iter().filter(may);
            held.entry(run.id).or_insert_with(|| (run, Vec::new())).1.extend(keys);
        }
    }
    if let Some(place) = wanted.keys().next() {
        return Err(inconsistent("key_filter", format!("piece {place} is missing")));
    }
    let mut held: Vec<(&Run, Vec<u64>)> = held.into_values().filter(|(_, keys)| !keys.is_empty()).collect();
    held.iter_mut().for_each(|(_, keys)| keys.sort_unstable());
    Ok(held)
}
