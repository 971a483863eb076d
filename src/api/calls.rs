//! `GET /v1/calls`, `GET /v1/calls/{any id}` and the raw lines behind a call.

use super::Context;
use super::cursor::PageCursor;
use super::dto::{CallDto, CallMatches, CallsPage, EvidenceDto, EvidenceLine};
use super::error::ApiError;
use super::lookup::{self, Found};
use super::params::{self, Params};
use crate::model::{Call, LineRef};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;

pub async fn list(
    State(context): State<Context>,
    RawQuery(query): RawQuery,
) -> Result<Json<CallsPage>, ApiError> {
    let params = Params::parse(query.as_deref(), params::CALLS)?;
    let (filter, limit, legs) = (params.call_filter()?, params.limit()?, params.flag("legs")?);
    let cursor = params.get("cursor").map(PageCursor::decode).transpose()?;
    let (order, as_of) = match cursor {
        Some(cursor) => (cursor.order, cursor.as_of),
        None => (params.order()?, context.as_of(params.as_of()?)),
    };
    let complete = context.complete().await?;
    let page = context.store.calls(&filter, as_of, order, cursor.map(|c| c.at), limit).await?;
    let dto = |call| if legs { CallDto::new(call, as_of) } else { CallDto::without_legs(call, as_of) };
    Ok(Json(CallsPage {
        calls: page.rows.iter().map(dto).collect(),
        next: page.next.map(|at| PageCursor { order, as_of, at }.encode()),
        complete,
        removed_before: context.store.bygone().await?.calls_before.map(|time| time.to_string()),
        as_of: as_of.to_string(),
    }))
}

pub async fn one(
    State(context): State<Context>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let params = Params::parse(query.as_deref(), params::ONE)?;
    let as_of = context.as_of(params.as_of()?);
    let complete = context.complete().await?;
    let found = lookup::find(&context.store, &lookup::text(id), as_of).await?;
    Ok(match found {
        Found::One { call, superseded } => {
            let superseded_by = superseded.then(|| call.id.to_string());
            Json(CallDto { superseded_by, ..CallDto::new(&call, as_of) }).into_response()
        }
        Found::Several { calls, more } => {
            let note = format!("{} carry this id; ask for one of them by its own id", counted(&calls, more));
            let calls = calls.iter().map(|c| CallDto::without_legs(c, as_of)).collect();
            let complete = complete && !more;
            Json(CallMatches { calls, note, as_of: as_of.to_string(), complete }).into_response()
        }
    })
}

pub async fn evidence(
    State(context): State<Context>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<EvidenceDto>, ApiError> {
    let params = Params::parse(query.as_deref(), params::ONE)?;
    let call = match lookup::find(&context.store, &lookup::text(id), context.as_of(params.as_of()?)).await? {
        Found::One { call, .. } => call,
        Found::Several { calls, more } => {
            let ids: Vec<String> = calls.iter().take(5).map(|c| c.id.to_string()).collect();
            let what = format!(
                "{} carry this id; ask for the evidence of one of them: {}",
                counted(&calls, more),
                ids.join(", ")
            );
            return Err(ApiError::BadParameter(what));
        }
    };
    let (mut lines, asked) = (Vec::new(), lines_of(&call));
    let all = asked.len();
    for (reference, leg_ids) in asked {
        let raw = context.store.raw_line(reference.delivery, reference.line).await?;
        lines.extend(raw.map(|raw| evidence_line(reference, leg_ids, raw)));
    }
    let removed_lines = all - lines.len();
    Ok(Json(EvidenceDto { call_id: call.id.to_string(), lines, removed_lines }))
}

fn counted(calls: &[Call], more: bool) -> String {
    format!("{}{} calls", if more { "more than " } else { "" }, calls.len())
}

/// Each line once: a Worker's event or a gateway's line yields several legs.
fn lines_of(call: &Call) -> BTreeMap<&LineRef, Vec<String>> {
    let mut lines: BTreeMap<&LineRef, Vec<String>> = BTreeMap::new();
    for leg in &call.legs {
        lines.entry(&leg.line).or_default().push(leg.id.to_string());
    }
    lines
}

fn evidence_line(reference: &LineRef, leg_ids: Vec<String>, raw: Vec<u8>) -> EvidenceLine {
    let (text, base64) = match String::from_utf8(raw) {
        Ok(text) => (Some(text), None),
        Err(error) => (None, Some(STANDARD.encode(error.as_bytes()))),
    };
    EvidenceLine {
        leg_ids,
        source: reference.source.to_string(),
        delivery: reference.delivery,
        line: reference.line,
        received_at: reference.received_at.to_string(),
        line_sha256: reference.line_sha256.to_string(),
        text,
        base64,
    }
}
