//! `/healthz` (the process answers), `/readyz` (the database answers, and how far the join is behind), `/metrics`.

use super::Context;
use super::error::ApiError;
use crate::telemetry::Held;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

#[derive(Serialize)]
pub struct Ready {
    status: &'static str,
    deliveries: u64,
    position: u64,
    lag_deliveries: u64,
}

pub async fn alive() -> &'static str {
    "ok\n"
}

/// A join that is behind is told and does not make the server unready: uploads are accepted all the same.
pub async fn ready(State(context): State<Context>) -> Result<Json<Ready>, ApiError> {
    context.store.ping().await?;
    let totals = context.store.totals().await?;
    Ok(Json(Ready {
        status: "ready",
        deliveries: totals.deliveries,
        position: totals.position,
        lag_deliveries: totals.deliveries.saturating_sub(totals.position),
    }))
}

pub async fn metrics(State(context): State<Context>, headers: HeaderMap) -> Result<Response, ApiError> {
    context.may_read(&headers).await?;
    let totals = context.store.totals().await?;
    let text = context.metrics.scrape(&Held {
        deliveries: totals.deliveries,
        lines: totals.lines,
        calls: totals.calls,
        findings: totals.findings,
        rejects: totals.rejects,
        position: totals.position,
    });
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}
