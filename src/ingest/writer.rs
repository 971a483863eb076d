//! Group commit: many uploads, one durable transaction.
//!
//! Each way in hands over a [`Delivery`] and waits; the writer takes what is waiting, commits it in one transaction and only
//! then answers. The queue is bounded: when it is full the sender is told to come back ([`WriteError::Overloaded`]). It never
//! waits for the correlator; it only tells it, by a watch channel, how far the evidence goes.

use crate::handover::Handover;
use crate::model::Delivery;
use crate::store::{Commit, Store, StoreError};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

/// How much goes into one transaction: more would only make the first of them wait longer.
const GROUP_DELIVERIES: usize = 64;
const GROUP_BYTES: usize = 16 << 20;
/// What a line takes in memory besides its bytes: a delivery of a million short lines is no small one.
const LINE_OVERHEAD_BYTES: usize = 64;

/// Cheap to clone: one for each way in.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::UnboundedSender<Waiting>,
    /// One permit for each byte that may wait; the queue itself needs no other bound.
    room: Arc<Semaphore>,
    room_bytes: u32,
    handover: Handover,
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
    /// Starts the writer task. `queue_bytes` bounds what waits, with a little for each line; a single delivery that is larger is taken when
    /// nothing else waits. The receiver is told the number of the last committed delivery; dropping every `Writer` ends the
    /// task after what is queued has been committed.
    pub fn start(
        store: Store,
        queue_bytes: usize,
    ) -> (Writer, watch::Receiver<u64>, tokio::task::JoinHandle<()>) {
        let (queue, waiting) = mpsc::unbounded_channel();
        let (committed, head) = watch::channel(0);
        let room_bytes = u32::try_from(queue_bytes.clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let room = Arc::new(Semaphore::new(room_bytes as usize));
        let writer = Writer { queue, room, room_bytes, handover: Handover::default() };
        (writer, head, tokio::spawn(run(store, waiting, committed)))
    }

    /// Hands what the ways in have decoded to a correlator in this process.
    pub fn handing_over(self, handover: Handover) -> Writer {
        Writer { handover, ..self }
    }

    pub fn handover(&self) -> &Handover {
        &self.handover
    }

    /// Returns only after the transaction that holds this delivery is durable. A caller that goes away meanwhile does not take
    /// its delivery back.
    pub async fn write(&self, delivery: Delivery) -> Result<Commit, WriteError> {
        let room = Arc::clone(&self.room).try_acquire_many_owned(self.permits(&delivery));
        self.write_in(room.map_err(|_| WriteError::Overloaded), delivery).await
    }

    /// The same for whoever can wait with what comes next: refuses nothing for want of room.
    pub async fn write_when_there_is_room(&self, delivery: Delivery) -> Result<Commit, WriteError> {
        let room = Arc::clone(&self.room).acquire_many_owned(self.permits(&delivery)).await;
        self.write_in(room.map_err(|_| WriteError::Stopping), delivery).await
    }

    async fn write_in(
        &self,
        room: Result<OwnedSemaphorePermit, WriteError>,
        delivery: Delivery,
    ) -> Result<Commit, WriteError> {
        let id = delivery.id;
        let written = match room {
            Ok(room) => self.enqueue(room, delivery).await,
            Err(error) => Err(error),
        };
        if !matches!(written, Ok(Commit::Stored { .. })) {
            self.handover.withdraw(&id);
        }
        written
    }

    fn permits(&self, delivery: &Delivery) -> u32 {
        u32::try_from(bytes_of(delivery).max(1)).unwrap_or(u32::MAX).min(self.room_bytes)
    }

    async fn enqueue(&self, room: OwnedSemaphorePermit, delivery: Delivery) -> Result<Commit, WriteError> {
        let bytes = bytes_of(&delivery);
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { delivery, bytes, answer, _room: room };
        self.queue.send(waiting).map_err(|_| WriteError::Stopping)?;
        answered.await.unwrap_or(Err(WriteError::Stopping))
    }
}

