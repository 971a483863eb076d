//! What can be asked for, typed and checked once: everything downstream takes it as given.

use super::call::{Basis, Effect};
use super::finding::{FindingKind, Severity};
use super::ids::TraceId;
use super::statistic::StatusClass;
use super::time::Timestamp;

/// Which calls. Every field that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallFilter {
    /// Canonical start at or after.
    pub from: Option<Timestamp>,
    /// Canonical start before.
    pub to: Option<Timestamp>,
    /// The principal's subject, exactly.
    pub principal: Option<String>,
    /// Short name or SPIFFE id.
    pub caller: Option<String>,
    pub callee: Option<String>,
    pub decision: Option<Effect>,
    /// What the status was, by its first digit.
    pub status: Option<StatusClass>,
    pub finding: Option<FindingKind>,
    pub basis: Option<Basis>,
    pub trace_id: Option<TraceId>,
}

/// Which findings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FindingFilter {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    pub kind: Option<FindingKind>,
    pub severity: Option<Severity>,
    pub callee: Option<String>,
}

/// Keyset position: everything strictly older than this (newest first) or strictly newer (oldest first).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub start: Timestamp,
    pub id: super::ids::CallId,
}
