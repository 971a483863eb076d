//! `GET /v1/rejects`: lines that are kept as evidence and could not be read, newest first.

use super::Context;
use super::dto::RejectsPage;
use super::error::ApiError;
use super::params::{self, Params};
use axum::Json;
use axum::extract::{RawQuery, State};

pub async fn list(
    State(context): State<Context>,
    RawQuery(query): RawQuery,
) -> Result<Json<RejectsPage>, ApiError> {
    let limit = Params::parse(query.as_deref(), params::REJECTS)?.limit()?;
    let complete = context.complete().await?;
    let rejects = context.store.rejects(limit).await?;
    let rejects = rejects.iter().map(Into::into).collect();
    Ok(Json(RejectsPage { rejects, complete, as_of: context.clock.now().to_string() }))
}
