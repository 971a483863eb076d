//! Where SQLite and Postgres differ: all of it, by name.

/// `?` as Postgres wants it: `$1`, `$2`, in order. No text of ours holds a `?` that is not a place for a value.
pub(super) fn numbered(sql: &str) -> String {
    let mut pieces = sql.split('?');
    let mut numbered = String::with_capacity(sql.len() + sql.len() / 4);
    numbered.push_str(pieces.next().unwrap_or(""));
    for (i, piece) in pieces.enumerate() {
        numbered.push('$');
        numbered.push_str(&(i + 1).to_string());
        numbered.push_str(piece);
    }
    numbered
}

/// What each new SQLite connection is told besides the options that have a name of their own.
pub(super) const SQLITE_PRAGMAS: [(&str, &str); 4] = [
    // KiB when negative.
    ("cache_size", "-65536"),
    ("journal_size_limit", "67108864"),
    // Pages of 16 KiB: what changes again and again within 64 MiB is carried into the file once.
    ("wal_autocheckpoint", "4096"),
    ("temp_store", "memory"),
];

/// What each new Postgres connection is told. A plan made for any value would walk the time index for a service that has no
/// rows; a lock must not outlast the 10 s that senders wait; a node that hangs must not hold the log head for ever.
pub(super) const POSTGRES_SETTINGS: &str = "set plan_cache_mode = force_custom_plan; set lock_timeout = '8s'; \
     set idle_in_transaction_session_timeout = '60s'; set synchronous_commit = on";

/// Begins a transaction that has been written to the disk when its commit returns. Said each time, since the connection may
/// have begun the other kind before.
pub(super) const SQLITE_DURABLE: &str = "pragma synchronous = full; begin immediate";
pub(super) const POSTGRES_DURABLE: &str = "begin";
/// Begins one whose commit does not wait for the disk; a later durable one takes it along.
pub(super) const SQLITE_DERIVED: &str = "pragma synchronous = normal; begin immediate";
pub(super) const POSTGRES_DERIVED: &str = "begin; set local synchronous_commit = off; \
     set local application_name = 'calltrail deriving'; set local idle_in_transaction_session_timeout = '15s'";
/// Begins a durable one of whoever holds the correlator's office. The name is that by which its transaction is found and ended when
/// it is paused in the middle of it; should that not be allowed, its time runs out.
pub(super) const POSTGRES_IN_OFFICE: &str = "begin; set local application_name = 'calltrail deriving'; \
     set local idle_in_transaction_session_timeout = '15s'";

/// Begins a transaction that sees one state of the database. On SQLite any transaction that only reads does.
pub(super) const POSTGRES_SNAPSHOT: &str = "begin isolation level repeatable read read only";

/// Texts of a group, one after the other.
pub(super) const SQLITE_JOINED_DURATIONS: &str = "group_concat(durations, '')";
pub(super) const POSTGRES_JOINED_DURATIONS: &str = "string_agg(durations, '')";

/// The session that holds the correlator's office: when its machine is gone, the server must notice within seconds.
pub(super) const POSTGRES_OFFICE_SETTINGS: &str =
    "set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3";
/// Advisory locks are numbers; this one reads "calltrai".
pub(super) const POSTGRES_LOCK_OFFICE: &str = "select pg_try_advisory_lock(7161124095561720169)";
/// For whoever has the lock. The lease is short enough for another process to follow within ten seconds, and six times as long as
/// the pause between two renewals.
pub(super) const POSTGRES_NEW_TERM: &str = "update lease set term = term + 1, until = clock_timestamp() + interval '6 seconds' \
     returning term";
pub(super) const POSTGRES_RENEW_LEASE: &str =
    "update lease set until = clock_timestamp() + interval '6 seconds' where term = $1";
/// Ends, when the lease has run out, the session that holds the lock (the two halves of its number) and the transactions of whoever
/// derived: these hold the correlator's row. Not what has moved a moment ago: somebody may have the lock and not yet the lease.
pub(super) const POSTGRES_END_OUTLIVED: &str = "select pg_terminate_backend(a.pid, 1000) from pg_stat_activity a, lease l \
     where l.until < clock_timestamp() and a.state_change < clock_timestamp() - interval '1 second' and a.datname = current_database() and a.pid <> pg_backend_pid() \
     and (a.application_name = 'calltrail deriving' or a.pid in (select k.pid from pg_locks k where k.locktype = 'advisory' \
     and k.granted and k.classid = 1667329132 and k.objid = 1953653097 and k.database = a.datid))";
pub(super) const POSTGRES_LEAVE_OFFICE: &str = "select pg_advisory_unlock(7161124095561720169)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_numbered_in_order() {
        assert_eq!(numbered("a = ? and b in (?, ?)"), "a = $1 and b in ($2, $3)");
        assert_eq!(numbered("select 1"), "select 1");
    }
}
