//! The set of legs that a join works on: each leg once, in an order that depends on nothing but the legs.

use crate::model::Leg;

/// Keeps one copy of each leg id and sorts by start, then id.
///
/// The same line may have come twice (pushed and then imported): the copy that was received first is kept, so that lateness
/// is judged by when we first knew.
pub fn distinct(legs: impl IntoIterator<Item = Leg>) -> Vec<Leg> {
    let legs: Vec<Leg> = legs.into_iter().collect();
    let mut order: Vec<usize> = (0..legs.len()).collect();
    order.sort_unstable_by(|&a, &b| {
        let key = |i: usize| (legs[i].id, first_received(&legs[i]));
        key(a).cmp(&key(b)).then(a.cmp(&b))
    });
    order.dedup_by_key(|place| legs[*place].id);
    order.sort_unstable_by_key(|&place| (legs[place].start, legs[place].id));
    // A leg is large: each is moved once.
    let mut places: Vec<Option<Leg>> = legs.into_iter().map(Some).collect();
    order.into_iter().filter_map(|place| places[place].take()).collect()
}

fn first_received(leg: &Leg) -> (crate::model::Timestamp, u64, u32, &str) {
    (leg.line.received_at, leg.line.delivery, leg.line.line, &leg.line.source)
}
