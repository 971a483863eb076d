//! Why a line gave no leg, in words for the person who has to mend its sender. Quotes names of fields, never their content.

use super::shape::TopLevelKeys;
use crate::model::{Reject, RejectReason};
use serde::de::IgnoredAny;

/// Keys shown of a line that nobody knows: enough to recognise the format.
const KEYS_SHOWN: usize = 6;
const KEY_CHARS_SHOWN: usize = 24;

/// First bytes of a gzip and of a zstd stream: no text of any format begins so.
const COMPRESSED: [&[u8]; 2] = [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd]];

/// Where an upload's compression broke, ingest keeps the compressed body as the last line of the delivery.
pub fn if_compressed(raw: &[u8]) -> Result<(), Reject> {
    if !COMPRESSED.iter().any(|magic| raw.starts_with(magic)) {
        return Ok(());
    }
    Err(Reject::new(
        RejectReason::BrokenCompression,
        "the compression is broken or cut short: what could be read before was kept, the rest stays here as it was sent; \
         send the upload again, whole",
    ))
}

/// A line is one request or one event. Senders end theirs at some hundred kilobytes; a line of this length is made to cost
/// memory, since a few bytes of it can become a leg.
const MAX_LINE_BYTES: usize = 4 << 20;

pub fn if_too_long(raw: &[u8]) -> Result<(), Reject> {
    if raw.len() <= MAX_LINE_BYTES {
        return Ok(());
    }
    Err(Reject::new(
        RejectReason::TooLong,
        format!(
            "the line has {} bytes, more than {MAX_LINE_BYTES}; send one object per request or event",
            raw.len()
        ),
    ))
}

pub fn not_utf8(error: std::str::Utf8Error) -> Reject {
    let at = error.valid_up_to() + 1;
    Reject::new(RejectReason::NotJson, format!("byte {at} of the line is not UTF-8; JSON must be"))
}

/// A serde error, without the content that serde would quote.
pub fn json(error: &serde_json::Error, what: &str) -> Reject {
    let column = error.column();
    if error.to_string().starts_with("recursion limit exceeded") {
        return Reject::new(
            RejectReason::TooDeep,
            format!("nested deeper than 127 levels at byte {column} of the line"),
        );
    }
    if error.is_data() {
        return Reject::new(
            RejectReason::InvalidField,
            format!("{what}: a value at byte {column} of the line has a type that its field cannot have"),
        );
    }
    let why = if error.is_eof() { "it ends too early" } else { "it is not valid JSON" };
    Reject::new(
        RejectReason::NotJson,
        format!("{why} (byte {column} of the line); send one JSON object per line"),
    )
}

pub fn missing(what: &str, field: &str) -> Reject {
    Reject::new(
        RejectReason::MissingField,
        format!("{what} without {field}; add the field to the sender's format (docs/wire.md lists them)"),
    )
}

pub fn invalid(what: &str, field: &str, expected: &str) -> Reject {
    Reject::new(RejectReason::InvalidField, format!("{what}: {field} is not {expected}"))
}

/// For a line in which no format was recognised: it may not even be JSON.
pub fn unknown_shape(text: &str) -> Reject {
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        return json(&error, "the line");
    }
    if !text.trim_start().starts_with('{') {
        return Reject::new(
            RejectReason::UnknownFormat,
            "the line is JSON but no object; send one object per line",
        );
    }
    let keys: Vec<String> = TopLevelKeys::new(text)
        .take(KEYS_SHOWN)
        .map(|key| key.chars().take(KEY_CHARS_SHOWN).filter(|c| !c.is_control()).collect())
        .collect();
    let seen = if keys.is_empty() { "no fields".to_owned() } else { format!("fields {}", keys.join(", ")) };
    Reject::new(
        RejectReason::UnknownFormat,
        format!(
            "a JSON object of no known format ({seen}); known are Envoy access logs as JSON, Worker trace events, \
             http_requests and {{\"proxy\",\"line\"}} around an Envoy line"
        ),
    )
}
