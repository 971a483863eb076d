//! A record as the line that the real program would write: Envoy's access log, a Worker's event as Logpush sends it, a row of
//! Cloudflare's `http_requests`.
//!
//! Keys, their order and their types are those of real lines (`tests/same_as_real.rs`). Nothing goes wrong here: faults change
//! records before this and lines after it.

mod consul_default;
mod envoy;
pub mod time;
mod worker;
mod zone;

use crate::records::{EnvoyRecord, Record};
use serde::Serialize;

pub use worker::{MESSAGES_TRUNCATED, WireEvent};

/// Which `AccessLogs` a proxy is configured with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EnvoyFormat {
    /// The recommended one: as the record says, with or without hop ids and certificates' dates.
    #[default]
    Calltrail,
    /// Consul's own, which has neither trace headers nor identities.
    ConsulDefault,
}

/// The line without its newline.
pub fn line(record: &Record) -> String {
    match record {
        Record::Envoy(envoy) => envoy_line(envoy, EnvoyFormat::Calltrail),
        Record::Worker(event) => to_json(&WireEvent::of(event)),
        Record::Zone(row) => to_json(&zone::Row::of(row)),
    }
}

pub fn envoy_line(record: &EnvoyRecord, format: EnvoyFormat) -> String {
    match format {
        EnvoyFormat::Calltrail => to_json(&envoy::Line::of(record)),
        EnvoyFormat::ConsulDefault => to_json(&consul_default::Line::of(record)),
    }
}

/// A Worker's event that was cut after it was made.
pub fn event_line(event: &WireEvent) -> String {
    to_json(event)
}

/// Most lines are between one and two kilobytes.
fn to_json(value: &impl Serialize) -> String {
    let mut text = Vec::with_capacity(2048);
    serde_json::to_writer(&mut text, value).expect("a struct of texts and numbers is written to memory");
    text.shrink_to_fit();
    String::from_utf8(text).expect("serde_json writes UTF-8")
}

/// Never ends within a character.
fn first_bytes(text: &str, max_bytes: usize) -> &str {
    let mut end = text.len().min(max_bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
