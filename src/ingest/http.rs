//! `POST /ingest/{source}`: an upload becomes a delivery; the answer is 2xx only after the delivery is durable.
//!
//! It refuses to judge lines: what does not decode is kept as evidence and counted as a reject, and never fails its upload.
//! Uploads that can never be accepted are answered 4xx, what is worth a retry 503.

use super::body::{Body, BodyError, decompress};
use super::http_body::{self, Received};
use super::room::{self, Room};
use super::writer::{WriteError, Writer};
use crate::api::auth::{Gate, Need, presented};
use crate::api::error::ApiError;
use crate::api::params::Params;
use crate::decode::{self, DecodedDelivery, frame};
use crate::evidence;
use crate::handover::Handover;
use crate::model::delivery::is_source_name;
use crate::model::{Clock, CustomFormat, Delivery, Leg, Reject, RejectReason, Timestamp};
use crate::store::Commit;
use crate::telemetry::Metrics;
use axum::body::Body as HttpBody;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What an upload may cost.
#[derive(Debug, Clone)]
pub struct Limits {
    pub max_body_bytes: usize,
    pub max_decompressed_bytes: usize,
    pub max_lines: usize,
    pub body_timeout: Duration,
    pub uploads_at_once: usize,
    /// Bytes, as they come over the wire, of all uploads that are being received.
    pub upload_memory_bytes: usize,
}

/// The way in for uploads; cheap to clone.
#[derive(Clone)]
pub struct Uploads {
    pub writer: Writer,
    pub limits: Arc<Limits>,
    /// Formats that an operator has described.
    pub formats: Arc<[CustomFormat]>,
    pub gate: Arc<Gate>,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<dyn Clock>,
    /// What bodies may take while they arrive and wait.
    pub room: Room,
    /// Uploads that may be decompressed and decoded at the same time: what bounds the memory from there on.
    pub in_work: Arc<Semaphore>,
}

/// The answer to an upload that is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Number of the delivery, in commit order; `null` where there was nothing to store.
    pub delivery: Option<u64>,
    /// The same upload was stored before, under that number; nothing was written.
    pub duplicate: bool,
    pub lines: u64,
    pub legs: u64,
    /// Lines of this upload that had been stored before.
    pub duplicates: u64,
    pub rejected: Rejected,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    pub count: u64,
    /// The first of them.
    pub first: Vec<RejectedLine>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedLine {
    /// From 1.
    pub line: u32,
    pub reason: String,
    pub detail: String,
}

/// Rejects that an answer spells out; all are counted and kept.
const FIRST_REJECTS: usize = 10;
const PARAMETERS: &[&str] = &["proxy", "token"];
const MAX_PROXY_CHARS: usize = 200;

pub fn router(uploads: Uploads) -> Router {
    Router::new().route("/ingest/{source}", post(upload)).with_state(uploads)
}

async fn upload(
    State(uploads): State<Uploads>,
    source: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: HttpBody,
) -> Result<Json<Receipt>, ApiError> {
    let source = source.map(|Path(s)| s).ok().filter(|s| is_source_name(s)).ok_or_else(no_such_source)?;
    let params = Params::parse(query.as_deref(), PARAMETERS)?;
    let token = presented(&headers, params.get("token"))?;
    uploads.gate.check(&headers, token.as_deref(), Need::Ingest(&source)).await?;
    let proxy = proxy_name(params.get("proxy"))?;
    let encoding =
        headers.get(header::CONTENT_ENCODING).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
    let received = http_body::receive(&uploads.limits, &uploads.room, &headers, body).await?;
    let incoming = Incoming { source, proxy, encoding, received, received_at: uploads.clock.now() };
    match prepare_apart(&uploads, incoming).await? {
        None => Ok(Json(Receipt::nothing())),
        Some(prepared) if prepared.delivery.lines.is_empty() => Ok(Json(Receipt::empty_body())),
        Some(prepared) => commit(&uploads, prepared).await.map(Json),
    }
}

/// An upload as it came over the wire.
struct Incoming {
    source: String,
    proxy: Option<String>,
    encoding: Option<String>,
    received: Received,
    received_at: Timestamp,
}

struct Prepared {
    delivery: Delivery,
    account: Account,
    body_bytes: usize,
}

