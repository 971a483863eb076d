//! Finds calls by any id that stands in a log: of the call or one of its legs, span, request id, ray, hop, line hash, trace.
//!
//! Keys in the store are hashes, so every match is checked here against the legs themselves.

use super::error::ApiError;
use crate::correlate::keys;
use crate::model::{Call, Leg, LegId, LineHash, RequestKey, SpanId, Timestamp, TraceId};
use crate::store::Store;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;

pub enum Found {
    One {
        call: Box<Call>,
        /// The id asked for is one of the call's own ids and not the one it has now.
        superseded: bool,
    },
    Several {
        /// By start, at most [`MOST_CALLS`].
        calls: Vec<Call>,
        /// There are more than these.
        more: bool,
    },
}

/// Most calls of one trace or one id in an answer: beyond them it says that there are more.
pub const MOST_CALLS: u32 = 10_000;

/// Longest id that is looked for: no log of ours holds a longer one.
const MAX_ID_CHARS: usize = 256;

pub async fn find(store: &Store, text: &str, as_of: Timestamp) -> Result<Found, ApiError> {
    let asked = Asked::read(text);
    if let Some(id) = asked.leg
        && let Some(call) = store.call_by_leg(&id, as_of).await?
    {
        return Ok(Found::One { superseded: call.id != id, call: Box::new(call) });
    }
    if text.is_empty() || text.len() > MAX_ID_CHARS {
        return Err(not_found(text));
    }
    let page = store.calls_with_keys(&asked.keys(), as_of, MOST_CALLS).await?;
    let (mut calls, more) = (page.rows, page.next.is_some());
    calls.retain(|call| asked.is_of(call));
    match calls.len() {
        0 => Err(not_found(text)),
        1 => Ok(Found::One { call: Box::new(calls.remove(0)), superseded: false }),
        _ => Ok(Found::Several { calls, more }),
    }
}

/// The id of a path. One that is not even UTF-8 names nothing: it is looked for as the empty id.
pub fn text(id: Result<Path<String>, PathRejection>) -> String {
    id.map(|Path(text)| text).unwrap_or_default()
}

fn not_found(text: &str) -> ApiError {
    let text: String = text.chars().take(80).collect();
    ApiError::NotFound(format!(
        "no call carries {text:?}: known are ids of calls, legs, traces and spans, x-request-id, cf-ray, hop ids and the \
         SHA-256 of a line; a line that has just been sent may not have been joined yet"
    ))
}

/// An id as each of the things that it may be.
struct Asked {
    leg: Option<LegId>,
    trace: Option<TraceId>,
    span: Option<SpanId>,
    line: Option<LineHash>,
    ray: String,
    request_key: RequestKey,
    text: String,
}

impl Asked {
    fn read(text: &str) -> Asked {
        Asked {
            leg: text.parse().ok(),
            trace: TraceId::parse(text).ok(),
            span: SpanId::parse(text).ok(),
            line: text.parse().ok(),
            // People copy a ray with its colo: 8f1c...-FRA.
            ray: text.split('-').next().unwrap_or(text).to_owned(),
            request_key: RequestKey::of(text),
            text: text.to_owned(),
        }
    }

    fn keys(&self) -> Vec<i64> {
        let mut found = vec![keys::request(&self.request_key), keys::hop(&self.text), keys::ray(&self.ray)];
        found.extend(self.trace.as_ref().map(keys::trace));
        found.extend(self.span.map(|s| keys::span(&s)));
        found.extend(self.line.map(|l| keys::line(&l)));
        found
    }

    fn is_of(&self, call: &Call) -> bool {
        let trace = self.trace.is_some() && call.trace_id == self.trace;
        trace || call.legs.iter().any(|leg| self.is_in(leg))
    }

    fn is_in(&self, leg: &Leg) -> bool {
        leg.request_key().as_ref() == Some(&self.request_key)
            || leg.hop.as_deref() == Some(&self.text)
            || leg.ray.as_deref() == Some(&self.ray)
            || (self.span.is_some() && leg.span_id == self.span)
            || self.line == Some(leg.line.line_sha256)
            || self.trace.is_some_and(|t| leg.trace_ids().any(|own| own == t))
    }
}
