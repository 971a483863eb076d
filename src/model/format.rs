//! [`CustomFormat`]: what an operator says about access-log lines that are written in nobody's format but his own.
//!
//! Plain data: `config` checks it, `decode` applies it.

use std::collections::BTreeMap;

/// How a format is recognised, and where in a line each of our fields stands. Paths name a field of the line, with dots into
/// objects: `upstream.cluster`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CustomFormat {
    pub name: String,
    /// Lines of this source only.
    pub source: Option<String>,
    /// Lines that have this field only.
    pub has: Option<String>,
    /// ... and in it this text.
    pub equals: Option<String>,
    pub duration_unit: DurationUnit,
    /// In the words of strftime, where the line's times are neither RFC 3339 nor numbers since 1970; without a zone they are UTC.
    pub time_format: Option<String>,
    /// Our field to the path at which it stands. What is not named is not read.
    pub fields: BTreeMap<String, String>,
}

/// What the number of a duration counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DurationUnit {
    Microseconds,
    #[default]
    Milliseconds,
    Seconds,
}

impl DurationUnit {
    pub fn microseconds(self) -> f64 {
        match self {
            DurationUnit::Microseconds => 1.0,
            DurationUnit::Milliseconds => 1e3,
            DurationUnit::Seconds => 1e6,
        }
    }

    /// As it is written in the rules file.
    pub fn as_str(self) -> &'static str {
        match self {
            DurationUnit::Microseconds => "us",
            DurationUnit::Milliseconds => "ms",
            DurationUnit::Seconds => "s",
        }
    }
}