/// Decompresses and decodes on a thread that may block, so many at a time as the memory allows. What an upload holds goes with
/// the thread: a sender that hangs up does not end the work, and must not make room for more of it.
async fn prepare_apart(uploads: &Uploads, incoming: Incoming) -> Result<Option<Prepared>, ApiError> {
    let turn = turn(&uploads.in_work).await?;
    let (limits, formats, handover) =
        (uploads.limits.clone(), uploads.formats.clone(), uploads.writer.handover().clone());
    let prepare = move || {
        let prepared = prepare(incoming, &limits, &formats, &handover);
        drop(turn);
        prepared
    };
    tokio::task::spawn_blocking(prepare).await.map_err(|error| {
        tracing::error!(%error, "preparing an upload failed");
        ApiError::Internal
    })?
}

async fn turn(in_work: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, ApiError> {
    match tokio::time::timeout(room::PATIENCE, in_work.clone().acquire_owned()).await {
        Ok(turn) => turn.map_err(|_| ApiError::Internal),
        Err(_) => Err(ApiError::Unavailable(
            "other uploads are being read (--uploads-at-once); send this one again".to_owned(),
        )),
    }
}

/// `None` for Logpush's validation upload.
fn prepare(
    incoming: Incoming,
    limits: &Limits,
    formats: &[CustomFormat],
    handover: &Handover,
) -> Result<Option<Prepared>, ApiError> {
    let Incoming { source, proxy, encoding, received, received_at } = incoming;
    // Held to the end: of a body without compression these are the very bytes.
    let Received { raw, share: _share } = received;
    let body = decompress(raw, encoding.as_deref(), limits.max_decompressed_bytes)
        .map_err(|error| refused_body(&error))?;
    if body.broken.is_none() && frame::is_validation_upload(&body.bytes) {
        return Ok(None);
    }
    let body_bytes = body.bytes.len();
    let delivery = delivery(source, proxy, received_at, body, limits.max_lines)?;
    let account = Account::of(&delivery, formats, handover);
    Ok(Some(Prepared { delivery, account, body_bytes }))
}

fn no_such_source() -> ApiError {
    ApiError::UnknownPath(
        "a source's name is 1 to 64 letters, digits, '.', '_' and '-': POST /ingest/NAME".to_owned(),
    )
}

fn refused_body(error: &BodyError) -> ApiError {
    match error {
        BodyError::TooLarge { .. } => ApiError::TooLarge(error.to_string()),
        BodyError::UnknownEncoding(_) => ApiError::UnsupportedEncoding(error.to_string()),
    }
}

fn proxy_name(name: Option<&str>) -> Result<Option<String>, ApiError> {
    match name {
        None | Some("") => Ok(None),
        Some(name) if name.chars().count() <= MAX_PROXY_CHARS && !name.chars().any(char::is_control) => {
            Ok(Some(name.to_owned()))
        }
        Some(_) => Err(ApiError::BadParameter(format!(
            "proxy is the name of the proxy that wrote the lines: at most {MAX_PROXY_CHARS} characters, no control characters"
        ))),
    }
}

/// Lines of the body, then, where its compression broke, the compressed body itself as the last line: the decoder knows it by
/// its first bytes and rejects it as `broken_compression`, now and at every replay.
fn delivery(
    source: String,
    proxy: Option<String>,
    received_at: Timestamp,
    body: Body,
    max_lines: usize,
) -> Result<Delivery, ApiError> {
    let id = match &body.broken {
        None => evidence::delivery_id(&source, proxy.as_deref(), &body.bytes),
        Some(broken) => evidence::delivery_id(&source, proxy.as_deref(), &broken.compressed),
    };
    let readable = if body.broken.is_some() { without_cut_line(&body.bytes) } else { &body.bytes[..] };
    let too_many = |_| {
        ApiError::TooLarge(format!(
            "the upload has more than {max_lines} lines: send smaller uploads (Logpush: max_upload_records) or raise --max-lines"
        ))
    };
    let room = max_lines.saturating_sub(usize::from(body.broken.is_some()));
    let mut lines = frame::split(readable, room).map_err(too_many)?;
    lines.extend(body.broken.map(|broken| broken.compressed));
    Ok(Delivery { id, source, proxy, received_at, lines })
}

/// Where decompression broke, the last line is cut, unless it happens to look whole. The cut part is not lost: it is in the
/// compressed body, which is kept.
fn without_cut_line(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
    if bytes.ends_with(b"}") || bytes.ends_with(b"]") { bytes } else { &bytes[..end] }
}

/// What the lines of a delivery came to.
#[derive(Debug, Default)]
pub struct Account {
    pub legs: u64,
    pub rejects: BTreeMap<RejectReason, u64>,
    /// The first of them.
    pub first: Vec<RejectedLine>,
}

impl Account {
    /// Decodes every line and keeps counts and the first rejects. Where there is room, what was decoded is offered to whoever
    /// derives; else no more than one line's legs are held.
    pub fn of(delivery: &Delivery, formats: &[CustomFormat], handover: &Handover) -> Account {
        let mut account = Account::default();
        let mut kept = handover.has_room(delivery.lines.len()).then(DecodedDelivery::default);
        decode::each_line(delivery, 0, formats, |line, result| {
            account.add(line, &result);
            if let Some(kept) = &mut kept {
                kept.add(delivery, formats, line, result);
            }
        });
        if let Some(kept) = kept {
            handover.offer(delivery.id, kept);
        }
        account
    }

    fn add(&mut self, line: u32, decoded: &Result<Vec<Leg>, Reject>) {
        match decoded {
            Ok(legs) => self.legs += legs.len() as u64,
            Err(reject) => {
                *self.rejects.entry(reject.reason).or_default() += 1;
                if self.first.len() < FIRST_REJECTS {
                    let (reason, detail) = (reject.reason.to_string(), reject.detail.clone());
                    self.first.push(RejectedLine { line, reason, detail });
                }
            }
        }
    }

    pub fn rejected(self) -> Rejected {
        Rejected { count: self.rejects.values().sum(), first: self.first }
    }
}

async fn commit(uploads: &Uploads, prepared: Prepared) -> Result<Receipt, ApiError> {
    let Prepared { delivery, account, body_bytes } = prepared;
    let (source, lines) = (delivery.source.clone(), delivery.lines.len() as u64);
    let began = Instant::now();
    let commit = uploads.writer.write(delivery).await?;
    uploads.metrics.committed(began.elapsed());
    let (number, duplicate) = match commit {
        Commit::Stored { number } => (number, false),
        Commit::Duplicate { number } => (number, true),
    };
    uploads.metrics.delivered(&source, duplicate, lines, body_bytes as u64);
    if !duplicate {
        account.rejects.iter().for_each(|(reason, n)| uploads.metrics.rejected(&source, *reason, *n));
    }
    Ok(Receipt {
        delivery: Some(number),
        duplicate,
        lines,
        legs: account.legs,
        duplicates: if duplicate { lines } else { 0 },
        rejected: account.rejected(),
    })
}

impl Receipt {
    /// For Logpush's validation upload: accepted, and nothing stored.
    fn nothing() -> Self {
        Receipt {
            delivery: None,
            duplicate: false,
            lines: 0,
            legs: 0,
            duplicates: 0,
            rejected: Rejected::default(),
        }
    }

    /// An empty body holds no evidence to store. It is answered 200 all the same, since a sender that repeated it could never
    /// do better.
    fn empty_body() -> Self {
        let line = RejectedLine {
            line: 1,
            reason: RejectReason::NotJson.to_string(),
            detail: "the body is empty: nothing was stored".to_owned(),
        };
        Receipt { rejected: Rejected { count: 1, first: vec![line] }, ..Self::nothing() }
    }
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> Self {
        if matches!(error, WriteError::Store(_)) {
            tracing::error!(%error, "a delivery was not committed");
        }
        // Nothing was acknowledged, so the sender keeps the upload: never a 500 for what is worth a retry.
        ApiError::Unavailable(match error {
            WriteError::Overloaded => "too many uploads wait for the disk; send this one again".to_owned(),
            WriteError::Stopping => "the server is stopping; send this upload again".to_owned(),
            WriteError::Store(_) => "the upload could not be stored; send it again".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_committed_is_always_worth_a_retry() {
        for error in [WriteError::Overloaded, WriteError::Store("disk full".to_owned()), WriteError::Stopping]
        {
            let error = ApiError::from(error);
            assert_eq!(error.status().as_u16(), 503, "{error:?}");
            assert!(!error.to_string().contains("disk full"), "what the database says is not sent");
        }
    }

    #[test]
    fn a_cut_line_is_left_to_the_compressed_body() {
        assert_eq!(without_cut_line(b"{\"a\":1}\n{\"b\":"), b"{\"a\":1}\n");
        assert_eq!(without_cut_line(b"{\"a\":1}\n{\"b\":2}"), b"{\"a\":1}\n{\"b\":2}");
        assert_eq!(without_cut_line(b"{\"a"), b"");
    }
}
