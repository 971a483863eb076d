//! What can go wrong in the store, and which of it is worth a retry.

use sqlx::error::DatabaseError;

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

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) if is_passing(database.as_ref()) => {
                StoreError::Unavailable(error.to_string())
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => StoreError::Unavailable(error.to_string()),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                StoreError::Inconsistent(error.to_string())
            }
            _ => StoreError::Other(error.to_string()),
        }
    }
}

/// Whether the database's own error will pass without anybody changing the program.
fn is_passing(error: &dyn DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    match code.parse::<i32>() {
        // Only SQLite's codes are this short; SQLSTATE has five characters.
        Ok(number) if code.len() < 5 => is_passing_in_sqlite(number & 0xff),
        _ => is_passing_in_postgres(&code),
    }
}

/// Primary result codes, <https://www.sqlite.org/rescode.html>: BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL.
fn is_passing_in_sqlite(primary: i32) -> bool {
    matches!(primary, 5 | 6 | 7 | 8 | 10 | 13 | 14 | 15)
}

/// SQLSTATE classes, PostgreSQL appendix A: 08 connection, 25006 read only (after a failover), 40 rollback by deadlock or
/// serialization, 53 resources (disk full, connections), 55P03 lock timeout, 57 shutdown and cancel, 58 I/O of the server.
fn is_passing_in_postgres(state: &str) -> bool {
    let class = state.get(..2).unwrap_or("");
    matches!(class, "08" | "40" | "53" | "57" | "58") || matches!(state, "25006" | "55P03")
}

/// A row that does not say what it should, with the table and what is wrong.
pub(super) fn inconsistent(table: &str, what: impl std::fmt::Display) -> StoreError {
    StoreError::Inconsistent(format!("table {table}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_told_from_what_does_not() {
        // 2570 is SQLITE_IOERR_BLOCKED-like extended code 10 | 10<<8; 19 is a constraint, 11 a corrupt file.
        assert!([5, 13, 2570 & 0xff].into_iter().all(is_passing_in_sqlite));
        assert!(![1, 11, 19, 26].into_iter().any(is_passing_in_sqlite));
        assert!(
            ["08006", "53100", "57P01", "40P01", "55P03", "25006"].into_iter().all(is_passing_in_postgres)
        );
        assert!(!["23505", "42P01", "22021"].into_iter().any(is_passing_in_postgres));
    }
}
