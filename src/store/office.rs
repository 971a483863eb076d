//! The correlator's office: who may derive. In a data directory the lock of the directory says so; in Postgres a lease, in a row of the
//! database and by the database's own clock, and an advisory lock beside it.
//!
//! The lock tells at once of a process that has ended: its session ends with it. The lease tells of one that is paused, or that
//! nobody reaches any more, while its session stays open: it is not renewed, and whoever asks next ends what that process has open
//! and takes its place. Each time the office is taken is a term, and each term has a higher number: whoever wakes up and still
//! believes to be in office finds a higher one in the correlator's row and writes nothing. So nothing is written twice, whatever
//! the locks and clocks say: that rests on the term and the epoch (see `apply`), which are looked at in each transaction.

use super::statement::{Tx, stmt};
use super::{Db, Store, StoreError, dialect};
use sqlx::{Connection, Executor, PgConnection};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// Between two attempts to take the office.
const PAUSE: Duration = Duration::from_millis(500);
/// Between two renewals of the lease, which lasts six seconds (see `dialect`).
const RENEW: Duration = Duration::from_secs(1);
/// A session that does not answer for so long is given up.
const PATIENCE: Duration = Duration::from_secs(3);

/// Held by whoever derives; given back by [`Office::leave`], when it is dropped, or when the process ends.
pub struct Office {
    /// `None` in a data directory.
    lease: Option<Lease>,
}

/// Renewed by a task of its own: a step of the correlator may take longer than the lease lasts.
struct Lease {
    term: i64,
    leave: oneshot::Sender<()>,
    /// Closed when the lease has been lost.
    held: watch::Receiver<()>,
    renewing: JoinHandle<()>,
}

impl Store {
    /// Whether other processes may commit and derive in this database.
    pub fn is_shared(&self) -> bool {
        matches!(self.db, Db::Postgres(_))
    }

    /// The office, or `None` while another process holds it.
    pub async fn try_office(&self) -> Result<Option<Office>, StoreError> {
        let Db::Postgres(pool) = &self.db else { return Ok(Some(Office { lease: None })) };
        let mut session = PgConnection::connect_with(&pool.connect_options()).await?;
        session.execute(dialect::POSTGRES_OFFICE_SETTINGS).await?;
        if locked(&mut session).await? || (outlived(&mut session).await? && locked(&mut session).await?) {
            let term = sqlx::query_scalar(dialect::POSTGRES_NEW_TERM).fetch_one(&mut session).await?;
            return Ok(Some(Office { lease: Some(Lease::kept(session, term)) }));
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

    /// The same database for whoever holds the office: what it takes and writes is refused when somebody else has taken it since.
    pub fn in_office(&self, office: &Office) -> Store {
        Store { term: office.lease.as_ref().map(|lease| lease.term), ..self.clone() }
    }

    /// Locks the correlator's row; `Fenced` when a later term than ours has been there.
    pub(super) async fn enter_office(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let Some(term) = self.term else { return Ok(()) };
        let enter = stmt("update correlator set term = ? where term <= ?").int(term).int(term);
        if tx.execute(enter).await? == 0 { Err(StoreError::Fenced) } else { Ok(()) }
    }
}

async fn locked(session: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(dialect::POSTGRES_LOCK_OFFICE).fetch_one(session).await
}

/// Ends the sessions of whoever has not renewed the lease in time, and waits for that. Whether there were any.
async fn outlived(session: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let ended: Vec<bool> = sqlx::query_scalar(dialect::POSTGRES_END_OUTLIVED).fetch_all(session).await?;
    if !ended.is_empty() {
        tracing::warn!("whoever derives has not been heard for too long: its sessions are ended");
    }
    Ok(!ended.is_empty())
}

impl Lease {
    fn kept(session: PgConnection, term: i64) -> Lease {
        tracing::info!(term, "this process derives now");
        let (leave, left) = oneshot::channel();
        let (holds, held) = watch::channel(());
        let renewing = tokio::spawn(async move {
            renew(session, term, left).await;
            drop(holds);
        });
        Lease { term, leave, held, renewing }
    }
}

/// Until it is to be given back, which it then is, or until it is lost.
async fn renew(mut session: PgConnection, term: i64, mut left: oneshot::Receiver<()>) {
    loop {
        tokio::select! {
            _ = &mut left => break,
            () = tokio::time::sleep(RENEW) => {}
        }
        let renewal = sqlx::query(dialect::POSTGRES_RENEW_LEASE).bind(term).execute(&mut session);
        match tokio::time::timeout(PATIENCE, renewal).await {
            Ok(Ok(renewed)) if renewed.rows_affected() > 0 => {}
            _ => return,
        }
    }
    // Should that fail, the session has ended, and the lock with it.
    let _ = session.execute(dialect::POSTGRES_LEAVE_OFFICE).await;
    let _ = session.close().await;
}

impl Office {
    /// Returns when the office has been lost: the session has ended, or another process has taken it. Never in a data directory.
    pub async fn lost(&mut self) {
        let Some(lease) = &mut self.lease else { return std::future::pending().await };
        while lease.held.changed().await.is_ok() {}
    }

    /// Gives it back; when this returns, others can have it.
    pub async fn leave(self) {
        let Some(lease) = self.lease else { return };
        // Should it have been lost, there is nothing to give back.
        let _ = lease.leave.send(());
        let _ = lease.renewing.await;
    }
}
