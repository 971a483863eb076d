//! One newtype per identifier, each with `FromStr` and `Display` that are each other's inverse.
//!
//! All of them print as lower-case hexadecimal. Parsing is strict: a wrong length, an upper-case digit or, for the W3C
//! identifiers, the all-zero value is an error, since an identifier that two parties spell differently joins nothing.

use std::fmt;
use std::str::FromStr;

/// Why a text is not the identifier that it was taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}: expected {digits} lower-case hexadecimal digits{note}")]
pub struct ParseIdError {
    what: &'static str,
    digits: usize,
    note: &'static str,
    text: String,
}

fn parse_hex<const N: usize>(text: &str, what: &'static str) -> Result<[u8; N], ParseIdError> {
    let error = |note| ParseIdError {
        what,
        digits: 2 * N,
        note,
        // An identifier may come from a hostile header: quote no more of it than a person needs.
        text: text.chars().take(80).collect(),
    };
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(error(""));
    }
    let mut bytes = [0u8; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| error(""))?;
    Ok(bytes)
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut digits = [0; 2 * $len];
                hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
                f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
            }
        }

        // Debug prints like Display, so that a failing test shows the identifier and not an array of numbers.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse_hex(text, $what).map($name)
            }
        }
    };
}

hex_id!(
    /// W3C trace id. Use [`TraceId::parse`] for text from the wire: it also refuses the all-zero value.
    TraceId, 16, "trace id"
);
hex_id!(
    /// W3C parent (span) id.
    SpanId, 8, "span id"
);
hex_id!(
    /// Identity of a leg, derived from its natural key (`docs/wire.md`), so that the same line from two sources is one leg.
    LegId, 16, "leg id"
);
hex_id!(
    /// SHA-256 of a raw line without its newline.
    LineHash, 32, "line hash"
);
hex_id!(
    /// SHA-256 over source, proxy name and decompressed body: an upload that is repeated has the same one.
    DeliveryId, 32, "delivery id"
);

/// A call is known by the id of its canonical leg (the client leg's, else the first server leg's).
pub type CallId = LegId;

impl TraceId {
    /// Parses a trace id as W3C Trace Context section 3.2.2.3 wants it: 32 lower-case digits, not all zero.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        let id: TraceId = text.parse()?;
        if id.0 == [0; 16] {
            return Err(ParseIdError {
                what: "trace id",
                digits: 32,
                note: ", not all zero",
                text: text.to_owned(),
            });
        }
        Ok(id)
    }
}

impl SpanId {
    /// Parses a parent id as W3C Trace Context section 3.2.2.4 wants it: 16 lower-case digits, not all zero.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        let id: SpanId = text.parse()?;
        if id.0 == [0; 8] {
            return Err(ParseIdError {
                what: "span id",
                digits: 16,
                note: ", not all zero",
                text: text.to_owned(),
            });
        }
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_prints_as_it_was_written() {
        let text = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(text.parse::<TraceId>().unwrap().to_string(), text);
    }

    #[test]
    fn the_all_zero_trace_id_is_refused() {
        let error = TraceId::parse(&"0".repeat(32)).unwrap_err();
        assert!(error.to_string().contains("not all zero"), "{error}");
    }

    #[test]
    fn upper_case_is_refused_because_it_would_join_with_nothing() {
        assert!("0AF7651916CD43DD8448EB211C80319C".parse::<TraceId>().is_err());
    }
}
