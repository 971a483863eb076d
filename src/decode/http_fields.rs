//! Header values that several formats log alike: ray, trace context, hop id, signed principal, path.

use super::principal_header;
use crate::model::{LegFields, TraceContext};

/// A `cf-ray` header or a RayID field: `(ray, colo)`. Both are `None` where it is none (`00` stands for "no parent").
pub fn ray(text: Option<&str>) -> (Option<String>, Option<String>) {
    let Some(text) = text else { return (None, None) };
    let (ray, colo) = text.split_once('-').map_or((text, None), |(ray, colo)| (ray, Some(colo)));
    let is_ray = (10..=32).contains(&ray.len()) && ray.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_ray {
        return (None, None);
    }
    let is_colo =
        |colo: &&str| (3..=8).contains(&colo.len()) && colo.bytes().all(|b| b.is_ascii_alphanumeric());
    (Some(ray.to_ascii_lowercase()), colo.filter(is_colo).map(str::to_ascii_uppercase))
}

/// A hop id as proxies set it: 32 hexadecimal digits or a UUID. Anything else was not set by one.
pub fn hop(text: Option<&str>) -> Option<String> {
    let text = text?;
    let hex = |part: &str| part.bytes().all(|b| b.is_ascii_hexdigit());
    let is_plain = text.len() == 32 && hex(text);
    let is_uuid =
        text.len() == 36 && text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && text.split('-').all(hex);
    (is_plain || is_uuid).then(|| text.to_ascii_lowercase())
}

pub fn trace(text: Option<&str>) -> Option<TraceContext> {
    text.and_then(TraceContext::parse)
}

/// Without query string and fragment: secrets stand there.
pub fn path(text: &str) -> String {
    text.split(['?', '#']).next().unwrap_or("").to_owned()
}

/// `(authority, path)` of an absolute URL.
pub fn authority_and_path(url: &str) -> (Option<String>, Option<String>) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = path(tail);
    let path = if path.is_empty() { "/".to_owned() } else { path };
    ((!authority.is_empty()).then(|| authority.to_owned()), Some(path))
}

/// A status code; Envoy and Cloudflare write 0 where no response was seen.
pub fn status(number: Option<i64>) -> Option<u16> {
    number.and_then(|n| u16::try_from(n).ok()).filter(|n| (100..1000).contains(n))
}

pub fn status_text(text: Option<&str>) -> Option<u16> {
    status(text.and_then(|text| text.parse().ok()))
}

/// Sets the signed principal, or keeps as seen what claims to be one.
pub fn set_principal_header(leg: &mut LegFields, text: Option<&str>) {
    let Some(text) = text else { return };
    leg.header = principal_header::parse(text);
    if leg.header.is_none() {
        leg.malformed_header = Some(text.chars().take(principal_header::MAX_CHARS).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ray_is_read_with_and_without_its_colo() {
        let told = |ray: &str, colo: Option<&str>| (Some(ray.to_owned()), colo.map(str::to_owned));
        assert_eq!(ray(Some("8f1a2b3c4d5e0001-AMS")), told("8f1a2b3c4d5e0001", Some("AMS")));
        assert_eq!(ray(Some("8F1A2B3C4D5E0001")), told("8f1a2b3c4d5e0001", None));
        for none in ["00", "", "not-a-ray", "8f1a2b3c4d5e000g-AMS"] {
            assert_eq!(ray(Some(none)), (None, None), "{none}");
        }
    }

    #[test]
    fn a_hop_is_32_digits_or_a_uuid() {
        assert_eq!(
            hop(Some("D20D2D54FBD0C75E76613217AB9B3311")).as_deref(),
            Some("d20d2d54fbd0c75e76613217ab9b3311")
        );
        assert!(hop(Some("eef02901-c1a7-4ed2-8032-64ed7ebab4b4")).is_some());
        for none in ["", "x", "d20d2d54", "eef02901-c1a74-ed2-8032-64ed7ebab4b4", &"g".repeat(32)] {
            assert_eq!(hop(Some(none)), None, "{none}");
        }
    }

    #[test]
    fn a_path_never_shows_its_query() {
        assert_eq!(path("/orders?token=secret1"), "/orders");
        let told = |authority: &str, path: &str| (Some(authority.to_owned()), Some(path.to_owned()));
        assert_eq!(
            authority_and_path("https://u:p@edge.example.com/a/b?q#f"),
            told("edge.example.com", "/a/b")
        );
        assert_eq!(authority_and_path("https://edge.example.com?q=1"), told("edge.example.com", "/"));
    }
}
