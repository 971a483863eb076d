//! The rules file: TOML to [`Rules`].
//!
//! Every key that is not known is refused with its line and the nearest known one, since a rule that silently does not hold is
//! worse than none. Secrets are never quoted in an error.

use crate::correlate::Rules;
use crate::correlate::rules::{HeaderKey, KeyMaterial};
use crate::suggest::nearest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A rules file that cannot be used, with the place.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    #[error("cannot read the rules file {path}: {error}", path = path.display())]
    Read { path: PathBuf, error: std::io::Error },
    #[error("{file}:{line}: {what}")]
    Content { file: String, line: usize, what: String },
}

/// What a key may hold. Checked before anything else reads the file, since other readers quote what they did not expect, and
/// that may be a secret.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Texts,
    Number,
    OneOf(&'static [&'static str]),
    Table,
    Tables,
}

impl Kind {
    fn holds(self, value: &DeValue<'_>) -> bool {
        let all = |is: fn(&DeValue<'_>) -> bool| {
            value.as_array().is_some_and(|items| items.iter().all(|item| is(item.get_ref())))
        };
        match self {
            Kind::Text => value.is_str(),
            Kind::Texts => all(|item| item.is_str()),
            Kind::Number => value.is_integer() || value.is_float(),
            Kind::OneOf(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Kind::Table => value.is_table(),
            Kind::Tables => all(|item| item.is_table()),
        }
    }

    fn described(self) -> String {
        match self {
            Kind::Text => "text in quotes".to_owned(),
            Kind::Texts => "a list of texts, as [\"one\", \"two\"]".to_owned(),
            Kind::Number => "a number, as 120".to_owned(),
            Kind::OneOf(words) => format!("one of \"{}\"", words.join("\", \"")),
            Kind::Table => "a table, in square brackets".to_owned(),
            Kind::Tables => "a list of tables, each in double square brackets".to_owned(),
        }
    }
}

/// Each table of the file with the keys that it may hold.
const KNOWN: &[(&str, &[(&str, Kind)])] = &[
    (
        "",
        &[
            ("header", Kind::Table),
            ("join", Kind::Table),
            ("edge", Kind::Table),
            ("certificate", Kind::Table),
        ],
    ),
    ("header", &[("audience", Kind::Text), ("key", Kind::Tables)]),
    (
        "header.key",
        &[
            ("id", Kind::Text),
            ("algorithm", Kind::OneOf(&["hmac-sha256", "ed25519"])),
            ("secret", Kind::Text),
            ("secret_env", Kind::Text),
            ("secret_file", Kind::Text),
            ("public_key", Kind::Text),
        ],
    ),
    ("join", &[("grace_seconds", Kind::Number), ("skew_bound_seconds", Kind::Number)]),
    ("edge", &[("services", Kind::Texts), ("allowed_mesh_callers", Kind::Texts)]),
    ("certificate", &[("max_lifetime_hours", Kind::Number)]),
];

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    header: Header,
    join: Join,
    edge: Edge,
    certificate: CertificateRules,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Header {
    audience: Option<String>,
    key: Vec<Spanned<Key>>,
}

#[derive(Deserialize)]
struct Key {
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

#[derive(Default, Deserialize)]
#[serde(default)]
struct Join {
    grace_seconds: Option<Spanned<f64>>,
    skew_bound_seconds: Option<Spanned<f64>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Edge {
    services: Vec<String>,
    allowed_mesh_callers: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CertificateRules {
    max_lifetime_hours: Option<Spanned<f64>>,
}

/// Where in the file something is, for errors.
struct Place<'a> {
    file: &'a str,
    text: &'a str,
}

impl Place<'_> {
    fn error(&self, span: Option<Range<usize>>, what: impl Into<String>) -> RulesError {
        let before = span.map_or(0, |s| s.start.min(self.text.len()));
        let line = self.text.as_bytes()[..before].iter().filter(|b| **b == b'\n').count() + 1;
        RulesError::Content { file: self.file.to_owned(), line, what: what.into() }
    }
}

/// Reads and checks a rules file. `secret_file` paths that are relative are relative to the file's own directory.
pub fn load_rules(path: &Path) -> Result<Rules, RulesError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| RulesError::Read { path: path.to_owned(), error })?;
    parse_rules(&text, &path.display().to_string(), path.parent().unwrap_or(Path::new(".")))
}

