//! A [`Delivery`]: one accepted upload, the unit of commit, of duplicate detection and of proof; and what becomes of a line
//! that is no leg, a [`Reject`].

use super::identity::words;
use super::ids::DeliveryId;
use super::time::Timestamp;

/// One upload as received, before it has a number. Raw lines are kept byte for byte, without their newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub id: DeliveryId,
    pub source: String,
    /// Name of the proxy that wrote these lines, where the path or the file name says so and the lines do not.
    pub proxy: Option<String>,
    pub received_at: Timestamp,
    pub lines: Vec<Vec<u8>>,
}

/// Source names are part of paths, scopes and metrics: letters, digits, `.`, `_` and `-`, 1 to 64 of them.
pub fn is_source_name(name: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

/// Why a line gave no leg. The list is also the list of label values of `calltrail_ingest_rejected_lines_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectReason {
    /// The body, or a part of it, could not be decompressed: what follows the intact part is lost to the sender, too.
    BrokenCompression,
    NotJson,
    /// JSON, but no format that we know.
    UnknownFormat,
    MissingField,
    InvalidField,
    TooLong,
    TooDeep,
}
words!(RejectReason {
    BrokenCompression => "broken_compression", NotJson => "not_json", UnknownFormat => "unknown_format",
    MissingField => "missing_field", InvalidField => "invalid_field", TooLong => "too_long", TooDeep => "too_deep",
});

/// A line that is kept as evidence and could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    pub reason: RejectReason,
    /// What was wrong, where, and what to do; never quotes more than a few characters of the line.
    pub detail: String,
}

impl Reject {
    pub fn new(reason: RejectReason, detail: impl Into<String>) -> Self {
        Reject { reason, detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_names_are_plain() {
        assert!(is_source_name("logpush-prod_1.eu") && is_source_name(&"x".repeat(64)));
        for bad in ["", "a b", "a/b", "ä", "a\0", &"x".repeat(65)] {
            assert!(!is_source_name(bad), "{bad:?}");
        }
    }
}
