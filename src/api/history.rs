//! `GET /v1/calls/{id}/history`: what was believed of a call when.

use super::Context;
use super::dto_history::HistoryDto;
use super::error::ApiError;
use super::lookup;
use super::params::{self, Params};
use super::why::one_call;
use crate::correlate::Rules;
use crate::correlate::why;
use crate::model::{LegId, Timestamp};
use crate::store::Store;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};

pub async fn one(
    State(context): State<Context>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<HistoryDto>, ApiError> {
    let params = Params::parse(query.as_deref(), params::ONE)?;
    let as_of = context.as_of(params.as_of()?);
    let complete = context.complete().await?;
    let answer = answer(&context.store, &context.rules, &lookup::text(id), as_of).await?;
    Ok(Json(HistoryDto { complete, ..answer }))
}

/// The past of the one call that carries the id, as far as `as_of`.
pub async fn answer(
    store: &Store,
    rules: &Rules,
    id: &str,
    as_of: Timestamp,
) -> Result<HistoryDto, ApiError> {
    let (call, superseded) = one_call(store, id, as_of).await?;
    let ids: Vec<LegId> = call.legs.iter().map(|leg| leg.id).collect();
    let journal = store.journal(&ids).await?;
    let history = why::history(&call, &journal, rules, as_of);
    let dto = HistoryDto::new(&call, &history, as_of);
    Ok(HistoryDto { superseded_by: superseded.then(|| dto.call_id.clone()), ..dto })
}
