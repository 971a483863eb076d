//! What the ways in have decoded, on its way to the correlator: so that no line is decoded twice where both are one process.
//!
//! It holds copies only, in bounded memory. What is not here is decoded again from the evidence, with the same result: a delivery that
//! found no room, one that another process took, one from before a restart. It refuses to be needed.

use crate::decode::DecodedDelivery;
use crate::model::{DeliveryId, Timestamp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Legs and rejects that may wait: about two kilobytes each.
const MOST: usize = 60_000;
/// What a line comes to at most, but for a Worker's that made many requests.
const OF_A_LINE: usize = 2;
pub const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Handover {
    /// `None` where nobody here derives.
    waiting: Option<Arc<Mutex<Waiting>>>,
    /// Told whenever something was taken.
    taken: Arc<Notify>,
}

/// Legs, and what else takes room: a delivery of nothing but rejects is no small one.
fn weight(decoded: &DecodedDelivery) -> usize {
    1 + decoded.legs.len() + decoded.rejects.len()
}

#[derive(Debug, Default)]
struct Waiting {
    weight: usize,
    /// Kept free for those who have been given room and are decoding yet.
    reserved: usize,
    /// How many wait for room.
    held_back: usize,
    /// Nobody will take anything any more.
    closed: bool,
    deliveries: HashMap<DeliveryId, DecodedDelivery>,
}

/// Room for what is being decoded.
#[derive(Debug)]
pub struct Room {
    of: Handover,
    weight: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(mut waiting) = self.of.waiting() {
            waiting.reserved -= self.weight;
        }
        self.of.taken.notify_waiters();
    }
}

impl Handover {
    /// To a correlator in this process.
    pub fn here() -> Handover {
        Handover { waiting: Some(Arc::default()), taken: Arc::default() }
    }

    /// Whether a delivery of so many lines is worth being kept while it is decoded.
    pub fn has_room(&self, lines: usize) -> bool {
        self.waiting().is_some_and(|waiting| waiting.weight + lines <= MOST)
    }

    /// Waits until there is room for so many lines, or until they would be all that waits, and keeps it free until the answer is
    /// dropped. For whoever can hold back what it sends.
    pub async fn room(&self, lines: usize) -> Room {
        let weight = lines * OF_A_LINE;
        if !self.reserve(weight) {
            self.hold_back(1);
            while !self.reserve(weight) {
                // What is taken between the look and the wait is seen at the next look.
                tokio::select! {
                    () = self.taken.notified() => {}
                    () = tokio::time::sleep(LOOK_AGAIN) => {}
                }
            }
            self.hold_back(-1);
        }
        Room { of: self.clone(), weight }
    }

    fn reserve(&self, weight: usize) -> bool {
        let Some(mut waiting) = self.waiting() else { return true };
        let held = waiting.weight + waiting.reserved;
        let there_is_room = waiting.closed || held == 0 || held + weight <= MOST;
        waiting.reserved += if there_is_room { weight } else { 0 };
        there_is_room
    }

    fn hold_back(&self, more: isize) {
        if let Some(mut waiting) = self.waiting() {
            waiting.held_back = waiting.held_back.saturating_add_signed(more);
        }
    }

    /// Whether somebody waits for room: whoever derives must not wait for more to come.
    pub fn holds_back(&self) -> bool {
        self.waiting().is_some_and(|waiting| waiting.held_back > 0)
    }

    /// Before the delivery is committed, so that it is here when the correlator learns of it.
    pub fn offer(&self, id: DeliveryId, decoded: DecodedDelivery) {
        if let Some(mut waiting) = self.waiting()
            && waiting.weight + weight(&decoded) <= MOST
            && !waiting.closed
        {
            waiting.weight += weight(&decoded);
            let before = waiting.deliveries.insert(id, decoded);
            waiting.weight -= before.as_ref().map_or(0, weight);
        }
    }

    /// What was decoded of a delivery, if it is here, under the number that it has got. The same delivery may have been sent again and be
    /// on its way to be known as a duplicate: that one came later than the one that is stored, and does not stand for it.
    pub fn take(&self, id: &DeliveryId, number: u64, received_at: Timestamp) -> Option<DecodedDelivery> {
        let mut decoded = self.remove(id)?;
        if decoded.legs.iter().any(|leg| leg.line.received_at != received_at) {
            return None;
        }
        decoded.legs.iter_mut().for_each(|leg| leg.line.delivery = number);
        Some(decoded)
    }

    /// What waits is decoded again by whoever needs it.
    pub fn clear(&self) {
        if let Some(mut waiting) = self.waiting() {
            waiting.deliveries.clear();
            waiting.weight = 0;
        }
        self.taken.notify_waiters();
    }

    /// Nobody derives here any more: nothing is taken, and nobody waits for room.
    pub fn close(&self) {
        if let Some(mut waiting) = self.waiting() {
            waiting.closed = true;
        }
        self.clear();
    }

    fn remove(&self, id: &DeliveryId) -> Option<DecodedDelivery> {
        let mut waiting = self.waiting()?;
        let decoded = waiting.deliveries.remove(id)?;
        waiting.weight -= weight(&decoded);
        drop(waiting);
        self.taken.notify_waiters();
        Some(decoded)
    }

    /// What was offered and is not going to be derived: it had been committed before, or was refused.
    pub fn withdraw(&self, id: &DeliveryId) {
        self.remove(id);
    }

    fn waiting(&self) -> Option<MutexGuard<'_, Waiting>> {
        self.waiting.as_ref().map(|waiting| waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
