//! The HTTP query API: one file per resource, DTOs apart, errors in one table. Knows no SQL and decides nothing about calls.

pub mod auth;
mod calls;
mod cursor;
pub mod dto;
pub mod dto_history;
mod dto_leg;
mod dto_sources;
pub mod dto_stats;
pub mod dto_why;
pub mod error;
mod findings;
mod grafana;
mod grafana_params;
mod grafana_rows;
mod health;
pub mod history;
mod index;
pub mod lookup;
pub mod params;
mod rejects;
pub mod sources;
pub mod stats;
mod traces;
pub mod why;

use crate::correlate::Rules;
use crate::model::{Clock, Timestamp};
use crate::store::Store;
use crate::telemetry::{Metrics, names};
use auth::{Gate, Need, presented};
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderMap;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use error::ApiError;
use std::sync::Arc;
use std::time::Instant;
use tracing::Instrument;

/// What every handler may use; cheap to clone.
#[derive(Clone)]
pub struct Context {
    pub store: Store,
    pub gate: Arc<Gate>,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<dyn Clock>,
    /// Those of the join, to explain it by.
    pub rules: Arc<Rules>,
}

impl Context {
    async fn may_read(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        self.gate.check(headers, presented(headers, None)?.as_deref(), Need::Read).await
    }

    /// True when everything that had been accepted before this question has been joined.
    async fn complete(&self) -> Result<bool, ApiError> {
        let totals = self.store.totals().await?;
        Ok(totals.position >= totals.deliveries)
    }

    fn as_of(&self, asked: Option<Timestamp>) -> Timestamp {
        asked.unwrap_or_else(|| self.clock.now())
    }
}

/// The paths, for the page at `/` and for errors.
const PATHS: &[&str] = &[
    "/ingest/NAME",
    "/v1/calls",
    "/v1/calls/ID",
    "/v1/calls/ID/evidence",
    "/v1/calls/ID/why",
    "/v1/calls/ID/history",
    "/v1/traces/ID",
    "/v1/findings",
    "/v1/rejects",
    "/v1/sources",
    "/v1/stats",
    "/api/grafana/calls",
    "/api/grafana/series",
    "/api/grafana/durations",
    "/api/grafana/summary",
    "/api/grafana/top",
    "/api/grafana/findings",
    "/api/grafana/values/FIELD",
    "/healthz",
    "/readyz",
    "/metrics",
];

/// Everything that reads, with `uploads` merged in, so that one table of paths, one log and one count serve both.
pub fn router(context: Context, uploads: Router) -> Router {
    let reading = Router::new()
        .route("/v1/calls", get(calls::list))
        .route("/v1/calls/{id}", get(calls::one))
        .route("/v1/calls/{id}/evidence", get(calls::evidence))
        .route("/v1/calls/{id}/why", get(why::one))
        .route("/v1/calls/{id}/history", get(history::one))
        .route("/v1/traces/{id}", get(traces::one))
        .route("/v1/findings", get(findings::list))
        .route("/v1/rejects", get(rejects::list))
        .route("/v1/sources", get(sources::list))
        .route("/v1/stats", get(stats::list))
        .route("/api/grafana/calls", get(grafana::calls))
        .route("/api/grafana/series", get(grafana::series))
        .route("/api/grafana/durations", get(grafana::durations))
        .route("/api/grafana/summary", get(grafana::summary))
        .route("/api/grafana/top", get(grafana::top))
        .route("/api/grafana/findings", get(grafana::findings))
        .route("/api/grafana/values/{field}", get(grafana::values))
        .route_layer(middleware::from_fn_with_state(context.clone(), readers_only));
    let open = Router::new()
        .route("/", get(index::page))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics));
    let metrics = context.metrics.clone();
    reading
        .merge(open)
        .with_state(context)
        .merge(uploads)
        .fallback(index::unknown_path)
        .method_not_allowed_fallback(index::wrong_method)
        .layer(middleware::from_fn_with_state(metrics, observe))
}

async fn readers_only(
    State(context): State<Context>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    context.may_read(&headers).await?;
    Ok(next.run(request).await)
}

/// One span and one count per request. The query is left out of both: it may hold a token.
async fn observe(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let route =
        request.extensions().get::<MatchedPath>().map_or(names::NO_ROUTE, MatchedPath::as_str).to_owned();
    // A method is free text: only those that HTTP names become a label.
    let method = match request.method().as_str() {
        m @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS" | "PATCH") => m.to_owned(),
        _ => "other".to_owned(),
    };
    let span = tracing::info_span!("request", %method, route, path = request.uri().path());
    let began = Instant::now();
    async move {
        let response = next.run(request).await;
        let (status, took) = (response.status().as_u16(), began.elapsed());
        metrics.answered(&route, &method, status, took);
        tracing::debug!(status, duration_us = took.as_micros() as u64, "answered");
        response
    }
    .instrument(span)
    .await
}
