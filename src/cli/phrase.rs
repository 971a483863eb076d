//! How the fields of a call read to a person, one short phrase each: the same in tables, pages and trees.
//!
//! Whatever came from a line may have been chosen by an attacker (a path, a header), so nothing from there reaches a terminal
//! before [`printable`] has taken the power of its control characters.

use crate::api::dto::{CallDto, DecisionDto, FindingDto, IdentityDto, PrincipalDto};
use std::fmt::Write;

/// The text with everything escaped that could move the cursor, set a colour or turn the direction of reading.
pub fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// `812 us`, `12.3 ms`, `1.24 s`.
pub fn duration(us: i64) -> String {
    match us {
        ..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

/// `2026-11-24 02:56:50.647` of an RFC 3339 text with microseconds.
pub fn when(rfc3339: &str) -> String {
    let text: String = rfc3339.chars().take(23).collect();
    text.replace('T', " ")
}

/// Name and how it is known: `web (mtls)`.
pub fn party(identity: &IdentityDto) -> String {
    // A user's name is a hash, unless the Worker's author chose otherwise.
    let name = if identity.kind == "user" { short(&identity.name) } else { printable(&identity.name) };
    match identity.assurance.as_str() {
        "none" => name,
        assurance => format!("{name} ({assurance})"),
    }
}

/// `web (mtls) → api (mtls)`.
pub fn parties(call: &CallDto) -> String {
    format!("{} → {}", party(&call.caller), party(&call.callee))
}

/// Keeps the beginning of a long hash: enough to tell two apart on a screen.
pub fn short(id: &str) -> String {
    const SHOWN: usize = 8;
    if id.chars().count() <= SHOWN + 4 {
        return printable(id);
    }
    format!("{}…", printable(&id.chars().take(SHOWN).collect::<String>()))
}

/// `user BIe_W9tp… inherited`; empty where there is none.
pub fn principal(principal: Option<&PrincipalDto>) -> String {
    principal.map_or_else(String::new, |p| {
        format!("{} {} {}", printable(&p.kind), short(&p.subject), p.attribution)
    })
}

/// `GET /invoices/7`; the protocol where there is neither method nor path.
pub fn request(call: &CallDto) -> String {
    match (&call.method, &call.path) {
        (None, None) => call.protocol.clone(),
        (method, path) => {
            let parts = [method, path].into_iter().flatten().map(|t| printable(t));
            parts.collect::<Vec<_>>().join(" ")
        }
    }
}

/// `intention deny consul-intentions-layer7-1 (reason)`.
pub fn decision(d: &DecisionDto) -> String {
    let mut text = format!("{} {}", d.judge, d.effect);
    if let Some(rule) = &d.rule {
        let _ = write!(text, " {}", printable(rule));
    }
    if let Some(reason) = &d.reason {
        let _ = write!(text, " ({})", printable(reason));
    }
    text
}

/// Each judge with its verdict, denials first: `intention deny, worker allow`.
pub fn decisions(call: &CallDto) -> String {
    let mut words: Vec<String> = call.decisions.iter().map(|d| format!("{} {}", d.judge, d.effect)).collect();
    words.sort_by_key(|w| !w.ends_with("deny"));
    words.dedup();
    words.join(", ")
}

/// `200 in 12.3 ms`, `stopped at server_sidecar in 1.2 ms`, with the number of attempts where there were several.
pub fn outcome(call: &CallDto) -> String {
    let o = &call.outcome;
    let mut text = match (o.status, o.grpc_status, &o.stopped_at) {
        (Some(status), Some(grpc), _) => format!("{status} grpc {grpc}"),
        (Some(status), None, _) => status.to_string(),
        (None, _, Some(stage)) => format!("stopped at {stage}"),
        (None, _, None) if call.protocol == "tcp" => "closed".to_owned(),
        (None, _, None) => "no answer".to_owned(),
    };
    if let Some(us) = o.duration_us {
        let _ = write!(text, " in {}", duration(us));
    }
    if o.attempts > 1 {
        let _ = write!(text, ", {} attempts", o.attempts);
    }
    text
}

/// `proven`; `inferred 87 % of 4` with confidence and the size of the group of interchangeable calls.
pub fn basis(call: &CallDto) -> String {
    let mut text = call.basis.clone();
    if call.confidence < 1.0 {
        let _ = write!(text, " {:.0} %", call.confidence * 100.0);
    }
    if call.ambiguous > 1 {
        let _ = write!(text, " of {}", call.ambiguous);
    }
    text
}

pub fn finding_kinds(findings: &[FindingDto]) -> String {
    findings.iter().map(|f| f.kind.as_str()).collect::<Vec<_>>().join(", ")
}

/// `1 call`, `2 calls`, `12,345 calls`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(c);
    }
    format!("{grouped} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_write_to_the_terminal() {
        assert_eq!(printable("/a\x1b[2J\u{202e}b\r\n"), "/a\\u{1b}[2J\\u{202e}b\\r\\n");
        assert_eq!(printable("/grüße/→"), "/grüße/→");
    }

    #[test]
    fn durations_and_counts_read_well() {
        assert_eq!(
            [duration(0), duration(999), duration(12_345), duration(1_240_000)].join(" | "),
            "0 us | 999 us | 12.3 ms | 1.24 s"
        );
        assert_eq!(count(1, "call", "calls"), "1 call");
        assert_eq!(count(1_234_567, "call", "calls"), "1,234,567 calls");
        assert_eq!(when("2026-11-24T02:56:50.647913Z"), "2026-11-24 02:56:50.647");
    }

    #[test]
    fn a_long_hash_is_shortened_and_a_name_is_not() {
        assert_eq!(short("BIe_W9tp9xNA2cFA-mdUql"), "BIe_W9tp…");
        assert_eq!(short("alice@x.org"), "alice@x.org");
    }
}
