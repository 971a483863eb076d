//! A request id in the form in which two ends compare it.
//!
//! Envoy's tracer rewrites the version digit of a UUID on the way, so that digit does not count. Source: measured on Envoy 1.40,
//! `docs/wire.md`.

use std::fmt;

/// Place of the version digit in a UUID's text.
const VERSION_AT: usize = 14;

/// Equal for two ids that are one request's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestKey {
    /// A UUID in lower case, as Envoy makes them, without its version.
    Uuid(u128),
    Other(Box<str>),
}

impl RequestKey {
    pub fn of(id: &str) -> RequestKey {
        match lower_uuid(id.as_bytes()) {
            Some(digits) => RequestKey::Uuid(digits),
            None => RequestKey::Other(mask_version(id).into()),
        }
    }
}

/// The digits of a UUID in lower case, with 0 in the place of the version.
fn lower_uuid(id: &[u8]) -> Option<u128> {
    if id.len() != 36 {
        return None;
    }
    let mut digits = 0u128;
    for (at, &c) in id.iter().enumerate() {
        let digit = match (at, c) {
            (8 | 13 | 18 | 23, b'-') => continue,
            (8 | 13 | 18 | 23, _) => return None,
            (_, b'0'..=b'9') => c - b'0',
            (_, b'a'..=b'f') => c - b'a' + 10,
            _ => return None,
        };
        digits = digits << 4 | u128::from(if at == VERSION_AT { 0 } else { digit });
    }
    Some(digits)
}

/// Of UUIDs in other spellings, which no two ends were seen to spell differently.
fn mask_version(id: &str) -> String {
    let bytes = id.as_bytes();
    let is_uuid = bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, c)| match at {
            8 | 13 | 18 | 23 => *c == b'-',
            _ => c.is_ascii_hexdigit(),
        });
    if is_uuid { format!("{}x{}", &id[..VERSION_AT], &id[VERSION_AT + 1..]) } else { id.to_owned() }
}

/// As text, with `x` in the place of the version.
impl fmt::Display for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestKey::Other(text) => f.write_str(text),
            RequestKey::Uuid(digits) => {
                let hex = format!("{digits:032x}");
                let parts = [&hex[..8], &hex[8..12], &hex[13..16], &hex[16..20], &hex[20..]];
                write!(f, "{}-{}-x{}-{}-{}", parts[0], parts[1], parts[2], parts[3], parts[4])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_digit_that_envoys_tracer_rewrites_does_not_part_the_two_ends() {
        let sent = RequestKey::of("11111111-2222-4333-8444-555555555555");
        assert_eq!(sent, RequestKey::of("11111111-2222-9333-8444-555555555555"));
        assert_ne!(sent, RequestKey::of("11111111-2222-4333-8444-555555555556"));
        assert_eq!(sent.to_string(), "11111111-2222-x333-8444-555555555555");
        assert_eq!(RequestKey::of("ext-req-0004").to_string(), "ext-req-0004");
    }

    proptest::proptest! {
        #[test]
        fn as_text_it_is_the_id_without_its_version(id in "[0-9a-f]{8}-[0-9a-f]{4}-[49][0-9a-f]{3}-8abc-[0-9a-f]{12}|[0-9A-F]{8}-[0-9a-f]{4}-[49][0-9a-f]{3}-8abc-[0-9a-f]{12}|[a-z]{0,3}") {
            proptest::prop_assert_eq!(RequestKey::of(&id).to_string(), mask_version(&id));
        }
    }
}
