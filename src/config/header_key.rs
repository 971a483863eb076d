//! `[[header.key]]`: the keys with which the Worker signs its header. Secrets are never quoted in an error.

use crate::correlate::rules::{HeaderKey, KeyMaterial};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
pub(super) struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    secret: Option<String>,
    secret_env: Option<String>,
    secret_file: Option<PathBuf>,
    public_key: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
enum Algorithm {
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    #[serde(rename = "ed25519")]
    Ed25519,
}

/// `directory` is where a relative `secret_file` starts.
pub(super) fn header_key(key: &Key, directory: &Path) -> Result<HeaderKey, String> {
    let secret = match key.algorithm {
        Algorithm::HmacSha256 => KeyMaterial::HmacSha256(hmac_secret(key, directory)?),
        Algorithm::Ed25519 => KeyMaterial::Ed25519(public_key(key)?),
    };
    Ok(HeaderKey { key_id: key.id.clone(), secret })
}

/// The secret is the text that the Worker has as its secret, byte for byte; of a file, without the newline at its end.
fn hmac_secret(key: &Key, directory: &Path) -> Result<Vec<u8>, String> {
    if key.public_key.is_some() {
        return Err("hmac-sha256 takes secret, secret_env or secret_file, not public_key".to_owned());
    }
    let secret = match (&key.secret, &key.secret_env, &key.secret_file) {
        (Some(secret), None, None) => secret.clone(),
        (None, Some(name), None) => std::env::var(name).map_err(|_| not_set(name))?,
        (None, None, Some(file)) => std::fs::read_to_string(directory.join(file))
            .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
            .map_err(|error| format!("cannot read {}: {error}", file.display()))?,
        _ => return Err("give exactly one of secret, secret_env and secret_file".to_owned()),
    };
    if secret.is_empty() {
        return Err("the secret is empty".to_owned());
    }
    Ok(secret.into_bytes())
}

/// Somebody may have written the secret itself there: what looks like no name of a variable is not repeated.
fn not_set(name: &str) -> String {
    let is_name = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_';
    if name.bytes().all(is_name) {
        return format!("the environment variable {name} is not set");
    }
    "secret_env must be the name of an environment variable that is set, as TRAIL_KEY".to_owned()
}

fn public_key(key: &Key) -> Result<[u8; 32], String> {
    let text =
        key.public_key.as_deref().ok_or("ed25519 takes public_key, as 64 hexadecimal digits or base64")?;
    if key.secret.is_some() || key.secret_env.is_some() || key.secret_file.is_some() {
        return Err("ed25519 takes public_key only: the private key stays with the Worker".to_owned());
    }
    let text = text.trim();
    let bytes = hex::decode(text)
        .ok()
        .or_else(|| STANDARD.decode(text).ok())
        .or_else(|| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok());
    bytes
        .and_then(|b| b.try_into().ok())
        .ok_or_else(|| "public_key must be 32 bytes, as 64 hexadecimal digits or base64".to_owned())
}
