//! `GET /v1/findings`: what holds at `as_of`, newest first, with the call that each is on; and those on sources.

use super::Context;
use super::cursor::PageCursor;
use super::dto::FindingsPage;
use super::error::ApiError;
use super::params::{self, Params};
use super::sources;
use crate::store::Order;
use axum::Json;
use axum::extract::{RawQuery, State};

pub async fn list(
    State(context): State<Context>,
    RawQuery(query): RawQuery,
) -> Result<Json<FindingsPage>, ApiError> {
    let params = Params::parse(query.as_deref(), params::FINDINGS)?;
    let (filter, limit) = (params.finding_filter()?, params.limit()?);
    let cursor = params.get("cursor").map(PageCursor::decode).transpose()?;
    let as_of = match cursor {
        Some(cursor) => cursor.as_of,
        None => context.as_of(params.as_of()?),
    };
    let complete = context.complete().await?;
    let page = context.store.findings(&filter, as_of, cursor.map(|c| c.at), limit).await?;
    let next = page.next.map(|at| PageCursor { order: Order::NewestFirst, as_of, at }.encode());
    let source_findings = match cursor.is_none() && sources::asked_for(&filter) {
        true => sources::matching(&context.store.sources(as_of).await?, &filter, as_of),
        false => Vec::new(),
    };
    let findings = page.rows.iter().map(Into::into).collect();
    Ok(Json(FindingsPage { findings, source_findings, next, complete, as_of: as_of.to_string() }))
}
