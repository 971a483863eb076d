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
pub(super) const POSTGRES_DERIVED: &str = "begin; set local synchronous_commit = off";

/// Begins a transaction that sees one state of the database. On SQLite any transaction that only reads does.
pub(super) const POSTGRES_SNAPSHOT: &str = "begin isolation level repeatable read read only";

/// Texts of a group, one after the other.
pub(super) const SQLITE_JOINED_DURATIONS: &str = "group_concat(durations, '')";
pub(super) const POSTGRES_JOINED_DURATIONS: &str = "string_agg(durations, '')";

/// The session that holds the correlator's office: when its machine is gone, the server must notice within seconds.
pub(super) const POSTGRES_OFFICE_SETTINGS: &str =
    "set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3";
/// Advisory locks are numbers; this one reads "calltrai".
pub(super) const POSTGRES_TAKE_OFFICE: &str = "select pg_try_advisory_lock(7161124095561720169)";
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
