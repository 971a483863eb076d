//! Texts of a leg that are numbers in disguise, as these numbers: ids in hexadecimal and UUIDs, and what a calltrail header's signature is
//! over, which follows from its fields. Whatever does not come back the same is kept as it is.

use super::packed_leg::owned;
use crate::model::{SignedPrincipal, SpanId, Timestamp, TraceId};
use serde::{Deserialize, Serialize};

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
            36 => hex::decode(text.replace('-', "")).ok().and_then(|b| b.try_into().ok()).map(IdRow::Uuid),
            16 => hex::decode(text).ok().and_then(|b| b.try_into().ok()).map(IdRow::Hex8),
            32 => hex::decode(text).ok().and_then(|b| b.try_into().ok()).map(IdRow::Hex16),
            _ => None,
        };
        Some(row.filter(|row| row.text() == text).unwrap_or(IdRow::Text(text)))
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
            signed_text: (h.signed_text != usual_text(h)).then_some(&h.signed_text),
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
        header.signed_text = row.signed_text.map_or_else(|| usual_text(&header), str::to_owned);
        header
    }
}

/// What is signed, as our own Worker writes it.
fn usual_text(h: &SignedPrincipal) -> String {
    let (kind, subject, issued_ms) = (&h.principal_kind, &h.subject, h.issued_at.micros() / 1_000);
    match (&h.key_id, &h.audience) {
        (Some(key), Some(audience)) => {
            let (trace, span) = (h.trace_id, h.span_id);
            format!(
                "{};kid={key};aud={audience};c={trace}-{span};p={kind}:{subject};t={issued_ms}",
                h.version
            )
        }
        _ => format!("{}.{}.{kind}:{subject}.{issued_ms}", h.trace_id, h.span_id),
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
        let unusual = SignedPrincipal { signed_text: "other".to_owned(), ..usual.clone() };
        assert!(HeaderRow::from(&usual).signed_text.is_none());
        for header in [usual, unusual] {
            assert_eq!(SignedPrincipal::from(HeaderRow::from(&header)), header);
        }
    }
}
