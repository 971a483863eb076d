//! Which of the fields that the join needs a proxy's format has, told by the keys of a line, whatever stands in them.
//!
//! A field that is printed and empty says that there was nothing; one that is not printed says nothing. Only the second is a gap.

use super::envoy_wire::WrappedLine;
use super::line::Line;
use super::mapped;
use super::shape::{self, Shape, TopLevelKeys};
use crate::model::{CustomFormat, Delivery};

/// What the join needs of an access log, each as the recommended format calls it, with the other names under which it is read.
/// The place of a field is its bit: the order never changes.
pub const NEEDED: &[(&str, &[&str])] = &[
    ("node_id", &[]),
    ("traceparent", &[]),
    ("request_id", &["x_request_id"]),
    ("downstream_local_uri_san", &["ds_local_uri_san"]),
    ("downstream_peer_uri_san", &["ds_peer_uri_san"]),
    ("upstream_local_uri_san", &["us_local_uri_san"]),
    ("upstream_peer_uri_san", &["us_peer_uri_san"]),
    ("downstream_direct_remote_address", &[]),
    ("downstream_local_address", &[]),
    ("upstream_local_address", &[]),
    ("upstream_host", &[]),
    ("duration_ms", &["duration"]),
];

/// The fields of [`NEEDED`] that a line of a proxy has, as bits. Who wrote it may also be told by the upload or a wrapper.
pub fn fields(raw: &[u8], delivery: &Delivery, formats: &[CustomFormat]) -> i64 {
    let Ok(text) = std::str::from_utf8(raw) else { return 0 };
    let told_by_upload = i64::from(delivery.proxy.is_some());
    if shape::of(text) != Shape::Wrapped {
        return told_by_upload | of_line(text, delivery, formats);
    }
    let Ok(outer) = serde_json::from_str::<WrappedLine<'_>>(text) else { return 0 };
    let told = told_by_upload | i64::from(outer.proxy.get().is_some());
    outer.line.get().map_or(told, |inner| told | of_line(inner, delivery, formats))
}

fn of_line(text: &str, delivery: &Delivery, formats: &[CustomFormat]) -> i64 {
    let described = || {
        let line = Line::new(delivery, &delivery.source.as_str().into(), 0, 0, b"");
        mapped::described(text, &line, formats)
    };
    match Some(formats).filter(|formats| !formats.is_empty()).and_then(|_| described()) {
        Some(format) => bits(format.fields.keys().map(String::as_str)),
        None => bits(TopLevelKeys::new(text)),
    }
}

fn bits<'k>(keys: impl Iterator<Item = &'k str>) -> i64 {
    let bit = |key: &str| {
        let place = NEEDED.iter().position(|(name, others)| *name == key || others.contains(&key));
        place.map_or(0, |place| 1 << place)
    };
    keys.fold(0, |bits, key| bits | bit(key))
}

/// The names of those that are not among the bits.
pub fn missing(fields: i64) -> Vec<&'static str> {
    let lacks = |(place, (name, _)): (usize, &(&'static str, _))| (fields >> place & 1 == 0).then_some(*name);
    NEEDED.iter().enumerate().filter_map(lacks).collect()
}
