//! What the correlator asks for: calls by key, by party and time, with all their findings, and connections.

use super::apply::socket_hash;
use super::statement::{Bind, Stmt, stmt};
use super::{Connection, Store, StoreError, packed};
use crate::model::{Call, CallId, SocketPair, Timestamp};
use std::collections::{BTreeMap, HashMap};

/// Keys per `in` list.
const KEYS: usize = 512;

impl Store {
    /// All calls that carry any of the keys (a superset, since keys are hashes), each once, by id. They carry all their
    /// findings, whether these hold at any time or not.
    pub async fn calls_by_key(&self, keys: &[i64]) -> Result<Vec<Call>, StoreError> {
        let mut calls: BTreeMap<CallId, Call> = BTreeMap::new();
        for keys in keys.chunks(KEYS) {
            let mut select = stmt(
                "select c.packed from call c where c.id in (select k.call_id from call_key k where k.key in ",
            );
            select.push_list(keys.iter().copied().map(Bind::int).collect());
            select.push(")", []);
            calls.extend(self.packed_calls(select).await?.into_iter().map(|call| (call.id, call)));
        }
        Ok(calls.into_values().collect())
    }

    /// Those of the sockets that a caller's own proxy has logged, with the first and the last time. The asker judges by the
    /// times whether it is the same connection: ports are used again.
    pub async fn known_connections(&self, sockets: &[SocketPair]) -> Result<Vec<Connection>, StoreError> {
        let asked: HashMap<Vec<u8>, &SocketPair> = sockets.iter().map(|s| (socket_hash(s), s)).collect();
        let hashes: Vec<&Vec<u8>> = asked.keys().collect();
        let mut known = Vec::new();
        for hashes in hashes.chunks(KEYS) {
            let mut select = stmt("select socket, first_us, last_us from connection where socket in ");
            select.push_list(hashes.iter().map(|h| Bind::bytes(h.as_slice())).collect());
            for (hash, first, last) in self.rows::<(Vec<u8>, i64, i64)>(select).await? {
                let Some(socket) = asked.get(&hash) else { continue };
                let socket = SocketPair::clone(socket);
                known.push(Connection { socket, first: Timestamp(first), last: Timestamp(last) });
            }
        }
        known.sort_by(|a, b| a.socket.cmp(&b.socket));
        Ok(known)
    }

    /// Calls received by an identity (its key) that started in `[from, to]`, by start, at most `limit`.
    pub async fn calls_received(
        &self,
        callee_key: &str,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<Call>, StoreError> {
        let select = "select packed from call where callee_key = ? and start_us >= ? and start_us <= ? \
                      order by start_us, id limit ?";
        self.packed_calls(by_party(select, callee_key, from, to, limit)).await
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
        self.packed_calls(by_party(select, caller_key, from, to, limit)).await
    }

    /// Calls of a statement that selects `packed` alone, in its order, with all their findings.
    pub(super) async fn packed_calls(&self, select: Stmt) -> Result<Vec<Call>, StoreError> {
        let rows: Vec<(Vec<u8>,)> = self.rows(select).await?;
        rows.iter().map(|(packed,)| packed::unpack(packed)).collect()
    }
}

fn by_party(select: &'static str, key: &str, from: Timestamp, to: Timestamp, limit: u32) -> Stmt {
    let select = stmt(select).text(&super::index_text(key));
    select.int(from.micros()).int(to.micros()).int(limit.into())
}
