//! Group commit: many uploads, one durable transaction.
//!
//! Each way in hands over a [`Delivery`] and waits; the writer takes what is waiting, commits it in one transaction and only
//! then answers. The queue is bounded: when it is full the sender is told to come back ([`WriteError::Overloaded`]). It never
//! waits for the correlator; it only tells it, by a watch channel, how far the evidence goes.

use crate::model::Delivery;
use crate::store::{Commit, Store, StoreError};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

/// How much goes into one transaction: more would only make the first of them wait longer.
const GROUP_DELIVERIES: usize = 64;
const GROUP_BYTES: usize = 16 << 20;

/// Cheap to clone: one for each way in.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::UnboundedSender<Waiting>,
    /// One permit for each raw byte that may wait; the queue itself needs no other bound.
    room: Arc<Semaphore>,
    room_bytes: u32,
}

/// Why a delivery was not committed. All are worth a retry by the sender.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("the write queue is full")]
    Overloaded,
    #[error("the store cannot take the delivery: {0}")]
    Store(String),
    #[error("the server is shutting down")]
    Stopping,
}

struct Waiting {
    delivery: Delivery,
    bytes: usize,
    answer: oneshot::Sender<Result<Commit, WriteError>>,
    /// Given back when the answer has been sent.
    _room: OwnedSemaphorePermit,
}

impl Writer {
    /// Starts the writer task. `queue_bytes` bounds the raw bytes that wait; a single delivery that is larger is taken when
    /// nothing else waits. The receiver is told the number of the last committed delivery; dropping every `Writer` ends the
    /// task after what is queued has been committed.
    pub fn start(
        store: Store,
        queue_bytes: usize,
    ) -> (Writer, watch::Receiver<u64>, tokio::task::JoinHandle<()>) {
        let (queue, waiting) = mpsc::unbounded_channel();
        let (committed, head) = watch::channel(0);
        let room_bytes = u32::try_from(queue_bytes.clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let writer = Writer { queue, room: Arc::new(Semaphore::new(room_bytes as usize)), room_bytes };
        (writer, head, tokio::spawn(run(store, waiting, committed)))
    }

    /// Returns only after the transaction that holds this delivery is durable. A caller that goes away meanwhile does not take
    /// its delivery back.
    pub async fn write(&self, delivery: Delivery) -> Result<Commit, WriteError> {
        let bytes = delivery.lines.iter().map(Vec::len).sum::<usize>();
        let permits = u32::try_from(bytes.max(1)).unwrap_or(u32::MAX).min(self.room_bytes);
        let room =
            Arc::clone(&self.room).try_acquire_many_owned(permits).map_err(|_| WriteError::Overloaded)?;
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { delivery, bytes, answer, _room: room };
        self.queue.send(waiting).map_err(|_| WriteError::Stopping)?;
        answered.await.unwrap_or(Err(WriteError::Stopping))
    }
}

async fn run(store: Store, mut waiting: mpsc::UnboundedReceiver<Waiting>, committed: watch::Sender<u64>) {
    // What an earlier run has committed may still have to be derived.
    if let Ok(head) = store.head().await {
        committed.send_replace(head);
    }
    while let Some(first) = waiting.recv().await {
        let group = take_group(first, &mut waiting);
        write_group(&store, group, &committed).await;
    }
}

fn take_group(first: Waiting, waiting: &mut mpsc::UnboundedReceiver<Waiting>) -> Vec<Waiting> {
    let mut bytes = first.bytes;
    let mut group = vec![first];
    while group.len() < GROUP_DELIVERIES && bytes < GROUP_BYTES {
        let Ok(next) = waiting.try_recv() else { break };
        bytes += next.bytes;
        group.push(next);
    }
    group
}

type Answer = (oneshot::Sender<Result<Commit, WriteError>>, OwnedSemaphorePermit);

async fn write_group(store: &Store, group: Vec<Waiting>, committed: &watch::Sender<u64>) {
    let (deliveries, answers): (Vec<Delivery>, Vec<Answer>) =
        group.into_iter().map(|w| (w.delivery, (w.answer, w._room))).unzip();
    let deliveries = Arc::new(deliveries);
    let results = commit_group(store, &deliveries).await;
    let last = results.iter().flatten().map(|c| match c {
        Commit::Stored { number } | Commit::Duplicate { number } => *number,
    });
    if let Some(last) = last.max() {
        committed.send_if_modified(|head| std::mem::replace(head, last.max(*head)) < last);
    }
    for ((answer, _room), result) in answers.into_iter().zip(results) {
        // Nobody may be there any more to hear it.
        let _ = answer.send(result.map_err(WriteError::Store));
    }
}

/// One result, or why there is none, for each. A delivery that the store refuses for good must not take its neighbours down:
/// each is then tried alone.
async fn commit_group(store: &Store, deliveries: &Arc<Vec<Delivery>>) -> Vec<Result<Commit, String>> {
    let error = match store.commit_shared(Arc::clone(deliveries)).await {
        Ok(commits) => return commits.into_iter().map(Ok).collect(),
        Err(error) => error,
    };
    if deliveries.len() == 1 || matches!(error, StoreError::Unavailable(_)) {
        return vec![Err(error.to_string()); deliveries.len()];
    }
    let mut results = Vec::with_capacity(deliveries.len());
    for delivery in deliveries.iter() {
        let alone = store.commit(std::slice::from_ref(delivery)).await;
        let first = alone.map(|commits| commits.into_iter().next());
        results.push(first.map_err(|e| e.to_string()).and_then(|c| c.ok_or_else(|| "no answer".to_owned())));
    }
    results
}
