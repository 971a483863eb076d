//! The only place that knows SQL. One suite and, wherever possible, one statement text for SQLite and Postgres.
//!
//! Evidence (deliveries, blocks of lines, leaves) is written by `commit` and never changed; everything else is derived from it
//! by the correlator and written by `apply`, together with the correlator's position, or not at all.

use crate::model::{
    Call, CallFilter, CallId, Cursor, Delivery, DeliveryId, Finding, FindingFilter, RejectReason, SocketPair,
    Timestamp, TraceId,
};
use std::path::PathBuf;

/// Where the data lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A directory of ours; the database is `calltrail.db` in it.
    Directory(PathBuf),
    /// `postgres://...`; Debug must not print the password.
    Postgres(String),
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Store {}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Disk full, database gone or busy: worth a retry later, without a restart.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// Another correlator has taken over (its epoch is higher), or the position moved: drop everything and start again.
    #[error("another correlator has taken over")]
    Fenced,
    #[error("a row does not say what it should: {0}")]
    Inconsistent(String),
    #[error("{0}")]
    Other(String),
}

/// What became of a delivery in a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    Stored {
        number: u64,
    },
    /// The same delivery was stored before, under this number; nothing was written.
    Duplicate {
        number: u64,
    },
}

/// A committed delivery with its gap-free number (from 1, in commit order).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDelivery {
    pub number: u64,
    pub delivery: Delivery,
}

/// The correlator's place in the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Everything up to and including this delivery has been written out.
    pub number: u64,
    pub epoch: u64,
}

/// A call with the keys under which it must be found. Keys are 64-bit hashes: a collision only gives a superset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedCall {
    pub call: Call,
    pub keys: Vec<i64>,
    /// A root whose caller is a service and that may yet be given an inferred parent (see `correlate::adopt`).
    pub orphan: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReject {
    pub delivery: u64,
    pub line: u32,
    pub source: String,
    pub received_at: Timestamp,
    pub reason: RejectReason,
    pub detail: String,
}

/// A connection that the caller's own proxy has logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    pub socket: SocketPair,
    pub first: Timestamp,
    pub last: Timestamp,
}

/// How completely an observer reported in an hour: changes to be added to what is stored (they may be negative).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CoverageDelta {
    /// `Identity::key()` of the party whose own proxy (or Worker) is measured.
    pub identity: String,
    pub hour: Timestamp,
    /// Calls that others made to it, and those of them that it reported as well.
    pub inbound_expected: i64,
    pub inbound_seen: i64,
    /// Calls that others received from it, and those of them that it reported as well.
    pub outbound_expected: i64,
    pub outbound_seen: i64,
}

/// Everything that follows from the deliveries `(from, to]`, written in one transaction with the position, or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    pub epoch: u64,
    pub from: u64,
    pub to: u64,
    /// Replaces the rows, keys and findings of the same call ids.
    pub upserts: Vec<IndexedCall>,
    pub removed: Vec<CallId>,
    pub rejects: Vec<StoredReject>,
    /// Merged by socket: earliest first, latest last.
    pub connections: Vec<Connection>,
    pub coverage: Vec<CoverageDelta>,
}

/// One page, newest first or oldest first; `next` is where the following page starts, `None` when this was the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    pub rows: Vec<T>,
    pub next: Option<Cursor>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    NewestFirst,
    OldestFirst,
}

/// Counts for `/metrics`, the demo and the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub deliveries: u64,
    pub lines: u64,
    pub calls: u64,
    pub findings: u64,
    pub rejects: u64,
    /// The correlator's position: equal to `deliveries` when everything has been derived.
    pub position: u64,
}

/// A bearer token as stored: the secret itself is never kept, only its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    pub name: String,
    pub sha256: [u8; 32],
    /// `ingest:NAME`, `read`, `admin`.
    pub scopes: Vec<String>,
    pub created_at: Timestamp,
}

impl Store {
    /// Opens (and creates or migrates) the database. Errors say what to do: a path that is no directory, one that cannot be
    /// written, a newer schema than this program knows.
    pub async fn open(location: &Location) -> Result<Store, StoreError> {
        let _ = location;
        todo!()
    }
    /// Opens only what exists, for reading: never creates a directory.
    pub async fn open_existing(location: &Location) -> Result<Store, StoreError> {
        let _ = location;
        todo!()
    }
    pub async fn close(&self) {
        todo!()
    }
    /// A statement that touches the database, for `/readyz`.
    pub async fn ping(&self) -> Result<(), StoreError> {
        todo!()
    }

