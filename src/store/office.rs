//! The correlator's office: who may derive. In a data directory the lock of the directory says so; in Postgres it is an advisory
//! lock, which lives as long as the session that took it.
//!
//! It keeps two processes from taking the correlator from each other again and again. That nothing is written twice does not
//! rest on it but on the epoch (see `apply`): a session can end without its owner knowing.

use super::{Db, Store, StoreError, dialect};
use sqlx::{Connection, Executor, PgConnection};
use std::time::Duration;

/// Between two attempts to take the office, and between two looks whether the session still lives.
const PAUSE: Duration = Duration::from_millis(500);
/// A session that does not answer for so long is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Held by whoever derives; given back by [`Office::leave`], or when the process ends.
pub struct Office {
    session: Option<PgConnection>,
}

impl Store {
    /// Whether other processes may commit and derive in this database.
    pub fn is_shared(&self) -> bool {
        matches!(self.db, Db::Postgres(_))
    }

    /// The office, or `None` while another process holds it.
    pub async fn try_office(&self) -> Result<Option<Office>, StoreError> {
        let Db::Postgres(pool) = &self.db else { return Ok(Some(Office { session: None })) };
        let mut session = PgConnection::connect_with(&pool.connect_options()).await?;
        session.execute(dialect::POSTGRES_OFFICE_SETTINGS).await?;
        let taken: bool = sqlx::query_scalar(dialect::POSTGRES_TAKE_OFFICE).fetch_one(&mut session).await?;
        if taken {
            return Ok(Some(Office { session: Some(session) }));
        }
        session.close().await?;
        Ok(None)
    }

    /// Waits until nobody else holds the office, however long that takes.
    pub async fn office(&self) -> Office {
        loop {
            match self.try_office().await {
                Ok(Some(office)) => return office,
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "the correlator's office cannot be asked for"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Office {
    /// Returns when the office has been lost: the session has ended. Never, where no session holds it.
    pub async fn lost(&mut self) {
        let Some(session) = &mut self.session else { return std::future::pending().await };
        while let Ok(Ok(())) = tokio::time::timeout(PATIENCE, session.ping()).await {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Gives it back; when this returns, others can have it.
    pub async fn leave(self) {
        let Some(mut session) = self.session else { return };
        // Should that fail, the session has ended, and the office with it.
        let _ = session.execute(dialect::POSTGRES_LEAVE_OFFICE).await;
        let _ = session.close().await;
    }
}
