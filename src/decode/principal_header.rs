//! `x-calltrail-principal`: for whom the edge made a request, signed by the Worker, echoed by every proxy.
//!
//! It is evidence of what the edge decided, never an authorisation. Here it is only parsed; whether the signature holds is
//! decided in `correlate`, where the keys are. The grammar is strict, since a text that two parsers read differently proves
//! nothing (`docs/wire.md` has it in full):
//!
//! ```text
//! v1;c=<trace>-<span>;p=<kind>:<subject>;t=<ms>;m=<22 characters of base64url>
//! v2;kid=<key id>;aud=<audience>;c=<trace>-<span>;p=<kind>:<subject>;t=<ms>;s=<86 characters of base64url>
//! ```

use crate::model::{SignedPrincipal, SpanId, Timestamp, TraceId};

/// The recommended log format cuts the header here; a longer one cannot be whole.
pub const MAX_CHARS: usize = 512;
const V1_MAC_CHARS: usize = 22;
const V2_SIGNATURE_CHARS: usize = 86;

/// `None` when the text is not exactly of the grammar.
pub fn parse(text: &str) -> Option<SignedPrincipal> {
    if text.len() > MAX_CHARS {
        return None;
    }
    let (version, rest) = text.split_once(';')?;
    match version {
        "v1" => parse_v1(rest),
        "v2" => parse_v2(text, rest),
        _ => None,
    }
}

fn parse_v1(rest: &str) -> Option<SignedPrincipal> {
    let mut fields = Fields(rest.split(';'));
    let claim = Claim::parse(&mut fields)?;
    let mac = fields.take("m")?;
    fields.end()?;
    if !is_base64url(mac, V1_MAC_CHARS) {
        return None;
    }
    let Claim { trace_id, span_id, kind, subject, issued_ms } = claim;
    let signed_text = format!("{trace_id}.{span_id}.{kind}:{subject}.{issued_ms}");
    Some(claim.signed("v1", None, None, mac, signed_text))
}

fn parse_v2(text: &str, rest: &str) -> Option<SignedPrincipal> {
    let mut fields = Fields(rest.split(';'));
    let key_id = fields.take("kid").filter(|t| is_token(t))?;
    let audience = fields.take("aud").filter(|t| is_token(t))?;
    let claim = Claim::parse(&mut fields)?;
    let signature = fields.take("s")?;
    fields.end()?;
    if !is_base64url(signature, V2_SIGNATURE_CHARS) {
        return None;
    }
    let signed_text = text[..text.len() - signature.len() - ";s=".len()].to_owned();
    Some(claim.signed("v2", Some(key_id), Some(audience), signature, signed_text))
}

/// What both versions say.
struct Claim<'a> {
    trace_id: TraceId,
    span_id: SpanId,
    kind: &'a str,
    subject: &'a str,
    issued_ms: i64,
}

impl<'a> Claim<'a> {
    fn parse(fields: &mut Fields<'a>) -> Option<Self> {
        let (trace, span) = fields.take("c")?.split_once('-')?;
        let (kind, subject) = fields.take("p")?.split_once(':')?;
        let issued = fields.take("t")?;
        if !is_token(kind) || !is_token(subject) {
            return None;
        }
        let canonical = issued.bytes().all(|b| b.is_ascii_digit()) && !issued.starts_with('0');
        Some(Claim {
            trace_id: TraceId::parse(trace).ok()?,
            span_id: SpanId::parse(span).ok()?,
            kind,
            subject,
            // No more than the milliseconds of the year 9999.
            issued_ms: issued.parse().ok().filter(|ms| canonical && *ms <= Timestamp::MAX.millis())?,
        })
    }

    fn signed(
        &self,
        version: &str,
        key_id: Option<&str>,
        audience: Option<&str>,
        signature: &str,
        signed_text: String,
    ) -> SignedPrincipal {
        SignedPrincipal {
            trace_id: self.trace_id,
            span_id: self.span_id,
            principal_kind: self.kind.to_owned(),
            subject: self.subject.to_owned(),
            issued_at: Timestamp::from_millis(self.issued_ms),
            version: version.to_owned(),
            key_id: key_id.map(str::to_owned),
            audience: audience.map(str::to_owned),
            signature: signature.to_owned(),
            signed_text,
        }
    }
}

/// `key=value` fields in the order of the grammar.
struct Fields<'a>(std::str::Split<'a, char>);

impl<'a> Fields<'a> {
    fn take(&mut self, key: &str) -> Option<&'a str> {
        self.0.next()?.strip_prefix(key)?.strip_prefix('=')
    }

    fn end(&mut self) -> Option<()> {
        self.0.next().is_none().then_some(())
    }
}

/// Visible ASCII without the characters that separate fields and header values.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b';' && b != b',')
}

fn is_base64url(text: &str, chars: usize) -> bool {
    text.len() == chars && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "v1;c=83d9a4142aa6217eabf1a65e60ebf1b3-13019766a6295ddb;p=user:BIe_W9tp9xNA2cFA-mdUql;t=1795489010642;m=NzgnuTcvijS-kT2azuBola";

    fn v2() -> String {
        format!(
            "v2;kid=edge-1;aud=mesh.example.com;c=83d9a4142aa6217eabf1a65e60ebf1b3-13019766a6295ddb;p=user:BIe_;t=1795489010642;s={}",
            "A".repeat(86)
        )
    }

    #[test]
    fn a_header_of_the_capture_gives_its_parts_and_the_bytes_that_were_signed() {
        let header = parse(V1).unwrap();
        assert_eq!(
            (header.principal_kind.as_str(), header.subject.as_str()),
            ("user", "BIe_W9tp9xNA2cFA-mdUql")
        );
        assert_eq!(header.issued_at, Timestamp(1_795_489_010_642_000));
        assert_eq!(
            header.signed_text,
            "83d9a4142aa6217eabf1a65e60ebf1b3.13019766a6295ddb.user:BIe_W9tp9xNA2cFA-mdUql.1795489010642"
        );
    }

    #[test]
    fn version_2_signs_everything_before_the_signature() {
        let text = v2();
        let header = parse(&text).unwrap();
        assert_eq!(
            (header.key_id.as_deref(), header.audience.as_deref()),
            (Some("edge-1"), Some("mesh.example.com"))
        );
        assert_eq!(Some(header.signed_text.as_str()), text.split(";s=").next());
    }

    #[test]
    fn anything_but_the_exact_grammar_is_no_header() {
        let bad = [
            String::new(),
            "v1".to_owned(),
            V1.replace("v1", "v3"),
            V1.to_uppercase(),
            V1[..V1.len() - 1].to_owned(),
            format!("{V1}x"),
            format!("{V1};x=1"),
            format!("{V1},{V1}"),
            V1.replace("83d9a414", "00000000").replace("2aa6217eabf1a65e60ebf1b3", &"0".repeat(24)),
            V1.replace("t=1795489010642", "t=01795489010642"),
            V1.replace("t=1795489010642", "t=+795489010642"),
            V1.replace("p=user:", "p=:"),
            V1.replace("p=user:", "p=us er:"),
            V1.replace(";t=", ";m="),
            v2().replace("kid=edge-1;", ""),
            v2().replace("aud=mesh.example.com", "aud="),
            v2().replace("user:BIe_", &format!("user:{}", "x".repeat(500))),
        ];
        for text in bad {
            assert_eq!(parse(&text), None, "{text}");
        }
    }
}
