//! Texts of a leg that are numbers in disguise, as these numbers: ids in hexadecimal and UUIDs, and what a calltrail header's signature is
//! over, which follows from its fields. Whatever does not come back the same is kept as it is.

use super::packed_leg::owned;
use crate::model::{SignedPrincipal, SpanId, Timestamp, TraceId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An id that somebody chose.
#[derive(Serialize, Deserialize)]
pub(super) enum IdRow<'a> {
    Text(&'a str),
    Uuid([u8; 16]),
    Hex8([u8; 8]),
    Hex16([u8; 16]),
}

impl<'a> IdRow<'a> {
    pub(super) fn of(text: Option<&'a String>) -> Option<Self> {
        let text = text?.as_str();
        let row = match text.len() {
            36 => uuid(text.as_bytes()).map(IdRow::Uuid),
            16 => bytes_of(text.as_bytes()).map(IdRow::Hex8),
            32 => bytes_of(text.as_bytes()).map(IdRow::Hex16),
            _ => None,
        };
        Some(row.unwrap_or(IdRow::Text(text)))
    }

    pub(super) fn text(&self) -> String {
        match self {
            IdRow::Text(text) => (*text).to_owned(),
            IdRow::Hex8(bytes) => hex::encode(bytes),
            IdRow::Hex16(bytes) => hex::encode(bytes),
            IdRow::Uuid(bytes) => {
                let hex = hex::encode(bytes);
                [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
            }
        }
    }
}

/// The bytes of hexadecimal digits in lower case: of others the same text would not come back.
fn bytes_of<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let is_lower = !digits.iter().any(u8::is_ascii_uppercase);
    hex::decode_to_slice(digits, &mut bytes).ok().filter(|()| is_lower).map(|()| bytes)
}

/// The bytes of digits in groups of 8, 4, 4, 4 and 12 with a hyphen between them.
fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let (mut digits, mut at) = ([0; 32], 0);
    for (place, group) in [(0, 8), (9, 4), (14, 4), (19, 4), (24, 12)] {
        digits[at..at + group].copy_from_slice(text.get(place..place + group)?);
        at += group;
    }
    let has_hyphens = [8, 13, 18, 23].iter().all(|place| text.get(*place) == Some(&b'-'));
    bytes_of(&digits).filter(|_| has_hyphens)
}

/// The text of an id that is there.
pub(super) fn id_text(row: Option<IdRow<'_>>) -> Option<String> {
    row.map(|row| row.text())
}

#[derive(Serialize, Deserialize)]
pub(super) struct HeaderRow<'a> {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    principal_kind: &'a str,
    subject: &'a str,
    pub issued_at_us: i64,
    version: &'a str,
    #[serde(borrow)]
    key_id: Option<&'a str>,
    audience: Option<&'a str>,
    signature: &'a str,
    /// Where it does not follow from the rest.
    signed_text: Option<&'a str>,
}

impl<'a> From<&'a SignedPrincipal> for HeaderRow<'a> {
    fn from(h: &'a SignedPrincipal) -> Self {
        HeaderRow {
            trace_id: h.trace_id.0,
            span_id: h.span_id.0,
            principal_kind: &h.principal_kind,
            subject: &h.subject,
            issued_at_us: h.issued_at.micros(),
            version: &h.version,
            key_id: h.key_id.as_deref(),
            audience: h.audience.as_deref(),
            signature: &h.signature,
            signed_text: (!is_usual_text(h)).then_some(&h.signed_text),
        }
    }
}

impl From<HeaderRow<'_>> for SignedPrincipal {
    fn from(row: HeaderRow<'_>) -> Self {
        let mut header = SignedPrincipal {
            trace_id: TraceId(row.trace_id),
            span_id: SpanId(row.span_id),
            principal_kind: row.principal_kind.to_owned(),
            subject: row.subject.to_owned(),
            issued_at: Timestamp(row.issued_at_us),
            version: row.version.to_owned(),
            key_id: owned(row.key_id),
            audience: owned(row.audience),
            signature: row.signature.to_owned(),
            signed_text: String::new(),
        };
        header.signed_text = row.signed_text.map_or_else(
            || {
                let mut text = String::with_capacity(128);
                // A string takes all that is written to it.
                let _ = write_usual_text(&header, &mut text);
                text
            },
            str::to_owned,
        );
        header
    }
}

/// What is signed, as our own Worker writes it.
fn write_usual_text(h: &SignedPrincipal, to: &mut impl fmt::Write) -> fmt::Result {
    let (kind, subject, issued_ms) = (&h.principal_kind, &h.subject, h.issued_at.micros() / 1_000);
    match (&h.key_id, &h.audience) {
        (Some(key), Some(audience)) => {
            let (trace, span) = (h.trace_id, h.span_id);
            write!(
                to,
                "{};kid={key};aud={audience};c={trace}-{span};p={kind}:{subject};t={issued_ms}",
                h.version
            )
        }
        _ => write!(to, "{}.{}.{kind}:{subject}.{issued_ms}", h.trace_id, h.span_id),
    }
}

/// Told without writing it anywhere.
fn is_usual_text(h: &SignedPrincipal) -> bool {
    let mut rest = Rest(&h.signed_text);
    write_usual_text(h, &mut rest).is_ok() && rest.0.is_empty()
}

/// What is left of a text after what is written, which must be how it goes on.
struct Rest<'a>(&'a str);

impl fmt::Write for Rest<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(text).ok_or(fmt::Error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_back_as_it_was_written() {
        for text in [
            "",
            "92b22e16-2b17-4144-b037-c40f31dae0a3",
            "92B22E16-2b17-4144-b037-c40f31dae0a3",
            "92b22e162b17-4144-b037-c40f31dae0a3-",
            "9e17a8b137e1f19a",
            "9E17A8B137E1F19A",
            "nine and seven..",
            "83d9a4142aa6217eabf1a65e60ebf1b3",
            "grüße, die in zweiunddreißig by",
        ] {
            let text = text.to_owned();
            assert_eq!(id_text(IdRow::of(Some(&text))), Some(text));
        }
        assert!(matches!(IdRow::of(Some(&"9e17a8b137e1f19a".to_owned())), Some(IdRow::Hex8(_))));
        assert_eq!(id_text(IdRow::of(None)), None);
    }

    #[test]
    fn what_is_signed_is_kept_only_where_it_is_unusual() {
        let usual = SignedPrincipal {
            trace_id: TraceId([7; 16]),
            span_id: SpanId([8; 8]),
            principal_kind: "user".to_owned(),
            subject: "u-1".to_owned(),
            issued_at: Timestamp(1_795_489_010_642_000),
            version: "v1".to_owned(),
            key_id: None,
            audience: None,
            signature: "mac".to_owned(),
            signed_text: format!("{}.{}.user:u-1.1795489010642", "07".repeat(16), "08".repeat(8)),
        };
        let longer = SignedPrincipal { signed_text: format!("{}0", usual.signed_text), ..usual.clone() };
        assert!(HeaderRow::from(&longer).signed_text.is_some());
        let unusual = SignedPrincipal { signed_text: "other".to_owned(), ..usual.clone() };
        assert!(HeaderRow::from(&usual).signed_text.is_none());
        for header in [usual, unusual] {
            assert_eq!(SignedPrincipal::from(HeaderRow::from(&header)), header);
        }
    }
}
