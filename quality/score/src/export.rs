//! Of exported calls, what is judged: the fields of `calltrail export calls` that the measure reads, or the same filled in by whoever
//! joined in memory.

use crate::truth::LineHash;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[derive(Debug, Clone, Deserialize)]
pub struct Exported {
    pub id: String,
    pub parent_id: Option<String>,
    #[serde(default)]
    pub parent_inferred: bool,
    pub principal: Option<ExportedPrincipal>,
    /// `proven`, `keyed`, `inferred`, `single`.
    #[serde(default)]
    pub basis: String,
    /// 0 to 1.
    #[serde(default)]
    pub confidence: f64,
    #[serde(default)]
    pub ambiguous: u32,
    #[serde(default)]
    pub protocol: String,
    pub legs: Vec<ExportedLeg>,
    pub findings: Vec<ExportedFinding>,
    /// Findings that the lines raise and that are kept back because no line measures how completely whoever should have told reports.
    /// An export does not tell of them.
    #[serde(default)]
    pub unmeasured: Vec<ExportedFinding>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct ExportedPrincipal {
    pub subject: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct ExportedFinding {
    pub kind: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct ExportedLeg {
    pub line_sha256: LineHash,
    pub span_id: Option<String>,
    #[serde(default)]
    pub side: Option<Side>,
    #[serde(default)]
    pub hop: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Client,
    Server,
}

/// Which of truth's labels a finding may stand for.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    by_finding: Option<BTreeMap<String, BTreeSet<String>>>,
}

impl Labels {
    /// Truth speaks of findings by their own names.
    pub fn own_names() -> Self {
        Labels::default()
    }

    /// Finding to labels. Empty: the finding has nothing to do with truth's list.
    pub fn new(by_finding: BTreeMap<String, BTreeSet<String>>) -> Self {
        Labels { by_finding: Some(by_finding) }
    }

    pub fn load(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Labels::new(
            serde_json::from_str(&text)
                .with_context(|| format!("{} must be a map of finding to labels", path.display()))?,
        ))
    }

    /// # Panics
    /// On a finding that the map does not list: the map must be completed, or the finding would silently not be judged.
    pub fn stand_for(&self, finding: &str) -> BTreeSet<String> {
        match &self.by_finding {
            None => [finding.to_owned()].into(),
            Some(map) => map
                .get(finding)
                .unwrap_or_else(|| panic!("the map of labels does not list {finding}"))
                .clone(),
        }
    }
}

/// Reads an export: one call per line.
pub fn load(path: &Path) -> Result<Vec<Exported>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

pub fn parse(ndjson: &str) -> Result<Vec<Exported>> {
    let parse = |(n, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("line {} is no exported call", n + 1))
    };
    ndjson.lines().filter(|l| !l.trim().is_empty()).enumerate().map(parse).collect()
}
