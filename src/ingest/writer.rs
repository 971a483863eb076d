//! Group commit: many uploads, one durable transaction.
//!
//! Each way in hands over a [`Delivery`] and waits; the writer takes what is waiting, commits it in one transaction and only
//! then answers. The queue is bounded: when it is full the sender is told to come back ([`WriteError::Overloaded`]). It never
//! waits for the correlator; it only tells it, by a watch channel, how far the evidence goes.

use crate::model::Delivery;
use crate::store::{Commit, Store, StoreError};
use tokio::sync::watch;

/// Cheap to clone: one for each way in.
#[derive(Clone)]
pub struct Writer {}

/// Why a delivery was not committed. Both are worth a retry by the sender.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("the write queue is full")]
    Overloaded,
    #[error("the store cannot take the delivery: {0}")]
    Store(String),
    #[error("the server is shutting down")]
    Stopping,
}

impl Writer {
    /// Starts the writer task. `queue_bytes` bounds the raw bytes that wait. The receiver is told the number of the last
    /// committed delivery; dropping every `Writer` ends the task after what is queued has been committed.
    pub fn start(
        store: Store,
        queue_bytes: usize,
    ) -> (Writer, watch::Receiver<u64>, tokio::task::JoinHandle<()>) {
        let _ = (store, queue_bytes);
        todo!()
    }

    /// Returns only after the transaction that holds this delivery is durable.
    pub async fn write(&self, delivery: Delivery) -> Result<Commit, WriteError> {
        let _ = delivery;
        todo!()
    }
}

#[allow(dead_code)]
fn _uses(_: StoreError) {}
