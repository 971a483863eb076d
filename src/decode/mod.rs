//! Bytes to legs and rejects. Pure and synchronous: no I/O, no clock, no state between lines.
//!
//! One pair of files per vendor: `X_wire.rs` holds the serde structs, close to the vendor's text; `X.rs` gives them meaning.
//! It refuses to guess: an identity is marked with how the line knows it, and a line that does not parse is a [`Reject`].

use crate::model::{Delivery, Leg, Reject};

/// What a whole delivery yields. `lines = line count of the delivery`; each line gave at least one leg or exactly one reject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DecodedDelivery {
    pub legs: Vec<Leg>,
    /// Line number in the delivery (from 1) and what was wrong.
    pub rejects: Vec<(u32, Reject)>,
}

/// Decodes every line of a delivery. `number` is its gap-free number (0 while it has none).
///
/// Deterministic: the same delivery gives the same legs with the same ids, for ever; the replay after a crash and `rebuild`
/// rest on it. Lines without a natural key are told apart by source, line hash and occurrence index in the delivery.
pub fn decode_delivery(delivery: &Delivery, number: u64) -> DecodedDelivery {
    let _ = (delivery, number);
    todo!()
}
