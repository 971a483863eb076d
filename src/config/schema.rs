//! What a rules file may hold, checked before anything else reads it: every key with its line and the nearest known one, since
//! a rule that silently does not hold is worse than none. It never quotes a value: that may be a secret.

use super::rules_file::RulesError;
use crate::decode::mapped::FIELDS;
use crate::suggest::nearest;
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// Where in the file something is, for errors.
pub(super) struct Place<'a> {
    pub file: &'a str,
    pub text: &'a str,
}

impl Place<'_> {
    pub(super) fn error(&self, span: Option<Range<usize>>, what: impl Into<String>) -> RulesError {
        let before = span.map_or(0, |s| s.start.min(self.text.len()));
        let line = self.text.as_bytes()[..before].iter().filter(|b| **b == b'\n').count() + 1;
        RulesError::Content { file: self.file.to_owned(), line, what: what.into() }
    }
}

/// What a key may hold. Checked before anything else reads the file, since other readers quote what they did not expect, and
/// that may be a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Texts,
    Number,
    OneOf(&'static [&'static str]),
    /// A moment, in quotes or as TOML writes it.
    Time,
    Table,
    Tables,
    /// A table whose keys are names that the file's author chose.
    Numbers,
    /// A table of our fields, each with a path in a line.
    Paths,
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
            Kind::Time => value.is_str() || value.is_datetime(),
            Kind::Table | Kind::Paths => value.is_table(),
            Kind::Numbers => {
                value.as_table().is_some_and(|t| t.values().all(|v| Kind::Number.holds(v.get_ref())))
            }
            Kind::Tables => all(|item| item.is_table()),
        }
    }

    fn described(self) -> String {
        match self {
            Kind::Text => "text in quotes".to_owned(),
            Kind::Texts => "a list of texts, as [\"one\", \"two\"]".to_owned(),
            Kind::Number => "a number, as 120".to_owned(),
            Kind::OneOf(words) => format!("one of \"{}\"", words.join("\", \"")),
            Kind::Time => "a time, as \"2026-11-24T02:56:50Z\"".to_owned(),
            Kind::Table => "a table, in square brackets".to_owned(),
            Kind::Numbers => "a table of a number for each name, as logpush = 600".to_owned(),
            Kind::Paths => "a table of our fields, each with the path at which it stands".to_owned(),
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
            ("formats", Kind::Tables),
            ("blind", Kind::Tables),
            ("retention", Kind::Table),
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
    (
        "join",
        &[
            ("grace_seconds", Kind::Number),
            ("grace_seconds_of", Kind::Numbers),
            ("skew_bound_seconds", Kind::Number),
        ],
    ),
    ("edge", &[("services", Kind::Texts), ("allowed_mesh_callers", Kind::Texts)]),
    ("certificate", &[("max_lifetime_hours", Kind::Number), ("max_age_hours", Kind::Number)]),
    (
        "formats",
        &[
            ("name", Kind::Text),
            ("source", Kind::Text),
            ("has", Kind::Text),
            ("equals", Kind::Text),
            ("duration_unit", Kind::OneOf(&["us", "ms", "s"])),
            ("time_format", Kind::Text),
            ("fields", Kind::Paths),
        ],
    ),
    (
        "retention",
        &[
            ("calls", Kind::Text),
            ("denied", Kind::Text),
            ("findings", Kind::Text),
            ("evidence", Kind::Text),
            ("statistics_minute", Kind::Text),
            ("statistics_hour", Kind::Text),
            ("statistics_day", Kind::Text),
            (super::retention::EVERY, Kind::Text),
        ],
    ),
    ("blind", &[("source", Kind::Text), ("from", Kind::Time), ("to", Kind::Time)]),
];

/// Every key of the file is known, and holds what it may hold.
pub(super) fn check_keys(place: &Place<'_>, path: &str, table: &DeTable<'_>) -> Result<(), RulesError> {
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
        if *kind == Kind::Paths
            && let Some(paths) = value.get_ref().as_table()
        {
            check_paths(place, paths)?;
            continue;
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

fn check_paths(place: &Place<'_>, paths: &DeTable<'_>) -> Result<(), RulesError> {
    for (key, value) in paths {
        let name: &str = key.get_ref();
        if !FIELDS.contains(&name) {
            let nearest = nearest(name, FIELDS.iter().copied()).unwrap_or_default();
            let what = format!(
                "[formats.fields] names {name:?}, which is no field of ours; the nearest one is {nearest:?}"
            );
            return Err(place.error(Some(key.span()), what));
        }
        if !Kind::Text.holds(value.get_ref()) {
            let what = format!(
                "{name} of [formats.fields] must be the path of a field in quotes, as \"req.method\""
            );
            return Err(place.error(Some(value.span()), what));
        }
    }
    Ok(())
}
