//! `GET /v1/sources`: who sends, how much, how completely, and what is wrong with that; and which of these findings a question about
//! findings asks for.

use super::Context;
use super::dto_sources::{SourceFindingDto, SourcesPage, sources};
use super::error::ApiError;
use super::params::{self, Params};
use crate::correlate::sources::findings;
use crate::decode::needs;
use crate::model::source::Sources;
use crate::model::{FindingFilter, Removed, SourceFinding, Timestamp};
use axum::Json;
use axum::extract::{RawQuery, State};

pub async fn list(
    State(context): State<Context>,
    RawQuery(query): RawQuery,
) -> Result<Json<SourcesPage>, ApiError> {
    let as_of = context.as_of(Params::parse(query.as_deref(), params::ONE)?.as_of()?);
    let complete = context.complete().await?;
    let known = context.store.sources(as_of).await?;
    Ok(Json(page(&known, &context.store.removed().await?, as_of, complete)))
}

pub fn page(known: &Sources, removed: &[Removed], as_of: Timestamp, complete: bool) -> SourcesPage {
    let findings = matching(known, &FindingFilter::default(), as_of);
    let removed = removed.iter().map(Into::into).collect();
    SourcesPage { sources: sources(known), findings, removed, complete, as_of: as_of.to_string() }
}

/// The findings on sources that hold and match: by kind, by severity, and by the period that they speak of. None is on a callee.
pub fn matching(known: &Sources, filter: &FindingFilter, as_of: Timestamp) -> Vec<SourceFindingDto> {
    let matches = |f: &&SourceFinding| {
        filter.kind.is_none_or(|kind| kind == f.kind)
            && filter.severity.is_none_or(|severity| severity == f.severity)
            && filter.from.is_none_or(|from| f.to.is_none_or(|to| to > from))
            && filter.to.is_none_or(|to| f.from < to)
            && filter.callee.is_none()
    };
    findings(known, as_of, needs::missing).iter().filter(matches).map(Into::into).collect()
}

/// Whether a question about findings can have any of these as its answer: else nothing needs to be read.
pub fn asked_for(filter: &FindingFilter) -> bool {
    filter.callee.is_none() && filter.kind.is_none_or(|kind| kind.is_on_source())
}
