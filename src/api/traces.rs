//! `GET /v1/traces/{id}`: the calls of a trace in the order of its tree.

use super::Context;
use super::dto::{TraceDto, tree};
use super::error::ApiError;
use super::lookup::{self, MOST_CALLS};
use super::params::{self, Params};
use crate::model::TraceId;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};

pub async fn one(
    State(context): State<Context>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<TraceDto>, ApiError> {
    let params = Params::parse(query.as_deref(), params::ONE)?;
    let trace_id =
        TraceId::parse(&lookup::text(id)).map_err(|error| ApiError::BadParameter(error.to_string()))?;
    let as_of = context.as_of(params.as_of()?);
    let complete = context.complete().await?;
    let page = context.store.trace(&trace_id, as_of, MOST_CALLS).await?;
    if page.rows.is_empty() {
        let what = format!(
            "no call of trace {trace_id} is known; calls without a trace id are found under /v1/calls"
        );
        return Err(ApiError::NotFound(what));
    }
    let (calls, complete) = (tree(&page.rows, as_of), complete && page.next.is_none());
    Ok(Json(TraceDto { trace_id: trace_id.to_string(), calls, complete, as_of: as_of.to_string() }))
}
