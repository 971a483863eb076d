//! Sources and the findings on them as JSON. As in [`dto`](super::dto), fields are added, never renamed, and nothing is decided.

use crate::correlate::sources::interval;
use crate::decode::needs;
use crate::model::source::{CoverageOf, ObserverRecord, Source, Sources};
use crate::model::{Removed, RetentionClass, SourceFinding};
use serde::{Deserialize, Serialize};

/// A finding on a source, or on somebody whose lines it carries. `to` is `null` while it lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFindingDto {
    pub kind: String,
    pub severity: String,
    pub sentence: String,
    pub from: String,
    pub to: Option<String>,
    /// Empty where no line has ever come.
    pub sources: Vec<String>,
    /// SPIFFE id or kind and name of a party, with `@HOST:PORT` of one instance; `null`: the source as a whole.
    pub observer: Option<String>,
}

/// Of so many calls so many were reported; and where the share lies with 95 % certainty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShareDto {
    pub expected: i64,
    pub seen: i64,
    pub share: f64,
    pub low: f64,
    pub high: f64,
}

/// Over the 24 hours that end with `until`, the last hour that says anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CoverageDto {
    pub until: String,
    /// Of the calls that others made to it.
    pub inbound: Option<ShareDto>,
    /// Of the calls that others received from it, over connections that it is known to hold.
    pub outbound: Option<ShareDto>,
}

/// A program whose lines the source carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReporterDto {
    pub kind: String,
    pub name: String,
    /// The workload that its lines call their own: SPIFFE id, or kind and name.
    pub identity: String,
    pub legs: i64,
    pub first_received: String,
    pub last_received: String,
    /// Of the workload, all instances together; `null` where nobody has told anything to measure it by.
    pub coverage: Option<CoverageDto>,
    /// Fields that the join needs and that the format of a proxy does not print; `null` for what is no proxy.
    pub format_lacks: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceDto {
    pub name: String,
    pub deliveries: i64,
    pub lines: i64,
    pub rejects: i64,
    pub first_received: String,
    pub last_received: String,
    pub observers: Vec<ReporterDto>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourcesPage {
    pub sources: Vec<SourceDto>,
    pub findings: Vec<SourceFindingDto>,
    /// What has been removed, by class, so that nobody takes it for what never was.
    #[serde(default)]
    pub removed: Vec<RemovedDto>,
    pub complete: bool,
    pub as_of: String,
}

/// How far a class has been removed: `evidence`, `calls`, `denied`, `findings`, `statistics_minute`, `statistics_hour` or
/// `statistics_day`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedDto {
    pub class: String,
    /// What is older may be gone.
    pub before: String,
    /// Of evidence: the lines of this delivery and of all before it are gone; else `null`.
    pub through_delivery: Option<u64>,
}

impl From<&Removed> for RemovedDto {
    fn from(removed: &Removed) -> Self {
        RemovedDto {
            class: removed.class.to_string(),
            before: removed.before.to_string(),
            through_delivery: (removed.class == RetentionClass::Evidence).then_some(removed.through_delivery),
        }
    }
}

impl From<&SourceFinding> for SourceFindingDto {
    fn from(f: &SourceFinding) -> Self {
        SourceFindingDto {
            kind: f.kind.to_string(),
            severity: f.severity.to_string(),
            sentence: f.sentence.clone(),
            from: f.from.to_string(),
            to: f.to.map(|t| t.to_string()),
            sources: f.sources.clone(),
            observer: f.observer.clone(),
        }
    }
}

impl ShareDto {
    fn new(seen: i64, expected: i64) -> Option<Self> {
        let (low, high) = interval(seen, expected);
        let share = seen as f64 / expected as f64;
        let rounded = |share: f64| (share * 1e4).round() / 1e4;
        let told = ShareDto { expected, seen, share: rounded(share), low: rounded(low), high: rounded(high) };
        (expected > 0).then_some(told)
    }
}

impl From<&CoverageOf> for CoverageDto {
    fn from(c: &CoverageOf) -> Self {
        CoverageDto {
            until: c.hour.plus_us(3_600_000_000).to_string(),
            inbound: ShareDto::new(c.inbound_seen, c.inbound_expected),
            outbound: ShareDto::new(c.outbound_seen, c.outbound_expected),
        }
    }
}

/// Every source with those whose lines it carries.
pub fn sources(known: &Sources) -> Vec<SourceDto> {
    let observers = |source: &Source| {
        let own = known.observers.iter().filter(|o| o.source == source.name);
        own.map(|o| reporter(o, known)).collect()
    };
    let dto = |source: &Source| SourceDto {
        name: source.name.clone(),
        deliveries: source.deliveries,
        lines: source.lines,
        rejects: source.rejects,
        first_received: source.first_received.to_string(),
        last_received: source.last_received.to_string(),
        observers: observers(source),
    };
    known.sources.iter().map(dto).collect()
}

fn reporter(observer: &ObserverRecord, known: &Sources) -> ReporterDto {
    use crate::model::ObserverKind::{Gateway, Sidecar, Worker};
    let measured_as = if observer.kind == Worker { "edge" } else { observer.identity.as_str() };
    let measured = matches!(observer.kind, Worker | Gateway | Sidecar);
    let coverage = known.coverage.iter().find(|c| measured && c.observer == measured_as);
    let lacks = observer.format.map(|format| needs::missing(format.fields));
    ReporterDto {
        kind: observer.kind.to_string(),
        name: observer.name.clone(),
        identity: observer.identity.clone(),
        legs: observer.legs,
        first_received: observer.first_received.to_string(),
        last_received: observer.last_received.to_string(),
        coverage: coverage.map(Into::into),
        format_lacks: lacks.map(|lacks| lacks.into_iter().map(str::to_owned).collect()),
    }
}
