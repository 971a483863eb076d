//! The explanation of a call as JSON. Names are the words of `docs/api.md`; each sentence can be read alone.
//!
//! It refuses to judge: what stands here was said by [`crate::correlate::why`], in its order.

use super::dto::{CallDto, IdentityDto, ObserverDto, PrincipalDto};
use crate::correlate::why::{
    Evidence, Field, FindingWhy, OtherParent, PairWhy, ParentWhy, RowPair, RunnerUp, Step, Weight, Why,
};
use crate::model::{Call, CallId, Leg, LegId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Why one call was joined as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WhyDto {
    /// As joined under the rules at hand, without its legs.
    pub call: CallDto,
    /// Every leg that is named below, the call's own first.
    pub legs: Vec<LegRefDto>,
    pub basis: BasisDto,
    pub pairs: Vec<PairDto>,
    /// Where order decided: the rows, as they were paired.
    pub row: Vec<RowPairDto>,
    /// For each leg of the call, what else it was held against.
    pub alternatives: Vec<AlternativesDto>,
    pub parent: ParentDto,
    /// From the decision at the edge down to this call.
    pub principal: Vec<StepDto>,
    pub findings: Vec<FindingWhyDto>,
    /// Said when the stored call is another than the rules at hand give.
    pub note: Option<String>,
    pub complete: bool,
    pub as_of: String,
}

/// A leg, as much of it as tells it from others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegRefDto {
    pub id: String,
    pub call_id: String,
    pub side: String,
    pub observer: ObserverDto,
    pub start: String,
    pub duration_us: Option<i64>,
    pub status: Option<u16>,
    pub source: String,
    pub delivery: u64,
    pub line: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BasisDto {
    pub basis: String,
    pub confidence: f64,
    pub ambiguous: u32,
    /// `hop`, `connection`, `request_id`, `order`, `trace`, `subrequest`, `ray`, `likeness` or `nothing`.
    pub by: String,
    pub sentence: String,
    /// Why it is no surer; `null` where it cannot be.
    pub not_stronger: Option<String>,
}

/// One thing that the two lines say about each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceItemDto {
    pub kind: String,
    /// `decisive`, `strong`, `supporting`; `explained`, `doubtful`, `excluding`; `silent`.
    pub weight: String,
    /// As the client's line says it, and as the server's does.
    pub client: Option<String>,
    pub server: Option<String>,
    pub sentence: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairDto {
    /// Leg ids.
    pub client: String,
    pub server: String,
    #[serde(flatten)]
    pub said: SaidDto,
}

/// One place of two rows of like requests. A line that found no partner stands alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowPairDto {
    pub client: Option<RowLegDto>,
    pub server: Option<RowLegDto>,
    /// By how much the server's part sticks out of the client's, microseconds; `null` without a pair.
    pub outside_us: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowLegDto {
    pub leg: String,
    pub start: String,
    pub duration_us: Option<i64>,
    pub status: Option<u16>,
}

/// Evidence sorted by where it points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaidDto {
    #[serde(rename = "for")]
    pub in_favour: Vec<EvidenceItemDto>,
    pub against: Vec<EvidenceItemDto>,
    /// Said by one line alone, or by none.
    pub not_said: Vec<EvidenceItemDto>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlternativesDto {
    /// The leg of the call.
    pub of: String,
    /// How many other legs could have been paired with it by their own words.
    pub fitting: usize,
    /// How many share something with it and cannot, by what excludes them.
    pub excluded: BTreeMap<String, usize>,
    pub runner_up: Option<RunnerUpDto>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerUpDto {
    pub leg: String,
    /// The leg of the call that it would have stood in for.
    pub instead_of: Option<String>,
    pub decided_by: String,
    pub sentence: String,
    #[serde(flatten)]
    pub said: SaidDto,
}

/// A call, as much of it as a person needs to know which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRefDto {
    pub id: String,
    pub caller: IdentityDto,
    pub callee: IdentityDto,
    pub method: Option<String>,
    pub path: Option<String>,
    pub protocol: String,
    pub start: String,
    pub duration_us: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentDto {
    /// `told`, `parent_span`, `ray`, `header`, `parent_hop`, `service`, `callee`, `inferred` or `none`.
    pub how: String,
    pub call: Option<CallRefDto>,
    pub sentence: String,
    /// How many other calls came near, and the nearest of them.
    pub others: usize,
    pub runners_up: Vec<OtherParentDto>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherParentDto {
    pub call: CallRefDto,
    pub decided_by: String,
    pub sentence: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepDto {
    pub call: CallRefDto,
    pub principal: Option<PrincipalDto>,
    pub sentence: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingWhyDto {
    pub kind: String,
    pub severity: String,
    pub sentence: String,
    /// Whether it counts at `as_of`; one about something missing waits, and needs an observer that reports well.
    pub holds: bool,
    /// Why it does or does not count, where that depends on an observer.
    pub counts: Option<String>,
    pub raised_at: String,
    pub evidence: Vec<String>,
    /// What the lines tell besides.
    pub also: Vec<String>,
    pub withdrawn_by: String,
}

impl WhyDto {
    /// `holding`: what of the findings holds at `as_of`. `counts`: what is known of the observers that should have reported.
    pub fn new(why: &Why, holding: &Call, counts: &BTreeMap<String, String>, as_of: Timestamp) -> Self {
        WhyDto {
            call: CallDto::without_legs(
                &Call { findings: holding.findings.clone(), ..why.call.clone() },
                as_of,
            ),
            legs: legs(why),
            basis: BasisDto {
                basis: why.call.basis.to_string(),
                confidence: f64::from(why.call.confidence_ppm) / 1e6,
                ambiguous: why.call.ambiguous,
                by: why.basis.by.to_string(),
                sentence: why.basis.sentence.clone(),
                not_stronger: why.basis.not_stronger.clone(),
            },
            pairs: why.pairs.iter().map(Into::into).collect(),
            row: why.row.iter().map(Into::into).collect(),
            alternatives: why.fields.iter().map(Into::into).collect(),
            parent: (&why.parent).into(),
            principal: why.principal.iter().map(Into::into).collect(),
            findings: why.findings.iter().map(|f| finding(f, holding, counts)).collect(),
            note: None,
            complete: true,
            as_of: as_of.to_string(),
        }
    }
}

/// The call's own legs, then those of the runners-up, each once.
fn legs(why: &Why) -> Vec<LegRefDto> {
    let own = why.call.legs.iter().map(|l| (l, why.call.id));
    let others = why.fields.iter().filter_map(|f| f.best.as_ref()).map(|r| (&r.leg, r.call));
    let mut seen: BTreeSet<LegId> = BTreeSet::new();
    own.chain(others).filter(|(l, _)| seen.insert(l.id)).map(|(l, call)| leg(l, call)).collect()
}

fn leg(leg: &Leg, call: CallId) -> LegRefDto {
    LegRefDto {
        id: leg.id.to_string(),
        call_id: call.to_string(),
        side: leg.side.to_string(),
        observer: ObserverDto { kind: leg.observer.kind.to_string(), name: leg.observer.name.clone() },
        start: leg.start.to_string(),
        duration_us: leg.duration_us,
        status: leg.status,
        source: leg.line.source.to_string(),
        delivery: leg.line.delivery,
        line: leg.line.line,
    }
}

fn finding(why: &FindingWhy, holding: &Call, counts: &BTreeMap<String, String>) -> FindingWhyDto {
    let f = &why.finding;
    FindingWhyDto {
        kind: f.kind.to_string(),
        severity: f.severity.to_string(),
        sentence: f.sentence.clone(),
        holds: holding.findings.contains(f),
        counts: f.absent_observer.as_ref().and_then(|o| counts.get(o)).cloned(),
        raised_at: f.raised_at.to_string(),
        evidence: why.evidence.iter().map(|l| l.id.to_string()).collect(),
        also: why.also.clone(),
        withdrawn_by: why.withdrawn_by.clone(),
    }
}

impl From<&Evidence> for EvidenceItemDto {
    fn from(e: &Evidence) -> Self {
        EvidenceItemDto {
            kind: e.kind.to_string(),
            weight: e.weight.to_string(),
            client: e.client.clone(),
            server: e.server.clone(),
            sentence: e.sentence.clone(),
        }
    }
}

fn said(evidence: &[Evidence]) -> SaidDto {
    let those = |wanted: &dyn Fn(&Evidence) -> bool| {
        evidence.iter().filter(|e| wanted(e)).map(EvidenceItemDto::from).collect()
    };
    SaidDto {
        in_favour: those(&Evidence::is_for),
        against: those(&Evidence::is_against),
        not_said: those(&|e| e.weight == Weight::Silent),
    }
}

impl From<&PairWhy> for PairDto {
    fn from(pair: &PairWhy) -> Self {
        PairDto {
            client: pair.client.to_string(),
            server: pair.server.to_string(),
            said: said(&pair.evidence),
        }
    }
}

impl From<&RowPair> for RowPairDto {
    fn from(pair: &RowPair) -> Self {
        let leg = |l: &Leg| RowLegDto {
            leg: l.id.to_string(),
            start: l.start.to_string(),
            duration_us: l.duration_us,
            status: l.status,
        };
        RowPairDto {
            client: pair.client.as_ref().map(leg),
            server: pair.server.as_ref().map(leg),
            outside_us: pair.outside_us,
        }
    }
}

impl From<&Field> for AlternativesDto {
    fn from(field: &Field) -> Self {
        AlternativesDto {
            of: field.of.to_string(),
            fitting: field.fitting,
            excluded: field.excluded.iter().map(|(kind, n)| (kind.to_string(), *n)).collect(),
            runner_up: field.best.as_ref().map(Into::into),
        }
    }
}

impl From<&RunnerUp> for RunnerUpDto {
    fn from(r: &RunnerUp) -> Self {
        RunnerUpDto {
            leg: r.leg.id.to_string(),
            instead_of: r.instead_of.map(|id| id.to_string()),
            decided_by: r.decided_by.to_string(),
            sentence: r.sentence.clone(),
            said: said(&r.evidence),
        }
    }
}

impl From<&Call> for CallRefDto {
    fn from(call: &Call) -> Self {
        CallRefDto {
            id: call.id.to_string(),
            caller: (&call.caller).into(),
            callee: (&call.callee).into(),
            method: call.method.clone(),
            path: call.path.clone(),
            protocol: call.protocol.to_string(),
            start: call.start.to_string(),
            duration_us: call.outcome.duration_us,
        }
    }
}

impl From<&ParentWhy> for ParentDto {
    fn from(p: &ParentWhy) -> Self {
        ParentDto {
            how: p.how.to_string(),
            call: p.parent.as_ref().map(Into::into),
            sentence: p.sentence.clone(),
            others: p.others,
            runners_up: p.runners_up.iter().map(Into::into).collect(),
        }
    }
}

impl From<&OtherParent> for OtherParentDto {
    fn from(o: &OtherParent) -> Self {
        OtherParentDto {
            call: (&o.call).into(),
            decided_by: o.decided_by.to_owned(),
            sentence: o.sentence.clone(),
        }
    }
}

impl From<&Step> for StepDto {
    fn from(step: &Step) -> Self {
        StepDto {
            call: (&step.call).into(),
            principal: step.principal.as_ref().map(Into::into),
            sentence: step.sentence.clone(),
        }
    }
}