/// Checks the text of a rules file. `file` names it in errors; `directory` is where relative `secret_file` paths start.
pub fn parse_rules(text: &str, file: &str, directory: &Path) -> Result<Rules, RulesError> {
    let place = Place { file, text };
    let table = DeTable::parse(text).map_err(|e| place.error(e.span(), e.message()))?;
    check_keys(&place, "", table.get_ref())?;
    let parsed: File = toml::from_str(text).map_err(|e| place.error(e.span(), e.message()))?;
    let defaults = Rules::default();
    let mut header_keys = Vec::new();
    for key in &parsed.header.key {
        header_keys.push(
            header_key(key.get_ref(), directory)
                .map_err(|what| place.error(Some(key.span()), format!("[[header.key]]: {what}")))?,
        );
    }
    let us = |value: &Option<Spanned<f64>>, unit_us: f64| {
        value.as_ref().map(|v| whole_us(&place, v, unit_us)).transpose()
    };
    Ok(Rules {
        header_keys,
        header_audience: parsed.header.audience,
        edge_fronted: parsed.edge.services,
        allowed_mesh_callers: parsed.edge.allowed_mesh_callers,
        grace_us: us(&parsed.join.grace_seconds, 1e6)?.unwrap_or(defaults.grace_us),
        skew_bound_us: us(&parsed.join.skew_bound_seconds, 1e6)?.unwrap_or(defaults.skew_bound_us),
        certificate_max_lifetime_us: us(&parsed.certificate.max_lifetime_hours, 3.6e9)?
            .or(defaults.certificate_max_lifetime_us),
    })
}