    // --- evidence ---
    /// Commits the deliveries in one durable transaction and answers for each, in order.
    pub async fn commit(&self, deliveries: &[Delivery]) -> Result<Vec<Commit>, StoreError> {
        let _ = deliveries;
        todo!()
    }
    /// Committed deliveries with numbers above `after`, in order, until about `max_lines` lines are read (at least one
    /// delivery when there is one).
    pub async fn deliveries_after(
        &self,
        after: u64,
        max_lines: usize,
    ) -> Result<Vec<StoredDelivery>, StoreError> {
        let _ = (after, max_lines);
        todo!()
    }
    pub async fn find_delivery(&self, id: &DeliveryId) -> Result<Option<u64>, StoreError> {
        let _ = id;
        todo!()
    }
    /// One raw line of the evidence.
    pub async fn raw_line(&self, delivery: u64, line: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let _ = (delivery, line);
        todo!()
    }
    /// Number of the last committed delivery; 0 when there is none.
    pub async fn head(&self) -> Result<u64, StoreError> {
        todo!()
    }

    // --- derived, written by the correlator only ---
    /// Takes the correlator's office: raises the epoch, so that whoever held it before is fenced.
    pub async fn take_correlator(&self) -> Result<Position, StoreError> {
        todo!()
    }
    /// All calls that carry any of the keys (a superset, since keys are hashes), each once, by id.
    pub async fn calls_by_key(&self, keys: &[i64]) -> Result<Vec<Call>, StoreError> {
        let _ = keys;
        todo!()
    }
    /// Those of the sockets that a caller's own proxy has logged within `slack_us` of the given time.
    pub async fn known_connections(&self, sockets: &[SocketPair]) -> Result<Vec<Connection>, StoreError> {
        let _ = sockets;
        todo!()
    }
    /// Calls received by an identity (its key) that started in `[from, to]`, by start, at most `limit`.
    pub async fn calls_received(
        &self,
        callee_key: &str,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<Call>, StoreError> {
        let _ = (callee_key, from, to, limit);
        todo!()
    }
    /// Orphans (see `IndexedCall::orphan`) made by an identity that started in `[from, to]`, by start, at most `limit`.
    pub async fn orphans(
        &self,
        caller_key: &str,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<Call>, StoreError> {
        let _ = (caller_key, from, to, limit);
        todo!()
    }
    /// All of the change and the new position, or nothing. `Fenced` when the epoch or the position is not the change's.
    pub async fn apply(&self, change: &Change) -> Result<(), StoreError> {
        let _ = change;
        todo!()
    }
    /// Throws everything derived away and sets the position to 0, under a new epoch.
    pub async fn reset_derived(&self) -> Result<Position, StoreError> {
        todo!()
    }

    // --- questions. `as_of` decides which findings hold and, in the caller's hands, the state ---
    pub async fn calls(
        &self,
        filter: &CallFilter,
        as_of: Timestamp,
        order: Order,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<Call>, StoreError> {
        let _ = (filter, as_of, order, after, limit);
        todo!()
    }
    /// By leg id or call id (every id that a call ever had). The call's id differs from the asked one after re-pairing.
    pub async fn call_by_leg(&self, id: &CallId, as_of: Timestamp) -> Result<Option<Call>, StoreError> {
        let _ = (id, as_of);
        todo!()
    }
    /// Calls that hold any of the keys; for ids that are not leg ids. The asker checks (keys are hashes).
    pub async fn calls_with_keys(&self, keys: &[i64], as_of: Timestamp) -> Result<Vec<Call>, StoreError> {
        let _ = (keys, as_of);
        todo!()
    }
    /// All calls of a trace by start.
    pub async fn trace(&self, id: &TraceId, as_of: Timestamp) -> Result<Vec<Call>, StoreError> {
        let _ = (id, as_of);
        todo!()
    }
    /// Findings that hold at `as_of` with the call that each is on (by id), newest first.
    pub async fn findings(
        &self,
        filter: &FindingFilter,
        as_of: Timestamp,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<(Call, Finding)>, StoreError> {
        let _ = (filter, as_of, after, limit);
        todo!()
    }
    pub async fn rejects(&self, limit: u32) -> Result<Vec<StoredReject>, StoreError> {
        let _ = limit;
        todo!()
    }
    pub async fn totals(&self) -> Result<Totals, StoreError> {
        todo!()
    }

    // --- tokens ---
    pub async fn add_token(&self, token: &TokenRow) -> Result<(), StoreError> {
        let _ = token;
        todo!()
    }
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, StoreError> {
        todo!()
    }
    /// True when there was one of that name.
    pub async fn revoke_token(&self, name: &str) -> Result<bool, StoreError> {
        let _ = name;
        todo!()
    }
}
