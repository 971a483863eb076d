//! Room in memory for uploads that are being received: a fixed number of bytes, shared by all of them.
//!
//! Each upload holds its share from its first byte until its lines have been counted. Who finds no room waits a few seconds and
//! is then told to come back: many connections with large bodies must not take more memory than was allowed.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long an upload waits for its turn before it is sent away. Longer, and senders would time out without knowing why.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Room {
    bytes: Arc<Semaphore>,
    total_bytes: u32,
    patience: Duration,
}

/// What one upload may hold; given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    room: Room,
    held: OwnedSemaphorePermit,
}

/// No room came free in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

impl Room {
    /// Room for so many bytes, at most 4 GiB.
    pub fn new(bytes: usize) -> Room {
        let total_bytes = u32::try_from(bytes.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Room { bytes: Arc::new(Semaphore::new(total_bytes as usize)), total_bytes, patience: PATIENCE }
    }

    /// A share of so many bytes; one that is larger than the room is all of it.
    pub async fn share(&self, bytes: usize) -> Result<Share, NoRoom> {
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.total_bytes);
        Ok(Share { held: self.take(wanted).await?, room: self.clone() })
    }

    async fn take(&self, bytes: u32) -> Result<OwnedSemaphorePermit, NoRoom> {
        let permit = Arc::clone(&self.bytes).acquire_many_owned(bytes);
        tokio::time::timeout(self.patience, permit).await.ok().and_then(Result::ok).ok_or(NoRoom)
    }
}

impl Share {
    /// Makes it at least so large.
    pub async fn grow_to(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.room.total_bytes);
        let more = wanted.saturating_sub(u32::try_from(self.held.num_permits()).unwrap_or(u32::MAX));
        if more > 0 {
            self.held.merge(self.room.take(more).await?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn shares_never_come_to_more_than_the_room() {
        let room = Room { patience: Duration::ZERO, ..Room::new(100) };
        let mut first = room.share(40).await.unwrap();
        let second = room.share(60).await.unwrap();
        assert_eq!(first.grow_to(41).await, Err(NoRoom), "all of it is taken");
        assert_eq!(room.share(1).await.unwrap_err(), NoRoom);
        drop(second);
        first.grow_to(90).await.unwrap();
        assert_eq!(room.bytes.available_permits(), 10);
        drop(first);
        assert_eq!(room.bytes.available_permits(), 100);
    }

    #[tokio::test]
    async fn an_upload_that_waits_gets_its_share_when_another_ends() {
        let room = Room::new(100);
        let first = room.share(1_000).await.unwrap();
        let (second, ()) = tokio::join!(room.share(100), async { drop(first) });
        assert!(second.is_ok());
    }
}
