//! Whether a calltrail header was really issued by the Worker: the signature check. It proves that the edge issued it, never
//! by itself that two legs are one call.

use super::rules::{HeaderKey, KeyMaterial, Rules};
use crate::model::{Leg, SignedPrincipal};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// What the check of a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    Valid,
    Invalid,
    /// No key that could check it is configured: nothing is claimed either way.
    Unchecked,
}

/// Number of base64url characters to which a `v1` header cuts its MAC (132 bits).
const V1_MAC_CHARS: usize = 22;

pub fn check(header: &SignedPrincipal, rules: &Rules) -> Signature {
    if rules.header_keys.is_empty() {
        return Signature::Unchecked;
    }
    // With keys at hand, a version or a key id that none of them covers was not issued by this edge.
    let mut candidates = rules.header_keys.iter().filter(|key| applies(key, header));
    let audience_ok =
        header.version == "v1" || rules.header_audience.is_none() || rules.header_audience == header.audience;
    if audience_ok && candidates.any(|key| verifies(key, header)) {
        Signature::Valid
    } else {
        Signature::Invalid
    }
}

/// Whether the leg itself carries a header that the edge issued.
pub fn is_signed(leg: &Leg, rules: &Rules) -> bool {
    leg.header.as_ref().is_some_and(|h| check(h, rules) == Signature::Valid)
}

fn applies(key: &HeaderKey, header: &SignedPrincipal) -> bool {
    match (&key.secret, header.version.as_str()) {
        (KeyMaterial::HmacSha256(_), "v1") => true,
        (KeyMaterial::Ed25519(_), "v2") => key.key_id == header.key_id,
        _ => false,
    }
}

fn verifies(key: &HeaderKey, header: &SignedPrincipal) -> bool {
    match &key.secret {
        KeyMaterial::HmacSha256(secret) => {
            let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(secret) else { return false };
            mac.update(header.signed_text.as_bytes());
            let text = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
            text.as_bytes()[..V1_MAC_CHARS].ct_eq(header.signature.as_bytes()).into()
        }
        KeyMaterial::Ed25519(public) => {
            let key = ed25519_dalek::VerifyingKey::from_bytes(public);
            let signature = URL_SAFE_NO_PAD.decode(&header.signature);
            match (key, signature.ok().and_then(|s| ed25519_dalek::Signature::from_slice(&s).ok())) {
                (Ok(key), Some(signature)) => {
                    key.verify_strict(header.signed_text.as_bytes(), &signature).is_ok()
                }
                _ => false,
            }
        }
    }
}
