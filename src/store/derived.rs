//! What the correlator asks for: calls by key, by party and time, with all their findings.

use super::key_held::Span;
use super::statement::{Bind, Stmt, Tx, stmt};
use super::{Order, Store, StoreError, index_text, select};
use crate::model::{Call, Timestamp};
use std::sync::Arc;

/// Most calls that one list of keys gives, newest first. A value that more calls share (a constant trace or request id) ties
/// nothing any more, and must not make each step read all of history.
const CALLS: usize = 20_000;
/// Identities that are asked for at once.
const KEYS: usize = 512;

impl Store {
    /// All calls that carry any of the keys (a superset, since keys are hashes), each once, by id. They carry all their
    /// findings, whether these hold at any time or not.
    pub async fn calls_by_key(&self, keys: &[i64]) -> Result<Vec<Arc<Call>>, StoreError> {
        self.calls_under(keys, None).await
    }

    /// The same, but for calls that had ended more than a day before `first`, or began more than a day after `last`: of these all may
    /// be missing. So what is asked for costs no more the longer calls are kept.
    pub async fn calls_by_key_near(
        &self,
        keys: &[i64],
        first: Timestamp,
        last: Timestamp,
    ) -> Result<Vec<Arc<Call>>, StoreError> {
        self.calls_under(keys, Some(Span::of(first, last).a_day_wider())).await
    }

    async fn calls_under(&self, keys: &[i64], near: Option<Span>) -> Result<Vec<Arc<Call>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        // Before the database is: see there.
        let underway = self.underway();
        let mut tx = self.snapshot().await?;
        let mut numbers = self.numbers_under(&mut tx, keys, near).await?;
        if numbers.len() > CALLS {
            numbers = self.within_bounds(&mut tx, keys, near).await?;
        }
        let mut calls = self.recent_calls(&mut tx, &numbers, underway.is_none()).await?;
        if let Some(underway) = underway {
            underway.lay_over(&mut calls, keys);
        }
        calls.sort_unstable_by_key(|call| call.id);
        Ok(calls)
    }

    /// For each key by itself the newest calls under it: one that too many share does not hide the others.
    async fn within_bounds(
        &self,
        tx: &mut Tx,
        keys: &[i64],
        near: Option<Span>,
    ) -> Result<Vec<i64>, StoreError> {
        let mut within = Vec::new();
        for keys in keys.chunks(512) {
            let numbers = self.numbers_under(tx, keys, near).await?;
            match numbers.len() > CALLS {
                true => within.extend(self.in_order(tx, &numbers, Order::NewestFirst, CALLS).await?),
                false => within.extend(numbers),
            }
        }
        within.sort_unstable();
        within.dedup();
        Ok(within)
    }

    /// Calls received by an identity (its key) that were being served at some time in `[from, to]`, newest first, at most
    /// `limit`. Only those that started at most `back_us` before `from` are looked at: that bounds the cost.
    pub async fn calls_serving(
        &self,
        callee_key: &str,
        from: Timestamp,
        to: Timestamp,
        back_us: i64,
        limit: u32,
    ) -> Result<Vec<Arc<Call>>, StoreError> {
        let mut tx = self.snapshot().await?;
        let callees = self.parties_of_key(&mut tx, callee_key).await?;
        let mut select = stmt("select c.number from call c where c.status_class in (0, 1, 2, 3, 4, 5)");
        select::one_of(&mut select, "c.callee", Some(&callees));
        let times = " and c.start_us >= ? and c.start_us <= ? and c.start_us + c.lasted_us >= ?";
        let bounds = [from.plus_us(-back_us).micros(), to.micros(), from.micros()];
        select.push(times, bounds.map(Bind::int));
        select.push(" order by c.start_us desc, c.id desc limit ?", [Bind::int(limit.into())]);
        self.selected(&mut tx, select).await
    }

    /// Orphans (see `IndexedCall::orphan`) made by an identity (its key) that started in its `[from, to]`: of each of these windows
    /// the first `limit`, by start.
    pub async fn orphans(
        &self,
        windows: &[(String, (Timestamp, Timestamp))],
        limit: u32,
    ) -> Result<Vec<Arc<Call>>, StoreError> {
        let mut tx = self.snapshot().await?;
        let mut orphans = Vec::new();
        // Of most identities there are none: those of many are asked for at once.
        for windows in windows.chunks(KEYS) {
            match self.orphans_of_all(&mut tx, windows, limit).await? {
                Some(found) => orphans.extend(found),
                None => {
                    for (identity, window) in windows {
                        orphans.extend(self.orphans_of(&mut tx, identity, *window, limit).await?);
                    }
                }
            }
        }
        Ok(orphans)
    }

    /// `None` where there are more than `limit` in the time of all windows together.
    async fn orphans_of_all(
        &self,
        tx: &mut Tx,
        windows: &[(String, (Timestamp, Timestamp))],
        limit: u32,
    ) -> Result<Option<Vec<Arc<Call>>>, StoreError> {
        let callers = self.parties_of_keys(tx, windows.iter().map(|(identity, _)| identity.as_str())).await?;
        let times = || windows.iter().map(|(_, window)| *window);
        let bounds = times().map(|(from, _)| from).min().zip(times().map(|(_, to)| to).max());
        let Some((from, to)) = bounds.filter(|_| !callers.is_empty()) else { return Ok(Some(Vec::new())) };
        let mut select = stmt("select c.number from call c where c.orphan = 1");
        select::one_of(&mut select, "c.caller", Some(&callers));
        let first = " and c.start_us >= ? and c.start_us <= ? limit ?";
        select.push(first, [from.micros(), to.micros(), i64::from(limit) + 1].map(Bind::int));
        let mut found = self.selected(tx, select).await?;
        if found.len() > limit as usize {
            return Ok(None);
        }
        found.retain(|call| {
            let key = call.caller.key();
            windows.iter().any(|(identity, (from, to))| {
                index_text(identity) == index_text(&key) && *from <= call.start && call.start <= *to
            })
        });
        found.sort_unstable_by_key(|call| (call.start, call.id));
        Ok(Some(found))
    }

    async fn orphans_of(
        &self,
        tx: &mut Tx,
        caller_key: &str,
        (from, to): (Timestamp, Timestamp),
        limit: u32,
    ) -> Result<Vec<Arc<Call>>, StoreError> {
        let callers = self.parties_of_key(tx, caller_key).await?;
        let mut select = stmt("select c.number from call c where c.orphan = 1");
        select::one_of(&mut select, "c.caller", Some(&callers));
        let times = " and c.start_us >= ? and c.start_us <= ? order by c.start_us, c.id limit ?";
        select.push(times, [from.micros(), to.micros(), limit.into()].map(Bind::int));
        self.selected(tx, select).await
    }

    /// Asked for only while no change is being written.
    async fn selected(&self, tx: &mut Tx, numbers: Stmt) -> Result<Vec<Arc<Call>>, StoreError> {
        let numbers: Vec<i64> = tx.rows::<(i64,)>(numbers).await?.into_iter().map(|(n,)| n).collect();
        self.recent_calls(tx, &numbers, true).await
    }
}
