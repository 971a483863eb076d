//! What the correlator asks for: calls by key, by party and time, with all their findings.

use super::statement::{Bind, Stmt, Tx, stmt};
use super::{Store, StoreError, packed};
use crate::model::{Call, Timestamp};
use std::collections::BTreeMap;

/// Keys per `in` list.
const KEYS: usize = 512;
/// Most calls that one list of keys gives, newest first. A value that more calls share (a constant trace or request id) ties
/// nothing any more, and must not make each step read all of history.
const CALLS: i64 = 20_000;

impl Store {
    /// All calls that carry any of the keys (a superset, since keys are hashes), each once, by id. They carry all their
    /// findings, whether these hold at any time or not.
    pub async fn calls_by_key(&self, keys: &[i64]) -> Result<Vec<Call>, StoreError> {
        let (mut tx, mut calls) = (self.snapshot().await?, BTreeMap::new());
        for keys in keys.chunks(KEYS) {
            let mut select = with_keys(keys);
            select.push(" order by c.start_us desc, c.id desc limit ?", [Bind::int(CALLS)]);
            calls.extend(tx.packed_calls(select).await?.into_iter().map(|call| (call.id, call)));
        }
        Ok(calls.into_values().collect())
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
    ) -> Result<Vec<Call>, StoreError> {
        let select = "select packed from call where callee_key = ? and start_us >= ? and start_us <= ? and end_us >= ? \
                      order by start_us desc, id desc limit ?";
        let select = stmt(select).text(&super::index_text(callee_key)).int(from.plus_us(-back_us).micros());
        let select = select.int(to.micros()).int(from.micros()).int(limit.into());
        self.snapshot().await?.packed_calls(select).await
    }

    /// Orphans (see `IndexedCall::orphan`) made by an identity that started in `[from, to]`, by start, at most `limit`.
    pub async fn orphans(
        &self,
        caller_key: &str,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<Call>, StoreError> {
        let select = "select packed from call where orphan = 1 and caller_key = ? and start_us >= ? and start_us <= ? \
                      order by start_us, id limit ?";
        let select = stmt(select).text(&super::index_text(caller_key)).int(from.micros()).int(to.micros());
        self.snapshot().await?.packed_calls(select.int(limit.into())).await
    }
}

/// The calls that carry any of the keys, of which there must be at least one.
pub(super) fn with_keys(keys: &[i64]) -> Stmt {
    let mut select =
        stmt("select c.packed from call c where c.id in (select k.call_id from call_key k where k.key in ");
    select.push_list(keys.iter().copied().map(Bind::int).collect());
    select.push(")", []);
    select
}

impl Tx {
    /// Calls of a statement that selects `packed` alone, in its order, with all their findings.
    pub(super) async fn packed_calls(&mut self, select: Stmt) -> Result<Vec<Call>, StoreError> {
        let rows: Vec<(Vec<u8>,)> = self.rows(select).await?;
        rows.iter().map(|(packed,)| packed::unpack(packed)).collect()
    }
}
