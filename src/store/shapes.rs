//! What goes into the store and comes out of it: shapes of the domain, not rows.

use super::Heard;
use crate::model::{
    Call, CallId, Cursor, Delivery, DeliveryId, Holder, JournalDraft, RejectReason, SocketPair,
    StatisticDelta, Timestamp,
};
use std::sync::Arc;

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

/// A committed delivery without its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryHead {
    pub number: u64,
    pub id: DeliveryId,
    pub source: String,
    pub proxy: Option<String>,
    pub received_at: Timestamp,
    pub line_count: u32,
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
    pub call: Arc<Call>,
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

/// A span of time in which the caller's own proxy used a pair of ends: as one line tells it, or, of what is stored, merged with
/// the others that lie no further apart than [`crate::model::CONNECTION_SLACK_US`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    pub socket: SocketPair,
    pub holder: Holder,
    pub first: Timestamp,
    pub last: Timestamp,
}

/// How completely an observer reported in an hour: changes to be added to what is stored (they may be negative).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CoverageDelta {
    /// `Identity::key()` of the party whose own proxy (or Worker) is measured, or that of an instance of it.
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
    /// Added to the spans that are stored.
    pub connections: Vec<Connection>,
    pub coverage: Vec<CoverageDelta>,
    /// What the upserts add to the statistics, less what the calls said that they replace or remove.
    pub statistics: Vec<StatisticDelta>,
    /// What the change takes back, to be kept if it had been believed.
    pub journal: Vec<JournalDraft>,
    /// Nothing that was committed when the step began is left to be derived.
    pub reaches_end: bool,
    pub heard: Heard,
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