fn bytes_of(delivery: &Delivery) -> usize {
    delivery.lines.iter().map(|line| line.len() + LINE_OVERHEAD_BYTES).sum()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::delivery_id;
    use crate::model::Timestamp;
    use crate::store::Location;
    use sqlx::{Connection, Executor, SqliteConnection};

    const ROOMY: usize = 1 << 20;

    fn delivery(source: &str, line: &str) -> Delivery {
        Delivery {
            id: delivery_id(source, None, line.as_bytes()),
            source: source.to_owned(),
            proxy: None,
            received_at: Timestamp(0),
            lines: vec![line.as_bytes().to_vec()],
        }
    }

    async fn open() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Directory(directory.path().to_owned())).await.unwrap();
        (directory, store)
    }

    #[tokio::test]
    async fn many_uploads_at_once_are_each_answered_with_their_own_number() {
        let (_directory, store) = open().await;
        let (writer, head, task) = Writer::start(store.clone(), ROOMY);
        let uploads = (0..200).map(|n| {
            let writer = writer.clone();
            tokio::spawn(async move { writer.write(delivery("edge", &format!("line {n}"))).await.unwrap() })
        });
        let mut numbers = Vec::new();
        for upload in uploads.collect::<Vec<_>>() {
            let Commit::Stored { number } = upload.await.unwrap() else { panic!("all are different") };
            numbers.push(number);
        }
        numbers.sort();
        assert_eq!(numbers, (1..=200).collect::<Vec<u64>>());
        assert_eq!(*head.borrow(), 200);
        drop(writer);
        task.await.unwrap();
    }

    #[tokio::test]
    async fn what_is_queued_is_committed_before_the_task_ends() {
        let (_directory, store) = open().await;
        let (writer, mut head, task) = Writer::start(store.clone(), ROOMY);
        for n in 0..100 {
            let writer = writer.clone();
            // Whoever sent it has gone: the delivery stays.
            let mut gone =
                Box::pin(async move { writer.write(delivery("edge", &format!("line {n}"))).await });
            assert!(futures_util::FutureExt::now_or_never(&mut gone).is_none());
        }
        drop(writer);
        task.await.unwrap();
        assert_eq!(store.head().await.unwrap(), 100);
        assert_eq!(*head.borrow_and_update(), 100);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_takes_more_when_it_has_drained() {
        let (_directory, store) = open().await;
        let (writer, _head, _task) = Writer::start(store, 10);
        // On this one thread the task cannot run between the two.
        let mut first = Box::pin(writer.write(delivery("edge", "eight by")));
        assert!(futures_util::FutureExt::now_or_never(&mut first).is_none());
        let second = writer.write(delivery("edge", "more")).await;
        assert!(matches!(second, Err(WriteError::Overloaded)), "{second:?}");
        assert_eq!(first.await.unwrap(), Commit::Stored { number: 1 });
        let large = writer.write(delivery("edge", "larger than the queue")).await;
        assert_eq!(large.unwrap(), Commit::Stored { number: 2 });
    }

    #[tokio::test]
    async fn a_delivery_that_the_store_refuses_does_not_take_its_neighbours_down() {
        let (directory, store) = open().await;
        let url = format!("sqlite://{}", directory.path().join("calltrail.db").display());
        let mut db = SqliteConnection::connect(&url).await.unwrap();
        db.execute(
            "create trigger refuse before insert on delivery when new.source = 'refused' \
             begin select raise(abort, 'refused for good'); end",
        )
        .await
        .unwrap();
        let (writer, head, _task) = Writer::start(store, ROOMY);
        let (before, refused, after) = tokio::join!(
            writer.write(delivery("edge", "before")),
            writer.write(delivery("refused", "x")),
            writer.write(delivery("edge", "after")),
        );
        assert_eq!(before.unwrap(), Commit::Stored { number: 1 });
        assert!(
            matches!(&refused, Err(WriteError::Store(why)) if why.contains("refused for good")),
            "{refused:?}"
        );
        assert_eq!(after.unwrap(), Commit::Stored { number: 2 });
        assert_eq!(*head.borrow(), 2);
    }

    #[tokio::test]
    async fn a_store_that_is_gone_is_an_answer_and_not_a_panic() {
        let (_directory, store) = open().await;
        let (writer, _head, task) = Writer::start(store.clone(), ROOMY);
        store.close().await;
        for _ in 0..2 {
            let answer = writer.write(delivery("edge", "x")).await;
            assert!(matches!(answer, Err(WriteError::Store(_))), "{answer:?}");
        }
        drop(writer);
        task.await.unwrap();
    }

    #[tokio::test]
    async fn whoever_derives_is_told_at_the_start_how_far_the_evidence_goes() {
        let (_directory, store) = open().await;
        store.commit(&[delivery("edge", "from an earlier run")]).await.unwrap();
        let (_writer, mut head, _task) = Writer::start(store, ROOMY);
        assert_eq!(*head.wait_for(|number| *number > 0).await.unwrap(), 1);
    }
}
