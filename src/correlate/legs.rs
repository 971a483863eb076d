//! The set of legs that a join works on: each leg once, in an order that depends on nothing but the legs.

use crate::model::{Leg, LegId};
use std::collections::BTreeMap;

/// Keeps one copy of each leg id and sorts by start, then id.
///
/// The same line may have come twice (pushed and then imported): the copy that was received first is kept, so that lateness
/// is judged by when we first knew.
pub fn distinct(legs: impl IntoIterator<Item = Leg>) -> Vec<Leg> {
    let mut by_id: BTreeMap<LegId, Leg> = BTreeMap::new();
    for leg in legs {
        match by_id.entry(leg.id) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(leg);
            }
            std::collections::btree_map::Entry::Occupied(mut kept) => {
                if first_received(&leg) < first_received(kept.get()) {
                    kept.insert(leg);
                }
            }
        }
    }
    let mut legs: Vec<Leg> = by_id.into_values().collect();
    legs.sort_by_key(|leg| (leg.start, leg.id));
    legs
}

fn first_received(leg: &Leg) -> (crate::model::Timestamp, u64, u32, &str) {
    (leg.line.received_at, leg.line.delivery, leg.line.line, leg.line.source.as_str())
}
