//! The rules file: TOML to [`Rules`]. What does not fit is refused with its line and what to write instead.

use super::header_key::{Key, header_key};
use super::retention::Retention;
use super::schema::{Place, check_keys};
use crate::correlate::Rules;
use crate::correlate::rules::Outage;
use crate::model::delivery::is_source_name;
use crate::model::{CustomFormat, DurationUnit, RetentionRules, Timestamp};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::DeTable;

/// A rules file that cannot be used, with the place.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    #[error("cannot read the rules file {path}: {error}", path = path.display())]
    Read { path: PathBuf, error: std::io::Error },
    #[error("{file}:{line}: {what}")]
    Content { file: String, line: usize, what: String },
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    header: Header,
    join: Join,
    edge: Edge,
    certificate: CertificateRules,
    formats: Vec<Spanned<Format>>,
    blind: Vec<Spanned<Blind>>,
    retention: Retention,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Header {
    audience: Option<String>,
    key: Vec<Spanned<Key>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Join {
    grace_seconds: Option<Spanned<f64>>,
    grace_seconds_of: BTreeMap<Spanned<String>, Spanned<f64>>,
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
    max_age_hours: Option<Spanned<f64>>,
}

#[derive(Deserialize)]
struct Format {
    name: Option<String>,
    source: Option<String>,
    has: Option<String>,
    equals: Option<String>,
    duration_unit: Option<String>,
    time_format: Option<String>,
    #[serde(default)]
    fields: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Blind {
    source: Option<String>,
    from: Option<toml::Value>,
    to: Option<toml::Value>,
}

/// Reads and checks a rules file. `secret_file` paths that are relative are relative to the file's own directory.
pub fn load_rules(path: &Path) -> Result<Rules, RulesError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| RulesError::Read { path: path.to_owned(), error })?;
    parse_rules(&text, &path.display().to_string(), path.parent().unwrap_or(Path::new(".")))
}

/// As [`load_rules`], of the other half of the file: for how long what is kept.
pub fn load_retention(path: &Path) -> Result<RetentionRules, RulesError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| RulesError::Read { path: path.to_owned(), error })?;
    parse_retention(&text, &path.display().to_string(), path.parent().unwrap_or(Path::new(".")))
}

pub fn parse_retention(text: &str, file: &str, directory: &Path) -> Result<RetentionRules, RulesError> {
    parse_file(text, file, directory).map(|(_, retention)| retention)
}

/// Checks the text of a rules file. `file` names it in errors; `directory` is where relative `secret_file` paths start.
pub fn parse_rules(text: &str, file: &str, directory: &Path) -> Result<Rules, RulesError> {
    parse_file(text, file, directory).map(|(rules, _)| rules)
}

fn parse_file(text: &str, file: &str, directory: &Path) -> Result<(Rules, RetentionRules), RulesError> {
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
    let mut grace_us_of = BTreeMap::new();
    for (source, seconds) in &parsed.join.grace_seconds_of {
        source_name(&place, source.span(), source.get_ref())?;
        grace_us_of.insert(source.get_ref().clone(), whole_us(&place, seconds, 1e6)?);
    }
    let rules = Rules {
        header_keys,
        header_audience: parsed.header.audience,
        edge_fronted: parsed.edge.services,
        allowed_mesh_callers: parsed.edge.allowed_mesh_callers,
        grace_us: us(&parsed.join.grace_seconds, 1e6)?.unwrap_or(defaults.grace_us),
        grace_us_of,
        skew_bound_us: us(&parsed.join.skew_bound_seconds, 1e6)?.unwrap_or(defaults.skew_bound_us),
        certificate_max_lifetime_us: us(&parsed.certificate.max_lifetime_hours, 3.6e9)?
            .or(defaults.certificate_max_lifetime_us),
        certificate_max_age_us: us(&parsed.certificate.max_age_hours, 3.6e9)?
            .or(defaults.certificate_max_age_us),
        formats: each(&place, "formats", parsed.formats, custom_format)?,
        outages: each(&place, "blind", parsed.blind, outage)?,
    };
    let retention = parsed.retention.read(&place, rules.longest_grace_us())?;
    Ok((rules, retention))
}

/// Each table of a list, read; the error of one names its line.
fn each<T, R>(
    place: &Place<'_>,
    table: &str,
    all: Vec<Spanned<T>>,
    read: fn(T) -> Result<R, String>,
) -> Result<Vec<R>, RulesError> {
    let one = |spanned: Spanned<T>| {
        let span = spanned.span();
        read(spanned.into_inner()).map_err(|what| place.error(Some(span), format!("[[{table}]]: {what}")))
    };
    all.into_iter().map(one).collect()
}

fn custom_format(format: Format) -> Result<CustomFormat, String> {
    let name = format.name.filter(|n| !n.trim().is_empty()).ok_or("give it a name, for rejects and lists")?;
    if format.source.is_none() && format.has.is_none() {
        return Err(format!(
            "say how a line of {name:?} is known: source = \"NAME\", or has = \"a.field\" (with equals = \"text\", if it must \
             hold that)"
        ));
    }
    if format.equals.is_some() && format.has.is_none() {
        return Err("equals needs has: the field that must hold that text".to_owned());
    }
    if !format.fields.contains_key("start_time") {
        return Err(format!(
            "{name:?} must say in [formats.fields] where start_time stands: a line without a time is no call"
        ));
    }
    if let Some(written) = &format.time_format
        && chrono::format::StrftimeItems::new(written).any(|item| matches!(item, chrono::format::Item::Error))
    {
        return Err("time_format must be written as strftime has it, as \"%d/%b/%Y:%H:%M:%S %z\"".to_owned());
    }
    let duration_unit = match format.duration_unit.as_deref() {
        Some("us") => DurationUnit::Microseconds,
        Some("s") => DurationUnit::Seconds,
        _ => DurationUnit::Milliseconds,
    };
    Ok(CustomFormat {
        name,
        source: format.source,
        has: format.has,
        equals: format.equals,
        duration_unit,
        time_format: format.time_format,
        fields: format.fields,
    })
}