fn check_keys(place: &Place<'_>, path: &str, table: &DeTable<'_>) -> Result<(), RulesError> {
    let Some((_, known)) = KNOWN.iter().find(|(p, _)| *p == path) else { return Ok(()) };
    for (key, value) in table {
        let name: &str = key.get_ref();
        let table = if path.is_empty() { "the file".to_owned() } else { format!("[{path}]") };
        let Some((_, kind)) = known.iter().find(|(key, _)| *key == name) else {
            let nearest = nearest(name, known.iter().map(|(key, _)| *key)).unwrap_or_default();
            let what = format!("{table} has no key {name:?}; the nearest known one is {nearest:?}");
            return Err(place.error(Some(key.span()), what));
        };
        if !kind.holds(value.get_ref()) {
            let what = format!("{name} of {table} must be {}", kind.described());
            return Err(place.error(Some(value.span()), what));
        }
        let below = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match value.get_ref() {
            DeValue::Table(table) => check_keys(place, &below, table)?,
            DeValue::Array(items) => {
                for table in items.iter().filter_map(|item| item.get_ref().as_table()) {
                    check_keys(place, &below, table)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn whole_us(place: &Place<'_>, value: &Spanned<f64>, unit_us: f64) -> Result<i64, RulesError> {
    let us = value.get_ref() * unit_us;
    // A century in microseconds: far beyond any sensible value, far below what overflows.
    if !(0.0..=3.2e15).contains(&us) {
        return Err(place.error(Some(value.span()), "a duration must be a number of 0 or more, as 120"));
    }
    Ok(us.round() as i64)
}

fn header_key(key: &Key, directory: &Path) -> Result<HeaderKey, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Rules, String> {
        parse_rules(text, "rules.toml", Path::new(".")).map_err(|e| e.to_string())
    }

    #[test]
    fn a_full_file_gives_every_rule() {
        let rules = parse(
            r#"
            [header]
            audience = "mesh.example.com"
            [[header.key]]
            algorithm = "hmac-sha256"
            secret = "shared with the Worker"
            [[header.key]]
            id = "k2"
            algorithm = "ed25519"
            public_key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
            [join]
            grace_seconds = 90
            skew_bound_seconds = 0.5
            [edge]
            services = ["gw"]
            allowed_mesh_callers = ["cron"]
            [certificate]
            max_lifetime_hours = 72
            "#,
        )
        .unwrap();
        assert_eq!(rules.header_keys.len(), 2);
        assert_eq!(rules.header_keys[1].key_id.as_deref(), Some("k2"));
        assert_eq!((rules.grace_us, rules.skew_bound_us), (90_000_000, 500_000));
        assert_eq!(rules.edge_fronted, ["gw"]);
        assert_eq!(rules.certificate_max_lifetime_us, Some(72 * 3_600_000_000));
        assert!(!format!("{rules:?}").contains("shared with"), "Debug must not print the secret");
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        assert_eq!(parse("").unwrap(), Rules::default());
    }

    #[test]
    fn each_mistake_names_its_line_and_what_to_write() {
        for (text, place, hint) in [
            ("[join]\ngrace_secs = 1\n", "rules.toml:2:", "grace_seconds"),
            ("[joins]\n", "rules.toml:1:", "\"join\""),
            ("\n[[header.key]]\nalgorithm = \"md5\"\n", "rules.toml:3:", "hmac-sha256"),
            ("[[header.key]]\nalgorithm = \"hmac-sha256\"\n", "rules.toml:1:", "exactly one of"),
            ("[[header.key]]\nalgorithm = \"hmac-sha256\"\nsecrets = \"s\"\n", "rules.toml:3:", "\"secret\""),
            ("[[header.key]]\nalgorithm = \"ed25519\"\npublic_key = \"abc\"\n", "rules.toml:1:", "32 bytes"),
            ("[join]\ngrace_seconds = -1\n", "rules.toml:2:", "0 or more"),
            ("[join]\ngrace_seconds = \"soon\"\n", "rules.toml:2:", "a number, as 120"),
            (
                "[[header.key]]\nalgorithm = \"hmac-sha256\"\nsecret = 1234\n",
                "rules.toml:3:",
                "text in quotes",
            ),
            ("[edge]\nservices = \"gw\"\n", "rules.toml:2:", "a list of texts"),
            ("[header]\nkey = 1\n", "rules.toml:2:", "double square brackets"),
            ("[join\n", "rules.toml:1:", ""),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(place) && error.contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn no_mistake_makes_an_error_repeat_a_secret() {
        let key = |rest: &str| format!("[[header.key]]\nalgorithm = \"hmac-sha256\"\n{rest}\n");
        for text in [
            key("secret = 12345678"),
            key("secret = 1234.5678"),
            key("secret = [\"c4n4ry\"]"),
            key("secret = { value = \"c4n4ry\" }"),
            key("secret = c4n4ry"),
            key("secret = \"c4n4ry"),
            key("secret = \"c4n4ry\\q\""),
            key("secret = 'c4n4ry\""),
            key("secret = \"c4n4ry\" c4n4ry"),
            key("secret = \"c4n4ry\"\nsecret = \"c4n4ry\""),
            key("secret = \"c4n4ry\"\nsecret_env = \"TRAIL_KEY\""),
            key("secret = \"c4n4ry\"\nid = 12345678"),
            key("secret_env = \"c4n4ry\""),
            key("public_key = \"c4n4ry\""),
            key("public_key = 12345678"),
            "[[header.key]]\nalgorithm = \"c4n4ry\"\n".to_owned(),
            "[[header.key]]\nalgorithm = \"ed25519\"\npublic_key = \"c4n4ry\"\n".to_owned(),
            "[header]\nkey = \"c4n4ry\"\n".to_owned(),
            "[header]\nkey = [\"c4n4ry\"]\n".to_owned(),
            "header = \"c4n4ry\"\n".to_owned(),
            "[header]\naudience = 12345678\n".to_owned(),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(!error.contains("c4n4ry") && !error.contains("1234"), "{text}: {error}");
            assert!(error.starts_with("rules.toml:"), "{text}: {error}");
        }
    }
}
