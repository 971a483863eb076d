//! The Worker's side of `x-calltrail-principal`, version 1, and its names for people: as the captures' Worker does it.

use super::headers::{Signed, TraceContext};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Of base64url, of every MAC and every hashed subject.
const CHARS: usize = 22;

pub struct Signer {
    key: Hmac<Sha256>,
    issuer: String,
}

impl Signer {
    pub fn new(key: &str, issuer: &str) -> Self {
        let key = Hmac::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
        Signer { key, issuer: issuer.to_owned() }
    }

    fn mac(&self, text: &str) -> String {
        let mac = self.key.clone().chain_update(text).finalize().into_bytes();
        let mut text = URL_SAFE_NO_PAD.encode(mac);
        text.truncate(CHARS);
        text
    }

    /// How the Worker logs a user or service token: never by name.
    pub fn subject(&self, name: &str) -> String {
        self.mac(&format!("{}\0{name}", self.issuer))
    }

    pub fn sign(&self, of: &TraceContext, kind: &str, subject: &str, at_us: i64) -> Signed {
        let (trace, span, ms) = (&of.trace_id, &of.span_id, at_us / 1_000);
        let mac = self.mac(&format!("{trace}.{span}.{kind}:{subject}.{ms}"));
        Signed {
            text: format!("v1;c={trace}-{span};p={kind}:{subject};t={ms};m={mac}"),
            subject: subject.to_owned(),
            names_user: kind != "worker",
            genuine: true,
        }
    }

    /// What somebody without the key can make.
    pub fn forge(&self, of: &TraceContext, subject: &str, at_us: i64) -> Signed {
        let guess = Signer::new("not the key", &self.issuer);
        Signed { genuine: false, ..guess.sign(of, "user", subject, at_us) }
    }
}