fn outage(blind: Blind) -> Result<Outage, String> {
    let time = |value: toml::Value| match value {
        toml::Value::String(text) => text.parse::<Timestamp>().map_err(|e| e.to_string()),
        other => other.to_string().parse::<Timestamp>().map_err(|e| e.to_string()),
    };
    let source =
        blind.source.filter(|s| is_source_name(s)).ok_or("source must be the name of a source, as mesh")?;
    let from = time(blind.from.ok_or("from must say since when, as \"2026-11-24T02:56:50Z\"")?)?;
    let to = blind.to.map(time).transpose()?;
    if to.is_some_and(|to| to <= from) {
        return Err("to must be later than from; without to it lasts until now".to_owned());
    }
    Ok(Outage { source, from, to })
}

fn source_name(place: &Place<'_>, span: std::ops::Range<usize>, name: &str) -> Result<(), RulesError> {
    if is_source_name(name) {
        return Ok(());
    }
    let what = format!("{name:?} is no name of a source: 1 to 64 letters, digits, '-', '_' and '.'");
    Err(place.error(Some(span), what))
}

fn whole_us(place: &Place<'_>, value: &Spanned<f64>, unit_us: f64) -> Result<i64, RulesError> {
    let us = value.get_ref() * unit_us;
    // A century in microseconds: far beyond any sensible value, far below what overflows.
    if !(0.0..=3.2e15).contains(&us) {
        return Err(place.error(Some(value.span()), "a duration must be a number of 0 or more, as 120"));
    }
    Ok(us.round() as i64)
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
            grace_seconds_of = { logpush-workers = 600, mesh = 30 }
            skew_bound_seconds = 0.5
            [edge]
            services = ["gw"]
            allowed_mesh_callers = ["cron"]
            [certificate]
            max_lifetime_hours = 72
            max_age_hours = 48
            [[formats]]
            name = "acme"
            source = "mesh-acme"
            duration_unit = "us"
            [formats.fields]
            start_time = "ts"
            duration = "time.total"
            [[blind]]
            source = "mesh"
            from = 2026-11-24T02:00:00Z
            to = "2026-11-24T03:00:00+00:00"
            "#,
        )
        .unwrap();
        assert_eq!(rules.header_keys.len(), 2);
        assert_eq!(rules.header_keys[1].key_id.as_deref(), Some("k2"));
        assert_eq!((rules.grace_us, rules.skew_bound_us), (90_000_000, 500_000));
        assert_eq!(rules.edge_fronted, ["gw"]);
        assert_eq!(rules.certificate_max_lifetime_us, Some(72 * 3_600_000_000));
        assert_eq!(rules.certificate_max_age_us, Some(48 * 3_600_000_000));
        let grace = ["logpush-workers", "mesh", "other"].map(|source| rules.grace_us_of(source));
        assert_eq!((grace, rules.longest_grace_us()), ([600_000_000, 30_000_000, 90_000_000], 600_000_000));
        let format = &rules.formats[0];
        assert_eq!(
            (format.source.as_deref(), format.duration_unit),
            (Some("mesh-acme"), DurationUnit::Microseconds)
        );
        assert_eq!(format.fields["duration"], "time.total");
        let outage = &rules.outages[0];
        assert_eq!(outage.to.unwrap().0 - outage.from.0, 3_600_000_000);
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
            ("[join]\ngrace_seconds_of = 3\n", "rules.toml:2:", "as logpush = 600"),
            ("[join.grace_seconds_of]\n\"a b\" = 3\n", "rules.toml:2:", "no name of a source"),
            ("[join.grace_seconds_of]\nmesh = \"long\"\n", "rules.toml:1:", "as logpush = 600"),
            ("[[formats]]\nhas = \"x\"\n", "rules.toml:1:", "give it a name"),
            ("[[formats]]\nname = \"x\"\n", "rules.toml:1:", "how a line of \"x\" is known"),
            ("[[formats]]\nname = \"x\"\nhas = \"x\"\n", "rules.toml:1:", "start_time"),
            (
                "[[formats]]\nname = \"x\"\nsource = \"x\"\nequals = \"x\"\n",
                "rules.toml:1:",
                "equals needs has",
            ),
            ("[[formats]]\n[formats.fields]\nrequestid = \"x\"\n", "rules.toml:3:", "\"request_id\""),
            ("[[formats]]\n[formats.fields]\npath = 1\n", "rules.toml:3:", "in quotes"),
            ("[[formats]]\nduration_unit = \"min\"\n", "rules.toml:2:", "\"us\", \"ms\", \"s\""),
            (
                "[[formats]]\nname = \"x\"\nhas = \"x\"\ntime_format = \"%Q!\"\nfields = { start_time = \"t\" }\n",
                "rules.toml:1:",
                "strftime",
            ),
            ("[[blind]]\nfrom = \"2026-11-24\"\n", "rules.toml:1:", "name of a source"),
            ("[[blind]]\nsource = \"mesh\"\n", "rules.toml:1:", "since when"),
            ("[[blind]]\nsource = \"mesh\"\nfrom = \"yesterday\"\n", "rules.toml:1:", "RFC 3339"),
            (
                "[[blind]]\nsource = \"mesh\"\nfrom = \"2026-11-24\"\nto = \"2026-11-23\"\n",
                "rules.toml:1:",
                "later than from",
            ),
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
