//! Bytes to legs and rejects. Pure and synchronous: no I/O, no clock, no state between lines.
//!
//! One pair of files per vendor: `X_wire.rs` holds the serde structs, close to the vendor's text; `X.rs` gives them meaning.
//! It refuses to guess: an identity is marked with how the line knows it, and a line that does not parse is a [`Reject`].
//!
//! A line's format is told by its fields (`shape`), never by the name of the source that sent it, unless an operator has
//! described a format of his own (`mapped`).

pub mod consul;
mod envoy;
mod envoy_identity;
mod envoy_wire;
pub mod frame;
mod http_fields;
mod line;
pub mod mapped;
pub mod needs;
pub mod principal_header;
mod reject;
mod shape;
mod timestamp;
mod wire_object;
mod worker;
mod worker_record;
mod worker_wire;
mod zone;
mod zone_wire;

use crate::model::{CustomFormat, Delivery, Leg, LineHash, Reject};
use line::Line;
use shape::Shape;
use std::collections::HashMap;
use std::sync::Arc;

/// What a whole delivery yields. `lines = line count of the delivery`; each line gave at least one leg or exactly one reject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DecodedDelivery {
    pub legs: Vec<Leg>,
    /// For each leg which of the fields that the join needs its line has ([`needs::fields`]); 0 for a leg that no proxy wrote.
    pub fields: Vec<i64>,
    /// Line number in the delivery (from 1) and what was wrong.
    pub rejects: Vec<(u32, Reject)>,
}

/// [`decode_delivery_in`] where nobody has described a format of his own.
pub fn decode_delivery(delivery: &Delivery, number: u64) -> DecodedDelivery {
    decode_delivery_in(delivery, number, &[])
}

/// Decodes every line of a delivery. `number` is its gap-free number (0 while it has none); `formats` come before those that
/// are known without being described.
///
/// Deterministic: the same delivery gives the same legs with the same ids, for ever; the replay after a crash and `rebuild`
/// rest on it. Lines without a natural key are told apart by source, line hash and occurrence index in the delivery.
pub fn decode_delivery_in(delivery: &Delivery, number: u64, formats: &[CustomFormat]) -> DecodedDelivery {
    let mut decoded = DecodedDelivery::default();
    each_line(delivery, number, formats, |position, result| decoded.add(delivery, formats, position, result));
    decoded
}

impl DecodedDelivery {
    /// Adds what one line came to; lines are added in their order. `position`: from 1.
    pub fn add(
        &mut self,
        delivery: &Delivery,
        formats: &[CustomFormat],
        position: u32,
        line: Result<Vec<Leg>, Reject>,
    ) {
        match line {
            Ok(legs) => {
                let by_proxy = legs.iter().any(|leg| leg.observer.kind.is_proxy());
                let raw = delivery.lines.get(position as usize - 1).filter(|_| by_proxy);
                let fields = raw.map_or(0, |raw| needs::fields(raw, delivery, formats));
                self.fields
                    .extend(legs.iter().map(|leg| if leg.observer.kind.is_proxy() { fields } else { 0 }));
                self.legs.extend(legs);
            }
            Err(reject) => self.rejects.push((position, reject)),
        }
    }
}

/// The same line by line, for whoever does not keep the legs: no more than those of one line are held.
pub fn each_line(
    delivery: &Delivery,
    number: u64,
    formats: &[CustomFormat],
    mut take: impl FnMut(u32, Result<Vec<Leg>, Reject>),
) {
    let mut occurrences: HashMap<LineHash, u32> = HashMap::with_capacity(delivery.lines.len());
    let source = Arc::from(delivery.source.as_str());
    for (raw, position) in delivery.lines.iter().zip(1u32..) {
        let mut line = Line::new(delivery, &source, number, position, raw);
        let seen = occurrences.entry(line.reference.line_sha256).or_default();
        line.occurrence = *seen;
        *seen += 1;
        take(position, decode_line(raw, &line, formats));
    }
}

fn decode_line(raw: &[u8], line: &Line<'_>, formats: &[CustomFormat]) -> Result<Vec<Leg>, Reject> {
    reject::if_compressed(raw)?;
    reject::if_too_long(raw)?;
    let text = std::str::from_utf8(raw).map_err(reject::not_utf8)?;
    let legs = match mapped::described(text, line, formats) {
        Some(format) => mapped::decode(text, line, format),
        None => match shape::of(text) {
            Shape::Envoy => envoy::decode(text, line),
            Shape::Wrapped => envoy::decode_wrapped(text, line, formats),
            Shape::WorkerEvent => worker::decode(text, line),
            Shape::HttpRequest => zone::decode(text, line),
            Shape::Unknown => Err(reject::unknown_shape(text)),
        },
    }?;
    Ok(legs.into_iter().map(timestamp::without_impossible_duration).map(Leg::from).collect())
}
