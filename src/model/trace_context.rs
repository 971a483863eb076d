//! W3C Trace Context `traceparent`, parsed strictly: an invalid one is *no* trace id.
//!
//! Source: <https://www.w3.org/TR/trace-context/#traceparent-header>. A higher version is read by the rules of version 00
//! (section 3.2.4); version ff is invalid; version 00 with trailing data is invalid.

use super::ids::{SpanId, TraceId};

/// Trace id and the caller's span id, as a valid `traceparent` carries them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceContext {
    pub trace_id: TraceId,
    pub parent_id: SpanId,
}

impl TraceContext {
    /// `None` when the header is malformed; the caller keeps the raw text as seen.
    pub fn parse(header: &str) -> Option<Self> {
        let header = header.trim_matches([' ', '\t']);
        let b = header.as_bytes();
        let dashes = b.len() >= 55 && b[2] == b'-' && b[35] == b'-' && b[52] == b'-';
        if !dashes || !header.is_ascii() {
            return None;
        }
        let lower_hex = |s: &str| s.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
        let version = &header[0..2];
        if !lower_hex(version) || version == "ff" || !lower_hex(&header[53..55]) {
            return None;
        }
        let trailing_ok = if version == "00" { b.len() == 55 } else { b.len() == 55 || b[55] == b'-' };
        if !trailing_ok {
            return None;
        }
        Some(TraceContext {
            trace_id: TraceId::parse(&header[3..35]).ok()?,
            parent_id: SpanId::parse(&header[36..52]).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn parse(text: &str) -> Option<TraceContext> {
        TraceContext::parse(text)
    }

    #[test]
    fn a_valid_header_gives_trace_and_parent() {
        let context = parse(&format!("00-{TRACE}-{SPAN}-01")).unwrap();
        assert_eq!(context.trace_id.to_string(), TRACE);
        assert_eq!(context.parent_id.to_string(), SPAN);
    }

    #[test]
    fn a_future_version_is_read_by_the_rules_of_version_00() {
        assert!(parse(&format!("cc-{TRACE}-{SPAN}-01-what-the-future-brings")).is_some());
        assert!(parse(&format!("cc-{TRACE}-{SPAN}-01.x")).is_none());
    }

    #[test]
    fn what_the_specification_calls_invalid_is_no_trace() {
        for bad in [
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01-extra"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}-{SPAN}-0x"),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01"),
            "é".repeat(30),
            String::new(),
        ] {
            assert_eq!(parse(&bad), None, "{bad}");
        }
    }
}
